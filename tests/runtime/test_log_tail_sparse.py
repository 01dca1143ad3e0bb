"""The tail, readers and frames over a log whose positions have holes, and whose own commits have none yet."""

from __future__ import annotations

import random
from collections.abc import Sequence

import anyio
import anyio.lowlevel
import pytest

from asyncjobs import JobEvent
from asyncjobs.clock import SystemClock
from asyncjobs.runtime.events.frames import FrameReader, Frames
from asyncjobs.runtime.events.log_pages import BLOCK, LogPages
from asyncjobs.runtime.events.log_tail import LogTail
from asyncjobs.runtime.events.reader import EventFilter, EventReader
from tests.runtime.sparse import Sparse
from tests.runtime.support import PATIENCE
from tests.runtime.test_log_tail import Log, correct, new, publishing, raw_readers_agree
from tests.runtime.test_reader import at_once, cut_and_come_back, reader_of

pytestmark = pytest.mark.anyio


class SparseLog(Log, Sparse):
    """The log of the tests of the tail, with holes."""

    async def whole(self) -> list[JobEvent]:
        return list((await Sparse.read_events(self, None, limit=10_000)).events)


def at_its_best(log: Log) -> None:
    """It answers at once, with whole pages."""
    log.read_events = lambda *args, **options: Sparse.read_events(log, *args, **options)


class OnlyWakes(LogTail):
    """Defect: the log is not read for an own commit."""

    def committed(self, events: Sequence[JobEvent]) -> None:
        self._wake(events)


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_every_reader_sees_every_event_once_whoever_wrote_it(anyio_backend: str) -> None:
    for seed in range(15):
        assert await correct(LogTail, seed, store=SparseLog), f"seed {seed}"


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_a_subscription_gets_every_event_after_where_it_began(anyio_backend: str) -> None:
    for seed in range(15):
        assert await raw_readers_agree(LogTail, seed, SparseLog), f"seed {seed}"


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_tail_that_does_not_read_is_caught(anyio_backend: str) -> None:
    assert not await raw_readers_agree(OnlyWakes, 1, SparseLog)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_no_event_reaches_a_reader_without_its_position(anyio_backend: str) -> None:
    async with publishing(LogTail, 1, SparseLog) as (log, publisher):
        subscription = await publisher.subscribe()
        for _ in range(5):
            await log.own_commit()
        got: list[JobEvent] = []
        with anyio.fail_after(PATIENCE):
            while len(got) < len(await log.whole()):
                got += (await subscription.receive()).events
        assert got == await log.whole()
        assert all(int(event.cursor) >= 1024 for event in got)
        publisher.unsubscribe(subscription)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_an_own_commit_wakes_its_waiters_at_once(anyio_backend: str) -> None:
    async with publishing(LogTail, 1, SparseLog) as (log, publisher):
        await log.enqueue_jobs([new("a")])
        expectation = publisher.expect(["a"])
        await log.cancel_jobs(["a"])
        assert expectation.take() == ["a"], "before the log was read"
        publisher.forget(expectation)


@pytest.mark.untraced
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_readers_that_are_cut_come_back_by_their_cursors(anyio_backend: str) -> None:
    async with publishing(LogTail, 1, SparseLog) as (log, publisher):
        pages = LogPages(log)

        def make(after: str | None) -> EventReader:
            return reader_of(log, publisher, after=after, pages=pages)

        seen: list[list[JobEvent]] = [[] for _ in range(8)]
        with anyio.fail_after(4 * PATIENCE):
            async with anyio.create_task_group() as tasks:
                for i, mine in enumerate(seen):
                    tasks.start_soon(cut_and_come_back, make, random.Random(i), mine, "end")
                for _ in range(2 * BLOCK):
                    await (log.foreign_commit(publisher) if log.rng.random() < 0.1 else log.own_commit())
                    await log.breathe()
                await log.enqueue_jobs([new("end")])
        whole = await log.whole()
        assert len(whole) > 2 * BLOCK
        assert all(mine == whole for mine in seen)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("off", [-1, 0, 1])
async def test_any_position_is_a_cursor_also_in_a_hole(anyio_backend: str, off: int) -> None:
    async with publishing(LogTail, 1, SparseLog) as (log, publisher):
        at_its_best(log)
        await log.enqueue_jobs([new(f"j{i}") for i in range(2 * BLOCK + 10)])
        whole, pages = await log.whole(), LogPages(log)
        last = int(whole[-1].cursor)
        for i in (0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, len(whole) - 1):
            after = int(whole[i].cursor) + off
            if after <= last:
                async with reader_of(log, publisher, after=str(after), pages=pages) as reader:
                    assert await at_once(reader) == [event for event in whole if int(event.cursor) > after]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_reader_sees_what_was_stored_before_it_began_although_others_have_read_the_end(
    anyio_backend: str,
) -> None:
    async with publishing(LogTail, 1, SparseLog) as (log, publisher):
        at_its_best(log)
        pages = LogPages(log)
        async with reader_of(log, publisher, pages=pages) as first:
            for i in range(5):
                await log.enqueue_jobs([new(f"j{i}")])
                async with reader_of(log, publisher, pages=pages) as second:
                    assert await at_once(second) == await log.whole()
                await at_once(first)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_filtered_stream_says_how_far_it_has_looked(anyio_backend: str) -> None:
    async with publishing(LogTail, 1, SparseLog) as (log, publisher):
        at_its_best(log)
        await log.enqueue_jobs([new(f"a{i}") for i in range(4)])
        reader = reader_of(log, publisher, EventFilter(types=frozenset({"cancelled"})))
        frames = FrameReader(Frames(), reader, "named")
        async with reader:
            assert await frames.next(0) == f"id: {await log.last_cursor()}\n\n".encode()
            await log.enqueue_jobs([new("b")])
            with anyio.fail_after(PATIENCE):
                while not (later := await frames.next(0)):
                    await anyio.lowlevel.checkpoint()
            assert later == f"id: {await log.last_cursor()}\n\n".encode()


async def test_the_tail_of_a_dense_log_still_passes_own_commits_on() -> None:
    assert LogTail(Log(random.Random(1)), SystemClock())._pushes
