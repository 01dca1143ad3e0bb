"""How long the event loop of a daemon on SQS and DynamoDB, emulated, is held up while a hundred slots are busy."""

from __future__ import annotations

import asyncio
import os

from asyncjobs import DaemonConfig, JobProcessor, SQSConfig, gather
from benchmarks.result import Figure, Place, Result
from benchmarks.ticker import Ticker

SLOTS = 100


async def wait(seconds: float) -> None:
    """Keep a slot."""
    await asyncio.sleep(seconds)


def run(place: Place) -> Result:
    """Milliseconds that the loop was late, while jobs are claimed, run and end a hundred at a time."""
    from tests.aws_emulators import ministack, start_ministack
    from tests.sqs_server import CREDENTIALS

    program = ministack()
    if program is None:
        return Result((), ("not measured, there is no emulator: make bench-sqs installs it",))
    os.environ.update(CREDENTIALS)
    emulator = start_ministack(program)
    config = SQSConfig(
        endpoint_url=emulator.address, region="us-east-1", table="lag", queue_url="lag", wait_time=2, create=True
    )
    return Result(tuple(asyncio.run(_run(config, place.pick(1_500, 300)))), ("the emulator needs a processor, too",))


async def _run(config: SQSConfig, jobs: int) -> list[Figure]:
    async with JobProcessor(config, daemon=DaemonConfig(num_workers=SLOTS)) as jp:
        await gather(*await jp.map_jobs(wait, [0.1] * SLOTS))  # what is loaded when it is first used
        async with Ticker() as submitting:
            handles = await jp.map_jobs(wait, [1.0] * jobs)
        async with Ticker() as running:
            await gather(*handles)
    return submitting.figures("submitting") + running.figures("busy")
