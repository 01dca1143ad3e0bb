"""Write the decisions of a ``core.plan.Plan`` inside an open transaction: of changed rows, what changes."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from asyncjobs.backends.sqlite.bulk import bulk
from asyncjobs.backends.sqlite.job_inserts import LaneNumbers, insert_jobs
from asyncjobs.backends.sqlite.job_updates import update_jobs
from asyncjobs.backends.sqlite.moments import Clocks
from asyncjobs.core.plan import Writes
from asyncjobs.core.state import EdgeRow, EndedAttempt, JobState


def write(
    connection: sqlite3.Connection,
    writes: Writes,
    lanes: LaneNumbers,
    clocks: Clocks,
    stored: dict[int, JobState],
) -> None:
    """Write the decisions of a plan.

    :param lanes: the number of each (queue, function, owner).
    :param stored: rows as they are stored, by number; the changed ones are entered.
    """
    if writes.inserted:
        insert_jobs(connection, writes.inserted, lanes, clocks)
    if writes.new_edges:
        rows = [(e.parent, e.child, e.optional, int(e.state)) for e in writes.new_edges]
        bulk(connection, "INSERT INTO edges(parent, child, optional, state)", "", 4, rows)
    if writes.changed or writes.values:
        update_jobs(connection, writes.changed, writes.values, clocks, stored)
        stored.update((job.n, job) for job in writes.changed)
    if writes.changed_edges:
        update_edges(connection, writes.changed_edges)
    if writes.attempts:
        bulk(
            connection,
            "INSERT OR REPLACE INTO attempts"
            "(job, attempt, worker, started_at, finished_at, kind, error_type, message, traceback)",
            "",
            9,
            [_attempt_row(n, attempt) for n, attempt in writes.attempts],
        )
    if writes.capacities or writes.in_progress:
        _write_limits(connection, writes)


def update_edges(connection: sqlite3.Connection, edges: Sequence[EdgeRow]) -> None:
    """Write the states of these edges."""
    bulk(
        connection,
        "UPDATE edges SET state = v.column3 FROM (",
        ") v WHERE edges.parent = v.column1 AND edges.child = v.column2",
        3,
        [(edge.parent, edge.child, int(edge.state)) for edge in edges],
    )


def _write_limits(connection: sqlite3.Connection, writes: Writes) -> None:
    for key in dict.fromkeys((*writes.capacities, *writes.in_progress)):
        connection.execute(
            "INSERT INTO limits(key, capacity, in_progress) VALUES (?, ifnull(?, 1), ?) ON CONFLICT(key) "
            "DO UPDATE SET capacity = ifnull(?, capacity), in_progress = in_progress + excluded.in_progress",
            (key, capacity := writes.capacities.get(key), writes.in_progress.get(key, 0), capacity),
        )


def _attempt_row(n: int, ended: EndedAttempt) -> tuple[Any, ...]:
    error = ended.error
    return (
        n,
        ended.attempt,
        ended.worker,
        ended.started_at,
        ended.finished_at,
        ended.kind.value,
        error.error_type if error else None,
        error.message if error else None,
        error.traceback_text if error else None,
    )
