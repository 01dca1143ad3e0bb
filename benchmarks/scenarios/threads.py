"""Plain functions that block: 200 jobs of 20 ms in 32 slots."""

from __future__ import annotations

import asyncio
import time

from asyncjobs import gather
from benchmarks.jobs import SLOTS, block, processor
from benchmarks.result import Place, Result, lower

JOBS = 200
SECONDS = 0.02


def run(place: Place) -> Result:
    """Times the ideal, in which every slot is busy until too few jobs are left."""
    return asyncio.run(_run(place))


async def _run(place: Place) -> Result:
    ideal = -(-JOBS // SLOTS) * SECONDS
    async with processor(place.folder) as jp:
        began = time.perf_counter()
        await gather(*await jp.map_jobs(block, [SECONDS] * JOBS))
        cold = time.perf_counter() - began
        began = time.perf_counter()
        await gather(*await jp.map_jobs(block, [SECONDS] * JOBS))
        warm = time.perf_counter() - began
    return Result((lower("times_ideal", cold / ideal, "×"), lower("times_ideal_again", warm / ideal, "×")))
