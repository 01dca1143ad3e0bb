"""Events of a commit are made when somebody reads one, and who only waits for jobs does not read the log."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncjobs import JobEvent, JobProcessor, JobStatus, SQLiteBackend, SQLiteConfig
from asyncjobs.backends.committed_events import CommittedEvents
from asyncjobs.backends.sqlite import event_rows
from asyncjobs.core.state import NewEvent
from asyncjobs.models import EventPage
from tests.runtime.support import PATIENCE
from tests.runtime.test_log_tail import LogTail, at_hand, publishing

pytestmark = pytest.mark.anyio


async def echo(value: int) -> int:
    return value


class Counted(SQLiteBackend):
    """Counts the reads of its log."""

    reads = 0

    async def read_events(self, *args: Any, **options: Any) -> EventPage:
        self.reads += 1
        return await super().read_events(*args, **options)


@pytest.fixture
def backend(tmp_path: Path) -> Counted:
    return Counted(SQLiteConfig(db_path=tmp_path / "jobs.db"))


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[JobEvent]:
    """Every event that is made of a commit."""
    events: list[JobEvent] = []

    def counted(*args: Any) -> JobEvent:
        events.append(JobEvent(*args))
        return events[-1]

    monkeypatch.setattr(event_rows, "JobEvent", counted)
    return events


async def submit_and_wait(jp: JobProcessor, values: range) -> None:
    for value in values:
        assert await (await jp.submit_job(echo, value)) == value


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_hundred_submitters_make_no_event_and_read_none(backend: Counted, made: list[JobEvent]) -> None:
    async with JobProcessor(backend) as jp, anyio.create_task_group() as tasks:
        for i in range(100):
            tasks.start_soon(submit_and_wait, jp, range(i, i + 5))
    assert (backend.reads, made) == (0, [])


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_stream_has_each_event_made_once_for_all_of_its_readers(backend: Counted, made: list[JobEvent]) -> None:
    seen: list[list[JobEvent]] = [[], []]

    async def read(jp: JobProcessor, mine: list[JobEvent]) -> None:
        async for event in jp.stream_all():
            mine.append(event)
            if len(mine) == 15:
                return

    async with JobProcessor(backend) as jp:
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                for mine in seen:
                    tasks.start_soon(read, jp, mine)
                await anyio.wait_all_tasks_blocked()
                await submit_and_wait(jp, range(5))
    assert seen[0] == seen[1]
    cursors = [event.cursor for event in made]
    assert len(cursors) == len(set(cursors))


def test_what_a_commit_brings_is_known_before_its_events_are_made() -> None:
    changes = [
        ("a", NewEvent(2, "completed", 0, 1, JobStatus.COMPLETED)),
        ("b", NewEvent(1, "submitted", 0, 0, JobStatus.PENDING)),
        ("c", NewEvent(3, "log", 0, 1)),
        ("d", NewEvent(3, "cancelled", 0, 1, JobStatus.CANCELLED)),
    ]

    def make() -> Sequence[JobEvent]:
        raise AssertionError("nobody reads them")

    events = CommittedEvents(changes, 7, make)
    assert [job_id for job_id, _ in events.ended] == ["a", "d"]
    assert (len(events), events.first, events.last) == (4, 7, 10)


class Pages(LogTail):
    """Notes which events were read."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.read: list[str] = []

    def _pass_on_page(self, page: EventPage, tail: int) -> None:
        self.read += [event.job_id for event in page.events]
        super()._pass_on_page(page, tail)


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_own_commits_that_come_while_the_log_is_read_are_kept_and_not_read_again(anyio_backend: str) -> None:
    async with publishing(Pages, 1) as (log, tail):
        assert isinstance(tail, Pages)
        asked, go = anyio.Event(), anyio.Event()
        read = log.read_events

        async def late(*args: Any, **options: Any) -> EventPage:
            page = await read(*args, **options)
            asked.set()
            await go.wait()
            return page

        log.read_events = late
        subscription = await tail.subscribe()
        with anyio.fail_after(PATIENCE):
            await log.foreign_commit(tail)
            await asked.wait()
            for _ in range(3):
                await log.own_commit()
            assert at_hand(subscription) == []
            go.set()
            got: list[JobEvent] = []
            while got != await log.whole():
                got += (await subscription.receive()).events
        assert tail.read == ["f1"]
        tail.unsubscribe(subscription)
