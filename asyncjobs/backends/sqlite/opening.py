"""Open a store: create or migrate its file, wait for locks of other processes, and stop if the caller is cancelled.

SQLite waits for a lock in C, where nothing can stop it. So it waits in short steps, and between two of them a caller
that is cancelled, by Ctrl-C or SIGTERM for example, is released.
"""

from __future__ import annotations

import dataclasses
import sqlite3
import threading
import time
from pathlib import Path

from asyncjobs.backends.sqlite.backup import upgrade
from asyncjobs.backends.sqlite.errors import is_busy, locked_message, translate
from asyncjobs.backends.sqlite.files import StoreFile, open_connection, prepare_file
from asyncjobs.backends.sqlite.schema import migrate
from asyncjobs.config import SQLiteConfig
from asyncjobs.daemon_threads import in_thread
from asyncjobs.exceptions import BackendClosedError, BackendConnectionError

_STEP = 0.5
"""Seconds that SQLite waits for a lock between two checks of whether the caller still wants the store."""


async def open_store(config: SQLiteConfig) -> tuple[sqlite3.Connection, StoreFile]:
    """Open the writing connection, in a thread, and return it with its file.

    A caller that is cancelled waits for half a second at most, or until a migration that has begun is rolled back.

    :raises BackendConnectionError: the file stayed locked for ``config.busy_timeout`` seconds.
    :raises BackendError: it cannot be opened.
    """
    stop = threading.Event()
    opening = _Opening(config, stop)
    try:
        return await in_thread(opening.run, stop=stop)
    except BaseException:
        opening.give_up()  # it may be opened just now: a caller that is cancelled twice does not wait for the thread
        raise


def open_store_blocking(config: SQLiteConfig) -> tuple[sqlite3.Connection, StoreFile]:
    """Open the writing connection in the calling thread: see ``open_store``."""
    return _Opening(config, threading.Event()).run()


class _Opening:
    def __init__(self, config: SQLiteConfig, stop: threading.Event) -> None:
        self._config = config
        self._stop = stop
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._is_given_up = False

    def run(self) -> tuple[sqlite3.Connection, StoreFile]:
        """Open the store, waiting for a lock in short steps."""
        path = prepare_file(self._config)
        deadline = time.monotonic() + self._config.busy_timeout
        while True:
            left = max(0.0, deadline - time.monotonic())
            config = dataclasses.replace(self._config, busy_timeout=min(_STEP, left))
            try:
                connection, file = _open_once(config, path, self._stop)
            except (sqlite3.Error, BackendConnectionError) as error:
                # Not a lock; a lock, but the caller has gone; a lock for too long; or a lock to wait for once more.
                cause = error if isinstance(error, sqlite3.Error) else error.__cause__
                if not (isinstance(cause, sqlite3.Error) and is_busy(cause)):
                    if isinstance(error, sqlite3.Error):
                        raise translate(error, str(path)) from error
                    raise
                if self._stop.is_set():
                    raise BackendClosedError("opening the store was cancelled") from error
                if left <= 0:
                    message = locked_message(path, self._config.busy_timeout)
                    raise BackendConnectionError(message, transient=False) from error
            else:
                self._keep(connection)
                return connection, file

    def _keep(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            if not self._is_given_up:
                self._connection = connection
                return
        connection.close()
        raise BackendClosedError("opening the store was cancelled")

    def give_up(self) -> None:
        """Close the connection, or have it closed as soon as it is open."""
        with self._lock:
            self._is_given_up = True
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _open_once(config: SQLiteConfig, path: Path, stop: threading.Event) -> tuple[sqlite3.Connection, StoreFile]:
    def prepare(connection: sqlite3.Connection) -> None:
        upgrade(connection, config, path, stop)

    file = StoreFile(config.file)
    connection = open_connection(config, path, busy_timeout=config.busy_timeout, file=file, prepare=prepare)
    try:
        migrate(connection, str(path))
        connection.execute("PRAGMA busy_timeout = 0")
    except BaseException:
        connection.close()
        raise
    return connection, file
