"""What the storm's client submits: the graphs of the crash run, with bodies that take their time."""

from __future__ import annotations

from random import Random
from typing import Any

from msgspec.structs import replace

from tests.faults import plans
from tests.faults.plans import Planned, Submission


def plan(seed: int, graph: int, size: int, handle: Any, pause: float) -> list[list[Submission]]:
    """As ``plans.plan``; a body takes ``pause`` seconds on average."""
    rng = Random(f"storm:{seed}:{graph}")
    return [
        [Submission(tuple(_slowed(job, rng.uniform(0, 2 * pause)) for job in submission.jobs)) for submission in window]
        for window in plans.plan(seed, graph, size, handle)
    ]


def _slowed(job: Planned, pause: float) -> Planned:
    request = job.request
    return replace(job, request=replace(request, kwargs={**request.kwargs, "pause": pause}))
