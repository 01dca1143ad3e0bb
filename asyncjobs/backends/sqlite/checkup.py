"""Check a database file: for damage, its place, its permissions, and the size of its log."""

from __future__ import annotations

import os
import shlex
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from asyncjobs.backends.base import Finding
from asyncjobs.backends.sqlite.files import find_filesystem, find_network_filesystem
from asyncjobs.backends.sqlite.log_size import measure_log
from asyncjobs.config import SQLiteConfig

_LARGE_LOG = 64 << 20
_EVERY = 10_000
"""Instructions of SQLite's virtual machine between two checks of whether to stop."""


def describe(config: SQLiteConfig) -> dict[str, Any]:
    """Return basic facts about the file: path, file system, size, size of its log, and the version of SQLite."""
    path = config.file
    file, log = _stat(path), _stat(f"{path}-wal")
    return {
        "backend": "sqlite",
        "where": str(path),
        "synchronous": config.synchronous,
        "sqlite_version": sqlite3.sqlite_version,
        "file_system": find_filesystem(Path(os.path.realpath(path))),
        "file_bytes": file.st_size if file else 0,
        "wal_bytes": log.st_size if log else 0,
    }


def check_up(path: Path, opened: bool, stop: threading.Event) -> list[Finding]:
    """Return the findings about the file at ``path``. Blocks while all of the file is read.

    :param opened: whether the backend is open, so that it is a database of ours and its pages are checked, too.
    """
    return [*_outside(path), *(_inside(path, stop) if opened else ())]


def _outside(path: Path) -> Iterator[Finding]:
    kind = find_network_filesystem(Path(os.path.realpath(path)))
    if kind is not None:
        what = f"{path} is on a network file system ({kind}): its locks cannot be trusted"
        yield Finding("error", what, "move it to a local disk: --db PATH")
    mode = _stat(path)
    if mode is not None and (bits := stat.S_IMODE(mode.st_mode)) & 0o077:
        mend = f"chmod 600 {shlex.quote(str(path))}"
        yield Finding("warning", f"others may read {path} (mode {bits:o})", mend)
    log = measure_log(f"{path}-wal").used
    if log > _LARGE_LOG:
        size = f"{log / 1e6:.0f} MB"
        yield Finding(
            "warning",
            f"the write-ahead log has {size}: a reader holds it open, or no process writes it back",
            "close programs that read the file; any process of asyncjobs then writes it back",
        )


def _inside(path: Path, stop: threading.Event) -> Iterator[Finding]:
    damage = _find_damage(path, stop)
    if damage is None:
        yield Finding("ok", f"store {path}: {path.stat().st_size / 1e6:.1f} MB, sound")
    else:
        yield Finding("error", f"store {path} is damaged: {damage}", "restore the newest backup")


def _find_damage(path: Path, stop: threading.Event) -> str | None:
    # Through sqlite3 alone: opening the file otherwise would drop the locks of this process.
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        connection.set_progress_handler(stop.is_set, _EVERY)
        try:
            found: str = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        except sqlite3.DatabaseError as error:  # so badly damaged that the check itself fails
            return str(error)
    return None if found == "ok" else found


def _stat(path: str | os.PathLike[str]) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None
