"""Answers about jobs that are named, in a store of SQS: what stands apart from a row, and what cannot be read of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from msgspec import msgpack

from asyncjobs.backends.base import StoredCall
from asyncjobs.backends.sqs import keys
from asyncjobs.backends.sqs.table import Update
from asyncjobs.core import commands
from asyncjobs.core.state import SECOND
from asyncjobs.models import BodyEvent, EdgeState, JobStatus, Outcome, OutcomeKind, Progress
from tests.conformance.support import BOOM, COMPLETED, FAILED, FAILURE, FATAL, SUCCESS, new, progress
from tests.unit.sqs_asking import Asked, Asker, asked

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def store() -> AsyncIterator[Asked]:
    async with asked() as opened:
        yield opened


def result(value: bytes) -> Outcome:
    return Outcome(OutcomeKind.SUCCEEDED, value=value)


async def report(process: Asker, job_id: str, attempt: int, event: BodyEvent) -> None:
    n = (await process.queries.rows([job_id]))[0].n
    batch = (n, attempt, 7, (event,))
    await process.transitions.commit(
        lambda plan: commands.append_events(plan, [batch]), await process.queries.rows([job_id])
    )


async def spoil(process: Asker, job_id: str, **attributes: object) -> None:
    await process.table.write(Update(keys.row(job_id), set=attributes, present=("pk",)))


async def test_results_in_the_row_in_an_item_and_in_parts(store: Asked) -> None:
    mine = store.process()
    values = {"none": b"", "row": b"x" * 250, "item": b"y" * 251, "parts": b"z" * 700_000}
    await mine.submit(*map(new, (*values, "failed", "pending")))
    for job_id, value in values.items():
        await mine.run(job_id, outcome=result(value))
    await mine.run("failed", outcome=FATAL)
    found = await mine.queries.results([*values, "failed", "pending", "nobody", "\ud800"])
    assert list(found) == [*values, "failed", "pending"]
    assert {job_id: of.value for job_id, of in found.items() if of.value is not None} == values
    assert (found["failed"].error, found["failed"].error_kind) == (BOOM, OutcomeKind.FAILED)
    assert found["pending"].status is JobStatus.PENDING


async def test_a_result_that_goes_while_it_is_read_leaves_its_job_out(store: Asked) -> None:
    mine, other = store.process(), store.process()
    await mine.submit(new("a"), new("b"))
    await mine.run("a", "b", outcome=result(b"x" * 1000))
    parts = await other.table.query_all((await other.queries.rows(["a"]))[0].partition, begins="V#")
    assert len(parts) == 1
    await other.table.delete_many([(item["pk"], item["sk"]) for item in parts])
    damaged = await mine.queries.results(["a", "b"])
    assert (damaged["a"].status, damaged["a"].value) == (COMPLETED, None), "the job is still there"

    async def remove() -> None:
        await other.table.delete_many([keys.row("a")])

    mine.lagging.after_reads(2, remove)
    assert list(await mine.queries.results(["a", "b"])) == ["b"]


async def test_rows_are_read_in_pages(store: Asked) -> None:
    mine, other = store.process(), store.process()
    ids = [f"j{i:03}" for i in range(120)]
    await other.submit(*map(new, ids))
    wanted = [*reversed(ids), "nobody", ids[0]]
    assert [job.id for job in await mine.queries.jobs(wanted)] == [*reversed(ids), ids[0]]
    assert sorted(keys for name, keys in mine.lagging.calls if name == "batch_get_item") == [21, 50, 50]


async def test_many_parents_stand_apart(store: Asked) -> None:
    mine = store.process()
    parents = [f"{'p' * 100}{i}" for i in range(10)]
    await mine.submit(*map(new, parents))
    await mine.submit(new("child", *reversed(parents[1:]), f"{parents[0]}?"))
    await mine.run(parents[2], outcome=SUCCESS)
    (job,) = await mine.queries.jobs(["child"])
    assert job.depends_on == tuple(parents), "by submission"
    edges = await mine.queries.dependencies(["child", "nobody"])
    assert [(edge.parent_id, edge.optional) for edge in edges] == [(p, p == parents[0]) for p in parents]
    assert [edge.state for edge in edges].count(EdgeState.MET) == 1
    assert await mine.queries.dependents([*parents, "child", "nobody"]) == edges


async def test_a_call_that_stands_apart(store: Asked) -> None:
    mine = store.process()
    calls = {"small": b"x", "item": b"y" * 1000, "parts": b"z" * 700_000}
    await mine.submit(*(new(job_id, call=call) for job_id, call in calls.items()))
    for job_id, call in calls.items():
        assert await mine.queries.call(job_id) == StoredCall("app:work", call, False)
    assert await mine.queries.call("nobody") is None


async def test_progress_is_that_of_the_current_attempt(store: Asked) -> None:
    mine = store.process()
    await mine.submit(new("a"))
    _, attempt, _ = await mine.start("a")
    await report(mine, "a", attempt, progress(1, 2, "half"))
    assert (await mine.queries.jobs(["a"]))[0].progress == Progress(1, 2, "half")
    await mine.end("a", FATAL)
    assert (await mine.queries.jobs(["a"]))[0].error == BOOM
    await mine.retry("a")
    await mine.start("a")
    (job,) = await mine.queries.jobs(["a"])
    assert (job.attempt, job.progress, job.error) == (2, None, None)


async def test_attempts_name_their_workers(store: Asked) -> None:
    mine = store.process()
    await mine.submit(new("a"))
    await mine.run("a", outcome=FATAL)
    await mine.retry("a")
    await mine.start("a")
    first, second = await mine.queries.attempts("a")
    assert (first.attempt, first.worker, first.outcome, first.error) == (1, "seven", OutcomeKind.FAILED, BOOM)
    assert (second.attempt, second.worker, second.outcome, second.finished_at) == (2, "seven", None, None)
    (job,) = await mine.queries.jobs(["a"])
    assert (job.worker, job.worker_id) == ("seven", "w7-x")
    await mine.end("a", FAILURE)
    (job,) = await mine.queries.jobs(["a"])
    assert (job.status, job.worker, job.worker_id) == (FAILED, None, None)


async def test_a_duration_is_shown_by_the_clock_as_it_is_now(store: Asked) -> None:
    mine = store.process()
    await mine.submit(new("a", delay=10 * SECOND))
    (before,) = await mine.queries.jobs(["a"])
    store.clock.jump(0.5)
    assert (await mine.queries.jobs(["a"]))[0].run_at == before.run_at, "a clock that drifts is no change"
    store.clock.jump(3600)
    (after,) = await mine.queries.jobs(["a"])
    assert after.run_at is not None
    assert before.run_at is not None
    assert (after.run_at - before.run_at).total_seconds() == 3600.5


@pytest.mark.parametrize(
    ("attributes", "part"),
    [
        ({"s": b"\xc1"}, "state"),
        ({"r": b"\xc1"}, "record"),
        ({"pg": b"\xc1"}, "progress"),
        ({"pg": msgpack.encode((0, msgpack.encode({"done": "much"})))}, "progress"),
    ],
)
async def test_what_cannot_be_read_is_marked(store: Asked, attributes: dict[str, object], part: str) -> None:
    mine = store.process()
    await mine.submit(new("a"), new("b", metadata={"x": 1}))
    await spoil(mine, "a", **attributes)
    damaged, sound = await mine.queries.jobs(["a", "b"])
    assert damaged.id == "a"
    assert damaged.unreadable is not None
    assert damaged.unreadable.startswith(f"unreadable: {part} (")
    assert (sound.unreadable, sound.metadata) == (None, {"x": 1})
    assert list(await mine.queries.results(["a"])) == ["a"]
    assert await mine.found(metadata={"x": 1}) == ["b"]
