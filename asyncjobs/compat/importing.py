"""Bring the rows of an old file into the tracker's tables: in one transaction, as often as one likes."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct

from asyncjobs.compat import records
from asyncjobs.compat.file import RecordFile
from asyncjobs.compat.old_file import Kind, Mark, OldTables, look, read_old
from asyncjobs.compat.old_rows import OldJob, OldState, Unusable, convert_job, convert_state
from asyncjobs.compat.tables import read_version

T = TypeVar("T")
_NOTE = """
INSERT OR REPLACE INTO tracked_imports(source, size, changed_at, imported_at) VALUES (?, ?, ?, ?)"""


class OldMovie(Struct, frozen=True):
    """What an old file has of a movie: how many jobs with which status, and whether it has a state."""

    movie_id: str
    statuses: Mapping[str, int]
    state: bool


class ImportReport(Struct, frozen=True):
    """What an import has done, or would do.

    ``jobs`` and ``states`` count what came over, ``movies`` the movies that these are of, ``unchanged`` the jobs and
    states that are there already, as new or newer. ``unusable`` names each row that cannot be taken over. ``of_movies``
    is what the old file has, by name, whatever of it is there already.
    """

    source: str
    target: str
    jobs: int
    movies: int
    states: int
    unchanged: int
    unusable: list[Unusable]
    of_movies: list[OldMovie]


class _Rows(Struct, frozen=True):
    jobs: list[OldJob]
    states: list[OldState]
    unusable: list[Unusable]


def import_tables(old: OldTables, source: Path, file: RecordFile, *, only_first: bool = False) -> ImportReport | None:
    """Bring over what was read of an old file: rows that are there and as new, or newer, stay.

    :param only_first: do nothing, and return None, if another process has imported from this file meanwhile.
    """
    rows = _convert(old)
    with file.writing() as connection:
        if only_first and find_import(connection, source) is not None:
            return None
        jobs, states = _newer(connection, rows)
        _put(connection, jobs, states)
        note = (str(source), old.mark.size, old.mark.changed_at, time.time_ns() // 1000)
        connection.execute(_NOTE, note)
    return _report(source, file.path, rows, jobs, states)


def preview(source: Path, file: RecordFile) -> ImportReport:
    """Return what an import would do; write nothing, and make no file."""
    rows = _convert(read_old(source))
    jobs, states = rows.jobs, rows.states
    if look(file.path) is Kind.OURS:
        with file.reading() as connection:
            if read_version(connection, str(file.path)):
                jobs, states = _newer(connection, rows)
    return _report(source, file.path, rows, jobs, states)


def find_unusable(source: Path) -> list[Unusable]:
    """Return the rows of an old file that an import leaves out."""
    return _convert(read_old(source)).unusable


def find_sources(connection: sqlite3.Connection) -> list[str]:
    """Return the paths of the old files that were imported."""
    return [source for (source,) in connection.execute("SELECT source FROM tracked_imports ORDER BY imported_at")]


def find_import(connection: sqlite3.Connection, source: Path) -> Mark | None:
    """Return how an old file looked when it was imported last, or None if it never was."""
    sql = "SELECT size, changed_at FROM tracked_imports WHERE source = ?"
    found = connection.execute(sql, (str(source),)).fetchone()
    return None if found is None else Mark(*found)


def _convert(old: OldTables) -> _Rows:
    jobs = [convert_job(row) for row in old.jobs]
    states = [convert_state(row) for row in old.states]
    return _Rows(
        [job for job in jobs if isinstance(job, OldJob)],
        [state for state in states if isinstance(state, OldState)],
        [row for row in (*jobs, *states) if isinstance(row, Unusable)],
    )


def _newer(connection: sqlite3.Connection, rows: _Rows) -> tuple[list[OldJob], list[OldState]]:
    """Return the rows that are not there yet, or older there."""
    kept = {(movie, job_id): at for movie, job_id, at in connection.execute(_ALL_JOBS).fetchall()}
    states = dict(connection.execute("SELECT movie_id, updated_at FROM tracked_states").fetchall())
    return (
        _later(rows.jobs, kept, lambda job: (job.movie_id, job.id)),
        _later(rows.states, states, lambda state: state.movie_id),
    )


_ALL_JOBS = "SELECT movie_id, id, updated_at FROM tracked_jobs"


def _later(rows: Sequence[T], kept: Mapping[Any, str], key: Callable[[T], Any]) -> list[T]:
    found: list[T] = []
    for row in rows:
        here = kept.get(key(row))
        there: str = getattr(row, "updated_at")  # noqa: B009 - jobs and states both have it
        if here is None or (there != here and _moment(there) > _moment(here)):
            found.append(row)
    return found


def _moment(text: str) -> float:
    """Return a moment as seconds; one without a zone is local time."""
    moment = datetime.fromisoformat(text)
    try:
        return moment.timestamp()
    except (OverflowError, ValueError, OSError):  # at the ends of the calendar
        return (moment.replace(tzinfo=None) - datetime(1970, 1, 1)).total_seconds()  # noqa: DTZ001 - of a naive one


def _put(connection: sqlite3.Connection, jobs: Sequence[OldJob], states: Sequence[OldState]) -> None:
    by_movie: dict[str, list[tuple[Any, ...]]] = {}
    for job in jobs:
        by_movie.setdefault(job.movie_id, []).append(job.row)
    for movie_id, rows in by_movie.items():
        records.put_jobs(connection, movie_id, rows)
    for state in states:
        moments = {name: datetime.fromisoformat(getattr(state, name)) for name in ("created_at", "updated_at")}
        records.put_state(connection, state.movie_id, state.row, **moments)


def _report(
    source: Path, target: Path, rows: _Rows, jobs: Sequence[OldJob], states: Sequence[OldState]
) -> ImportReport:
    movies = {row.movie_id for row in (*jobs, *states)}
    unchanged = len(rows.jobs) + len(rows.states) - len(jobs) - len(states)
    return ImportReport(
        str(source), str(target), len(jobs), len(movies), len(states), unchanged, rows.unusable, _of_movies(rows)
    )


def _of_movies(rows: _Rows) -> list[OldMovie]:
    counts: dict[str, Counter[str]] = {}
    for job in rows.jobs:
        counts.setdefault(job.movie_id, Counter())[job.status] += 1
    states = {state.movie_id for state in rows.states}
    names = sorted(counts.keys() | states)
    return [OldMovie(name, dict(counts.get(name, Counter())), name in states) for name in names]
