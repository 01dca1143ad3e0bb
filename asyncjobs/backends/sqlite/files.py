"""Check the database file before it is opened, and open connections to it.

Nothing opens a database or its -shm except through ``sqlite3``: POSIX drops all locks a process has on a file as soon
as any descriptor of that file is closed, and writes were lost that way. ``os.stat`` opens nothing; a -wal has no locks.
"""

from __future__ import annotations

import errno
import os
import random
import shlex
import sqlite3
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

from asyncjobs.backends.sqlite import metadata_match
from asyncjobs.backends.sqlite.errors import is_busy, is_read_only, locked_message, translate
from asyncjobs.backends.sqlite.mounts import filesystem, network_filesystem
from asyncjobs.backends.sqlite.schema import APPLICATION_ID
from asyncjobs.config import SQLiteConfig
from asyncjobs.exceptions import BackendConnectionError, BackendError, ConfigurationError

_FIELD = "SQLiteConfig.db_path"
_MODE = 0o600
_SMALL_CACHE = 2
"""MiB of page cache of connections that do not write jobs: the memory-mapped file serves their reads."""
PAGE_SIZE = 2048
"""Bytes of a page of new files. A job changes a row in each of some nine pages, which go to the log as a whole.
Smaller ones would cost values of 100 kB and more what they save others."""
_creating = threading.Lock()


class StoreFile:
    """The file that was opened, by device and inode.

    A file that was deleted or replaced accepts writes as before, and loses them, while a process that opens its path
    anew gets another store. So it is checked before anything is committed, read, or opened, which takes 2 µs.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._identity = self._now()

    def _now(self) -> tuple[int, int] | None:
        try:
            status = os.stat(self.path)
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def check(self) -> None:
        """Make sure that the file is still at its path.

        :raises sqlite3.OperationalError: it is not.
        """
        if self._now() != self._identity:
            # The error that SQLite itself gives for this, but only without a write-ahead log.
            error = sqlite3.OperationalError("another file, or none, is at this path now")
            error.sqlite_errorcode = sqlite3.SQLITE_READONLY_DBMOVED
            error.sqlite_errorname = "SQLITE_READONLY_DBMOVED"
            raise error


def prepare_file(config: SQLiteConfig) -> Path:
    """Check that the file can be used, and create it (mode 0600) if it is missing. Blocks for a moment.

    :returns: its real path, beside which SQLite puts the -wal and the -shm.
    :raises ConfigurationError: with the reason and the fix.
    """
    path = Path(os.path.realpath(config.file))
    folder = path.parent
    _check_folder(folder)
    if not config.allow_network_filesystem:
        _check_filesystem(path)
    with _creating:
        if not path.exists():
            _create(path)
    _check_file(path)
    return path


def _check_folder(folder: Path) -> None:
    if not folder.exists():
        raise ConfigurationError(
            _FIELD,
            str(folder),
            problem=f"the folder {folder} does not exist",
            hint=f"make it first (mkdir -p {shlex.quote(str(folder))}), or choose another path",
        )
    if not folder.is_dir():
        raise ConfigurationError(
            _FIELD, str(folder), problem=f"{folder} is not a folder", hint="choose a path inside a folder"
        )
    if is_read_only(folder):
        raise _on_a_read_only_file_system(folder)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigurationError(
            _FIELD,
            str(folder),
            problem=f"the folder {folder} is not writable for this user",
            hint="SQLite keeps two more files beside the database; give write permission, or choose another folder",
        )


def _on_a_read_only_file_system(path: Path) -> ConfigurationError:
    error = ConfigurationError(
        _FIELD,
        str(path),
        problem=f"{path} is on a file system that is read-only",
        hint="mount it for writing (after an error of the disk, Linux makes it read-only by itself), or choose another "
        "path",
    )
    error.code = "read-only"
    return error


def find_network_filesystem(path: Path) -> str | None:
    """Return the type of the network file system that this real path is on; None on a local one, and where the system
    does not report it."""
    return network_filesystem(str(path), _read_mounts())


def find_filesystem(path: Path) -> str | None:
    """Return the type of the file system that this real path is on; None where the system does not report it."""
    return filesystem(str(path), _read_mounts()) or None


def _read_mounts() -> str:
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""  # not Linux


def _check_filesystem(path: Path) -> None:
    kind = find_network_filesystem(path)
    if kind is not None:
        raise ConfigurationError(
            _FIELD,
            str(path),
            problem=f"{path} is on a network file system ({kind}), where SQLite's locks cannot be trusted",
            hint="choose a local disk; SQLiteConfig(allow_network_filesystem=True) opens it at your own risk",
        )


def _create(path: Path) -> None:
    # This process has no connection to this very file yet, so closing the descriptor drops no lock.
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _MODE))
    except FileExistsError:
        pass  # another process was first
    except OSError as error:
        if error.errno == errno.EROFS:
            raise _on_a_read_only_file_system(path) from error
        raise ConfigurationError(
            _FIELD,
            str(path),
            problem=f"{path} cannot be made: {error.strerror}",
            hint="free some space, or choose another path",
        ) from error


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise ConfigurationError(
            _FIELD,
            str(path),
            problem=f"{path} is a folder",
            hint=f"give the path of a file, such as {path / 'asyncjobs.db'}",
        )
    try:
        regular = stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        regular = True  # deleted since: opening it will fail
    if not regular:
        raise ConfigurationError(
            _FIELD, str(path), problem=f"{path} is not a regular file", hint="choose the path of a file"
        )
    if path.exists() and not os.access(path, os.R_OK | os.W_OK):
        raise ConfigurationError(
            _FIELD,
            str(path),
            problem=f"{path} is not readable and writable for this user",
            hint=f"give the permission (chmod u+rw {shlex.quote(str(path))}), run as its owner, or choose another path",
        )


def open_connection(
    config: SQLiteConfig,
    path: str | os.PathLike[str],
    *,
    busy_timeout: float,
    read_only: bool = False,
    file: StoreFile | None = None,
    prepare: Callable[[sqlite3.Connection], None] | None = None,
) -> sqlite3.Connection:
    """Open a connection and apply all settings; the file must exist. Blocks up to ``busy_timeout`` seconds.

    A writing connection puts a new file, or one of ours, into WAL mode; a file of another program is left as it is.

    :param file: the file that must be at ``path``. Default: any file.
    :param prepare: called with the connection before any setting is applied.
    :raises BackendConnectionError: other connections kept the file locked all the time.
    :raises ConfigurationError: it is not a database.
    :raises BackendError: it is missing, replaced, damaged, or cannot be opened.
    """
    where = os.fspath(path)
    connection: sqlite3.Connection | None = None
    try:
        connection = sqlite3.connect(
            # mode=rw: a file that was deleted must be an error, not an empty database with default permissions.
            f"{Path(os.path.abspath(where)).as_uri()}?mode=rw",
            uri=True,
            timeout=busy_timeout,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=512,
        )
        if file is not None:
            file.check()
        if prepare is not None:
            prepare(connection)
        _set_up(connection, config, read_only=read_only)
        if not read_only:
            _set_wal(connection, where, busy_timeout)
            _limit_size(connection, config)
    except BaseException as error:
        if connection is not None:
            connection.close()
        if isinstance(error, sqlite3.Error):
            if is_busy(error):
                raise BackendConnectionError(locked_message(where, busy_timeout), transient=False) from error
            raise translate(error, where) from error
        raise
    return connection


def largest_log(config: SQLiteConfig) -> int:
    """Return the size in bytes to which a log is truncated if it grew while it could not be written back.

    While a checkpoint is due and running, about as much is written as the log had before.
    """
    return 2 * config.checkpoint_size


def _set_up(connection: sqlite3.Connection, config: SQLiteConfig, *, read_only: bool) -> None:
    cache = _SMALL_CACHE if read_only else config.cache_size
    for setting in (
        f"synchronous = {config.synchronous}",
        f"cache_size = {-1024 * cache}",  # negative: KiB
        f"mmap_size = {config.mmap_size << 20}",
        "wal_autocheckpoint = 0",  # the checkpointer does it, apart from commits
        f"journal_size_limit = {largest_log(config)}",
        "temp_store = MEMORY",
        "foreign_keys = OFF",  # the plan keeps the rows together; checking again would cost each write
        f"query_only = {'ON' if read_only else 'OFF'}",
    ):
        connection.execute(f"PRAGMA {setting}")
    metadata_match.define(connection)


def _limit_size(connection: sqlite3.Connection, config: SQLiteConfig) -> None:
    if config.max_size is not None:
        page_size: int = connection.execute("PRAGMA page_size").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {max(1, config.max_size // page_size)}")


def _set_wal(connection: sqlite3.Connection, where: str, busy_timeout: float) -> None:
    if connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
        return
    blank: bool = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    application: int = connection.execute("PRAGMA application_id").fetchone()[0]
    if application != APPLICATION_ID and not (blank and application == 0):
        return  # another program's: the schema check will refuse it, and it must be unchanged
    if blank:
        connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
    use_wal(connection, where, busy_timeout)


def use_wal(connection: sqlite3.Connection, where: str, busy_timeout: float) -> None:
    """Put a file of ours into WAL mode. Blocks up to ``busy_timeout`` seconds."""
    deadline = time.monotonic() + busy_timeout
    while True:
        # Upgrading a read lock to an exclusive one could deadlock, so SQLite gives up at once instead of waiting.
        try:
            mode: str = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        except sqlite3.OperationalError as error:
            left = deadline - time.monotonic()
            if not is_busy(error) or left <= 0:
                raise
            time.sleep(min(left, random.uniform(0.001, 0.02)))
            continue
        if mode != "wal":
            raise BackendError(
                f"{where} cannot have a write-ahead log: its file system has no shared memory",
                hint="choose a path on a local disk",
            )
        return
