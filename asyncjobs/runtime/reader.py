"""EventReader: a cursor and a filter over the log. It reads what is stored, then follows live, without a gap."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from types import TracebackType
from typing import Self

import anyio
from msgspec import Struct

from asyncjobs.backends.clock import Clock
from asyncjobs.exceptions import ConfigurationError
from asyncjobs.models import JobEvent
from asyncjobs.runtime.events import EventPublisher, Publication, Subscription
from asyncjobs.runtime.pages import LogPages

Over = Callable[[str | None], Awaitable[bool]]
"""Whether nothing more will come, as of the cursor that the reader has reached, or later."""


class EventFilter(Struct, frozen=True):
    """Which events: of a job, of a group, of some types; None takes all."""

    job_id: str | None = None
    group: str | None = None
    types: frozenset[str] | None = None

    def in_scope(self, event: JobEvent) -> bool:
        """Whether it is of the job and group, whatever its type."""
        return (self.job_id is None or event.job_id == self.job_id) and (
            self.group is None or event.group == self.group
        )

    def select(self, events: Sequence[JobEvent]) -> Sequence[JobEvent]:
        """Those that match, in order."""
        types = self.types
        if self.job_id is None and self.group is None:
            return events if types is None else [event for event in events if event.type in types]
        return [event for event in events if self.in_scope(event) and (types is None or event.type in types)]


def types_of(types: Collection[str] | str | None) -> frozenset[str] | None:
    """A filter of event types, checked.

    :raises ConfigurationError: not names of types.
    """
    if types is None:
        return None
    names: Collection[object] = (types,) if isinstance(types, str) else types
    if not names or not all(isinstance(name, str) and name for name in names):
        raise ConfigurationError("types", types, allowed="names of event types, such as 'completed'; None is all")
    return frozenset(str(name) for name in names)


class EventBatch(Struct, frozen=True):
    """What a call of ``next`` brought.

    ``cursor`` is where the reader is now: behind the last event, or further where the filter left some out. ``ended``:
    nothing more will come. ``lost``: retention removed events after the reader's cursor before it read them.
    ``shared`` is where the events are from: what is made of one can be made once for all readers. ``whole``: they are
    all that the filter takes of it, so what is made of all of them can be, too.
    """

    events: Sequence[JobEvent]
    cursor: str | None
    ended: bool = False
    lost: bool = False
    shared: Publication | None = None
    whole: bool = False


class EventReader:
    """Use it as ``async with``. Not a generator: a call may be given a timeout, or be cancelled, and repeated.

    A reader that does not keep up reads the log again from where it is: nobody waits for it, and it misses nothing.
    """

    def __init__(
        self,
        publisher: EventPublisher,
        pages: LogPages,
        clock: Clock,
        wanted: EventFilter,
        after: str | None,
        over: Over | None,
    ) -> None:
        self.cursor = after
        self.wanted = wanted
        self._publisher = publisher
        self._pages = pages
        self._clock = clock
        self._over = over
        self._subscription: Subscription | None = None
        self._begun = False  # with this subscription
        self._first = False  # the next page is the first one after a cursor that somebody kept
        self._catching_up = True
        self._ending = False  # the end of the log is the end of it all
        self._ask = False  # something terminal came by: is it over?
        self._ended = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def live(self) -> bool:
        """Whether it has read all that was stored when it began."""
        return self._begun and not self._catching_up

    def close(self) -> None:
        """Listen no more."""
        if self._subscription is not None:
            self._publisher.unsubscribe(self._subscription)
            self._subscription = None

    async def next(self, timeout: float | None = None) -> EventBatch:
        """Wait for the next events.

        A batch without events says that it ended, that events were lost, that only the cursor moved on, or that
        ``timeout`` seconds passed without any.

        :raises JobNotFoundError: no such job. ConfigurationError: ``after`` is not a cursor.
            BackendError: the store cannot be read; the call may be repeated.
        """
        while not self._ended:
            if self._subscription is None:
                self._subscription = await self._publisher.subscribe()
                self._begun = False
            if not self._begun:
                # Whether it is over is asked before the log is read: what ended before then is in what is read.
                self._ending = self._over is not None and await self._over(None)
                self._catching_up = self._begun = True
                self._first = self.cursor is not None
                self._ask = False
            if self._ask and not self._catching_up and self._over is not None:
                if await self._over(self.cursor):
                    self._ending = self._catching_up = True  # what was stored before the question is read from the log
                self._ask = False
            if self._catching_up:
                batch = await self._read_page()
                if batch.events or batch.lost or batch.ended or self._catching_up:
                    return batch
            else:
                received = await self._receive(timeout)
                if received is None:
                    return EventBatch((), self.cursor)
                batch = self._take(received)
                if batch.events:
                    return batch
        return EventBatch((), self.cursor, ended=True)

    def next_nowait(self) -> EventBatch | None:
        """Events that have been received already, if there are any."""
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
        wanted = self.wanted
        shared = await self._pages.read(self.cursor, wanted.job_id, wanted.group)
        page, publication = shared.page, shared.publication
        lost, self._first = page.lost and self._first, False  # of later pages, it only says what is known
        self.cursor = page.cursor
        if page.end:
            self._catching_up = False
            self._ended = self._ending
        events = publication.once(wanted, lambda: wanted.select(page.events)) if publication is not None else ()
        return EventBatch(events, self.cursor, self._ended, lost, publication, whole=True)

    async def _receive(self, timeout: float | None) -> Publication | None:
        """The next publication; None: not in time, or the subscriber fell behind (then the log is read next)."""
        assert self._subscription is not None
        publication: Publication | None = None
        try:
            if timeout is None:
                return await self._subscription.receive()
            with self._clock.timeout(timeout):
                publication = await self._subscription.receive()
        except (anyio.EndOfStream, anyio.ClosedResourceError):
            self.close()
        return publication

    def _take(self, publication: Publication) -> EventBatch:
        wanted, events = self.wanted, publication.events
        # Also an event that the log told already may be the one that ends it all.
        self._ask = self._ask or publication.once(
            (wanted.job_id, wanted.group), lambda: any(_ends(event) and wanted.in_scope(event) for event in events)
        )
        selected = publication.once(wanted, lambda: wanted.select(events))
        seen = _position(self.cursor)
        if _position(events[0].cursor) > seen:
            self.cursor = events[-1].cursor
            return EventBatch(selected, self.cursor, shared=publication, whole=True)
        if _position(events[-1].cursor) > seen:
            self.cursor = events[-1].cursor
            new = [event for event in selected if _position(event.cursor) > seen]
            return EventBatch(new, self.cursor, shared=publication)
        return EventBatch((), self.cursor)


def _ends(event: JobEvent) -> bool:
    return event.status is not None and event.status.terminal


def _position(cursor: str | None) -> int:
    return 0 if cursor is None else int(cursor)
