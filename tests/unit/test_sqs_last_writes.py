"""Every write of a whole store is the last one of its process: another one mends what that left, and goes on."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from asyncjobs.backends.sqs import keys, values
from asyncjobs.backends.sqs.clients import Clients
from asyncjobs.backends.sqs.table import Item, Table
from asyncjobs.config import SQSConfig
from asyncjobs.models import JobStatus, Outcome
from asyncjobs.testing import ManualClock
from tests import sqs_server
from tests.conformance.support import COMPLETED, FAILED, FATAL, OPEN, PENDING, SKIPPED, SUCCESS, Hand, Store, new
from tests.sqs_wrapped_store import WrappedSQSBackend
from tests.unit.sqs_support import FIRST, STRIDE, Dying, until_it_dies

pytestmark = [pytest.mark.anyio, pytest.mark.slow]
_ROUNDS = 12
"""Sweeps that must be enough: the first are for what others complete, the later ones for what they undo."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Mute:
    """A client of a thread that sends nothing: neither heartbeats nor messages are what this is about."""

    def receive_message(self, **_: object) -> dict[str, Any]:
        return {}

    def update_item(self, **_: object) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        pass


class Mortal(Store):
    """A store of a process that may die with one of its writes."""

    def __init__(self, config: SQSConfig, clock: ManualClock | None = None) -> None:
        self.dynamodb: Any = None
        self.table = config.table

        def wrap(clients: Clients) -> None:
            self.dynamodb = clients.dynamodb = Dying(clients.dynamodb)
            clients.connect = lambda *_: Mute()

        super().__init__(lambda clock: WrappedSQSBackend(config, clock=clock, wrap=wrap))
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


def owed(items: list[Item]) -> list[str]:
    """Return what is left to be done by whoever comes next."""
    found = [f"{item['id']} owes its dependents" for item in items if "ow" in item]
    found += [f"{item['pk']} is not in the log" for item in items if "gp" in item]
    found += [f"batch {item['id']} is not done" for item in items if item["pk"].startswith("B#") and "wp" in item]
    found += [f"{item['id']} names a batch" for item in items if "batch" in item or "rm" in item]
    return [*found, *(f"worker {item['sk']} is there" for item in items if item["pk"] == "W")]


@asynccontextmanager
async def mended(config: SQSConfig, dead: Mortal) -> AsyncGenerator[Mortal]:
    """Open the store in another process, whose reaps and sweeps run until nothing is owed."""
    await dead.backend.close()
    async with Mortal(config, dead.clock) as other:
        for place in range(_ROUNDS):
            other.clock.advance(61 if place < 2 else 301)
            await other.backend.reap()
            if not owed(await other.items()):
                break
        assert owed(await other.items()) == []
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


Part = Callable[[Mortal], Awaitable[None]]
Check = Callable[[Mortal, bool], Awaitable[None]]
"""Looks at a store that was mended; if it is to look at the whole, it lets everything run to its end, too."""
_WHOLE = 8
"""So many tries are there for each look at the whole."""


async def prepared(prepare: Part) -> Mortal:
    """Return the store of a process that has prepared an act: each try begins with a copy of what stands there."""
    store = Mortal(sqs_server.config(shards=1))
    await store.backend.open()
    await prepare(store)
    store.clock.advance(1)  # numbers of jobs are moments
    return store


async def every_write(prepare: Part, act: Part, check: Check, first: int, step: int) -> int:
    """Let each so-manieth write of an act be the last one of its process; return how many were tried."""
    template = await prepared(prepare)
    items = [item for item in await template.items() if item["pk"] != keys.META[0]]
    await template.backend.close()
    at, tried = first, 0
    while True:
        config = sqs_server.config(shards=1)
        dying = Mortal(config, template.clock)
        await dying.backend.open()
        await Table(dying.dynamodb, config.table).put_many(items)
        dying.dynamodb.die_at(at)
        died = await until_it_dies(act(dying))
        async with mended(config, dying) as other:
            await check(other, not died or tried % _WHOLE == 0)
        if not died:
            return tried
        at, tried = at + step, tried + 1


# -- submissions


async def nothing(_: Mortal) -> None:
    """Prepare nothing."""


async def all_or_nothing(store: Mortal, *ids: str) -> bool:
    """Return whether these jobs are there; of those that are not, nothing is left."""
    found = [job.id for job in await store.backend.get_jobs(ids)]
    assert found in ([], list(ids)), "a part of it is there"
    left = {item["id"] for item in await store.items() if item["pk"].startswith("N") and "id" in item}
    assert found or not left & set(ids), "what belongs to it is left"
    return bool(found)


async def test_every_write_of_one_job_is_the_last_of_its_process() -> None:
    async def act(store: Mortal) -> None:
        await store.submit(new("a", group="g", limit=("key", 1)))

    async def check(store: Mortal, _: bool) -> None:
        if not await all_or_nothing(store, "a"):
            await act(store)
        assert await goes_on(store) == {"a": COMPLETED}

    assert await every_write(nothing, act, check, 1, 1) >= 3


SIXTY = [f"j{i:02d}" for i in range(60)]


@pytest.mark.parametrize("first", range(1, 9))
async def test_every_write_of_60_jobs_with_edges_is_the_last_of_its_process(first: int) -> None:
    async def act(store: Mortal) -> None:
        edges = [[*([SIXTY[i - 1]] if i % 4 else []), *([SIXTY[i - 7] + "?"] if i >= 7 else [])] for i in range(60)]
        await store.submit(*(new(job_id, *parents, group="g") for job_id, parents in zip(SIXTY, edges, strict=True)))

    async def check(store: Mortal, whole: bool) -> None:
        there = await all_or_nothing(store, *SIXTY)
        if there:
            assert [job.id for job in await store.backend.get_ready_jobs(100)] == ["j00", "j04"]
            edges = await store.backend.get_dependencies(SIXTY)
            assert len(edges) == 45 + 53
            assert {edge.state for edge in edges} == {OPEN}
        if whole:
            if not there:
                await act(store)
            assert await goes_on(store) == dict.fromkeys(SIXTY, COMPLETED)

    assert await every_write(nothing, act, check, first, 8) > 8


async def test_every_write_of_a_job_with_stored_parents_is_the_last_of_its_process() -> None:
    async def prepare(store: Mortal) -> None:
        await store.submit(new("done"), new("bad"))
        hand = await store.hand()
        await hand.claim()
        await hand.ends({"done": SUCCESS, "bad": FATAL})
        await store.submit(new("waits"))

    async def act(store: Mortal) -> None:
        await store.submit(new("child", "done", "waits", "bad?", group="g"), new("lost", "bad"), new("below", "lost"))

    async def check(store: Mortal, _: bool) -> None:
        if not await all_or_nothing(store, "child", "lost", "below"):
            await act(store)
        completed = dict.fromkeys(("done", "waits", "child"), COMPLETED)
        assert await goes_on(store) == {**completed, "bad": FAILED, "lost": SKIPPED, "below": SKIPPED}

    assert await every_write(prepare, act, check, 1, 1) >= 2


# -- a run

ENDS = {"bad": FATAL}
RUN = {
    **dict.fromkeys(("f0", "f1", "f2", "fan", "first", "then", "late", "l0", "l1", "l2"), COMPLETED),
    "bad": FAILED,
    "skipped": SKIPPED,
    "below": SKIPPED,
}


@pytest.mark.parametrize("first", [1, 2, 3, 4])
async def test_every_write_of_a_run_is_the_last_of_its_process(first: int) -> None:
    async def prepare(store: Mortal) -> None:
        await store.submit(
            *(new(f"f{i}") for i in range(3)),
            new("fan", "f0", "f1", "f2"),
            new("first"),
            new("then", "first"),
            new("bad"),
            new("skipped", "bad"),
            new("below", "skipped"),
            new("late", "bad?", "below?"),
            *(new(f"l{i}", limit=("key", 1)) for i in range(3)),
        )

    async def act(store: Mortal) -> None:
        await play(await store.hand(), ENDS)

    async def check(store: Mortal, _: bool) -> None:
        assert await goes_on(store, ENDS) == RUN
        for job_id in RUN:
            assert len(await store.backend.get_attempts(job_id)) <= 2, f"{job_id} was interrupted once, at most"

    assert await every_write(prepare, act, check, first, 4) > 8


# -- a retry

MANY = [f"c{i:03d}" for i in range(150)]


@pytest.mark.parametrize("first", FIRST)
async def test_every_write_of_a_retry_of_150_descendants_is_the_last_of_its_process(first: int) -> None:
    async def prepare(store: Mortal) -> None:
        await store.submit(new("root", group="g"), *(new(job_id, "root", group="g") for job_id in MANY))
        await (await store.hand()).run("root", outcome=FATAL)
        assert (await store.backend.count_jobs("g"))[SKIPPED] == 150

    async def act(store: Mortal) -> None:
        await store.backend.retry_job("root")

    async def check(store: Mortal, whole: bool) -> None:
        statuses = {await store.status("root"), *await store.statuses(*MANY)}
        assert statuses == {PENDING}, "once it is begun, it is completed"
        assert await store.backend.has_unfinished("g")
        assert {edge.state for edge in await store.backend.get_dependencies(MANY)} == {OPEN}
        if not whole:
            return
        assert set((await goes_on(store)).values()) == {COMPLETED}
        assert (await store.backend.count_jobs("g"))[COMPLETED] == 151

    assert await every_write(prepare, act, check, first, STRIDE) > 1
