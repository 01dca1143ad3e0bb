"""Copy the database as of one moment while others write: for a backup, and before an older file is migrated.

SQLite's backup API makes the copy. It has a temporary name until it is complete and on the disk, so that a file with
the final name is always whole.
"""

from __future__ import annotations

import glob
import os
import shlex
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

from asyncjobs.backends.sqlite import schema
from asyncjobs.backends.sqlite.errors import translate
from asyncjobs.backends.sqlite.files import StoreFile, open_connection
from asyncjobs.backends.sqlite.old_workers import refuse_if_alive
from asyncjobs.config import SQLiteConfig
from asyncjobs.exceptions import ConfigurationError

_MODE = 0o600
_PAGES = 1024
"""Pages that are copied between two checks of whether the caller still wants it."""


class Stopped(Exception):  # noqa: N818 - not an error
    """The copy was stopped because its caller is gone."""


def back_up(config: SQLiteConfig, file: StoreFile, target: str | os.PathLike[str], stop: threading.Event) -> None:
    """Copy the store to a new file, mode 0600. Blocks for as long as it takes.

    The source is read in one transaction: commits made meanwhile neither restart the copy nor appear in it. Until it is
    done, the write-ahead log cannot become shorter.

    :raises ConfigurationError: the target exists, or cannot be made.
    :raises Stopped: ``stop`` was set.
    """
    path = checked_target(target)
    with closing(
        open_connection(config, file.path, busy_timeout=config.busy_timeout, read_only=True, file=file)
    ) as source:
        _copy(source, path, stop)


def upgrade(connection: sqlite3.Connection, config: SQLiteConfig, path: Path, stop: threading.Event) -> None:
    """Copy an older file of ours, then migrate it to this schema version.

    The copy is ``<file>.v<version>.bak``, or the next free name. Of several processes, one migrates while the others
    wait for the lock, and then find it done.

    :param connection: without any of our settings: not even the journal mode may change before the copy exists.
    :param stop: once it is set, the copy is given up, and nothing is changed.

    :raises BackendError: ``old-worker``, a worker of an older version is alive.
    :raises SchemaVersionError: it is newer. ConfigurationError: it is a database of another program.
    """
    if not 0 < schema.read_version(connection, str(path)) < schema.VERSION:
        return

    def save(version: int) -> None:
        refuse_if_alive(connection, str(path), version)
        _remove_parts(path, version)
        with closing(_plain(path, config.busy_timeout)) as source:
            _copy(source, _free_name(path, version), stop)

    schema.migrate(connection, str(path), save)


def _remove_parts(path: Path, version: int) -> None:
    """Remove what is left of copies whose process was killed. Call this with the write lock held: nobody makes one now.

    Each may be as large as the file, and a process that is killed at its start is started again, and again.
    """
    for left in path.parent.glob(f"{glob.escape(path.name)}.v{version}.bak*.part*"):
        left.unlink(missing_ok=True)


def _plain(path: Path, busy_timeout: float) -> sqlite3.Connection:
    uri = f"{path.as_uri()}?mode=rw"
    return sqlite3.connect(uri, uri=True, timeout=busy_timeout, isolation_level=None, check_same_thread=False)


def _free_name(path: Path, version: int) -> Path:
    """Return a name that is not taken: an existing file may be the only good copy."""
    name = path.with_name(f"{path.name}.v{version}.bak")
    number = 2
    while name.exists():
        name = path.with_name(f"{path.name}.v{version}.bak{number}")
        number += 1
    return name


def checked_target(target: str | os.PathLike[str]) -> Path:
    """Return the absolute path of a file that is to be made.

    :raises ConfigurationError: it exists, or its folder does not.
    """
    path = Path(os.path.abspath(os.path.expanduser(os.fspath(target))))
    if os.path.lexists(path):
        raise _exists(path)
    if not path.parent.is_dir():
        raise ConfigurationError(
            "backup",
            str(path),
            problem=f"the folder {path.parent} does not exist",
            hint=f"make it first (mkdir -p {shlex.quote(str(path.parent))}), or choose another path",
        )
    return path


def _exists(path: Path) -> ConfigurationError:
    return ConfigurationError(
        "backup", str(path), problem=f"{path} exists", hint="choose another name; nothing is overwritten"
    )


def _copy(source: sqlite3.Connection, path: Path, stop: threading.Event) -> None:
    part = path.with_name(f"{path.name}.{os.urandom(4).hex()}.part")

    def progress(status: int, remaining: int, total: int) -> None:
        if stop.is_set():
            raise Stopped

    try:
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _MODE))
    except OSError as error:
        raise ConfigurationError(
            "backup", str(path), problem=f"{path} cannot be made: {error.strerror}", hint="choose another folder"
        ) from error
    try:
        with closing(_plain(part, 0)) as copy:
            copy.execute("PRAGMA synchronous = FULL")
            source.execute("BEGIN")
            source.execute("SELECT count(*) FROM sqlite_master").fetchone()  # from here on, the state is fixed
            try:
                source.backup(copy, pages=_PAGES, progress=progress)
            except sqlite3.Error as error:
                raise translate(error, str(part)) from error
            finally:
                source.execute("ROLLBACK")
        publish(part, path)
    finally:
        for left in (part, *(part.with_name(part.name + suffix) for suffix in ("-journal", "-wal", "-shm"))):
            left.unlink(missing_ok=True)


def publish(part: Path, path: Path) -> None:
    """Give a file that is complete its final name, unless another process has taken that meanwhile.

    :raises ConfigurationError: a file has that name.
    """
    try:
        os.link(part, path)
    except FileExistsError:
        raise _exists(path) from None
    except OSError:  # a file system without hard links
        if os.path.lexists(path):
            raise _exists(path) from None
        os.rename(part, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
