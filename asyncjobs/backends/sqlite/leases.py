"""Write workers inside a transaction: one row for each registration, its lease on the host's monotonic clock.

The attempts of a worker depend on its row: a heartbeat renews one row, not one per attempt, and the jobs of a dead
worker are found through it. Numbers are never used again, so a worker of the same name hides nothing.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from asyncjobs.backends.base import WorkerLease

_FRESH = 16
"""A lease that was renewed within the last 1/16 of its length is not renewed again."""


def register(connection: sqlite3.Connection, row: tuple[Any, ...], lease: int, monotonic: int) -> int:
    """Insert a worker, and return its number."""
    number: int = connection.execute(
        "UPDATE marks SET value = value + 1 WHERE name = 'worker' RETURNING value"
    ).fetchone()[0]
    connection.execute(
        "INSERT INTO workers(n, name, slots, queues, host, boot, pid_namespace, pid, process_start, registered_at, "
        "lease, expires) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (number, *row, lease, monotonic + lease),
    )
    return number


def extend(connection: sqlite3.Connection, worker: int, monotonic: int) -> WorkerLease:
    """Renew the lease of a worker; one that was buried stays so."""
    row = connection.execute("SELECT gone, lease, expires FROM workers WHERE n = ?", (worker,)).fetchone()
    if row is None or row[0]:
        return WorkerLease(alive=False)
    lease, expires = row[1:]
    if not isinstance(lease, int):
        return WorkerLease(alive=False)  # it registers again, with one that can be read
    # Not if it was renewed just now: other processes notice each write and check for stop requests by a renewal of
    # their own, which all others would notice in turn, without end.
    if not isinstance(expires, int) or expires < monotonic + lease - lease // _FRESH:
        connection.execute("UPDATE workers SET expires = ? WHERE n = ?", (monotonic + lease, worker))
    held = connection.execute(
        "SELECT id, attempt, cancel_requested FROM jobs WHERE worker = ? AND status = 1", (worker,)
    ).fetchall()
    cancelled = tuple((job_id, attempt) for job_id, attempt, requested in held if requested)
    return WorkerLease(True, cancelled, tuple((job_id, attempt) for job_id, attempt, _ in held))


def bury(connection: sqlite3.Connection, worker: int, expires: object, *, certain: bool) -> None:
    """Mark a worker as gone, unless it has renewed its lease since it was read."""
    connection.execute(
        "UPDATE workers SET gone = 1 WHERE n = ? AND gone = 0 AND (? OR expires IS ?)", (worker, certain, expires)
    )


def left_behind(connection: sqlite3.Connection) -> tuple[list[int], list[int]]:
    """Return the jobs in progress whose worker is gone, and those that only a gone worker could run."""
    held = connection.execute(
        "SELECT j.n, j.local FROM jobs j LEFT JOIN workers w ON w.n = j.worker "
        "WHERE j.status = 1 AND w.gone IS NOT 0 ORDER BY j.n"
    ).fetchall()
    owned = connection.execute(
        "SELECT j.n FROM lanes l CROSS JOIN workers w ON w.n = CAST(substr(l.owner, 2) AS INTEGER) "
        "CROSS JOIN jobs j ON j.lane = l.n "
        "WHERE l.owner IS NOT NULL AND w.gone <> 0 AND j.local = 1 AND j.status = 0 ORDER BY j.n"
    ).fetchall()
    # A local job belongs to its owner alone: once interrupted, it is pending and no worker is left to run it.
    return [n for n, _ in held], [n for n, local in held if local] + [row[0] for row in owned]
