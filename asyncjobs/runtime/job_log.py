"""Log the steps of jobs, one record each, with the fields ``job_id``, ``attempt``, ``group``, ``worker_id``.

A record is built only if its level is enabled: an attempt costs two level checks.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Any

from asyncjobs.backends.base import AttemptEnd, AttemptRef, ClaimedJob, NewJob
from asyncjobs.core.state import Stale
from asyncjobs.models import JobStatus, OutcomeKind
from asyncjobs.plurals import counted
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs.jobs")

_AFTER = {
    OutcomeKind.SUCCEEDED: (JobStatus.COMPLETED, JobStatus.CANCELLED),
    OutcomeKind.FAILED: (JobStatus.FAILED, JobStatus.PENDING, JobStatus.CANCELLED),
    OutcomeKind.CANCELLED: (JobStatus.CANCELLED,),
    OutcomeKind.RELEASED: (JobStatus.PENDING, JobStatus.CANCELLED),
    OutcomeKind.INTERRUPTED: (JobStatus.PENDING, JobStatus.FAILED, JobStatus.CANCELLED),
}
"""The possible statuses after an outcome; a stored cancel request makes the job ``cancelled``."""
_WORDS = {
    JobStatus.COMPLETED: "completed",
    JobStatus.FAILED: "failed",
    JobStatus.CANCELLED: "was cancelled",
    JobStatus.PENDING: "goes back to pending and will run again",
}


def log_submitted(jobs: Sequence[NewJob]) -> None:
    """Log that jobs were stored."""
    if not logger.isEnabledFor(logging.INFO):
        return
    for job in jobs[:3]:
        logger.info("job %r submitted: %s", job.id, job.function, extra={"job_id": job.id, "group": job.group})
    if len(jobs) > 3:
        logger.info("… and %s submitted with them", counted(len(jobs) - 3, "more job"))


def log_answered(job_id: str, group: str | None, status: JobStatus, by: str | None) -> None:
    """Log that a gate has ended by an answer or a rejection from this process."""
    verb = "answered" if status is JobStatus.COMPLETED else "rejected"
    given = "" if by is None else f" by {by!r}"
    logger.info("gate %r was %s%s", job_id, verb, given, extra={"job_id": job_id, "group": group})


def log_started(job: ClaimedJob) -> None:
    """Log that an attempt begins; on asyncio in the next iteration of the loop, after its submission was logged.

    A claim joins the transaction of a submission, and gets its response first.
    """
    if logger.isEnabledFor(logging.INFO):
        asyncio: Any = sys.modules.get("asyncio")
        loop: Any = None if asyncio is None else asyncio._get_running_loop()
        if loop is None:
            _log_start(job)
        else:
            loop.call_soon(_log_start, job)


def _log_start(job: ClaimedJob) -> None:
    logger.info("job %r started: %s", job.attempt.job_id, job.function, extra=_fields(job.attempt, job.group))


def log_outcome(end: AttemptEnd, result: JobStatus | Stale, group: str | None, *, again: bool = False) -> None:
    """Log that an outcome was recorded, or refused.

    :param group: the group of its job, if known.
    :param again: whether it was sent before without a response: if it seems too late, the first write may have
        succeeded.
    """
    attempt, outcome = end.attempt, end.outcome
    if again and isinstance(result, Stale) and _is_ours(result, end):
        result = result.status
    if isinstance(result, Stale):
        logger.warning(
            "job %r: the outcome of attempt %d came too late and was refused",
            attempt.job_id,
            attempt.attempt,
            extra=_fields(attempt, group),
        )
    elif outcome.kind is OutcomeKind.FAILED and outcome.error is not None and result is not JobStatus.CANCELLED:
        error = outcome.error
        final = result is JobStatus.FAILED
        level = logging.ERROR if final else logging.WARNING
        logger.log(
            level,
            "job %r %s at attempt %d: %s: %s",
            attempt.job_id,
            "failed" if final else "will be retried after it failed",
            attempt.attempt,
            error.error_type,
            error.message,
            extra={**_fields(attempt, group), "traceback_text": error.traceback_text},
        )
    elif logger.isEnabledFor(logging.INFO):
        logger.info("job %r %s", attempt.job_id, _WORDS.get(result, f"is {result}"), extra=_fields(attempt, group))


def _is_ours(result: Stale, end: AttemptEnd) -> bool:
    """Return whether the store already has the result of this outcome: the first write succeeded, and counts."""
    return result.attempt == end.attempt.attempt and result.status in _AFTER[end.outcome.kind]


def _fields(attempt: AttemptRef, group: str | None) -> dict[str, object]:
    fields: dict[str, object] = {
        "job_id": attempt.job_id,
        "attempt": attempt.attempt,
        "worker_id": attempt.worker,
    }
    if group is not None:
        fields["group"] = group
    return fields
