"""Read and write the records of the tracker, inside a transaction of the caller."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

from asyncjobs.compat.job import Job, JobStatus, local_now
from asyncjobs.compat.rows import JOB_COLUMNS, STATE_COLUMNS, row_job

_JOB = ", ".join(JOB_COLUMNS)
_STATE = ", ".join(STATE_COLUMNS)
_FIND = f"SELECT n, movie_id, saved_at, {_JOB} FROM tracked_jobs"
_PUT_JOB = f"""
INSERT OR REPLACE INTO tracked_jobs(movie_id, saved_at, {_JOB}) VALUES ({", ".join("?" * (len(JOB_COLUMNS) + 2))})"""
_PUT_STATE = f"""
INSERT INTO tracked_states(movie_id, created_at, updated_at, {_STATE})
VALUES ({", ".join("?" * (len(STATE_COLUMNS) + 3))})
ON CONFLICT(movie_id) DO UPDATE SET updated_at = excluded.updated_at,
{", ".join(f"{name} = excluded.{name}" for name in STATE_COLUMNS)}"""


class Record(Struct, frozen=True):
    """A job that the tracker keeps. ``saved_at``: µs since the epoch."""

    n: int
    movie_id: str
    saved_at: int
    job: Job


def _record(row: Sequence[Any]) -> Record:
    n, movie_id, saved_at, *job = row
    return Record(n, movie_id, saved_at, row_job(job))


def put_jobs(connection: sqlite3.Connection, movie_id: str, rows: Iterable[Sequence[Any]]) -> None:
    """Save jobs (``job_row``) of a movie, each at the end; of two with one id, the last one stays."""
    now = time.time_ns() // 1000
    connection.executemany(_PUT_JOB, ((movie_id, now, *row) for row in rows))


def find_by_id(connection: sqlite3.Connection, job_id: str) -> list[Record]:
    """Return the records with this id, of all movies, the one saved last first."""
    found = connection.execute(f"{_FIND} WHERE id = ? ORDER BY n DESC", (job_id,)).fetchall()
    return [_record(row) for row in found]


def find_by_movie(connection: sqlite3.Connection, movie_id: str) -> list[Record]:
    """Return the records of a movie, in the order of their last save."""
    found = connection.execute(f"{_FIND} WHERE movie_id = ? ORDER BY n", (movie_id,)).fetchall()
    return [_record(row) for row in found]


def find_all(connection: sqlite3.Connection) -> list[Record]:
    """Return all records, in the order of their last save."""
    return [_record(row) for row in connection.execute(f"{_FIND} ORDER BY n").fetchall()]


def update_status(
    connection: sqlite3.Connection, n: int, status: JobStatus, error: str | None, output_path: str | None
) -> None:
    """Set status, error and path of a record; it keeps its place in the order."""
    connection.execute(
        "UPDATE tracked_jobs SET status = ?, error = ?, output_path = ?, updated_at = ? WHERE n = ?",
        (status.value, error, output_path, local_now().isoformat(), n),
    )


def remove_jobs(connection: sqlite3.Connection, movie_id: str, ids: Iterable[str]) -> None:
    """Remove records."""
    sql = "DELETE FROM tracked_jobs WHERE movie_id = ? AND id = ?"
    connection.executemany(sql, ((movie_id, job_id) for job_id in ids))


def put_state(
    connection: sqlite3.Connection,
    movie_id: str,
    row: Sequence[Any],
    *,
    created_at: datetime | None = None,
    updated_at: datetime | None = None,
) -> None:
    """Save a state (``state_row``); one that is there already stays as old as it was. Default moments: now."""
    now = local_now()
    moments = [(moment or now).isoformat() for moment in (created_at, updated_at)]
    connection.execute(_PUT_STATE, (movie_id, *moments, *row))


def find_state(connection: sqlite3.Connection, movie_id: str) -> Sequence[Any] | None:
    """Return the row of a state (``STATE_COLUMNS``), or None."""
    return connection.execute(f"SELECT {_STATE} FROM tracked_states WHERE movie_id = ?", (movie_id,)).fetchone()


def find_statuses(connection: sqlite3.Connection, movie_id: str) -> dict[str, JobStatus]:
    """Return the status of each record of a movie, by its id."""
    sql = "SELECT id, status FROM tracked_jobs WHERE movie_id = ? ORDER BY n"
    return {job_id: JobStatus(status) for job_id, status in connection.execute(sql, (movie_id,)).fetchall()}


def note_submission(connection: sqlite3.Connection, movie_id: str) -> None:
    """Note that the store has jobs of a movie, which trackers without a processor show, too."""
    connection.execute("INSERT OR IGNORE INTO tracked_submissions(movie_id) VALUES (?)", (movie_id,))


def has_submissions(connection: sqlite3.Connection, movie_id: str | None = None) -> bool:
    """Return whether a tracker has submitted jobs of this movie, or of any."""
    which, given = ("", ()) if movie_id is None else (" WHERE movie_id = ?", (movie_id,))
    return connection.execute(f"SELECT 1 FROM tracked_submissions{which} LIMIT 1", given).fetchone() is not None
