"""The storm of steps: processes that run jobs with steps are killed with SIGKILL, and others started in their place."""

from __future__ import annotations

import asyncio
import select
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

from msgspec import Struct, field

from asyncjobs import JobProcessor, JobStatus, RetryPolicy, SQLiteConfig
from tests.faults.step_bodies import many_steps, many_steps_sync
from tests.faults.storm import Heard

PROGRAM = "tests.faults.step_program"
RETRY = RetryPolicy(max_retries=0, base=0.1, cap=1.0)


class Weather(Struct, frozen=True, kw_only=True):
    """How bad it is. ``pause`` is what a function of a step takes on average, in seconds."""

    jobs: int
    steps: int
    kills: int
    pause: float = 0.03
    processes: int = 3
    isolation: bool = False
    defect: str = ""
    longest: float = 60.0


class Storm(Struct):
    """What came of it. ``again`` are steps that ran although their value was committed."""

    problems: list[str] = field(default_factory=list)
    kills: int = 0
    runs: int = 0
    repeated: int = 0
    attempts: int = 0
    again: list[str] = field(default_factory=list)
    seconds: float = 0.0


def storm(folder: Path, seed: int, weather: Weather) -> Storm:
    """Let it rage, and compare what ran, what was committed and what came out."""
    draw, came, began = Random(seed), Storm(), time.monotonic()
    path, ledger = folder / "jobs.db", folder / "ledger"
    asyncio.run(_submit(path, weather))
    children = [_start(path, ledger, weather) for _ in range(weather.processes)]
    try:
        while came.kills < weather.kills:
            if time.monotonic() - began > weather.longest:
                came.problems.append(f"only {came.kills} kills in {weather.longest:g} s")
                break
            _kill_one(children, path, ledger, weather, draw)
            came.kills += 1
        asyncio.run(_check_results(path, weather, came))
    finally:
        for child in children:
            child.__exit__(None, None, None)
    _check_ledger(ledger, came)
    came.seconds = time.monotonic() - began
    return came


async def _submit(path: Path, weather: Weather) -> None:
    async with JobProcessor(SQLiteConfig(db_path=path), enable_daemon=False) as jp:
        for n in range(weather.jobs):
            options: dict[str, Any] = {"job_id": f"j{n}", "max_interruptions": 50, "retry": RETRY}
            if weather.isolation and n % 4 == 0:
                options["isolation"] = "process"
            body: Any = many_steps_sync if n % 3 == 0 else many_steps
            await jp.submit_job(body, weather.steps, weather.pause, **options)


def _start(path: Path, ledger: Path, weather: Weather) -> Heard:
    return Heard(PROGRAM, "daemon", path, ledger=ledger, defect=weather.defect)


def _kill_one(children: list[Heard], path: Path, ledger: Path, weather: Weather, draw: Random) -> None:
    """Kill one, a moment after it has kept something, or has told nothing for a while; and start another one."""
    left = draw.randint(1, 4)
    victim = draw.randrange(len(children))
    until = time.monotonic() + 2.0
    while left and time.monotonic() < until:
        ready = select.select(children, [], [], 0.2)[0]
        for child in ready:
            for line in child.lines() or []:
                if line[0] == "kept" and left:
                    left -= 1
                    victim = children.index(child)
    time.sleep(draw.uniform(0, weather.pause))  # anywhere in the next step
    children[victim].kill()
    children[victim].__exit__(None, None, None)
    children[victim] = _start(path, ledger, weather)


async def _check_results(path: Path, weather: Weather, came: Storm) -> None:
    async with JobProcessor(SQLiteConfig(db_path=path), enable_daemon=False) as jp:
        await jp.drain(timeout=weather.longest)
        for n in range(weather.jobs):
            job = await jp.get_job(f"j{n}")
            came.attempts += job.attempt
            if job.status is not JobStatus.COMPLETED:
                came.problems.append(f"{job.id} is {job.status}: {job.error}")
            elif await jp.handle(job.id) != [[job.id, step] for step in range(weather.steps)]:
                came.problems.append(f"the result of {job.id} is wrong")
            if await jp.backend.count_steps(job.id) != weather.steps:
                came.problems.append(f"{job.id} has not kept {weather.steps} steps")


def _check_ledger(ledger: Path, came: Storm) -> None:
    """No step runs after its value was committed: the line of a commit comes before that of a later run."""
    committed: set[tuple[str, str]] = set()
    runs: Counter[tuple[str, str]] = Counter()
    for line in ledger.read_text().splitlines():
        kind, job_id, attempt, _, key = line.split()
        if kind == "R":
            runs[job_id, key] += 1
            if (job_id, key) in committed:
                came.again.append(f"{key} of {job_id} ran in attempt {attempt}, after its value was committed")
        elif kind == "C":
            committed.add((job_id, key))
    came.runs = runs.total()
    came.repeated = sum(count - 1 for count in runs.values())
