"""Values above 4 MiB in the store of SQS: in S3 if a bucket is named, and gone with their jobs; else refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec.structs import replace

from asyncjobs.backends.sqs import batch_sweep
from asyncjobs.backends.sqs.backend import SQSBackend
from asyncjobs.backends.sqs.barriers import Barrier
from asyncjobs.backends.sqs.table import Table
from asyncjobs.backends.sqs.transitions import Transitions
from asyncjobs.config import SQSConfig
from asyncjobs.core.requests import Keep
from asyncjobs.core.state import Stale
from asyncjobs.exceptions import BackendConnectionError, BackendError
from asyncjobs.models import BodyEvent, Outcome, OutcomeKind
from tests import sqs_server
from tests.conformance.support import COMPLETED, PENDING, Store, new
from tests.sqs_faults import Wrapped, answer_of

pytestmark = pytest.mark.anyio

LARGE = bytes(range(256)) * 20_000
"""5 MB: more than the table takes."""
FULL = LARGE[: 4 << 20]
"""The most that the table takes."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class InBucket(Store):
    """A store whose table has a bucket of its own."""

    def __init__(self) -> None:
        name = sqs_server.config().table
        self.config = sqs_server.config(table=name, bucket=name, shards=1)
        super().__init__(lambda clock: SQSBackend(self.config, clock=clock))

    @property
    def parts(self) -> Any:
        assert isinstance(self.backend, SQSBackend)
        return self.backend._parts

    @property
    def table(self) -> Table:
        return self.parts.transitions.table

    @property
    def transitions(self) -> Transitions:
        return self.parts.transitions

    async def objects(self) -> int:
        """Count what is in the bucket."""
        client = self.parts.clients.s3
        return (await client.list_objects_v2(Bucket=self.config.bucket))["KeyCount"]

    def wrap(self, client: Any) -> None:
        """Have calls of S3 go through another client, made of the one that is used."""
        bucket: Any = self.table.bucket
        bucket._client = client(bucket._client)

    async def sweep(self) -> None:
        """Look at all batches that are left, as sweeps do for as long as it takes."""
        for _ in range(3):
            self.clock.advance(400)
            await batch_sweep.sweep_batches(self.transitions, 0, Barrier())


@pytest.fixture
async def store() -> AsyncIterator[InBucket]:
    async with InBucket() as opened:
        yield opened


class Failing(Wrapped):
    """A client of S3 some of whose calls fail, before or after they are done."""

    def __init__(self, client: Any, *operations: str, error: Exception | None = None, done: bool = False) -> None:
        super().__init__(client)
        self.operations = set(operations)
        self.error = error or answer_of("ServiceUnavailable", "S3", status=503)
        self.done = done
        self.calls: list[str] = []

    async def call(self, operation: str, **request: Any) -> Any:
        self.calls.append(operation)
        if operation in self.operations:
            if self.done:
                await super().call(operation, **request)
            raise self.error
        return await super().call(operation, **request)


def failing(store: InBucket, *operations: str, **how: Any) -> Failing:
    made: list[Failing] = []

    def make(client: Any) -> Failing:
        made.append(Failing(client, *operations, **how))
        return made[0]

    store.wrap(make)
    return made[0]


async def remove(store: InBucket, *ids: str) -> None:
    await store.backend.remove_jobs(ids)


# -- each kind of value


@pytest.mark.parametrize("size", [len(FULL), len(FULL) + 1], ids=["in the table", "in the bucket"])
async def test_arguments_come_back_and_go_with_their_job(store: InBucket, size: int) -> None:
    call = LARGE[:size]
    await store.submit(new("a", call=call), new("b", "a", call=call))
    assert await store.objects() == (2 if size > len(FULL) else 0)
    found = await store.backend.get_call("b")
    assert found is not None
    assert found.call == call
    hand = await store.hand()
    (job,) = (await hand.claims()).jobs
    assert (job.attempt.job_id, job.call, job.unreadable) == ("a", call, None)
    await hand.succeed("a")
    await hand.run("b")
    await remove(store, "a", "b")
    assert await store.objects() == 0


async def test_the_same_job_may_be_submitted_once_more(store: InBucket) -> None:
    await store.submit(new("a", call=LARGE))
    await store.submit(replace(new("a", call=LARGE), if_exists="return"))
    assert await store.objects() == 1


async def test_results_come_back_and_go_with_their_job(store: InBucket) -> None:
    await store.submit(new("a"), new("b", "a"))
    hand = await store.hand()
    await hand.claim()
    assert await hand.end("a", Outcome(OutcomeKind.SUCCEEDED, value=LARGE)) is COMPLETED
    await hand.claim()
    results = await store.backend.get_results(["a", "b"])
    assert (results["a"].value, results["b"].value) == (LARGE, None)
    await hand.succeed("b")
    await remove(store, "a", "b")
    assert await store.objects() == 0


async def test_steps_come_back_and_leave_none_behind(store: InBucket) -> None:
    await store.submit(new("a"))
    hand = await store.hand()
    await hand.claim()
    assert await hand.keep("a", one=LARGE, two=LARGE, small=b"s") == [None] * 3
    assert await store.backend.read_step("a", "one") == LARGE
    page = await store.backend.read_steps("a")
    assert [(step.key, step.size) for step in page.steps] == [("one", len(LARGE)), ("small", 1), ("two", len(LARGE))]
    await hand.keep("a", one=LARGE + b"2")
    assert await store.backend.read_step("a", "one") == LARGE + b"2"
    assert await store.objects() == 2, "the one that was replaced is gone"
    await hand.forget("a", "two")
    assert await store.objects() == 1
    await hand.succeed("a")
    await remove(store, "a")
    assert await store.objects() == 0


async def test_steps_that_no_longer_count_go_with_upkeep(store: InBucket) -> None:
    await store.submit(new("a"))
    hand = await store.hand()
    await hand.claim()
    await hand.keep("a", one=LARGE)
    await hand.fail("a")
    await store.backend.retry_job("a", fresh=True)
    assert await store.backend.read_step("a", "one") is None
    await store.backend.prune(0)
    assert await store.objects() == 0


async def test_events_come_back_and_go_with_their_job(store: InBucket) -> None:
    text = "x" * len(LARGE)
    await store.submit(new("a"))
    hand = await store.hand()
    await hand.claim()
    assert await hand.say("a", BodyEvent("log", {"message": text}, 0))
    assert await store.objects() == 1
    (said,) = [event for event in await store.events("a") if event.type == "log"]
    assert said.data["message"] == text
    await hand.succeed("a")
    await remove(store, "a")
    assert await store.objects() == 0


async def test_a_message_of_an_error_never_needs_the_bucket(store: InBucket) -> None:
    from asyncjobs.runtime.attempt import describe

    await store.submit(new("a"))
    hand = await store.hand()
    await hand.claim()
    error = describe(ValueError("x" * len(LARGE)))
    await hand.end("a", Outcome(OutcomeKind.FAILED, error=error, retryable=False))
    assert (await store.job("a")).error == error
    assert await store.objects() == 0


# -- nothing is left behind


async def test_a_batch_that_is_refused_leaves_nothing(store: InBucket) -> None:
    await store.submit(new("taken"))
    with pytest.raises(Exception, match="taken"):
        await store.submit(new("a", call=LARGE), new("taken", call=LARGE))
    assert await store.objects() == 0
    assert await store.backend.get_job("a") is None


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
async def test_a_batch_that_was_left_half_way_is_undone_by_a_sweep(store: InBucket, done: bool) -> None:
    failing(store, "put_object", done=done)
    with pytest.raises(BackendConnectionError, match="S3 PutObject"):
        await store.submit(new("a", call=LARGE), new("b", call=LARGE))
    assert await store.backend.get_job("a") is None
    await store.sweep()
    assert await store.objects() == 0
    assert not [item for item in await everything(store) if "obj" in item]


async def everything(store: InBucket) -> list[dict[str, Any]]:
    client = store.parts.clients.dynamodb
    return (await client.scan(TableName=store.table.name, ConsistentRead=True))["Items"]


async def test_the_value_of_an_attempt_that_lost_goes_at_once(store: InBucket) -> None:
    await store.submit(new("a"))
    lost, hand = await store.hand("lost"), await store.hand()
    await lost.claim()
    await store.lose(lost)
    await hand.claim()
    assert isinstance(await lost.end("a", Outcome(OutcomeKind.SUCCEEDED, value=LARGE)), Stale)
    assert isinstance((await lost.keep("a", one=LARGE))[0], Stale)
    assert await store.objects() == 0


async def test_the_value_of_a_write_that_another_one_overtook_goes_at_once(store: InBucket) -> None:
    await store.submit(new("a"))
    hand = await store.hand()
    await hand.claim()

    class Overtaken(Wrapped):
        async def call(self, operation: str, **request: Any) -> Any:
            answer = await super().call(operation, **request)
            if operation == "put_object" and not puts:
                async with store.second() as other:
                    await other.cancel_jobs(["a"])
            puts.append(operation)
            return answer

    puts: list[str] = []
    store.wrap(Overtaken)
    await hand.end("a", Outcome(OutcomeKind.SUCCEEDED, value=LARGE))
    assert puts == ["put_object", "delete_objects"] or puts.count("put_object") == 2, "it was decided anew"
    assert await store.objects() == (1 if await store.status("a") is COMPLETED else 0)


async def test_what_s3_cannot_delete_now_a_sweep_deletes_later(
    store: InBucket, caplog: pytest.LogCaptureFixture
) -> None:
    await store.submit(new("a", call=LARGE))
    hand = await store.hand()
    await hand.run("a")
    away = failing(store, "delete_objects")
    await remove(store, "a")
    await store.sweep()
    assert await store.backend.get_job("a") is None, "the job is gone all the same"
    assert await store.objects() == 1
    assert sum("objects in S3 stay" in record.getMessage() for record in caplog.records) == 1, "said once"
    away.operations.clear()
    await store.sweep()
    assert await store.objects() == 0
    assert not [item for item in await everything(store) if "obj" in item]


# -- S3 away


async def test_while_s3_is_away_other_jobs_run(store: InBucket) -> None:
    await store.submit(new("large", call=LARGE), new("small"), new("more"))
    away = failing(store, "get_object")
    hand = await store.hand()
    assert sorted([*await hand.claim(1), *await hand.claim(1)]) == ["more", "small"]
    with pytest.raises(BackendConnectionError, match="S3 GetObject in bucket"):
        await hand.claim()
    assert await store.status("large") is PENDING, "it is not started before it can be"
    away.operations.clear()
    (job,) = (await hand.claims()).jobs
    assert (job.attempt.job_id, job.call) == ("large", LARGE)


async def test_a_claim_whose_answer_was_lost_is_handed_out_when_s3_is_back(store: InBucket) -> None:
    await store.submit(new("large", call=LARGE), new("small"))
    hand = await store.hand()
    inner = store.parts.workers.hand(hand.id)
    await hand.claim(1)
    inner.in_doubt["large"] = inner.running.pop("large")  # as after a lost answer
    away = failing(store, "get_object")
    assert await hand.claim() == ["small"]
    away.operations.clear()
    assert await hand.claim() == ["large"]


async def test_a_missing_permission_names_the_call_and_the_policy(store: InBucket) -> None:
    failing(store, "put_object", error=answer_of("AccessDenied", "PutObject", status=403))
    with pytest.raises(BackendError, match=r"S3 PutObject in bucket .* is not permitted") as error:
        await store.submit(new("a", call=LARGE))
    assert "asyncjobs aws policy" in str(error.value.hint)
    assert not error.value.transient


async def test_a_bucket_that_is_missing_is_named_when_the_store_is_opened(store: InBucket) -> None:
    config = store.config
    without = SQSConfig(
        table=config.table,
        queue_url=config.queue_url,
        region=config.region,
        endpoint_url=config.endpoint_url,
        bucket="not-there",
    )
    with pytest.raises(BackendError, match="S3 ListObjectsV2 in bucket 'not-there': it does not exist") as error:
        await SQSBackend(without).open()
    assert "asyncjobs aws init" in str(error.value.hint)


# -- without a bucket


async def test_without_a_bucket_nothing_is_stored_and_size_and_limit_are_named() -> None:
    config = sqs_server.config(shards=1)
    async with Store(lambda clock: SQSBackend(config, clock=clock)) as store:
        with pytest.raises(BackendError, match=r"has 5,120,000 bytes; the DynamoDB table takes 4,194,304") as error:
            await store.submit(new("small"), new("a", call=LARGE))
        assert error.value.hint == "name an S3 bucket for larger values: SQSConfig(bucket=…)"
        assert await store.backend.get_jobs(["small", "a"]) == []
        await store.submit(new("b"))
        hand = await store.hand()
        await hand.claim()
        with pytest.raises(BackendError, match="5,120,000 bytes") as error:
            await hand.end("b", Outcome(OutcomeKind.SUCCEEDED, value=LARGE))
        assert error.value.code == "too-big", "so the job fails, and is not written again and again"
        with pytest.raises(BackendError, match="5,120,000 bytes"):
            await store.backend.write_steps([Keep(hand.held["b"], "x", b"1"), Keep(hand.held["b"], "y", LARGE)])
        assert await store.steps("b") == {}
        await hand.succeed("b")


async def test_a_process_without_the_bucket_names_it(store: InBucket, caplog: pytest.LogCaptureFixture) -> None:
    await store.submit(new("a", call=LARGE))
    hand = await store.hand()
    await hand.run("a")
    config = sqs_server.config(table=store.config.table, queue_url=store.config.queue_url)
    async with SQSBackend(config, clock=store.clock) as other:
        with pytest.raises(BackendError, match="and none is named here") as error:
            await other.get_call("a")
        assert error.value.hint == f"SQSConfig(bucket={store.config.bucket!r})"
        await other.remove_jobs(["a"])
    assert await store.objects() == 1
    await store.sweep()
    assert await store.objects() == 0, "one that has it completes the removal"
