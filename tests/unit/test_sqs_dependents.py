"""What ends together is settled together: a dependent of many jobs is read once, and written once for many edges.

``ASYNCJOBS_TEST_DEPENDENCIES=5000`` tries as many dependencies of one job as the store takes, which are 500 otherwise.
"""

from __future__ import annotations

import os

import pytest

from asyncjobs.backends.sqs import dependents, keys, sizes
from asyncjobs.backends.sqs.loading import read_rows
from asyncjobs.exceptions import BackendError
from tests.conformance.support import BROKEN, COMPLETED, FATAL, MET, SKIPPED, SUCCESS, new
from tests.properties.sqs_directed import AGES, LEASE, Process, Tap, processes, writes
from tests.sqs_costs import job
from tests.unit.sqs_support import until_it_dies

pytestmark = [pytest.mark.anyio, pytest.mark.untraced, pytest.mark.usefixtures("tables_in_second")]

AT_ONCE = 50
MOST = int(os.environ.get("ASYNCJOBS_TEST_DEPENDENCIES", "500"))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def ids_of(count: int) -> list[str]:
    return [f"p{place:04d}" for place in range(count)]


async def edges_to(process: Process, child: str) -> list[int]:
    """Return the states of the edges to a job, in the order of its parents."""
    row = (await read_rows(process.backend._parts.transitions.table, [child]))[child]
    assert row is not None
    return list(row.edges)


async def settle(process: Process, *ids: str) -> None:
    """Settle these jobs, as whoever takes over what their worker owed."""
    parts = process.backend._parts
    rows = await read_rows(parts.transitions.table, ids)
    await parts.dependents.settle([row for row in rows.values() if row is not None])


@pytest.mark.parametrize("count", [40, 300])
async def test_the_calls_for_a_job_below_many_grow_with_the_number_of_these(count: int) -> None:
    """For each parent: its claim, its end, and a look for its dependents. What comes to that is for fifty together."""
    ids = ids_of(count)
    async with processes(1) as (one,):
        await one.submit(*(job(job_id) for job_id in ids), job("child", *ids))
        hand = await one.hand(lease=AGES)
        tap = one.tap()
        batches = -(-count // AT_ONCE)
        for _ in range(batches):
            await hand.succeed(*await hand.claim(AT_ONCE))
        assert tap.writes[keys.row("child")] == batches + 1, "one for all edges that decide nothing, and the verdict"
        assert tap.calls.total() <= 3 * count + 12 * batches
        assert await hand.claim() == ["child"]


async def test_an_edge_that_another_process_counts_meanwhile_is_counted_once() -> None:
    async with processes(2) as (one, other):
        await one.submit(new("a"), new("b"), new("c"), new("child", "a", "b", "c"))
        hand = await one.hand(lease=AGES)
        assert await hand.claim() == ["a", "b", "c"]
        tap, others = one.tap(), other.tap()
        tap.at(writes(keys.row("child"), "e"), before=lambda: settle(other, "b"))
        await hand.succeed("a", "b", "c")
        assert others.done[keys.row("child")] == 1
        assert tap.writes[keys.row("child")] - tap.done[keys.row("child")] == 1, "all of it is refused"
        assert await edges_to(one, "child") == [MET, MET, MET]
        assert await hand.claim() == ["child"]
        assert (await one.types("child")).count("started") == 1


async def test_one_that_decides_among_many_is_the_cause_and_the_others_count() -> None:
    async with processes(1) as (one,):
        ids = ids_of(6)
        await one.submit(*map(new, ids), new("child", *ids), new("below", "child"))
        hand = await one.hand(lease=AGES)
        assert await hand.claim() == ids
        tap = one.tap()
        outcomes = dict.fromkeys(ids, SUCCESS) | {ids[2]: FATAL, ids[4]: FATAL}
        await hand.ends(outcomes)
        (child,) = await one.backend.get_jobs(["child"])
        assert (child.status, child.because) == (SKIPPED, ids[2])
        assert await edges_to(one, "child") == [MET, MET, BROKEN, MET, BROKEN, MET]
        assert tap.writes[keys.row("child")] == 4, "two, the one that decides, three, and that it owes nothing"
        (below,) = await one.backend.get_jobs(["below"])
        assert (below.status, below.because) == (SKIPPED, ids[2])


async def test_a_verdict_is_given_although_all_who_have_counted_the_last_edges_died() -> None:
    """Each of two processes has counted some, and neither has seen that none is left."""
    async with processes(3) as (one, other, heir):
        ids = ids_of(6)
        await one.submit(*map(new, ids), new("child", *ids))
        hand, late = await one.hand(lease=LEASE), await other.hand(lease=LEASE)
        assert await hand.claim(3) == ids[:3]
        assert await late.claim() == ids[3:]
        tap = other.tap()
        tap.at(writes(keys.row("child"), "e"), before=lambda: hand.succeed(*ids[:3]), after=tap.die)
        assert await until_it_dies(late.succeed(*ids[3:]))
        assert await edges_to(heir, "child") == [MET] * 6
        heirs = await heir.hand(lease=AGES)
        assert await heirs.claim() == []
        await heir.reap()
        assert await heirs.claim() == ["child"]


async def test_a_job_is_settled_once_for_all_of_its_dependents_and_again_without_a_write(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dependents, "_PAGE", 4)
    async with processes(1) as (one,):
        ids = ids_of(6)
        await one.submit(*map(new, ids), *(new(f"c{place}", *ids) for place in range(3)))
        hand = await one.hand(lease=AGES)
        assert await hand.claim() == ids
        await hand.succeed(*ids)
        tap: Tap = one.tap()
        await settle(one, *ids)
        assert not tap.writes
        assert [end.status for end in await one.backend.get_jobs(ids)] == [COMPLETED] * 6
        assert await hand.claim() == ["c0", "c1", "c2"]


# -- the limit


async def stored(process: Process, count: int) -> list[str]:
    """Have so many completed jobs in the table, as copies of one."""
    table = process.backend._parts.transitions.table
    await process.submit(new("first"))
    hand = await process.hand(lease=AGES)
    await hand.run("first")
    await process.backend.last_cursor()
    item = (await table.get([keys.row("first")]))[keys.row("first")]
    ids = ids_of(count)
    rows = [dict(zip(("pk", "sk"), keys.row(job_id), strict=True)) | {"id": job_id} for job_id in ids]
    await table.put_many([item | row | {"n": int(item["n"]) - count + place} for place, row in enumerate(rows)])
    return ids


async def test_a_job_below_as_many_as_the_store_takes_is_released_by_the_last_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sizes, "MOST_DEPENDENCIES", MOST)
    async with processes(1) as (one,):
        ids = await stored(one, MOST - 3)
        last = ["x", "y", "z"]
        await one.submit(*map(new, last))
        await one.submit(new("child", *ids, *last))
        (hand,) = one.hands
        assert await hand.claim() == last
        await hand.succeed("z")
        await hand.succeed("x")
        assert await hand.claim() == []
        await hand.succeed("y")
        assert await hand.claim() == ["child"]
        assert await edges_to(one, "child") == [MET] * MOST
        (child,) = await one.backend.get_jobs(["child"])
        assert child.depends_on == (*ids, *last)


async def test_a_job_below_more_than_that_is_refused_before_anything_is_read_or_stored() -> None:
    ids = ids_of(sizes.MOST_DEPENDENCIES + 1)
    async with processes(1) as (one,):
        tap = one.tap()
        with pytest.raises(BackendError, match=r"'child' depends on 5,001 jobs; the SQS store takes 5,000") as refused:
            await one.submit(new("beside"), new("child", *ids))
        assert refused.value.code == "too-big"
        assert refused.value.hint == "let jobs in between depend on some of them each, and this one on those"
        assert not tap.calls
        await one.submit(new("again"), new("twice", "again", *(["again"] * sizes.MOST_DEPENDENCIES)))
