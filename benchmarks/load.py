"""Jobs that are there to be watched: as fast as they go, or so many a second."""

from __future__ import annotations

import asyncio
import time

from asyncjobs import JobProcessor
from benchmarks.jobs import noop

EVENTS_A_JOB = 3
_SUBMITTERS = 100


async def run_jobs(jp: JobProcessor, count: int) -> None:
    """So many jobs from 100 submitters, each with three events, until all have ended."""
    values = iter(range(count))

    async def submit() -> None:
        for value in values:
            await jp.submit_job(noop, value)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(_SUBMITTERS):
            tasks.create_task(submit())
    await jp.drain()


async def pace(jp: JobProcessor, rate: int, seconds: float) -> None:
    """So many jobs a second."""
    began = time.perf_counter()
    for i in range(int(rate * seconds)):
        await jp.submit_job(noop, i)
        await asyncio.sleep(max(0.0, began + (i + 1) / rate - time.perf_counter()))
    await jp.drain()
