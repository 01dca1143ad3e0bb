"""What is done to find out what a job costs on the SQS store, in calls and in units of capacity.

The jobs have generated ids, as those of ``submit_job`` without ``job_id``: ids that are given are read first.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from msgspec import Struct

from asyncjobs.backends.base import AttemptEnd
from asyncjobs.backends.sqs import ready_index
from asyncjobs.backends.sqs.backend import SQSBackend
from asyncjobs.core.requests import NewJob
from tests import sqs_server
from tests.conformance.support import COMPLETED, SUCCESS, Hand, Store, new
from tests.sqs_capacity import CountingClient

BATCH = 10
JOBS = 50
PARENTS = 40
AGES = 100_000.0
WRITE_UNIT, READ_UNIT = 0.625, 0.125
"""Dollars of a million, on demand in us-east-1, since November 2024."""


class Cost(Struct, frozen=True):
    """What something costs: write units of the table and of the index of each kind, read units, calls."""

    written: float
    in_log: float
    read: float
    calls: float

    @property
    def dollars(self) -> float:
        """Of a million."""
        return (self.written + self.in_log) * WRITE_UNIT + self.read * READ_UNIT

    def __sub__(self, other: Cost) -> Cost:
        return Cost(
            self.written - other.written, self.in_log - other.in_log, self.read - other.read, self.calls - other.calls
        )

    def __str__(self) -> str:
        return (
            f"{self.written:.2f} write units, and {self.in_log:.2f} for the log; {self.read:.2f} read units; "
            f"{self.calls:.2f} calls; {self.dollars:.2f} $ a million"
        )


def job(job_id: str, *parents: str) -> NewJob:
    """Return a job with a generated id."""
    return new(job_id, *parents, generated=True)


@asynccontextmanager
async def counted(
    client_of: Callable[[Any], CountingClient] = CountingClient, **settings: Any
) -> AsyncGenerator[tuple[Store, CountingClient]]:
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
        table._client = client = client_of(table._client)
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
    """Return the ids of so many jobs, in batches."""
    ids = [f"j{place:04d}" for place in range(count)]
    return [ids[start : start + BATCH] for start in range(0, count, BATCH)]


def without_looks(replace: Callable[[Any, str, float], object] = setattr) -> None:
    """Leave out what a process looks at once a second: how many seconds this takes is chance."""
    replace(ready_index, "_LOOK_AFTER", AGES)


# -- what costs


Open = Callable[[], Any]
"""Opens a store whose calls are counted."""


async def short_job(opened: Open = counted) -> Cost:
    """Return the cost of a job that is submitted by itself, and run in batches."""
    async with opened() as (store, client):
        batches = batches_of(JOBS)
        for batch in batches:
            for job_id in batch:
                await store.submit(job(job_id))
        await run(store, store.hands[0], batches)
        return await cost(store, client, JOBS)


async def short_job_of_a_batch(opened: Open = counted) -> Cost:
    """Return the cost of a job that is submitted with nine others: a transaction costs twice as much."""
    async with opened() as (store, client):
        batches = batches_of(JOBS)
        for batch in batches:
            await store.submit(*(job(job_id) for job_id in batch))
        await run(store, store.hands[0], batches)
        return await cost(store, client, JOBS)


async def edge_of_a_fan_in(opened: Open = counted) -> Cost:
    """Return the cost of an edge to a child with 40 parents: its entry (2), and a share of its count."""
    batches = batches_of(PARENTS)
    ids = [job_id for batch in batches for job_id in batch]
    async with opened() as (store, client):
        await store.submit(*(job(job_id) for job_id in ids))
        await run(store, store.hands[0], batches)
        alone = await cost(store, client, len(ids))
    async with opened() as (store, client):
        await store.submit(*(job(job_id) for job_id in ids), job("child", *ids))
        await run(store, store.hands[0], batches)
        together = await cost(store, client, len(ids))
    an_edge = together - alone
    print(f"an edge: {an_edge}")
    return an_edge


COSTS: dict[str, Callable[..., Awaitable[Cost]]] = {
    "short job, submitted alone, run in batches of 10": short_job,
    "short job, submitted and run in batches of 10": short_job_of_a_batch,
    "edge to one dependent of 40 jobs, beside these": edge_of_a_fan_in,
}
"""What is measured, by its name in the guide."""
