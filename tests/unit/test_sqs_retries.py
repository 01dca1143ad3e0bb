"""Retries of more jobs than a transaction takes: noted until they are done, and nothing is settled half-way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import count

import anyio
import pytest

from asyncjobs.backends.sqs import batches, keys, reviving
from asyncjobs.backends.sqs.table import Item
from asyncjobs.models import EdgeState, JobStatus
from tests.conformance.support import FATAL, new
from tests.unit.sqs_support import Process, World, until_it_dies, worlds

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("tables_in_second")]

IDS = [f"c{place}" for place in range(8)]
SIGNS = (len(IDS) + 1) // 4
"""Signs of life of a process that retries one job more."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def table() -> AsyncIterator[World]:
    async with worlds() as opened:
        yield await opened.new()


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few jobs are many."""
    monkeypatch.setattr(reviving, "_IN_ONE", 3)
    monkeypatch.setattr(batches, "SLICE", 4)


async def notes(table: World) -> list[Item]:
    return [item for (pk, _), item in (await table.items()).items() if pk.startswith(f"B#{batches.RETRY}")]


async def skipped(process: Process, *roots: str) -> None:
    """Store jobs that fail, and others that are skipped because of all of them."""
    await process.submit(*(new(root) for root in roots), *(new(job_id, *roots, require=1) for job_id in IDS))
    await process.run(*roots, outcome=FATAL)
    assert await statuses(process) == {JobStatus.SKIPPED}


async def statuses(process: Process) -> set[JobStatus]:
    return {row.state.status for row in (await process.rows(*IDS)).values()}


async def test_a_retry_that_shows_life_is_not_completed_by_others(table: World) -> None:
    other = table.process()
    await skipped(other, "root")

    async def sweep(_: int) -> None:
        table.clock.advance(8)
        await other.sweep()

    process = table.process(meanwhile=sweep)
    await process.retry("root")
    assert await statuses(process) == {JobStatus.PENDING}
    assert await notes(table) == []
    assert process.client.writes == 1 + len(IDS) + 1 + SIGNS + 1, "the note, each job, signs, the end of the note"


@pytest.mark.parametrize("first", range(1, 4))
async def test_a_retry_that_stood_still_finds_it_completed(table: World, first: int) -> None:
    """Wherever it stood still, between any two of its writes."""
    for stands_still in count(first, 3):
        other = table.process()
        await skipped(other, "root")
        stood = False

        async def complete(write: int, at: int = stands_still, other: Process = other) -> None:
            nonlocal stood
            if write == at:
                stood = True
                table.clock.advance(61)
                await other.sweep()

        process = table.process(meanwhile=complete)
        await process.retry("root")
        assert await statuses(process) == {JobStatus.PENDING}
        assert await notes(table) == []
        rows = await process.rows("root", *IDS)
        assert {row.reopened for job_id, row in rows.items() if job_id != "root"} == {1}, "once"
        assert rows["root"].state.status is JobStatus.PENDING
        await process.cancel("root", *IDS)
        table.clock.advance(1)
        await process.removal.prune(table.clock.now(), 100)
        if not stood:
            return


async def test_a_retried_job_names_the_retries_that_are_under_way(table: World) -> None:
    process = table.process()
    await skipped(process, "a", "b")
    reached, goes_on = anyio.Event(), anyio.Event()

    async def stand_still(write: int) -> None:
        if write == 1 + len(IDS) + SIGNS + 1:  # that of the retried job, which is the last one
            reached.set()
            await goes_on.wait()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(table.process(meanwhile=stand_still).retry, "a")
        await reached.wait()
        (first,) = await notes(table)
        rows = await process.rows(*IDS)
        assert {row.retries for row in rows.values()} == {(first["id"],)}
        assert await until_it_dies(table.process(dies_at=1 + len(IDS)).retry("b"))
        (second,) = [note for note in await notes(table) if note["id"] != first["id"]]
        rows = await process.rows(*IDS)
        assert (first["id"], second["id"]) in {row.retries for row in rows.values()}, "both are under way"
        goes_on.set()
    assert [note["id"] for note in await notes(table)] == [second["id"]]
    table.clock.advance(61)
    await process.sweep()
    assert await notes(table) == []
    assert {row.edges for row in (await process.rows(*IDS)).values()} == {(EdgeState.OPEN, EdgeState.OPEN)}


async def test_an_edge_to_a_job_that_is_being_retried_is_owed_until_that_is_done(table: World) -> None:
    process = table.process()
    await process.submit(new("root"), new("other"), *(new(job_id, "root", "other?") for job_id in IDS))
    await process.run("root", outcome=FATAL)
    assert await until_it_dies(table.process(dies_at=5).retry("root"))
    await process.run("other", outcome=FATAL)
    assert await process.entries(keys.owed) == [keys.row("other")]
    edges = [row.edges for row in (await process.rows(*IDS)).values()]
    assert edges.count((EdgeState.OPEN, EdgeState.OPEN)) == 3, "those that the retry has written"
    assert edges.count((EdgeState.BROKEN, EdgeState.PASSED)) == len(IDS) - 3
    table.clock.advance(61)
    await process.sweep()
    assert {row.edges for row in (await process.rows(*IDS)).values()} == {(EdgeState.OPEN, EdgeState.PASSED)}
    assert await process.entries(keys.owed) == []
