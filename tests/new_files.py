"""Store files to begin with: making the tables of a new one takes 5 ms and a sync, a copy of one next to nothing."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from asyncjobs.backends.sqlite.files import open_connection, prepare_file
from asyncjobs.backends.sqlite.schema import migrate
from asyncjobs.config import SQLiteConfig


def lay_out(path: Path) -> Path:
    """Put a new store's file at this path, unless a test that opens its store again has one there."""
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return path
    with open(descriptor, "wb") as file:
        file.write(_new_file())
    return path


@cache
def _new_file() -> bytes:
    """Return the file as the package makes it."""
    with TemporaryDirectory() as folder:
        config = SQLiteConfig(db_path=Path(folder) / "jobs.db")
        path = prepare_file(config)
        connection = open_connection(config, path, busy_timeout=1)
        migrate(connection, str(path))
        connection.close()
        return path.read_bytes()
