"""The size of the write-ahead log under steady load: checkpoints must keep up."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from asyncjobs import JobProcessor
from benchmarks.jobs import noop, processor
from benchmarks.result import Place, Result, higher, lower

SUBMITTERS = 100
_MEGABYTE = 1 << 20


def run(place: Place) -> Result:
    """Megabytes of log: the most that was seen, and a second after the load ended."""
    return asyncio.run(_run(place))


async def _run(place: Place) -> Result:
    seconds = place.pick(60, 10)
    log = place.folder / "jobs.db-wal"
    sizes = [0]
    async with processor(place.folder) as jp:
        watch = asyncio.create_task(_watch(log, sizes))
        until = time.perf_counter() + seconds
        async with asyncio.TaskGroup() as tasks:
            counts = [tasks.create_task(_submit_until(jp, until)) for _ in range(SUBMITTERS)]
        jobs = sum(count.result() for count in counts)
        await jp.drain()
        await asyncio.sleep(1)
        watch.cancel()
        end = _size(log)
    return Result(
        (
            lower("log_max", max(sizes) / _MEGABYTE, "MB"),
            lower("log_end", end / _MEGABYTE, "MB"),
            higher("jobs_per_second", jobs / seconds, "jobs/s"),
        ),
        (f"{seconds} s of load, {jobs:,} jobs",),
    )


async def _submit_until(jp: JobProcessor, until: float) -> int:
    jobs = 0
    while time.perf_counter() < until:
        await (await jp.submit_job(noop, jobs))
        jobs += 1
    return jobs


async def _watch(log: Path, sizes: list[int]) -> None:
    while True:
        sizes.append(_size(log))
        await asyncio.sleep(0.02)


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
