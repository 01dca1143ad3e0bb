"""StatusStreamer: the history of a job, a group, or everything, and then what comes, without a gap or a repetition."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

import anyio

from asyncjobs.backends.base import JobBackend
from asyncjobs.exceptions import JobNotFoundError
from asyncjobs.models import EventPage, JobEvent
from asyncjobs.runtime.events import EventPublisher, Subscription


class StatusStreamer:
    """Reads the log from a cursor; once it has reached the end, follows it live.

    A reader that does not keep up reads the log again from where it is: nobody waits for it, and it misses nothing.
    """

    def __init__(self, backend: JobBackend, publisher: EventPublisher) -> None:
        self._backend = backend
        self._publisher = publisher

    def job(self, job_id: str, after: str | None = None) -> AsyncGenerator[JobEvent]:
        """Events of one job; ends after its last one, once the job is terminal.

        :raises JobNotFoundError: no such job.
        """

        async def over() -> bool:
            job = await self._backend.get_job(job_id)
            if job is None:
                raise JobNotFoundError(job_id)
            return job.status.terminal

        return self._follow(after, over, job_id=job_id)

    def group(self, group: str, after: str | None = None) -> AsyncGenerator[JobEvent]:
        """Events of a group's jobs; ends when every job of it is terminal (at once for a group without jobs)."""

        async def over() -> bool:
            return not await self._backend.has_unfinished(group)

        return self._follow(after, over, group=group)

    def all(self, after: str | None = None) -> AsyncGenerator[JobEvent]:
        """Every event; never ends by itself."""

        async def over() -> bool:
            return False

        return self._follow(after, over)

    async def _follow(
        self,
        after: str | None,
        over: Callable[[], Awaitable[bool]],
        *,
        job_id: str | None = None,
        group: str | None = None,
    ) -> AsyncGenerator[JobEvent]:
        # The only generator on the way: closing one does not close another that it iterates over.
        cursor = after
        while True:
            subscription = await self._publisher.subscribe()
            try:
                # Whether it is over is asked before the log is read: what ended before then is in what is read.
                ending = await over()
                end = False
                while not end:
                    page: EventPage = await self._backend.read_events(cursor, job_id=job_id, group=group)
                    for event in page.events:
                        yield event
                    cursor, end = page.cursor, page.end
                if ending:
                    return
                while events := await _next(subscription):
                    last: JobEvent | None = None
                    for event in events:
                        new = _position(event.cursor) > _position(cursor)
                        if new:
                            cursor = event.cursor
                        if (job_id is None or event.job_id == job_id) and (group is None or event.group == group):
                            last = event  # also one that the log told already: it may be the one that ends it all
                            if new:
                                yield event
                    if last is not None and last.status is not None and last.status.terminal and await over():
                        break  # not yet the end: what was stored before that was asked is read from the log
            finally:
                self._publisher.unsubscribe(subscription)


def _position(cursor: str | None) -> int:
    return 0 if cursor is None else int(cursor)


async def _next(subscription: Subscription) -> Sequence[JobEvent]:
    """The events that have come, at least one; none when the subscriber fell behind."""
    events: list[JobEvent] = []
    try:
        events.append(await subscription.events.receive())
        while len(events) < 256:
            events.append(subscription.events.receive_nowait())
    except (anyio.WouldBlock, anyio.EndOfStream, anyio.ClosedResourceError):
        pass  # what was received before the end counts; the next call finds the end again
    return events
