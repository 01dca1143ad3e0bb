"""What is kept is kept, and what is not is not, whenever the process dies or the disk fails."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from asyncjobs import SQLiteBackend, SQLiteConfig
from asyncjobs.backends.base import AttemptRef, ClaimRequest, NewWorker
from asyncjobs.core.requests import Forget, Keep
from asyncjobs.core.state import Stale
from asyncjobs.exceptions import BackendConnectionError, BackendError
from tests.faults.children import Child
from tests.faults.keeper import KEPT
from tests.faults.stores import POINTS, Failpoint, full, io_error, new_job, opened

pytestmark = pytest.mark.anyio


async def kept(backend: SQLiteBackend, job_id: str = "a") -> dict[str, int]:
    """The sizes of what a job keeps."""
    return {step.key: step.size for step in (await backend.read_steps(job_id)).steps}


async def claimed(backend: SQLiteBackend, job_id: str = "a") -> AttemptRef:
    await backend.enqueue_jobs([new_job(job_id)])
    worker = await backend.register_worker(NewWorker(name="w", slots=1))
    claim = ClaimRequest(worker=worker, limit=1, functions=frozenset({"tests:work"}))
    (job,) = (await backend.dequeue_jobs(claim)).jobs
    return job.attempt


@pytest.mark.untraced
@pytest.mark.parametrize("point", POINTS)
async def test_killed_at_each_point_of_the_commit(tmp_path: Path, point: str) -> None:
    path = tmp_path / "jobs.db"
    with Child("tests.faults.keeper", path, point, ledger=tmp_path / "ledger") as child:
        child.until("point", point)
        child.kill()
    async with SQLiteBackend(SQLiteConfig(db_path=path)) as backend:
        first = {"first": 1, "old": 1}
        after = {"first": 1, "second": len(KEPT)}
        assert await kept(backend) == (after if point == "after-commit" else first), "all of the batch, or nothing"
        assert await backend.reap() == ["a"]
        worker = await backend.register_worker(NewWorker(name="next", slots=1))
        claim = ClaimRequest(worker=worker, limit=1, functions=frozenset({"tests:work"}))
        with anyio.fail_after(10):
            while not (jobs := (await backend.dequeue_jobs(claim)).jobs):
                await anyio.sleep(0.05)  # the backoff after the interruption
        again = [Keep(jobs[0].attempt, "second", KEPT), Forget(jobs[0].attempt, "old")]
        assert list(await backend.write_steps(again)) == [None, None]
        assert await kept(backend) == after


@pytest.mark.parametrize("error", [full(), io_error()], ids=["full", "io"])
@pytest.mark.parametrize("point", ["begin", "before-commit"])
async def test_a_commit_that_fails_keeps_nothing_and_the_next_one_does(
    tmp_path: Path, error: sqlite3.OperationalError, point: str
) -> None:
    hook = Failpoint()
    async with opened(tmp_path / "jobs.db", hook) as backend:
        attempt = await claimed(backend)
        await backend.write_steps([Keep(attempt, "x", b"1")])
        hook.fail(point, error, error)
        with pytest.raises(BackendError):
            await backend.write_steps([Keep(attempt, "x", b"2"), Keep(attempt, "y", b"2")])
        assert await backend.read_step("a", "x") == b"1"
        assert await kept(backend) == {"x": 1}
        assert list(await backend.write_steps([Keep(attempt, "y", b"2")])) == [None]
        assert await kept(backend) == {"x": 1, "y": 1}


async def test_one_that_cannot_be_kept_takes_no_neighbour_down(tmp_path: Path) -> None:
    """SQLite refuses a value of more than a bound of its own; the others of its group are kept."""
    async with SQLiteBackend(SQLiteConfig(db_path=tmp_path / "jobs.db")) as backend:
        attempt = await claimed(backend)
        connection: sqlite3.Connection = backend._writer.connection
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 100_000)
        errors: list[BaseException] = []

        async def too_large() -> None:
            try:
                await backend.write_steps([Keep(attempt, "large", b"v" * 200_000)])
            except BackendError as error:
                errors.append(error)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(too_large)
            for i in range(3):
                tasks.start_soon(backend.write_steps, [Keep(attempt, f"k{i}", b"1")])
        assert len(errors) == 1
        assert await kept(backend) == {"k0": 1, "k1": 1, "k2": 1}


async def test_while_the_file_is_locked_a_keep_waits_and_one_that_is_not_wanted_any_more_is_dropped(
    tmp_path: Path,
) -> None:
    path = tmp_path / "jobs.db"
    async with SQLiteBackend(SQLiteConfig(db_path=path)) as backend:
        attempt = await claimed(backend)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(backend.write_steps, [Keep(attempt, "waits", b"1")])
                with anyio.move_on_after(0.2) as told:
                    await backend.write_steps([Keep(attempt, "dropped", b"1")])
                assert told.cancelled_caught, "it did not wait for the lock any longer"
                assert await kept(backend) == {}
                other.execute("ROLLBACK")
        assert await kept(backend) == {"waits": 1}


async def test_a_file_that_stays_locked_is_an_error_and_nothing_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    async with SQLiteBackend(SQLiteConfig(db_path=path, busy_timeout=0.3)) as backend:
        attempt = await claimed(backend)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(BackendConnectionError):
                await backend.write_steps([Keep(attempt, "x", b"1")])
            other.execute("ROLLBACK")
        assert await kept(backend) == {}


async def test_a_zombie_is_stale_in_another_process_too(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    async with SQLiteBackend(SQLiteConfig(db_path=path)) as backend:
        attempt = await claimed(backend)
        async with SQLiteBackend(SQLiteConfig(db_path=path)) as other:
            await other.deregister_worker(attempt.worker)
        (answer,) = await backend.write_steps([Keep(attempt, "x", b"1")])
        assert isinstance(answer, Stale)
        assert await kept(backend) == {}


async def test_ten_thousand_steps_are_read_by_pages_and_deleted_by_upkeep(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    async with SQLiteBackend(SQLiteConfig(db_path=path)) as backend:
        attempt = await claimed(backend)
        for start in range(0, 10_000, 500):
            await backend.write_steps([Keep(attempt, f"k{i:05}", b"value") for i in range(start, start + 500)])
        assert await backend.count_steps("a") == 10_000
        keys: list[str] = []
        after: str | None = None
        while True:
            page = await backend.read_steps("a", after, limit=1000)
            keys += [step.key for step in page.steps]
            if (after := page.next) is None:
                break
        assert keys == [f"k{i:05}" for i in range(10_000)]
        await backend.cancel_jobs(["a"])
        await backend.deregister_worker(attempt.worker)
        await backend.retry_job("a", fresh=True)
        assert await backend.count_steps("a") == 0
        await backend.prune(0)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM steps").fetchone() == (0,)
