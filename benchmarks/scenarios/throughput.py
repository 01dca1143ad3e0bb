"""No-op jobs, end to end: submitted one by one, by 100 submitters at a time, and as one batch."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from asyncjobs import JobHandle, JobProcessor, gather
from benchmarks.jobs import noop, processor
from benchmarks.result import Figure, Place, Result, Synchronous, higher, lower
from benchmarks.stopwatch import Stopwatch

SUBMITTERS = 100


def run(place: Place, synchronous: Synchronous = "NORMAL") -> Result:
    """Jobs per second. *Stored*: until every submit has returned; else until every result is there.

    The processor time of a job wanders less than the rates, because what other programs take is not in it.
    """
    return asyncio.run(_run(place, synchronous))


async def _run(place: Place, synchronous: Synchronous) -> Result:
    async with processor(place.folder, synchronous=synchronous) as jp:
        return Result(
            (
                *await one_by_one(jp, place.pick(5_000, 2_000)),
                *await submitters(jp, place.pick(10_000, 10_000)),
                *await batch(jp, 20_000),
            )
        )


async def one_by_one(jp: JobProcessor, jobs: int) -> list[Figure]:
    """Each submit is awaited before the next."""
    watch = Stopwatch()
    handles = [await jp.submit_job(noop, value) for value in range(jobs)]
    stored = watch.seconds()
    await gather(*handles)
    return [higher("one_by_one_stored", jobs / stored, "jobs/s"), *_ended("one_by_one", jobs, watch)]


async def submitters(jp: JobProcessor, jobs: int) -> list[Figure]:
    """A hundred submitters at the same time."""
    values = iter(range(jobs))
    handles: list[JobHandle[object]] = []
    watch = Stopwatch()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(SUBMITTERS):
            tasks.create_task(submit_from(jp, values, handles))
    await gather(*handles)
    return _ended("submitters_100", jobs, watch)


async def submit_from(jp: JobProcessor, values: Iterator[int], handles: list[JobHandle[object]]) -> None:
    """One of several submitters that share the work: each awaits its submit before the next."""
    for value in values:
        handle = await jp.submit_job(noop, value)
        handles.append(handle)


async def batch(jp: JobProcessor, jobs: int) -> list[Figure]:
    """All jobs in one call."""
    watch = Stopwatch()
    handles = await jp.map_jobs(noop, range(jobs))
    stored = watch.seconds()
    await gather(*handles)
    return [higher("batch_stored", jobs / stored, "jobs/s"), *_ended("batch", jobs, watch)]


def _ended(name: str, jobs: int, watch: Stopwatch) -> list[Figure]:
    return [
        higher(name, jobs / watch.seconds(), "jobs/s"),
        lower(f"{name}_processor", 1e6 * watch.processor() / jobs, "µs/job"),
    ]
