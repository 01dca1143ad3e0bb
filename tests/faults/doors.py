"""A door to a server: a port that forwards what comes to another one, and that can be shut for a while."""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit


class Door:
    """Forwards connections to a server. While it is shut they are refused, and those that were there are cut."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self._server = (parts.hostname or "", parts.port or 80)
        self._connections: dict[socket.socket, socket.socket] = {}
        self._listening: socket.socket | None = None
        with socket.create_server(("127.0.0.1", 0)) as found:
            self._port = found.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._lock = threading.Lock()
        self._closed = self._swallows = False
        self._silent: set[int] = set()
        self.swallowed = 0
        """Connections of which something was swallowed."""
        self._wanted_open = True
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._tell()

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._port}"

    @contextmanager
    def shut(self) -> Generator[None]:
        """Shut it, for as long as this is entered."""
        self._wanted_open = False
        self._tell()
        try:
            yield
        finally:
            self._wanted_open = True
            self._tell()

    @contextmanager
    def swallowing(self) -> Generator[None]:
        """Take connections and all that comes through them, and forward nothing, for as long as this is entered."""
        self._swallows = True
        try:
            yield
        finally:
            self._swallows = False

    def close(self) -> None:
        """Shut it for good."""
        self._closed, self._wanted_open = True, False
        self._tell()
        self._thread.join(10)

    def _tell(self) -> None:
        """Have the thread look at what is wanted, and wait until it has done that."""
        with self._lock:
            self._done.clear()
            self._wake.send(b".")
            assert self._done.wait(10)

    # -- in the thread

    def _run(self) -> None:
        while not self._closed or self._listening is not None:
            for key, _ in self._selector.select():
                ready: socket.socket = key.fileobj
                if ready is self._woken:
                    ready.recv(1)
                    self._obey()
                elif ready is self._listening:
                    self._accept()
                elif ready in self._connections:
                    self._forward(ready)
        self._selector.close()
        self._wake.close()
        self._woken.close()

    def _obey(self) -> None:
        if self._wanted_open and self._listening is None:
            self._listening = socket.create_server(("127.0.0.1", self._port))
            self._selector.register(self._listening, selectors.EVENT_READ)
        elif not self._wanted_open and self._listening is not None:
            self._selector.unregister(self._listening)
            self._listening.close()
            self._listening = None
            for connection in list(self._connections):
                self._drop(connection)
        self._done.set()

    def _accept(self) -> None:
        assert self._listening is not None
        inside, _ = self._listening.accept()
        outside = socket.create_connection(self._server)
        for one, other in ((inside, outside), (outside, inside)):
            self._connections[one] = other
            self._selector.register(one, selectors.EVENT_READ)

    def _forward(self, connection: socket.socket) -> None:
        data = b""
        with suppress(OSError):
            data = connection.recv(1 << 16)
            if self._swallows:
                self._swallow(connection)
            else:
                self._connections[connection].sendall(data)
        if not data:
            self._drop(connection)

    def _swallow(self, connection: socket.socket) -> None:
        if connection.fileno() not in self._silent:
            self._silent.add(connection.fileno())
            self.swallowed += 1

    def _drop(self, connection: socket.socket) -> None:
        other = self._connections.pop(connection, None)
        if other is None:
            return
        self._selector.unregister(connection)
        self._silent.discard(connection.fileno())
        connection.close()
        self._drop(other)
