"""Stores of SQS whose process dies with a write: what it left is mended by another one, and looked at."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from asyncjobs.backends.sqs import keys, values
from asyncjobs.backends.sqs.clients import Clients
from asyncjobs.backends.sqs.table import Item, Table
from asyncjobs.config import SQSConfig
from asyncjobs.models import JobStatus, Outcome
from asyncjobs.testing import ManualClock
from tests import sqs_server
from tests.conformance.support import SUCCESS, Hand, Store
from tests.sqs_capacity import CountingClient
from tests.sqs_wrapped_store import WrappedSQSBackend, shared_clients
from tests.unit.sqs_killed import is_killed
from tests.unit.sqs_support import Dying, until_it_dies

KILLED = os.environ.get("ASYNCJOBS_TEST_KILLED") == "1"
"""Whether processes that die are processes, ended by SIGKILL; else they make no call any more."""
_ROUNDS = 12
"""Sweeps that must be enough: the first are for what others complete, the later ones for what they undo."""


class Mute:
    """A client of a thread that sends nothing: neither heartbeats nor messages are what this is about."""

    def receive_message(self, **_: object) -> dict[str, Any]:
        return {}

    def update_item(self, **_: object) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        pass


class Troubled(Store):
    """A store whose calls of DynamoDB go through a client that makes trouble: ``trouble`` wraps the real one.

    It sends neither heartbeats nor messages by itself.

    :param shared: clients whose connections it uses.
    """

    def __init__(
        self,
        config: SQSConfig,
        trouble: Callable[[Any], Any],
        clock: ManualClock | None,
        shared: Clients | None = None,
    ) -> None:
        self.dynamodb: Any = None
        self.table = config.table

        def wrap(clients: Clients) -> None:
            self.dynamodb = clients.dynamodb = trouble(clients.dynamodb)
            clients.connect = lambda *_: Mute()

        super().__init__(lambda clock: WrappedSQSBackend(config, clock=clock, wrap=wrap, shared=shared))
        if clock is not None:
            self.clock = clock
            self.backend = self.make(clock)

    async def items(self) -> list[Item]:
        """Return all that stands in the table."""
        found: list[Item] = []
        start: dict[str, Any] = {}
        while True:
            page = await self.dynamodb.scan(TableName=self.table, ConsistentRead=True, **start)
            found += map(values.plain_item, page["Items"])
            if "LastEvaluatedKey" not in page:
                return found
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}


class Mortal(Troubled):
    """A store of a process that may die with one of its writes."""

    def __init__(self, config: SQSConfig, clock: ManualClock | None = None, shared: Clients | None = None) -> None:
        super().__init__(config, Dying, clock, shared)

    def count_calls(self) -> CountingClient:
        """Count the calls of this process from now on."""
        backend: Any = self.backend
        table = backend._parts.transitions.table
        table._client = client = CountingClient(self.dynamodb)
        return client


Part = Callable[[Mortal], Awaitable[None]]
Check = Callable[[Mortal, bool], Awaitable[None]]
"""Looks at a store that was mended; if it is to look at the whole, it lets everything run to its end, too."""


def owed(items: list[Item]) -> list[str]:
    """Return what is left to be done by whoever comes next."""
    found = [f"{item['id']} owes its dependents" for item in items if "ow" in item]
    found += [f"{item['pk']} is not in the log" for item in items if "gp" in item]
    found += [f"batch {item['id']} is not done" for item in items if item["pk"].startswith("B#") and "wp" in item]
    found += [f"{item['id']} names a batch" for item in items if "batch" in item or "rm" in item]
    return [*found, *(f"worker {item['sk']} is there" for item in items if item["pk"] == "W")]


@asynccontextmanager
async def mended(
    config: SQSConfig, dead: Mortal, before: Part | None = None, shared: Clients | None = None
) -> AsyncGenerator[Mortal]:
    """Open the store in another process, whose reaps and sweeps run until nothing is owed."""
    await dead.backend.close()
    async with Mortal(config, dead.clock, shared) as other:
        if before is not None:
            await before(other)
        left: list[str] = []
        for place in range(_ROUNDS):
            other.clock.advance(61 if place < 2 else 301)
            await other.backend.reap()
            left = owed(await other.items())
            if not left:
                break
        assert left == []
        yield other


async def play(hand: Hand, outcomes: Mapping[str, Outcome]) -> None:
    """Run what is ready, until nothing is."""
    while ready := await hand.claim():
        await hand.ends({job_id: outcomes.get(job_id, SUCCESS) for job_id in ready})


async def goes_on(store: Mortal, outcomes: Mapping[str, Outcome] = {}) -> dict[str, JobStatus]:
    """Run all that is left; return how each job ended. Each event is in the log once, those of a job from 1 on."""
    hand = await store.hand()
    for _ in range(3):
        await play(hand, outcomes)
        store.clock.advance(120)
        await hand.beat()
    seen: dict[str, int] = {}
    for event in await store.events():
        assert event.seq == seen.get(event.job_id, 0) + 1, f"{event.job_id} {event.seq}"
        seen[event.job_id] = event.seq
    jobs = await store.jobs()
    assert seen.keys() == {job.id for job in jobs}
    return {job.id: job.status for job in jobs}


_WHOLE = 13
"""Behind each so-manieth write there is a look at the whole, and once behind an act that came to its end. It takes more
calls than all else of a try. The number is prime to the steps of tests that share the writes of an act."""


async def prepared(prepare: Part, shared: Clients) -> Mortal:
    """Return the store of a process that has prepared an act: each try begins with a copy of what stands there."""
    store = Mortal(sqs_server.made(shards=1), shared=shared)
    await store.backend.open()
    await prepare(store)
    store.clock.advance(1)  # numbers of jobs are moments
    return store


async def every_write(prepare: Part, act: Part, check: Check, first: int, step: int, before: Part | None = None) -> int:
    """Let each so-manieth write of an act be the last one of its process; return how many were tried.

    :param before: what another process does before it mends what that left.
    """
    async with shared_clients() as shared:
        return await _every_write(prepare, act, check, first, step, before, shared)


async def _every_write(
    prepare: Part, act: Part, check: Check, first: int, step: int, before: Part | None, shared: Clients
) -> int:
    template = await prepared(prepare, shared)
    items = [item for item in await template.items() if item["pk"] != keys.META[0]]
    await template.backend.close()
    at, tried = first, 0
    while True:
        config = sqs_server.made(shards=1)
        dying = Mortal(config, template.clock, shared)
        await dying.backend.open()
        await Table(dying.dynamodb, config.table).put_many(items)
        died = await _dies(dying, config, act, at)
        async with mended(config, dying, before, shared) as other:
            await check(other, at % _WHOLE == 0 or (not died and first == 1))
        if not died:
            return tried
        at, tried = at + step, tried + 1


async def _dies(dying: Mortal, config: SQSConfig, act: Part, at: int) -> bool:
    """Do an act whose process dies with this write; return False if there is none."""
    if not KILLED:
        dying.dynamodb.die_at(at)
        return await until_it_dies(act(dying))

    async def in_a_process(kill: Callable[[], None]) -> None:
        store = Mortal(config, dying.clock)
        await store.backend.open()
        store.dynamodb.die_at(at, kill)
        await act(store)

    return await is_killed(in_a_process, dying.clock)
