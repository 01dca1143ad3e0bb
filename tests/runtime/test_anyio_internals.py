"""Plain bodies run in threads that anyio has not started, and may use ``anyio.from_thread`` as in those it has."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import pytest

from asyncjobs import JobExecutionError, JobProcessor, SQLiteConfig, SyncJobs, current_job
from tests.runtime import isolated
from tests.runtime.support import CANCELLED, PATIENCE, Gate, Stores, within


async def double(x: int) -> int:
    await anyio.sleep(0)
    return 2 * x


async def fail() -> None:
    await anyio.sleep(0)
    raise LookupError("over there")


@pytest.mark.anyio
async def test_a_plain_body_calls_coroutine_functions_on_the_loop(jp: JobProcessor) -> None:
    loop = threading.get_ident()

    async def thread_of_the_loop() -> int:
        return threading.get_ident()

    def body() -> tuple[int, int, int]:
        return (
            anyio.from_thread.run(double, 21),
            anyio.from_thread.run(thread_of_the_loop),
            anyio.from_thread.run_sync(threading.get_ident),
        )

    assert await (await jp.submit_job(body, local=True)) == (42, loop, loop)


@pytest.mark.anyio
async def test_what_these_raise_is_raised_in_the_thread(jp: JobProcessor) -> None:
    def body() -> str:
        with pytest.raises(LookupError, match="over there"):
            anyio.from_thread.run(fail)
        anyio.from_thread.run(fail)
        return "not reached"

    with pytest.raises(JobExecutionError) as caught:
        await (await jp.submit_job(body, local=True, max_retries=0))
    assert caught.value.error_type == "LookupError"


@pytest.mark.anyio
async def test_there_the_job_is_the_current_one(jp: JobProcessor) -> None:
    async def submit() -> int:
        return await (await current_job().submit_job(double, 2))

    def body() -> int:
        return anyio.from_thread.run(submit)

    assert await (await jp.submit_job(body, local=True)) == 4


@pytest.mark.anyio
async def test_check_cancelled_raises_once_the_job_should_stop(jp: JobProcessor) -> None:
    started = Gate()

    def body() -> None:
        anyio.from_thread.check_cancelled()
        started.open()
        while True:
            anyio.from_thread.run_sync(int)
            anyio.from_thread.check_cancelled()

    handle = await jp.submit_job(body, local=True, max_retries=0)
    await started.wait()
    await handle.cancel()
    assert (await jp.wait_for_job(handle, timeout=PATIENCE)).status is CANCELLED


@pytest.mark.anyio
async def test_the_next_body_in_the_same_thread_can_too_and_the_thread_ends_clean(stores: Stores) -> None:
    async with stores.processor(num_workers=1) as jp:
        for x in range(3):
            assert await (await jp.submit_job(lambda x=x: anyio.from_thread.run(double, x), local=True)) == 2 * x


@pytest.mark.anyio
async def test_a_portal_of_its_own_works(jp: JobProcessor) -> None:
    def body() -> int:
        with anyio.from_thread.start_blocking_portal() as portal:
            return portal.call(double, 3)

    assert await (await jp.submit_job(body, local=True)) == 6


@pytest.mark.anyio
@pytest.mark.parametrize("callee", [isolated.call_from_thread, isolated.call_from_thread_sync])
async def test_in_a_process_of_its_own_these_have_a_loop_of_their_own(
    tmp_path: Path, callee: Callable[..., Any]
) -> None:
    async with Stores("memory", tmp_path).processor() as jp:
        assert await within(PATIENCE, await jp.submit_job(callee, 21, isolation="process")) == 42


def run_a_loop() -> int:
    return anyio.run(double, 4) + asyncio.run(double(5))


def test_a_plain_body_may_run_a_loop_of_its_own_whoever_runs_ours(tmp_path: Path) -> None:
    async def program() -> int:
        async with JobProcessor(SQLiteConfig(db_path=tmp_path / "jobs.db", readers=1)) as jp:
            return await (await jp.submit_job(run_a_loop, max_retries=0))

    assert anyio.run(program) == 18  # which leaves its mark in every context
    assert asyncio.run(program()) == 18
    with SyncJobs(str(tmp_path / "jobs.db")) as jobs:
        assert jobs.submit_job(run_a_loop, max_retries=0).result(timeout=PATIENCE) == 18
