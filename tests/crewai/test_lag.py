"""The event loop of a daemon goes on while twenty crews run in its process."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from asyncjobs import JobProcessor, SQLiteConfig
from tests.crewai import lagging
from tests.crewai.conftest import Model
from tests.crewai.test_environment import start

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300), pytest.mark.storm, pytest.mark.serial]

PROMISED = 0.05
"""Seconds, in the median of five rounds, on a machine with two cores that does nothing else."""
ROUNDS = 5


async def longest_pauses(config: SQLiteConfig, body: Callable[..., Any], *arguments: str) -> tuple[float, float]:
    """The longest pause of a round, in a daemon that is started with these arguments; and in this process, which does
    nothing meanwhile: the machine's own. Medians."""
    rounds: list[tuple[float, int, int]] = []
    ours: list[float] = []
    async with JobProcessor(config, enable_daemon=False) as jp:
        async with start(config, "--allow", "tests.crewai", *arguments) as daemon:
            for number in range(ROUNDS):
                pauses: list[float] = []
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(lagging.look, pauses)
                    job = await jp.submit_job(body, number, max_retries=0)
                    rounds.append(await job.result(timeout=60))
                    tasks.cancel_scope.cancel()
                ours.append(max(pauses))
            daemon.terminate()
            await daemon.wait()
    longest, machine = statistics.median(pause for pause, _, _ in rounds), statistics.median(ours)
    print(
        f"{body.__name__} {' '.join(arguments)}: median {1000 * longest:.0f} ms, of which the machine's may be "
        f"{1000 * machine:.0f} ms; "
        + ", ".join(f"{1000 * pause:.0f} ms ({many} > 50 ms)" for pause, many, _ in rounds)
        + f"; crews that failed: {sum(failed for _, _, failed in rounds)}"
    )
    return longest, machine


async def test_a_daemon_is_held_up_by_no_more_than_three_times_of_what_is_promised(
    config: SQLiteConfig, model: Model
) -> None:
    """Beside it, as figures: without preload, whose first round imports CrewAI, and without the gate."""
    preload = "--preload", "crewai", "--preload", "tests.crewai.crews"
    longest, machine = await longest_pauses(config, lagging.one_round, *preload)
    await longest_pauses(config, lagging.one_round)
    await longest_pauses(config, lagging.without_gate, *preload)
    assert longest < 3 * PROMISED + machine
