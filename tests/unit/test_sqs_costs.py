"""What a job costs on the SQS store, in calls and in units of capacity: no more than was aimed at, as the guide says.

The jobs have generated ids, as those of ``submit_job`` without ``job_id``: ids that are given are read first.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from asyncjobs.backends.base import AttemptEnd
from asyncjobs.backends.sqs import ready_index
from asyncjobs.backends.sqs.backend import SQSBackend
from asyncjobs.core.requests import NewJob
from tests import sqs_server
from tests.conformance.support import COMPLETED, SUCCESS, Hand, Store, new
from tests.sqs_capacity import CountingClient

pytestmark = pytest.mark.anyio

BATCH = 10
JOBS = 50
GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "sqs.md"
AGES = 100_000.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process looks at once a second does not count: how many seconds this takes is chance."""
    monkeypatch.setattr(ready_index, "_LOOK_AFTER", AGES)


class Cost(Struct, frozen=True):
    """What something costs: write units of the table and of the index of each kind, read units, calls."""

    written: float
    in_log: float
    read: float
    calls: float

    @property
    def dollars(self) -> float:
        """Of a million."""
        return (self.written + self.in_log) * 0.625 + self.read * 0.125

    def __sub__(self, other: Cost) -> Cost:
        return Cost(
            self.written - other.written, self.in_log - other.in_log, self.read - other.read, self.calls - other.calls
        )

    def __str__(self) -> str:
        return (
            f"{self.written:.2f} write units, and {self.in_log:.2f} for the log; {self.read:.2f} read units; "
            f"{self.calls:.2f} calls; {self.dollars:.2f} $ a million"
        )


def is_in_the_guide(name: str, found: Cost) -> bool:
    """Return whether the guide says of this what was found, in its table of costs."""
    (row,) = [line for line in GUIDE.read_text().splitlines() if line.startswith(f"| {name} |")]
    figures = [f"{figure:.1f}" for figure in (found.written, found.in_log, found.calls, found.dollars)]
    print(f"| {name} | {' | '.join(figures)} |")
    return row.startswith(f"| {name} | {' | '.join(figures)} |")


def job(job_id: str, *parents: str) -> NewJob:
    return new(job_id, *parents, generated=True)


@asynccontextmanager
async def counted(**settings: Any) -> AsyncGenerator[tuple[Store, CountingClient]]:
    """Open a store whose calls are counted from now on, with everything in it that is made once."""
    config = sqs_server.config(**settings)
    async with Store(lambda clock: SQSBackend(config, clock=clock)) as store:
        backend: Any = store.backend
        table = backend._parts.transitions.table
        hand = await store.hand(lease=AGES)
        await store.submit(job("first"))
        assert await hand.claim() == ["first"]
        await hand.succeed("first")
        await store.events()
        table._client = client = CountingClient(table._client)
        yield store, client


async def cost(store: Store, client: CountingClient, count: int) -> Cost:
    """Return what each of so many jobs has cost since the count began; what is not in the log yet is appended."""
    written, log = client.written.total() - client.written["log"], client.written["log"]
    calls, read = client.calls.total(), client.read
    await store.backend.last_cursor()
    more = client.written.total() - written - log
    found = Cost(written / count, (log + more) / count, read / count, calls / count)
    print(f"{count} jobs, each: {found}; with the log {client.calls.total() / count:.2f} calls")
    return found


async def run(store: Store, hand: Hand, batches: Sequence[Sequence[str]]) -> None:
    """Run batches of ready jobs: each call ends one, and claims the next."""
    claimed = await hand.claim(BATCH)
    for batch in batches:
        assert claimed == batch
        ends = [AttemptEnd(hand.held[job_id], SUCCESS) for job_id in batch]
        finished = await store.backend.update_job_status(ends, hand.wants(BATCH))
        assert set(finished.results) == {COMPLETED}
        claimed = hand.remember(finished.claims)


def batches_of(count: int) -> list[list[str]]:
    ids = [f"j{place:04d}" for place in range(count)]
    return [ids[start : start + BATCH] for start in range(0, count, BATCH)]


async def test_a_short_job() -> None:
    """Submitted by itself, run in batches."""
    async with counted() as (store, client):
        batches = batches_of(JOBS)
        for batch in batches:
            for job_id in batch:
                await store.submit(job(job_id))
        await run(store, store.hands[0], batches)
        found = await cost(store, client, JOBS)
    assert found.written <= 8.2
    assert found.written + found.in_log <= 11.2
    assert found.calls <= 3.3
    assert is_in_the_guide("short job, submitted alone, run in batches of 10", found)


async def test_a_short_job_of_a_batch() -> None:
    """A transaction costs twice as much, and saves nine calls of ten."""
    async with counted() as (store, client):
        batches = batches_of(JOBS)
        for batch in batches:
            await store.submit(*(job(job_id) for job_id in batch))
        await run(store, store.hands[0], batches)
        found = await cost(store, client, JOBS)
    assert found.written <= 9.1
    assert found.written + found.in_log <= 12.5
    assert found.calls <= 2.5
    assert is_in_the_guide("short job, submitted and run in batches of 10", found)


async def test_an_edge_of_a_fan_in() -> None:
    """Of a child with 40 parents: its entry (2), and its count (1)."""
    async with counted() as (store, client):
        batches = batches_of(40)
        ids = [job_id for batch in batches for job_id in batch]
        await store.submit(*(job(job_id) for job_id in ids))
        await run(store, store.hands[0], batches)
        alone = await cost(store, client, len(ids))
    async with counted() as (store, client):
        await store.submit(*(job(job_id) for job_id in ids), job("child", *ids))
        await run(store, store.hands[0], batches)
        together = await cost(store, client, len(ids))
    an_edge = together - alone
    print(f"an edge: {an_edge}")
    assert an_edge.written <= 4
    assert is_in_the_guide("edge to one dependent of 40 jobs, beside these", an_edge)
