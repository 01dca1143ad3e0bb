"""Numbers of jobs and positions of events follow the highest one that there is or ever was, and nothing counts them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from asyncjobs import SQLiteBackend, SQLiteConfig
from asyncjobs.backends.base import JobBackend
from asyncjobs.backends.sqlite import numbers, removal
from asyncjobs.backends.sqlite.connection_cache import ConnectionCache
from asyncjobs.requests import JobQuery
from tests.faults.stores import new_job

pytestmark = pytest.mark.anyio


def stored(path: Path) -> tuple[list[int], list[int]]:
    """The numbers of jobs, and the positions of events."""
    with closing(sqlite3.connect(path)) as connection:
        return (
            [n for (n,) in connection.execute("SELECT n FROM jobs ORDER BY n")],
            [position for (position,) in connection.execute("SELECT position FROM events ORDER BY position")],
        )


async def ended(backend: JobBackend, *ids: str) -> None:
    """Submit jobs and cancel them: two events for each."""
    await backend.enqueue_jobs([new_job(job_id) for job_id in ids])
    await backend.cancel_jobs(ids)


async def all_removed(backend: JobBackend) -> None:
    await backend.remove_jobs([job.id for job in await backend.find_jobs(JobQuery())])


async def test_none_is_used_twice_after_the_newest_were_removed(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    async with SQLiteBackend(SQLiteConfig(db_path=path)) as backend:
        await ended(backend, "a", "b", "c")
        await all_removed(backend)
        assert stored(path) == ([], [])
        assert await backend.last_cursor() == "6", "where a reader goes on"
        await ended(backend, "d")
        assert stored(path) == ([4], [7, 8])


async def test_nor_by_the_next_process(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    config = SQLiteConfig(db_path=path)
    async with SQLiteBackend(config) as backend:
        await ended(backend, "a", "b", "c")
        await all_removed(backend)
    async with SQLiteBackend(config) as backend:
        await ended(backend, "d")
    assert stored(path) == ([4], [7, 8])


async def test_nor_after_a_part_of_what_was_removed_is_still_to_be_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a process leaves it that dies between two steps of a removal."""
    path = tmp_path / "jobs.db"
    monkeypatch.setattr(removal, "_STEP", 2)
    async with SQLiteBackend(SQLiteConfig(db_path=path)) as backend:
        await ended(backend, "a", "b", "c")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        assert removal.remove(connection, [[1], [2], [3]], 3, 2**62).more
        connection.execute("COMMIT")
    async with SQLiteBackend(SQLiteConfig(db_path=path)) as backend:
        await ended(backend, "d")
        await ended(backend, "e")
    jobs, positions = stored(path)
    assert jobs == [4, 5]
    assert positions[-4:] == [7, 8, 9, 10]


async def test_two_processes_take_turns_without_a_gap(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    async with (
        SQLiteBackend(SQLiteConfig(db_path=path)) as one,
        SQLiteBackend(SQLiteConfig(db_path=path)) as two,
    ):
        for i in range(4):
            await ended(one, f"one{i}")
            await ended(two, f"two{i}")
    assert stored(path) == (list(range(1, 9)), list(range(1, 17)))


async def test_a_mark_that_cannot_be_read_counts_as_none(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    config = SQLiteConfig(db_path=path)
    async with SQLiteBackend(config) as backend:
        await ended(backend, "a")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE marks SET value = 'many' WHERE name = 'event'")
        connection.execute("DELETE FROM marks WHERE name = 'job'")
        connection.commit()
    async with SQLiteBackend(config) as backend:
        await ended(backend, "b")
        await all_removed(backend)
        await ended(backend, "c")
    assert stored(path) == ([3], [5, 6])


def test_what_a_connection_has_taken_is_read_once() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE marks(name TEXT PRIMARY KEY, value INTEGER)")
        connection.execute("CREATE TABLE jobs(n INTEGER PRIMARY KEY)")
        connection.execute("INSERT INTO jobs VALUES (5)")
        connection.execute("INSERT INTO marks VALUES ('job', 7)")
        statements: list[str] = []
        connection.set_trace_callback(statements.append)
        cache = ConnectionCache()
        assert [numbers.reserve(connection, cache, "job", count) for count in (2, 1, 1)] == [7, 9, 10]
        assert len(statements) == 1
        cache.forget()
        assert numbers.reserve(connection, cache, "job", 1) == 7, "of a transaction that failed nothing is taken"
