"""Stream stored and then live events of a job, of a group, or all, without gaps or duplicates."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Sequence
from contextlib import aclosing
from typing import Any

import anyio

from asyncjobs.backends.base import JobBackend
from asyncjobs.checks import CheckedArguments, is_a, listed
from asyncjobs.clock import Clock, checked_clock
from asyncjobs.exceptions import ConfigurationError
from asyncjobs.models import JobEvent, StatusReport
from asyncjobs.runtime.argument_checks import checked_id
from asyncjobs.runtime.events.frames import FrameReader, Frames, stream_frames
from asyncjobs.runtime.events.log_pages import LogPages, cursor_or_beyond
from asyncjobs.runtime.events.log_tail import LogTail
from asyncjobs.runtime.events.publisher import EventPublisher
from asyncjobs.runtime.events.reader import EventFilter, EventReader, Inside, Over, checked_types, job_over
from asyncjobs.runtime.functions import Functions
from asyncjobs.runtime.reports import StatusReports
from asyncjobs.runtime.submission import checked_name


class StatusStreamer(CheckedArguments):
    """Streams events: as readers, async iterators, or frames for server-sent events; reports the status of jobs.

    ::

        async with EventPublisher(backend) as publisher, JobProcessor(backend) as jp:
            streamer = StatusStreamer(backend, publisher)
            job = await jp.submit_job(render, "report")
            async for event in streamer.stream_job(job.id):
                print(event.type)
            print((await streamer.poll_status(job.id)).status)

    :param event_publisher: follows the log; enter it before events are read.
    :param functions: functions whose annotations are used to restore results.
    :raises ConfigurationError: the publisher belongs to another store.
    """

    def __init__(
        self,
        backend: JobBackend,
        event_publisher: EventPublisher,
        clock: Clock | None = None,
        *,
        functions: Iterable[Callable[..., Any]] = (),
    ) -> None:
        publisher: object = event_publisher
        if not is_a(publisher, EventPublisher) or publisher.backend is not backend:
            raise ConfigurationError("event_publisher", publisher, allowed="an EventPublisher of the same backend")
        known = Functions()
        for i, function in enumerate(listed("functions", functions, "functions, in a list")):
            known.register(function, f"functions[{i}]")
        clock = checked_clock("StatusStreamer.clock", clock)
        self._set_up(backend, lambda: publisher.tail, clock, known, None)

    @classmethod
    def of_tail(
        cls, backend: JobBackend, tail: LogTail, clock: Clock, *, functions: Functions, inside: Inside
    ) -> StatusStreamer:
        """Return a streamer on the log tail of an engine.

        :param inside: entered by the bodies of jobs around each wait for an event.
        """
        streamer = cls.__new__(cls)
        streamer._set_up(backend, lambda: tail, clock, functions, inside)
        return streamer

    def _set_up(
        self,
        backend: JobBackend,
        find_tail: Callable[[], LogTail],
        clock: Clock,
        functions: Functions,
        inside: Inside | None,
    ) -> None:
        self._backend = backend
        self._find_tail = find_tail
        self._clock = clock
        self._inside = inside
        self._pages = LogPages(backend)
        self._groups: dict[str, _GroupEnd] = {}
        self._reports = StatusReports(backend, functions, self._clock)

    def reader(
        self,
        *,
        job_id: str | None = None,
        group: str | None = None,
        types: Collection[str] | str | None = None,
        after: str | None = None,
        may_reset: bool = False,
    ) -> EventReader:
        """Return a reader of all events, or of a job or a group, after a cursor (None: from the first event).

        The reader ends when the job, or every job of the group, is terminal and all of its events were read.
        ``may_reset``: with a cursor beyond the end of the log, continue at its end (``EventBatch.foreign``).
        """
        over: Over | None = None
        if job_id is not None:
            job_id = checked_id(job_id)  # a handle is one, too
            over = job_over(self._backend, job_id)
        elif group is not None:
            group = checked_name("group", group)
            over = self._group_over(group)
        wanted = EventFilter(job_id, group, checked_types(types))
        return EventReader(
            self._find_tail(),
            self._pages,
            self._clock,
            wanted,
            after,
            over,
            may_reset=may_reset,
            inside=self._inside,
        )

    def stream_job(
        self, job_id: str, after: str | None = None, types: Collection[str] | str | None = None
    ) -> AsyncGenerator[JobEvent]:
        """Stream the events of a job; end after its last event, once the job is terminal.

        :raises JobNotFoundError: no such job.
        """
        return _events(self.reader(job_id=job_id, after=after, types=types))

    def stream_group(
        self, group: str, after: str | None = None, types: Collection[str] | str | None = None
    ) -> AsyncGenerator[JobEvent]:
        """Stream the events of a group; end when all of its jobs are terminal (at once for a group without jobs)."""
        return _events(self.reader(group=group, after=after, types=types))

    def stream_all(
        self, after: str | None = None, types: Collection[str] | str | None = None
    ) -> AsyncGenerator[JobEvent]:
        """Stream all events, without end."""
        return _events(self.reader(after=after, types=types))

    async def subscribe_sse(
        self,
        *,
        job_id: str | None = None,
        group: str | None = None,
        types: Collection[str] | str | None = None,
        after: str | None = None,
        ping: float = 15.0,
    ) -> AsyncGenerator[bytes]:
        """Stream ready-made frames of server-sent events: see ``JobProcessor.subscribe_sse``."""
        reader = self.reader(job_id=job_id, group=group, types=types, after=cursor_or_beyond(after), may_reset=True)
        async with aclosing(stream_frames(FrameReader(Frames(), reader, "named"), reader, ping)) as frames:
            async for frame in frames:
                yield frame

    async def poll_status(self, job_id: str) -> StatusReport:
        """Report the status of a job: see ``JobProcessor.poll_status``."""
        return await self._reports.poll_status(job_id)

    async def poll_batch(self, job_ids: Sequence[str]) -> dict[str, StatusReport | None]:
        """Report the status of several jobs; None for an unknown id."""
        return await self._reports.poll_batch(job_ids)

    def _group_over(self, group: str) -> Over:
        async def over(cursor: str | None) -> bool:
            end = self._groups.get(group)
            if end is None:
                end = self._groups[group] = _GroupEnd(self._backend, group)
            end.asking += 1
            try:
                return await end.over(cursor)
            finally:
                end.asking -= 1
                if not end.asking:
                    self._groups.pop(group, None)

        return over


class _GroupEnd:
    """Answers whether a group has ended, with one query for all readers at the same position."""

    def __init__(self, backend: JobBackend, group: str) -> None:
        self.asking = 0
        self._backend = backend
        self._group = group
        self._lock = anyio.Lock()
        self._asked_at: int | None = None
        self._answer = False

    async def over(self, cursor: str | None) -> bool:
        """Return whether the group has ended, as of ``cursor`` or later; None: as of now."""
        async with self._lock:
            if cursor is None or self._asked_at is None or self._asked_at < int(cursor):
                self._answer = not await self._backend.has_unfinished(self._group)
                self._asked_at = 0 if cursor is None else int(cursor)
            return self._answer


async def _events(reader: EventReader) -> AsyncGenerator[JobEvent]:
    # The only generator on the way, because closing a generator does not close another that it iterates over.
    try:
        while True:
            batch = await reader.next()
            for event in batch.events:
                yield event
            if batch.ended:
                return
    finally:
        reader.close()
