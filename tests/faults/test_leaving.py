"""Leaving in bad weather: bounded in time, nothing lost, and what is given back is not counted as interrupted."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import anyio
import pytest

from asyncjobs import DaemonConfig, JobProcessor, SQLiteConfig
from asyncjobs.models import JobStatus
from tests.faults import bodies
from tests.faults.stores import Failpoint, full, opened, until

pytestmark = pytest.mark.anyio


async def test_leaving_while_a_claim_is_being_committed(tmp_path: Path) -> None:
    """The claim is committed, and nobody runs what it brought: it goes back to pending, uncounted."""
    path = tmp_path / "jobs.db"
    hook = Failpoint()
    backend = opened(path, hook, synchronous="FULL")
    submitter = JobProcessor(SQLiteConfig(db_path=path), enable_daemon=False)
    async with submitter:
        left = anyio.Event()

        async def run() -> None:
            async with JobProcessor(backend, daemon=DaemonConfig(shutdown_timeout=5), functions=[bodies.nothing]):
                await until(lambda: hook.seen["after-commit"] >= 2)  # it has registered, and claimed in vain
                hook.stop_in_thread("before-commit")
                await submitter.submit_job(bodies.nothing, job_id="a")
                await asyncio.to_thread(hook.reached.wait, 10)
                asyncio.get_running_loop().call_later(0.05, hook.go_on)
            left.set()

        with anyio.fail_after(20):
            await run()
        job = await submitter.get_job("a")
        assert job.interruptions == 0
        assert job.status in (JobStatus.PENDING, JobStatus.COMPLETED)
        submitter._submitted = 0


@pytest.mark.slow
async def test_leaving_while_outcomes_cannot_be_stored(tmp_path: Path) -> None:
    """The disk stays full. The process still ends, within its time; the job is taken up by the next one."""
    path = tmp_path / "jobs.db"
    hook = Failpoint()
    gate, running = anyio.Event(), anyio.Event()
    began = 0.0

    async def body() -> None:
        running.set()
        await gate.wait()

    with anyio.fail_after(25):
        async with JobProcessor(opened(path, hook), daemon=DaemonConfig(shutdown_timeout=0.5)) as jp:
            await jp.submit_job(bodies.nothing, job_id="before")
            await jp.wait_for_job("before")
            await jp.submit_job(body, job_id="unstored", local=True)
            await running.wait()
            hook.fail("before-commit", *[full() for _ in range(100_000)])
            gate.set()
            began = time.monotonic()
    assert time.monotonic() - began < 10
    async with JobProcessor(SQLiteConfig(db_path=path)) as jp:
        assert (await jp.get_job("before")).status is JobStatus.COMPLETED
        assert not (await jp.get_job("unstored")).status.terminal
