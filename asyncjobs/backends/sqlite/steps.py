"""Write and read the steps of jobs: what ``backends.step_store`` promises, on the tables ``steps`` and ``outdated``.

Keys are in the order of their bytes in UTF-8, which is that of their code points.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

import anyio

from asyncjobs.backends.bounds import PAGE_BYTES, SMALL_VALUE, check_changes, check_key, check_limit
from asyncjobs.backends.sqlite.bulk import LARGE, bulk, write_value
from asyncjobs.backends.sqlite.id_ranges import prefix_end
from asyncjobs.backends.sqlite.operations import WriteSteps
from asyncjobs.backends.sqlite.removal import delete_steps
from asyncjobs.backends.values import KeptStep, StepPage
from asyncjobs.core.plan import StepWrite
from asyncjobs.core.requests import Forget, Keep, StepChange
from asyncjobs.core.state import Stale

_PAUSE = 0.005
"""Seconds between two transactions that forget, so that other processes get the lock."""
_KEEP = "INSERT INTO steps(job, key, generation, value)"
_AGAIN = "ON CONFLICT(job, key) DO UPDATE SET generation = excluded.generation, value = excluded.value"
_ROW = "SELECT n FROM steps WHERE job = ? AND key = ?"
_FORGET = "SELECT n, length(value) FROM steps WHERE job = ? AND key >= ?"
_NOTE = "INSERT OR IGNORE INTO outdated(n) SELECT ? WHERE EXISTS (SELECT 1 FROM steps WHERE job = ?)"

# A key that is damaged to a BLOB matches the step of no program: its function runs again.
_COUNTING = """FROM jobs j CROSS JOIN steps s ON s.job = j.n
WHERE j.id = ? AND s.generation >= j.steps_from AND typeof(s.key) = 'text'"""
_LISTED = f"SELECT s.n, s.key, length(s.value) AS size {_COUNTING} AND s.key > ? ORDER BY s.key LIMIT ?"
_SIZES = f"SELECT l.key, l.size, NULL, 0 FROM ({_LISTED}) l"
# Sizes first, which are known without reading values, then the values of as many as a page takes.
_READ = f"CASE WHEN l.size <= {SMALL_VALUE} THEN l.size ELSE 0 END"
_PAGE = f"""
SELECT p.key, p.size,
  CASE WHEN p.size <= {SMALL_VALUE} AND p.total <= {PAGE_BYTES} THEN CAST(v.value AS BLOB) END, p.total
FROM (
  SELECT l.n, l.key, l.size, sum({_READ}) OVER (ORDER BY l.key ROWS UNBOUNDED PRECEDING) AS total FROM ({_LISTED}) l
) p CROSS JOIN steps v ON v.n = p.n ORDER BY p.key"""
_ONE = f"SELECT CAST(s.value AS BLOB) {_COUNTING} AND s.key = ?"
_COUNT = f"SELECT count(*) {_COUNTING}"


async def write_in_parts(
    run: Callable[[WriteSteps], Awaitable[tuple[list[Stale | None], bool]]], changes: Sequence[StepChange]
) -> list[Stale | None]:
    """Commit changes, in their order. What is forgotten may be large, so it is deleted in bounded transactions.

    :param run: commits an operation; returns its answers, and whether its last change is still to be finished.
    :raises ConfigurationError: a key cannot be one; nothing was changed.
    """
    check_changes(changes)
    answers: list[Stale | None] = []
    for part in _up_to_each_forget(changes):
        done, more = await run(WriteSteps(changes=part))
        while more and done[-1] is None:
            await anyio.sleep(_PAUSE)
            done[-1:], more = await run(WriteSteps(changes=part[-1:]))
        answers += done
    return answers


def _up_to_each_forget(changes: Sequence[StepChange]) -> Iterator[Sequence[StepChange]]:
    start = 0
    for i, change in enumerate(changes, start=1):
        if isinstance(change, Forget) or i == len(changes):
            yield changes[start:i]
            start = i


def write(connection: sqlite3.Connection, changes: Sequence[StepWrite]) -> list[Forget]:
    """Keep and forget, in this order; return the ``Forget`` changes that are not finished yet."""
    unfinished: list[Forget] = []
    kept: dict[tuple[int, str], tuple[int, bytes]] = {}
    for n, generation, change in changes:
        if isinstance(change, Keep):
            kept[n, change.key] = (generation, change.value)  # the last one wins
            continue
        _keep(connection, kept)
        kept = {}
        if _forget(connection, n, change.prefix):
            unfinished.append(change)
    _keep(connection, kept)
    return unfinished


def _keep(connection: sqlite3.Connection, kept: Mapping[tuple[int, str], tuple[int, bytes]]) -> None:
    rows = [(*of, generation, value if len(value) <= LARGE else b"") for of, (generation, value) in kept.items()]
    bulk(connection, _KEEP, _AGAIN, 4, rows)
    for of, (_, value) in kept.items():
        if len(value) > LARGE:
            n: int = connection.execute(_ROW, of).fetchone()[0]
            write_value(connection, "steps", "value", n, value)


def _forget(connection: sqlite3.Connection, n: int, prefix: str) -> bool:
    """Delete a bounded part of the steps whose keys begin with ``prefix``; return whether more may be left."""
    end = prefix_end(prefix)
    if end is None:
        return delete_steps(connection, _FORGET, (n, prefix))
    return delete_steps(connection, f"{_FORGET} AND key < ?", (n, prefix, end))


def note_outdated(connection: sqlite3.Connection, n: int) -> None:
    """Note a job that has steps, so that upkeep deletes those that no longer count."""
    connection.execute(_NOTE, (n, n))


class StepReads:
    """The reads of steps, by the pool of readers.

    :param fetch: reads rows.
    """

    def __init__(self, fetch: Callable[[str, Sequence[Any]], Awaitable[list[tuple[Any, ...]]]]) -> None:
        self._fetch = fetch

    async def page(self, job_id: str, after: str | None, limit: int, values: bool) -> StepPage:
        """Read a page by the index of keys, with one statement."""
        check_limit(limit)
        if after is not None:
            check_key("after", after)
        rows = await self._fetch(_PAGE if values else _SIZES, (job_id, after or "", limit + 1))
        page = tuple(KeptStep(key, size, value) for key, size, value, total in rows[:limit] if total <= PAGE_BYTES)
        return StepPage(page, page[-1].key if len(page) < len(rows) else None)

    async def one(self, job_id: str, key: str) -> bytes | None:
        """Read one value, whatever its size."""
        check_key("key", key)
        rows = await self._fetch(_ONE, (job_id, key))
        return rows[0][0] if rows else None

    async def count(self, job_id: str) -> int:
        """Count by the index of keys."""
        return (await self._fetch(_COUNT, (job_id,)))[0][0]
