"""A job on the SQS store costs no more than was aimed at, in calls and in units of capacity, as the guide says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import sqs_costs
from tests.sqs_costs import Cost, edge_of_a_fan_in, short_job, short_job_of_a_batch

pytestmark = pytest.mark.anyio

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "sqs.md"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _looks(monkeypatch: pytest.MonkeyPatch) -> None:
    sqs_costs.without_looks(monkeypatch.setattr)


def is_in_the_guide(name: str, found: Cost) -> bool:
    """Return whether the guide says of this what was found, in its table of costs."""
    (row,) = [line for line in GUIDE.read_text().splitlines() if line.startswith(f"| {name} |")]
    figures = [f"{figure:.1f}" for figure in (found.written, found.in_log, found.calls, found.dollars)]
    print(f"| {name} | {' | '.join(figures)} |")
    return row.startswith(f"| {name} | {' | '.join(figures)} |")


async def test_a_short_job() -> None:
    found = await short_job()
    assert found.written <= 8.2
    assert found.written + found.in_log <= 11.2
    assert found.calls <= 3.3
    assert is_in_the_guide("short job, submitted alone, run in batches of 10", found)


async def test_a_short_job_of_a_batch() -> None:
    found = await short_job_of_a_batch()
    assert found.written <= 9.1
    assert found.written + found.in_log <= 12.5
    assert found.calls <= 2.5
    assert is_in_the_guide("short job, submitted and run in batches of 10", found)


async def test_an_edge_of_a_fan_in() -> None:
    an_edge = await edge_of_a_fan_in()
    assert an_edge.written <= 4
    assert is_in_the_guide("edge to one dependent of 40 jobs, beside these", an_edge)
