"""What a dead worker held is taken back in pages: all of it, however much it is, and whatever is in the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from asyncjobs.backends.sqs import table
from asyncjobs.backends.sqs.clients import Clients
from asyncjobs.exceptions import BackendConnectionError, BackendError
from tests import sqs_server
from tests.conformance.support import CANCELLED, COMPLETED, FAILED, IN_PROGRESS, PENDING, SKIPPED, Hand, Store, new
from tests.sqs_faults import Wrapped, answer_of
from tests.sqs_wrapped_store import WrappedSQSBackend

pytestmark = pytest.mark.anyio

LEASE = 10_000.0
"""Seconds: no heartbeat comes by itself."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Watched(Wrapped):
    """A client that counts its calls, and asks ``before`` about each transaction."""

    def __init__(self, client: Any) -> None:
        super().__init__(client)
        self.calls: Counter[str] = Counter()
        self.before: Callable[[list[str]], Awaitable[None]] | None = None

    async def call(self, operation: str, **request: Any) -> Any:
        self.calls[operation] += 1
        if operation == "transact_write_items" and self.before is not None:
            await self.before(written_rows(request))
        return await super().call(operation, **request)


def written_rows(request: Any) -> list[str]:
    """Return the ids of the jobs whose rows a transaction writes."""
    updates = [action["Update"] for action in request["TransactItems"] if "Update" in action]
    return [update["Key"]["pk"]["S"].partition("=")[2] for update in updates]


@asynccontextmanager
async def opened() -> AsyncGenerator[tuple[Store, Watched]]:
    """Open a store whose calls are watched, after one shard was swept: no more are for a while."""
    config = sqs_server.config(shards=1)
    watched: list[Watched] = []

    def wrap(clients: Clients) -> None:
        clients.dynamodb = Watched(clients.dynamodb)
        watched.append(clients.dynamodb)

    async with Store(lambda clock: WrappedSQSBackend(config, clock=clock, wrap=wrap)) as store:
        yield store, watched[0]


def ids_of(count: int) -> list[str]:
    return [f"j{place:04d}" for place in range(count)]


async def hand_with(store: Store, count: int) -> Hand:
    """Return a worker that has so many jobs in hand."""
    ids = ids_of(count)
    for start in range(0, count, 100):
        await store.submit(*(new(job_id) for job_id in ids[start : start + 100]))
    hand = await store.hand(lease=LEASE)
    assert await hand.claim(count) == ids
    return hand


async def reap(store: Store) -> list[str]:
    """Take back what dead workers hold, and nothing else."""
    backend: Any = store.backend
    return await backend._parts.workers.reap()


async def test_what_a_dead_worker_runs_is_taken_back_with_two_calls_for_fifty_jobs() -> None:
    """With 10,000 in hand that is 400 calls: it takes no longer than a lease."""
    async with opened() as (store, client):
        await hand_with(store, 250)
        store.clock.advance(LEASE + 1)
        client.calls.clear()
        assert await reap(store) == ids_of(250)
        assert client.calls == {
            "query": 4,  # the workers, the parts of the hand, the jobs of its own, other owners
            "update_item": 1,  # the worker is marked as gone
            "batch_get_item": 5,
            "transact_write_items": 5,
            "batch_write_item": 1,  # the worker is forgotten
        }
        assert set(await store.statuses(*ids_of(250))) == {PENDING}
        assert [len(await store.backend.get_attempts(job_id)) for job_id in ("j0000", "j0249")] == [1, 1]
        assert await reap(store) == []


async def test_what_only_a_dead_worker_could_run_is_given_up_with_two_calls_for_fifty_jobs() -> None:
    async with opened() as (store, client):
        hand = await store.hand(lease=LEASE)
        ids = ids_of(120)
        for start in range(0, 120, 30):
            await store.submit(*(new(job_id, owner=hand.id) for job_id in ids[start : start + 30]))
        await store.submit(new("child", "j0007", "j0101?"))
        store.clock.advance(LEASE + 1)
        client.calls.clear()
        assert await reap(store) == ids
        assert client.calls["transact_write_items"] <= 3 + 2, "and two verdicts on the child"
        assert client.calls.total() < 40
        assert set(await store.statuses(*ids)) == {FAILED}
        assert await store.status("child") == SKIPPED


async def test_a_job_that_cannot_be_written_keeps_no_other_in_hand_and_is_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with opened() as (store, client):
        await hand_with(store, 120)
        await store.submit(new("of another worker"))
        assert await (await store.hand(lease=LEASE)).claim() == ["of another worker"]
        store.clock.advance(LEASE + 1)

        async def refuse(ids: list[str]) -> None:
            if "j0060" in ids:
                raise answer_of("ValidationException", "transact_write_items")

        client.before = refuse
        assert await reap(store) == ["of another worker"]
        assert [r.getMessage() for r in caplog.records if "ValidationException" in r.getMessage()] != []
        assert await store.backend.count_jobs() == {IN_PROGRESS: 1, PENDING: 120}
        assert await store.status("j0060") == IN_PROGRESS
        client.before = None
        assert await reap(store) == ["j0060"]
        assert {attempt.attempt for attempt in await store.backend.get_attempts("j0000")} == {1}, "interrupted once"


async def test_rows_that_are_too_large_for_one_transaction_are_taken_back_in_several() -> None:
    async with opened() as (store, client):
        await hand_with(store, 30)
        store.clock.advance(LEASE + 1)
        sizes: list[int] = []

        async def refuse(ids: list[str]) -> None:
            sizes.append(len(ids))
            if len(ids) > 10:
                raise answer_of("ValidationException", "transact_write_items")

        client.before = refuse
        assert await reap(store) == ids_of(30)
        assert sorted(sizes) == [7, 7, 8, 8, 15, 15, 30]
        assert [len(await store.backend.get_attempts(job_id)) for job_id in ids_of(30)] == [1] * 30


@pytest.mark.parametrize("code", ["AccessDeniedException", "InternalServerError"])
async def test_what_is_no_matter_of_the_rows_is_not_tried_with_fewer_of_them(
    code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "_PATIENCE", 0.0)
    async with opened() as (store, client):
        await hand_with(store, 40)
        store.clock.advance(LEASE + 1)

        async def refuse(ids: list[str]) -> None:
            raise answer_of(code, "transact_write_items", status=500 if code == "InternalServerError" else 400)

        client.before = refuse
        client.calls.clear()
        with pytest.raises(BackendError if code == "AccessDeniedException" else BackendConnectionError):
            await reap(store)
        assert client.calls["transact_write_items"] <= 3
        client.before = None
        assert await reap(store) == ids_of(40), "by whoever finds the worker marked as gone"


async def test_what_changes_while_a_page_is_decided_is_decided_anew() -> None:
    """A zombie ends one of its attempts, and a user cancels another one, between the reading and the writing."""
    async with opened() as (store, client), store.second() as other:
        hand = await hand_with(store, 20)
        await store.submit(new("child", "j0003"))
        store.clock.advance(LEASE + 1)
        meanwhile = [True]

        async def change(ids: list[str]) -> None:
            if meanwhile:
                meanwhile.clear()
                client.before = None
                await other.cancel_jobs(["j0005"])
                await hand.succeed("j0003")

        client.before = change
        taken = await reap(store)
        assert taken == [job_id for job_id in ids_of(20) if job_id != "j0003"]
        assert await store.statuses("j0003", "j0004", "j0005") == [COMPLETED, PENDING, CANCELLED]
        assert await store.backend.count_jobs() == {COMPLETED: 1, CANCELLED: 1, PENDING: 19}
        second = await store.hand(lease=LEASE)
        store.clock.advance(100)
        assert "child" in await second.claim(), "its edge was settled"


async def test_a_job_that_ended_and_whose_dependents_its_worker_did_not_settle_is_settled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with opened() as (store, _):
        hand = await hand_with(store, 60)
        await store.submit(*(new(f"child of {job_id}", job_id) for job_id in ("j0001", "j0055")))
        backend: Any = store.backend

        async def nothing(*_: object) -> None:
            raise BackendConnectionError("it dies")

        with monkeypatch.context() as patch, pytest.raises(BackendConnectionError):
            patch.setattr(backend._parts.dependents, "settle", nothing)
            await hand.succeed("j0001", "j0055")
        store.clock.advance(LEASE + 1)
        taken = await reap(store)
        assert len(taken) == 58
        second = await store.hand(lease=LEASE)
        assert await second.claim() == ["child of j0001", "child of j0055"]
