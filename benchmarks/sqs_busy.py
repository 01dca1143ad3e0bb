"""``python -m benchmarks.sqs_busy ENDPOINT JOBS``: a program with a processor of its own whose hundred slots are busy.

Its event loop is measured, and nothing of tests or scenarios is loaded into it: each garbage collection would visit it.
A daemon runs ``measure`` of this module beside the jobs, and says how late its own loop is.
"""

from __future__ import annotations

import asyncio
import sys

from msgspec import json, to_builtins

from asyncjobs import DaemonConfig, JobProcessor, SQSConfig, gather
from benchmarks.result import Figure
from benchmarks.ticker import Ticker

SLOTS = 100
LOADED = 2.0
"""Seconds after which all slots are busy, and what is imported when it is first used is there."""


async def wait(seconds: float) -> None:
    """Keep a slot."""
    await asyncio.sleep(seconds)


async def measure(seconds: float) -> list[dict[str, object]]:
    """Measure the loop that this runs in, and return figures."""
    await asyncio.sleep(LOADED)
    async with Ticker() as ticker:
        await asyncio.sleep(seconds)
    return to_builtins(ticker.figures("daemon"))


def config(endpoint: str, name: str, *, create: bool) -> SQSConfig:
    """Return the settings of a store in the emulator."""
    return SQSConfig(endpoint_url=endpoint, region="us-east-1", table=name, queue_url=name, wait_time=2, create=create)


async def main(endpoint: str, jobs: str) -> list[Figure]:
    """Submit and run so many jobs, a hundred at a time."""
    async with JobProcessor(config(endpoint, "own", create=True), daemon=DaemonConfig(num_workers=SLOTS)) as jp:
        await gather(*await jp.map_jobs(wait, [0.1] * SLOTS))  # what is loaded when it is first used
        async with Ticker() as submitting:
            handles = await jp.map_jobs(wait, [1.0] * int(jobs))
        async with Ticker() as running:
            await gather(*handles)
    return submitting.figures("submitting") + running.figures("embedded")


if __name__ == "__main__":
    from benchmarks import sqs_busy  # its jobs are stored as those of this module, and not of __main__

    sys.stdout.buffer.write(json.encode(asyncio.run(sqs_busy.main(*sys.argv[1:]))))
