"""Removal in the table: a component goes in one moment, or stays, whatever comes between and whoever dies."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from asyncjobs.backends.sqs import batches, keys, removal, submitting
from asyncjobs.backends.sqs.removal import Removal
from asyncjobs.backends.sqs.rows import Row
from asyncjobs.core.requests import AttemptRef, Keep, NewJob
from asyncjobs.exceptions import JobStateError, UnknownDependencyError
from asyncjobs.models import JobStatus
from tests.conformance.support import FATAL, SUCCESS, new
from tests.unit.sqs_support import EVERY, FIRST, STRIDE, Meanwhile, Process, World, Worlds, ids_of, until_it_dies

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("tables_in_second")]

MINUTE = 60
BETWEEN = 1 if EVERY == 1 else 3
"""Before each so-manieth write of a removal others come between."""
Copy = Callable[[], Awaitable[World]]
IDS = [f"o{i}" for i in range(7)]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["in one transaction", "by a batch"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Remove a few jobs in the way of a few, or of many."""
    if request.param == "by a batch":
        monkeypatch.setattr(removal, "_IN_ONE", 3)
        monkeypatch.setattr(batches, "SLICE", 3)
    return request.param


def connected() -> list[NewJob]:
    """Return jobs of one component that have all kinds of items."""
    return [
        new("o0", group="g", call=b"c" * 1000),
        new("o1", "o0?"),
        new("o2", "o0", "o1?", group="h"),
        new("o3", "o1?"),
        *(new(job_id, "o0?") for job_id in IDS[4:]),
    ]


async def ended(process: Process) -> None:
    """Store a component that has ended, with steps, and one job beside."""
    await process.submit(*connected(), new("beside", group="g"))
    attempt = await process.start("o0")
    ref = AttemptRef("o0", attempt[1], "w7-x")
    await process.steps.write([Keep(ref, "small", b"1"), Keep(ref, "large", b"2" * 100_000)])
    await process.end("o0", FATAL)
    for job_id in IDS[1:]:
        row = await process.row(job_id)
        assert row is not None
        if not row.state.status.terminal:
            await process.run(job_id, outcome=SUCCESS)


async def found(process: Process) -> list[str]:
    rows = await process.rows(*IDS)
    return [job_id for job_id in IDS if job_id in rows]


async def is_clean(table: World, process: Process) -> None:
    """Assert that nothing of the component is left, and nothing undone."""
    items = await table.items()
    assert ids_of(items) == ["beside"]
    beside = await process.row("beside")
    assert beside is not None
    allowed = {"B#", "G", "GL", "LANES", "META"}
    for pk, sk in items:
        own = pk in (keys.row("beside")[0], beside.partition, keys.named("G", "g"))
        assert own or pk[:2] == "B#" or pk in allowed, (pk, sk)
        assert sk[:2] != "I#"
    members = await process.table.query_all(keys.named("G", "g"))
    assert [member["id"] for member in members] == ["beside"]
    assert await process.entries(keys.staged) == []


async def remove(process: Process) -> list[str]:
    return await process.removal.remove(["o3"], components=True)


async def prune(process: Process) -> list[str]:
    now = process.transitions.clock.now()
    return IDS if await process.removal.prune(now, 100) == len(IDS) else []


Remove = Callable[[Process], Awaitable[list[str]]]
both = pytest.mark.parametrize("away", [remove, prune])


@both
async def test_nothing_is_left_of_a_component(table: World, away: Remove, way: str) -> None:
    process = table.process()
    await ended(process)
    table.clock.advance(1)
    assert process.removal.removed == 0
    assert await away(process) == IDS
    assert process.removal.removed == len(IDS)
    await is_clean(table, process)
    await process.submit(*connected())
    assert await found(process) == IDS, "the ids are free"


async def test_a_component_of_150_goes_at_once(table: World) -> None:
    process = table.process()
    await process.submit(new("hub"), *(new(f"m{i}", "hub?") for i in range(149)))
    await process.cancel("hub", *(f"m{i}" for i in range(149)))
    table.clock.advance(1)
    assert await process.removal.prune(table.clock.now(), 10) == 150
    assert ids_of(await table.items()) == []
    assert await process.entries(keys.staged) == []


async def test_the_highest_position_is_noted_before_anything_is_removed(table: World, way: str) -> None:
    process = table.process()
    await ended(process)
    asked: list[list[str]] = []
    positions = iter([7, 5, 9])

    async def highest(rows: object) -> int:
        asked.append([row.id for row in rows if isinstance(row, Row)])
        assert await found(process) == IDS
        return next(positions)

    removing = Removal(process.transitions, process.known, highest)

    async def pruned() -> object:
        return (await process.table.get([keys.META]))[keys.META].get("pruned")

    await removing.remove(["o0"], components=True)
    assert (asked, await pruned()) == ([IDS], 7)
    for position in (7, 9):
        await ended_again(process)
        await removing.remove(["o0"], components=True)
        assert await pruned() == position, "it never goes back"


async def ended_again(process: Process) -> None:
    await process.submit(*connected())
    await process.cancel(*IDS)


# -- every write is the last of its process


@pytest.fixture
async def copy(aws: Worlds) -> Copy:
    """Return what makes tables in which a component has ended."""
    table = await aws.new()
    await ended(table.process())
    return await aws.copies(table)


async def dies(copy: Copy, at: int, away: Remove) -> bool:
    """Remove in a process that dies, and mend it by another; return whether it died."""
    table = await copy()
    died = await until_it_dies(away(table.process(at)))
    other = table.process()
    assert await found(other) in ([], IDS), "a part of it is seen"
    for _ in range(2):
        table.clock.advance(6 * MINUTE)
        await other.sweep()
    if await found(other):
        assert died
        rows = await other.rows(*IDS)
        assert [row.removal for row in rows.values()] == [None] * len(IDS)
        assert await other.entries(keys.staged) == []
        await other.retry("o0")
        await other.run("o0", outcome=FATAL)
        table.clock.advance(1)
        assert await away(other) == IDS
    await is_clean(table, other)
    return died


@both
@pytest.mark.parametrize("first", [1, 2, 3])
async def test_every_write_is_the_last_of_its_process(copy: Copy, away: Remove, first: int, way: str) -> None:
    at = first
    while await dies(copy, at, away):
        at += 3
    assert at > 3


@pytest.mark.slow
@pytest.mark.parametrize("first", FIRST)
async def test_a_write_of_a_large_removal_is_the_last_of_its_process(aws: Worlds, first: int) -> None:
    ended = await aws.new()
    ids = ["hub", *(f"m{i}" for i in range(149))]
    await ended.process().submit(new("hub"), *(new(job_id, "hub?") for job_id in ids[1:]))
    await ended.process().cancel(*ids)
    copy = await aws.copies(ended)
    at, died = first, True
    while died:
        table = await copy()
        process = table.process()
        died = await until_it_dies(table.process(at).removal.remove(["hub"], components=True))
        assert len(await process.rows(*ids)) in (0, 150)
        other = table.process()
        for _ in range(2):
            table.clock.advance(6 * MINUTE)
            await other.sweep()
        assert await other.entries(keys.staged) == []
        if rows := await other.rows(*ids):
            assert {row.removal for row in rows.values()} == {None}, "as if nothing had been begun"
            if at == first:
                assert await other.removal.remove(["m7"], components=True) == ids
        if not await other.rows(*ids):
            assert ids_of(await table.items()) == []
        at += STRIDE
    assert at > 300


# -- what comes between

Between = Callable[[Process], Awaitable[None]]


async def retry_it(other: Process) -> None:
    row = await other.row("o0")
    if row is not None:
        await other.retry("o0")


async def depend_on_it(other: Process) -> None:
    try:
        await other.submit(new("late", "o3", "o2?"))
    except UnknownDependencyError:
        assert await found(other) == []


async def depend_on_it_by_many(other: Process) -> None:
    try:
        await other.submit(new("late", "o3"), *(new(f"late{i}", "o4?", "late") for i in range(10)))
    except UnknownDependencyError:
        assert await found(other) == []


async def remove_it(other: Process) -> None:
    await remove(other)


@both
@pytest.mark.parametrize("between", [retry_it, depend_on_it, depend_on_it_by_many, remove_it])
async def test_others_may_come_before_any_write(
    copy: Copy, away: Remove, between: Between, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submitting, "_IN_ONE", 20)  # what many jobs are
    at, more = 1, True
    while more:
        table = await copy()
        other = table.process()
        removing = table.process(meanwhile=at_write(at, between, other))
        try:
            removed = await away(removing)
        except JobStateError:
            removed = []
        more = removing.client.writes >= at
        late = await other.row("late")
        if late is not None:
            assert await found(other) == IDS
            assert removed == []
            assert late.state.status is JobStatus.PENDING
        elif between is remove_it:
            assert await found(other) == []
            assert (removed == IDS) is (removing.removal.removed == len(IDS))
            assert removing.removal.removed + other.removal.removed == len(IDS)
        else:
            assert await found(other) in ([], IDS)
            assert (await found(other) == []) is (removed == IDS)
        if not await found(other):
            await is_clean(table, other)
        at += BETWEEN


def at_write(at: int, between: Between, other: Process) -> Meanwhile:
    """Return what another process does before a write of a removal, of which it never sees a part."""

    async def meanwhile(write: int) -> None:
        assert await found(other) in ([], IDS)
        if write == at:
            await between(other)

    return meanwhile


@pytest.mark.parametrize("first", [1, 2, 3])
async def test_a_process_that_stood_still_deletes_nothing_of_the_next_job_of_that_id(
    copy: Copy, first: int, way: str
) -> None:
    at, more = first, True
    while more:
        table = await copy()
        other = table.process()

        async def take_the_ids(other: Process, table: World = table) -> None:
            table.clock.advance(6 * MINUTE)
            await other.sweep()
            if not await found(other):
                await other.submit(*connected())
                assert await found(other) == IDS

        zombie = table.process(meanwhile=at_write(at, take_the_ids, other))
        before = await other.rows(*IDS)
        await remove(zombie)
        after = await other.rows(*IDS)
        more = zombie.client.writes >= at
        if after:
            assert list(after) == IDS
            assert after["o0"].n != before["o0"].n
            assert await other.removal.remove([], components=True) == []
            await other.run("o0", outcome=SUCCESS)
            await other.run("o1", outcome=SUCCESS)
            await other.run(*IDS[2:], outcome=SUCCESS)
        at += 3


# -- by age


async def test_a_call_goes_on_where_the_last_one_left_it(
    table: World, aws: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stays is not looked at by each call, and does not hide what goes."""
    monkeypatch.setattr(removal, "_LOOKED_AT", 40)
    monkeypatch.setattr(removal, "_CANDIDATES", 40)
    process = table.process()
    old = [f"s{i}" for i in range(60)]
    await process.submit(*(new(job_id) for job_id in (*old, "goes")))
    await process.cancel(*old, "goes")
    for start in range(0, 60, 20):
        await process.submit(*(new(f"child-{job_id}", f"{job_id}?") for job_id in old[start : start + 20]))
    table.clock.advance(1)
    assert [await process.removal.prune(table.clock.now(), 10) for _ in range(4)] == [0, 1, 0, 0]


async def test_the_first_that_ended_go_first(aws: Worlds) -> None:
    table = await aws.new(shards=4)
    process = table.process()
    await process.submit(*(new(f"j{i}") for i in range(6)))
    for i in (3, 1, 5, 0, 2, 4):
        table.clock.advance(1)
        await process.cancel(f"j{i}")
    table.clock.advance(1)
    assert await process.removal.prune(table.clock.now(), 2) == 2
    assert ids_of(await table.items()) == ["j0", "j2", "j4", "j5"]
    assert await process.removal.prune(table.clock.now() - 2_000_000, 2) == 2
    assert ids_of(await table.items()) == ["j2", "j4"]
    assert await process.removal.prune(table.clock.now() - 60_000_000, 2) == 0


async def test_steps_that_no_longer_count_are_deleted_in_steps(table: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removal, "_STEPS", 100)
    process = table.process()
    await process.submit(new("a"))
    for attempt in (1, 2):
        await process.start("a")
        ref = AttemptRef("a", attempt, "w7-x")
        await process.steps.write([Keep(ref, f"{attempt}-{i:03}", b"x" * 100) for i in range(140)])
        await process.steps.write([Keep(ref, f"{attempt}-large", b"x" * 100_000)])
        if attempt == 1:
            await process.end("a", FATAL)
            await process.retry("a", fresh=True)
    await process.steps.write([Keep(AttemptRef("a", 2, "w7-x"), "1-007", b"again")])

    async def old() -> int:
        items = await table.items()
        return len([key for key in items if key[1].startswith((f"{keys.STEP}1-", "V#"))])

    counts: list[int] = []
    for _ in range(5):
        counts.append(await old())
        assert await process.removal.prune(0, 10) == 0
    assert counts == [143, 44, 2, 2, 2], "a call looks at 100"
    assert await process.steps.count("a") == 142
    assert await process.steps.value("a", "1-007") == b"again"
    assert await process.steps.value("a", "2-large") == b"x" * 100_000
    assert await process.table.query_all(keys.OUTDATED) == []
