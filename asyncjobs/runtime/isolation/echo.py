"""Write what child processes print to the standard streams of this one, where it would be without a child.

A terminal that takes nothing more (Ctrl-S, a pipe that nobody reads) blocks its writers. So a thread of its own writes,
and only what fits: a stream with a descriptor is asked first. What comes faster than it is taken is left out.
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
"""Characters that are written at once: a pipe that can be written to takes them, also if each has four bytes."""
_LOOK_EVERY = 0.1
CLOSING = 1.0
"""Seconds that what is left may take to be written in the end."""


class Echo:
    """One thread, begun with the first line. No method but ``close`` waits for anything."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._lines: deque[tuple[JobContext, str, str]] = deque()
        self._waiting = 0
        self._left_out: dict[str, int] = {}
        """Characters, by stream, since it was noted there last."""
        self._until: float | None = None
        """When to stop, of ``time.monotonic()``; None: it is not closed."""
        self._thread: threading.Thread | None = None

    def write(self, context: JobContext, name: str, text: str) -> None:
        """Have whole lines of a job written to the stream ``name``; dropped, and counted, where too many wait."""
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
        """Stop once all is written, after a second at the latest."""
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
                enter(context)  # the log of a daemon in the background notes whose line it is
            try:
                _write(name, text, self._may_go_on)
            except Exception:  # border: a stream that is closed, or the program's own, is not worth a job or a thread
                pass

    def _next(self) -> tuple[JobContext | None, str, str] | None:
        """Wait for the next line to write, or a note of what was left out; None: it is closed."""
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
    """Return what knows whether the stream's descriptor takes something; None: it has none, and blocks nobody."""
    try:
        descriptor = stream.fileno()
        poll: Any = select.poll()
    except (AttributeError, OSError, ValueError):
        return None
    poll.register(descriptor, select.POLLOUT)
    return poll
