"""What a poller is told of a job."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from asyncjobs.models import Job, JobStatus, StatusReport

_GROUND_FOR_ESTIMATE = 5.0
"""Percent that a body must have done before the rest is estimated from it."""


def report(job: Job, now: datetime, result: Any) -> StatusReport:
    """Percent, elapsed and remaining seconds of a snapshot; ``result`` is the decoded one of a completed job."""
    percent = job.progress.percent if job.progress is not None else None
    elapsed = remaining = None
    if job.started_at is not None and job.status is not JobStatus.PENDING:
        elapsed = max(0.0, ((job.finished_at or now) - job.started_at).total_seconds())
        if job.status is JobStatus.IN_PROGRESS and percent is not None and percent >= _GROUND_FOR_ESTIMATE:
            remaining = elapsed * (100.0 - percent) / percent
    if job.status is JobStatus.COMPLETED:
        percent = 100.0
    return StatusReport(
        job_id=job.id,
        status=job.status,
        percent=percent,
        message=job.progress.message if job.progress is not None else None,
        elapsed=elapsed,
        remaining=remaining,
        attempt=job.attempt,
        result=result,
        error=job.error if job.status is JobStatus.FAILED else None,
        because=job.because,
    )
