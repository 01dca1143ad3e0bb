"""Programs for several processes on one file: ``python -m tests.faults.storm_scenarios NAME FILE …``."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import anyio

from asyncjobs import DaemonConfig, JobProcessor, SQLiteBackend, SQLiteConfig, gather
from asyncjobs.exceptions import JobProcessorError
from asyncjobs.processor import get_engine
from tests.faults import bodies
from tests.faults.bodies import tell
from tests.faults.scenarios import listen, main, scenario
from tests.faults.storm_bodies import FUNCTIONS, add


@scenario
async def serve(path: str, lease: str, slots: str) -> None:
    """Run what is there, until ``leave``; at ``tell`` say how many jobs it ran, how many transactions it made, and how
    many seconds of processor time it took since it was open."""
    config = DaemonConfig(num_workers=int(slots), lease=float(lease), heartbeat=float(lease) / 3, shutdown_timeout=0)
    async with JobProcessor(SQLiteConfig(db_path=path), daemon=config, functions=FUNCTIONS) as jp:
        outcomes = jp.daemon.runner.recorder.outcomes
        recorded, ended = outcomes._log, 0

        def count(end: Any, result: Any, *more: Any) -> None:
            nonlocal ended
            ended += 1
            recorded(end, result, *more)

        outcomes._log = count
        writer = get_engine(jp).backend._writer
        commits, before = writer.commits, time.process_time()
        tell("opened")
        while await listen() == "tell":
            tell("served", ended, writer.commits - commits, time.process_time() - before)


@scenario
async def stop_in_transaction(path: str) -> None:
    """At a line, submit a job, and stop this process (SIGSTOP) inside of its transaction; say when it is stored."""
    armed = False

    def hook(point: str) -> None:
        nonlocal armed
        if armed and point == "before-commit":
            armed = False
            os.kill(os.getpid(), signal.SIGSTOP)

    backend = SQLiteBackend(SQLiteConfig(db_path=path), hook=hook)
    async with JobProcessor(backend, enable_daemon=False) as jp:
        tell("opened")
        await listen()
        armed = True
        tell("stored", await jp.submit_job(bodies.nothing, job_id="inside"))
        await listen()
        jp._submitted = 0


@scenario
async def work_for(path: str, seconds: str) -> None:
    """Submit small graphs and run whatever is there, for so long; say what it took after a third, and at the end.

    ``took RESIDENT DESCRIPTORS THREADS``, ``error TEXT`` for what any call raised, ``done JOBS``.
    """
    done = 0
    async with JobProcessor(SQLiteConfig(db_path=path), daemon=DaemonConfig(num_workers=8), functions=FUNCTIONS) as jp:
        tell("opened")
        await listen()
        began = time.monotonic()

        async def submit_and_await() -> None:
            nonlocal done
            while time.monotonic() - began < float(seconds):
                try:
                    first = await jp.submit_job(add, done, 1)
                    second = await jp.submit_job(add, first, 1)
                    third = await jp.submit_job(bodies.nothing, depends_on=[second])
                    await gather(second, third)
                except JobProcessorError as error:
                    tell("error", error)
                done += 3

        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(submit_and_await)
            for share in (1 / 3, 1.0):
                await anyio.sleep(max(0.0, began + share * float(seconds) - time.monotonic()))
                tell("took", *footprint())
        tell("done", done)
        await jp.drain()


def footprint() -> tuple[int, int, int]:
    """Resident KiB without mapped files, open descriptors, threads of this process."""
    fields = Path("/proc/self/statm").read_text().split()
    own = (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE") // 1024
    return own, len(os.listdir("/proc/self/fd")), threading.active_count()


if __name__ == "__main__":
    main(*sys.argv[1:])
