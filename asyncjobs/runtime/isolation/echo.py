"""Write the output of child processes to the standard streams of this process.

A terminal that accepts no more data (Ctrl-S, a pipe without a reader) blocks its writers. So a separate thread writes,
and checks first whether the descriptor is writable. Output that comes faster than the stream accepts it is left out.
"""

from __future__ import annotations

import select
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from asyncjobs.daemon_threads import in_thread
from asyncjobs.plurals import counted
from asyncjobs.runtime.capture import bare_stream
from asyncjobs.runtime.context import JobContext, enter

MOST = 1 << 20
"""Characters that may wait to be written."""
_AT_ONCE = 512
"""Characters per write: a writable pipe accepts them without blocking, even with four bytes each."""
_LOOK_EVERY = 0.1
CLOSING = 1.0
"""Seconds that ``close`` has to write the remaining lines."""


class Echo:
    """A writer with one thread, which starts with the first line. Only ``close`` blocks."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._lines: deque[tuple[JobContext, str, str]] = deque()
        self._waiting = 0
        self._left_out: dict[str, int] = {}
        """Characters left out since the last note, by stream."""
        self._until: float | None = None
        """The deadline of ``close`` on ``time.monotonic()``; None: not closed."""
        self._thread: threading.Thread | None = None

    def write(self, context: JobContext, name: str, text: str) -> None:
        """Queue whole lines of a job for the stream ``name``; drop and count them if too many wait."""
        with self._changed:
            if self._until is not None:
                return
            if self._waiting + len(text) > MOST:
                self._left_out[name] = self._left_out.get(name, 0) + len(text)
                return
            self._waiting += len(text)
            self._lines.append((context, name, text))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="asyncjobs-echo", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    async def close(self) -> None:
        """Stop once everything is written, at the latest after a second."""
        with self._changed:
            self._until = time.monotonic() + CLOSING
            self._changed.notify_all()
        if self._thread is not None:
            await in_thread(self._thread.join, CLOSING + _LOOK_EVERY)

    # -- in the thread

    def _run(self) -> None:
        while (line := self._next()) is not None:
            context, name, text = line
            if context is not None:
                enter(context)  # the log of a daemon in the background records the job of a line
            try:
                _write(name, text, self._may_go_on)
            except Exception:  # border: an error of a stream must not end a job or this thread
                pass

    def _next(self) -> tuple[JobContext | None, str, str] | None:
        """Wait for the next line to write, or a note about omitted lines. Return None once closed."""
        with self._changed:
            if not self._may_go_on():
                return None
            while not self._lines and not self._left_out:
                if self._until is not None:
                    return None
                self._changed.wait()
            if not self._lines:
                name, left_out = self._left_out.popitem()
                note = f"{counted(left_out, 'character')} of the {name} of jobs left out here"
                return None, name, f"[asyncjobs: {note}]\n"
            context, name, text = self._lines.popleft()
            self._waiting -= len(text)
            return context, name, text

    def _may_go_on(self) -> bool:
        return self._until is None or time.monotonic() < self._until


def _write(name: str, text: str, may_go_on: Callable[[], bool]) -> None:
    stream = bare_stream(name)
    if stream is None:
        return  # a program without a console
    encoding = getattr(stream, "encoding", None) or "utf-8"
    text = text.encode(encoding, "backslashreplace").decode(encoding)
    poll = _poll_of(stream)
    for start in range(0, len(text), _AT_ONCE):
        while may_go_on() and poll is not None and not poll.poll(round(_LOOK_EVERY * 1000)):
            pass
        if not may_go_on():
            return
        stream.write(text[start : start + _AT_ONCE])
        stream.flush()


def _poll_of(stream: Any) -> Any:
    """Return a poll object for the descriptor of the stream; None if it has no descriptor, and so never blocks."""
    try:
        descriptor = stream.fileno()
        poll: Any = select.poll()
    except (AttributeError, OSError, ValueError):
        return None
    poll.register(descriptor, select.POLLOUT)
    return poll
