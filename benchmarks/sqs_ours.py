"""``python -m benchmarks.sqs_ours work|submit ENDPOINT NAME FILE COUNT``: jobs of this package in SQS and DynamoDB.

``sqs_celery.py`` and ``sqs_taskiq.py`` are the same for others, and what ``scenarios/sqs.py`` says to one it says to
all: each writes ``ready``, waits for a line, submits or works, and ends when there are no more lines. A job writes to
FILE when it ran.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time

from asyncjobs import DaemonConfig, JobProcessor, SQSConfig
from benchmarks.jobs import SLOTS

WAIT = 2
"""Seconds that a poll waits, here and in the programs of others: none ends before its poll is over."""


async def ran(file: str) -> None:
    """Write down when this ran, and do nothing else."""
    log = os.open(file, os.O_WRONLY | os.O_APPEND)
    os.write(log, b"%d\n" % time.monotonic_ns())
    os.close(log)


async def line() -> None:
    """Wait for what the scenario says."""
    await asyncio.to_thread(sys.stdin.readline)


def say(text: str) -> None:
    """Tell the scenario."""
    print(text, flush=True)


async def _submit(config: SQSConfig, file: str, count: int) -> None:
    logging.getLogger("asyncjobs").setLevel(logging.ERROR)  # that jobs are left to other processes is meant so
    async with JobProcessor(config, enable_daemon=False) as jp:
        say("ready")
        await line()
        await jp.map_jobs(ran, [file] * count)
    say("sent")
    await line()


async def _work(config: SQSConfig) -> None:
    say("ready")
    await line()
    async with JobProcessor(config, daemon=DaemonConfig(num_workers=SLOTS), functions=[ran]):
        await line()


async def main(role: str, endpoint: str, name: str, file: str, count: str) -> None:
    """Submit, or work until there are no more lines."""
    config = SQSConfig(
        endpoint_url=endpoint, region="us-east-1", table=name, queue_url=name, wait_time=WAIT, create=role == "submit"
    )
    await (_submit(config, file, int(count)) if role == "submit" else _work(config))


if __name__ == "__main__":
    from benchmarks import sqs_ours  # its jobs are stored as those of this module, and not of __main__

    asyncio.run(sqs_ours.main(*sys.argv[1:]))
