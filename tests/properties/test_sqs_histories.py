"""Random histories of the SQS store, against the rules, and equal to those of the other stores, job by job.

With one shard: several make claims by one object no less strict, and every step of a history cost more calls.
``ASYNCJOBS_TEST_HISTORIES=300`` plays more of them.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import anyio
import pytest

from asyncjobs.backends.sqs.backend import SQSBackend
from asyncjobs.core.requests import Answer
from tests import sqs_server
from tests.conformance.support import Make, comparable, maker
from tests.properties.driver import STEPS, Driver, play
from tests.properties.gate_driver import GateDriver

pytestmark = [
    pytest.mark.slow,
    pytest.mark.untraced,
    pytest.mark.timeout(180),
    pytest.mark.usefixtures("tables_in_second"),
]

SEEDS = range(2_000, 2_000 + int(os.environ.get("ASYNCJOBS_TEST_HISTORIES", "40")))
STEPS_WITH_GATES = 6
"""Each of them has three more beside it."""


def of_a_table() -> Make:
    """Return what makes stores on a table of its own."""
    config = sqs_server.made(shards=1)
    return lambda clock: SQSBackend(config, clock=clock)


class OneAfterAnother(GateDriver):
    """Gives answers that come at the same time in an order: whichever wins, it must be the same one in each store."""

    async def together(self, do: Callable[[Answer], Awaitable[None]], answers: Sequence[Answer]) -> None:
        for answer in answers:
            await do(answer)


def plays(seed: int) -> tuple[type[Driver], int]:
    """Return the driver of a history, and its steps: every second one has gates."""
    return (OneAfterAnother, STEPS_WITH_GATES) if seed % 2 else (Driver, STEPS)


async def compare(seed: int, folder: Path) -> None:
    makers = [of_a_table(), maker("memory", folder), maker("sqlite", folder)]
    driver, steps = plays(seed)
    played = [(make, (await play(make, seed, steps, driver))[0]) for make in makers]
    there, *others = comparable(played)
    for other in others:
        for field in there.__struct_fields__:
            assert getattr(there, field) == getattr(other, field), f"seed {seed}: {field}"


@pytest.mark.parametrize("seed", SEEDS)
def test_the_history_is_that_of_the_rules_and_of_other_stores(seed: int, tmp_path: Path) -> None:
    anyio.run(compare, seed, tmp_path)
