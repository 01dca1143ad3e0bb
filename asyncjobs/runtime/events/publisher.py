"""Pass stored events on to subscribers in this process."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self
from weakref import WeakSet, finalize

import anyio

from asyncjobs.backends.base import JobBackend
from asyncjobs.checks import CheckedArguments, is_a, listed
from asyncjobs.clock import Clock, checked_clock
from asyncjobs.exceptions import BackendClosedError, ConfigurationError
from asyncjobs.forks import fork_count
from asyncjobs.models import JobEvent
from asyncjobs.runtime.argument_checks import checked_id
from asyncjobs.runtime.background import new_background
from asyncjobs.runtime.events.log_pages import LogPages
from asyncjobs.runtime.events.log_tail import LogTail
from asyncjobs.runtime.events.reader import EventFilter, EventReader, job_over
from asyncjobs.runtime.wakeups import LoopHandle
from asyncjobs.runtime.watcher import watch_others


class EventSubscription:
    """The events of one subscriber: an async iterator, for one task at a time.

    It ends when it is unsubscribed, when its publisher is left, or with the job that it is about. An error of the store
    is raised once; iterating may go on after it.
    """

    def __init__(self, reader: EventReader) -> None:
        self._reader = reader
        self._ready: deque[JobEvent] = deque()
        self._ended = False
        self._waiting: anyio.CancelScope | None = None
        finalize(self, reader.close).atexit = False  # for an iterator that its caller has dropped

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> JobEvent:
        while not self._ready and not self._ended:
            with anyio.CancelScope() as self._waiting:
                try:
                    batch = await self._reader.next()
                finally:
                    self._waiting = None
                    if self._ended:
                        self._reader.close()  # it may have been about to subscribe when it was closed
                self._ready.extend(batch.events)
                if batch.ended:
                    self.close()
        if not self._ready:
            raise StopAsyncIteration
        return self._ready.popleft()

    def close(self) -> None:
        """End the subscription; received events can still be read."""
        self._ended = True
        self._reader.close()
        if self._waiting is not None:
            self._waiting.cancel()


class EventPublisher(CheckedArguments):
    """Passes the events of a store on to subscribers, whichever process stores them.

    Each subscriber gets each stored event once, in order. The publisher does not wait for a slow subscriber, which
    reads the log from its cursor instead. ::

        async with EventPublisher(backend) as publisher:
            async with JobProcessor(backend) as jp:
                job = await jp.submit_job(render, "report")
                async for event in publisher.subscribe(job.id):
                    print(event.type)

    It works alone, and beside processors, daemons and other publishers on the same backend object.

    :param backend: the store. It is opened if it is closed, and closed again if nothing else has it open.
    :raises ConfigurationError: an argument is of the wrong kind.
    """

    def __init__(self, backend: JobBackend, clock: Clock | None = None) -> None:
        store: object = backend
        if not is_a(store, JobBackend):
            raise ConfigurationError("backend", store, allowed="a JobBackend")
        self.backend = backend
        self._clock = checked_clock("EventPublisher.clock", clock)
        self._lock = anyio.Lock()
        self._users = 0
        self._forks = fork_count()
        self._tail: LogTail | None = None
        self._subscriptions: WeakSet[EventSubscription] = WeakSet()

    # -- life

    async def start(self) -> None:
        """Open the store and follow its log. If it is started already, only count the call."""
        async with self._lock:
            if not self._users:
                await self._begin()
            self._users += 1

    async def stop(self) -> None:
        """End all subscriptions and release the store, once ``stop`` was called as often as ``start``."""
        if fork_count() != self._forks:
            return  # a forked child must not stop the publisher of its parent
        await self._leave(None)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        if fork_count() != self._forks:
            return None
        return await self._leave(error)

    async def _begin(self) -> None:
        self._forks = fork_count()
        self._loop = LoopHandle()
        await self.backend.open()
        tail = LogTail(self.backend, self._clock, always=True)
        self._stop_listening = self.backend.add_listener(tail.committed)
        self._stopping = anyio.Event()
        self._background = new_background()
        try:
            await tail.live()
            self._tail = tail
            await self._background.start(self._run, self._stopping.set)
        except BaseException:
            await self._let_go()
            raise

    async def _run(self, started: Callable[[], None]) -> None:
        tail = self.tail
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(tail.run)
                tasks.start_soon(watch_others, self.backend, tail, self._clock)
                started()
                await self._stopping.wait()
                tasks.cancel_scope.cancel()

    async def _leave(self, error: BaseException | None) -> bool | None:
        with anyio.CancelScope(shield=True):
            await self._lock.acquire()
        try:
            self._users = max(0, self._users - 1)
            if self._users or self._tail is None:
                return None
            for subscription in list(self._subscriptions):
                self.unsubscribe(subscription)
            self._stopping.set()
            try:
                return await self._background.join(error)
            finally:
                await self._let_go()
        finally:
            self._lock.release()

    async def _let_go(self) -> None:
        self._stop_listening()
        tail, self._tail = self._tail, None
        if tail is not None:
            tail.close()
        with anyio.CancelScope(shield=True):
            await self.backend.close()

    # -- for subscribers

    def subscribe(self, job_id: str | None = None) -> EventSubscription:
        """Return the events that are stored from now on or, for a job, all of its events until it has ended.

        Of a store without the capability ``"dense_log"``, those that were stored a moment before may come, too.

        The iterator raises ``JobNotFoundError`` for an unknown id, and ``BackendError`` when the store cannot be read.

        :raises BackendClosedError: the publisher is not entered. ConfigurationError: ``job_id`` is not an id.
        """
        tail = self.tail
        over, after = None, tail.cursor
        if job_id is not None:
            job_id = checked_id(job_id)  # a handle is one, too
            over, after = job_over(self.backend, job_id), None
        reader = EventReader(tail, LogPages(self.backend), self._clock, EventFilter(job_id), after, over)
        subscription = EventSubscription(reader)
        self._subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription: EventSubscription) -> None:
        """End a subscription: its iterator stops, even while it waits for the next event."""
        self._subscriptions.discard(subscription)
        subscription.close()

    def publish(self, events: Sequence[JobEvent]) -> None:
        """Deliver these stored events to subscribers now; thread-safe, without waiting.

        The log is read: an event that is not stored reaches no subscriber, and a delivered event is not repeated.

        :raises BackendClosedError: the publisher is not entered. ConfigurationError: not events.
        """
        for i, event in enumerate(listed("events", events, "events, in a list")):
            if not is_a(event, JobEvent):
                raise ConfigurationError(f"events[{i}]", event, allowed="a JobEvent")
        tail = self.tail
        if self._loop.is_here():
            tail.changed()
        else:
            self._loop.call_soon(tail.changed)

    @property
    def tail(self) -> LogTail:
        """The component that follows the log.

        :raises BackendClosedError: the publisher is not entered.
        """
        if self._tail is None:
            raise BackendClosedError(
                "this EventPublisher is not entered", hint="async with EventPublisher(backend) as publisher:"
            )
        return self._tail
