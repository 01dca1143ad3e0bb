"""How one gate moves: opened, answered, rejected, or not answered in time; and why it refuses."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from asyncjobs.core import gates
from asyncjobs.core.requests import Answer, Question
from asyncjobs.core.state import GateState, JobState, Role
from asyncjobs.models import JobError, JobStatus, OutcomeKind, WaitsFor
from tests.unit.plans import NOW

YES, NO = b"\xc3", b"\xc2"
AT = datetime(1970, 1, 1, 0, 0, 5, tzinfo=UTC)
QUESTION = Question(question="Print?")
CLOSED = JobState(1, "g", waits_for=WaitsFor.DEPENDENCIES, role=Role.GATE, seq=1)
OPEN = replace(CLOSED, waits_for=WaitsFor.ANSWER, seq=2)
STATE = GateState(1, opened_at=NOW - 10)


def given(value: bytes | None = YES, reason: str | None = None, by: str | None = "ana") -> Answer:
    return Answer(job_id="g", created_at=0, value=value if reason is None else None, reason=reason, by=by)


# -- what is asked


def test_equal_questions_are_equal_bytes_and_come_back() -> None:
    asks = Question(question="Which?", choices=("a", "b"), schema={"type": "string"}, reject_on=("b",), default=NO)
    call = gates.encode_question(asks)
    assert call == gates.encode_question(replace(asks))
    assert gates.decode_question(call) == asks


@pytest.mark.parametrize("call", [b"", b"call", b"\x80", gates.encode_question(QUESTION)[:-1]])
def test_a_damaged_question_is_a_value_error(call: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        gates.decode_question(call)


# -- opening


def test_an_open_gate_is_one_that_waits_for_its_answer() -> None:
    assert gates.is_open(OPEN)
    assert not gates.is_open(CLOSED)
    assert not gates.is_open(replace(OPEN, role=Role.ASKER, parked=2)), "nor is a parked job one"
    assert not gates.is_open(replace(OPEN, status=JobStatus.COMPLETED))


def test_it_opens_with_an_event_that_tells_what_it_asks() -> None:
    asks = Question(question="Which?", choices=("a", "b"), schema={"type": "string"}, default=YES)
    change, state = gates.opened(CLOSED, GateState(1, timeout=7, asker=3), asks, NOW, 2)
    assert change.job == replace(OPEN, run_at=NOW + 7)
    assert state == GateState(1, timeout=7, asker=3, generation=2, opened_at=NOW)
    (event,) = change.events
    assert (event.seq, event.type, event.at, event.attempt, event.status) == (2, "asked", NOW, 0, None)
    assert event.data == {
        "question": "Which?",
        "choices": ["a", "b"],
        "schema": {"type": "string"},
        "deadline": "1970-01-01T00:00:05.000007Z",
    }


def test_without_a_timeout_it_has_no_deadline() -> None:
    change, state = gates.opened(CLOSED, GateState(1), QUESTION, NOW, 0)
    assert change.job.run_at is None
    assert not gates.is_due(change.job, NOW + 10**15)
    assert (state.opened_at, state.asker) == (NOW, None)
    assert change.events[0].data == {"question": "Print?", "choices": None, "schema": None, "deadline": None}


def test_a_gate_that_is_opened_again_forgets_its_answer() -> None:
    before = GateState(1, opened_at=1, answered_at=2, answered_by="bo", reason="too dark")
    assert gates.opened(CLOSED, before, QUESTION, NOW, 0)[1] == GateState(1, opened_at=NOW)


def test_it_is_due_from_its_deadline_on() -> None:
    timed = replace(OPEN, run_at=NOW)
    assert [gates.is_due(timed, now) for now in (NOW - 1, NOW, NOW + 1)] == [False, True, True]


# -- ending


@pytest.mark.parametrize("by", ["ana", None])
def test_an_answer_completes_it_with_its_value(by: str | None) -> None:
    change, state = gates.answered(OPEN, STATE, given(by=by), NOW)
    ended = change.job
    assert (ended.status, ended.waits_for, ended.finished_at, ended.attempt, ended.started_at, ended.worker) == (
        JobStatus.COMPLETED,
        None,
        NOW,
        0,
        None,
        None,
    )
    assert (change.value, change.ended) == (YES, None), "there is no attempt to keep"
    assert (state.answered_at, state.answered_by, state.reason) == (NOW, by, None)
    assert [(e.type, e.seq, e.data) for e in change.events] == [("completed", 3, {"by": by} if by else None)]


@pytest.mark.parametrize("by", ["ana", None])
def test_a_rejection_fails_it_with_its_reason(by: str | None) -> None:
    change, state = gates.answered(OPEN, STATE, given(reason="too dark", by=by), NOW)
    error = JobError("RejectedError", "too dark")
    assert (change.job.status, change.job.waits_for, change.job.finished_at) == (JobStatus.FAILED, None, NOW)
    assert change.value is None
    assert change.ended is not None
    assert (change.ended.attempt, change.ended.kind, change.ended.error) == (0, OutcomeKind.FAILED, error)
    assert (state.answered_at, state.answered_by, state.reason) == (NOW, by, "too dark")
    data = {"error_type": "RejectedError", "message": "too dark"}
    assert change.events[0].data == data | ({"by": by} if by else {})


def test_an_empty_reason_rejects_as_well() -> None:
    assert gates.answered(OPEN, STATE, given(reason=""), NOW)[0].job.status is JobStatus.FAILED


def test_a_missed_deadline_completes_it_with_its_default() -> None:
    change = gates.not_answered(replace(OPEN, run_at=NOW), replace(QUESTION, default=NO), NOW + 1)
    assert (change.job.status, change.value, change.job.finished_at) == (JobStatus.COMPLETED, NO, NOW + 1)
    assert change.events[0].data is None


def test_or_fails_it_and_names_the_deadline() -> None:
    change = gates.not_answered(replace(OPEN, run_at=NOW), QUESTION, NOW + 1)
    assert change.job.status is JobStatus.FAILED
    assert change.ended is not None
    assert change.ended.error == JobError("AnswerTimeoutError", "nobody answered until 1970-01-01T00:00:05Z")


def test_in_a_damaged_store_the_deadline_may_be_unknown() -> None:
    change = gates.not_answered(OPEN, QUESTION, NOW)
    assert change.ended is not None
    assert change.ended.error == JobError("AnswerTimeoutError", "nobody answered")


# -- the same answer again


ANSWERED = (replace(OPEN, status=JobStatus.COMPLETED), replace(STATE, answered_at=NOW, answered_by="ana"))
REJECTED = (replace(OPEN, status=JobStatus.FAILED), replace(ANSWERED[1], reason="too dark"))


@pytest.mark.parametrize(
    ("ended", "answer", "value", "repeated"),
    [
        (ANSWERED, given(), YES, True),
        (ANSWERED, given(NO), YES, False),
        (ANSWERED, given(by="bo"), YES, False),
        (ANSWERED, given(by=None), YES, False),
        (ANSWERED, given(reason="too dark"), YES, False),
        (ANSWERED, given(), None, False),
        (REJECTED, given(reason="too dark"), None, True),
        (REJECTED, given(reason="too bright"), None, False),
        (REJECTED, given(reason="too dark", by="bo"), None, False),
        (REJECTED, given(), None, False),
        ((OPEN, STATE), given(by=None), None, False),
        ((replace(OPEN, status=JobStatus.COMPLETED), STATE), given(by=None), YES, False),
    ],
    ids=[
        "the same",
        "another value",
        "another giver",
        "of nobody",
        "a rejection",
        "its value is lost",
        "the same rejection",
        "another reason",
        "another rejecter",
        "an answer",
        "still open",
        "ended by its default",
    ],
)
def test_only_the_same_answer_by_the_same_giver_is_a_repetition(
    ended: tuple[JobState, GateState], answer: Answer, value: bytes | None, repeated: bool
) -> None:
    assert gates.is_repeated(*ended, answer, value) is repeated


# -- refusals


def test_an_open_gate_refuses_nobody_before_its_deadline() -> None:
    assert gates.refusal(OPEN, STATE, NOW) is None
    assert gates.refusal(replace(OPEN, run_at=NOW + 1), STATE, NOW) is None


@pytest.mark.parametrize(
    ("job", "gate", "text"),
    [
        (
            replace(OPEN, run_at=NOW),
            STATE,
            "job 'g' is pending; its deadline was 1970-01-01T00:00:05Z\n"
            "  hint: retry_job opens it again once it has ended",
        ),
        (
            CLOSED,
            GateState(1),
            "job 'g' is pending; it is not open yet\n"
            "  hint: it opens once its dependencies allow it: wait for its event 'asked'",
        ),
        (
            replace(OPEN, status=JobStatus.CANCELLED),
            STATE,
            "job 'g' is cancelled; it is no longer open\n  hint: retry_job opens it again",
        ),
        (
            replace(OPEN, status=JobStatus.FAILED),
            STATE,
            "job 'g' is failed; it is no longer open\n  hint: retry_job opens it again",
        ),
        (replace(OPEN, status=JobStatus.COMPLETED), STATE, "job 'g' is completed; it is no longer open"),
        (
            replace(OPEN, status=JobStatus.SKIPPED, because="draw"),
            STATE,
            "job 'g' is skipped; it is no longer open\n  hint: retry 'draw' instead; the gate then waits for it again",
        ),
        (*ANSWERED, "job 'g' is completed; it was answered by 'ana' at 1970-01-01T00:00:05Z"),
        (*REJECTED, "job 'g' is failed; it was rejected by 'ana' at 1970-01-01T00:00:05Z"),
        (
            ANSWERED[0],
            replace(ANSWERED[1], answered_by=None),
            "job 'g' is completed; it was answered at 1970-01-01T00:00:05Z",
        ),
    ],
    ids=["late", "early", "cancelled", "expired", "by default", "skipped", "answered", "rejected", "by nobody known"],
)
def test_a_refusal_says_why(job: JobState, gate: GateState, text: str) -> None:
    refused = gates.refusal(job, gate, NOW)
    assert str(refused) == text
    assert refused is not None
    answered = gate.answered_at is not None
    assert (refused.answered_by, refused.answered_at) == (gate.answered_by, AT if answered else None)
