"""Turn the stored end of a job into its value, or into the error that explains why it has none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from asyncjobs.checks import is_a
from asyncjobs.core.codec import decode_result
from asyncjobs.core.codec.callables import result_reader
from asyncjobs.core.gates import FUNCTION, NOT_ANSWERED, REJECTED
from asyncjobs.exceptions import (
    AnswerTimeoutError,
    JobCancelledError,
    JobExecutionError,
    JobNotCompletedError,
    JobSkippedError,
    RejectedError,
    WorkerLostError,
)
from asyncjobs.models import JobError, JobResult, JobStatus
from asyncjobs.runtime.answer_types import AnswerType, ReadBy
from asyncjobs.runtime.context import find_current_job
from asyncjobs.runtime.functions import Functions


def decode_value(result: JobResult, func: ReadBy | None, functions: Functions) -> Any:
    """Return the value of a completed job.

    :param func: the function whose annotation restores the value. Default: the stored one, if it is known here; for a
        gate, the type that this process asked for.
    :raises JobNotCompletedError: it ended otherwise; the subclass shows how.
    """
    if func is None:  # not "or": a callable need not have a truth value
        asked = functions.answers.find(result.job_id) if result.function == FUNCTION else None
        func = functions.get(result.function, result.job_id) if asked is None else asked
    return read_value(result, func)


def read_value(result: JobResult, func: ReadBy | None) -> Any:
    """Return the value of a completed job, with records as plain dicts where their type is unknown.

    :raises JobNotCompletedError: it ended otherwise; the subclass shows how.
    """
    if result.status is not JobStatus.COMPLETED:
        raise not_completed(result)
    if result.value is None:
        return None
    if func is None:
        func = result_reader(result.function)
    if is_a(func, AnswerType):  # not isinstance, which asks a callable of the program for ``__class__``
        return func.read(result.value)
    return decode_result(result.value, cast("Callable[..., Any] | None", func))


def not_completed(result: JobResult) -> JobNotCompletedError:
    """Return the error for a terminal job that did not complete; in a body, with a hint for the job of that body."""
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
    if result.function == FUNCTION:  # an error of a body may have the same name
        if error.error_type == REJECTED:
            return RejectedError(result.job_id, reason=error.message, by=result.answered_by)
        if error.error_type == NOT_ANSWERED:
            return AnswerTimeoutError(result.job_id, message=error.message)
    kind = WorkerLostError if error.error_type == "WorkerLostError" else JobExecutionError
    return kind(
        result.job_id,
        attempt=result.attempt,
        error_type=error.error_type,
        message=error.message,
        traceback_text=error.traceback_text,
    )
