"""Events as bytes for the wire: server-sent events and JSON lines. Each is encoded once, however many read it.

Besides events, a stream has frames of its own:

======== ==================================================== ==========================================
``end``   the job or group has ended, all of it was delivered  ``cursor``; do not come back
          (of ``subscribe_sse``, also: there is no such job)   ``reason``
``reset`` something is missing before what comes next          ``reason``; ``cursor``, ``snapshot``, ``retry``
``bye``   the server closes the stream                         ``reason``, ``retry``; come back
======== ==================================================== ==========================================

Reasons of a reset: ``retention`` (events after the client's cursor were removed), ``cursor`` (it is of another store),
``busy`` and ``store`` (come back in ``retry`` ms; the stream ends). After the first two, the stream goes on after
``cursor``; the state as it is now is at ``snapshot``.

As named server-sent events these are events of that name. In the two other forms they are ``{"type": "reset", "data":
{…}}``: unlike an event, without a ``job_id``. In JSON lines, ``{"type": "checkpoint", "data": {"cursor": …}}`` moves
the cursor past events that the filter left out (server-sent events use a bare ``id:`` for that); an empty line keeps
the connection alive. If a stream stops without ``end``, the client reconnects with its last cursor.
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
"""``named`` server-sent events carry their type as the event's name; ``plain`` ones are all ``message``, the type is
in the JSON; ``lines`` is newline-delimited JSON."""

CHUNK = 65_536
"""Bytes after which a chunk goes out, although more could be added: what a server takes without waiting."""
STORE_RETRY, STOPPING_RETRY = 5_000, 1_000
"""Milliseconds after which a client comes back when the store was away, or the server stops."""
_NOT_NAMES = frozenset({"end", "reset", "bye", "open", "error"})
"""What a body's own event is not called on the wire: names of the stream itself, and of ``EventSource``."""


class Frames:
    """Encodes events.

    :param redact: what becomes of an event before anybody sees it.
    """

    def __init__(self, redact: Callable[[JobEvent], JobEvent] | None = None) -> None:
        self._redact = redact

    def encode(self, batch: EventBatch, wanted: EventFilter, form: Form) -> Sequence[bytes]:
        """Return the frames of a batch that a reader with the filter ``wanted`` brought, as chunks."""
        if not batch.events:
            return ()
        shared = batch.shared
        if shared is None:
            return chunks(self._frame(event, form) for event in batch.events)
        known: dict[str, bytes] = shared.once(
            (self, form), dict[str, bytes]
        )  # by cursor: other filters take some of the same

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
    """Join frames into pieces that are large enough, and not much larger."""
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
    """One line of JSON: the fields of ``JobEvent``; line ends and control characters are escaped."""
    if event.data and not is_json_object(event.data):
        event = replace(event, data=json_value(event.data))  # stored as msgpack, which has what JSON has not
    try:
        return json.encode(event)
    except (TypeError, ValueError, OverflowError, RecursionError):
        # A lone surrogate, say. A reader that cannot be given one event must get the others.
        return json.encode(replace(event, data={"repr": repr(event.data)[:2048]}))


def checkpoint(form: Form, cursor: str) -> bytes:
    """Return what moves a filtered stream's cursor on, without an event."""
    if form == "lines":
        return json.encode({"type": "checkpoint", "data": {"cursor": cursor}}) + b"\n"
    return b"id: " + cursor.encode() + b"\n\n"


def control(form: Form, name: str, *, cursor: str | None = None, retry: int | None = None, **data: str) -> bytes:
    """Return a frame of the stream itself: ``reset``, ``bye``, ``end``.

    :param retry: milliseconds; they are spread, so that not all clients come back at once.
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
    """Return the first frame: a browser's retry time, spread so that a restart is not answered by all at once."""
    return b"\n" if form == "lines" else b"retry: %d\n\n" % random.randint(1000, 3000)


def ping(form: Form) -> bytes:
    """Return what shows that the stream lives."""
    return b"\n" if form == "lines" else b": ping\n\n"


class FrameReader:
    """Frames of one reader, a chunk at a time.

    :param snapshot: where a client finds the state as it is, once events were lost.
    """

    def __init__(self, frames: Frames, reader: EventReader, form: Form, *, snapshot: str = "") -> None:
        self._frames = frames
        self._reader = reader
        self._form: Form = form
        self._snapshot = snapshot
        self._sent_cursor = reader.cursor
        self._ready: deque[bytes] = deque()
        self._over = False
        self.delivered = False
        """Whether anything has been delivered, besides its end."""

    @property
    def ready(self) -> bool:
        """Whether the next frames are there already."""
        return bool(self._ready)

    @property
    def ended(self) -> bool:
        """Nothing more will come."""
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
        # Its cursor is before the events that are left: who is cut off right after it comes back for them.
        cursor = str(int(batch.events[0].cursor) - 1) if batch.events else batch.cursor
        reason = "retention" if batch.lost else "cursor"
        return (control(self._form, "reset", reason=reason, cursor=cursor, snapshot=self._snapshot),)


async def stream_frames(frames: FrameReader, reader: EventReader, every: float) -> AsyncGenerator[bytes]:
    """Ready-made frames of server-sent events, for a framework's own streaming response.

    They go into a response that has begun: what is wrong is a frame, too. A response that only breaks off has a browser
    come back for ever.
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
