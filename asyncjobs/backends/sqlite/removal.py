"""Remove finished jobs inside a transaction: what readers can find goes at once, the rest in bounded steps.

A job is found through its row in ``jobs``, and only there. So the rows of a component are deleted in one transaction,
and the component is gone for all readers; its numbers are noted in ``removed``. Their rows in other tables are then
deleted: one step by the same transaction, the rest by the next ones. A process that dies in between leaves rows that no
query reads, and ``removed``, from which another process continues. In the same way, ``outdated`` lists the jobs that
still have steps that no longer count.

The transaction of a large component takes about 10 µs a job, less than storing it as a batch took. Everything else is
bounded.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from msgspec import Struct, json

from asyncjobs.backends.sqlite.numbers import keep_mark

_STEP = 5000
"""Rows that one step deletes in a table."""
_JOBS = 500
"""Jobs that one step deletes completely, unless they have more rows than that …"""
_BYTES = 16 << 20
"""… or the calls and results of all but the first (or the steps) are larger: each page of a large value is touched."""

# CROSS JOIN: by the number, not by the index of finished jobs.
_MEMBERS = """
SELECT j.n, j.id, (SELECT e.position FROM events e WHERE e.job = j.n ORDER BY e.seq DESC LIMIT 1)
FROM json_each(?) k CROSS JOIN jobs j ON j.n = k.value WHERE j.finished_at < ? ORDER BY j.n"""
_NEW_LINKS = """
SELECT e.parent FROM edges e WHERE e.child > ?
UNION SELECT j.parent FROM jobs j WHERE j.n > ? AND j.parent IS NOT NULL"""
_LEFT = """
SELECT d.n, ifnull(length(c.call), 0) + ifnull(length(r.value), 0)
FROM removed d LEFT JOIN calls_apart c ON c.n = d.n LEFT JOIN results_apart r ON r.n = d.n ORDER BY d.n LIMIT ?"""
_STEPS = "SELECT s.n, length(s.value) FROM steps s WHERE s.job IN (SELECT k.value FROM json_each(?) k)"
_OUTDATED = """
SELECT s.n, length(s.value) FROM json_each(?) k CROSS JOIN jobs j ON j.n = k.value CROSS JOIN steps s ON s.job = j.n
WHERE s.generation < j.steps_from"""
_COUNT = """
INSERT INTO marks(name, value) VALUES ('removed', ?)
ON CONFLICT(name) DO UPDATE SET value = value + excluded.value"""
_SOME_OF = "(SELECT k.value FROM json_each(?) k)"


class Removed(Struct, frozen=True):
    """The jobs that are gone (number, id), and whether rows of removed jobs are still to be deleted."""

    jobs: Sequence[tuple[int, str]]
    more: bool


def remove(connection: sqlite3.Connection, components: Sequence[Sequence[int]], newest: int, before: int) -> Removed:
    """Remove those of these components that have not changed since they were found.

    They were found in what was committed, without a lock, when ``newest`` was the highest number of a job. Since then
    a job may have been retried (then it did not end ``before``), another process may have removed it, or it may have
    new neighbours, which have higher numbers.
    """
    numbers = _json([n for component in components for n in component])
    found: list[tuple[int, str, int | None]] = connection.execute(_MEMBERS, (numbers, before)).fetchall()
    linked = {parent for (parent,) in connection.execute(_NEW_LINKS, (newest, newest)).fetchall()}
    there = {n for n, _, _ in found} - linked
    gone = {n for component in components if there.issuperset(component) for n in component}
    if gone:
        last = max(position or 0 for n, _, position in found if n in gone)
        numbers = _json(sorted(gone))
        connection.execute("INSERT INTO removed(n) SELECT value FROM json_each(?)", (numbers,))
        keep_mark(connection, "job")
        connection.execute(f"DELETE FROM jobs WHERE n IN {_SOME_OF}", (numbers,))
        connection.execute("UPDATE marks SET value = max(value, ?) WHERE name = 'pruned'", (last,))
        connection.execute(_COUNT, (len(gone),))
    return Removed([(n, job_id) for n, job_id, _ in found if n in gone], clear(connection))


def clear(connection: sqlite3.Connection) -> bool:
    """Delete a bounded number of rows of removed jobs and steps that no longer count; return whether more are left."""
    found = connection.execute(_LEFT, (_JOBS,)).fetchall()
    if not found:
        return _clear_outdated(connection)
    some = _within(found)
    numbers = _json(some)
    if delete_steps(connection, _STEPS, (numbers,)):
        return True
    keep_mark(connection, "event")
    for sql in (
        f"DELETE FROM events WHERE position IN (SELECT e.position FROM events e WHERE e.job IN {_SOME_OF} LIMIT ?)",
        f"DELETE FROM edges WHERE (parent, child) IN "
        f"(SELECT e.parent, e.child FROM edges e WHERE e.parent IN {_SOME_OF} LIMIT ?)",
        f"DELETE FROM attempts WHERE rowid IN (SELECT a.rowid FROM attempts a WHERE a.job IN {_SOME_OF} LIMIT ?)",
    ):
        if connection.execute(sql, (numbers, _STEP)).rowcount == _STEP:
            return True
    for table in ("calls_apart", "results_apart", "gates", "removed"):
        connection.execute(f"DELETE FROM {table} WHERE n IN {_SOME_OF}", (numbers,))
    return len(some) < len(found) or len(found) == _JOBS or _clear_outdated(connection)


def _clear_outdated(connection: sqlite3.Connection) -> bool:
    jobs = [n for (n,) in connection.execute("SELECT n FROM outdated LIMIT ?", (_JOBS,)).fetchall()]
    if not jobs:
        return False
    numbers = _json(jobs)
    if delete_steps(connection, _OUTDATED, (numbers,)):
        return True
    connection.execute(f"DELETE FROM outdated WHERE n IN {_SOME_OF}", (numbers,))
    return len(jobs) == _JOBS


def delete_steps(connection: sqlite3.Connection, find: str, parameters: Sequence[Any]) -> bool:
    """Delete steps that a query finds (number, bytes), up to a number and a size; return whether more may be left."""
    found = connection.execute(f"{find} LIMIT {_STEP}", tuple(parameters)).fetchall()
    some = _within(found)
    if some:
        connection.execute(f"DELETE FROM steps WHERE n IN {_SOME_OF}", (_json(some),))
    return len(some) < len(found) or len(found) == _STEP


def _within(found: Sequence[tuple[int, int]]) -> list[int]:
    """Return the first of these rows (number, bytes) that are small enough together, at least one."""
    sizes = accumulate(size for _, size in found)
    return [n for i, ((n, _), size) in enumerate(zip(found, sizes, strict=True)) if i == 0 or size <= _BYTES]


def _json(numbers: Sequence[int]) -> str:
    return json.encode(numbers).decode()
