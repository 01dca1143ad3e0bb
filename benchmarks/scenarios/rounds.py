"""Round trips: submit a job, await its result, then the next."""

from __future__ import annotations

import asyncio
import time

from asyncjobs import JobProcessor
from benchmarks.jobs import noop, processor
from benchmarks.result import Place, Result, Synchronous, lower, quantile


def run(place: Place, synchronous: Synchronous = "NORMAL") -> Result:
    """Milliseconds of a round trip, and of a submit alone (nothing else going on)."""
    return asyncio.run(_run(place, synchronous))


async def _run(place: Place, synchronous: Synchronous) -> Result:
    submits: list[float] = []
    async with processor(place.folder, synchronous=synchronous) as jp:
        rounds = await round_trips(jp, place.pick(3_000, 1_500))
        for value in range(place.pick(1_000, 500)):
            began = time.perf_counter()
            handle = await jp.submit_job(noop, value)
            submits.append(time.perf_counter() - began)
            await handle
    return Result(
        (
            lower("p50", 1e3 * quantile(rounds, 0.5), "ms"),
            lower("p99", 1e3 * quantile(rounds, 0.99), "ms"),
            lower("submit_p50", 1e3 * quantile(submits, 0.5), "ms"),
            lower("submit_p99", 1e3 * quantile(submits, 0.99), "ms"),
        )
    )


async def round_trips(jp: JobProcessor, jobs: int) -> list[float]:
    """Seconds of each."""
    rounds: list[float] = []
    for value in range(jobs):
        began = time.perf_counter()
        await (await jp.submit_job(noop, value))
        rounds.append(time.perf_counter() - began)
    return rounds
