"""Memory: of jobs that only the store knows, and of jobs whose handles the program holds."""

from __future__ import annotations

import asyncio
import gc
import logging

from asyncjobs import JobProcessor, gather
from benchmarks.jobs import noop, processor
from benchmarks.machine import memory, peak_memory
from benchmarks.result import Place, Result, lower

_AT_ONCE = 1_000
_WARM = 20_000


def pending(place: Place) -> Result:
    """Bytes per job that is stored, pending, and not held by anybody, in a process that runs none.

    Page caches have a limit; so there is the growth from a warm process to the first and to the second size, and the
    slope between these two, which is what another million jobs would cost.
    """
    logging.disable(logging.WARNING)  # that jobs are left unfinished is the point
    return asyncio.run(_pending(place))


async def _pending(place: Place) -> Result:
    few, many = place.pick(100_000, 20_000), place.pick(500_000, 100_000)
    async with processor(place.folder, daemon=False) as jp:
        await _submit(jp, _WARM)
        base = memory()
        await _submit(jp, few)
        first = memory()
        await _submit(jp, many - few)
        second = memory()
        for_all = (second.own - base.own) / many
        slope = (second.own - first.own) / (many - few)
        mapped = (second.resident - second.own - (base.resident - base.own)) / many
    return Result(
        (
            lower("bytes_per_job_first", (first.own - base.own) / few, "B"),
            lower("bytes_per_job", for_all, "B"),
            lower("bytes_per_job_slope", slope, "B"),
            lower("mapped_bytes_per_job", mapped, "B"),
        ),
        (f"growth from a warm process to {few:,} and {many:,} pending jobs",),
    )


async def _submit(jp: JobProcessor, jobs: int) -> None:
    for first in range(0, jobs, _AT_ONCE):
        await jp.map_jobs(noop, range(first, first + _AT_ONCE))
    gc.collect()


def held(place: Place) -> Result:
    """Resident memory once 20,000 jobs have run, their handles still held."""
    return asyncio.run(_held(place))


async def _held(place: Place) -> Result:
    async with processor(place.folder) as jp:
        before = memory()
        handles = await jp.map_jobs(noop, range(20_000))
        await gather(*handles)
        after = memory()
    megabyte = 1 << 20
    return Result(
        (
            lower("resident", after.resident / megabyte, "MB"),
            lower("resident_own", after.own / megabyte, "MB"),
            lower("resident_before", before.resident / megabyte, "MB"),
            lower("resident_peak", peak_memory() / megabyte, "MB"),
        )
    )
