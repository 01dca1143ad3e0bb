"""Steps: what one costs in bodies on the loop, in threads and in child processes, beside one submit."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from asyncjobs import current_job
from benchmarks.jobs import noop, processor
from benchmarks.result import Figure, Place, Result, lower, quantile

PEER = "ASYNCJOBS_DBOS"
"""The variable with the Python of an environment that has DBOS; without it, only this package is measured."""
PEER_PROGRAM = Path(__file__).parents[1] / "dbos_steps.py"


def run(place: Place) -> Result:
    """Milliseconds of a step that returns a number at once, each awaited before the next begins."""
    return asyncio.run(_run(place))


async def number(n: int) -> int:
    """Do nothing, on the loop."""
    return n


def number_sync(n: int) -> int:
    """Do nothing, in a thread."""
    return n


async def steps(count: int) -> list[float]:
    """Return the seconds of each step whose function is awaited."""
    return await _timed(count, number)


async def steps_in_threads(count: int) -> list[float]:
    """Return the seconds of each step whose function runs in a thread, of a body on the loop."""
    return await _timed(count, number_sync)


async def _timed(count: int, func: Callable[[int], Any]) -> list[float]:
    job, seconds = current_job(), list[float]()
    for n in range(count):
        began = time.perf_counter()
        await job.step(f"step/{n}", func, n)
        seconds.append(time.perf_counter() - began)
    return seconds


def steps_sync(count: int) -> list[float]:
    """Return the seconds of each step of a plain body."""
    job, seconds = current_job(), list[float]()
    for n in range(count):
        began = time.perf_counter()
        job.step_sync(f"step/{n}", number_sync, n)
        seconds.append(time.perf_counter() - began)
    return seconds


async def _run(place: Place) -> Result:
    count = place.pick(1_000, 300)
    figures: list[Figure] = []
    async with processor(place.folder) as jp:
        submits: list[float] = []
        for value in range(count):
            began = time.perf_counter()
            handle = await jp.submit_job(noop, value)
            submits.append(time.perf_counter() - began)
            await handle
        figures += _figures("submit", submits)
        for name, body, isolation in (
            ("async", steps, "thread"),
            ("async_in_thread", steps_in_threads, "thread"),
            ("thread", steps_sync, "thread"),
            ("process", steps, "process"),
            ("process_plain", steps_sync, "process"),
        ):
            job = await jp.submit_job(body, count, isolation=isolation)
            figures += _figures(name, await job)
    peer = os.environ.get(PEER)
    if peer is None:
        return Result(tuple(figures), (f"DBOS was not measured: {PEER} names no Python that has it",))
    done = await asyncio.to_thread(_run_peer, peer, place.folder, count)
    return Result((*figures, *_figures("dbos", done)))


def _figures(name: str, seconds: list[float]) -> list[Figure]:
    return [lower(f"{name}_p{q}", 1e3 * quantile(seconds, q / 100), "ms") for q in (50, 99)]


def _run_peer(python: str, folder: Path, count: int) -> list[float]:
    command = [python, str(PEER_PROGRAM), str(folder / "dbos.db"), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    return json.loads(done.stdout.splitlines()[-1])
