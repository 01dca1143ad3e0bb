"""Turn problem documents into the errors that the same mistake raises in process, by their ``code``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from msgspec import DecodeError, ValidationError, json

from asyncjobs.client.answers import SentProblem
from asyncjobs.exceptions import (
    AnswerTimeoutError,
    BackendError,
    ConfigurationError,
    ConversionError,
    CorruptValueError,
    CyclicDependencyError,
    DuplicateJobError,
    JobCancelledError,
    JobConflictError,
    JobExecutionError,
    JobNotFoundError,
    JobProcessorError,
    JobSkippedError,
    JobStateError,
    NotSerializableError,
    RejectedError,
    SubmissionError,
    UnknownDependencyError,
    WorkerLostError,
)
from asyncjobs.models import JobStatus


def parse_problem(content: bytes) -> SentProblem | None:
    """Return the problem document of a response, or None if it is not one of asyncjobs."""
    try:
        return json.decode(content, type=SentProblem)
    except (DecodeError, ValidationError, UnicodeDecodeError):
        return None


def build_error(problem: SentProblem, status: int) -> Exception:
    """Return the error for a problem; without a matching class, a ``JobProcessorError`` with the problem's ``code``."""
    made = _MAKERS.get(problem.code)
    if made is not None:
        try:
            return made(problem, problem.details)
        except (KeyError, TypeError, ValueError):
            pass  # a server of another version: details that the class needs are missing
    kind = {422: SubmissionError, 503: BackendError}.get(status, JobProcessorError)
    error = kind(problem.detail or problem.code, hint=_HINTS.get(problem.code, problem.hint))
    error.code = problem.code
    return error


_HINTS = {"unauthorized": 'JobsClient(base_url, token="…") with a token that the server knows'}
"""Hints that replace those of the server, which are for browsers or operators."""

_Details = dict[str, Any]


def _configuration(problem: SentProblem, details: _Details) -> Exception:
    field = str(details.get("field") or "request")
    return ConfigurationError(field, allowed=details.get("allowed"), hint=problem.hint, problem=problem.detail)


def _failed(kind: type[JobExecutionError]) -> Callable[[SentProblem, _Details], Exception]:
    def make(problem: SentProblem, details: _Details) -> Exception:
        return kind(
            details["job_id"],
            attempt=int(details["attempt"]),
            error_type=details["error_type"],
            message=details["message"],
            traceback_text=details.get("traceback_text"),
        )

    return make


def _state(problem: SentProblem, details: _Details) -> Exception:
    answered_at = details.get("answered_at")
    return JobStateError(
        details["job_id"],
        JobStatus(details["status"]),
        details["wanted"],
        hint=problem.hint,
        answered_by=details.get("answered_by"),
        answered_at=None if answered_at is None else datetime.fromisoformat(answered_at),
    )


_MAKERS: dict[str, Callable[[SentProblem, _Details], Exception]] = {
    "configuration": _configuration,
    "invalid-request": _configuration,
    "bad-arguments": lambda problem, _: TypeError(problem.detail),
    "cycle": lambda problem, details: CyclicDependencyError(details["path"], hint=problem.hint),
    "unknown-dependency": lambda _, details: UnknownDependencyError(details["job_id"], details["missing"]),
    "duplicate-job": lambda _, details: DuplicateJobError(details["job_id"]),
    "job-conflict": lambda _, details: JobConflictError(details["job_id"], differs=details["differs"]),
    "not-serializable": lambda problem, details: NotSerializableError(
        details["where"], details["what"], hint=problem.hint
    ),
    "conversion": lambda _, details: ConversionError(
        details["where"], details["problem"], details["expected"], details["owner"]
    ),
    "corrupt-value": lambda problem, _: CorruptValueError(problem.detail, hint=problem.hint),
    "job-not-found": lambda _, details: JobNotFoundError(details["job_id"], near=details.get("near")),
    "job-state": _state,
    "job-failed": _failed(JobExecutionError),
    "worker-lost": _failed(WorkerLostError),
    "rejected": lambda _, details: RejectedError(details["job_id"], reason=details["reason"], by=details.get("by")),
    "answer-timeout": lambda _, details: AnswerTimeoutError(details["job_id"], message=details["message"]),
    "job-cancelled": lambda _, details: JobCancelledError(details["job_id"]),
    "job-skipped": lambda _, details: JobSkippedError(details["job_id"], details.get("because")),
}
