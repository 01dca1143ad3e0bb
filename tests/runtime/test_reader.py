"""EventReader and its frames: a cursor over the log that is never lost, whatever happens between two events."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from asyncjobs import ConfigurationError, JobEvent, JobProcessor, MemoryBackend
from asyncjobs.clock import SystemClock
from asyncjobs.runtime.events.frames import FrameReader, Frames
from asyncjobs.runtime.events.log_pages import BLOCK, LogPages
from asyncjobs.runtime.events.log_tail import BUFFER, LogTail, Publication
from asyncjobs.runtime.events.reader import EventBatch, EventFilter, EventReader
from asyncjobs.testing import FaultyBackend, ManualClock
from tests.runtime.support import PATIENCE, Stores, nothing, publisher_of
from tests.runtime.test_log_tail import Log, new, publishing

pytestmark = pytest.mark.anyio

EVERYTHING = EventFilter()


def reader_of(
    log: MemoryBackend,
    publisher: LogTail,
    wanted: EventFilter = EVERYTHING,
    after: str | None = None,
    *,
    kind: type[EventReader] = EventReader,
    clock: Any = None,
    pages: LogPages | None = None,
    **options: Any,
) -> EventReader:
    return kind(publisher, pages or LogPages(log), clock or SystemClock(), wanted, after, None, **options)


async def at_once(reader: EventReader) -> list[JobEvent]:
    """What there is now, without waiting."""
    events: list[JobEvent] = []
    while (batch := await reader.next(0)).events or not reader.live:
        events += batch.events
    return events


# -- every event once, in order


async def follow(reader: EventReader, seen: list[JobEvent]) -> None:
    async with reader:
        while True:
            seen += (await reader.next()).events


async def cut_and_come_back(
    make: Callable[[str | None], EventReader], rng: random.Random, seen: list[JobEvent], last: str
) -> None:
    """Read for a moment, be cut off by a scope or by asyncio's own cancellation, and come back with the last cursor."""
    while not seen or seen[-1].job_id != last:
        reading = asyncio.create_task(follow(make(seen[-1].cursor if seen else None), seen))
        for _ in range(rng.randint(0, 40)):
            await anyio.lowlevel.checkpoint()
        reading.cancel()
        await asyncio.wait([reading])
        if not reading.cancelled():
            reading.result()


@pytest.mark.untraced
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_readers_cut_at_random_among_thousands_of_events(anyio_backend: str) -> None:
    """20 readers, 3,000 events of this process and of another one."""
    async with publishing(LogTail, 1) as (log, publisher):
        pages = LogPages(log)
        seen: list[list[JobEvent]] = [[] for _ in range(20)]
        with anyio.fail_after(4 * PATIENCE):
            async with anyio.create_task_group() as tasks:
                for i, mine in enumerate(seen):
                    tasks.start_soon(
                        cut_and_come_back,
                        lambda after: reader_of(log, publisher, after=after, pages=pages),
                        random.Random(i),
                        mine,
                        "end",
                    )
                for _ in range(1_500):
                    if log.rng.random() < 0.1:
                        await log.foreign_commit(publisher)
                    else:
                        await log.own_commit()
                    await log.breathe()
                while log.count < 3_000:
                    await log.own_commit()
                await log.enqueue_jobs([new("end")])
        whole = await log.whole()
        assert len(whole) > 3_000
        assert all(mine == whole for mine in seen)
        assert not publisher.listened_to


class Repeats(EventReader):
    """Defect: what is pushed or read again is told, whether it was told before or not."""

    def _unseen(self, publication: Publication) -> tuple[Sequence[JobEvent], bool]:
        return self.wanted.select(publication), True


class StartsOver(EventReader):
    """Defect: a reader that fell behind begins where it began at first."""

    async def next(self, timeout: float | None = None) -> EventBatch:
        if self._subscription is None:
            self.cursor = self.__dict__.setdefault("began", self.cursor)
        return await super().next(timeout)


class KeepsListening(EventReader):
    """Defect: a subscription is kept although a cancelled call may have lost what was just handed to it."""

    async def _receive(self, timeout: float | None) -> Publication | None:
        if timeout == 0:
            return await super()._receive(timeout)
        assert self._subscription is not None
        try:
            return await self._subscription.receive()
        except anyio.EndOfStream:
            self.close()
            return None


class SkipsToTheEnd(EventReader):
    """Defect: a reader that fell behind goes on with what is live, and leaves out what it missed."""

    async def next(self, timeout: float | None = None) -> EventBatch:
        if self.cursor is not None and self._subscription is None:
            self.cursor = await self._pages.end()
        return await super().next(timeout)


async def agrees(kind: type[EventReader], seed: int) -> bool:
    """Whether readers that fall behind, are cancelled and go on in the same object see the log once, in order."""
    async with publishing(LogTail, seed) as (log, publisher):
        pages = LogPages(log)
        readers = [reader_of(log, publisher, kind=kind, pages=pages) for _ in range(3)]
        seen: list[list[JobEvent]] = [[] for _ in readers]
        rng = random.Random(seed)

        async def read(reader: EventReader, mine: list[JobEvent], calls: int) -> None:
            for _ in range(calls):
                mine += (await reader.next()).events

        for step in range(60):
            await log.own_commit()
            for reader, mine in zip(readers, seen, strict=True):
                if rng.random() < 0.1 and reader._subscription is not None:
                    publisher._subscriptions.discard(reader._subscription)
                    reader._subscription.end()
                reading = asyncio.create_task(read(reader, mine, 3))
                for _ in range(rng.randint(0, 12)):
                    await anyio.lowlevel.checkpoint()
                if step % 2:
                    await log.own_commit()  # is handed over, and in the same turn:
                reading.cancel()
                await asyncio.wait([reading])
        for reader, mine in zip(readers, seen, strict=True):
            mine += await at_once(reader)
            reader.close()
        whole = await log.whole()
        return all(mine == whole for mine in seen)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_reader_goes_on_after_anything(anyio_backend: str) -> None:
    for seed in range(15):
        assert await agrees(EventReader, seed), f"seed {seed}"


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("defect", [Repeats, StartsOver, KeepsListening, SkipsToTheEnd])
async def test_a_seeded_defect_of_a_reader_is_caught(defect: type[EventReader], anyio_backend: str) -> None:
    for seed in range(15):
        if not await agrees(defect, seed):
            return
    raise AssertionError(f"{defect.__name__} was not noticed")


# -- filters, whose cursor moves on


CHOSEN = EventFilter(types=frozenset({"cancelled"}))


def at_its_best(log: Log) -> None:
    """It answers at once, with whole pages."""
    log.read_events = lambda *args, **options: MemoryBackend.read_events(log, *args, **options)


async def cursor_moves_on(kind: type[EventReader], wanted: EventFilter) -> bool:
    """Whether a client of a filtered stream learns how far the log was looked through: 9 events, none of them his."""
    async with publishing(LogTail, 0) as (log, publisher):
        at_its_best(log)
        await log.enqueue_jobs([new(f"a{i}") for i in range(4)])
        reader = reader_of(log, publisher, wanted, kind=kind)
        frames = FrameReader(Frames(), reader, "named")
        async with reader:
            first = await frames.next(0)
            await log.enqueue_jobs([new(f"b{i}") for i in range(5)])
            later = await frames.next(0)
            nothing_new = await frames.next(0)
        return (first, later, nothing_new) == (b"id: 4\n\n", b"id: 9\n\n", b"")


FILTERS = [CHOSEN, EventFilter(job_id="nobody"), EventFilter(group="nobody")]


@pytest.mark.parametrize("wanted", FILTERS, ids=["types", "job", "group"])
async def test_a_filters_cursor_moves_on_without_events(wanted: EventFilter) -> None:
    assert await cursor_moves_on(EventReader, wanted)


class LosesItsPlace(EventReader):
    """Defect: what the filter leaves out does not move the cursor."""

    def _pass_on(self) -> None:
        pass


@pytest.mark.parametrize("wanted", FILTERS, ids=["types", "job", "group"])
async def test_a_filter_that_loses_its_cursor_is_caught(wanted: EventFilter) -> None:
    assert not await cursor_moves_on(LosesItsPlace, wanted)


async def test_what_is_left_out_does_not_prolong_the_wait() -> None:
    """Somebody else's events come more often than the wait is long: the reader answers in time all the same."""
    async with publishing(LogTail, 0) as (log, publisher):
        clock = ManualClock()
        # Cancelled jobs concern the reader's group question, so each of them wakes it, and none is for its filter.
        wanted = EventFilter(types=frozenset({"progress"}))
        reader = reader_of(log, publisher, wanted, clock=clock)
        await reader.next(0)
        answers: list[EventBatch] = []

        async def ask() -> None:
            answers.append(await reader.next(15.0))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            for i in range(4):
                await anyio.wait_all_tasks_blocked()
                clock.advance(4.0)
                await log.enqueue_jobs([new(f"j{i}")])
                await log.cancel_jobs([f"j{i}"])
            with anyio.fail_after(PATIENCE):
                await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        assert [batch.events for batch in answers] == [()]
        reader.close()


async def test_who_watches_one_job_is_not_woken_by_others() -> None:
    async with publishing(LogTail, 0) as (log, publisher):
        reader = reader_of(log, publisher, EventFilter(job_id="mine"))
        await reader.next(0)
        [subscription] = publisher._subscriptions
        await log.enqueue_jobs([new("theirs")])
        assert subscription.unread == 0
        await log.enqueue_jobs([new("other"), new("mine")])
        assert subscription.unread == 1
        assert [event.job_id for event in (await reader.next(0)).events] == ["mine"]
        reader.close()


# -- falling behind


async def test_a_reader_that_fell_behind_holds_no_events() -> None:
    async with publishing(LogTail, 0) as (log, publisher):
        reader = reader_of(log, publisher)
        await reader.next(0)
        [subscription] = publisher._subscriptions
        await log.enqueue_jobs([new(f"a{i}") for i in range(BUFFER)])
        assert subscription.unread == 1
        await log.enqueue_jobs([new("b")])
        assert (subscription.unread, subscription.ended) == (0, True)
        assert await at_once(reader) == await log.whole()
        reader.close()


async def counted(readers: int, events: int, commits_between: bool = False) -> int:
    """How many pages are read for so many readers who come back to a log of so many events."""
    store = FaultyBackend(MemoryBackend())
    async with store:
        publisher = LogTail(store, SystemClock())
        store.add_listener(publisher.committed)
        await store.enqueue_jobs([new(f"j{i}") for i in range(events)])
        pages = LogPages(store)
        seen: list[list[JobEvent]] = [[] for _ in range(readers)]
        rng = random.Random(0)
        begins = [rng.randint(0, events) for _ in seen]

        async def read(mine: list[JobEvent], begin: int) -> None:
            reader = EventReader(publisher, pages, SystemClock(), EVERYTHING, str(begin), None)
            async with reader:
                mine += await at_once(reader)

        async with anyio.create_task_group() as tasks:
            for mine, begin in zip(seen, begins, strict=True):
                tasks.start_soon(read, mine, begin)
        for mine, begin in zip(seen, begins, strict=True):
            assert [int(event.cursor) for event in mine] == list(range(begin + 1, events + 1))
        return store.calls["read_events"]


async def test_the_log_is_read_once_for_all_who_come_back_at_the_same_time() -> None:
    assert await counted(100, 5 * BLOCK + 7) == 6


async def test_the_last_block_is_read_again_when_the_log_has_grown() -> None:
    async with publishing(LogTail, 0) as (log, publisher):
        at_its_best(log)
        pages = LogPages(log)
        for count in range(1, 4):
            await log.enqueue_jobs([new(f"j{count}")])
            reader = reader_of(log, publisher, after="0", pages=pages)
            assert len(await at_once(reader)) == count
            reader.close()


# -- a log that is not what it was


async def test_a_cursor_beyond_the_end_is_refused_unless_a_reset_is_possible() -> None:
    async with publishing(LogTail, 0) as (log, publisher):
        await log.enqueue_jobs([new("a"), new("b")])
        async with reader_of(log, publisher, after="99") as reader:
            with pytest.raises(ConfigurationError):
                await reader.next(0)
        for cursor in ("x", "-1", "", "1.0", "²", "9" * 20):
            async with reader_of(log, publisher, after=cursor, may_reset=True) as reader:
                with pytest.raises(ConfigurationError):
                    await reader.next(0)
        reader = reader_of(log, publisher, after="99", may_reset=True)
        assert await reader.next(0) == EventBatch((), "2", foreign=True)
        await log.enqueue_jobs([new("c")])
        assert [event.job_id for event in await at_once(reader)] == ["c"]
        reader.close()


def prune(log: MemoryBackend, upto: int) -> None:
    """As retention leaves it: the highest position that was removed is noted."""
    log._tables.pruned = upto


async def test_who_comes_back_from_before_what_was_removed_is_told_once() -> None:
    async with publishing(LogTail, 0) as (log, publisher):
        log.rng = random.Random(5)
        await log.enqueue_jobs([new(f"j{i}") for i in range(9)])
        prune(log, 6)
        told: list[bool] = []
        reader = reader_of(log, publisher, after="2")
        while not reader.live:
            told.append((await reader.next(0)).lost)
        assert told.count(True) == 1
        assert told[0]
        reader.close()
        for after in (None, "6", "8"):
            reader = reader_of(log, publisher, after=after)
            while not reader.live:
                assert not (await reader.next(0)).lost, after
            reader.close()


async def test_what_retention_removes_while_a_reader_catches_up_is_told() -> None:
    async with publishing(LogTail, 0) as (log, publisher):
        await log.enqueue_jobs([new(f"j{i}") for i in range(3 * BLOCK)])
        reader = reader_of(log, publisher, after="1")
        assert not (await reader.next(0)).lost
        prune(log, 3 * BLOCK - 1)
        assert (await reader.next(0)).lost
        reader.close()


# -- clocks


async def test_a_wall_clock_that_is_set_back_does_not_matter(stores: Stores) -> None:
    """Cursors are positions, waits are monotonic: only the time that is written on the events goes back."""

    class SetBack(SystemClock):
        back = 0

        def now(self) -> int:
            return super().now() - self.back

    clock = SetBack()
    async with stores.processor(clock=clock) as jp:
        reader = jp.streamer.reader()
        seen: list[JobEvent] = []
        async with reader:
            for _ in range(3):
                job = await jp.submit_job(nothing)
                with anyio.fail_after(PATIENCE):
                    while [(it.job_id, it.type) for it in seen[-1:]] != [(job.id, "completed")]:
                        seen += (await reader.next()).events
                clock.back += 3_600_000_000
        assert [int(it.cursor) for it in seen] == list(range(1, 10))
        assert seen[0].at > seen[3].at > seen[6].at
        await _is_let_go(jp)


async def _is_let_go(jp: JobProcessor) -> None:
    assert not publisher_of(jp)._subscriptions


# -- closed by another task


async def test_a_reader_that_is_closed_while_it_begins_begins_anew() -> None:
    async with publishing(LogTail, 1) as (log, tail):
        await log.enqueue_jobs([new("a")])
        asked: list[str | None] = []

        async def over(cursor: str | None) -> bool:
            asked.append(cursor)
            if len(asked) == 1:
                reader.close()
            return False

        async with EventReader(tail, LogPages(log), SystemClock(), EVERYTHING, "0", over) as reader:
            with anyio.fail_after(PATIENCE):
                assert [event.job_id for event in (await reader.next()).events] == ["a"]
        assert len(asked) == 2
        assert not tail._subscriptions
