"""Somebody else holds the write lock: who must write waits, everybody else goes on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import anyio
import pytest

from asyncjobs import DaemonConfig, JobProcessor, SQLiteConfig
from asyncjobs.backends.sqlite.backend import SQLiteBackend
from asyncjobs.exceptions import BackendConnectionError
from asyncjobs.models import JobStatus
from tests.faults import bodies
from tests.faults.children import Child
from tests.faults.stores import logged, until

pytestmark = pytest.mark.anyio


class Holder:
    """A process that holds BEGIN IMMEDIATE until it is told to let go."""

    def __init__(self, path: Path, ledger: Path) -> None:
        self._child = Child("tests.faults.lock_holder", path, ledger=ledger)
        self.pid = self._child.pid

    async def hold(self) -> None:
        self._child.say("hold")
        await asyncio.to_thread(self._child.until, "held")

    async def let_go(self) -> None:
        self._child.say("let go")
        await asyncio.to_thread(self._child.until, "free")

    def close(self) -> None:
        self._child.__exit__(None, None, None)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


@pytest.fixture
def holder(path: Path, tmp_path: Path) -> Iterator[Holder]:
    with closing(Holder(path, tmp_path / "ledger")) as holder:
        yield holder


class Pace:
    """A task that turns with the loop, and measures how long the loop stood still."""

    def __init__(self) -> None:
        self.longest = 0.0
        self.turns = 0

    async def run(self) -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0.001)
            now = time.perf_counter()
            self.longest = max(self.longest, now - last)
            self.turns += 1
            last = now


async def turns_of(pace: Pace, n: int) -> None:
    last = pace.turns + n
    await until(lambda: pace.turns >= last)


@pytest.mark.serial  # other tests would hold up the loop, too
async def test_submits_wait_reads_go_on_and_the_loop_is_free(path: Path, holder: Holder) -> None:
    async with JobProcessor(SQLiteConfig(db_path=path), enable_daemon=False) as jp:
        await jp.submit_job(bodies.nothing, job_id="before")
        await holder.hold()
        pace = Pace()
        ticker = asyncio.create_task(pace.run())
        submits = [asyncio.create_task(jp.submit_job(bodies.nothing, job_id=f"j{i}")) for i in range(20)]
        await turns_of(pace, 50)
        for _ in range(10):
            assert (await jp.get_job("before")).status is JobStatus.PENDING
        await turns_of(pace, 200)
        assert not any(submit.done() for submit in submits)
        await holder.let_go()
        assert [handle.id for handle in await asyncio.gather(*submits)] == [f"j{i}" for i in range(20)]
        ticker.cancel()
        jp._submitted = 0
        print(f"longest stand of the loop {1000 * pace.longest:.1f} ms in {pace.turns} turns")
        assert pace.longest < 0.05


async def test_a_short_patience_names_the_holder_and_what_to_submit_again(path: Path, holder: Holder) -> None:
    async with JobProcessor(SQLiteConfig(db_path=path, busy_timeout=0.2), enable_daemon=False) as jp:
        await holder.hold()
        with pytest.raises(BackendConnectionError, match=rf"locked for 0.2 s by pid {holder.pid} \(") as caught:
            await jp.submit_job(bodies.nothing)
        with pytest.raises(BackendConnectionError) as batch:
            async with jp.batch() as b:
                b.submit_job(bodies.nothing, job_id="x")
                b.submit_job(bodies.nothing, job_id="y")
        await holder.let_go()
        again = await jp.submit_jobs(caught.value.request, if_exists="return")
        assert [handle.id for handle in again] == [caught.value.request[0].job_id]
        assert await jp.submit_jobs(caught.value.request, if_exists="return") == again
        assert await jp.submit_jobs(batch.value.request, if_exists="return") == ["x", "y"]
        assert len(await jp.find_jobs()) == 3
        jp._submitted = 0


async def test_an_outcome_is_recorded_once_the_lock_is_gone(
    path: Path, holder: Holder, caplog: pytest.LogCaptureFixture
) -> None:
    gate, running = anyio.Event(), anyio.Event()

    async def body() -> str:
        running.set()
        await gate.wait()
        return "done"

    caplog.set_level(logging.WARNING)
    daemon = DaemonConfig(num_workers=1, lease=30, heartbeat=10)
    async with JobProcessor(SQLiteConfig(db_path=path, busy_timeout=0.1), daemon=daemon) as jp:
        handle = await jp.submit_job(body, local=True)
        await running.wait()
        await holder.hold()
        gate.set()
        await logged(caplog, "could not be stored yet")
        assert (await jp.get_job(handle)).status is JobStatus.IN_PROGRESS
        await holder.let_go()
        assert await handle.result(timeout=10) == "done"
        job = await jp.get_job(handle)
        assert (job.attempt, job.failures, job.interruptions) == (1, 0, 0)
    assert not any("database is locked" in record.getMessage() for record in caplog.records)


async def test_leaving_waits_for_the_lock_and_no_longer_than_it_may(path: Path, holder: Holder) -> None:
    """A held lock does not keep a processor from ending, and loses nothing: the next one takes the job up."""
    daemon = DaemonConfig(num_workers=1, shutdown_timeout=0)
    async with JobProcessor(SQLiteConfig(db_path=path, busy_timeout=0.2), daemon=daemon) as jp:
        started = anyio.Event()

        async def stay() -> None:
            started.set()
            await anyio.sleep_forever()

        await jp.submit_job(stay, job_id="stays", local=True)
        await started.wait()
        await jp.submit_job(bodies.nothing, job_id="waits")
        await holder.hold()
        began = time.monotonic()
        letting_go = asyncio.create_task(_let_go_later(holder))
    assert time.monotonic() - began < 10
    await letting_go
    async with JobProcessor(SQLiteConfig(db_path=path)) as jp:
        assert (await jp.wait_for_job("stays", timeout=10)).status is JobStatus.FAILED  # local: its owner is gone
        assert (await jp.wait_for_job("waits", timeout=10)).status is JobStatus.COMPLETED


async def _let_go_later(holder: Holder) -> None:
    for _ in range(300):
        await asyncio.sleep(0.001)
    await holder.let_go()


async def test_opening_waits_for_the_lock(path: Path, holder: Holder) -> None:
    async with JobProcessor(SQLiteConfig(db_path=path), enable_daemon=False) as jp:
        await jp.submit_job(bodies.nothing, job_id="a")
        jp._submitted = 0
    await holder.hold()
    opening = asyncio.create_task(_open_and_drain(path))
    letting_go = asyncio.create_task(_let_go_later(holder))
    assert await opening is JobStatus.COMPLETED
    await letting_go


async def _open_and_drain(path: Path) -> JobStatus:
    async with JobProcessor(SQLiteConfig(db_path=path)) as jp:
        return (await jp.wait_for_job("a", timeout=10)).status


# -- a caller that gives up meanwhile


def lock(path: Path, how: str) -> sqlite3.Connection:
    """Lock the file from this process; SQLite's locks hold between its connections, too."""
    connection = sqlite3.connect(path, isolation_level=None)
    if how == "exclusive":
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("BEGIN IMMEDIATE" if how == "write" else "BEGIN EXCLUSIVE")
    return connection


@pytest.fixture(params=["write", "exclusive", "new"])
async def locked(request: pytest.FixtureRequest, path: Path) -> AsyncIterator[sqlite3.Connection]:
    """A store that others write to, that they have for themselves, or that is not made yet."""
    if request.param != "new":
        async with JobProcessor(SQLiteConfig(db_path=path)):
            pass
    connection = lock(path, request.param)
    yield connection
    connection.close()


Stop = Callable[["asyncio.Task[None]"], Awaitable[object]]


async def entered_until(stop: Stop, path: Path, *, runs_jobs: bool) -> float:
    """Enter a processor on a locked store until it is stopped: for how many seconds the stop was waited for."""

    async def enter() -> None:
        async with JobProcessor(SQLiteConfig(db_path=path), enable_daemon=runs_jobs):
            await anyio.sleep_forever()

    task = asyncio.create_task(enter())
    await asyncio.sleep(0.3)  # it waits for the lock, which is silent
    began = time.monotonic()
    await stop(task)
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return time.monotonic() - began


async def cancel(task: asyncio.Task[None]) -> None:
    task.cancel()


async def cancel_twice(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.sleep(0.01)
    task.cancel()


@pytest.mark.parametrize("stop", [cancel, cancel_twice])
async def test_entering_is_cancelled_while_the_store_is_locked(
    path: Path, locked: sqlite3.Connection, stop: Stop
) -> None:
    assert await entered_until(stop, path, runs_jobs=True) < 2
    locked.close()
    async with JobProcessor(SQLiteConfig(db_path=path)) as jp:
        assert [worker.id for worker in await jp.workers()] == [jp.daemon.worker_id if jp.daemon else "none"]
        assert await (await jp.submit_job(bodies.nothing)) is None


async def test_a_processor_that_only_submits_is_let_go_as_well(path: Path, locked: sqlite3.Connection) -> None:
    assert await entered_until(cancel, path, runs_jobs=False) < 2


async def test_a_scope_that_times_out_ends_the_wait_for_the_lock(path: Path) -> None:
    with closing(lock(path, "new")):
        began = time.monotonic()
        with anyio.move_on_after(0.2) as scope:
            await SQLiteBackend(SQLiteConfig(db_path=path)).open()
        assert scope.cancelled_caught
        assert time.monotonic() - began < 2


async def test_a_submit_that_is_given_up_while_the_store_is_locked_stores_nothing(path: Path, holder: Holder) -> None:
    async with JobProcessor(SQLiteConfig(db_path=path), enable_daemon=False) as jp:
        await holder.hold()
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(partial(jp.submit_job, bodies.nothing, job_id="kept"))
                with anyio.move_on_after(0.3) as scope:
                    await jp.submit_job(bodies.nothing, job_id="given up")
                assert scope.cancelled_caught
                await holder.let_go()
        assert [job.id for job in await jp.find_jobs()] == ["kept"]
        jp._submitted = 0
