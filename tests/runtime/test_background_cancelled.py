"""A program that cancels all tasks of its loop ends its processor: noticed, logged, and no job is left in progress."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest

from asyncjobs import BackendClosedError, JobProcessor, current_job
from tests.runtime.support import PENDING, Gate, nothing


def _cancel_others(*spared: object) -> list[asyncio.Task[object]]:
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task() and task not in spared]
    for task in others:
        task.cancel()
    return others


_STARTED = [Gate() for _ in range(3)]


async def hold(number: int) -> None:
    _STARTED[number].open()
    await anyio.sleep_forever()


async def _graceful(db: Path) -> None:
    async with JobProcessor(str(db)) as jp:
        for number in range(3):
            await jp.submit_job(hold, number, job_id=f"job{number}", max_retries=0)
        await anyio.sleep_forever()


def _holding(started: Gate) -> Callable[[], Awaitable[None]]:
    async def hold() -> None:
        started.open()
        await anyio.sleep_forever()

    return hold


async def _waits_and_calls_are_refused_once_the_tasks_of_the_processor_are_cancelled(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    started = Gate()
    async with JobProcessor(str(tmp_path / "jobs.db")) as jp:
        handle = await jp.submit_job(_holding(started), local=True)
        await started.wait()
        asyncio.get_running_loop().call_soon(_cancel_others, asyncio.current_task())
        with anyio.fail_after(30):
            with pytest.raises(BackendClosedError, match="has cancelled the tasks"):
                await handle
            with pytest.raises(BackendClosedError, match="has cancelled the tasks"):
                await jp.submit_job(nothing)
            with pytest.raises(BackendClosedError, match="has cancelled the tasks"):
                await jp.drain()
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.getMessage().partition(":")[0] for record in errors] == [
        "the program has cancelled the tasks of this JobProcessor"
    ]


async def _jobs_go_back_uncounted_when_a_shutdown_handler_cancels_all_tasks(tmp_path: Path) -> None:
    db = tmp_path / "jobs.db"
    program = asyncio.create_task(_graceful(db))
    for started in _STARTED:
        await started.wait()
    with anyio.fail_after(30):
        program.cancel()
        await asyncio.gather(*_cancel_others(), program, return_exceptions=True)
    async with JobProcessor(str(db), enable_daemon=False) as jp:
        jobs = await jp.find_jobs()
        assert [(job.status, job.failures, job.interruptions) for job in jobs] == [(PENDING, 0, 0)] * 3
        assert not await jp.workers()


async def _a_submit_whose_jobs_are_run_here_fails_and_they_go_back(tmp_path: Path) -> None:
    started = Gate()
    HELD_AT_SUBMIT.append(started)
    db = str(tmp_path / "jobs.db")
    async with JobProcessor(db, enable_daemon=False, fallback="sync") as jp:
        submit = asyncio.create_task(jp.submit_job(hold_at_submit, max_retries=0))
        await started.wait()
        _cancel_others(submit)
        with anyio.fail_after(30), pytest.raises(BackendClosedError, match="has cancelled the tasks"):
            await submit
    async with JobProcessor(db, enable_daemon=False) as jp:
        jobs = await jp.find_jobs()
        assert [(job.status, job.failures, job.interruptions) for job in jobs] == [(PENDING, 0, 0)]
        assert not await jp.workers()


HELD_AT_SUBMIT: list[Gate] = []


async def hold_at_submit() -> None:
    HELD_AT_SUBMIT[-1].open()
    await anyio.sleep_forever()


async def _a_plain_body_sees_that_it_is_to_stop_when_its_worker_is_cancelled(tmp_path: Path) -> None:
    started, seen = threading.Event(), threading.Event()

    def look() -> None:
        started.set()
        while not current_job().cancelled:
            if seen.wait(0.01):
                return
        seen.set()

    async with JobProcessor(str(tmp_path / "jobs.db")) as jp:
        await jp.submit_job(look, local=True)
        assert await asyncio.to_thread(started.wait, 30)
        _cancel_others()
        assert await asyncio.to_thread(seen.wait, 30)


def test_waits_and_calls_are_refused_once_the_tasks_of_the_processor_are_cancelled(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asyncio.run(_waits_and_calls_are_refused_once_the_tasks_of_the_processor_are_cancelled(tmp_path, caplog))


# One of them may be cancelled before its first step.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore:coroutine:RuntimeWarning")
def test_jobs_go_back_uncounted_when_a_shutdown_handler_cancels_all_tasks(tmp_path: Path) -> None:
    asyncio.run(_jobs_go_back_uncounted_when_a_shutdown_handler_cancels_all_tasks(tmp_path))


def test_a_plain_body_sees_that_it_is_to_stop_when_its_worker_is_cancelled(tmp_path: Path) -> None:
    asyncio.run(_a_plain_body_sees_that_it_is_to_stop_when_its_worker_is_cancelled(tmp_path))


def test_a_submit_whose_jobs_are_run_here_fails_and_they_go_back(tmp_path: Path) -> None:
    asyncio.run(_a_submit_whose_jobs_are_run_here_fails_and_they_go_back(tmp_path))
