"""What the storm's client submits: the graphs of the crash run, with bodies that take their time."""

from __future__ import annotations

from random import Random
from typing import Any

from msgspec.structs import replace

from asyncjobs import RetryPolicy
from tests.faults import plans
from tests.faults.plans import Planned, Submission

PATIENT = {"retry": RetryPolicy(max_retries=2, base=0.1, factor=1.0, jitter=0.0), "max_interruptions": 50}
"""Options of jobs that no storm makes fail."""


def plan(seed: int, graph: int, size: int, handle: Any, pause: float, patient: bool = False) -> list[list[Submission]]:
    """As ``plans.plan``; a body takes ``pause`` seconds on average.

    :param patient: submit jobs that may be interrupted as often as it comes.
    """
    rng = Random(f"storm:{seed}:{graph}")
    return [
        [
            Submission(tuple(_slowed(job, rng.uniform(0, 2 * pause), patient) for job in submission.jobs))
            for submission in window
        ]
        for window in plans.plan(seed, graph, size, handle)
    ]


def _slowed(job: Planned, pause: float, patient: bool) -> Planned:
    request = replace(job.request, kwargs={**job.request.kwargs, "pause": pause})
    return replace(job, request=replace(request, **PATIENT) if patient else request)
