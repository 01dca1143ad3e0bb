"""Events reach subscribers in rounds: at once after a quiet time, gathered in a pause after each round, each once."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest

from asyncjobs import JobProcessor, SQLiteConfig
from asyncjobs.backends.memory import MemoryBackend
from asyncjobs.clock import SystemClock
from asyncjobs.models import JobEvent
from asyncjobs.runtime.events.log_tail import LogTail, Subscription
from asyncjobs.runtime.events.rounds import Rounds
from tests.conformance.support import new
from tests.runtime.support import PATIENCE, Held

pytestmark = [pytest.mark.anyio]


PAUSE = 0.5
"""Seconds of a pause that a busy machine does not miss."""


class Sink:
    """Takes the rounds; each wakes ``readers``."""

    def __init__(self, readers: int) -> None:
        self.readers = readers
        self.got: list[list[str]] = []
        self.came = anyio.Event()
        self.rounds = Rounds(self)

    def __call__(self, events: Sequence[JobEvent]) -> int:
        self.got.append([event.cursor for event in events])
        self.came.set()
        return self.readers

    async def next(self) -> list[str]:
        with anyio.fail_after(PATIENCE):
            await self.came.wait()
        self.came = anyio.Event()
        return self.got[-1]


@asynccontextmanager
async def running(sink: Sink) -> AsyncIterator[None]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sink.rounds.run)
        yield
        tasks.cancel_scope.cancel()


def events(*cursors: int) -> list[JobEvent]:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return [JobEvent(str(n), "job", n, "log", at, 1, None, None, {}) for n in cursors]


async def test_the_first_event_after_a_quiet_time_goes_at_once() -> None:
    sink = Sink(readers=500)
    sink.rounds.publish(events(1))
    assert sink.got == [["1"]]


async def test_what_comes_in_the_pause_is_one_round_at_its_end() -> None:
    sink = Sink(readers=500)
    async with running(sink):
        sink.rounds.publish(events(1))
        sink.came = anyio.Event()
        sink.rounds._until = time.monotonic() + PAUSE
        sink.rounds.publish(events(2, 3))
        sink.rounds.publish(events(4))
        assert sink.got == [["1"]]
        assert await sink.next() == ["2", "3", "4"]


async def test_without_readers_to_wake_there_is_no_pause() -> None:
    sink = Sink(readers=0)
    for n in range(10):
        sink.rounds.publish(events(n))
    assert len(sink.got) == 10


@pytest.mark.parametrize(("readers", "pause"), [(1, 106.5e-6), (100, 10.65e-3), (500, 0.05), (100_000, 0.05)])
async def test_the_pause_is_three_times_what_the_round_cost_and_bounded(readers: int, pause: float) -> None:
    sink = Sink(readers)
    before = time.monotonic()
    sink.rounds.publish(events(1))
    assert before + pause <= sink.rounds._until <= time.monotonic() + pause


async def test_pauses_follow_each_other_for_as_long_as_events_come() -> None:
    sink = Sink(readers=100)
    async with running(sink):
        sink.rounds.publish(events(1))
        for n in range(2, 5):
            sink.came = anyio.Event()
            sink.rounds.publish(events(n))
            assert await sink.next() == [str(n)]
    assert len(sink.got) == 4


# -- subscribers


@asynccontextmanager
async def followed() -> AsyncIterator[tuple[MemoryBackend, LogTail]]:
    async with MemoryBackend() as backend, anyio.create_task_group() as tasks:
        tail = LogTail(backend, SystemClock())
        remove = backend.add_listener(tail.committed)
        tasks.start_soon(tail.run)
        yield backend, tail
        tasks.cancel_scope.cancel()
        remove()


async def received(subscription: Subscription, into: list[str]) -> None:
    while True:
        into += [event.cursor for event in (await subscription.receive()).events]


async def played_around_a_pause(tail: LogTail, backend: MemoryBackend) -> tuple[list[str], list[str], str]:
    """One reader from the beginning, one that comes in a pause; returns what they got, and where the second began."""
    early: list[str] = []
    late: list[str] = []
    first = await tail.subscribe()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(received, first, early)
        await anyio.wait_all_tasks_blocked()
        tail._rounds._until = time.monotonic() + PAUSE  # longer than after a round with many readers
        await backend.enqueue_jobs([new("a"), new("b")])
        second = await tail.subscribe()
        tasks.start_soon(received, second, late)
        await backend.enqueue_jobs([new("c")])
        with anyio.fail_after(5):
            while len(early) < 3 or not late:
                await anyio.sleep(0.001)
        tasks.cancel_scope.cancel()
    tail.unsubscribe(first)
    tail.unsubscribe(second)
    return early, late, second.live_after


async def test_a_subscriber_that_comes_in_a_pause_gets_what_is_published_from_then_on() -> None:
    async with followed() as (backend, tail):
        early, late, begin = await played_around_a_pause(tail, backend)
    assert early == ["1", "2", "3"]
    assert (late, begin) == (["3"], "2")


async def test_the_check_catches_a_reader_that_is_served_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    async with followed() as (backend, tail):
        flush = tail._rounds.flush

        def only_at_the_end_of_a_pause() -> None:
            if time.monotonic() >= tail._rounds._until:
                flush()

        monkeypatch.setattr(tail._rounds, "flush", only_at_the_end_of_a_pause)
        _, late, begin = await played_around_a_pause(tail, backend)
    assert any(int(cursor) <= int(begin) for cursor in late)


async def test_each_of_many_readers_gets_each_event_once() -> None:
    got: list[str] = []

    async def read(subscription: Subscription) -> None:
        while True:
            publication = await subscription.receive()
            got.extend(event.job_id for event in publication.events)

    async with followed() as (backend, tail):
        subscriptions = [await tail.subscribe() for _ in range(300)]
        async with anyio.create_task_group() as tasks:
            for subscription in subscriptions:
                tasks.start_soon(read, subscription)
            await anyio.wait_all_tasks_blocked()
            for i in range(30):
                await backend.enqueue_jobs([new(f"job-{i}")])
                await anyio.sleep(0.002)
            with anyio.fail_after(5):
                while len(got) < 300 * 30:
                    await anyio.sleep(0.001)
            tasks.cancel_scope.cancel()
        for subscription in subscriptions:
            tail.unsubscribe(subscription)
    assert Counter(got) == {f"job-{i}": 300 for i in range(30)}


def test_a_program_that_runs_on_asyncio_alone_is_served(tmp_path: Path) -> None:
    """Commits are passed on in callbacks of the loop, which belong to no task: anyio does not know of a loop there."""

    async def main() -> list[str]:
        async with JobProcessor(SQLiteConfig(db_path=tmp_path / "jobs.db")) as jp:
            held = Held(1)
            job = await jp.submit_job(held.body, local=True)
            seen: list[str] = []
            async for event in jp.stream_job(job.id):
                seen.append(event.type)
                if event.type == "started":
                    held.go.open()
            return seen

    assert asyncio.run(asyncio.wait_for(main(), 30)) == ["submitted", "started", "completed"]
