"""Turn the stored end of a job into its value, or into the error that explains why there is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asyncjobs.core.codec import decode_result
from asyncjobs.exceptions import (
    JobCancelledError,
    JobExecutionError,
    JobNotCompletedError,
    JobSkippedError,
    WorkerLostError,
)
from asyncjobs.models import JobError, JobResult, JobStatus
from asyncjobs.runtime.context import find_current_job
from asyncjobs.runtime.functions import Functions


def decode_value(result: JobResult, func: Callable[..., Any] | None, functions: Functions) -> Any:
    """Return the value of a completed job.

    :param func: the function whose annotation the value gets. Default: the stored one, if it is known here.
    :raises JobNotCompletedError: it ended otherwise; the subclass shows how.
    """
    if result.status is not JobStatus.COMPLETED:
        raise not_completed(result)
    if result.value is None:
        return None
    if func is None:  # not "or": a callable need not have a truth value
        func = functions.get(result.function, result.job_id)
    return decode_result(result.value, func)


def not_completed(result: JobResult) -> JobNotCompletedError:
    """Return the error of a terminal job that did not complete; in a body, with a hint for the job of that body."""
    error = _not_completed(result)
    if find_current_job() is not None:
        error.raised_in_body()
    return error


def _not_completed(result: JobResult) -> JobNotCompletedError:
    if result.status is JobStatus.CANCELLED:
        return JobCancelledError(result.job_id)
    if result.status is JobStatus.SKIPPED:
        return JobSkippedError(result.job_id, result.because)
    error = result.error or JobError("UnknownError", "no error was recorded")
    kind = WorkerLostError if error.error_type == "WorkerLostError" else JobExecutionError
    return kind(
        result.job_id,
        attempt=result.attempt,
        error_type=error.error_type,
        message=error.message,
        traceback_text=error.traceback_text,
    )
