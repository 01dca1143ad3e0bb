"""Write a file that the old tracker reads, so that going back is a command."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from msgspec import Struct

from asyncjobs.backends.sqlite.backup import checked_target, publish
from asyncjobs.backends.sqlite.errors import translate
from asyncjobs.compat.old_rows import Unusable
from asyncjobs.compat.rows import JOB_COLUMNS
from asyncjobs.compat.state import FLAGS
from asyncjobs.exceptions import BackendError

_SCHEMA = (
    """
    CREATE TABLE jobs(
      id TEXT PRIMARY KEY, movie_id TEXT NOT NULL, type TEXT NOT NULL, status TEXT NOT NULL, scene_id TEXT,
      character_id INTEGER, metadata TEXT, error TEXT, retry_count INTEGER DEFAULT 0, max_retries INTEGER DEFAULT 3,
      output_path TEXT, created_at TEXT NOT NULL, updated_at TEXT NOT NULL
    )""",
    "CREATE INDEX idx_movie_id ON jobs(movie_id)",
    "CREATE INDEX idx_status ON jobs(status)",
    "CREATE INDEX idx_type ON jobs(type)",
    """
    CREATE TABLE pipeline_states(
      movie_id TEXT PRIMARY KEY, screenplay_complete INTEGER DEFAULT 0, characters_complete INTEGER DEFAULT 0,
      images_complete INTEGER DEFAULT 0, videos_complete INTEGER DEFAULT 0, post_production_complete INTEGER DEFAULT 0,
      screenplay_data TEXT, screenplay_hash TEXT, created_at TEXT NOT NULL, updated_at TEXT NOT NULL
    )""",
)
_JOB = ("movie_id", *JOB_COLUMNS)
_STATE = ("movie_id", *FLAGS, "screenplay_hash", "screenplay_data", "created_at", "updated_at")


class Exported(Struct, frozen=True):
    """A job to be written; ``row`` has the columns of ``JOB_COLUMNS``."""

    movie_id: str
    row: tuple[Any, ...]


class ExportReport(Struct, frozen=True):
    """What was written. ``unusable`` names what is not there: an id has one place, for all movies; and what an import
    has left out cannot come back."""

    target: str
    jobs: int
    movies: int
    states: int
    unusable: list[Unusable]


def write_old(
    target: str | os.PathLike[str], jobs: Sequence[Exported], states: Sequence[Sequence[Any]]
) -> ExportReport:
    """Write a new file with the tables of the old tracker.

    :param jobs: in the order of their last save: of those with one id, the last one is written.
    :param states: rows with the columns of ``STATES``.
    :raises ConfigurationError: the file exists, or cannot be made. BackendError: it cannot be written.
    """
    path = checked_target(target)
    last = {job.row[0]: job for job in jobs}
    unusable = [
        Unusable(job.movie_id, job.row[0], f"the id belongs to {last[job.row[0]].movie_id!r}, saved later")
        for job in jobs
        if last[job.row[0]] is not job
    ]
    written = [job for job in jobs if last[job.row[0]] is job]
    part = path.with_name(f"{path.name}.{os.urandom(4).hex()}.part")
    try:
        _write(part, written, states)
        publish(part, path)
    except sqlite3.Error as error:
        raise translate(error, str(path)) from error
    except OSError as error:
        raise BackendError(f"{path} cannot be written: {error.strerror}", hint="choose another folder") from error
    finally:
        for left in (part, part.with_name(f"{part.name}-journal")):
            left.unlink(missing_ok=True)
    movies = {job.movie_id for job in written} | {state[0] for state in states}
    return ExportReport(str(path), len(written), len(movies), len(states), unusable)


def _write(part: Path, jobs: Iterable[Exported], states: Iterable[Sequence[Any]]) -> None:
    os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with closing(sqlite3.connect(part, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN")
        for statement in _SCHEMA:
            connection.execute(statement)
        connection.executemany(_insert("jobs", _JOB), ((job.movie_id, *job.row) for job in jobs))
        connection.executemany(_insert("pipeline_states", _STATE), states)
        connection.execute("COMMIT")


def _insert(table: str, columns: Sequence[str]) -> str:
    return f"INSERT INTO {table}({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"


STATES = f"SELECT {', '.join(_STATE)} FROM tracked_states ORDER BY rowid"
"""The statement that reads the states to be written."""
