"""Keep what a running body reports (progress, logs, events of its own) until it is stored."""

from __future__ import annotations

import threading
from collections import deque
from itertools import count
from typing import NamedTuple

from msgspec import msgpack

from asyncjobs.clock import Clock
from asyncjobs.core.state import SECOND
from asyncjobs.models import BodyEvent, EventType
from asyncjobs.plurals import counted

MOST_UNSTORED = 10_000
MOST_UNSTORED_BYTES = 8 << 20
"""What one body may have reported that is not stored yet. Beyond that the oldest log events make room."""
PROGRESS_EVERY = 0.2
"""Seconds between two progress events of a body that are stored."""

_MARKER = -1
"""The size of the event that counts those that are left out."""


class _Appended(NamedTuple):
    number: int
    event: BodyEvent
    size: int


class BodyEvents:
    """What a body reported and is not stored yet: in order, bounded, of its progress the newest alone.

    Filled from any thread, taken from by the worker's loop.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.lock = threading.RLock()
        """Re-entrant: while it is held, the garbage collector may run a finalizer that logs in this thread and job."""
        self._numbers = count()
        self._logs: deque[_Appended] = deque()
        self._others: deque[_Appended] = deque()
        self._progress: deque[_Appended] = deque(maxlen=1)
        self._progress_due = 0
        self._taken: list[_Appended] = []
        self._size = 0
        self._dropped = 0
        self._last_dropped: _Appended | None = None
        self.closed = False
        """Set once the body has ended: what a thread that it left behind reports is dropped."""

    def __bool__(self) -> bool:
        return bool(self._logs or self._others or self._progress)

    def add(self, event: BodyEvent, size: int | None = None) -> bool:
        """Keep it until it is taken; returns whether there was nothing before.

        :param size: bytes that its data takes, where they are known.
        """
        if size is None:
            size = len(msgpack.encode(event.data))
        with self.lock:
            if self.closed:
                return False
            first = not self
            if event.type == EventType.PROGRESS:
                self._forget(self._progress)
            self._queue(event).append(_Appended(next(self._numbers), event, size))
            self._size += size
            self._make_room()
        return first

    def take(self, most: int | None = None) -> tuple[BodyEvent, ...]:
        """Take what is to be stored now, oldest first: at most ``most`` events, None for all there are.

        With a number, progress that comes too soon after the last is held back, and what was reported after it with it:
        so order is kept, and nothing waits longer than ``PROGRESS_EVERY``.
        """
        with self.lock:
            taken = self._in_order()
            if most is not None:
                if self._progress and self._clock.monotonic() < self._progress_due:
                    del taken[taken.index(self._progress[0]) :]
                del taken[most:]
            self._taken = taken
            if taken:
                self._forget_up_to(taken[-1].number)
        return tuple(one.event for one in taken)

    def _in_order(self) -> list[_Appended]:
        """Return everything that is kept, oldest first."""
        kept = [*self._logs, *self._others, *self._progress]
        if self._last_dropped is not None:
            kept.append(self._marker(self._last_dropped))
        kept.sort()
        return kept

    def _forget_up_to(self, last: int) -> None:
        """Drop what is taken: all up to this number."""
        if self._progress and self._progress[0].number <= last:
            self._progress_due = self._clock.monotonic() + round(PROGRESS_EVERY * SECOND)
        if self._last_dropped is not None and self._last_dropped.number <= last:
            self._dropped, self._last_dropped = 0, None
        for queue in (self._logs, self._others, self._progress):
            while queue and queue[0].number <= last:
                self._forget(queue)

    def put_back(self) -> None:
        """Put back what was taken last and could not be stored: it is taken again before what was reported since."""
        with self.lock:
            while self._taken:
                appended = self._taken.pop()
                if appended.size == _MARKER:
                    self._dropped += appended.event.data["dropped"]
                    self._last_dropped = self._last_dropped or appended
                elif appended.event.type != EventType.PROGRESS or not self._progress:
                    self._queue(appended.event).appendleft(appended)
                    self._size += appended.size
            self._make_room()

    def _queue(self, event: BodyEvent) -> deque[_Appended]:
        match event.type:
            case EventType.LOG:
                return self._logs
            case EventType.PROGRESS:
                return self._progress
            case _:
                return self._others

    def _forget(self, queue: deque[_Appended]) -> None:
        if queue:
            self._size -= queue.popleft().size

    def _make_room(self) -> None:
        while (queue := self._logs or self._others) and (
            len(self._logs) + len(self._others) > MOST_UNSTORED or self._size > MOST_UNSTORED_BYTES
        ):
            self._dropped += 1
            self._last_dropped = queue[0]
            self._forget(queue)

    def _marker(self, dropped: _Appended) -> _Appended:
        """Stands where the last one stood that had to go."""
        text = f"{counted(self._dropped, 'earlier event')} left out here: the job reported more than could be stored"
        data = {"level": "warning", "logger": "asyncjobs", "message": text, "dropped": self._dropped}
        return _Appended(dropped.number, BodyEvent(EventType.LOG.value, data, dropped.event.at), _MARKER)
