"""A wait is a wait, through whichever processor a body waits: its slot is lent, and a drain releases it at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from asyncjobs import DaemonConfig, JobProcessor, SQLiteConfig
from tests.runtime.drain_calls import LATER, WAITS
from tests.runtime.own_processors import BODIES, WITH_DAEMON, WITHOUT_DAEMON
from tests.runtime.support import COMPLETED, PATIENCE, PENDING, echo, nothing, types, until

pytestmark = pytest.mark.anyio

HOUR = 3600.0
SOME = pytest.mark.parametrize("how", ["async", "thread", "thread with a loop", "plain in a process"])


@asynccontextmanager
async def running(path: Path, slots: int = 1) -> AsyncIterator[JobProcessor]:
    daemon = DaemonConfig(num_workers=slots, shutdown_timeout=HOUR)
    async with JobProcessor(SQLiteConfig(db_path=path), daemon=daemon) as jp:
        yield jp


async def until_lent(jp: JobProcessor) -> None:
    """Return once every running body waits for another job."""
    assert jp.daemon is not None
    runner = jp.daemon.runner
    with anyio.fail_after(PATIENCE):
        while not runner.attempts.running or runner.slots.busy:
            await anyio.lowlevel.checkpoint()


async def assert_released(path: Path, *job_ids: str) -> None:
    async with JobProcessor(SQLiteConfig(db_path=path), enable_daemon=False) as jp:
        for job_id in job_ids:
            job = await jp.get_job(job_id)
            assert (job.status, job.failures, job.interruptions, job.error) == (PENDING, 0, 0, None), job_id
            assert (await types(jp, job_id))[-1] == "released"


@pytest.mark.parametrize(
    ("how", "enable_daemon"),
    [*((how, WITHOUT_DAEMON) for how in BODIES), ("async", WITH_DAEMON), ("thread with SyncJobs", WITH_DAEMON)],
)
async def test_a_wait_through_a_processor_of_the_bodys_own_is_released_at_once(
    tmp_path: Path, how: str, enable_daemon: bool
) -> None:
    path = tmp_path / "jobs.db"
    body, isolation = BODIES[how]
    with anyio.fail_after(2 * PATIENCE):
        async with running(path) as jp:
            await jp.submit_job(nothing, job_id=LATER, delay=HOUR, group="g")
            await jp.submit_job(body, str(path), "await a handle", enable_daemon, job_id="j", isolation=isolation)
            await until_lent(jp)
    await assert_released(path, "j")


@pytest.mark.parametrize("how", ["async", "thread", "thread with a loop", "async in a process", "plain in a process"])
async def test_every_wait_through_a_processor_of_the_bodys_own_is_released_at_once(tmp_path: Path, how: str) -> None:
    path = tmp_path / "jobs.db"
    body, isolation = BODIES[how]
    names = [name for name in WAITS if name != "await a child"]  # which is the worker's own
    if isolation is not None:
        names = ["drain", "stream_job", "gather"]
    with anyio.fail_after(3 * PATIENCE):
        async with running(path, slots=len(names)) as jp:
            await jp.submit_job(echo, 1, job_id="ended")
            await jp.wait_for_job("ended")
            await jp.submit_job(nothing, job_id=LATER, delay=HOUR, group="g")
            for name in names:
                await jp.submit_job(body, str(path), name, WITHOUT_DAEMON, job_id=name, isolation=isolation)
            for name in names:
                await until(jp, name, "waits")
            await until_lent(jp)
    await assert_released(path, *names)


@SOME
async def test_a_wait_that_begins_in_the_drain_is_released_at_once(tmp_path: Path, how: str) -> None:
    path = tmp_path / "jobs.db"
    body, isolation = BODIES[how]
    with anyio.fail_after(2 * PATIENCE):
        async with running(path) as jp:
            await jp.submit_job(nothing, job_id=LATER, delay=HOUR, group="g")
            await jp.submit_job(body, str(path), "await a handle", WITHOUT_DAEMON, job_id="j", isolation=isolation)
            await until(jp, "j", "started")
    await assert_released(path, "j")


@SOME
async def test_the_slot_is_lent_while_a_body_waits_through_a_processor_of_its_own(tmp_path: Path, how: str) -> None:
    """In the only slot, the job that is waited for could never run."""
    path = tmp_path / "jobs.db"
    body, isolation = BODIES[how]
    with anyio.fail_after(2 * PATIENCE):
        async with running(path) as jp:
            await jp.submit_job(nothing, job_id="first", delay=HOUR)
            await jp.submit_job(nothing, job_id=LATER, depends_on=["first"], group="g")
            waits = await jp.submit_job(
                body, str(path), "await a handle", WITHOUT_DAEMON, job_id="j", isolation=isolation, max_retries=0
            )
            await until_lent(jp)
            await jp.cancel_job("first")
            await jp.submit_job(echo, 1, job_id="other")
            assert (await jp.wait_for_job("other")).status is COMPLETED
            ended = await jp.wait_for_job(waits)
            assert ended.error is not None
            assert ended.error.error_type.endswith("JobSkippedError")
            assert jp.daemon is not None
            slots = jp.daemon.runner.slots
            while slots.busy or slots.reserved:
                await anyio.lowlevel.checkpoint()
            assert slots.limiter.total_tokens == slots.count
