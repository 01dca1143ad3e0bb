"""Submissions that are too large for a transaction: all of it or nothing, whatever comes between and whoever dies."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from asyncjobs.backends.sqs import batches, keys, staging, submitting
from asyncjobs.core.requests import NewJob
from asyncjobs.exceptions import DuplicateJobError, JobStateError, SubmissionError
from asyncjobs.models import JobStatus, WaitsFor
from tests.conformance.support import FATAL, SUCCESS, new
from tests.unit.sqs_support import FIRST, STRIDE, Meanwhile, Process, World, Worlds, ids_of, until_it_dies

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("tables_in_second")]

MINUTE = 60
FRESH = [f"n{i}" for i in range(9)]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stage what has more than a few items, so that every write of it can be tried."""
    monkeypatch.setattr(submitting, "_IN_ONE", 8)
    monkeypatch.setattr(batches, "SLICE", 5)
    monkeypatch.setattr(staging, "_LOOK", 0.001)


def fresh(call: bytes = b"call") -> list[NewJob]:
    """Return jobs with edges between them and to the stored ones."""
    return [
        new("n0", "done", call=call, group="g"),
        new("n1", "n0", "runs", call=call, group="g"),
        new("n2", "failed?", "n1", call=call),
        new("n3", "failed", call=call),
        new("n4", "n3", "n3", call=call),
        new("n5", "waits?", call=call),
        new("n6", "n0", "n5", "n2", require=2, call=call),
        *(new(job_id, call=call) for job_id in FRESH[7:]),
    ]


async def stored(process: Process) -> tuple[str, int, int]:
    """Store what the new jobs depend on; return the attempt that submits them."""
    await process.submit(*(new(job_id) for job_id in ("by", "done", "runs", "failed", "waits")))
    await process.run("done", outcome=SUCCESS)
    await process.run("failed", outcome=FATAL)
    await process.start("runs")
    return await process.start("by")


async def found(process: Process) -> list[str]:
    """Return which of the new jobs exist."""
    rows = await process.rows(*FRESH)
    return [job_id for job_id in FRESH if job_id in rows]


async def agrees(process: Process, *ids: str) -> None:
    """Assert that the edges of these jobs are what the states of their parents say, and each has its place."""
    rows = await process.rows(*ids)
    assert list(rows) == list(ids)
    above = await process.rows(*{parent.id for row in rows.values() for parent in row.parents or ()})
    for job_id, row in rows.items():
        assert row.batch is None
        for parent, state in zip(row.parents or (), row.edges, strict=True):
            assert above[parent.id].n == parent.n
            assert bool(state) == above[parent.id].state.status.terminal, f"{parent.id} → {job_id}"
            assert above[parent.id].kids
        assert not (row.state.waits_for is WaitsFor.DEPENDENCIES and row.state.open == 0), f"{job_id} is forgotten"


async def completes(process: Process) -> None:
    """Run all that is left; every job ends."""
    rows = await process.rows("by", "runs")
    for row in rows.values():
        if row.state.status is JobStatus.IN_PROGRESS:
            await process.end(row.id, SUCCESS)
    await process.run("waits", outcome=SUCCESS)
    while True:
        rows = await process.rows(*FRESH)
        ready = [row.id for row in rows.values() if row.state.waits_for is WaitsFor.WORKER]
        if not ready:
            break
        await process.run(*ready, outcome=SUCCESS)
    assert len(rows) == len(FRESH)
    assert all(row.state.status.terminal for row in rows.values()), "nothing goes on"


async def test_a_large_batch_is_stored_as_a_small_one(table: World) -> None:
    process = table.process()
    by = await stored(process)
    many = [new(f"m{i}", *([f"m{i - 1}"] if i % 5 else [])) for i in range(241)]
    await process.submit(*fresh(), *many, by=by)
    other = table.process()
    assert await found(other) == FRESH
    await agrees(other, *FRESH, *(job.id for job in many))
    statuses = [(row.state.status, row.state.waits_for) for row in (await other.rows(*FRESH)).values()]
    pending = JobStatus.PENDING
    assert statuses == [
        (pending, WaitsFor.WORKER),
        (pending, WaitsFor.DEPENDENCIES),
        (pending, WaitsFor.DEPENDENCIES),
        (JobStatus.SKIPPED, None),
        (JobStatus.SKIPPED, None),
        (pending, WaitsFor.DEPENDENCIES),
        (pending, WaitsFor.DEPENDENCIES),
        (pending, WaitsFor.WORKER),
        (pending, WaitsFor.WORKER),
    ]
    members = await other.table.query_all(keys.named("G", "g"))
    assert [member["id"] for member in members] == ["n0", "n1"]
    assert await other.entries(keys.staged) == []
    assert await other.entries(keys.owed) == []
    await completes(other)


async def test_a_call_that_is_too_large_for_a_transaction_is_staged(table: World) -> None:
    process = table.process()
    await process.submit(new("a", call=b"c" * 3_900_000), new("b", "a"))
    await agrees(table.process(), "a", "b")


async def test_a_refused_batch_leaves_nothing(table: World, small: None) -> None:
    process = table.process()
    by = await stored(process)
    before = ids_of(await table.items())
    with pytest.raises(DuplicateJobError):
        await process.submit(*fresh(), new("runs"), by=by)
    await process.end("by", SUCCESS)
    with pytest.raises(JobStateError):
        await process.submit(*fresh(), by=by)
    assert ids_of(await table.items()) == before
    assert not [key for key in await table.items() if key[0].startswith("B#")]


async def test_of_two_submissions_of_one_id_one_is_refused(table: World, small: None) -> None:
    """The second one waits for the first, whose process lives, and then finds the jobs."""
    other = table.process()

    async def goes_on(write: int) -> None:
        if write == 10:
            await second.submit(*fresh())

    await stored(other)
    second = table.process()
    first = table.process(meanwhile=goes_on)
    with pytest.raises(DuplicateJobError):
        await first.submit(*fresh())
    assert await found(other) == FRESH
    await agrees(other, *FRESH)


# -- every write is the last of its process


Copy = Callable[[], Awaitable[tuple[World, tuple[str, int, int]]]]


@pytest.fixture
async def copy(aws: Worlds) -> Copy:
    """Return what makes tables that have what the new jobs depend on, with the attempt that submits them."""
    table = await aws.new()
    by = await stored(table.process())
    make = await aws.copies(table)

    async def copy() -> tuple[World, tuple[str, int, int]]:
        return await make(), by

    return copy


async def dies(copy: Copy, at: int, *jobs: NewJob) -> int:
    """Submit in a process that dies, and mend it by another; return how many writes were made, 0 if it lives on."""
    table, by = await copy()
    process = table.process()
    before = set(await table.items())
    dying = table.process(at)
    died = await until_it_dies(dying.submit(*jobs, by=by))
    assert len(await found(process)) in (0, len(FRESH)), "a part of it is seen"
    other = table.process()
    for _ in range(2):
        table.clock.advance(6 * MINUTE)
        await other.sweep()
    assert await other.entries(keys.staged) == await other.entries(keys.owed) == []
    if await found(other):
        await agrees(other, *[job.id for job in jobs])
    else:
        left = set(await table.items()) - before
        assert {pk for pk, _ in left} <= {"G", "LANES"}, "something is left of it"
        await other.submit(*jobs[: len(FRESH)], by=by)
    await completes(other)
    return died and dying.client.writes


@pytest.mark.parametrize("first", [1, 2, 3, 4])
async def test_every_write_is_the_last_of_its_process(copy: Copy, first: int, small: None) -> None:
    at = first
    while await dies(copy, at, *fresh()):
        at += 4
    assert at > 20


@pytest.mark.slow
@pytest.mark.parametrize("first", FIRST)
async def test_a_write_of_a_large_batch_is_the_last_of_its_process(copy: Copy, first: int) -> None:
    jobs = [*fresh(), *(new(f"m{i}", *([f"m{i - 1}"] if i % 5 else [])) for i in range(241))]
    at = first
    while await dies(copy, at, *jobs):
        at += STRIDE
    assert at > 500


# -- what comes between

Between = Callable[[Process], Awaitable[None]]


async def run_it(other: Process) -> None:
    await other.end("runs", SUCCESS)


async def cancel_it(other: Process) -> None:
    await other.cancel("waits")


async def retry_it(other: Process) -> None:
    await other.retry("failed")


async def retry_and_run_it(other: Process) -> None:
    await other.retry("failed")
    await other.run("failed", outcome=FATAL)


async def depend_on_it(other: Process) -> None:
    await other.submit(new("late", "done", "runs", "failed?"))


@pytest.mark.parametrize("between", [run_it, cancel_it, retry_it, retry_and_run_it, depend_on_it])
async def test_parents_may_change_before_any_write(copy: Copy, between: Between, small: None) -> None:
    at, more = 1, True
    while more:
        table, by = await copy()
        other = table.process()
        submitting = table.process(meanwhile=at_write(at, between, other))
        await submitting.submit(*fresh(), by=by)
        more = submitting.client.writes >= at
        await agrees(other, *FRESH)
        assert await other.entries(keys.staged) == await other.entries(keys.owed) == []
        if await other.row("late") is not None:
            await agrees(other, "late")
        at += 3


def at_write(at: int, between: Between, other: Process) -> Meanwhile:
    """Return what another process does before a write of a submission, of which it never sees a part."""

    async def meanwhile(write: int) -> None:
        assert len(await found(other)) in (0, len(FRESH))
        if write == at:
            await between(other)

    return meanwhile


async def remove_it(other: Process) -> None:
    try:
        await other.removal.remove(["done"], components=True)
    except JobStateError:
        assert await found(other) == FRESH, "the new jobs keep it"


async def stop_it(other: Process) -> None:
    await other.cancel("by")


@pytest.mark.parametrize("between", [remove_it, stop_it])
async def test_what_forbids_a_submission_may_come_before_any_write(copy: Copy, between: Between, small: None) -> None:
    at, more = 1, True
    outcomes: list[bool] = []
    while more:
        table, by = await copy()
        other = table.process()
        submitting = table.process(meanwhile=at_write(at, between, other))
        try:
            await submitting.submit(*fresh(), by=by)
        except (SubmissionError, JobStateError):
            assert await found(other) == []
            assert not [key for key in await table.items() if key[0].startswith("B#i")]
            outcomes.append(False)
        else:
            await agrees(other, *FRESH)
            outcomes.append(True)
        more = submitting.client.writes >= at
        at += 3
    assert outcomes == sorted(outcomes), "it is stored only if it was committed before"
    assert outcomes[0] is False
    assert outcomes[-1] is True


async def test_a_process_that_stood_still_stores_nothing_once_its_batch_is_aborted(copy: Copy, small: None) -> None:
    """Whatever it had written, and whatever it goes on to write: the ids belong to another submission by then."""
    at, refused = 2, 0
    while True:
        table, _ = await copy()
        other = table.process()

        async def takes_the_ids(other: Process, table: World = table) -> None:
            if not await found(other):
                table.clock.advance(6 * MINUTE)
                await other.sweep()
                await other.submit(*fresh(b"other"))

        zombie = table.process(meanwhile=at_write(at, takes_the_ids, other))
        accepted = await stores(zombie)
        calls = {row.fixed.call for row in (await other.rows(*FRESH)).values()}
        assert calls == {b"call" if accepted else b"other"}
        await agrees(other, *FRESH)
        await completes(other)
        if accepted:
            break
        refused += 1
        at += 3
    assert refused > 5


async def stores(process: Process) -> bool:
    try:
        await process.submit(*fresh())
    except DuplicateJobError:
        return False
    return True


async def test_the_ids_of_a_dead_process_are_free_before_any_sweep(table: World, small: None) -> None:
    process = table.process()
    await stored(process)
    assert await until_it_dies(table.process(14).submit(*fresh()))
    await process.submit(*fresh(b"other"))
    await agrees(process, *FRESH)
    table.clock.advance(6 * MINUTE)
    await process.sweep()
    assert await found(process) == FRESH
    await completes(process)


async def test_a_few_jobs_take_the_ids_of_a_dead_process(table: World, small: None) -> None:
    process = table.process()
    await stored(process)
    assert await until_it_dies(table.process(14).submit(*fresh()))
    await process.submit(new("n0"), new("n7"))
    assert await found(process) == ["n0", "n7"]


async def test_a_row_whose_batch_is_forgotten_does_not_exist(
    table: World, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was on its way while others undid the batch, twice, and its process dies before it could learn of that."""
    monkeypatch.setattr(batches, "SLICE", 1)
    process = table.process()
    await stored(process)

    async def meanwhile(write: int) -> None:
        if write == 6:
            for _ in range(2):
                table.clock.advance(6 * MINUTE)
                await process.sweep()

    assert await until_it_dies(table.process(6, meanwhile).submit(*fresh()))
    items = await table.items()
    assert not [key for key in items if key[0].startswith("B#")]
    assert set(ids_of(items)) & set(FRESH) == {"n1"}
    assert await found(process) == []
    await process.submit(*fresh())
    await agrees(process, *FRESH)
