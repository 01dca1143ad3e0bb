"""Workers are killed at random while crews and flows of every kind run: nothing that was kept is paid again."""

from __future__ import annotations

import os
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncjobs import JobProcessor, RetryPolicy, SQLiteConfig
from tests.crewai import crews
from tests.crewai.conftest import Model

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(900), pytest.mark.storm, pytest.mark.serial]

KILLS = 8
SOON = RetryPolicy(max_retries=3, base=0.1)


@pytest.mark.parametrize(
    ("kind", "factory"),
    [
        ("crew", crews.three),
        ("crew", crews.asynchronous),
        ("crew", crews.hierarchical),
        ("flow", crews.Story),
    ],
    ids=["sequential", "async_execution", "hierarchical", "flow"],
)
async def test_in_a_storm_only_calls_in_flight_are_paid_twice(
    config: SQLiteConfig, model: Model, tmp_path: Path, kind: str, factory: Any
) -> None:
    log = tmp_path / "tools"
    options: dict[str, Any] = {"kwargs": {"log": str(log)}} if factory is crews.three else {}
    async with JobProcessor(config, enable_daemon=False) as jp:
        submit = jp.submit_crew_run if kind == "crew" else jp.submit_flow_run
        jobs = [
            await submit(factory, {"topic": f"{n} [[slow 0.3]]"}, max_interruptions=50, retry=SOON, **options)
            for n in range(3)
        ]
        in_flight = kills = 0
        while kills < KILLS and not await ended(jp):
            begun = len(model.calls())
            async with worker(config):
                while len(model.calls()) == begun and not await ended(jp):
                    await anyio.sleep(0.05)
                await anyio.sleep(random.Random(kills).uniform(0, 0.6))
                in_flight += flying(model)
                kills += 1
        async with worker(config):
            outputs = [await job.result(timeout=120) for job in jobs]
    assert all(outputs)
    finished = Counter(model.finished())
    again = sum(finished.values()) - len(finished)
    assert again <= in_flight, (again, in_flight)
    if options:
        assert log.read_text().splitlines() == ["Holmes"] * 3
    print(f"{sum(finished.values())} calls for {len(finished)}, {in_flight} in flight at {kills} kills")


def flying(model: Model) -> int:
    """How many calls are neither finished nor left."""
    whats = Counter(call["what"] for call in model.calls())
    return whats["begun"] - whats["finished"] - whats["left"]


async def ended(jp: JobProcessor) -> bool:
    return all(job.status.terminal for job in await jp.find_jobs())


@asynccontextmanager
async def worker(config: SQLiteConfig) -> AsyncIterator[None]:
    """A worker, which is killed in the end."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.crewai.plain_worker", str(config.db_path)]
    async with await anyio.open_process(command, env={**os.environ}) as process:
        try:
            yield
        finally:
            process.send_signal(signal.SIGKILL)


async def test_two_hundred_crews_leave_nothing_behind(jp: JobProcessor) -> None:
    sizes: list[int] = []
    for n in range(200):
        job = await jp.submit_crew_run(crews.one, {"topic": str(n)})
        await job
        if n >= 40:
            sizes.append(resident())
    assert max(sizes) < 1.1 * sizes[0], (sizes[0], max(sizes))


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1])
