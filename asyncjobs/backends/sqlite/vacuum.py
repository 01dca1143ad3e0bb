"""Make the file smaller: return the space of removed jobs to the file system.

VACUUM rewrites the whole database, into the write-ahead log, under the write lock. Readers continue; writers, of this
process and of others, wait, and would fail after their busy timeout. So VACUUM is interrupted when it takes too long,
which leaves everything as it was. If no other process uses the file, it may take as long as it needs.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing

from asyncjobs.backends.sqlite.errors import get_code, translate
from asyncjobs.backends.sqlite.files import StoreFile, open_connection
from asyncjobs.config import SQLiteConfig
from asyncjobs.exceptions import BackendError

_EVERY = 1000
"""Instructions of SQLite's virtual machine between two checks of the time: some microseconds."""
_BUSY_TIMEOUT = 200
"""Milliseconds that a checkpoint may hold up writers while it waits for readers."""
_WRITING_BACK = 5.0
_PAUSE = 0.02


def compact(config: SQLiteConfig, file: StoreFile, patience: float, stop: threading.Event) -> int:
    """Compact the file, and return the bytes by which it became smaller. Blocks for as long as it takes.

    :param patience: seconds for which the write lock may be held, after a wait for it up to ``config.busy_timeout``.
    :raises BackendConnectionError: another connection kept the lock all the time.
    :raises BackendError: ``compact-timeout``, it took too long; ``disk-full``, it needs room for a second copy.
    """
    with closing(open_connection(config, file.path, busy_timeout=config.busy_timeout, file=file)) as connection:
        try:
            before = _size(connection)
            _vacuum(connection, patience, stop)
            after = _size(connection)
            _write_back(connection)
        except sqlite3.Error as error:
            if get_code(error) == sqlite3.SQLITE_INTERRUPT:
                raise _too_long(file.path, patience) from error
            raise translate(error, file.path) from error
    return max(0, before - after)


def _write_back(connection: sqlite3.Connection) -> None:
    """Write the log back into the file itself.

    While a reader or another checkpoint is in the way, this is tried again for a bounded time; if it fails, the next
    checkpoint will do it.
    """
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT}")
    deadline = time.monotonic() + _WRITING_BACK
    while connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] and time.monotonic() < deadline:
        time.sleep(_PAUSE)


def _size(connection: sqlite3.Connection) -> int:
    # Not the size of the file: pages in the write-ahead log count, too.
    return connection.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size").fetchone()[0]


def _vacuum(connection: sqlite3.Connection, patience: float, stop: threading.Event) -> None:
    connection.execute("PRAGMA temp_store = FILE")  # not a second database in memory
    # The clock starts once the lock was free: waiting for it blocks no writer. VACUUM cannot run inside a transaction,
    # so this one ends before it begins; if another writer is quicker, it is waited for again.
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("COMMIT")
    deadline = time.monotonic() + patience
    connection.set_progress_handler(lambda: stop.is_set() or time.monotonic() > deadline, _EVERY)
    try:
        connection.execute("VACUUM")
    finally:
        connection.set_progress_handler(None, 0)


def _too_long(path: str, patience: float) -> BackendError:
    error = BackendError(
        f"{path} was not compacted: it takes longer than {patience:g} s, in which no program could write",
        hint="stop the daemons and programs that use the file, and compact it with more patience",
    )
    error.code = "compact-timeout"
    return error
