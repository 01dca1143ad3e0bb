"""Keep what a running body reports (progress, logs, events of its own) until it is stored."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import AbstractContextManager
from io import StringIO
from itertools import count
from operator import attrgetter

from msgspec import Struct, msgpack

from asyncjobs.clock import Clock
from asyncjobs.core.state import SECOND
from asyncjobs.models import BodyEvent, EventType
from asyncjobs.plurals import counted
from asyncjobs.runtime.event_data import MAX_EVENT_BYTES, Piece

MOST_UNSTORED = 10_000
MOST_UNSTORED_BYTES = 8 << 20
"""Limits of the unstored events of one body. Beyond them, its oldest log events are dropped."""
PROGRESS_EVERY = 0.2
"""Seconds between two progress events of a body that are stored."""

_LENGTH_GROWS = 4
"""Additional bytes that the encoded length of a text may take once the text has grown."""
_MARKER = -1
"""The size of the event that counts dropped events."""


class _Appended(Struct, eq=False):
    number: int
    event: BodyEvent
    size: int
    piece: Piece | None = None
    """The text that the event begins, if it is a piece of one."""
    text: StringIO | None = None
    """The whole text, once further pieces have joined it."""

    def join(self, event: BodyEvent, piece: Piece) -> None:
        """Add the text of a further piece."""
        if self.text is None:
            self.text = StringIO(newline="")  # keeps line ends as they are
            self.text.write(self.event.data[piece.field])
        self.text.write(event.data[piece.field])
        self.size += piece.size

    def joined(self) -> BodyEvent:
        """Return the event for storage, with its complete text."""
        event = self.event
        if self.piece is None or self.text is None:
            return event
        return BodyEvent(event.type, {**event.data, self.piece.field: self.text.getvalue()}, event.at)


_by_number = attrgetter("number")


class BodyEvents:
    """Reports of a body that are not stored yet: in order, bounded, with only the newest progress.

    Pieces of a text (``emit(…, append=…)``) join the newest event of their stream, as long as nothing but pieces of
    other streams came after it, and as far as one event goes (ADR 32). None of them waits to be joined.

    Any thread may add events; the worker's loop takes them.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.lock: AbstractContextManager[bool] = threading.RLock()
        """Re-entrant: while it is held, the garbage collector may run a finalizer that logs in this thread and job."""
        self._numbers = count()
        self._logs: deque[_Appended] = deque()
        self._others: deque[_Appended] = deque()
        self._progress: deque[_Appended] = deque(maxlen=1)
        self._progress_due = 0
        self._taken: list[_Appended] = []
        self._size = 0
        self._open: dict[bytes, _Appended] = {}
        """By stream: the event that its next piece joins."""
        self._newest_whole = -1
        """The number of the newest event that is not a piece of a text: no piece is moved before it."""
        self._dropped = 0
        self._last_dropped: _Appended | None = None
        self.closed = False
        """Set once the body has ended: reports of threads that it left behind are dropped."""

    def __bool__(self) -> bool:
        return bool(self._logs or self._others or self._progress)

    def add(self, event: BodyEvent, size: int | None = None, piece: Piece | None = None) -> bool:
        """Keep an event until it is taken; return whether there was none before.

        :param size: bytes that its data takes, where they are known.
        :param piece: which text it is a piece of, if it is one.
        """
        if size is None:
            size = len(msgpack.encode(event.data))
        with self.lock:
            if self.closed:
                return False
            if piece is not None and self._join(event, piece):
                return False
            first = not self
            if event.type == EventType.PROGRESS:
                self._forget(self._progress)
            self._keep(_Appended(next(self._numbers), event, size, piece))
            self._size += size
            self._make_room()
        return first

    def _join(self, event: BodyEvent, piece: Piece) -> bool:
        """Add a piece to the pending event of its stream; return whether there is one, with room for it."""
        kept = self._open.get(piece.stream)
        if kept is None or kept.size + piece.size + _LENGTH_GROWS > MAX_EVENT_BYTES:
            return False
        kept.join(event, piece)
        self._size += piece.size
        self._make_room()
        return True

    def _keep(self, appended: _Appended) -> None:
        if appended.piece is None:
            self._newest_whole = appended.number
            self._open.clear()
        else:
            self._open[appended.piece.stream] = appended
        self._queue(appended.event).append(appended)

    def take(self, most: int | None = None) -> tuple[BodyEvent, ...]:
        """Take the events to be stored now, oldest first: at most ``most``, or all with None.

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
        return tuple(one.joined() for one in taken)

    def _in_order(self) -> list[_Appended]:
        """Return everything that is kept, oldest first."""
        kept = [*self._logs, *self._others, *self._progress]
        if self._last_dropped is not None:
            kept.append(self._marker(self._last_dropped))
        kept.sort(key=_by_number)
        return kept

    def _forget_up_to(self, last: int) -> None:
        """Drop the taken events: all up to this number."""
        if self._progress and self._progress[0].number <= last:
            self._progress_due = self._clock.monotonic() + round(PROGRESS_EVERY * SECOND)
        if self._last_dropped is not None and self._last_dropped.number <= last:
            self._dropped, self._last_dropped = 0, None
        for queue in (self._logs, self._others, self._progress):
            while queue and queue[0].number <= last:
                self._forget(queue)

    def put_back(self) -> None:
        """Put back the events taken last, which could not be stored: they are taken again before newer ones."""
        with self.lock:
            while self._taken:
                appended = self._taken.pop()
                if appended.size == _MARKER:
                    self._dropped += appended.event.data["dropped"]
                    self._last_dropped = self._last_dropped or appended
                elif appended.event.type != EventType.PROGRESS or not self._progress:
                    self._queue(appended.event).appendleft(appended)
                    self._size += appended.size
                    if appended.piece is not None and appended.number > self._newest_whole:
                        self._open.setdefault(appended.piece.stream, appended)
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
        if not queue:
            return
        gone = queue.popleft()
        self._size -= gone.size
        if gone.piece is not None and self._open.get(gone.piece.stream) is gone:
            del self._open[gone.piece.stream]

    def _make_room(self) -> None:
        while (queue := self._logs or self._others) and (
            len(self._logs) + len(self._others) > MOST_UNSTORED or self._size > MOST_UNSTORED_BYTES
        ):
            self._dropped += 1
            self._last_dropped = queue[0]
            self._forget(queue)

    def _marker(self, dropped: _Appended) -> _Appended:
        """Return the event that takes the place of the last dropped one, and counts all of them."""
        text = f"{counted(self._dropped, 'earlier event')} left out here: the job reported more than could be stored"
        data = {"level": "warning", "logger": "asyncjobs", "message": text, "dropped": self._dropped}
        return _Appended(dropped.number, BodyEvent(EventType.LOG.value, data, dropped.event.at), _MARKER)


class WithBodyEvents:
    """An attempt with the reports of its body. Most bodies report nothing: the first report makes place for them."""

    _clock: Clock
    _kept: BodyEvents | None = None
    is_over: bool = False
    """Whether the body has ended, for the engine: reports of threads that it left behind are dropped."""

    @property
    def body_events(self) -> BodyEvents:
        """The reports that are not stored yet, for the engine."""
        kept = self._kept
        if kept is None:
            # In one step, without a lock: the garbage collector may run a finalizer here that reports, too.
            kept = self.__dict__.setdefault("_kept", BodyEvents(self._clock))
            if self.is_over:
                kept.closed = True
        return kept

    @property
    def reported(self) -> BodyEvents | None:
        """The same, for the engine; None if nothing was reported yet."""
        return self._kept

    def close_body_events(self) -> None:
        """Drop what is reported from now on: the body has ended."""
        self.is_over = True
        if self._kept is not None:
            self._kept.closed = True
