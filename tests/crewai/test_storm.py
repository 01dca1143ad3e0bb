"""Workers are killed at random while crews and flows of every kind run: nothing that was kept is paid again."""

from __future__ import annotations

import gc
import random
import signal
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import pytest
from crewai import Crew

from asyncjobs import JobProcessor, RetryPolicy, SQLiteConfig
from tests.crewai import crews
from tests.crewai.conftest import Model
from tests.crewai.looking import wait_for
from tests.crewai.workers import worker

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
        lost = kills = 0
        while kills < KILLS and not await ended(jp):
            begun = len(model.calls())
            async with worker(config) as process:
                while len(model.calls()) == begun and not await ended(jp):
                    await anyio.sleep(0.05)
                await anyio.sleep(random.Random(kills).uniform(0, 0.6))
                process.send_signal(signal.SIGSTOP)
                await wait_for(lambda: "T (stopped)" in Path(f"/proc/{process.pid}/status").read_text())
                answered = len(set(model.finished())) - sum([await kept(jp, job.id) for job in jobs])
                assert answered <= 2 * len(jobs)  # between the last byte and the commit
                lost += flying(model) + answered
                kills += 1
        async with worker(config):
            outputs = [await job.result(timeout=120) for job in jobs]
    assert all(outputs)
    finished = Counter(model.finished())
    again = sum(finished.values()) - len(finished)
    print(f"{sum(finished.values())} calls for {len(finished)}, {lost} in flight at {kills} kills")
    assert again <= lost
    if options:
        assert log.read_text().splitlines() == ["Holmes"] * 3


def flying(model: Model) -> int:
    """How many calls are neither finished nor left."""
    whats = Counter(call["what"] for call in model.calls())
    return whats["begun"] - whats["finished"] - whats["left"]


async def kept(jp: JobProcessor, job_id: str) -> int:
    """How many answers of a model are committed."""
    page = await jp.backend.read_steps(job_id, limit=100, values=False)
    return sum(step.key.startswith("crewai/llm/") for step in page.steps)


async def ended(jp: JobProcessor) -> bool:
    return all(job.status.terminal for job in await jp.find_jobs())


async def test_two_hundred_crews_leave_nothing_behind(jp: JobProcessor) -> None:
    sizes: list[int] = []
    for n in range(200):
        await (await jp.submit_crew_run(crews.one, {"topic": str(n)}))
        if n == 39:
            threads, alive = threading.active_count(), crews_alive()
        if n >= 39:
            sizes.append(resident())
    print(f"resident pages after 40 crews {sizes[0]}, after 200 {sizes[-1]}, at most {max(sizes)}")
    assert max(sizes) < 1.1 * sizes[0]
    assert crews_alive() == alive == 0
    assert threading.active_count() <= threads


def crews_alive() -> int:
    gc.collect()
    return sum(isinstance(value, Crew) for value in gc.get_objects())


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1])
