"""Encode events as server-sent events and JSON lines. Each event is encoded once for all readers.

Besides events, a stream has control frames:

======== ==================================================== ==========================================
``end``   the job or group has ended, all events are sent      ``cursor``; do not reconnect
          (``subscribe_sse``: also for an unknown job)         ``reason``
``reset`` events are missing before the next one               ``reason``; ``cursor``, ``snapshot``, ``retry``
``bye``   the server closes the stream                         ``reason``, ``retry``; reconnect
======== ==================================================== ==========================================

Reasons of a reset: ``retention`` (events after the client's cursor were removed), ``cursor`` (the cursor is of another
store), ``busy`` and ``store`` (the stream ends; reconnect after ``retry`` ms). After the first two, the stream
continues after ``cursor``; ``snapshot`` is the path of the current state.

In the form of named server-sent events, these frames have that name. In the two other forms they are ``{"type":
"reset", "data": {…}}``: unlike an event, without a ``job_id``. In JSON lines, ``{"type": "checkpoint", "data":
{"cursor": …}}`` moves the cursor past events that the filter left out (server-sent events use a bare ``id:`` for that);
an empty line keeps the connection alive. If a stream stops without ``end``, the client reconnects with its last cursor.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from typing import Any, Literal

from msgspec import json
from msgspec.structs import replace

from asyncjobs.core.json_values import is_json_object, json_value
from asyncjobs.exceptions import BackendClosedError, BackendError, JobNotFoundError
from asyncjobs.models import JobEvent
from asyncjobs.runtime.events.reader import EventBatch, EventFilter, EventReader

Form = Literal["named", "plain", "lines"]
"""``named``: server-sent events with their type as the name; ``plain``: all named ``message``, with the type in the
JSON; ``lines``: newline-delimited JSON."""

CHUNK = 65_536
"""Size in bytes at which a chunk is sent without adding more: servers accept so much without blocking."""
STORE_RETRY, STOPPING_RETRY = 5_000, 1_000
"""Milliseconds after which a client reconnects if the store is not available, or the server stops."""
_NOT_NAMES = frozenset({"end", "reset", "bye", "open", "error"})
"""Names that custom events cannot have: those of the stream's own frames, and of ``EventSource``."""


class Frames:
    """Encodes events.

    :param redact: returns what clients may see of an event.
    """

    def __init__(self, redact: Callable[[JobEvent], JobEvent] | None = None) -> None:
        self._redact = redact

    def encode(self, batch: EventBatch, wanted: EventFilter, form: Form) -> Sequence[bytes]:
        """Return the frames of a batch from a reader with the filter ``wanted``, as chunks."""
        if not batch.events:
            return ()
        shared = batch.shared
        if shared is None:
            return chunks(self._frame(event, form) for event in batch.events)
        known: dict[str, bytes] = shared.once(
            (self, form), dict[str, bytes]
        )  # by cursor, because other filters select some of the same events

        def join() -> Sequence[bytes]:
            return chunks(self._known(known, event, form) for event in batch.events)

        return shared.once((self, form, wanted), join) if batch.whole else join()

    def _known(self, known: dict[str, bytes], event: JobEvent, form: Form) -> bytes:
        frame = known.get(event.cursor)
        if frame is None:
            frame = known[event.cursor] = self._frame(event, form)
        return frame

    def _frame(self, event: JobEvent, form: Form) -> bytes:
        data = to_json(event if self._redact is None else self._redact(event))
        if form == "lines":
            return data + b"\n"
        bare = form == "plain" or event.type in _NOT_NAMES or not event.type.isprintable()
        name = b"" if bare else b"\nevent: " + event.type.encode()
        return b"id: " + event.cursor.encode() + name + b"\ndata: " + data + b"\n\n"


def chunks(frames: Iterable[bytes]) -> Sequence[bytes]:
    """Join frames into chunks of about the size that a server accepts at once."""
    found: list[bytes] = []
    piece: list[bytes] = []
    size = 0
    for frame in frames:
        piece.append(frame)
        size += len(frame)
        if size >= CHUNK:
            found.append(b"".join(piece))
            piece, size = [], 0
    if piece:
        found.append(b"".join(piece))
    return found


def to_json(event: JobEvent) -> bytes:
    """Return one line of JSON: the fields of ``JobEvent``; line ends and control characters are escaped."""
    if event.data and not is_json_object(event.data):
        event = replace(event, data=json_value(event.data))  # the stored msgpack has types that JSON does not have
    try:
        return json.encode(event)
    except (TypeError, ValueError, OverflowError, RecursionError):
        # For example, a lone surrogate. One event that cannot be encoded must not stop the others.
        return json.encode(replace(event, data={"repr": repr(event.data)[:2048]}))


def checkpoint(form: Form, cursor: str) -> bytes:
    """Return the frame that moves the cursor of a filtered stream, without an event."""
    if form == "lines":
        return json.encode({"type": "checkpoint", "data": {"cursor": cursor}}) + b"\n"
    return b"id: " + cursor.encode() + b"\n\n"


def control(form: Form, name: str, *, cursor: str | None = None, retry: int | None = None, **data: str) -> bytes:
    """Return a frame of the stream itself: ``reset``, ``bye``, ``end``.

    :param retry: milliseconds; varied, so that not all clients reconnect at once.
    """
    fields: dict[str, Any] = dict(data)
    lines: list[bytes] = []
    if retry is not None:
        fields["retry"] = random.randint(retry, retry * 3 // 2)
        lines.append(b"retry: %d\n" % fields["retry"])
    if cursor is not None:
        fields["cursor"] = cursor
        lines.append(b"id: " + cursor.encode() + b"\n")
    if form != "named":
        record = json.encode({"type": name, "data": fields})
        return record + b"\n" if form == "lines" else b"".join(lines) + b"data: " + record + b"\n\n"
    return b"".join(lines) + b"event: " + name.encode() + b"\ndata: " + json.encode(fields) + b"\n\n"


def hello(form: Form) -> bytes:
    """Return the first frame: the browser's reconnection delay, varied so that not all reconnect at once."""
    return b"\n" if form == "lines" else b"retry: %d\n\n" % random.randint(1000, 3000)


def ping(form: Form) -> bytes:
    """Return the frame that shows that the connection is alive."""
    return b"\n" if form == "lines" else b": ping\n\n"


class FrameReader:
    """The frames of one reader, in chunks.

    :param snapshot: path of the current state, for clients that have lost events.
    """

    def __init__(self, frames: Frames, reader: EventReader, form: Form, *, snapshot: str = "") -> None:
        self._frames = frames
        self._reader = reader
        self._form: Form = form
        self._snapshot = snapshot
        self._sent_cursor = reader.cursor
        self._ready: deque[bytes] = deque()
        self._over = False
        self.delivered: bool = False
        """Whether anything has been delivered, besides its end."""

    @property
    def ready(self) -> bool:
        """Return whether the next frames are available already."""
        return bool(self._ready)

    @property
    def ended(self) -> bool:
        """Whether all frames have been returned."""
        return self._over and not self._ready

    async def next(self, timeout: float | None) -> bytes:
        """Wait for the next frames; after ``timeout`` seconds, return a checkpoint if the cursor moved, else b""."""
        if not self._ready:
            self._ready.extend(await self._read(timeout))
        return self._ready.popleft() if self._ready else b""

    async def _read(self, timeout: float | None) -> Sequence[bytes]:
        reader = self._reader
        batch = await reader.next(timeout)
        ready: list[bytes] = []
        while batch is not None:
            news = [*self._reset(batch), *self._frames.encode(batch, reader.wanted, self._form)]
            if news:
                self.delivered = True
                self._sent_cursor = batch.events[-1].cursor if batch.events else batch.cursor
            if batch.ended:
                self._over = True
                news.append(control(self._form, "end", cursor=batch.cursor))
            ready += news
            batch = None if self._over or sum(map(len, ready)) >= CHUNK else reader.next_nowait()
        if not ready and reader.cursor != self._sent_cursor and reader.cursor is not None:
            self._sent_cursor = reader.cursor
            ready.append(checkpoint(self._form, reader.cursor))
        return chunks(ready)

    def _reset(self, batch: EventBatch) -> Sequence[bytes]:
        if not (batch.lost or batch.foreign):
            return ()
        # Its cursor is before the remaining events: a client that is cut off right after it gets them on reconnection.
        cursor = str(int(batch.events[0].cursor) - 1) if batch.events else batch.cursor
        reason = "retention" if batch.lost else "cursor"
        return (control(self._form, "reset", reason=reason, cursor=cursor, snapshot=self._snapshot),)


async def stream_frames(frames: FrameReader, reader: EventReader, every: float) -> AsyncGenerator[bytes]:
    """Yield frames of server-sent events, for the streaming response of another framework.

    The response has begun by then, so errors are frames, too: a browser would reconnect forever to a response that just
    breaks off.
    """
    begun = False
    try:
        while not frames.ended:
            try:
                chunk = await frames.next(every if begun else 0)
            except JobNotFoundError:
                yield control("named", "end", reason="job-not-found")
                return
            except BackendClosedError as error:
                if not (begun or error.leaving):
                    raise
                yield control("named", "bye", reason="shutdown", retry=STOPPING_RETRY)
                return
            except BackendError:
                yield control("named", "reset", reason="store", retry=STORE_RETRY)
                return
            if begun:
                yield chunk or ping("named")
            else:
                begun = True
                yield hello("named") + chunk
    finally:
        reader.close()
