"""Turn the question of a caller into a gate for storage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

from asyncjobs.backends.base import NewJob
from asyncjobs.exceptions import ConfigurationError
from asyncjobs.requests import GateRequest, JobRequest
from asyncjobs.runtime.answer_types import AnswerType
from asyncjobs.runtime.known_answers import KnownAnswers
from asyncjobs.runtime.questions import checked_question, new_gate
from asyncjobs.runtime.submission import (
    LONGEST_ID,
    Submissions,
    checked_dependencies,
    checked_if_exists,
    checked_metadata,
    checked_name,
    checked_require,
)
from asyncjobs.spellings import nearest

_OPTIONS = tuple(name for name in GateRequest.__struct_fields__ if name != "question")
_OF_JOBS = frozenset(JobRequest.__struct_fields__).difference(_OPTIONS)


class ChildGateOptions(TypedDict, total=False):
    """Options of ``current_job().submit_gate``, beside those that decide on the type of the answer."""

    reject_on: Sequence[str]
    timeout: float | None
    depends_on: Any
    require: int | None
    group: str | None
    metadata: Mapping[str, Any] | None


class GateOptions(ChildGateOptions, total=False):
    """Options of ``submit_gate``, beside those that decide on the type of the answer."""

    job_id: str | None
    if_exists: Literal["raise", "return"]


def build_gate_request(question: str, options: Mapping[str, Any]) -> GateRequest:
    """Return the request of a gate.

    :raises ConfigurationError: gates do not have an option.
    """
    for name, value in options.items():
        if name not in _OPTIONS:
            raise no_option(name, value)
    return GateRequest(question=question, **options)


def no_option(name: str, value: object) -> ConfigurationError:
    """Return the error for an option that gates do not have; it suggests the nearest one."""
    if name in _OF_JOBS:
        problem = f"a gate has no {name}: it is answered, and not run"
        return ConfigurationError(name, value, problem=problem, hint=f"options of a gate: {', '.join(_OPTIONS)}")
    near = nearest(name, _OPTIONS)
    hint = f"did you mean {near!r}?" if near else f"options of a gate: {', '.join(_OPTIONS)}"
    return ConfigurationError(name, value, problem=f"{name} is not an option of a gate", hint=hint)


class GateSubmissions:
    """Encodes gates for one processor.

    :param answers: keeps the types of answers.
    :param largest: maximum size of an answer in bytes.
    """

    def __init__(self, submissions: Submissions, answers: KnownAnswers, largest: int) -> None:
        self._submissions = submissions
        self._answers = answers
        self._largest = largest

    def find_type(self, request: GateRequest) -> AnswerType | None:
        """Return the type of its answer, or None without ``answer_type``.

        :raises ConfigurationError: an answer cannot be of this type.
        """
        return None if request.answer_type is None else self._answers.describe(request.answer_type)

    def encode(self, request: GateRequest) -> NewJob:
        """Check a request and encode it.

        :raises SubmissionError: of the kind that fits. ConfigurationError: an option's value cannot work.
        """
        question = checked_question(
            request.question,
            choices=request.choices,
            answer_type=self.find_type(request),
            reject_on=request.reject_on,
            default=request.default,
            timeout=request.timeout,
            largest=self._largest,
        )
        job_id = request.job_id
        dependencies = checked_dependencies(request.depends_on, {})
        return new_gate(
            self._submissions.new_id() if job_id is None else checked_name("job_id", job_id, LONGEST_ID),
            question,
            request.timeout,
            generated=job_id is None,
            group=None if request.group is None else checked_name("group", request.group),
            metadata=None if request.metadata is None else checked_metadata(request.metadata),
            dependencies=dependencies,
            require=None if request.require is None else checked_require(request.require, len(dependencies)),
            if_exists=checked_if_exists(request.if_exists),
        )

    def note(self, request: GateRequest, job_id: str) -> None:
        """Remember the answer type of a stored gate, unless it is a schema, which is stored with the gate."""
        answer_type = self.find_type(request)
        if answer_type is not None and type(answer_type) is AnswerType:
            self._answers.note(job_id, answer_type)
