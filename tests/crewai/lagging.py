"""A job that runs on the loop of a daemon, and notes how long others hold it up while twenty crews run there."""

from __future__ import annotations

import gc
import time
from contextlib import nullcontext

import anyio

from asyncjobs import JobExecutionError, current_job
from asyncjobs.integrations.crewai import building

CREWS = 20
TOO_LONG = 0.05


async def one_round(number: int, factory: str = "tests.crewai.crews:three") -> tuple[float, int, int]:
    """Run the crews: the longest pause of the loop in seconds, how many were too long, and how many crews failed."""
    pauses: list[float] = []
    failed = 0
    job = current_job()
    text = {"text": "[[words 24]] [[every 0.016]]", "log": "/dev/null"}  # four calls of 0.4 s, one of a tool
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look, pauses)
        topics = [{"topic": f"{number}.{n}"} for n in range(CREWS)]
        for run in [await job.submit_crew_run(factory, topic, kwargs=text, max_retries=0) for topic in topics]:
            try:
                await run
            except JobExecutionError:  # built at the same time as others, which CrewAI may not survive
                failed += 1
        tasks.cancel_scope.cancel()
    return max(pauses), sum(pause > TOO_LONG for pause in pauses), failed


async def look(pauses: list[float]) -> None:
    while True:
        before = time.monotonic()
        await anyio.sleep(0.005)
        pauses.append(time.monotonic() - before - 0.005)


async def without_gate(number: int) -> tuple[float, int, int]:
    """The same, with factories that are called as they come."""
    building._alone = nullcontext
    return await one_round(number)


async def crews_alive() -> int:
    """How many crews are there, in use or not."""
    return sum(type(one).__name__ == "Crew" for one in gc.get_objects())
