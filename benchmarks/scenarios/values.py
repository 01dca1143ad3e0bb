"""Jobs whose argument and result are large: what a kilobyte more costs."""

from __future__ import annotations

import asyncio
import time

from benchmarks.jobs import noop, processor
from benchmarks.result import Figure, Place, Result, lower, quantile

_SIZES = {"4kB": (4_000, 2_000), "100kB": (100_000, 400), "1MB": (1_000_000, 60)}
"""By name: characters of the text, and jobs in a full run."""


def run(place: Place) -> Result:
    """Milliseconds from submit to result, one at a time, of jobs that return the text that they got."""
    return asyncio.run(_run(place))


async def _run(place: Place) -> Result:
    figures: list[Figure] = []
    async with processor(place.folder) as jp:
        for name, (size, jobs) in _SIZES.items():
            text, taken = "x" * size, list[float]()
            for _ in range(place.pick(jobs, jobs // 4)):
                began = time.perf_counter()
                if await (await jp.submit_job(noop, text)) != text:
                    raise AssertionError("another text came back")
                taken.append(time.perf_counter() - began)
            figures.append(lower(f"echo_{name}", 1e3 * quantile(taken, 0.5), "ms"))
    return Result(tuple(figures))
