"""The write-ahead log stays bounded, whoever reads meanwhile."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from asyncjobs import JobProcessor, JobRequest, SQLiteBackend, SQLiteConfig
from asyncjobs.requests import JobQuery
from tests.faults import bodies
from tests.faults.children import Child

pytestmark = pytest.mark.anyio
SIZE = 262_144
LARGEST = 32 << 20
"""Far above what is usual (1 MiB): a slow disk may hold a checkpoint up for a moment."""


def size_of(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


async def load(jp: JobProcessor, wal: Path, enough: Callable[[int], bool], prefix: str) -> int:
    """Submit and run jobs until ``enough(batches)``; returns the largest size that the -wal had."""
    largest = batches = 0
    with anyio.fail_after(25):
        while not enough(batches):
            requests = [
                JobRequest(func=bodies.nothing_async, job_id=f"{prefix}-{batches}-{j}", metadata={"padding": "x" * 200})
                for j in range(40)
            ]
            await jp.submit_jobs(requests)
            await jp.drain()
            largest = max(largest, size_of(wal))
            batches += 1
    return largest


def written_back(backend: SQLiteBackend, times: int) -> Callable[[int], bool]:
    """Once the log was written back so many times from now on. One that grows without bound is so no more."""
    checkpointer = backend._checkpointer
    wanted = checkpointer.statistics.runs + times
    return lambda batches: checkpointer.statistics.runs >= wanted


@pytest.mark.slow
async def test_the_log_stays_bounded_under_load_with_readers(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    backend = SQLiteBackend(SQLiteConfig(db_path=path, checkpoint_size=SIZE))
    async with JobProcessor(backend) as jp:
        async with anyio.create_task_group() as tasks:

            async def read() -> None:
                while True:
                    await jp.find_jobs(JobQuery(limit=200))
                    await backend.read_events(limit=200)

            for _ in range(3):
                tasks.start_soon(read)
            largest = await load(jp, tmp_path / "jobs.db-wal", written_back(backend, 10), "a")
            tasks.cancel_scope.cancel()
        statistics = backend._checkpointer.statistics
    print(f"largest -wal {largest / 1024:.0f} KiB, file {size_of(path) / 1024:.0f} KiB, {statistics}")
    assert largest < LARGEST
    assert size_of(tmp_path / "jobs.db-wal") == 0


@pytest.mark.slow
async def test_a_reader_in_another_process_does_not_make_it_grow(tmp_path: Path) -> None:
    """Every read of ours is a page, fetched whole: between two, the log can be written back."""
    path = tmp_path / "jobs.db"
    backend = SQLiteBackend(SQLiteConfig(db_path=path, checkpoint_size=SIZE))
    async with JobProcessor(backend) as jp:
        await load(jp, tmp_path / "jobs.db-wal", lambda n: n >= 5, "before")
        with Child("tests.faults.scenarios", "read_pages", path, ledger=tmp_path / "ledger") as reader:
            await asyncio.to_thread(reader.until, "reading")
            largest = await load(jp, tmp_path / "jobs.db-wal", written_back(backend, 10), "a")
            reader.say("enough")
            (pages,) = await asyncio.to_thread(reader.until, "pages")
            assert reader.end() == 0, reader.errors()
        statistics = backend._checkpointer.statistics
    print(f"largest -wal {largest / 1024:.0f} KiB while {pages} pages were read; {statistics}")
    assert int(pages) > 20
    assert largest < LARGEST


@pytest.mark.slow
async def test_it_shrinks_again_after_a_reader_that_held_it(tmp_path: Path) -> None:
    """Somebody else's open transaction pins the log, and nothing can be done; afterwards it is cut."""
    path, wal = tmp_path / "jobs.db", tmp_path / "jobs.db-wal"
    backend = SQLiteBackend(SQLiteConfig(db_path=path, checkpoint_size=SIZE))
    async with JobProcessor(backend) as jp:
        await load(jp, wal, lambda n: n >= 2, "before")
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN")
            other.execute("SELECT count(*) FROM jobs").fetchone()
            pinned = await load(jp, wal, lambda n: n >= 20, "pinned")
            assert pinned > 4 * SIZE
            other.execute("COMMIT")
        with anyio.fail_after(20):
            while size_of(wal) > 2 * SIZE:
                checkpointer = backend._checkpointer
                await asyncio.to_thread(checkpointer.wait_looked, 1, 5)
        print(f"pinned at {pinned / 1024:.0f} KiB, then {size_of(wal) / 1024:.0f} KiB")
