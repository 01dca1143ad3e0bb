"""LogTail: one tail of the log. Own commits are pushed only when they continue it; else the log is read.

The seeded defects show that the rules are needed: a publisher without them loses or repeats events.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, nullcontext
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from msgspec.structs import replace

from asyncjobs import JobEvent, MemoryBackend
from asyncjobs.backends.base import Listener, NewJob
from asyncjobs.backends.committed_events import CommittedEvents
from asyncjobs.clock import SystemClock
from asyncjobs.core.commands import enqueue
from asyncjobs.core.retry import RetryPolicy
from asyncjobs.models import EventPage
from asyncjobs.runtime.events.log_tail import LogTail, Publication, Subscription
from asyncjobs.runtime.events.streamer import StatusStreamer
from asyncjobs.runtime.functions import Functions
from tests.runtime.support import PATIENCE

pytestmark = pytest.mark.anyio

LOOPS = [("asyncio", "memory"), ("trio", "memory")]


def new(job_id: str) -> NewJob:
    return NewJob(id=job_id, function="t:f", call=b"", queue="q", retry=RetryPolicy())


class Log(MemoryBackend):
    """A store that answers late: other commits happen between a read and its answer, and other processes write."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self.rng = rng
        self.notified: list[Listener] = []
        self.count = 0

        self.add_listener(self.notify)

    def notify(self, events: CommittedEvents) -> None:
        for listener in self.notified:
            listener(events)

    async def breathe(self) -> None:
        for _ in range(self.rng.randint(0, 3)):
            await anyio.lowlevel.checkpoint()

    async def read_events(self, after: str | None = None, **options: Any) -> EventPage:
        await self.breathe()
        page = await super().read_events(after, **{**options, "limit": self.rng.choice([1, 3, 500])})
        await self.breathe()
        return page

    async def last_cursor(self) -> str:
        cursor = await super().last_cursor()
        await self.breathe()
        return cursor

    async def own_commit(self) -> None:
        """As this process's own: the publisher is handed the events, before the caller goes on."""
        self.count += 1
        await self.enqueue_jobs([new(f"j{self.count}.{i}") for i in range(self.rng.randint(1, 2))])

    async def foreign_commit(self, publisher: LogTail) -> None:
        """As another process's: nobody is handed anything; later somebody notices that the log has grown."""
        self.count += 1
        job = new(f"f{self.count}")
        notified, self.notified = self.notified, []
        self._commit(lambda plan: enqueue(plan, [job], self._job_numbers, self._existing))
        self.notified = notified
        await self.breathe()
        publisher.changed()

    async def whole(self) -> list[JobEvent]:
        return list((await MemoryBackend.read_events(self, None, limit=10_000)).events)


@asynccontextmanager
async def publishing(
    kind: type[LogTail], seed: int, store: Callable[[random.Random], Log] = Log
) -> AsyncIterator[tuple[Log, LogTail]]:
    log = store(random.Random(seed))
    async with log:
        publisher = kind(log, SystemClock())
        log.notified.append(publisher.committed)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(publisher.run)
            yield log, publisher
            tasks.cancel_scope.cancel()


def at_hand(subscription: Subscription) -> list[JobEvent]:
    events: list[JobEvent] = []
    while (publication := subscription.receive_nowait()) is not None:
        events += publication.events
    return events


def streamer_of(log: Log, tail: LogTail) -> StatusStreamer:
    return StatusStreamer.of_tail(log, tail, SystemClock(), functions=Functions(), inside=lambda *_: nullcontext())


async def follow(log: Log, publisher: LogTail, seen: list[JobEvent], until: str) -> None:
    """A reader of everything, as ``jp.stream_all`` is one."""
    async with aclosing(streamer_of(log, publisher).stream_all()) as stream:
        async for event in stream:
            seen.append(event)
            if event.job_id == until:
                return


async def correct(
    kind: type[LogTail],
    seed: int,
    *,
    readers: int = 3,
    commits: int = 25,
    store: Callable[[random.Random], Log] = Log,
) -> bool:
    """Whether every reader saw the log, once and in order, whatever was written by whom meanwhile."""
    async with publishing(kind, seed, store) as (log, publisher):
        seen: list[list[JobEvent]] = [[] for _ in range(readers)]
        with anyio.move_on_after(PATIENCE) as patience:
            async with anyio.create_task_group() as tasks:
                for mine in seen:
                    tasks.start_soon(follow, log, publisher, mine, "end")
                    await log.breathe()
                for _ in range(commits):
                    if log.rng.random() < 0.4:
                        await log.foreign_commit(publisher)
                    else:
                        await log.own_commit()
                    await log.breathe()
                await log.enqueue_jobs([new("end")])
        whole = await log.whole()
        return not patience.cancelled_caught and all(mine == whole for mine in seen)


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_every_reader_sees_every_event_once_whoever_wrote_it(anyio_backend: str) -> None:
    for seed in range(25):
        assert await correct(LogTail, seed), f"seed {seed}"


class PushesWithoutLooking(LogTail):
    """Defect: own commits are pushed although something before them was not read yet."""

    def committed(self, events: CommittedEvents) -> None:
        if self.listened_to and self._tail is not None:
            self._tail = str(events.last)
            self._push(events)
        elif self.listened_to:
            self.changed()


class PushesPagesWhole(LogTail):
    """Defect: a page is passed on as it is, although own commits have moved the tail since it was asked for."""

    def _pass_on_page(self, page: EventPage, tail: int) -> None:
        super()._pass_on_page(page, int(page.events[0].cursor) - 1 if page.events else tail)


class ForgetsWhatItKeeps(LogTail):
    """Defect: of the own commits that are kept, those that a page has not brought are not passed on."""

    def _pass_on_page(self, page: EventPage, tail: int) -> None:
        if self._own:
            page = replace(page, cursor=str(max(int(page.cursor), self._own[-1].last)))
        super()._pass_on_page(page, tail)


class PassesOnNothingKept(LogTail):
    """Defect: own commits that do not continue the tail are dropped, and not read either."""

    def _read_own(self) -> None:
        self._own.clear()

    def changed(self) -> None:
        if not self._own:
            super().changed()


async def test_a_filter_that_raises_costs_its_subscriber_the_buffer_and_nobody_else(anyio_backend: str) -> None:
    def odd(publication: Publication) -> bool:
        raise ZeroDivisionError

    async with publishing(LogTail, 1) as (log, publisher):
        first, broken, last = (
            await publisher.subscribe(),
            await publisher.subscribe(concerns=odd),
            await publisher.subscribe(),
        )
        for _ in range(2):
            await log.own_commit()
        assert at_hand(first) == at_hand(last) == await log.whole()
        assert broken.ended  # it reads the log
        for subscription in (first, broken, last):
            publisher.unsubscribe(subscription)


class GoesLiveLate(LogTail):
    """Defect: between knowing the tail and being subscribed, something else may run."""

    async def subscribe(self, size: int = 1024) -> Subscription:
        keep = self.expect([""])
        try:
            await self.live()
            assert self._tail is not None
            subscription = Subscription(self._tail, size)
            for _ in range(4):
                await anyio.lowlevel.checkpoint()
            self._subscriptions.add(subscription)
        finally:
            self.forget(keep)
        return subscription


DEFECTS = [PushesWithoutLooking, PushesPagesWhole, ForgetsWhatItKeeps, PassesOnNothingKept, GoesLiveLate]


async def raw_readers_agree(kind: type[LogTail], seed: int, store: Callable[[random.Random], Log] = Log) -> bool:
    """Subscriptions themselves: each gets every event after where it began, once, in order."""
    async with publishing(kind, seed, store) as (log, publisher):
        subscriptions: list[Subscription] = []
        begun: list[int] = []

        async def join() -> None:
            for _ in range(4):
                subscriptions.append(await publisher.subscribe())
                begun.append(int(subscriptions[-1].passed))
                await log.breathe()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(join)
            for _ in range(25):
                if log.rng.random() < 0.4:
                    await log.foreign_commit(publisher)
                else:
                    await log.own_commit()
                await log.breathe()
        await log.enqueue_jobs([new("end")])
        whole = await log.whole()
        right = True
        for subscription, begin in zip(subscriptions, begun, strict=True):
            got: list[JobEvent] = []
            # A defect may have lost the last event: that is not waited for long.
            with anyio.move_on_after(PATIENCE if kind is LogTail else 0.2):
                while not got or got[-1].job_id != "end":
                    got += (await subscription.receive()).events
            publisher.unsubscribe(subscription)
            right &= got == [event for event in whole if int(event.cursor) > begin]
        return right


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_a_subscription_gets_every_event_after_the_moment_it_went_live(anyio_backend: str) -> None:
    for seed in range(25):
        assert await raw_readers_agree(LogTail, seed), f"seed {seed}"


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize(
    "defect", [PushesWithoutLooking, PushesPagesWhole, ForgetsWhatItKeeps, PassesOnNothingKept, GoesLiveLate]
)
async def test_a_seeded_defect_is_caught(defect: type[LogTail], anyio_backend: str) -> None:
    for seed in range(25):
        if not await raw_readers_agree(defect, seed):
            return
    raise AssertionError(f"{defect.__name__} was not noticed")


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_what_is_stored_while_the_tail_is_read_needs_no_later_commit_to_be_seen(anyio_backend: str) -> None:
    async with publishing(LogTail, 0) as (log, publisher):
        asked = log.last_cursor

        async def late() -> str:
            cursor = await asked()
            await log.own_commit()
            return cursor

        log.last_cursor = late
        subscription = await publisher.subscribe()
        with anyio.fail_after(PATIENCE):
            assert list((await subscription.receive()).events) == await log.whole()
        publisher.unsubscribe(subscription)


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_own_commits_that_continue_the_tail_are_not_read_back(anyio_backend: str) -> None:
    async with publishing(LogTail, 0) as (log, publisher):
        log.rng = random.Random(1)
        subscription = await publisher.subscribe()
        reads = 0
        read = log.read_events

        async def counted(*args: Any, **options: Any) -> EventPage:
            nonlocal reads
            reads += 1
            return await read(*args, **options)

        log.read_events = counted
        for _ in range(10):
            await log.own_commit()
        assert at_hand(subscription) == await log.whole()
        assert reads == 0
        publisher.unsubscribe(subscription)


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_a_subscriber_that_falls_behind_is_ended_and_the_others_go_on(anyio_backend: str) -> None:
    async with publishing(LogTail, 0) as (log, publisher):
        slow, fast = await publisher.subscribe(size=2), await publisher.subscribe(size=100)
        for _ in range(5):
            await log.own_commit()
        with pytest.raises(anyio.EndOfStream):
            for _ in range(5):
                await slow.receive()
        assert at_hand(fast) == await log.whole()
        publisher.unsubscribe(slow)
        publisher.unsubscribe(fast)


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_an_error_of_the_store_is_waited_out(anyio_backend: str) -> None:
    from asyncjobs import BackendConnectionError
    from asyncjobs.testing import ManualClock

    async with publishing(LogTail, 3) as (log, publisher):
        clock = ManualClock()
        publisher._clock = clock
        subscription = await publisher.subscribe()
        read, errors = log.read_events, 0

        async def fails_once(*args: Any, **options: Any) -> EventPage:
            nonlocal errors
            if not errors:
                errors += 1
                raise BackendConnectionError("away")
            return await read(*args, **options)

        log.read_events = fails_once
        await log.foreign_commit(publisher)
        with anyio.fail_after(PATIENCE):
            await clock.wait_for_sleepers(1)
            clock.advance(1)
            publication = await subscription.receive()
        assert list(publication.events) == await log.whole()
        publisher.unsubscribe(subscription)


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_an_expectation_is_told_of_ends_and_nothing_else(anyio_backend: str) -> None:
    async with publishing(LogTail, 0) as (log, publisher):
        expectation = publisher.expect(["a", "b"])
        everybody = publisher.expect([""])
        await publisher.live()
        await log.enqueue_jobs([new("a"), new("b"), new("c")])
        await log.cancel_jobs(["c"])
        await log.cancel_jobs(["b"])
        assert await expectation.next() == ["b"]
        assert await everybody.next() == ["c", "b"]
        publisher.forget(expectation)
        publisher.forget(everybody)
        assert not publisher.listened_to
