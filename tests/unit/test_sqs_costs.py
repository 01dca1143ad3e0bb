"""A job on the SQS store costs no more than was aimed at, in calls and in units of capacity, as the guide says."""

from __future__ import annotations

from pathlib import Path

import pytest

from asyncjobs.backends.sqs import known, ready_index
from tests import sqs_costs
from tests.sqs_costs import BATCH, JOBS, Cost, edge_of_a_fan_in, short_job, short_job_of_a_batch

pytestmark = pytest.mark.anyio

CLAIMS = JOBS // BATCH
GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "sqs.md"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Hurried:
    """A clock by which 20 seconds pass between any two looks at it."""

    def __init__(self) -> None:
        self._looks = 0

    def monotonic(self) -> float:
        self._looks += 1
        return 20.0 * self._looks


@pytest.fixture(autouse=True)
def _looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no figure depend on how long it takes."""
    sqs_costs.without_looks(monkeypatch.setattr)
    for module in (known, ready_index):
        monkeypatch.setattr(module, "time", Hurried())


def is_in_the_guide(name: str, found: Cost) -> bool:
    """Return whether the guide says of this what was found, in its table of costs."""
    (row,) = [line for line in GUIDE.read_text().splitlines() if line.startswith(f"| {name} |")]
    figures = [f"{figure:.1f}" for figure in (found.written, found.in_log, found.calls, found.dollars)]
    print(f"| {name} | {' | '.join(figures)} |")
    return row.startswith(f"| {name} | {' | '.join(figures)} |")


async def test_a_short_job() -> None:
    """3 to submit (its row, and two indexes), 2 to claim, 3 to end; and the list of its worker, once a claim."""
    found = await short_job()
    assert round(found.written * JOBS) == 8 * JOBS + CLAIMS
    assert round(found.calls * JOBS) == 3 * JOBS + 2 * CLAIMS
    assert found.written + found.in_log <= 11.2
    assert is_in_the_guide("short job, submitted alone, run in batches of 10", found)


async def test_a_short_job_of_a_batch() -> None:
    """A transaction pays for each row twice, and saves nine calls of ten."""
    found = await short_job_of_a_batch()
    assert round(found.written * JOBS) == 9 * JOBS + CLAIMS
    assert round(found.calls * JOBS) == 2 * JOBS + 3 * CLAIMS
    assert found.written + found.in_log <= 12.2
    assert is_in_the_guide("short job, submitted and run in batches of 10", found)


async def test_an_edge_of_a_fan_in() -> None:
    """2 for its entry; its count is one write for all parents that end together."""
    an_edge = await edge_of_a_fan_in()
    assert an_edge.written <= 2.4
    assert an_edge.calls <= 1.5
    assert is_in_the_guide("edge to one dependent of 40 jobs, beside these", an_edge)
