"""No-op jobs, end to end: submitted one by one, by 100 submitters at a time, and as one batch."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

from asyncjobs import JobHandle, JobProcessor, gather
from benchmarks.jobs import noop, processor
from benchmarks.result import Figure, Place, Result, Synchronous, higher

SUBMITTERS = 100


def run(place: Place, synchronous: Synchronous = "NORMAL") -> Result:
    """Jobs per second. *Stored*: until every submit has returned; else until every result is there."""
    return asyncio.run(_run(place, synchronous))


async def _run(place: Place, synchronous: Synchronous) -> Result:
    async with processor(place.folder, synchronous=synchronous) as jp:
        return Result(
            (
                *await _one_by_one(jp, place.pick(5_000, 2_000)),
                await _submitters(jp, place.pick(10_000, 10_000)),
                *await _batch(jp, 20_000),
            )
        )


async def _one_by_one(jp: JobProcessor, jobs: int) -> list[Figure]:
    began = time.perf_counter()
    handles = [await jp.submit_job(noop, value) for value in range(jobs)]
    stored = time.perf_counter() - began
    await gather(*handles)
    ended = time.perf_counter() - began
    return [higher("one_by_one_stored", jobs / stored, "jobs/s"), higher("one_by_one", jobs / ended, "jobs/s")]


async def _submitters(jp: JobProcessor, jobs: int) -> Figure:
    values = iter(range(jobs))
    handles: list[JobHandle[object]] = []
    began = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(SUBMITTERS):
            tasks.create_task(submit_from(jp, values, handles))
    await gather(*handles)
    return higher("submitters_100", jobs / (time.perf_counter() - began), "jobs/s")


async def submit_from(jp: JobProcessor, values: Iterator[int], handles: list[JobHandle[object]]) -> None:
    """One of several submitters that share the work: each awaits its submit before the next."""
    for value in values:
        handle = await jp.submit_job(noop, value)
        handles.append(handle)


async def _batch(jp: JobProcessor, jobs: int) -> list[Figure]:
    began = time.perf_counter()
    handles = await jp.map_jobs(noop, range(jobs))
    stored = time.perf_counter() - began
    await gather(*handles)
    ended = time.perf_counter() - began
    return [higher("batch_stored", jobs / stored, "jobs/s"), higher("batch", jobs / ended, "jobs/s")]
