"""Bodies with steps for the fault tests. Each function of a step tells the ledger that it ran, whatever is stored."""

from __future__ import annotations

import random
import threading
import time
from typing import Any

import anyio

from asyncjobs import current_job
from tests.faults.bodies import note

INSIDE, BEFORE = "inside", "before"


def _stay(point: str) -> None:
    """Stand still in the first attempt, until the process is killed."""
    job = current_job()
    if job.attempt == 1:
        note("P", job.id, job.attempt, point)
        threading.Event().wait()


def first() -> str:
    note("R", current_job().id, current_job().attempt, "first")
    return "first value"


def second(point: str) -> bytes:
    note("R", current_job().id, current_job().attempt, "second")
    if point == INSIDE:
        _stay(INSIDE)
    return b"second value" * 10_000  # so large that the writer's thread commits it


async def second_async(point: str) -> bytes:
    return second(point)


async def two_steps(point: str) -> list[Any]:
    job = current_job()
    one = await job.step("first", first)
    if point == BEFORE:
        _stay(BEFORE)
    return [one, len(await job.step("second", second_async, point))]


async def two_steps_in_threads(point: str) -> list[Any]:
    job = current_job()
    one = await job.step("first", first)
    if point == BEFORE:
        _stay(BEFORE)
    return [one, len(await job.step("second", second, point))]


def two_steps_sync(point: str) -> list[Any]:
    job = current_job()
    one = job.step_sync("first", first)
    if point == BEFORE:
        _stay(BEFORE)
    return [one, len(job.step_sync("second", second, point))]


BODIES = {"async": two_steps, "step in a thread": two_steps_in_threads, "thread": two_steps_sync}


# -- of the storm


def work(n: int, pause: float) -> list[Any]:
    job = current_job()
    note("R", job.id, job.attempt, f"s{n}")
    time.sleep(pause * random.uniform(0.5, 1.5))
    return [job.id, n]


async def work_async(n: int, pause: float) -> list[Any]:
    job = current_job()
    note("R", job.id, job.attempt, f"s{n}")
    await anyio.sleep(pause * random.uniform(0.5, 1.5))
    return [job.id, n]


async def many_steps(count: int, pause: float) -> list[Any]:
    job = current_job()
    return [await job.step(f"s{n}", work if n % 2 else work_async, n, pause) for n in range(count)]


def many_steps_sync(count: int, pause: float) -> list[Any]:
    job = current_job()
    return [job.step_sync(f"s{n}", work, n, pause) for n in range(count)]


FUNCTIONS = (*BODIES.values(), many_steps, many_steps_sync)
