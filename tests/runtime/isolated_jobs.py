"""Jobs with ``isolation="process"``, and the processes that they run in."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.to_thread
import pytest

from asyncjobs import JobExecutionError, JobHandle, JobProcessor, RetryPolicy
from asyncjobs.runtime.isolation.pool import ProcessPool
from tests.runtime import isolated
from tests.runtime.support import until

ONCE = RetryPolicy(max_retries=0)
AT_ONCE = RetryPolicy(max_retries=1, base=0.001)
SOON = 2.0
"""Seconds within which a body that is to stop is gone."""


def processes(jp: JobProcessor) -> ProcessPool:
    assert jp.daemon is not None
    return jp.daemon.runner.bodies.processes


async def run(jp: JobProcessor, func: Any, *args: Any, **options: Any) -> Any:
    """Submit it to a process of its own and wait for the result."""
    with anyio.fail_after(20):
        return await (await jp.submit_job(func, *args, isolation="process", **options))


async def failure_of(jp: JobProcessor, func: Any, *args: Any, **options: Any) -> JobExecutionError:
    with pytest.raises(JobExecutionError) as caught:
        await run(jp, func, *args, **{"retry": ONCE, **options})
    return caught.value


async def begin(jp: JobProcessor, func: Any, *args: Any, **options: Any) -> tuple[JobHandle[Any], list[int]]:
    """Submit a body that says which processes it consists of; returns once it has said so."""
    handle = await jp.submit_job(func, *args, isolation="process", retry=ONCE, **options)
    said = (await until(jp, handle, "progress"))[-1].data["message"]
    return handle, [int(word) for word in said.split()]


async def logs(jp: JobProcessor, job_id: str) -> list[tuple[str, str | None, str]]:
    page = await jp.backend.read_events(job_id=job_id)
    return [(e.data["level"], e.data.get("logger"), e.data["message"]) for e in page.events if e.type == "log"]


async def gone(process: int) -> None:
    with anyio.fail_after(SOON):
        while await anyio.to_thread.run_sync(isolated.is_at_work, process):
            await anyio.sleep(0.01)  # an orphan: nobody here is told of its end
