"""Files with many jobs in them, made fast: the backend stores one of each kind, SQL multiplies the rows.

Every column that is not a key is copied as the backend wrote it, so the file is what the backend would have made, and
follows the schema as it changes. ``check`` compares the last copy with the next job that the backend itself stores.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Literal

from msgspec.structs import replace

from asyncjobs import SQLiteBackend
from asyncjobs.backends.base import AttemptEnd, ClaimRequest, NewJob, NewWorker
from asyncjobs.config import SQLiteConfig
from asyncjobs.core.codec import describe_callable, encode_call, encode_value
from asyncjobs.core.retry import DEFAULT_RETRY
from asyncjobs.core.state import SECOND
from asyncjobs.models import Dependency, Outcome, OutcomeKind
from benchmarks.jobs import noop

Kind = Literal["waiting", "delayed", "ready", "ended"]
FAR = 10 * 365 * 86_400 * SECOND
"""µs until jobs that are never due here come due."""
_PARENT = "parent"
_SEEDS = 3
_OWNERS = {
    "jobs": "n",
    "calls": "n",
    "calls_apart": "n",
    "edges": "child",
    "events": "job",
    "results": "n",
    "results_apart": "n",
}
"""Tables that may have rows of a job, in this schema version or earlier ones, and the column that says of which."""
GROUPS = 1_000
"""Groups of the jobs that have ended. The others have none."""
_DIFFERENT = {"id", "position", "run_at", "due", "created_at", "at", "grp", "worker", "started_at", "finished_at"}
"""Columns in which two jobs differ, besides the number of the job."""


def new_job(job_id: str, *, priority: int = 0, delay: int | None = None, parents: tuple[str, ...] = ()) -> NewJob:
    """A no-op as the runtime would hand it over."""
    return NewJob(
        id=job_id,
        function=describe_callable(noop).name,
        call=encode_call((1,), {}, str).data,
        queue="default",
        priority=priority,
        delay=delay,
        retry=DEFAULT_RETRY,
        dependencies=tuple(Dependency(parent, False) for parent in parents),
    )


async def make(path: Path, kind: Kind, jobs: int) -> None:
    """A file with so many jobs that are waiting, delayed, ready or ended, of three priorities, and checked."""
    async with SQLiteBackend(SQLiteConfig(db_path=path)) as backend:
        seeds = [_seed(kind, f"seed{i}", priority=(0, 0, 5)[i]) for i in range(_SEEDS)]
        await backend.enqueue_jobs([new_job(_PARENT, delay=FAR), *seeds])
        if kind == "ended":
            await _finish(backend, len(seeds))
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        # The default cache holds 2 MB: with it, the indexes of a million rows are read again and again.
        connection.execute("PRAGMA cache_size = -262144")
        connection.execute("PRAGMA synchronous = OFF")
        _multiply(connection, jobs)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()
    await _check(path, kind)


def find_owners(connection: sqlite3.Connection) -> dict[str, str]:
    """Return the tables of this file that may have rows of a job, each with the column that says of which."""
    names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    return {table: owner for table, owner in _OWNERS.items() if table in names}


def _seed(kind: Kind, job_id: str, priority: int) -> NewJob:
    if kind == "waiting":
        return new_job(job_id, priority=priority, parents=(_PARENT,))
    if kind == "ended":
        return replace(new_job(job_id, priority=priority), group="g0")
    return new_job(job_id, priority=priority, delay=FAR if kind == "delayed" else None)


async def _finish(backend: SQLiteBackend, jobs: int) -> None:
    """Run these, which are the only ones that are ready."""
    worker = await backend.register_worker(NewWorker(name="benchmark", slots=jobs))
    functions = frozenset({describe_callable(noop).name})
    claimed = await backend.dequeue_jobs(ClaimRequest(worker=worker, limit=jobs, functions=functions))
    outcome = Outcome(OutcomeKind.SUCCEEDED, encode_value(1, "$"))
    await backend.update_job_status([AttemptEnd(job.attempt, outcome) for job in claimed.jobs])
    await backend.deregister_worker(worker)


def _multiply(connection: sqlite3.Connection, jobs: int) -> None:
    """Copies of the seeds: copy number c has the number of its seed plus 3 c, and a position for each of its events."""
    copies = max(0, -(-jobs // _SEEDS) - 1)
    first = connection.execute("SELECT min(n) FROM jobs WHERE id LIKE 'seed%'").fetchone()[0]
    connection.execute("BEGIN IMMEDIATE")
    events = connection.execute("SELECT count(*) FROM events WHERE job >= ?", (first,)).fetchone()[0]
    for table, owner in find_owners(connection).items():
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        values = ", ".join(_copied(table, owner, column, events) for column in columns)
        connection.execute(
            f"WITH RECURSIVE c(c) AS (SELECT 1 UNION ALL SELECT c + 1 FROM c WHERE c < :copies) "
            f"INSERT INTO {table}({', '.join(columns)}) SELECT {values} FROM c CROSS JOIN "
            f"(SELECT * FROM {table} WHERE {owner} BETWEEN :first AND :first + {_SEEDS - 1}) s "
            f"WHERE :copies > 0 ORDER BY c, s.{owner}",
            {"copies": copies, "first": first},
        )
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'counters'").fetchone():
        _count(connection)
    connection.execute("COMMIT")


def _count(connection: sqlite3.Connection) -> None:
    """Files below schema version 5, which other checkouts make (``--before``), count jobs and events in rows."""
    for counter, source in (("job", "SELECT max(n) FROM jobs"), ("event", "SELECT max(position) FROM events")):
        connection.execute(f"UPDATE counters SET value = ({source}) WHERE name = ?", (counter,))


def _copied(table: str, owner: str, column: str, events: int) -> str:
    if column == owner:
        return f"s.{column} + {_SEEDS} * c"
    if table == "jobs" and column == "id":
        return "s.id || '-' || c"
    if table == "jobs" and column in ("run_at", "due"):
        return f"s.{column} + 1000 * c"  # NULL stays NULL
    if table == "events" and column == "position":
        return f"s.position + {events} * c"
    if column == "grp":
        return f"CASE WHEN s.grp IS NULL THEN NULL ELSE 'g' || (c % {GROUPS}) END"
    if table == "jobs" and column in ("started_at", "finished_at"):
        return f"s.{column} + c"
    return f"s.{column}"


async def _check(path: Path, kind: Kind) -> None:
    """The newest copy, and what the backend writes itself, differ in keys and times only."""
    async with SQLiteBackend(SQLiteConfig(db_path=path)) as backend:
        await backend.enqueue_jobs([_seed(kind, "check", priority=5)])
        if kind == "ended":
            await _finish(backend, 1)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.row_factory = sqlite3.Row
    try:
        numbers = connection.execute("SELECT n FROM jobs WHERE priority = 5 ORDER BY n DESC LIMIT 2").fetchall()
        for table, owner in find_owners(connection).items():
            own, copy = (
                [dict(row) for row in connection.execute(f"SELECT * FROM {table} WHERE {owner} = ?", number)]
                for number in numbers
            )
            keys = {owner, *_DIFFERENT}
            bare = [[{k: v for k, v in row.items() if k not in keys} for row in rows] for rows in (own, copy)]
            if bare[0] != bare[1]:
                raise AssertionError(f"copied rows of {table} are not what the backend writes: {own} {copy}")
        if connection.execute("PRAGMA integrity_check").fetchone()[0] != "ok":
            raise AssertionError("the copied file is not sound")
    finally:
        connection.close()


def fresh_ids(like: NewJob, count: int, prefix: str) -> list[NewJob]:
    """So many jobs like this one."""
    return [replace(like, id=f"{prefix}{i}") for i in range(count)]
