"""The event streams that are open: how many there may be, and how they end when the server does.

A server that is told to stop waits for its open connections before it tells the application (uvicorn, granian): a
stream that nobody ends would hold it for ever. So while streams are open, uvicorn's own flag is looked at.
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
"""Seconds between two looks at whether the server stops."""
_PAUSE_A_STREAM = 0.0005
_LONGEST_PAUSE = 0.25
LAST_WORDS = 1.0
"""Seconds that a client has for the last chunk."""


class OpenStream:
    """One stream. ``closing`` says why it must end, once it must."""

    def __init__(self) -> None:
        self.closing: str | None = None
        self.waiting: anyio.CancelScope | None = None
        self.sending: anyio.CancelScope | None = None

    def close(self, reason: str) -> None:
        """Have it end after what it sends now, if its client takes that."""
        self.closing = self.closing or reason
        if self.waiting is not None:
            self.waiting.cancel()
        if self.sending is not None:
            self.sending.deadline = min(self.sending.deadline, anyio.current_time() + LAST_WORDS)


class OpenStreams:
    """All open streams of one app.

    :param most: how many may be open.
    :param watch: starts a task in the background, which looks whether the server stops; None: it is not looked at.
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
        """Seconds between two chunks of a stream: the more are open, the more each puts into one.

        It varies, so that streams which were woken by the same event do not stay in step.
        """
        pause = len(self._streams) * _PAUSE_A_STREAM
        return min(_LONGEST_PAUSE, pause) * random.uniform(0.5, 1.5) if pause > 0.002 else 0.0

    @contextmanager
    def opened(self) -> Generator[OpenStream | None]:
        """A place among the open streams; None: there is none left."""
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
        """End all that are open; new ones may be opened."""
        for stream in list(self._streams):
            stream.close(reason)

    def close_for_good(self, reason: str = "shutdown") -> None:
        """End all that are open, and those that are opened from now on: the server will soon listen no more."""
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
    """Whether the server that handles SIGTERM here says that it is about to exit. Read only: nothing is patched."""
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return getattr(server, "should_exit", False) is True


async def let_go(receive: Receive) -> None:
    """Cut the connection of a client that does not take the last chunk in time.

    uvicorn keeps what is not sent until the client reads it, and when it is to stop waits for that without end. Its
    ``receive`` knows the connection; under other servers, and middleware that hides it, nothing is done.
    """
    connection: Any = getattr(getattr(receive, "__self__", None), "transport", None)
    if not (hasattr(connection, "abort") and hasattr(connection, "get_write_buffer_size")):
        return
    with anyio.move_on_after(LAST_WORDS, shield=True):
        while connection.get_write_buffer_size():  # noqa: ASYNC110 - nobody tells when it is empty
            await anyio.sleep(0.02)
        return
    connection.abort()
