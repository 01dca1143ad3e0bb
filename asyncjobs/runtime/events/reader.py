"""Read the log by a cursor and a filter: stored events first, then live ones, without a gap."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Self

import anyio
import anyio.lowlevel
from msgspec import Struct

from asyncjobs.backends.base import JobBackend
from asyncjobs.checks import name_text
from asyncjobs.clock import Clock
from asyncjobs.exceptions import ConfigurationError
from asyncjobs.models import Handle, JobEvent
from asyncjobs.runtime.context import find_current_job
from asyncjobs.runtime.events.log_pages import LogPages, SharedPage, well_formed
from asyncjobs.runtime.events.log_tail import LogTail, Publication, Subscription
from asyncjobs.runtime.suggestions import not_found

Over = Callable[[str | None], Awaitable[bool]]
"""Returns whether no more events will come, as of the reader's cursor or later."""

Inside = Callable[[str | None, str | None], AbstractAsyncContextManager[None]]
"""Entered by the body of a job around its wait for an event of a job, of a group, or (None, None) of all."""


class EventFilter(Struct, frozen=True):
    """A filter of events: by job or group, and by types. None selects all."""

    job_id: str | None = None
    group: str | None = None
    types: frozenset[str] | None = None

    def select(self, publication: Publication) -> Sequence[JobEvent]:
        """Return the events that match, in order."""

        def matching() -> Sequence[JobEvent]:
            events, types = publication.of(self.job_id, self.group), self.types
            return events if types is None else [event for event in events if event.type in types]

        return publication.once(self, matching)

    def ends(self, publication: Publication) -> bool:
        """Return whether a job of the filter has become terminal, regardless of the types."""
        return publication.once(
            ("ends", self.job_id, self.group),
            lambda: any(_ends(event) for event in publication.of(self.job_id, self.group)),
        )

    def concerns(self, publication: Publication) -> bool:
        """Return whether a reader needs the publication."""
        if not publication.of(self.job_id, self.group):
            return False
        return self.types is None or self.ends(publication) or bool(self.select(publication))


def checked_types(types: Collection[str] | str | None) -> frozenset[str] | None:
    """Return a filter of event types, checked.

    :raises ConfigurationError: not names of types.
    """
    if types is None:
        return None
    names: Collection[object] = (types,) if isinstance(types, str) else types
    listed: object = names
    if (
        not isinstance(listed, Collection)
        or not names
        or not all(isinstance(name, str) and name and not isinstance(name, Handle) for name in names)
    ):
        raise ConfigurationError("types", types, allowed="names of event types, such as 'completed'; None is all")
    return frozenset(map(name_text, names))


class EventBatch(Struct, frozen=True):
    """The result of ``EventReader.next``.

    ``cursor`` is the position of the reader: after the last event, or later if the filter left events out.
    ``ended``: no more events will come. ``lost``: retention has removed events after the reader's cursor.
    ``foreign``: the cursor was of another log; the reader continues at the end of this one.
    ``shared`` is the publication of the events, on which their encoded forms are shared by all readers. ``whole``: the
    events are all that the filter selects from it, so the form of all of them together can be shared, too.
    """

    events: Sequence[JobEvent]
    cursor: str | None
    ended: bool = False
    lost: bool = False
    foreign: bool = False
    shared: Publication | None = None
    whole: bool = False


class EventReader:
    """A reader of the log, used as ``async with``. Not a generator: a call can time out or be cancelled, and repeated.

    A slow reader reads the log from its cursor: it delays no other reader, and misses nothing.

    :param may_reset: accept a cursor beyond the end of the log (the store was replaced).
    :param inside: entered around each wait for an event inside of a job.
    """

    def __init__(
        self,
        tail: LogTail,
        pages: LogPages,
        clock: Clock,
        wanted: EventFilter,
        after: str | None,
        over: Over | None,
        *,
        may_reset: bool = False,
        inside: Inside | None = None,
    ) -> None:
        self.cursor = after
        self.wanted = wanted
        self._tail = tail
        self._pages = pages
        self._clock = clock
        self._over = over
        self._may_reset = may_reset
        self._inside = inside
        whole = wanted.job_id is None and wanted.group is None and wanted.types is None
        self._concerns = None if whole else wanted.concerns
        self._subscription: Subscription | None = None
        self._begun = False  # with this subscription
        self._known = False  # that retention has removed events after the cursor is reported, or does not matter
        self._catching_up = True
        self._ending = False  # the reader ends at the end of the log
        self._ask = False  # a job has become terminal: ask whether the reader ends
        self._ended = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def live(self) -> bool:
        """Return whether all events that were stored at the beginning have been read."""
        return self._begun and not self._catching_up

    def close(self) -> None:
        """End the subscription."""
        if self._subscription is not None:
            self._tail.unsubscribe(self._subscription)
            self._subscription = None
            self._begun = False

    async def next(self, timeout: float | None = None) -> EventBatch:
        """Wait for the next events.

        A batch without events means: the stream ended, events were lost, only the cursor moved, or ``timeout`` seconds
        passed.

        :raises JobNotFoundError: no such job. ConfigurationError: ``after`` is not a cursor.
            BackendError: the store cannot be read; the call may be repeated.
        """
        until = None if timeout is None else self._clock.monotonic() + round(timeout * 1_000_000)
        while not self._ended:
            await self._follow()
            if not self._subscribed():
                continue  # closed meanwhile, by another task: start again, or that task cancels this one
            if self._catching_up:
                batch = await self._read_page()
                if batch.events or batch.lost or batch.foreign or batch.ended or self._catching_up:
                    return batch
                continue
            # Events that the filter leaves out do not extend the timeout.
            left = None if until is None else max(0, until - self._clock.monotonic()) / 1_000_000
            received = await self._wait(left)
            if received is None:
                self._pass_on()
                return EventBatch((), self.cursor)
            batch = self._take(received)
            if batch.events:
                return batch
        return EventBatch((), self.cursor, ended=True)

    async def _follow(self) -> None:
        """Subscribe if necessary. Find out whether the log has to be read: at the beginning and at the end."""
        if self._subscription is None:
            self._subscription = await self._tail.subscribe(concerns=self._concerns)
        if not self._begun:
            # Ask whether it is over before reading the log, so that the read covers all events up to that answer.
            ending = self._over is not None and await self._over(None)
            if not self._subscribed():  # closed meanwhile
                return
            self._ending = ending
            self._catching_up = self._begun = True
            self._known = self.cursor is None
            self._ask = False
        if self._ask and not self._catching_up and self._over is not None:
            if await self._over(self.cursor):
                self._ending = self._catching_up = True  # events before that answer are read from the log
            self._ask = False

    def _subscribed(self) -> bool:
        return self._subscription is not None

    def next_nowait(self) -> EventBatch | None:
        """Return events that were received already, if there are any."""
        if self._subscription is None or not self._begun or self._catching_up or self._ask:
            return None
        while (publication := self._subscription.receive_nowait()) is not None:
            batch = self._take(publication)
            if batch.events:
                return batch
            if self._ask:
                return None
        return None

    async def _read_page(self) -> EventBatch:
        shared = await self._page()
        if shared is None:
            return EventBatch((), self.cursor, foreign=True)
        page, publication = shared.page, shared.publication
        lost = page.lost and not self._known
        self._known = page.lost or self.cursor is None  # the next page would report the same loss
        events, whole = ((), True) if publication is None else self._unseen(publication)
        self.cursor = page.cursor
        if page.end:
            self._catching_up = False
            self._ended = self._ending
        return EventBatch(events, self.cursor, self._ended, lost, shared=publication, whole=whole)

    async def _page(self) -> SharedPage | None:
        """Return the next page. If the cursor is beyond the end of the log, move it there and return None."""
        assert self._subscription is not None
        live_after = self._subscription.live_after
        while True:
            try:
                return await self._pages.read(self.cursor, self.wanted.job_id, self.wanted.group, live_after)
            except ConfigurationError:
                if self.cursor is None or not (self._may_reset and well_formed(self.cursor)):
                    raise
            end = await self._pages.end()
            if _position(self.cursor) > int(end):  # otherwise, the log has grown meanwhile
                self.cursor = end
                return None

    async def _wait(self, timeout: float | None) -> Publication | None:
        """Call ``_receive``; the body of a job lends its slot while there is nothing to receive."""
        subscription = self._subscription
        assert subscription is not None
        if self._inside is None or timeout == 0 or find_current_job() is None:
            return await self._receive(timeout)
        if subscription.unread or subscription.ended:
            return await self._receive(timeout)
        async with self._inside(self.wanted.job_id, self.wanted.group):
            return await self._receive(timeout)

    async def _receive(self, timeout: float | None) -> Publication | None:
        """Return the next publication; None after a timeout, or if the reader fell behind (it reads the log next)."""
        assert self._subscription is not None
        publication: Publication | None = None
        try:
            if timeout == 0:
                await anyio.lowlevel.checkpoint()
                publication = self._subscription.receive_nowait()
                if publication is None and self._subscription.ended:
                    self.close()
                return publication
            if timeout is None:
                return await self._subscription.receive()
            with self._clock.timeout(timeout):
                publication = await self._subscription.receive()
        except (anyio.EndOfStream, anyio.ClosedResourceError):
            self.close()
        except anyio.get_cancelled_exc_class():
            # A timeout of asyncio can cancel a task that has just received an item, which would be lost.
            self.close()
            raise
        return publication

    def _pass_on(self) -> None:
        """Move the cursor past events that the filter left out."""
        subscription = self._subscription
        if subscription is not None and not subscription.unread:
            self.cursor = max(self.cursor or "0", subscription.passed, key=int)

    def _take(self, publication: Publication) -> EventBatch:
        # An event that was already read from the log may also be the one that ends the stream.
        self._ask = self._ask or (self._over is not None and self.wanted.ends(publication))
        last = publication.events[-1].cursor
        if _position(last) <= _position(self.cursor):
            return EventBatch((), self.cursor)
        events, whole = self._unseen(publication)
        self.cursor = last
        return EventBatch(events, last, shared=publication, whole=whole)

    def _unseen(self, publication: Publication) -> tuple[Sequence[JobEvent], bool]:
        """Return the matching events that were not delivered yet, and whether these are all matching events."""
        selected, seen = self.wanted.select(publication), _position(self.cursor)
        if _position(publication.events[0].cursor) > seen:
            return selected, True
        return [event for event in selected if _position(event.cursor) > seen], False


def job_over(backend: JobBackend, job_id: str) -> Over:
    """Return a function that asks whether a job has ended.

    The function raises ``JobNotFoundError`` for an unknown id.
    """

    async def over(_: str | None) -> bool:
        job = await backend.get_job(job_id)
        if job is None:
            raise await not_found(backend, job_id)
        return job.status.terminal

    return over


def _ends(event: JobEvent) -> bool:
    return event.status is not None and event.status.terminal


def _position(cursor: str | None) -> int:
    return 0 if cursor is None else int(cursor)
