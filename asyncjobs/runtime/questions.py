"""Check the question of a gate, and encode it."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from asyncjobs.backends.base import NewJob
from asyncjobs.checks import is_a, listed
from asyncjobs.core.codec import encode_value, too_large
from asyncjobs.core.gates import FUNCTION, encode_question
from asyncjobs.core.requests import Question
from asyncjobs.core.retry import RetryPolicy
from asyncjobs.exceptions import ConfigurationError
from asyncjobs.models import DEFAULT_QUEUE
from asyncjobs.runtime.answer_types import AnswerType
from asyncjobs.runtime.answers import fit_answer
from asyncjobs.runtime.submission import duration

MAX_BYTES = 16 * 1024
"""Maximum size of a question with its choices and schema."""
_MOST_CHOICES = 50
_LONGEST_CHOICE = 200
_NOT_RETRIED = RetryPolicy(max_retries=0)


def new_gate(job_id: str, question: Question, timeout: object, **others: Any) -> NewJob:
    """Return the gate of a question, for storage.

    :param timeout: seconds, or a timedelta; None: the gate stays open forever.
    :param others: further fields of ``NewJob``, checked before.
    :raises ConfigurationError: the timeout cannot be one.
    """
    return NewJob(
        id=job_id,
        function=FUNCTION,
        call=encode_question(question),
        queue=DEFAULT_QUEUE,
        retry=_NOT_RETRIED,
        timeout=None if timeout is None else duration("timeout", timeout, above=True),
        gate=True,
        **others,
    )


def checked_question(
    question: object,
    *,
    choices: object = None,
    answer_type: AnswerType | None = None,
    reject_on: object = (),
    default: Any = UNSET,
    timeout: object = None,
    largest: int,
) -> Question:
    """Return the question of a gate.

    :param timeout: seconds after which the default is the answer; a default is refused without one.
    :param largest: maximum size of an answer in bytes.
    :raises ConfigurationError: an option cannot work. NotSerializableError: the default cannot be stored.
    """
    texts = None if choices is None else _choices(choices)
    if texts is not None and answer_type is not None:
        problem = "choices and answer_type exclude each other"
        raise ConfigurationError("choices", choices, problem=problem, hint="answer_type=Literal['a', 'b']")
    asked = Question(
        question=_text("question", question),
        choices=texts,
        schema=None if answer_type is None else answer_type.schema,
        reject_on=_rejecting(reject_on, texts),
    )
    size = len(encode_question(asked))
    if size > MAX_BYTES:
        problem = f"the question with its choices and schema has {size:,} bytes, more than {MAX_BYTES:,}"
        hint = "put what it is about into the result of a dependency, or into metadata"
        raise ConfigurationError("question", question, problem=problem, hint=hint)
    if default is UNSET:
        return asked
    if timeout is None:
        problem = "default is the answer after the timeout, and there is no timeout"
        raise ConfigurationError("default", default, problem=problem, hint="give timeout=, or leave default= out")
    return replace(asked, default=_default(asked, default, answer_type, largest))


def _default(asked: Question, default: Any, answer_type: AnswerType | None, largest: int) -> bytes:
    try:
        value = fit_answer(asked.choices, asked.schema, default, answer_type)
    except ConfigurationError as error:
        problem = str(error.args[0]).replace("value", "default", 1)
        raise ConfigurationError("default", default, problem=problem, hint=error.hint) from error
    if value in asked.reject_on:
        raise ConfigurationError(
            "default",
            default,
            problem="default is one of reject_on",
            hint="leave it out: the gate then fails at its deadline",
        )
    data = encode_value(value, "$.default")
    if len(data) > largest:
        raise too_large("$.default", data, largest, "give")
    return data


def _text(field: str, value: object, longest: int | None = None) -> str:
    allowed = "a text" if longest is None else f"a text of 1 to {longest} characters"
    if not is_a(value, str) or not str.strip(value) or (longest is not None and len(value) > longest):
        raise ConfigurationError(field, value, allowed=allowed)
    text = str.__str__(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigurationError(field, value, allowed=f"{allowed}, without lone surrogates") from None
    return text


def _choices(given: object) -> tuple[str, ...]:
    allowed = f"1 to {_MOST_CHOICES} different texts"
    texts = tuple(
        _text(f"choices[{i}]", one, _LONGEST_CHOICE) for i, one in enumerate(listed("choices", given, allowed))
    )
    if not 1 <= len(texts) <= _MOST_CHOICES or len(set(texts)) < len(texts):
        raise ConfigurationError("choices", given, allowed=allowed)
    return texts


def _rejecting(given: object, choices: tuple[str, ...] | None) -> tuple[str, ...]:
    allowed = "some of the choices"
    texts = tuple(listed("reject_on", given, allowed))
    for text in texts:
        if choices is None or text not in choices:
            hint = None if choices is not None else "an approval is rejected by reject_job; reject_on= is for choices="
            raise ConfigurationError("reject_on", given, allowed=allowed, hint=hint)
    if choices is not None and len(set(texts)) >= len(choices):
        raise ConfigurationError("reject_on", given, allowed="some of the choices, and not all of them")
    return tuple(str.__str__(text) for text in texts)
