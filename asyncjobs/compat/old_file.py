"""Look at files of the old tracker, and read all of one as of one moment, without ever writing to it.

A file is opened with ``mode=ro``. Where SQLite cannot read it so (a hot journal has to be rolled back first, or the log
has no place beside it), the file and its journal are copied to a private folder, and SQLite recovers the copy.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct

from asyncjobs.backends.sqlite.errors import get_code, translate
from asyncjobs.backends.sqlite.schema import APPLICATION_ID, is_old_tracker
from asyncjobs.exceptions import BackendError, ConfigurationError

T = TypeVar("T")

_PATIENCE = 30.0
"""Seconds that another program may keep the file locked."""
_BESIDE = ("", "-journal", "-wal")
_COPIES = 20
"""Times that a file is copied which changes meanwhile."""
_NEEDS_A_COPY = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR})


class Kind(Enum):
    """What is at a path."""

    MISSING = "missing"
    EMPTY = "empty"
    OURS = "ours"
    OLD = "old"
    OTHER = "other"


class Mark(Struct, frozen=True):
    """How a file and its journals looked: bytes, and the time of the last change in ns."""

    size: int
    changed_at: int


class OldTables(Struct, frozen=True):
    """The rows of an old file by column, in the order in which they were saved. Texts are bytes, as they are stored."""

    mark: Mark
    jobs: list[dict[str, Any]]
    states: list[dict[str, Any]]


def look(path: Path) -> Kind:
    """Return what is at a path.

    :raises BackendError: it is damaged, or locked all the time.
    """
    try:
        if os.stat(path).st_size == 0:
            return Kind.EMPTY
    except FileNotFoundError:
        return Kind.MISSING
    except OSError:  # a part of the path is no folder: whoever opens it will say so
        return Kind.OTHER
    if not path.is_file():
        return Kind.OTHER
    try:
        return _reading(path, _find_kind)
    except ConfigurationError as error:
        if error.code != "not-a-database":
            raise
        return Kind.OTHER


def take_mark(path: Path) -> Mark:
    """Return how a file and its journals look now."""
    found = [os.stat(f"{path}{suffix}") for suffix in _BESIDE if os.path.exists(f"{path}{suffix}")]
    # What is empty has nothing to say: reading a file with a write-ahead log makes an empty one.
    filled = [status for status in found if status.st_size]
    return Mark(sum(status.st_size for status in filled), max((status.st_mtime_ns for status in filled), default=0))


def read_old(path: Path) -> OldTables:
    """Read an old file.

    :raises BackendError: it is damaged, or locked all the time. ConfigurationError: it is no old file.
    """
    mark = take_mark(path)  # before it is read: what changes from here on shows as a change
    jobs, states = _reading(path, _read_tables)
    return OldTables(mark, jobs, states)


def _find_kind(connection: sqlite3.Connection) -> Kind:
    if connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID:
        return Kind.OURS
    if is_old_tracker(connection):
        return Kind.OLD
    return Kind.OTHER if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] else Kind.EMPTY


def _read_tables(connection: sqlite3.Connection) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    connection.execute("BEGIN")
    jobs = _rows(connection, "jobs")
    has_states = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'pipeline_states'").fetchone()[0]
    return jobs, _rows(connection, "pipeline_states") if has_states else []


def _rows(connection: sqlite3.Connection, table: str) -> list[dict[str, Any]]:
    connection.text_factory = bytes  # one text that is not UTF-8 must not hide the others
    cursor = connection.execute(f"SELECT * FROM {table} ORDER BY rowid")
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _reading(path: Path, read: Callable[[sqlite3.Connection], T]) -> T:
    """Read a file in place, or a copy of it where that is not possible."""
    try:
        with closing(_connect(path, "ro")) as connection:
            return read(connection)
    except sqlite3.Error as error:
        if get_code(error) & 0xFF not in _NEEDS_A_COPY:
            raise translate(error, str(path)) from error
    with _copied(path) as copy:
        try:
            with closing(_connect(copy, "rw")) as connection:
                return read(connection)
        except sqlite3.Error as error:
            raise translate(error, str(path)) from error


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(uri, uri=True, timeout=_PATIENCE, isolation_level=None)


@contextmanager
def _copied(path: Path) -> Generator[Path]:
    """Copy a file and its journals to a private folder, as of one moment."""
    with tempfile.TemporaryDirectory(prefix="asyncjobs-") as folder:
        copy = Path(folder) / "copy.db"
        try:
            for _ in range(_COPIES):
                if _copy_once(path, copy):
                    break
                time.sleep(0.05)
            else:
                raise BackendError(f"{path} is written to all the time", hint="stop the program that writes to it")
        except OSError as error:
            raise BackendError(
                f"{path} has to be recovered, and cannot be copied for that: {error.strerror}",
                hint=f"make it readable, and some room in {folder!r} (TMPDIR chooses another folder)",
            ) from error
        yield copy


def _copy_once(path: Path, copy: Path) -> bool:
    """Return whether nothing changed while it was copied."""
    before = _looks(path)
    for suffix in _BESIDE:
        target = f"{copy}{suffix}"
        if os.path.exists(f"{path}{suffix}"):
            shutil.copyfile(f"{path}{suffix}", target)
        elif os.path.exists(target):
            os.unlink(target)
    return _looks(path) == before


def _looks(path: Path) -> list[tuple[int, int, int] | None]:
    looks: list[tuple[int, int, int] | None] = []
    for suffix in _BESIDE:
        try:
            status = os.stat(f"{path}{suffix}")
            looks.append((status.st_ino, status.st_size, status.st_mtime_ns))
        except FileNotFoundError:
            looks.append(None)
    return looks
