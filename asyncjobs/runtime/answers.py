"""Check answers and rejections, and encode them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from asyncjobs.checks import is_a
from asyncjobs.clock import from_datetime
from asyncjobs.core import plain
from asyncjobs.core.codec import encode_value, too_large
from asyncjobs.core.requests import Answer
from asyncjobs.exceptions import ConfigurationError, JobStateError, NotSerializableError
from asyncjobs.models import Job
from asyncjobs.runtime.answer_types import AnswerType, misfit
from asyncjobs.runtime.json_schemas import find_misfit
from asyncjobs.spellings import nearest

_LONGEST_REASON = 2000
_LONGEST_NAME = 200


def encode_answer(job: Job, value: Any, by: object, answer_type: AnswerType | None, largest: int) -> Answer:
    """Encode the answer to a gate; a choice in ``reject_on`` becomes a rejection.

    :param answer_type: the type of the answer, if this process knows it; otherwise the stored schema decides.
    :param largest: maximum size of the answer in bytes.
    :raises JobStateError: the job is not a gate. ConfigurationError: the value does not fit.
    :raises MissingExtraError: the schema cannot be checked here. NotSerializableError: the value cannot be stored.
    """
    gate = job.gate
    if gate is None:
        raise no_gate(job)
    if job.unreadable is not None and "question" in job.unreadable:
        problem = f"answers to it cannot be checked: {job.unreadable}"
        raise JobStateError(job.id, job.status, problem, hint="reject_job or cancel_job ends it")
    fitting = fit_answer(gate.choices, gate.schema, value, answer_type)
    created_at, by = from_datetime(job.created_at), checked_giver(by)
    if gate.choices is not None and fitting in gate.reject_on:
        return Answer(job_id=job.id, created_at=created_at, reason=fitting, by=by)
    data = encode_value(fitting, "$.value")
    if len(data) > largest:
        raise too_large("$.value", data, largest, "give")
    return Answer(job_id=job.id, created_at=created_at, value=data, by=by)


def encode_rejection(job: Job, reason: object, by: object) -> Answer:
    """Encode the rejection of a gate.

    :raises JobStateError: the job is not a gate. ConfigurationError: the reason is not valid.
    """
    if job.gate is None:
        raise no_gate(job)
    created_at, text = from_datetime(job.created_at), checked_reason(reason)
    return Answer(job_id=job.id, created_at=created_at, reason=text, by=checked_giver(by))


def no_gate(job: Job) -> JobStateError:
    """Return the error for an answer to a job that is not a gate."""
    hint = "only gates, made by submit_gate or ask, can be answered"
    return JobStateError(job.id, job.status, "it is not a gate", hint=hint)


def fit_answer(
    choices: Sequence[str] | None, schema: Mapping[str, Any] | None, value: Any, answer_type: AnswerType | None
) -> Any:
    """Encode an answer for storage, if a gate with these choices or this schema accepts it.

    :raises ConfigurationError: it does not. MissingExtraError: the schema cannot be checked here.
    """
    if choices is not None:
        if is_a(value, str) and str.__str__(value) in choices:
            return str.__str__(value)
        near = nearest(value, choices) if is_a(value, str) else None
        allowed = ", ".join(map(repr, choices))
        raise ConfigurationError(
            "value", value, allowed=allowed, hint=None if near is None else f"did you mean {near!r}?"
        )
    if schema is None:
        if value is not True:
            hint = "to reject: reject_job(id, reason); for other answers: choices=, answer_type="
            raise ConfigurationError("value", value, allowed="True: this gate is an approval", hint=hint)
        return True
    if answer_type is not None:
        return answer_type.fit(value)
    return fit_schema(schema, value)


def fit_schema(schema: Mapping[str, Any], value: Any) -> Any:
    """Encode an answer for storage, if it matches a schema.

    :raises: as ``fit_answer``.
    """
    try:
        copy = plain.json_copy(value, "$.value")
    except NotSerializableError as error:
        error.hint = "pass plain JSON values, or the type: answer_type="
        raise
    found = find_misfit(schema, copy)
    if found is not None:
        raise misfit(value, *found)
    return _whole(copy)


def _whole(value: Any) -> Any:
    """Return plain values with whole floats as integers: JSON has one number type, so 1.0 fits where 1 does."""
    if isinstance(value, list):
        return [_whole(one) for one in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {name: _whole(one) for name, one in cast("dict[str, Any]", value).items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


def checked_reason(reason: object) -> str:
    """Check the reason of a rejection: a text of limited length."""
    return _text("reason", reason, _LONGEST_REASON)


def checked_giver(by: object) -> str | None:
    """Check the name of the person or program that answers."""
    return None if by is None else _text("by", by, _LONGEST_NAME)


def _text(field: str, value: object, longest: int) -> str:
    allowed = f"a text of 1 to {longest} characters"
    if not is_a(value, str) or not 1 <= len(value) <= longest:
        raise ConfigurationError(field, value, allowed=allowed)
    text = str.__str__(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigurationError(field, value, allowed=f"{allowed}, without lone surrogates") from None
    return text
