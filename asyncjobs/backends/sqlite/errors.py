"""Translate SQLite's errors: the one place where they become errors of this package.

Codes are primary result codes; ``sqlite3`` gives the extended ones, whose low byte is the primary code.
"""

from __future__ import annotations

import os
import sqlite3

from msgspec import Struct

from asyncjobs.exceptions import BackendClosedError, BackendConnectionError, BackendError, ConfigurationError
from asyncjobs.host import lock_holder

_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
"""PROTOCOL: many connections opened the write-ahead log at the same instant; the next try finds it open."""


def is_undecodable(error: sqlite3.Error) -> bool:
    """Return whether a text in the result of a statement is not UTF-8."""
    return isinstance(error, sqlite3.OperationalError) and str(error).startswith("Could not decode to UTF-8")


def lenient_text(stored: bytes) -> str:
    """Decode a text with escapes for what is not UTF-8: a ``text_factory`` for a file with such texts."""
    return stored.decode("utf-8", "backslashreplace")


class _Meaning(Struct, frozen=True):
    """A stable slug, a sentence about ``{where}``, and the fix. A ``transient`` error may pass by itself."""

    code: str
    sentence: str
    hint: str
    transient: bool = False


_OF_AN_EMPTIED_FILE = frozenset(
    {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_IOERR}
)
"""ERROR is "no such table"."""
_OF_A_READ_ONLY_FILE_SYSTEM = frozenset(
    {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PERM}
)
_INTACT = "acknowledged data is intact; work continues when the cause is gone"

_MEANINGS: dict[int, _Meaning] = {
    sqlite3.SQLITE_FULL: _Meaning(
        "disk-full",
        "there is no room to write {where}: the disk is full, or the file has reached SQLiteConfig.max_size",
        f"free some space or raise max_size; {_INTACT}",
    ),
    sqlite3.SQLITE_IOERR: _Meaning(
        "io-error",
        "the disk could not read or write {where}",
        f"look at the system's log for the disk, its quota and its mount; {_INTACT}",
        transient=True,
    ),
    sqlite3.SQLITE_READONLY: _Meaning(
        "read-only",
        "{where} cannot be written: the file or its folder is read-only",
        f"give this user write permission for the file, its -wal and -shm, and their folder; {_INTACT}",
    ),
    sqlite3.SQLITE_READONLY_DBMOVED: _Meaning(
        "moved",
        "{where} was deleted, moved or replaced while it was open",
        "put the file back (with its -wal), or restart to begin with a new one",
    ),
    sqlite3.SQLITE_CORRUPT: _Meaning(
        "corrupt",
        "{where} is damaged: it does not have the structure of a database",
        "stop every process that uses it, keep a copy, and restore a backup or run: sqlite3 FILE .recover",
    ),
    sqlite3.SQLITE_CANTOPEN: _Meaning(
        "cannot-open",
        "{where} cannot be opened: it or its folder is missing, or this user may not open it",
        "check that the folder exists, is writable, and that file handles are left (ulimit -n)",
        transient=True,
    ),
    sqlite3.SQLITE_PERM: _Meaning(
        "permission",
        "this user may not use {where}",
        "give this user read and write permission for the file and its folder",
    ),
    sqlite3.SQLITE_AUTH: _Meaning(
        "permission",
        "this user may not use {where}",
        "give this user read and write permission for the file and its folder",
    ),
    sqlite3.SQLITE_TOOBIG: _Meaning(
        "too-big",
        "a value is too large for SQLite to keep in {where}",
        "store large data in files and pass their paths; see max_value_size",
    ),
    sqlite3.SQLITE_NOMEM: _Meaning(
        "out-of-memory",
        "there was no memory left to work on {where}",
        f"lower SQLiteConfig.cache_size and mmap_size, or end other processes; {_INTACT}",
        transient=True,
    ),
    sqlite3.SQLITE_INTERRUPT: _Meaning(
        "interrupted",
        "a statement on {where} was stopped before it was done",
        f"try again; {_INTACT}",
    ),
}
_READ_ONLY_FILE_SYSTEM = _Meaning(
    "read-only",
    "{where} cannot be written: its file system is read-only",
    f"mount it for writing (after an error of the disk, Linux makes it read-only by itself), or use another; {_INTACT}",
)
_EMPTIED = _Meaning(
    "emptied",
    "{where} is empty: it was truncated while it was in use, and its jobs are gone",
    "stop every process that uses it, remove its -wal and -shm, and restore a backup or begin with a new file",
)
_UNEXPECTED = _Meaning(
    "unexpected",
    "{where} could not do what was asked",
    f"this should not happen; please report it with the message above; {_INTACT}",
)


def get_code(error: sqlite3.Error) -> int:
    """Return the extended result code; 0 for an error that the Python module raised itself."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return code or 0


def is_busy(error: BaseException) -> bool:
    """Return whether another connection held a lock, so that the same statement may succeed later."""
    return isinstance(error, sqlite3.Error) and get_code(error) & 0xFF in _BUSY


def translate(error: sqlite3.Error, where: str) -> BackendError | ConfigurationError:
    """Return the error of this package for one of SQLite's; to be raised ``from error``. ``where`` is the file's path.

    ``.code`` is ``disk-full``, ``io-error``, ``read-only``, ``moved``, ``emptied``, ``corrupt``, ``not-a-database``,
    ``cannot-open``, ``permission``, ``too-big``, ``out-of-memory``, ``interrupted``, ``unexpected``, or
    ``backend-unavailable`` for a lock that another connection holds.

    ``.transient`` is True for errors that may pass by themselves: ``io-error`` (a bus that was reset, a quota, a mount
    that comes back), ``cannot-open`` (file handles were used up) and ``out-of-memory``. It is False for ``disk-full``,
    for which an operator must make room and which is reported at once; for any other error that lasts until it is
    fixed; and for a lock, for which the writer and the readers have already waited ``busy_timeout`` seconds. A commit
    that failed transiently may be tried again: it was rolled back, and its pages are written anew from our values, not
    from what a failed fsync left behind.
    """
    code = get_code(error)
    primary = code & 0xFF
    if primary in _BUSY:
        return BackendConnectionError(locked_message(where, None), transient=False)
    if primary in _OF_AN_EMPTIED_FILE and _is_emptied(where):
        return _translated(error, where, _EMPTIED)
    if primary == sqlite3.SQLITE_NOTADB:
        return _not_a_database(where)
    if code == 0 and isinstance(error, sqlite3.ProgrammingError) and "closed" in str(error):
        return BackendClosedError()
    if primary in _OF_A_READ_ONLY_FILE_SYSTEM and is_read_only(where):
        return _translated(error, where, _READ_ONLY_FILE_SYSTEM)
    return _translated(error, where, _MEANINGS.get(code) or _MEANINGS.get(primary) or _UNEXPECTED)


def is_read_only(path: str | os.PathLike[str]) -> bool:
    """Return whether the file system of this path (or of its folder, if it does not exist) is mounted read-only."""
    for place in (path, os.path.dirname(os.path.abspath(path))):
        try:
            return bool(os.statvfs(place).f_flag & os.ST_RDONLY)
        except OSError:
            continue
    return False


def _is_emptied(where: str) -> bool:
    try:
        return os.stat(where).st_size == 0
    except OSError:
        return False


def _translated(error: sqlite3.Error, where: str, meaning: _Meaning) -> BackendError:
    name: str = getattr(error, "sqlite_errorname", None) or type(error).__name__
    translated = BackendError(f"{meaning.sentence.format(where=where)} ({name}: {error})", hint=meaning.hint)
    translated.code = meaning.code
    translated.transient = meaning.transient
    return translated


def _not_a_database(where: str) -> ConfigurationError:
    error = ConfigurationError(
        "SQLiteConfig.db_path",
        where,
        problem=f"{where} is not an SQLite database, or an encrypted one",
        hint="choose another path; nothing was changed",
    )
    error.code = "not-a-database"
    return error


def locked_message(path: str | os.PathLike[str], seconds: float | None) -> str:
    """Return a message that the file stayed locked, with the process that locks it if the system shows that.

    It reads a few files of /proc: on the event loop, call it in a thread.

    :param seconds: how long it was locked. None: leave that out.
    """
    holder = lock_holder(path)
    since = "" if seconds is None else f" for {seconds:.3g} s"
    return f"{os.fspath(path)} is locked{since} by {holder or 'another process'}"
