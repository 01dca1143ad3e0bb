"""A processor opened on a store that another one left, in order or not; and a worker that lost its lease."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncjobs import JobProcessor, JobStatus, SQLiteConfig, WorkerLostError, current_job, job
from asyncjobs.backends.base import ClaimRequest, ClaimResult, NewWorker, WorkerLease
from asyncjobs.models import OutcomeKind
from asyncjobs.testing import ManualClock
from tests.runtime.scripts import ROOT
from tests.runtime.support import (
    COMPLETED,
    FAILED,
    IN_PROGRESS,
    PATIENCE,
    Gate,
    Held,
    Stores,
    add,
    echo,
    nothing,
    types,
)

pytestmark = pytest.mark.anyio

BODIES: dict[str, Callable[[], Any]] = {}
"""What ``named`` does in this process: stored jobs name a function, not a closure."""


async def named(name: str) -> Any:
    return await BODIES[name]()


async def test_a_new_processor_takes_everything_up_where_it_was(stores: Stores) -> None:
    async with stores.processor() as jp:
        done = await jp.submit_job(add, 1, 2, job_id="done")
        await done
    async with stores.processor(enable_daemon=False) as jp:
        async with jp.batch() as batch:
            parent = batch.submit_job(add, jp.handle("done"), 10, job_id="parent")
            batch.submit_job(add, parent, 100, job_id="child")
    async with stores.processor() as jp:  # submits nothing, and runs what is there
        await jp.drain(timeout=PATIENCE)
        assert [await jp.get_result(job_id) for job_id in ("done", "parent", "child")] == [3, 13, 113]
        assert [(await jp.get_job(job_id)).attempt for job_id in ("done", "parent", "child")] == [1, 1, 1]


async def test_a_local_job_whose_process_is_gone_fails_and_says_so(stores: Stores) -> None:
    async with stores.processor() as jp:
        handle = await jp.submit_job(lambda: 1, local=True, delay=3600, job_id="local")
        child = await jp.submit_job(nothing, depends_on=handle, job_id="child")
    async with stores.processor() as jp:
        job = await jp.wait_for_job("local", timeout=PATIENCE)
        assert job.status is FAILED
        assert job.error is not None
        assert job.error.error_type == "LocalJobLostError"
        assert (await jp.get_job(child.id)).because == "local"


async def test_a_job_that_was_given_back_runs_again(stores: Stores) -> None:
    held = Held()
    BODIES["x"] = held.body
    async with stores.processor(shutdown_timeout=0.0) as jp:
        await jp.submit_job(named, "x", job_id="x")
        await held.started.wait()
    held = Held("again")
    held.go.open()
    BODIES["x"] = held.body
    async with stores.processor() as jp:
        assert await jp.handle("x").result(timeout=PATIENCE) == "again"
        assert next(a.outcome for a in await jp.get_attempts("x")) is OutcomeKind.RELEASED
        job = await jp.get_job("x")
        assert (job.attempt, job.failures, job.interruptions) == (2, 0, 0)


# -- killed


VICTIM = """
import asyncio, sys
sys.path.insert(0, {root!r})
from asyncjobs import JobProcessor, SQLiteConfig, current_job
from tests.runtime.test_engine_restart import sleeper, quick

async def main():
    async with JobProcessor(SQLiteConfig(db_path="jobs.db")) as jp:
        await (await jp.submit_job(quick, 1, job_id="quick", if_exists="return"))
        async with jp.batch() as batch:
            sleeping = batch.submit_job(sleeper, job_id="sleeper", if_exists="return")
            batch.submit_job(quick, sleeping, job_id="after", if_exists="return")
        await asyncio.Event().wait()

asyncio.run(main())
"""


@job(max_interruptions=2)
async def sleeper() -> str:
    if os.environ.get("ASYNCJOBS_TEST_VICTIM"):
        print("running", current_job().attempt, flush=True)
        await anyio.sleep_forever()
    return f"attempt {current_job().attempt}"


async def quick(value: Any) -> Any:
    return value


def kill_one(folder: Path) -> None:
    """Start a process that runs ``sleeper``, and kill it while it does."""
    (folder / "victim.py").write_text(VICTIM.format(root=str(ROOT)))
    with subprocess.Popen(
        [sys.executable, "victim.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "ASYNCJOBS_TEST_VICTIM": "1"},
        stdout=subprocess.PIPE,
        text=True,
    ) as victim:
        assert victim.stdout is not None
        assert victim.stdout.readline().startswith("running")
        victim.send_signal(signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_processor_whose_last_owner_was_killed_goes_on_at_once(tmp_path: Path, anyio_backend: str) -> None:
    await anyio.to_thread.run_sync(kill_one, tmp_path)
    async with JobProcessor(SQLiteConfig(db_path=tmp_path / "jobs.db")) as jp:
        assert await jp.handle("sleeper").result(timeout=PATIENCE) == "attempt 2"
        assert await jp.handle("after").result(timeout=PATIENCE) == "attempt 2"
        stored = await jp.get_job("sleeper")
        assert (stored.interruptions, stored.failures) == (1, 0)
        assert (await jp.get_job("quick")).attempt == 1  # what was completed is not run again
        assert "interrupted" in await types(jp, "sleeper")
        assert len(await jp.workers()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_job_that_kills_its_workers_is_given_up(tmp_path: Path, anyio_backend: str) -> None:
    for _ in range(2):
        await anyio.to_thread.run_sync(kill_one, tmp_path)
    async with JobProcessor(SQLiteConfig(db_path=tmp_path / "jobs.db")) as jp:
        with pytest.raises(WorkerLostError, match="the worker was lost 2 times"):
            await jp.handle("sleeper").result(timeout=PATIENCE)


# -- a lost lease


async def reap_everything(stores: Stores, clock: ManualClock) -> list[str]:
    """Somebody else, whose clock is further, finds that the lease ran out. Returns what was taken away."""
    if stores.kind == "memory":
        clock.advance(16.0)
        return list(await stores.backend().reap())
    later = ManualClock()
    later.advance((clock.monotonic() - later.monotonic()) / 1_000_000 + 16.0)
    async with stores.backend(later) as other:
        return list(await other.reap())


@pytest.mark.parametrize("threaded", [False, True], ids=["async", "thread"])
async def test_a_worker_that_lost_its_lease(stores: Stores, threaded: bool, caplog: pytest.LogCaptureFixture) -> None:
    """The body is told, its late outcome is refused, and the worker goes on under a new id."""
    clock = ManualClock()
    told, go = Gate(), Gate()

    async def body() -> str:
        if current_job().attempt > 1:
            return "second"
        first.open()
        try:
            await anyio.sleep_forever()
        finally:
            told.open()

    def body_sync() -> str:
        if current_job().attempt > 1:
            return "second"
        first.open()
        while not current_job().cancelled:
            current_job().run_sync(anyio.sleep, 0)
        told.open()
        go.wait_sync()
        return "late"

    first = Gate()
    BODIES["body"] = body_sync if threaded else body
    async with stores.processor(clock=clock, heartbeat=5.0) as jp:
        runner = jp.daemon.runner
        old = runner.worker_id
        job = await jp.submit_job(named_sync if threaded else named, "body", job_id="j")
        await first.wait()
        assert await reap_everything(stores, clock) == ["j"]
        with anyio.fail_after(PATIENCE):
            while not told.is_open or runner.worker_id == old:  # the next beat tells
                clock.advance(1.0)
                await anyio.sleep(0.001)
            while (await jp.get_job(job)).attempt < 2:  # after the backoff of an interruption
                clock.advance(1.0)
                await anyio.sleep(0.001)
        assert await job.result(timeout=None) == "second"
        go.open()  # only now the zombie ends, while or after the second attempt of its job has run here
        assert await (await jp.submit_job(echo, "alive")).result() == "alive"
        stored = await jp.get_job(job)
        assert (stored.status, stored.attempt, stored.interruptions) == (COMPLETED, 2, 1)
        assert [event for event in await types(jp, job) if event in ("completed", "released")] == ["completed"]
    assert not runner.attempts.running
    messages = [record.getMessage() for record in caplog.records]
    assert any("lost its lease" in message for message in messages)
    assert any("attempt 1 came too late and was refused" in message for message in messages)


@pytest.mark.parametrize("first", ["the claim", "the beat"])
async def test_a_worker_that_lost_its_lease_has_one_row_after_it_registers_again(
    stores: Stores, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The heartbeat and the scheduler both find out that it is lost, while it registers."""
    clock = ManualClock()
    async with stores.processor(clock=clock, heartbeat=5.0) as jp:
        ids = [jp.daemon.runner.worker_id]
        for _ in range(2):
            assert await (await jp.submit_job(echo, "before")).result() == "before"
            await anyio.wait_all_tasks_blocked()  # the scheduler waits for a nudge
            with monkeypatch.context() as patch:
                await lose_it_twice(jp, stores, clock, patch, ids, first)
        assert len(ids) == 3, "it registered once, each time"
        assert [worker.id for worker in await jp.workers()] == [ids[-1]]


async def lose_it_twice(
    jp: JobProcessor, stores: Stores, clock: ManualClock, patch: pytest.MonkeyPatch, ids: list[str], first: str
) -> None:
    """The lease runs out; registering takes until the heartbeat and a claim have both found it out."""
    backend = jp.backend
    registering, go, told = anyio.Event(), anyio.Event(), Counter[str]()

    async def register(new: NewWorker) -> str:
        registering.set()
        await go.wait()
        ids.append(await type(backend).register_worker(backend, new))
        return ids[-1]

    async def extend(worker: str) -> WorkerLease:
        lease = await type(backend).extend_leases(backend, worker)
        told["the beat"] += not lease.alive
        return lease

    async def dequeue(claim: ClaimRequest) -> ClaimResult:
        claims = await type(backend).dequeue_jobs(backend, claim)
        told["the claim"] += claims.lost
        return claims

    patch.setattr(backend, "register_worker", register)
    patch.setattr(backend, "extend_leases", extend)
    patch.setattr(backend, "dequeue_jobs", dequeue)
    await reap_everything(stores, clock)
    jobs: list[Any] = []
    for who in ("the claim", "the beat") if first == "the claim" else ("the beat", "the claim"):
        with anyio.fail_after(PATIENCE):
            if who == "the claim":
                jobs.append(await jp.submit_job(echo, "alive"))
            while not told[who]:
                if who == "the beat":
                    clock.advance(1.0)
                await anyio.sleep(0.001)
            await registering.wait()
    go.set()
    assert [await job.result(timeout=None) for job in jobs] == ["alive"]


def named_sync(name: str) -> Any:
    return BODIES[name]()


def test_statuses_are_six() -> None:
    assert len(JobStatus) == 6
    assert IN_PROGRESS.terminal is False
