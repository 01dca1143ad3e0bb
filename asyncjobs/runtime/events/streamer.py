"""Stream the history of a job, a group, or everything, and then what comes, without a gap or a repetition."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing

import anyio

from asyncjobs.backends.base import JobBackend
from asyncjobs.clock import Clock, SystemClock
from asyncjobs.models import JobEvent, StatusReport
from asyncjobs.runtime.argument_checks import checked_id
from asyncjobs.runtime.events.frames import FrameReader, Frames, stream_frames
from asyncjobs.runtime.events.log_pages import LogPages, cursor_or_beyond
from asyncjobs.runtime.events.publisher import EventPublisher
from asyncjobs.runtime.events.reader import EventFilter, EventReader, Inside, Over, checked_types
from asyncjobs.runtime.functions import Functions
from asyncjobs.runtime.reports import StatusReports
from asyncjobs.runtime.submission import checked_name
from asyncjobs.runtime.suggestions import not_found


class StatusStreamer:
    """Streams events: as readers, async iterators, or frames for server-sent events; reports the status of jobs.

    :param event_publisher: the tail of the log, which has been entered.
    :param functions: find the functions of jobs, whose annotations results are given. Default: none.
    :param inside: entered by the bodies of jobs around each wait for an event.
    """

    def __init__(
        self,
        backend: JobBackend,
        event_publisher: EventPublisher,
        clock: Clock | None = None,
        *,
        functions: Functions | None = None,
        inside: Inside | None = None,
    ) -> None:
        self._backend = backend
        self._publisher = event_publisher
        self._clock = SystemClock() if clock is None else clock
        self._inside = inside
        self._pages = LogPages(backend)
        self._groups: dict[str, _GroupEnd] = {}
        self._reports = StatusReports(backend, Functions() if functions is None else functions, self._clock)

    def reader(
        self,
        *,
        job_id: str | None = None,
        group: str | None = None,
        types: Collection[str] | str | None = None,
        after: str | None = None,
        may_reset: bool = False,
    ) -> EventReader:
        """A reader of everything, of one job, or of a group, that begins after a cursor (None: at the first event).

        It ends by itself when the job, or every job of the group, is terminal and all of its events were read.
        ``may_reset``: with a cursor beyond the end of the log, go on from its end (``EventBatch.foreign``).
        """
        over: Over | None = None
        if job_id is not None:
            job_id = checked_id(job_id)  # a handle is one, too
            over = self._job_over(job_id)
        elif group is not None:
            group = checked_name("group", group)
            over = self._group_over(group)
        wanted = EventFilter(job_id, group, checked_types(types))
        return EventReader(
            self._publisher,
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
        """Events of one job; ends after its last one, once the job is terminal.

        :raises JobNotFoundError: no such job.
        """
        return _events(self.reader(job_id=job_id, after=after, types=types))

    def stream_group(
        self, group: str, after: str | None = None, types: Collection[str] | str | None = None
    ) -> AsyncGenerator[JobEvent]:
        """Events of a group's jobs; ends when every job of it is terminal (at once for a group without jobs)."""
        return _events(self.reader(group=group, after=after, types=types))

    def stream_all(
        self, after: str | None = None, types: Collection[str] | str | None = None
    ) -> AsyncGenerator[JobEvent]:
        """Every event; never ends by itself."""
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

    def _job_over(self, job_id: str) -> Over:
        async def over(_: str | None) -> bool:
            job = await self._backend.get_job(job_id)
            if job is None:
                raise await not_found(self._backend, job_id)
            return job.status.terminal

        return over

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
    """Whether a group has ended, asked once for all of its readers that have come equally far."""

    def __init__(self, backend: JobBackend, group: str) -> None:
        self.asking = 0
        self._backend = backend
        self._group = group
        self._lock = anyio.Lock()
        self._asked_at: int | None = None
        self._answer = False

    async def over(self, cursor: str | None) -> bool:
        """As of ``cursor`` or later; None: as of now."""
        async with self._lock:
            if cursor is None or self._asked_at is None or self._asked_at < int(cursor):
                self._answer = not await self._backend.has_unfinished(self._group)
                self._asked_at = 0 if cursor is None else int(cursor)
            return self._answer


async def _events(reader: EventReader) -> AsyncGenerator[JobEvent]:
    # The only generator on the way: closing one does not close another that it iterates over.
    try:
        while True:
            batch = await reader.next()
            for event in batch.events:
                yield event
            if batch.ended:
                return
    finally:
        reader.close()
