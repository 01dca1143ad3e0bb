"""Stores of SQS without a backend: parts of one or several processes on one table, of which some die."""

from __future__ import annotations

import functools
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio

from asyncjobs.backends.listeners import Listeners
from asyncjobs.backends.sqs import keys, schema, values
from asyncjobs.backends.sqs.barriers import Barrier
from asyncjobs.backends.sqs.batch_sweep import sweep_batches
from asyncjobs.backends.sqs.clients import Clients
from asyncjobs.backends.sqs.deciding import Deciding
from asyncjobs.backends.sqs.dependents import Dependents
from asyncjobs.backends.sqs.known import Known
from asyncjobs.backends.sqs.loading import existing, read_rows
from asyncjobs.backends.sqs.log import Log
from asyncjobs.backends.sqs.numbers import numbers_of
from asyncjobs.backends.sqs.removal import Removal
from asyncjobs.backends.sqs.rows import Row
from asyncjobs.backends.sqs.server_clock import StoreClock
from asyncjobs.backends.sqs.steps import Steps
from asyncjobs.backends.sqs.submitting import Submitting
from asyncjobs.backends.sqs.table import WORK, Item, Table
from asyncjobs.backends.sqs.transitions import Transitions
from asyncjobs.core import commands
from asyncjobs.core.plan import Plan
from asyncjobs.core.requests import AttemptEnd, AttemptRef, NewJob
from asyncjobs.core.state import NewEvent
from asyncjobs.models import BodyEvent, Outcome
from asyncjobs.safe_logging import SafeLogger
from asyncjobs.testing import ManualClock
from tests import sqs_server
from tests.sqs_faults import ReadOnly

WORKER = 7
EVERY = int(os.environ.get("ASYNCJOBS_TEST_EVERY", "8"))
"""Of the many writes of something large, each so-manieth is tried as the last one of its process."""
STRIDE = 32
FIRST = [*range(1, STRIDE + 1, EVERY)]
"""The first write that each of several tests tries, which share them: it goes on with every ``STRIDE``-th. None of them
takes longer if more are tried."""
WRITES = ("put_item", "update_item", "delete_item", "transact_write_items", "batch_write_item")


class Crash(BaseException):
    """The death of a process."""


Meanwhile = Callable[[int], Awaitable[None]]
"""What others do before a write of a process, which is given its number."""


class Dying:
    """A client whose process dies with one of its writes: after that it makes no call any more.

    :param at: which write is the last one, from 1; 0: none. ``writes`` counts them, ``reads`` the calls that read and
        ``read`` the bytes of their answers.
    :param meanwhile: called before each write.
    """

    def __init__(self, client: Any, at: int = 0, meanwhile: Meanwhile | None = None) -> None:
        self._client = client
        self._at = at
        self._meanwhile = meanwhile
        self._die: Callable[[], object] = _crash
        self.writes = self.reads = self.read = 0

    def die_at(self, at: int, die: Callable[[], object] | None = None) -> None:
        """Die with this write from now on.

        :param die: ends the process. Default: it makes no call any more.
        """
        self._at, self.writes, self._die = at, 0, die or _crash

    def meanwhile(self, act: Meanwhile | None) -> None:
        """Have this happen before each write from now on."""
        self._meanwhile, self.writes = act, 0

    def __getattr__(self, name: str) -> Any:
        return functools.partial(self._call, name)

    async def _call(self, name: str, **request: Any) -> Any:
        if self._at and self.writes >= self._at:
            if self._die is not _crash:
                await anyio.sleep_forever()  # the last write is on its way, and with its answer comes the end
            raise Crash
        if name not in WRITES:
            answer = await getattr(self._client, name)(**request)
            self.reads += 1
            self.read += int(answer["ResponseMetadata"]["HTTPHeaders"]["content-length"])
            return answer
        self.writes += 1
        last = self.writes == self._at
        if self._meanwhile is not None:
            await self._meanwhile(self.writes)
        answer = await getattr(self._client, name)(**request)
        if last:
            self._die()
        return answer


def _crash() -> None:
    raise Crash


class Process:
    """What one process has open."""

    def __init__(self, client: Any, table: str, clock: StoreClock, shards: int) -> None:
        self.client = client
        self.table = Table(client, table)
        self.known = Known()
        names = {WORKER: ("w7-x", "seven")}
        self.listeners = Listeners(SafeLogger("asyncjobs.tests"))
        self.transitions = Transitions(
            self.table,
            clock,
            names,
            self.listeners,
            self.known.notice,
            self._stored,
            shards=shards,
        )
        self.log = Log(self.transitions)
        self.dependents = Dependents(self.transitions)
        self.submitting = Submitting(self.transitions, numbers_of(table), lambda lane: None)
        self.removal = Removal(self.transitions, self.known)
        self.steps = Steps(self.transitions, self.known, lambda worker: WORKER)
        self.deciding = Deciding(self.transitions)
        self.barrier = Barrier()

    def _stored(self, events: Sequence[tuple[Row, NewEvent]]) -> None:
        self.log.stored(events)

    async def submit(self, *jobs: NewJob, by: tuple[str, int, int] | None = None) -> None:
        """Submit jobs, in the body of an attempt if one is given."""
        await self.dependents.settle(await self.submitting.enqueue(jobs, by))

    async def retry(self, job_id: str, *, fresh: bool = False) -> None:
        """Retry a job by hand."""
        _, owed = await self.deciding.retry(job_id, fresh=fresh)
        await self.dependents.settle(owed)

    async def row(self, job_id: str) -> Row | None:
        """Read a row."""
        return (await self.rows(job_id)).get(job_id)

    async def rows(self, *ids: str) -> dict[str, Row]:
        """Read the rows that exist."""
        found = await read_rows(self.table, ids)
        return {job_id: row for job_id, row in found.items() if row is not None}

    async def start(self, job_id: str) -> tuple[str, int, int]:
        """Begin an attempt of a ready job; return it as it submits."""

        def start(plan: Plan) -> int:
            (job,) = commands.start(plan, list(plan.numbers([job_id]).values()), WORKER)
            return job.attempt

        attempt, _ = await self.transitions.commit(start)
        return job_id, attempt, WORKER

    async def end(self, job_id: str, outcome: Outcome) -> None:
        row = await self.row(job_id)
        assert row is not None
        end = AttemptEnd(AttemptRef(job_id, row.state.attempt, "w7-x"), outcome)
        _, owed = await self.transitions.commit(lambda plan: commands.finish(plan, [(row.n, WORKER, end)]), [row])
        await self.dependents.settle(owed)

    async def say(self, job_id: str, *events: BodyEvent) -> None:
        """Store events of the body of an attempt that runs."""
        row = await self.row(job_id)
        assert row is not None
        batch = (row.n, row.state.attempt, WORKER, events)
        stored, _ = await self.transitions.commit(lambda plan: commands.append_events(plan, [batch]), [row])
        assert stored == [True]

    async def run(self, *ids: str, outcome: Outcome) -> None:
        for job_id in ids:
            await self.start(job_id)
            await self.end(job_id, outcome)

    async def cancel(self, *ids: str) -> None:
        for job_id in ids:
            _, owed = await self.transitions.commit(
                lambda plan, job_id=job_id: commands.cancel(plan, list(plan.numbers([job_id]).values()))
            )
            await self.dependents.settle(owed)

    async def sweep(self) -> None:
        """Do what the sweep of any process does: complete or undo batches, and settle what is owed."""
        for shard in range(self.transitions.shards):
            await sweep_batches(self.transitions, shard, self.barrier)
            page = await self.table.query(keys.owed(shard), index=WORK)
            items = await self.table.get([(item["pk"], item["sk"]) for item in page.items])
            await self.dependents.settle((await existing(self.table, items)).values())

    async def entries(self, partition: Callable[[int], str]) -> list[tuple[str, str]]:
        """Return the keys of what stands in these partitions of the index of work."""
        found: list[Item] = []
        for shard in range(self.transitions.shards):
            found += await self.table.query_all(partition(shard), index=WORK)
        return [(item["pk"], item["sk"]) for item in found]


class World:
    """A table that several processes have open."""

    def __init__(self, clients: Clients, name: str, shards: int, clock: ManualClock | None = None) -> None:
        self._clients = clients
        self._name = name
        self._shards = shards
        self.clock = clock or ManualClock()

    def process(self, dies_at: int = 0, meanwhile: Meanwhile | None = None) -> Process:
        """Open the table once more."""
        clock = StoreClock(self.clock, self._clients.server_time)
        return Process(Dying(self._clients.dynamodb, dies_at, meanwhile), self._name, clock, self._shards)

    def reader(self) -> Process:
        """Open the table in a process that may not write."""
        clock = StoreClock(self.clock, self._clients.server_time)
        return Process(ReadOnly(self._clients.dynamodb), self._name, clock, self._shards)

    async def items(self) -> dict[tuple[str, str], Item]:
        """Return all that stands in the table."""
        found: dict[tuple[str, str], Item] = {}
        start: dict[str, Any] = {}
        while True:
            page = await self._clients.dynamodb.scan(TableName=self._name, ConsistentRead=True, **start)
            for stored in page["Items"]:
                item = values.plain_item(stored)
                found[item["pk"], item["sk"]] = item
            if "LastEvaluatedKey" not in page:
                return found
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}


class Worlds:
    """Tables of one shard, each for itself, at the same connections: those take long to make."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    async def new(self, shards: int = 1, clock: ManualClock | None = None) -> World:
        """Make a table. No queue is needed."""
        config, dynamodb = sqs_server.config(shards=shards), self._clients.dynamodb
        await dynamodb.create_table(**schema.table_definition(config.table))
        await dynamodb.get_waiter("table_exists").wait(TableName=config.table)
        meta = await schema.meta_of(config, self._clients)
        return World(self._clients, config.table, meta["shards"], clock)

    async def copies(self, world: World) -> Callable[[], Awaitable[World]]:
        """Return what makes copies of a table as it is now: filling one is cheaper than doing what filled it."""
        items = list((await world.items()).values())
        world.clock.advance(1)  # numbers of jobs are moments

        async def copy() -> World:
            made = await self.new(clock=world.clock)
            await made.process().table.put_many(items)
            return made

        return copy


@asynccontextmanager
async def worlds() -> AsyncGenerator[Worlds]:
    """Open the connections."""
    clients = await Clients.open(sqs_server.config())
    try:
        yield Worlds(clients)
    finally:
        await clients.close()


async def until_it_dies(work: Awaitable[object]) -> bool:
    """Return whether the process died of it; False: it had no such write."""
    try:
        await work
    except Crash:
        return True
    except BaseExceptionGroup as group:
        if group.split(Crash)[1] is not None:
            raise
        return True
    return False


def ids_of(items: dict[tuple[str, str], Item]) -> Sequence[str]:
    """Return the ids of the rows among these items."""
    return sorted(item["id"] for item in items.values() if "s" in item)
