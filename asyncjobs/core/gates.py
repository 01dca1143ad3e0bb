"""Decide how gates move: when one opens, is answered, rejected, or not answered in time.

A gate is open while it is pending and waits for its answer. It has no attempts: it is ended from outside, and the first
end wins. Each function returns a ``Change`` of its row and, where that changes too, its ``GateState``.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec.structs import replace

from asyncjobs.core.lifecycle import error_data, transition
from asyncjobs.core.requests import Answer, Question
from asyncjobs.core.state import Change, EndedAttempt, GateState, JobState, NewEvent, Role
from asyncjobs.exceptions import JobStateError
from asyncjobs.models import EventType, JobError, JobStatus, OutcomeKind, WaitsFor

FUNCTION = "gate"
"""The ``Job.func`` of every gate. No function has this name."""
REJECTED = "RejectedError"
NOT_ANSWERED = "AnswerTimeoutError"
UNREADABLE = JobError("UnreadableJobError", "the stored job is unreadable: question")
"""The error of a gate whose question cannot be read when it is to be opened."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Question).decode


def encode_question(question: Question) -> bytes:
    """Encode the question of a gate, stored in place of a call: equal questions give equal bytes."""
    return _encode(question)


def decode_question(call: bytes) -> Question:
    """Decode the question of a gate.

    :raises ValueError: the stored bytes are damaged.
    """
    try:
        return _decode(call)
    except msgspec.MsgspecError as error:  # which is a ValueError in newer versions only
        raise ValueError(str(error)) from error


def is_open(job: JobState) -> bool:
    """Return whether this is a gate that can be answered, unless its deadline has passed."""
    return job.role is Role.GATE and job.status is JobStatus.PENDING and job.waits_for is WaitsFor.ANSWER


def is_due(job: JobState, now: int) -> bool:
    """Return whether the time for answers is over: from the deadline on, although the gate may still be open."""
    return job.run_at is not None and job.run_at <= now


def opened(job: JobState, gate: GateState, question: Question, now: int, generation: int) -> tuple[Change, GateState]:
    """Open a gate whose dependencies are met.

    :param generation: that of the job whose body asks; 0 without one.
    """
    deadline = None if gate.timeout is None else now + gate.timeout
    event = NewEvent(job.seq + 1, str(EventType.ASKED), now, 0, None, asked_data(question, deadline))
    row = replace(job, waits_for=WaitsFor.ANSWER, run_at=deadline, seq=job.seq + 1)
    state = replace(gate, generation=generation, opened_at=now, answered_at=None, answered_by=None, reason=None)
    return Change(row, (event,)), state


def asked_data(question: Question, deadline: int | None) -> dict[str, Any]:
    """Return the data of an ``asked`` event."""
    return {
        "question": question.question,
        "choices": None if question.choices is None else list(question.choices),
        "schema": question.schema,
        "deadline": None if deadline is None else _shown(deadline),
    }


def _moment(microseconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)


def _shown(moment: int) -> str:
    return _moment(moment).isoformat().replace("+00:00", "Z")


def answered(job: JobState, gate: GateState, answer: Answer, now: int) -> tuple[Change, GateState]:
    """End an open gate by an answer, or by a rejection."""
    state = replace(gate, answered_at=now, answered_by=answer.by, reason=answer.reason)
    if answer.reason is not None:
        return _failed(job, JobError(REJECTED, answer.reason), now, by=answer.by), state
    return _completed(job, answer.value, now, by=answer.by), state


def noted_question(asker: JobState, gate: JobState, question: Question | None, now: int) -> Change:
    """Record in the log of the asker that it begins to wait, so that readers of that log need no other stream.

    :param question: None if it cannot be read.
    """
    data = asked_data(question or Question(question="?"), gate.run_at)
    return _noted(asker, EventType.ASKED, {"gate": gate.id, **data}, now)


def noted_end(asker: JobState, gate: JobState, state: GateState, now: int) -> Change:
    """Record in the log of the asker how its question ended."""
    data = {"gate": gate.id, "status": str(gate.status), "by": state.answered_by}
    return _noted(asker, EventType.ANSWERED, data, now)


def _noted(asker: JobState, type: EventType, data: dict[str, Any], now: int) -> Change:
    event = NewEvent(asker.seq + 1, str(type), now, asker.attempt, None, data)
    return Change(replace(asker, seq=asker.seq + 1), (event,))


def not_answered(job: JobState, question: Question, now: int) -> Change:
    """End an open gate whose deadline has passed: with its default, else as failed."""
    if question.default is not None:
        return _completed(job, question.default, now, by=None)
    deadline = "" if job.run_at is None else f" until {_shown(job.run_at)}"
    return _failed(job, JobError(NOT_ANSWERED, f"nobody answered{deadline}"), now, by=None)


def _completed(job: JobState, value: bytes | None, now: int, *, by: str | None) -> Change:
    data = None if by is None else {"by": by}
    return transition(job, EventType.COMPLETED, now, data=data, value=value, waits_for=None, finished_at=now)


def _failed(job: JobState, error: JobError, now: int, *, by: str | None) -> Change:
    ended = EndedAttempt(0, None, None, now, OutcomeKind.FAILED, error)
    data = error_data(error) if by is None else {**error_data(error), "by": by}
    return transition(job, EventType.FAILED, now, data=data, ended=ended, waits_for=None, finished_at=now)


def is_repeated(job: JobState, gate: GateState, answer: Answer, value: bytes | None) -> bool:
    """Return whether this answer repeats the one that ended the gate.

    :param value: what is stored as its result.
    """
    if gate.answered_at is None or gate.answered_by != answer.by:
        return False
    if answer.reason is not None:
        return job.status is JobStatus.FAILED and gate.reason == answer.reason
    return job.status is JobStatus.COMPLETED and value == answer.value


def refusal(job: JobState, gate: GateState, now: int) -> JobStateError | None:
    """Return why a gate takes no answer now, None if it takes one."""
    if is_open(job):
        if not is_due(job, now):
            return None
        assert job.run_at is not None
        problem = f"its deadline was {_shown(job.run_at)}"
        return JobStateError(job.id, job.status, problem, hint="retry_job opens it again once it has ended")
    if job.status is JobStatus.PENDING:
        hint = "it opens once its dependencies allow it: wait for its event 'asked'"
        return JobStateError(job.id, job.status, "it is not open yet", hint=hint)
    if gate.answered_at is None:
        hint = None if job.status is JobStatus.COMPLETED else "retry_job opens it again"
        if job.status is JobStatus.SKIPPED:
            hint = f"retry {job.because!r} instead; the gate then waits for it again"
        return JobStateError(job.id, job.status, "it is no longer open", hint=hint)
    verb = "rejected" if gate.reason is not None else "answered"
    by = "" if gate.answered_by is None else f" by {gate.answered_by!r}"
    problem = f"it was {verb}{by} at {_shown(gate.answered_at)}"
    return JobStateError(
        job.id, job.status, problem, answered_by=gate.answered_by, answered_at=_moment(gate.answered_at)
    )
