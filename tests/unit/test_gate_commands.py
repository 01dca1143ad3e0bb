"""Asking, answering and ending what is due, on a plan: several acts on one gate, and rows that are missing."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from msgspec.structs import replace

from asyncjobs.core import commands, gate_commands, gates, revival
from asyncjobs.core.plan import Plan
from asyncjobs.core.requests import Answer, AttemptEnd, AttemptRef, NewJob, Question
from asyncjobs.core.state import UNKNOWN_GATE, EdgeRow, GateState, JobState, Role
from asyncjobs.exceptions import JobConflictError, JobStateError
from asyncjobs.models import Dependency, EdgeState, JobError, JobStatus, Outcome, OutcomeKind, WaitsFor
from tests.unit.plans import NOW, Rows, encoded, last, new, types

YES, NO = b"\xc3", b"\xc2"
MET = EdgeState.MET
ASKER = JobState(1, "a", JobStatus.IN_PROGRESS, None, attempt=1, worker=7, role=Role.ASKER)
HELD = (1, 1, 7)
GATE = JobState(2, "a/q", waits_for=WaitsFor.ANSWER, role=Role.GATE, seq=2)
STATE = GateState(2, asker=1, opened_at=NOW - 10)
PARKED = replace(ASKER, status=JobStatus.PENDING, waits_for=WaitsFor.ANSWER, parked=2, worker=None)
CHILD = JobState(3, "c", waits_for=WaitsFor.DEPENDENCIES, open=1)
EDGE = EdgeRow(2, 3)
RELEASED, FATAL = Outcome(OutcomeKind.RELEASED), Outcome(OutcomeKind.FAILED, retryable=False)


def given(value: bytes = YES, by: str | None = None) -> Answer:
    return Answer(job_id="a/q", created_at=0, value=value, by=by)


def plan_of(
    *jobs: JobState,
    gates: tuple[GateState, ...] = (STATE,),
    edges: tuple[EdgeRow, ...] = (),
    calls: Mapping[int, bytes] | None = None,
) -> Plan:
    return Plan(Rows(jobs, edges, gates, calls=calls), NOW)


def question(job_id: str = "a/q", **options: object) -> NewJob:
    return replace(new(job_id, **options), function=gates.FUNCTION, call=encoded(), gate=True)


def end(outcome: Outcome, parked_on: str | None = None) -> AttemptEnd:
    return AttemptEnd(AttemptRef("a", 1, "w7"), outcome, parked_on=parked_on)


# -- asking


def test_a_question_marks_its_asker_and_opens_its_gate() -> None:
    plan = plan_of(replace(ASKER, role=None), gates=())
    asked = gate_commands.ask(plan, HELD, question(timeout=0.5), iter([9]))
    assert (asked.job_id, asked.status, asked.call) == ("a/q", JobStatus.PENDING, encoded())
    assert plan[1].role is Role.ASKER
    assert gates.is_open(plan[9])
    assert plan.gate(9) == GateState(9, timeout=500_000, asker=1, opened_at=NOW)
    writes = plan.take()
    assert [(record.job.id, record.parent) for record in writes.inserted] == [("a/q", 1)]
    assert types(plan, 9) == ["submitted", "asked"]


def test_a_second_question_changes_of_its_asker_only_the_log() -> None:
    plan = plan_of(ASKER, GATE)
    gate_commands.ask(plan, HELD, question("a/r"), iter([9]))
    assert plan.take().changed == [replace(ASKER, seq=ASKER.seq + 1)]


def test_the_gate_that_the_same_transaction_asked_is_found() -> None:
    plan = plan_of(ASKER, gates=())
    first = gate_commands.ask(plan, HELD, question(), iter([9]))
    assert gate_commands.ask(plan, HELD, question(), iter([10])) == first
    gate_commands.answer(plan, 9, given())
    assert gate_commands.ask(plan, HELD, question(), iter([10])).status is JobStatus.COMPLETED
    assert types(plan, 9) == ["submitted", "asked", "completed"]
    assert plan.result(9) == YES


def test_of_two_attempts_the_stale_one_asks_nothing() -> None:
    plan = plan_of(replace(ASKER, attempt=2), GATE)
    before = gate_commands.ask(plan, (1, 2, 7), question(), iter([9]))
    plan.take()
    for stale in ((1, 1, 7), (1, 2, 8), (99, 1, 7)):
        for job_id in ("a/q", "a/new"):
            with pytest.raises(JobStateError):
                gate_commands.ask(plan, stale, question(job_id), iter([9]))
    assert plan.clean
    assert before.status is JobStatus.PENDING


def test_one_that_was_asked_to_stop_asks_nothing() -> None:
    plan = plan_of(replace(ASKER, cancel_requested=True), GATE)
    with pytest.raises(JobStateError, match="asked to stop"):
        gate_commands.ask(plan, HELD, question(), iter([9]))
    assert plan.clean


@pytest.mark.parametrize(
    ("found", "state"),
    [
        (replace(GATE, role=None), ()),
        (GATE, ()),
        (GATE, (replace(STATE, asker=None),)),
        (GATE, (replace(STATE, asker=8),)),
    ],
    ids=["a job", "a gate without its state", "a submitted gate", "the gate of another job"],
)
def test_the_id_of_another_job_is_refused(found: JobState, state: tuple[GateState, ...]) -> None:
    plan = plan_of(replace(ASKER, role=None), found, gates=state)
    with pytest.raises(JobConflictError, match="another function"):
        gate_commands.ask(plan, HELD, question(), iter([9]))
    assert plan.clean, "its asker is not marked either"


@pytest.mark.parametrize(
    ("status", "asked_in", "generation", "steps_from", "again"),
    [
        (JobStatus.FAILED, 0, 0, 0, False),
        (JobStatus.FAILED, 0, 1, 0, True),
        (JobStatus.CANCELLED, 0, 1, 0, True),
        (JobStatus.FAILED, 1, 1, 1, False),
        (JobStatus.COMPLETED, 0, 1, 0, False),
        (JobStatus.COMPLETED, 0, 1, 1, True),
        (JobStatus.COMPLETED, 0, 2, 1, True),
        (JobStatus.COMPLETED, 1, 2, 1, False),
    ],
)
def test_what_an_earlier_generation_asked_is_asked_again(
    status: JobStatus, asked_in: int, generation: int, steps_from: int, again: bool
) -> None:
    ended = replace(GATE, status=status, waits_for=None, run_at=NOW - 1)
    plan = plan_of(
        replace(ASKER, generation=generation, steps_from=steps_from),
        ended,
        gates=(replace(STATE, generation=asked_in),),
    )
    asked = gate_commands.ask(plan, HELD, question(), iter([9]))
    assert asked.status is (JobStatus.PENDING if again else status)
    assert types(plan, 2) == (["retrying", "asked"] if again else [])
    if again:
        assert plan.events[0][1].data == {"by": "ask", "job": "a"}
        assert plan.gate(2) == replace(STATE, generation=generation, opened_at=NOW)
        assert plan[2].run_at is None


@pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.COMPLETED])
@pytest.mark.parametrize("asker", [ASKER, replace(ASKER, status=JobStatus.PENDING, worker=None)])
def test_what_was_begun_to_be_asked_again_is_opened_by_whoever_goes_on_with_it(
    status: JobStatus, asker: JobState
) -> None:
    ended = replace(GATE, status=status, waits_for=None)
    plan = plan_of(
        replace(asker, generation=3), ended, replace(CHILD, open=0, met=1), edges=(EdgeRow(2, 3, state=MET),)
    )
    assert gates.is_open(gate_commands.open_again(plan, 2))
    assert plan.gate(2) == replace(STATE, generation=3, opened_at=NOW)
    assert plan.events[0][1].data == {"by": "ask", "job": "a"}
    assert types(plan, 1) == [], "the body is told when it asks once more"
    assert plan[3].open == 1


def test_it_is_not_opened_again_if_it_is_open_or_nobody_would_read_the_answer() -> None:
    with pytest.raises(JobStateError, match="asked already"):
        gate_commands.open_again(plan_of(ASKER, GATE), 2)
    ended = replace(GATE, status=JobStatus.FAILED, waits_for=None)
    plan = plan_of(replace(ASKER, status=JobStatus.CANCELLED, worker=None), ended)
    with pytest.raises(JobStateError, match="the job that asked has ended"):
        gate_commands.open_again(plan, 2)
    assert plan.clean


def test_a_question_that_is_lost_comes_back_empty() -> None:
    asked = gate_commands.ask(plan_of(ASKER, GATE, calls={}), HELD, question(), iter([9]))
    assert (asked.status, asked.call) == (JobStatus.PENDING, b"")


# -- answering


def test_an_answer_releases_what_depends_on_it() -> None:
    plan = plan_of(ASKER, GATE, CHILD, edges=(EDGE,))
    assert gate_commands.answer(plan, 2, given()) is JobStatus.COMPLETED
    assert plan[3].waits_for is WaitsFor.WORKER
    assert plan.take().values == [(2, YES)]


@pytest.mark.parametrize("state", [(), (STATE,)], ids=["without its state", "no gate"])
def test_what_is_no_gate_is_not_answered(state: tuple[GateState, ...]) -> None:
    job = replace(GATE, role=Role.GATE if not state else None)
    plan = plan_of(ASKER, job, gates=state)
    with pytest.raises(JobStateError) as refused:
        gate_commands.answer(plan, 2, given())
    assert str(refused.value) == (
        "job 'a/q' is pending; it is not a gate\n  hint: only gates, made by submit_gate or ask, can be answered"
    )
    assert plan.clean


def test_the_first_of_two_answers_in_one_transaction_wins() -> None:
    plan = plan_of(PARKED, GATE)
    gate_commands.answer(plan, 2, given(by="ana"))
    assert gate_commands.answer(plan, 2, given(by="ana")) is JobStatus.COMPLETED
    with pytest.raises(JobStateError, match="answered by 'ana'"):
        gate_commands.answer(plan, 2, given(NO, by="ana"))
    assert types(plan, 2) == ["completed"]
    assert plan.result(2) == YES


def test_a_repeated_answer_is_known_by_its_stored_value() -> None:
    ended = replace(GATE, status=JobStatus.COMPLETED, waits_for=None)
    answered = replace(STATE, answered_at=NOW - 1)
    plan = Plan(Rows([ASKER, ended], (), [answered], results={2: YES}), NOW)
    assert gate_commands.answer(plan, 2, given()) is JobStatus.COMPLETED
    with pytest.raises(JobStateError):
        gate_commands.answer(plan, 2, given(NO))
    assert plan.clean


def test_each_answer_of_a_transaction_is_that_of_its_own_gate() -> None:
    plan = plan_of(ASKER, GATE, replace(GATE, n=4, id="a/r"), gates=(STATE, replace(STATE, n=4)))
    gate_commands.answer(plan, 2, given(YES))
    gate_commands.answer(plan, 4, given(NO))
    assert (plan.result(2), plan.result(4), plan.result(1)) == (YES, NO, None)


# -- deadlines


def test_only_open_gates_whose_deadline_has_come_end() -> None:
    due = [replace(GATE, n=n, id=f"g{n}", run_at=NOW) for n in (2, 3, 4)]
    jobs = [due[0], replace(due[1], status=JobStatus.CANCELLED, waits_for=None), due[2]]
    later = replace(GATE, n=5, id="later", run_at=NOW + 1)
    never = replace(GATE, n=6, id="never")
    states = tuple(GateState(n) for n in (2, 3, 4, 5, 6))
    plan = plan_of(*jobs, later, never, gates=states, calls={2: encoded(YES), 4: encoded()})
    ended = gate_commands.end_due_gates(plan, [2, 3, 4, 5, 6, 99])
    assert [(job.id, job.status) for job in ended] == [("g2", JobStatus.COMPLETED), ("g4", JobStatus.FAILED)]
    assert gate_commands.end_due_gates(plan, [2, 3, 4, 5, 6, 99]) == [], "once"
    assert plan.take().values == [(2, YES)]


@pytest.mark.parametrize("calls", [{}, {2: b"damaged"}], ids=["lost", "damaged"])
def test_one_whose_question_cannot_be_read_fails_and_says_so(calls: Mapping[int, bytes]) -> None:
    plan = plan_of(PARKED, replace(GATE, run_at=NOW), calls=calls)
    (ended,) = gate_commands.end_due_gates(plan, [2])
    assert (ended.status, ended.waits_for) == (JobStatus.FAILED, None)
    assert last(plan, 2).data == {
        "error_type": "UnreadableJobError",
        "message": "the stored job is unreadable: question",
    }
    assert plan[1].waits_for is WaitsFor.WORKER, "whoever is parked on it goes on"


# -- opening


def test_a_gate_opens_when_its_last_dependency_is_met() -> None:
    parent = replace(ASKER, n=1, role=None)
    gate = replace(GATE, waits_for=WaitsFor.DEPENDENCIES, open=1)
    plan = plan_of(parent, gate, gates=(GateState(2, timeout=3),), edges=(EdgeRow(1, 2),))
    commands.finish(plan, [(1, 7, end(Outcome(OutcomeKind.SUCCEEDED)))])
    assert (plan[2].waits_for, plan[2].run_at) == (WaitsFor.ANSWER, NOW + 3)
    assert types(plan, 2) == ["asked"]
    assert plan.take().gates == [GateState(2, timeout=3, opened_at=NOW)]


def test_without_its_state_it_opens_without_a_deadline() -> None:
    gate = replace(GATE, waits_for=WaitsFor.DEPENDENCIES)
    plan = plan_of(gate, gates=())
    commands.recount(plan, [2])
    assert gates.is_open(plan[2])
    assert plan.gate(2) == GateState(2, opened_at=NOW)


def test_without_its_asker_it_opens_for_nobody() -> None:
    plan = plan_of(replace(GATE, waits_for=WaitsFor.DEPENDENCIES))
    commands.recount(plan, [2])
    assert plan.gate(2) == replace(STATE, generation=0, opened_at=NOW)


def test_one_that_cannot_be_read_fails_instead_and_its_dependents_are_skipped() -> None:
    gate = replace(GATE, waits_for=WaitsFor.DEPENDENCIES)
    plan = plan_of(gate, CHILD, edges=(EDGE,), calls={})
    commands.recount(plan, [2])
    assert (plan[2].status, plan[3].status, plan[3].because) == (JobStatus.FAILED, JobStatus.SKIPPED, "a/q")


def test_so_does_one_that_is_submitted_and_its_batch_knows_it() -> None:
    plan = plan_of(gates=())
    damaged = replace(question("g"), call=b"damaged")
    child = new("c", dependencies=(Dependency("g"),))
    commands.enqueue(plan, [damaged, child], iter([5, 6]), lambda n: ("", b""))
    assert (plan[5].status, plan[6].status) == (JobStatus.FAILED, JobStatus.SKIPPED)
    assert [record.job.status for record in plan.take().inserted] == [JobStatus.FAILED, JobStatus.SKIPPED]


def test_one_whose_dependency_has_failed_is_skipped_at_once() -> None:
    plan = plan_of(replace(ASKER, status=JobStatus.FAILED), gates=())
    commands.enqueue(plan, [question("g", dependencies=(Dependency("a"),))], iter([5]), lambda n: ("", b""))
    assert plan[5].status is JobStatus.SKIPPED
    assert plan.gate(5) == GateState(5)
    assert types(plan, 5) == ["submitted", "skipped"]


def test_a_surplus_dependency_of_an_open_gate_counts_and_opens_nothing() -> None:
    parent = replace(ASKER, role=None)
    plan = plan_of(parent, replace(GATE, require=1, met=1, open=1), edges=(EdgeRow(1, 2),))
    commands.finish(plan, [(1, 7, end(Outcome(OutcomeKind.SUCCEEDED)))])
    assert (plan[2].open, plan[2].met) == (0, 2)
    assert types(plan, 2) == []


# -- parking, and the ends of gates and askers


def test_a_job_parks_on_an_open_gate_that_it_asked() -> None:
    plan = plan_of(ASKER, GATE)
    assert commands.finish(plan, [(1, 7, end(RELEASED, "a/q"))]) == [JobStatus.PENDING]
    assert (plan[1].waits_for, plan[1].parked, plan[1].run_at) == (WaitsFor.ANSWER, 2, None)
    assert last(plan, 1).data == {"gate": "a/q"}


@pytest.mark.parametrize(
    ("gate_id", "gate", "state"),
    [
        ("a/q", replace(GATE, status=JobStatus.COMPLETED, waits_for=None), (STATE,)),
        ("a/q", replace(GATE, waits_for=WaitsFor.DEPENDENCIES), (STATE,)),
        ("a/q", GATE, (replace(STATE, asker=9),)),
        ("a/q", GATE, (replace(STATE, asker=None),)),
        ("a/q", GATE, ()),
        ("a/q", replace(GATE, role=None), ()),
        ("gone", GATE, (STATE,)),
    ],
    ids=["ended", "not open yet", "of another job", "submitted", "without its state", "no gate", "not there"],
)
def test_on_any_other_it_is_a_plain_release(gate_id: str, gate: JobState, state: tuple[GateState, ...]) -> None:
    plan = plan_of(ASKER, gate, gates=state)
    commands.finish(plan, [(1, 7, end(RELEASED, gate_id))])
    assert (plan[1].waits_for, plan[1].parked) == (WaitsFor.WORKER, None)
    assert last(plan, 1).data is None


@pytest.mark.parametrize("outcome", [Outcome(OutcomeKind.SUCCEEDED), FATAL, Outcome(OutcomeKind.INTERRUPTED)])
def test_only_a_release_parks(outcome: Outcome) -> None:
    plan = plan_of(replace(ASKER, max_interruptions=9), GATE)
    commands.finish(plan, [(1, 7, end(outcome, "a/q"))])
    assert plan[1].parked is None


def test_an_answer_in_the_same_transaction_before_it_parks_makes_it_a_plain_release() -> None:
    plan = plan_of(ASKER, GATE)
    gate_commands.answer(plan, 2, given())
    commands.finish(plan, [(1, 7, end(RELEASED, "a/q"))])
    assert (plan[1].waits_for, plan[1].parked) == (WaitsFor.WORKER, None)


def test_and_one_after_it_wakes_it() -> None:
    plan = plan_of(ASKER, GATE)
    commands.finish(plan, [(1, 7, end(RELEASED, "a/q"))])
    gate_commands.answer(plan, 2, given())
    assert (plan[1].waits_for, plan[1].parked) == (WaitsFor.WORKER, None)


def test_a_job_that_waits_for_a_limit_waits_for_it_when_it_is_woken() -> None:
    plan = plan_of(replace(PARKED, limit="k"), GATE)
    gate_commands.answer(plan, 2, given())
    assert (plan[1].waits_for, plan[1].parked) == (WaitsFor.LIMIT, None)
    assert plan.take_limits() == ["k"]


def test_another_gate_does_not_wake_it() -> None:
    other = replace(GATE, n=4, id="a/r")
    plan = plan_of(PARKED, GATE, other, gates=(STATE, replace(STATE, n=4)))
    gate_commands.answer(plan, 4, given())
    assert (plan[1].waits_for, plan[1].parked) == (WaitsFor.ANSWER, 2)


def test_a_job_that_is_parked_on_nobody_knows_what_is_woken_by_any_of_its_gates() -> None:
    plan = plan_of(replace(PARKED, parked=UNKNOWN_GATE), GATE)
    gate_commands.answer(plan, 2, given())
    assert (plan[1].waits_for, plan[1].parked) == (WaitsFor.WORKER, None)


@pytest.mark.parametrize("asker", [ASKER, PARKED, replace(ASKER, status=JobStatus.PENDING, waits_for=WaitsFor.TIME)])
def test_the_end_of_a_question_is_written_into_the_log_of_its_asker(asker: JobState) -> None:
    """Once, at once, and whatever that does at the moment."""
    plan = plan_of(asker, GATE)
    gate_commands.answer(plan, 2, given(by="ana"))
    told = [event for n, event in plan.events if n == 1]
    assert [(event.type, event.status, event.data) for event in told] == [
        ("answered", None, {"gate": plan[2].id, "status": "completed", "by": "ana"})
    ]
    assert told[0].seq == plan[1].seq == asker.seq + 1


def test_one_that_has_ended_is_told_nothing() -> None:
    plan = plan_of(replace(ASKER, status=JobStatus.COMPLETED), GATE)
    gate_commands.answer(plan, 2, given())
    assert [n for n, _ in plan.events] == [2]


@pytest.mark.parametrize(
    "asker",
    [
        replace(ASKER, parked=UNKNOWN_GATE),
        replace(PARKED, waits_for=WaitsFor.WORKER, parked=UNKNOWN_GATE),
        replace(ASKER, status=JobStatus.COMPLETED, parked=UNKNOWN_GATE),
    ],
    ids=["in progress", "ready", "ended"],
)
def test_one_that_is_not_parked_is_left_alone_whatever_its_row_says(asker: JobState) -> None:
    plan = plan_of(asker, GATE)
    gate_commands.answer(plan, 2, given())
    assert replace(plan[1], seq=asker.seq) == asker


@pytest.mark.parametrize(
    ("jobs", "state"),
    [((GATE,), (STATE,)), ((PARKED, GATE), (replace(STATE, asker=None),))],
    ids=["its asker is gone", "it was submitted"],
)
def test_a_gate_without_an_asker_wakes_nobody(jobs: tuple[JobState, ...], state: tuple[GateState, ...]) -> None:
    plan = plan_of(*jobs, gates=state)
    assert gate_commands.answer(plan, 2, given()) is JobStatus.COMPLETED
    assert [job.id for job in plan.take().changed] == ["a/q"]


def test_a_gate_whose_state_is_lost_can_be_cancelled() -> None:
    plan = plan_of(PARKED, GATE, gates=())
    assert [job.status for job in commands.cancel(plan, [2])] == [JobStatus.CANCELLED]


def test_answered_then_the_asker_cancelled_the_answer_stays() -> None:
    plan = plan_of(PARKED, GATE)
    gate_commands.answer(plan, 2, given())
    commands.cancel(plan, [1])
    assert (plan[1].status, plan[2].status) == (JobStatus.CANCELLED, JobStatus.COMPLETED)
    assert types(plan, 2) == ["completed"]


def test_the_asker_cancelled_then_answered_is_too_late() -> None:
    plan = plan_of(PARKED, GATE, CHILD, edges=(EDGE,))
    commands.cancel(plan, [1])
    assert (plan[1].parked, plan[2].status, plan[3].because) == (None, JobStatus.CANCELLED, "a/q")
    with pytest.raises(JobStateError, match="no longer open"):
        gate_commands.answer(plan, 2, given())


@pytest.mark.parametrize("numbers", [[1, 2], [2, 1]])
def test_both_cancelled_at_once_end_once(numbers: list[int]) -> None:
    plan = plan_of(PARKED, GATE)
    commands.cancel(plan, numbers)
    assert (types(plan, 1), types(plan, 2)) == (["cancelled"], ["cancelled"])
    assert plan[1].parked is None


def test_a_gate_of_the_same_transaction_ends_with_its_asker() -> None:
    plan = plan_of(replace(ASKER, max_interruptions=1), gates=())
    gate_commands.ask(plan, HELD, question(), iter([9]))
    commands.reap(plan, [1], [0.5])
    assert (plan[1].status, plan[9].status) == (JobStatus.FAILED, JobStatus.CANCELLED)


def test_retried_then_its_asker_reaped_for_good_it_is_cancelled() -> None:
    ended = replace(GATE, status=JobStatus.FAILED, waits_for=None)
    plan = plan_of(replace(ASKER, max_interruptions=1), ended)
    revival.retry(plan, 2)
    assert gates.is_open(plan[2])
    commands.reap(plan, [1], [0.5])
    assert plan[2].status is JobStatus.CANCELLED
    assert types(plan, 2) == ["retrying", "asked", "cancelled"]


def test_a_parked_job_that_is_given_up_ends_with_its_gates() -> None:
    second = replace(GATE, n=4, id="a/r")
    plan = plan_of(PARKED, GATE, second, gates=(STATE, replace(STATE, n=4)))
    commands.give_up(plan, [1], JobError("LocalJobLostError", "gone"))
    assert (plan[1].status, plan[1].parked) == (JobStatus.FAILED, None)
    assert [plan[n].status for n in (2, 4)] == [JobStatus.CANCELLED] * 2


def test_a_job_that_never_asked_looks_for_no_gates() -> None:
    class NoGates(Rows):
        def open_gates(self, askers: object) -> list[int]:
            raise AssertionError("a statement more")

    plan = Plan(NoGates([replace(ASKER, role=None)]), NOW)
    assert commands.finish(plan, [(1, 7, end(FATAL))]) == [JobStatus.FAILED]


def test_open_gates_whose_rows_are_lost_are_left_out() -> None:
    class Lost(Rows):
        def open_gates(self, askers: object) -> list[int]:
            return [2, 99]

    plan = Plan(Lost([ASKER, GATE], gates=[STATE]), NOW)
    assert plan.open_gates([1]) == [2]


def test_what_a_plan_changed_of_gates_is_written_once() -> None:
    plan = plan_of(ASKER, GATE)
    assert plan.clean
    plan.put_gate(STATE)
    assert not plan.clean
    assert plan.take().gates == [STATE]
    assert plan.take().gates == []


def test_a_question_is_read_as_it_is_stored() -> None:
    plan = plan_of(GATE, calls={2: encoded(NO)})
    assert plan.question(2) == Question(question="Print?", default=NO)
    assert plan.question(99) is None
