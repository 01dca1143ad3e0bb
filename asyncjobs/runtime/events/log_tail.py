"""Follow the stored log once per process, for any number of listeners.

Listeners get events in the log's order, each read from the log or committed by this process. The events of a commit of
this process are passed on directly, at once if they continue the tail; otherwise they are kept until the tail has read
what lies before them. A store without the capability ``"dense_log"`` cannot determine whether they do: then every
commit makes the tail read. The tail never waits for a subscriber: one that does not keep up loses its buffer, and reads
the log itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from asyncjobs.backends.base import JobBackend
from asyncjobs.backends.committed_events import CommittedEvents
from asyncjobs.clock import Clock
from asyncjobs.core.state import SECOND
from asyncjobs.exceptions import BackendClosedError
from asyncjobs.models import TERMINAL, EventPage, JobEvent
from asyncjobs.runtime.events.expectations import ANY_JOB, Expectation, Expectations
from asyncjobs.runtime.events.open_jobs import OpenJobs
from asyncjobs.runtime.events.rounds import Rounds
from asyncjobs.runtime.loops import look_forever
from asyncjobs.runtime.outages import Outage
from asyncjobs.runtime.wakeups import Wakeup
from asyncjobs.safe_logging import SafeLogger

T = TypeVar("T")
logger = SafeLogger("asyncjobs.events")

_RETRY = 0.5
LOOK_EVERY = 30.0
"""Seconds after which the store is checked for all expected events, regardless of the log."""
_PAGE = 500
NEVER = str(2**63 - 1)
"""A position that no event has."""
_MOST_KEPT = 64
"""Commits of this process that are kept while what lies before them is read; with more, they are read, too."""
BUFFER = 4096
"""Unread events that a subscription holds, also those of a pause (``rounds``); with more, it has to read the log."""


class Publication:
    """Events that were published together. All subscribers share the object, and what ``once`` computes from it.

    :param events: at least one, in the log's order.
    """

    def __init__(self, events: Sequence[JobEvent]) -> None:
        self.events = events
        self._made: dict[Hashable, Any] = {}

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return ``make()``; call it once for each key."""
        try:
            return self._made[key]
        except KeyError:
            made = self._made[key] = make()
            return made

    def of(self, job_id: str | None, group: str | None) -> Sequence[JobEvent]:
        """Return the events of a job or of a group, or all events."""
        if job_id is not None:
            return self.once("by job", lambda: _by(self.events, lambda event: event.job_id)).get(job_id, ())
        if group is not None:
            return self.once("by group", lambda: _by(self.events, lambda event: event.group)).get(group, ())
        return self.events


def _by(events: Sequence[JobEvent], key: Callable[[JobEvent], str | None]) -> dict[str | None, list[JobEvent]]:
    found: dict[str | None, list[JobEvent]] = {}
    for event in events:
        found.setdefault(key(event), []).append(event)
    return found


Concerns = Callable[[Publication], bool]
"""Return whether the subscriber must see a publication."""


class Subscription:
    """A bounded stream of the events after ``live_after``, as they are published.

    ``publications`` ends (``EndOfStream``) when the subscriber has fallen behind; it then subscribes again and reads
    the log.

    :param size: unread events that it may hold.
    :param concerns: returns whether a publication wakes the subscriber. Default: all do.
    """

    def __init__(self, live_after: str, size: int, concerns: Concerns | None = None) -> None:
        self.live_after = live_after
        """How far shared pages of the log must reach to be of use, so that no commit of this process is missing."""
        self.passed: str = live_after
        """The cursor up to which all relevant events were handed over."""
        self._concerns = concerns
        self.waits: bool = False
        """Whether the next publication wakes the subscriber; ``woken`` is whether the last one did."""
        self.woken: bool = False
        self.ended: bool = False
        """Whether the subscriber has fallen behind, or no more events will come."""
        self._free = size
        # Bounded by the events in it: a publication has at least one.
        send, receive = anyio.create_memory_object_stream[Publication](size)
        self._send: MemoryObjectSendStream[Publication] = send
        self._publications: MemoryObjectReceiveStream[Publication] = receive

    async def receive(self) -> Publication:
        """Wait for the next publication.

        :raises anyio.EndOfStream: the subscriber has fallen behind, or no more events will come.
        """
        self.waits = True
        try:
            publication = await self._publications.receive()
        finally:
            self.waits = False
        self._free += len(publication.events)
        return publication

    def receive_nowait(self) -> Publication | None:
        """Return the next publication if there is one already."""
        try:
            publication = self._publications.receive_nowait()
        except (anyio.WouldBlock, anyio.EndOfStream, anyio.ClosedResourceError):
            return None
        self._free += len(publication.events)
        return publication

    @property
    def unread(self) -> int:
        """The number of publications that wait to be received."""
        return self._publications.statistics().current_buffer_used

    def push(self, publication: Publication) -> bool:
        """Hand events over without waiting. Return False if the subscriber has fallen behind."""
        self.woken = False
        if self._concerns is not None and not self._concerns(publication):
            self.passed = publication.events[-1].cursor
            return True
        self._free -= len(publication.events)
        if self._free < 0:
            return False
        try:
            self._send.send_nowait(publication)
        except (anyio.WouldBlock, anyio.BrokenResourceError):
            return False
        self.woken = self.waits
        self.passed = publication.events[-1].cursor
        return True

    def end(self) -> None:
        """End the stream, and drop unread events: the log has them."""
        self.ended = True
        self._send.close()
        while self.receive_nowait() is not None:
            pass

    def close(self) -> None:
        """Close both ends, and drop unread events."""
        self._send.close()
        self._publications.close()


class LogTail:
    """Passes new events of the log on to listeners.

    Expectations are the cheap listeners: they only learn which jobs have become terminal.

    :param always: follow the log even without listeners, so that ``cursor`` is known.
    """

    def __init__(self, backend: JobBackend, clock: Clock, *, always: bool = False) -> None:
        self._backend = backend
        self._clock = clock
        self._always = always
        self._pushes = "dense_log" in backend.capabilities
        self._closed = False
        self._tail: str | None = None  # None: not followed, because there was no listener
        self._newest = 0
        self._own: deque[CommittedEvents] = deque()  # kept until they continue the tail
        self._missed = False
        self._reading = False
        self._subscriptions: set[Subscription] = set()
        self._rounds = Rounds(self._deliver)
        self._waiters = Expectations()
        self._begun = 0
        self._catch_up = Wakeup()
        self._looked_at = clock.monotonic()
        self._removals = backend.removals()
        self.open_jobs: OpenJobs = OpenJobs(backend.removals)
        """The jobs that certainly have not ended, once the log is followed (``live``)."""

    @property
    def listened_to(self) -> bool:
        """Return whether there is a listener."""
        return bool(self._subscriptions or self._waiters) or self._always

    @property
    def cursor(self) -> str | None:
        """The cursor of the last event that was passed on, or is about to be; None: not known."""
        return None if self._tail is None else str(max(int(self._tail), self._newest))

    def committed(self, events: CommittedEvents) -> None:
        """Pass on the events of a commit of this process, in order, before its callers continue. Never blocks."""
        if self._waiters:
            for job_id, _ in events.ended:
                self.wake(job_id)  # an early wake-up is harmless: waiters look at the store
        if not self._pushes:
            self.changed()
            return
        self._newest = events.last
        if not self.listened_to:
            self._begin_at(str(events.last))  # the next listener need not ask the store where the log ends
            return
        self._own.append(events)
        if self._tail is not None:
            self.open_jobs.note(events)
            self._pass_on_own(int(self._tail))
        elif len(self._own) > _MOST_KEPT:  # nobody has asked yet where the log ends
            self._read_own()

    def _pass_on_own(self, tail: int) -> None:
        """Pass on those commits of this process that continue the tail; have read what lies before the next one."""
        own = self._own
        while own and own[0].first <= tail + 1:
            events = own.popleft()
            if events.first == tail + 1:
                tail = events.last
                self._tail = str(tail)
                self._push(events)
            elif events.last > tail:  # a page has ended within it
                self._read_own()
        if len(own) > _MOST_KEPT:
            self._read_own()
        elif own and not self._reading:  # a read that has begun may bring it
            self.changed()

    def _read_own(self) -> None:
        """Read the commits of this process, too: it is not known how they continue the tail, or there are too many."""
        self._own.clear()
        self.changed()

    def changed(self) -> None:
        """Note that another process may have added to the log."""
        if self.listened_to:
            self._missed = True
            self._catch_up.notify()
        else:
            self._begin_at(None)

    def _begin_at(self, tail: str | None) -> None:
        """Record that there is no listener: the next one begins here, or reads the end of the log from the store."""
        self._tail = tail
        self._own.clear()
        self.open_jobs.clear()
        self._missed = False
        self._begun += 1

    async def run(self) -> None:
        """Read missed events whenever there are some, and check the store itself at intervals."""
        trouble = Outage(logger, "the event log could not be read")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._rounds.run)
            await look_forever(self._look, self._until_notified, trouble, self._clock, first=_RETRY, longest=_RETRY)

    async def _look(self) -> bool:
        """Read what is missed; return whether the store was asked."""
        asks = self._missed and self._tail is not None
        if self._until_look() <= 0:
            self._looked_at = self._clock.monotonic()
            asks |= self.listened_to and self._tail is not None
            await self._look_again()
        await self._read_up()
        return asks

    async def _until_notified(self) -> None:
        with self._clock.timeout(self._until_look()):
            await self._catch_up.wait()

    def _until_look(self) -> float:
        return max(0.0, LOOK_EVERY - (self._clock.monotonic() - self._looked_at) / SECOND)

    async def _look_again(self) -> None:
        """Check the store for everything that is waited for, in one pass, to make up for any lost wake-up.

        Subscribers get the events after the last one they were given. If jobs were removed, they subscribe again, and
        find out whether theirs still exists.
        """
        if not self.listened_to:
            return
        self._missed = True
        self._wake_waiters(ANY_JOB)
        removals = self._backend.removals()
        if removals is None or removals != self._removals:
            self._end_subscriptions()  # their jobs may be removed, together with the events that end them
        self._removals = removals
        expected = [job_id for job_id in self._waiters if job_id != ANY_JOB]
        for start in range(0, len(expected), _PAGE):
            page = expected[start : start + _PAGE]
            results = await self._backend.get_results(page)
            for job_id in page:
                result = results.get(job_id)
                if result is None or result.status.terminal:
                    self._wake_waiters(job_id)

    async def _read_up(self) -> None:
        if self._tail is not None:
            self._pass_on_own(int(self._tail))
        while self._missed and self._tail is not None:
            self._missed = False
            self._reading = True  # commits of this process are covered by this read or by the next
            begun = self._begun
            try:
                page = await self._backend.read_events(self._tail)
            except BaseException:
                self._missed = True
                raise
            finally:
                self._reading = False
            if self._begun != begun:  # all listeners have left meanwhile, and new ones have begun at another position
                self._missed = True
                continue
            self._pass_on_page(page, int(self._tail))
            if not page.end:
                self._missed = True

    def _pass_on_page(self, page: EventPage, tail: int) -> None:
        """Pass on the events of a page that are behind the tail: own commits may have moved it meanwhile."""
        events = page.events
        if events and int(events[0].cursor) <= tail:
            events = [event for event in events if int(event.cursor) > tail]
        for event in events:
            if event.status in TERMINAL:
                self.open_jobs.ended(event.job_id)
                self.wake(event.job_id)
        if int(page.cursor) > tail:
            tail = int(page.cursor)
            self._tail = page.cursor
            self._push(events)
        self._pass_on_own(tail)

    def _push(self, events: Sequence[JobEvent]) -> None:
        if events and self._subscriptions:
            self._rounds.publish(events)

    def _deliver(self, events: Sequence[JobEvent]) -> int:
        """Hand events to all subscribers; return how many of them that wakes."""
        publication = Publication(events)
        woken = 0
        for subscription in list(self._subscriptions):
            try:
                kept = subscription.push(publication)
            except Exception as error:  # border: a failing filter costs only its own subscriber the buffer
                logger.error("a subscriber could not be given an event; it reads the log: %s", error, exc_info=error)
                kept = False
            if not kept:
                self._subscriptions.discard(subscription)
                subscription.end()
            woken += kept and subscription.woken
        return woken

    # -- listening

    async def subscribe(self, size: int = BUFFER, concerns: Concerns | None = None) -> Subscription:
        """Subscribe to the relevant events that are stored from now on, with up to ``size`` unread ones."""
        keep = self.expect([ANY_JOB])  # a listener, so that commits here do not drop the tail meanwhile
        try:
            await self.live()
            assert self._tail is not None
            self._rounds.flush()  # not for the new one, which begins behind it
            subscription = Subscription(self._tail, size, concerns)
            if not self._pushes and (self._missed or self._reading):
                subscription.live_after = NEVER  # commits here are not passed on yet: read them from the log
            self._subscriptions.add(subscription)
        finally:
            self.forget(keep)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription, and drop its unread events."""
        self._subscriptions.discard(subscription)
        subscription.close()

    def expect(self, job_ids: Sequence[str]) -> Expectation:
        """Expect these jobs to become terminal: by commits of this process, and after ``live`` of any process."""
        expectation = Expectation(job_ids, self._catch_up, closed=self._closed)
        self._waiters.add(expectation)
        return expectation

    async def live(self) -> None:
        """Find the end of the log, and follow the log while there are listeners.

        :raises BackendClosedError: the log is no longer followed.
        """
        if self._closed:
            raise BackendClosedError
        if self._tail is None:
            cursor = await self._backend.last_cursor()
            if self._tail is None:
                self._tail = cursor
                if self._missed or self._own:  # events were stored while the cursor was read
                    self._catch_up.notify()

    def forget(self, expectation: Expectation) -> None:
        """Remove an expectation whose caller no longer waits."""
        self._waiters.remove(expectation)

    def wake(self, job_id: str) -> None:
        """Wake the waiters of a job, so that they look at the store."""
        self._wake_waiters(job_id)
        for waiter in self._waiters.of(ANY_JOB):
            waiter.notify(job_id)

    def _wake_waiters(self, job_id: str) -> None:
        for waiter in self._waiters.of(job_id):
            waiter.notify(job_id)

    def close(self) -> None:
        """Stop following the log; end all subscriptions and waits."""
        self._closed = True
        self.wake_all()
        for job_id in self._waiters:
            for waiter in self._waiters.of(job_id):
                waiter.close()

    def wake_all(self) -> None:
        """Wake all listeners, so that they look at the store and get its error; whoever comes later does, too."""
        self.open_jobs.clear()
        self._end_subscriptions()
        for job_id in list(self._waiters):
            self.wake(job_id)

    def _end_subscriptions(self) -> None:
        self._rounds.drop()
        for subscription in self._subscriptions:
            subscription.end()
        self._subscriptions.clear()
