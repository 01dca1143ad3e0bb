"""Make the file smaller: return the space of removed jobs to the file system.

VACUUM rewrites the whole database, into the write-ahead log, under the write lock. Readers continue; writers, of this
process and of others, wait, and would fail after their busy timeout. So VACUUM is interrupted when it takes too long,
which leaves everything as it was. If no other process uses the file, it may take as long as it needs.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

from asyncjobs.backends.sqlite.errors import get_code, is_busy, translate
from asyncjobs.backends.sqlite.files import PAGE_SIZE, StoreFile, open_connection, use_wal
from asyncjobs.backends.sqlite.schema import VERSION, read_version
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


def rebuild(config: SQLiteConfig, patience: float, stop: threading.Event) -> int | None:
    """Compact a file that nobody has open, and give it pages of the size that new files have. Blocks as ``compact``.

    Outside of WAL mode alone, VACUUM can change the size of pages, and the only connection alone can leave that mode. A
    process that dies meanwhile leaves a journal, by which the next one that opens the file restores it.

    :returns: the bytes by which it became smaller; None, and nothing was done, if its pages have that size already, it
        is not of this schema version, or somebody has it open.
    :raises BackendError: as ``compact``.
    """
    path = os.path.realpath(config.file)
    if not os.path.isfile(path):
        return None
    uri = f"{Path(path).as_uri()}?mode=rw"
    with closing(sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None)) as alone:
        try:
            if read_version(alone, path) != VERSION or _page_size(alone) == PAGE_SIZE:
                return None
            before = _size(alone)
            if not _is_alone(alone):
                return None
            try:
                alone.execute(f"PRAGMA page_size = {PAGE_SIZE}")
                _vacuum(alone, patience, stop)
            finally:
                use_wal(alone, path, config.busy_timeout)
            return max(0, before - _size(alone))
        except sqlite3.Error as error:
            if is_busy(error):
                return None  # somebody came in between
            if get_code(error) == sqlite3.SQLITE_INTERRUPT:
                raise _too_long(path, patience) from error
            raise translate(error, path) from error


def _is_alone(connection: sqlite3.Connection) -> bool:
    """Leave WAL mode, which succeeds if there is no other connection."""
    try:
        return connection.execute("PRAGMA journal_mode = DELETE").fetchone()[0] == "delete"
    except sqlite3.Error as error:
        if is_busy(error):
            return False
        raise


def _page_size(connection: sqlite3.Connection) -> int:
    return connection.execute("PRAGMA page_size").fetchone()[0]


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
