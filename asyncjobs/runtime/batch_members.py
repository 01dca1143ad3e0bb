"""Name the member of a batch that an error is about. Only the error path pays for this."""

from __future__ import annotations

from collections.abc import Sequence

from asyncjobs.backends.base import NewJob
from asyncjobs.checks import is_a
from asyncjobs.core.codec import callable_label
from asyncjobs.core.gates import FUNCTION
from asyncjobs.error_texts import shown
from asyncjobs.exceptions import JobProcessorError, NotSerializableError, SubmissionError
from asyncjobs.requests import GateRequest, JobRequest

ITEMS = "items"
"""How the members of ``map_jobs`` are named, all of which share their function and their options."""


def name_refused(error: Exception, several: str, index: int, request: JobRequest | GateRequest) -> None:
    """Name the member of a batch that cannot be encoded.

    :param several: the parameter that has the members: ``requests`` or ``items``.
    """
    if several == ITEMS and not (isinstance(error, NotSerializableError) and error.where.startswith("$.args")):
        return  # the same for each item
    _name(error, several, index, request)


def name_not_stored(
    error: BaseException, several: str, jobs: Sequence[NewJob], requests: Sequence[JobRequest | GateRequest]
) -> None:
    """Name the member of a batch that a store refuses, if it refuses one: of two with the same id, the later."""
    job_id = getattr(error, "job_id", None) if isinstance(error, SubmissionError) else None
    index = max((i for i, job in enumerate(jobs) if job.id == job_id), default=None)
    if index is not None and isinstance(error, Exception):
        _name(error, several, index, requests[index])


def _name(error: Exception, several: str, index: int, request: JobRequest | GateRequest) -> None:
    job_id: object = request.job_id
    named = f", job_id {shown(str.__str__(job_id))}" if is_a(job_id, str) else ""
    label = FUNCTION if isinstance(request, GateRequest) else callable_label(request.func)
    member = f"{several}[{index}] ({label}{named})"
    if isinstance(error, JobProcessorError):
        error.args = (f"{member}: {error.args[0]}",)
    else:
        error.add_note(f"at {member}")
