"""What a poller is told of a job."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from statistics import median
from typing import Any

from asyncjobs.models import Job, JobError, JobStatus, StatusReport

_GROUND_FOR_ESTIMATE = 5.0
"""Percent that a body must have done before the rest is estimated from it."""
_ENOUGH_DURATIONS = 3
"""Earlier jobs of a function that must have completed before the rest is estimated from them."""


def to_be_timed(jobs: Iterable[Job]) -> set[str]:
    """The functions whose durations ``report`` needs: of running jobs whose own progress is no ground yet."""
    return {job.function for job in jobs if job.status is JobStatus.IN_PROGRESS and not _tells_enough(_percent(job))}


def report(
    job: Job,
    now: datetime,
    result: Any,
    durations: Sequence[float] = (),
    *,
    worker_gone: bool = False,
    unreadable: JobError | None = None,
) -> StatusReport:
    """Percent, elapsed and remaining seconds of a snapshot.

    :param result: the decoded one of a completed job.
    :param durations: seconds that earlier jobs of the function took.
    :param worker_gone: it is in progress, and the worker that has it is dead.
    :param unreadable: why the result of a completed job cannot be read.
    """
    percent = _percent(job)
    elapsed = remaining = None
    if job.started_at is not None and job.status is not JobStatus.PENDING:
        elapsed = max(0.0, ((job.finished_at or now) - job.started_at).total_seconds())
        if job.status is JobStatus.IN_PROGRESS and not worker_gone:
            remaining = _rest(elapsed, percent, durations)
    if job.status is JobStatus.COMPLETED:
        percent = 100.0
    return StatusReport(
        job_id=job.id,
        status=job.status,
        percent=percent,
        message="worker gone" if worker_gone else job.progress.message if job.progress is not None else None,
        elapsed=elapsed,
        remaining=remaining,
        attempt=job.attempt,
        result=result,
        error=job.error if job.status is JobStatus.FAILED else unreadable,
        because=job.because,
    )


def unreadable_result(error: Exception) -> JobError:
    """The error of a completed job whose result cannot be read."""
    return JobError(type(error).__name__, f"unreadable result: {error}")


def _rest(elapsed: float, percent: float | None, durations: Sequence[float]) -> float | None:
    if percent is not None and _tells_enough(percent):
        return elapsed * (100.0 - percent) / percent
    if len(durations) >= _ENOUGH_DURATIONS:
        rest = median(durations) - elapsed
        return rest if rest > 0 else None  # it takes longer than the others did: how much, nobody knows
    return None


def _percent(job: Job) -> float | None:
    return None if job.progress is None else job.progress.percent


def _tells_enough(percent: float | None) -> bool:
    return percent is not None and percent >= _GROUND_FOR_ESTIMATE
