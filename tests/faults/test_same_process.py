"""The file is opened and closed by other code of the same process: nothing is lost, and no lock either.

POSIX drops every lock that a process has on a file as soon as it closes any descriptor of it. SQLite guards against
that for its own connections; nothing of ours may get around it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import anyio
import pytest

from asyncjobs import DaemonConfig, JobProcessor, SQLiteBackend, SQLiteConfig
from asyncjobs.models import JobStatus
from asyncjobs.requests import JobQuery
from tests.faults.checker import check_log, check_order, read_store
from tests.faults.children import Child

pytestmark = [pytest.mark.anyio, pytest.mark.untraced]
JOBS = 300


def echo(n: int) -> int:
    return n


def connect_and_close(path: Path, folder: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("SELECT count(*) FROM jobs").fetchone()


def write_and_close(path: Path, folder: Path) -> None:
    """A doctor that writes: it takes the lock, and gives it back."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE marks SET value = value WHERE name = 'job'")
        connection.execute("COMMIT")


def checkpoint_and_close(path: Path, folder: Path) -> None:
    with closing(sqlite3.connect(path, timeout=1)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


def back_up(path: Path, folder: Path) -> None:
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(folder / "backup.db")) as target:
        source.backup(target)


@asynccontextmanager
async def repeated(function: Callable[[Path, Path], None], path: Path, folder: Path) -> AsyncIterator[list[int]]:
    """Call it over and over in a thread, meanwhile; the list has how often."""
    times: list[int] = []
    stop = False

    async def repeat() -> None:
        while not stop:
            await asyncio.to_thread(function, path, folder)
            times.append(1)

    task = asyncio.create_task(repeat())
    try:
        yield times
    finally:
        stop = True
        await task


async def load(jp: JobProcessor, prefix: str) -> None:
    async def submit(i: int) -> None:
        handle = await jp.submit_job(echo, i, job_id=f"{prefix}-{i}")
        await jp.submit_job(echo, handle, job_id=f"{prefix}-{i}b")

    for start in range(0, JOBS, 30):
        async with anyio.create_task_group() as tasks:
            for i in range(start, start + 30):
                tasks.start_soon(submit, i)
    await jp.drain(timeout=30)


async def all_there(jp: JobProcessor, prefixes: str) -> None:
    ids = [f"{prefix}-{i}{b}" for prefix in prefixes for i in range(JOBS) for b in ("", "b")]
    for start in range(0, len(ids), 500):
        page = await jp.find_jobs(JobQuery(ids=ids[start : start + 500], limit=1000))
        assert len(page) == len(ids[start : start + 500])
        assert {(job.status, job.attempt) for job in page} == {(JobStatus.COMPLETED, 1)}


def lock_works(path: Path, folder: Path) -> None:
    """Another process finds the file locked while this one is inside a transaction, and only then."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        with Child("tests.faults.try_lock", path, ledger=folder / "ledger") as child:
            assert child.until("lock") == ["busy"]
            connection.execute("ROLLBACK")
            for _ in range(100):  # a heartbeat or a checkpoint of this process may have it for a moment
                child.say("again")
                if child.until("lock") == ["free"]:
                    return
            raise AssertionError("the lock was not free once")


@pytest.mark.slow
@pytest.mark.parametrize("function", [connect_and_close, write_and_close, checkpoint_and_close, back_up])
async def test_other_code_opens_and_closes_the_file(tmp_path: Path, function: Callable[[Path, Path], None]) -> None:
    path = tmp_path / "jobs.db"
    async with JobProcessor(SQLiteConfig(db_path=path, checkpoint_size=65_536)) as jp:
        async with repeated(function, path, tmp_path) as times:
            await load(jp, "a")
        assert len(times) > 3
        await all_there(jp, "a")
        lock_works(path, tmp_path)
        await load(jp, "c")
    async with JobProcessor(SQLiteConfig(db_path=path)) as jp:
        await all_there(jp, "ac")
    stored = read_store(path)
    assert check_log(stored) == []
    assert check_order(stored) == []


async def test_our_write_lock_holds_while_others_come_and_go(tmp_path: Path) -> None:
    """Inside of our transaction other code of the process opens and closes; another process still finds the lock."""
    path = tmp_path / "jobs.db"
    seen: list[list[str]] = []

    def hook(point: str) -> None:
        if point != "before-commit" or not armed:
            return
        armed.clear()
        connect_and_close(path, tmp_path)
        back_up(path, tmp_path)
        with Child("tests.faults.try_lock", path, ledger=tmp_path / "ledger") as child:
            seen.append(child.until("lock"))

    armed: list[int] = []
    async with JobProcessor(SQLiteBackend(SQLiteConfig(db_path=path), hook=hook), enable_daemon=False) as jp:
        async with JobProcessor(SQLiteConfig(db_path=path), enable_daemon=False):
            pass
        armed.append(1)
        await jp.submit_job(echo, 1, job_id="a")
        assert seen == [["busy"]]
        jp._submitted = 0
    assert set(read_store(path).by_id) == {"a"}


@pytest.mark.slow
async def test_a_second_processor_comes_and_goes_under_load(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    async with JobProcessor(SQLiteConfig(db_path=path), daemon=DaemonConfig(num_workers=8)) as jp:
        rounds = 0
        loading = asyncio.create_task(load(jp, "a"))
        while not loading.done() or rounds < 5:
            async with JobProcessor(SQLiteConfig(db_path=path), daemon=DaemonConfig(num_workers=4)) as other:
                await other.submit_job(echo, rounds, job_id=f"b-{rounds}")
                assert await other.handle(f"b-{rounds}").result(timeout=10) == rounds
            rounds += 1
        await loading
        await jp.drain(timeout=10)
        jobs = await jp.find_jobs(JobQuery(limit=1000))
        assert len(jobs) == 2 * JOBS + rounds
        assert {job.status for job in jobs} == {JobStatus.COMPLETED}
        # What the other one had when it left was given back, uncounted, and run again at most.
        assert {(job.failures, job.interruptions) for job in jobs} == {(0, 0)}
        lock_works(path, tmp_path)
        print(f"{rounds} times")
    stored = read_store(path)
    assert check_log(stored) == []
    assert check_order(stored) == []
