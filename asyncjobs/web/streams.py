"""Keep track of open event streams, limit their number, and end them when the server shuts down.

A server that shuts down waits for its open connections before it notifies the application (uvicorn, granian): an open
stream would block it forever. So while streams are open, uvicorn's own flag is polled.
"""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import anyio
from starlette.types import Receive

_LOOK_EVERY = 0.2
"""Seconds between two checks whether the server shuts down."""
_PAUSE_A_STREAM = 0.0005
_LONGEST_PAUSE = 0.25
LAST_WORDS = 1.0
"""Seconds that a client has to read the last chunk."""


class OpenStream:
    """One stream. ``closing`` is the reason why it must end, once it must."""

    def __init__(self) -> None:
        self.closing: str | None = None
        self.waiting: anyio.CancelScope | None = None
        self.sending: anyio.CancelScope | None = None

    def close(self, reason: str) -> None:
        """End the stream after the chunk that is being sent, if its client reads that."""
        self.closing = self.closing or reason
        if self.waiting is not None:
            self.waiting.cancel()
        if self.sending is not None:
            self.sending.deadline = min(self.sending.deadline, anyio.current_time() + LAST_WORDS)


class OpenStreams:
    """All open streams of one app.

    :param most: how many may be open.
    :param watch: starts a task in the background that checks whether the server shuts down; None: no check.
    """

    def __init__(self, most: int, watch: Callable[[Callable[[], Any]], None] | None) -> None:
        self._most = most
        self._watch = watch
        self._streams: set[OpenStream] = set()
        self._watching = False
        self._closed: str | None = None

    def __len__(self) -> int:
        return len(self._streams)

    @property
    def pause(self) -> float:
        """Return the seconds between two chunks of a stream: with more streams, chunks are larger.

        The pause is randomised, so that streams that were woken by the same event do not stay in step.
        """
        pause = len(self._streams) * _PAUSE_A_STREAM
        return min(_LONGEST_PAUSE, pause) * random.uniform(0.5, 1.5) if pause > 0.002 else 0.0

    @contextmanager
    def opened(self) -> Generator[OpenStream | None]:
        """Register an open stream and yield it, or yield None if the limit is reached."""
        if len(self._streams) >= self._most:
            yield None
            return
        stream = OpenStream()
        stream.closing = self._closed
        self._streams.add(stream)
        try:
            if self._watch is not None and not self._watching:
                self._watch(self._look)
                self._watching = True
            yield stream
        finally:
            self._streams.discard(stream)

    def close(self, reason: str = "shutdown") -> None:
        """End all open streams; new ones may be opened."""
        for stream in list(self._streams):
            stream.close(reason)

    def close_for_good(self, reason: str = "shutdown") -> None:
        """End all open streams and all that are opened from now on: the server is about to stop listening."""
        self._closed = reason
        self.close(reason)

    async def _look(self) -> None:
        try:
            while self._streams:
                if _server_stops():
                    self.close()
                await anyio.sleep(_LOOK_EVERY)
        finally:
            self._watching = False


def _server_stops() -> bool:
    """Return whether the server that handles SIGTERM is about to exit. Read only: nothing is patched."""
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return getattr(server, "should_exit", False) is True


async def let_go(receive: Receive) -> None:
    """Abort the connection of a client that does not read the last chunk in time.

    uvicorn keeps unsent bytes until the client reads them, and waits for that without limit when it shuts down. Its
    ``receive`` has the connection; with other servers, and middleware that hides it, nothing is done.
    """
    connection: Any = getattr(getattr(receive, "__self__", None), "transport", None)
    if not (hasattr(connection, "abort") and hasattr(connection, "get_write_buffer_size")):
        return
    with anyio.move_on_after(LAST_WORDS, shield=True):
        while connection.get_write_buffer_size():  # noqa: ASYNC110 - no event reports when it is empty
            await anyio.sleep(0.02)
        return
    connection.abort()
