"""Notice the commits of other processes, by the data version of the writing connection."""

from __future__ import annotations

import sqlite3

from asyncjobs.backends.base import Seen
from asyncjobs.backends.sqlite.errors import translate
from asyncjobs.backends.sqlite.files import StoreFile
from asyncjobs.backends.sqlite.writer import Writer

_UNSEEN = 0.25
"""Seconds in which the version could not be read, after which a change by another process is assumed."""
_REMOVALS = "SELECT value FROM marks WHERE name = 'removed'"


class Changes:
    """The commits of other processes to the file of a writer. Its methods take some microseconds each.

    ``PRAGMA data_version`` is a number that the commits of other connections change, and own commits do not.
    """

    def __init__(self, writer: Writer, file: StoreFile) -> None:
        self._writer = writer
        self._file = file

    def now(self) -> Seen:
        """Return the notes of a watcher that has noticed everything committed until now."""
        return Seen(self._data_version())

    def look(self, seen: Seen, known: int | None) -> bool:
        """Return whether another process may have committed something since the version ``known``.

        :raises BackendError: ``moved``, the file is no longer at its path.
        """
        try:
            self._file.check()
        except sqlite3.Error as moved:
            raise translate(moved, self._file.path) from moved
        version = self._data_version()
        if version is not None:
            seen.unseen = 0.0
            seen.version = version
            return version != known
        if seen.unseen < _UNSEEN:
            return False
        seen.unseen = 0.0
        return True

    def count_removals(self) -> int | None:
        """Return how many jobs were ever removed; None if the connection cannot be used now."""
        if self._writer.busy_in_thread:
            return None
        try:
            row = self._writer.connection.execute(_REMOVALS).fetchone()
        except sqlite3.Error:
            return None  # the next read of the caller raises it, with its reason
        return 0 if row is None else row[0]

    def _data_version(self) -> int | None:
        if self._writer.busy_in_thread:
            return None  # its thread may be inside a transaction
        try:
            return self._writer.connection.execute("PRAGMA data_version").fetchone()[0]
        except sqlite3.Error:
            return None
