"""Follow the stored log for a process: one tail of it, to any number of listeners.

Listeners get events in the log's order, each read from the log or committed by this process. The events of an own
commit are passed on directly only if they continue the tail; otherwise the tail reads the log until it has missed
nothing. The tail never waits for a subscriber: one that does not keep up loses its buffer, is notified of that, and
reads the log from its own cursor.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from asyncjobs.backends.base import JobBackend
from asyncjobs.clock import Clock
from asyncjobs.core.state import SECOND
from asyncjobs.exceptions import BackendClosedError
from asyncjobs.models import JobEvent
from asyncjobs.runtime.loops import look_forever
from asyncjobs.runtime.outages import Outage
from asyncjobs.runtime.wakeups import Wakeup
from asyncjobs.safe_logging import SafeLogger

T = TypeVar("T")
logger = SafeLogger("asyncjobs.events")

_RETRY = 0.5
LOOK_EVERY = 30.0
"""Seconds after which everything that is waited for is looked at in the store, whatever the log has brought."""
_PAGE = 500
BUFFER = 1024
"""Events that a subscriber may be behind before it has to read the log."""


class Publication:
    """Events that were published together. Every subscriber gets the same object, so what is made of it is made once.

    :param events: at least one, in the log's order.
    """

    def __init__(self, events: Sequence[JobEvent]) -> None:
        self.events = events
        self._made: dict[Hashable, Any] = {}

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what ``make`` returns; it is called once for each key."""
        try:
            return self._made[key]
        except KeyError:
            made = self._made[key] = make()
            return made

    def of(self, job_id: str | None, group: str | None) -> Sequence[JobEvent]:
        """Its events of a job, or of a group; all of them without either."""
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
"""Whether a subscriber has to see it."""


class Subscription:
    """A bounded stream of the events after ``live_after``, as they are published.

    ``publications`` ends (``EndOfStream``) when the subscriber fell behind; it then subscribes anew and reads the log.

    :param size: events that it may be behind.
    :param concerns: what is none of its concern does not wake it. Default: everything is.
    """

    def __init__(self, live_after: str, size: int, concerns: Concerns | None = None) -> None:
        self.live_after = live_after
        self.passed = live_after
        """The cursor up to which all that concerns it is here, or was."""
        self._concerns = concerns
        self.ended = False
        """It fell behind, or there will be no more."""
        self._free = size
        # Bounded by the events in it: a publication has at least one.
        send, receive = anyio.create_memory_object_stream[Publication](size)
        self._send: MemoryObjectSendStream[Publication] = send
        self._publications: MemoryObjectReceiveStream[Publication] = receive

    async def receive(self) -> Publication:
        """Wait for the next publication.

        :raises anyio.EndOfStream: it fell behind, or there will be no more.
        """
        publication = await self._publications.receive()
        self._free += len(publication.events)
        return publication

    def receive_nowait(self) -> Publication | None:
        """Return the next publication if it is there."""
        try:
            publication = self._publications.receive_nowait()
        except (anyio.WouldBlock, anyio.EndOfStream, anyio.ClosedResourceError):
            return None
        self._free += len(publication.events)
        return publication

    @property
    def unread(self) -> int:
        """Publications that wait to be received."""
        return self._publications.statistics().current_buffer_used

    def push(self, publication: Publication) -> bool:
        """Hand events over without waiting. False: it could not keep up."""
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
        self.passed = publication.events[-1].cursor
        return True

    def end(self) -> None:
        """No more events will come; those that were not received are dropped: the log has them."""
        self.ended = True
        self._send.close()
        while self.receive_nowait() is not None:
            pass

    def close(self) -> None:
        """Both ends; what was not read is dropped."""
        self._send.close()
        self._publications.close()


class Expectation:
    """Some jobs that a caller waits for, and those of them that became terminal since.

    :param closed: the log is not followed any more.
    """

    def __init__(self, job_ids: Sequence[str], *, closed: bool = False) -> None:
        self.job_ids = job_ids
        self._closed = closed
        self._ended: list[str] = []
        self._signal = Wakeup()

    def notify(self, job_id: str) -> None:
        """Note that this job became terminal, or should be looked at in the store."""
        self._ended.append(job_id)
        self._signal.notify()

    def close(self) -> None:
        """End every wait: the log is not followed any more, whoever else still uses the store."""
        self._closed = True
        self._signal.notify()

    async def wait(self) -> None:
        """Return once ``take`` has something.

        :raises BackendClosedError: the log is not followed any more.
        """
        while not self._ended:
            if self._closed:
                raise BackendClosedError
            await self._signal.wait()

    def take(self) -> list[str]:
        """Take the ids that ended since the last call; perhaps early, perhaps twice: look at the store."""
        ended, self._ended = self._ended, []
        return ended

    async def next(self) -> list[str]:
        """Wait for ids that ended since the last call, and take them."""
        await self.wait()
        return self.take()


ANY_JOB = ""
"""The id by which an ``Expectation`` waits for every job that ends."""


class LogTail:
    """Passes the log on as it grows.

    Expectations are the cheap listeners: they want to know only which jobs became terminal.

    :param always: follow the log also while nothing listens, so that ``cursor`` is known.
    """

    def __init__(self, backend: JobBackend, clock: Clock, *, always: bool = False) -> None:
        self._backend = backend
        self._clock = clock
        self._always = always
        self._closed = False
        self._tail: str | None = None  # None: nobody listened, so nobody knows
        self._newest = "0"
        self._missed = False
        self._reading = False
        self._subscriptions: set[Subscription] = set()
        self._waiters: dict[str, list[Expectation]] = {}
        self._begun = 0
        self._catch_up = Wakeup()
        self._looked_at = clock.monotonic()
        self._removals = backend.removals()

    @property
    def listened_to(self) -> bool:
        """Whether an event would be noticed."""
        return bool(self._subscriptions or self._waiters) or self._always

    @property
    def cursor(self) -> str | None:
        """The last event that was passed on, or stored here and is about to be; None: not known."""
        return None if self._tail is None else max(self._tail, self._newest, key=int)

    def committed(self, events: Sequence[JobEvent]) -> None:
        """Pass on the events of an own commit, in order, before its callers go on. Does not block."""
        self._newest = events[-1].cursor
        self._wake(events)  # early is harmless: who waits looks at the store
        if not self.listened_to:
            self._begin_at(events[-1].cursor)  # whoever listens next need not ask where the log ends
        elif self._tail is None or self._missed or self._reading or int(events[0].cursor) != int(self._tail) + 1:
            self.changed()
        else:
            self._tail = events[-1].cursor
            self._push(events)

    def changed(self) -> None:
        """Note that another process may have added to the log."""
        if self.listened_to:
            self._missed = True
            self._catch_up.notify()
        else:
            self._begin_at(None)

    def _begin_at(self, tail: str | None) -> None:
        """Nobody listens: whoever does next listens from here on, or asks where the log ends."""
        self._tail = tail
        self._missed = False
        self._begun += 1

    async def run(self) -> None:
        """Read up what was missed, whenever something was, and look at the store itself now and then."""
        trouble = Outage(logger, "the event log could not be read")
        await look_forever(self._look, self._until_notified, trouble, self._clock, first=_RETRY, longest=_RETRY)

    async def _look(self) -> None:
        if self._until_look() <= 0:
            self._looked_at = self._clock.monotonic()
            await self._look_again()
        await self._read_up()

    async def _until_notified(self) -> None:
        with self._clock.timeout(self._until_look()):
            await self._catch_up.wait()

    def _until_look(self) -> float:
        return max(0.0, LOOK_EVERY - (self._clock.monotonic() - self._looked_at) / SECOND)

    async def _look_again(self) -> None:
        """Look at everything that is waited for, all of it together: whatever wake-up was lost, it is lost no longer.

        Subscribers get what the log has after what they were given last. If jobs were removed, they begin anew, and
        find out whether theirs is still there.
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
        while self._missed and self._tail is not None:
            self._missed = False
            self._reading = True  # own commits are in what is read now, or in what is read next
            begun = self._begun
            try:
                page = await self._backend.read_events(self._tail)
            except BaseException:
                self._missed = True
                raise
            finally:
                self._reading = False
            if self._begun != begun:  # all listeners left meanwhile, and those that came since begin elsewhere
                self._missed = True
                continue
            self._tail = page.cursor
            self._wake(page.events)
            self._push(page.events)
            if not page.end:
                self._missed = True

    def _wake(self, events: Sequence[JobEvent]) -> None:
        if not self._waiters:
            return
        for event in events:
            if event.status is not None and event.status.terminal:
                self.wake(event.job_id)

    def _push(self, events: Sequence[JobEvent]) -> None:
        if not events or not self._subscriptions:
            return
        publication = Publication(events)
        for subscription in list(self._subscriptions):
            try:
                kept = subscription.push(publication)
            except Exception as error:  # border: a filter that fails costs its subscriber the buffer, and nobody else
                logger.error("a subscriber could not be given an event; it reads the log: %s", error, exc_info=error)
                kept = False
            if not kept:
                self._subscriptions.discard(subscription)
                subscription.end()

    # -- listening

    async def subscribe(self, size: int = BUFFER, concerns: Concerns | None = None) -> Subscription:
        """Every event (that concerns it) that is stored from now on, up to ``size`` of them unread."""
        keep = self.expect([ANY_JOB])  # so that own commits do not drop the tail meanwhile
        try:
            await self.live()
            assert self._tail is not None
            subscription = Subscription(self._tail, size, concerns)
            self._subscriptions.add(subscription)
        finally:
            self.forget(keep)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Stop and drop what was not read."""
        self._subscriptions.discard(subscription)
        subscription.close()

    def expect(self, job_ids: Sequence[str]) -> Expectation:
        """Expect these jobs to become terminal: by commits of this process, and after ``live`` of any process."""
        expectation = Expectation(job_ids, closed=self._closed)
        for job_id in job_ids:
            self._waiters.setdefault(job_id, []).append(expectation)
        return expectation

    async def live(self) -> None:
        """Know where the log ends, and follow it for as long as anybody listens.

        :raises BackendClosedError: it is not followed any more.
        """
        if self._closed:
            raise BackendClosedError
        if self._tail is None:
            cursor = await self._backend.last_cursor()
            if self._tail is None:
                self._tail = cursor
                if self._missed:  # something was stored while the cursor was read
                    self._catch_up.notify()

    def forget(self, expectation: Expectation) -> None:
        """Nobody waits for this any more."""
        for job_id in expectation.job_ids:
            waiters = self._waiters.get(job_id)
            if waiters is not None:
                waiters.remove(expectation)
                if not waiters:
                    del self._waiters[job_id]

    def wake(self, job_id: str) -> None:
        """Have those who wait for it look at the store."""
        self._wake_waiters(job_id)
        for waiter in self._waiters.get(ANY_JOB, ()):
            waiter.notify(job_id)

    def _wake_waiters(self, job_id: str) -> None:
        for waiter in self._waiters.get(job_id, ()):
            waiter.notify(job_id)

    def close(self) -> None:
        """Follow the log no more: end every subscription and every wait."""
        self._closed = True
        self.wake_all()
        for waiters in self._waiters.values():
            for waiter in waiters:
                waiter.close()

    def wake_all(self) -> None:
        """Have everybody look at the store, and so learn what is the matter with it."""
        self._end_subscriptions()
        for job_id in list(self._waiters):
            self.wake(job_id)

    def _end_subscriptions(self) -> None:
        for subscription in self._subscriptions:
            subscription.end()
        self._subscriptions.clear()
