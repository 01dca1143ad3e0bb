"""One process runs many jobs with ``isolation='process'``, and bodies there use other jobs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from asyncjobs import (
    ConfigurationError,
    JobHandle,
    JobProcessor,
    JobStatus,
    job,
)
from asyncjobs.testing import ManualClock
from tests.runtime import isolated
from tests.runtime.isolated import is_running
from tests.runtime.isolated_jobs import AT_ONCE, ONCE, begin, failure_of, gone, logs, processes, run
from tests.runtime.support import CANCELLED, PENDING, Stores, until

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_a_process_is_kept_warm(warm: JobProcessor) -> None:
    (idle,) = processes(warm).idle
    assert [await run(warm, func) for func in (isolated.pid, isolated.pid_async, isolated.pid)] == [idle] * 3
    assert processes(warm).idle == [idle]


@pytest.mark.parametrize(
    "callee", [isolated.fail, isolated.fail_async, isolated.unstorable], ids=lambda func: func.__name__
)
async def test_a_process_is_not_used_again_after_a_failure(warm: JobProcessor, callee: Any) -> None:
    (idle,) = processes(warm).idle
    await failure_of(warm, callee)
    assert not is_running(idle)
    assert await run(warm, isolated.pid) != idle


async def test_nor_after_a_cancellation_that_it_heeded(warm: JobProcessor) -> None:
    handle, (process,) = await begin(warm, isolated.heed)
    await warm.cancel_job(handle)
    await warm.wait_for_job(handle)
    assert not is_running(process)
    assert processes(warm).idle == []


async def test_one_that_died_while_idle_is_replaced_silently(
    warm: JobProcessor, caplog: pytest.LogCaptureFixture
) -> None:
    (idle,) = processes(warm).idle
    os.kill(idle, 9)
    handle = await warm.submit_job(isolated.pid, isolation="process", retry=ONCE)
    assert await handle != idle
    assert (await warm.get_job(handle)).attempt == 1
    assert caplog.records == []


async def test_a_process_runs_so_many_jobs_only(warm: JobProcessor) -> None:
    processes(warm).most_jobs = 3
    first = [await run(warm, isolated.pid) for _ in range(3)]
    assert first[0] == first[1] != first[2]


async def test_idle_processes_end_after_a_while(tmp_path: Path) -> None:
    clock = ManualClock()
    stores = Stores("memory", tmp_path)
    async with stores.processor(clock=clock) as jp:
        process = await run(jp, isolated.pid)
        await clock.wait_for_sleepers()
        for _ in range(8):
            clock.advance(processes(jp).idle_time / 4)
            await anyio.wait_all_tasks_blocked()
        await gone(process)
        assert processes(jp).idle == []
        assert await run(jp, isolated.pid) != process


async def test_no_more_are_kept_than_there_are_slots(tmp_path: Path) -> None:
    async with Stores("memory", tmp_path).processor(num_workers=2) as jp:
        used = set(await _all(await jp.map_jobs(isolated.echo, range(12), isolation="process")))
        assert used == set(range(12))
        assert 1 <= len(processes(jp).idle) <= 2


async def _all(handles: list[JobHandle[Any]]) -> list[Any]:
    return [await handle for handle in handles]


async def test_leaving_ends_them_all_and_gives_running_jobs_back(tmp_path: Path) -> None:
    stores = Stores("sqlite", tmp_path)
    async with stores.processor(num_workers=2, shutdown_timeout=0.0) as jp:
        idle = await run(jp, isolated.pid)
        handle, (process,) = await begin(jp, isolated.spin)
        second = await run(jp, isolated.pid)
    assert [is_running(one) for one in (idle, process, second)] == [False] * 3
    async with stores.processor(enable_daemon=False) as jp:
        stored = await jp.get_job(handle)
        assert (stored.status, stored.failures, stored.interruptions) == (PENDING, 0, 0)


async def test_half_of_a_page_is_not_the_result_of_a_job_that_was_given_back(tmp_path: Path) -> None:
    stores = Stores("sqlite", tmp_path)
    async with stores.processor(shutdown_timeout=0.0) as jp:
        handle, _ = await begin(jp, isolated.heed)
    async with stores.processor(enable_daemon=False) as jp:
        assert await jp.get_status(handle) is PENDING


# -- other jobs, from inside


async def test_a_body_submits_children_and_waits_for_them(stores: Stores) -> None:
    async with stores.processor(num_workers=1) as jp:
        handle = await jp.submit_job(isolated.add_up, job_id="parent", isolation="process")
        assert await handle == ("parent/total", 6, [0, 2, 4])
        assert (await jp.get_job("parent/1")).parent_id == "parent"


async def test_a_plain_body_does_so_too(here: JobProcessor) -> None:
    assert await run(here, isolated.add_up_sync, job_id="parent") == ("parent/1", 3)


async def test_a_later_attempt_gets_the_child_of_the_first(here: JobProcessor) -> None:
    assert await run(here, isolated.submit_each_time, job_id="parent", retry=AT_ONCE) == "parent/1 once"


async def test_a_childs_failure_is_raised_where_it_is_awaited(here: JobProcessor) -> None:
    assert await run(here, isolated.hear_of_failure, job_id="parent") == ("parent/1", "dry", True)


async def test_a_body_may_stop_waiting_and_cancel(here: JobProcessor) -> None:
    asked, ended = await run(here, isolated.stop_waiting)
    assert (asked, ended) == (JobStatus.IN_PROGRESS, "JobCancelledError")


async def test_its_slot_is_lent_only_while_it_waits(here: JobProcessor) -> None:
    handle = await here.submit_job(isolated.wait_briefly, isolation="process")
    await until(here, handle, "progress")
    assert here.daemon is not None
    running = here.daemon.runner.attempts.running[handle]
    assert (running.waits, running.has_slot) == (0, True)
    await here.cancel_job(handle)


async def test_a_plain_body_that_waits_is_told_to_stop(here: JobProcessor) -> None:
    handle = await here.submit_job(isolated.wait_for_ever, isolation="process")
    await until(here, handle, "progress")
    await here.cancel_job(handle)
    assert (await here.wait_for_job(handle)).status is CANCELLED
    assert await logs(here, handle) == [("info", None, "waits no more")]


async def test_what_is_not_to_be_had_there_says_what_to_do(here: JobProcessor) -> None:
    events, local = await run(here, isolated.ask_for_what_is_not_here)
    assert "JobProcessor(enable_daemon=False)" in events
    assert "module level" in local


@job(isolation="process")
def _marked() -> None: ...


async def test_a_marked_function_is_refused_where_it_cannot_be_isolated(here: JobProcessor) -> None:
    with pytest.raises(ConfigurationError, match="local"):
        await here.submit_job(_marked, local=True)
