"""Open the file with the records for the time of one call: a short transaction, and no descriptor is left open."""

from __future__ import annotations

import os
import random
import sqlite3
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

from asyncjobs.backends.sqlite.errors import is_busy, locked_message, translate
from asyncjobs.backends.sqlite.files import open_connection
from asyncjobs.backends.sqlite.opening import open_store_blocking
from asyncjobs.compat.fork_gate import GATE
from asyncjobs.compat.tables import migrate
from asyncjobs.config import SQLiteConfig
from asyncjobs.exceptions import BackendConnectionError

_PAUSE = 0.02


class RecordFile:
    """The file of a store that has the records of a tracker. Any thread, and any process, may use it at any time."""

    def __init__(self, config: SQLiteConfig) -> None:
        self._config = config
        self.path: Path = config.file

    def prepare(self) -> None:
        """Make the file and its tables where they are missing, and migrate older ones.

        :raises ConfigurationError: it cannot be used; the error says why.
        :raises BackendError: it is damaged, full, locked, or newer.
        """
        with GATE.passed(), self._translating(), closing(open_store_blocking(self._config)[0]) as connection:
            connection.execute(f"PRAGMA busy_timeout = {round(self._config.busy_timeout * 1000)}")
            migrate(connection, str(self.path))

    @contextmanager
    def reading(self) -> Generator[sqlite3.Connection]:
        """Give a connection that sees one moment of the file."""
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def writing(self) -> Generator[sqlite3.Connection]:
        """Give a connection that has the write lock; commit at the end, or roll back after an error."""
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection
            connection.execute("COMMIT")
            self._write_back(connection)

    @contextmanager
    def _transaction(self, begin: str) -> Generator[sqlite3.Connection]:
        with GATE.passed(), self._translating(), closing(self._begun(begin)) as connection:
            yield connection  # what is not committed is rolled back when the connection is closed

    def _begun(self, begin: str) -> sqlite3.Connection:
        """Return a connection with a transaction that has begun, waiting for locks of others.

        SQLite waits for most of them itself, but not where many processes open and close the write-ahead log at once.
        """
        deadline = time.monotonic() + self._config.busy_timeout
        while True:
            left = deadline - time.monotonic()
            connection: sqlite3.Connection | None = None
            try:
                connection = open_connection(self._config, self.path, busy_timeout=max(0.0, left))
                connection.execute(begin)
                return connection
            except (sqlite3.Error, BackendConnectionError) as error:
                if connection is not None:
                    connection.close()
                if isinstance(error, sqlite3.Error) and not is_busy(error):
                    raise
                if left <= 0:
                    message = locked_message(self.path, self._config.busy_timeout)
                    raise BackendConnectionError(message, transient=False) from error
                time.sleep(random.uniform(0, _PAUSE))

    def _write_back(self, connection: sqlite3.Connection) -> None:
        """Write back a log that has grown, without waiting for anyone. The last connection that is closed does so, too,
        but processes that have the store open need not let it come to that."""
        try:
            if os.stat(f"{self.path}-wal").st_size > self._config.checkpoint_size:
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        except (OSError, sqlite3.Error):
            pass  # the commit stands: a later one tries again

    @contextmanager
    def _translating(self) -> Generator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise translate(error, str(self.path)) from error
