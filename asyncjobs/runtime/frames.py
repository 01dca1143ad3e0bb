"""Events as bytes for the wire: server-sent events and JSON lines. Each is encoded once, however many read it."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Callable
from typing import Any, Literal

from msgspec import json
from msgspec.structs import replace

from asyncjobs.models import JobEvent
from asyncjobs.runtime.reader import EventBatch, EventFilter, EventReader

Form = Literal["named", "plain", "lines"]
"""``named`` server-sent events carry their type as the event's name; ``plain`` ones are all ``message``, the type is
in the JSON; ``lines`` is newline-delimited JSON."""

PING = b": ping\n\n"
CHUNK = 32_768
"""Bytes after which a chunk goes out, although more could be added."""


class Frames:
    """Encodes events.

    :param redact: what becomes of an event before anybody sees it.
    """

    def __init__(self, redact: Callable[[JobEvent], JobEvent] | None = None) -> None:
        self._redact = redact

    def encode(self, batch: EventBatch, wanted: EventFilter, form: Form) -> bytes:
        """The frames of a batch that a reader with the filter ``wanted`` brought."""
        if not batch.events:
            return b""
        shared = batch.shared
        if shared is None:
            return b"".join(self._frame(event, form) for event in batch.events)
        known: dict[str, bytes] = shared.once(
            (self, form), dict[str, bytes]
        )  # by cursor: other filters take some of the same

        def join() -> bytes:
            return b"".join(self._known(known, event, form) for event in batch.events)

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
        name = b"" if form == "plain" else b"\nevent: " + event.type.encode()
        return b"id: " + event.cursor.encode() + name + b"\ndata: " + data + b"\n\n"


def to_json(event: JobEvent) -> bytes:
    """One line of JSON: the fields of ``JobEvent``; line ends and control characters are escaped."""
    try:
        return json.encode(event)
    except (TypeError, ValueError, OverflowError, RecursionError):
        # Stored as msgpack, which has keys and nestings that JSON has not.
        return json.encode(replace(event, data={"repr": repr(event.data)[:2048]}))


def retry(milliseconds: int) -> bytes:
    """How long a browser waits before it connects again."""
    return b"retry: %d\n\n" % milliseconds


def checkpoint(cursor: str) -> bytes:
    """Moves a filtered stream's cursor, without an event."""
    return b"id: " + cursor.encode() + b"\n\n"


def control(name: str, data: dict[str, Any], cursor: str | None = None) -> bytes:
    """A frame of the stream itself: ``reset``, ``bye``, ``end``."""
    head = b"" if cursor is None else b"id: " + cursor.encode() + b"\n"
    return head + b"event: " + name.encode() + b"\ndata: " + json.encode(data) + b"\n\n"


def hello() -> bytes:
    """The first frame: the browser's retry time, spread so that a restart is not answered by all at once."""
    return retry(random.randint(1000, 3000))


class FrameReader:
    """Frames of one reader, a chunk at a time.

    :param snapshot: where a client finds the state as it is, once events were lost to retention.
    """

    def __init__(self, frames: Frames, reader: EventReader, form: Form, *, snapshot: str = "") -> None:
        self._frames = frames
        self._reader = reader
        self._form: Form = form
        self._snapshot = snapshot
        self._told = reader.cursor
        self.ended = False
        self.sent = 0
        """Events so far."""

    async def next(self, timeout: float | None) -> bytes:
        """The next frames; after ``timeout`` seconds without any, a checkpoint where the cursor has moved, else b""."""
        reader = self._reader
        batch = await reader.next(timeout)
        parts: list[bytes] = []
        size = 0
        while batch is not None:
            if batch.lost:
                parts.append(self._lost(batch))
            parts.append(self._frames.encode(batch, reader.wanted, self._form))
            if batch.events:
                self._told = batch.cursor
                self.sent += len(batch.events)
            size += len(parts[-1])
            if batch.ended:
                self.ended = True
                parts.append(self._end(batch))
            batch = None if self.ended or size >= CHUNK else reader.next_nowait()
        if not size and not self.ended and reader.cursor != self._told and reader.cursor is not None:
            self._told = reader.cursor
            if self._form != "lines":
                parts.append(checkpoint(reader.cursor))
        return b"".join(parts)

    def _lost(self, batch: EventBatch) -> bytes:
        data = {"reason": "retention", "cursor": batch.cursor, "snapshot": self._snapshot}
        if self._form == "lines":
            return json.encode({"type": "reset", "data": data}) + b"\n"
        return control("reset", data)

    def _end(self, batch: EventBatch) -> bytes:
        return b"" if self._form == "lines" else control("end", {"cursor": batch.cursor}, batch.cursor)


async def stream_frames(frames: FrameReader, reader: EventReader, ping: float) -> AsyncGenerator[bytes]:
    """Ready-made frames, for a framework's own streaming response."""
    try:
        yield hello()
        while not frames.ended:
            yield await frames.next(ping) or PING
    finally:
        reader.close()
