"""How long an event loop is held up by the store in SQS and DynamoDB, emulated, while a hundred slots are busy.

Twice: in a daemon, which excludes what is loaded from garbage collections, and in a program with a processor of its
own, which does not, since that is for the program to decide.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from msgspec import convert, json

from asyncjobs import JobProcessor
from benchmarks import sqs_busy
from benchmarks.machine import ROOT
from benchmarks.result import Figure, Place, Result
from benchmarks.sqs_busy import LOADED, SLOTS

_NOTE = "the emulator needs a processor, too"


def run(place: Place) -> Result:
    """Milliseconds that the loop was late, while jobs are claimed, run and end a hundred at a time."""
    from tests.aws_emulators import ministack, start_ministack
    from tests.sqs_server import CREDENTIALS

    program = ministack()
    if program is None:
        return Result((), ("not measured, there is no emulator: make bench-sqs installs it",))
    os.environ.update(CREDENTIALS)
    emulator = start_ministack(program)
    seconds = place.pick(20, 5)
    figures = asyncio.run(_in_daemon(emulator.address, seconds, place.folder))
    figures += _embedded(emulator.address, seconds * SLOTS)
    return Result(tuple(figures), (_NOTE,))


async def _in_daemon(endpoint: str, seconds: float, folder: Path) -> list[Figure]:
    settings = sqs_busy.config(endpoint, "lag", create=True)
    async with JobProcessor(settings, enable_daemon=False) as jp:
        measured = await jp.submit_job(sqs_busy.measure, seconds, priority=1)
        # Each takes a second at least, so the slots are busy until it has measured.
        await jp.map_jobs(sqs_busy.wait, [1.0] * int(SLOTS * (seconds + LOADED)))
        with _daemon(endpoint, folder):
            return convert(await measured, list[Figure])


@contextmanager
def _daemon(endpoint: str, folder: Path) -> Generator[None]:
    environment = os.environ | {
        "ASYNCJOBS_BACKEND": "sqs",
        "ASYNCJOBS_SQS_ENDPOINT_URL": endpoint,
        "ASYNCJOBS_SQS_REGION": "us-east-1",
        "ASYNCJOBS_SQS_TABLE": "lag",
        "ASYNCJOBS_SQS_QUEUE_URL": "lag",
        "ASYNCJOBS_SQS_WAIT_TIME": "2",
        "ASYNCJOBS_DAEMON_NUM_WORKERS": str(SLOTS + 1),
        "XDG_STATE_HOME": str(folder),
    }
    command = [sys.executable, "-m", "asyncjobs", "daemon", "start", "--allow", "benchmarks"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()  # what is left of its jobs is of no use, nor is its table
        process.wait()


def _embedded(endpoint: str, jobs: int) -> list[Figure]:
    command = [sys.executable, "-m", "benchmarks.sqs_busy", endpoint, str(jobs)]
    return json.decode(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout, type=list[Figure])
