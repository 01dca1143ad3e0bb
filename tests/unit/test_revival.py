"""A retry by hand, decided on a plan: what is revived with it, what waits again, and what stays as it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest
from msgspec.structs import replace

from asyncjobs.core import gates, revival
from asyncjobs.core.plan import Plan
from asyncjobs.core.state import EdgeRow, GateState, JobState, Role
from asyncjobs.exceptions import JobNotFoundError, JobStateError
from asyncjobs.models import EdgeState, JobStatus, WaitsFor
from tests.unit.plans import NOW, Rows, types

FAILED_JOB = JobState(1, "p", JobStatus.FAILED, None, attempt=1)
GATE = JobState(2, "g", JobStatus.FAILED, None, role=Role.GATE, run_at=NOW - 5)
STATE = GateState(2, timeout=7, opened_at=1, answered_at=2, answered_by="bo", reason="no")
MET, PASSED, BROKEN = EdgeState.MET, EdgeState.PASSED, EdgeState.BROKEN


def test_a_retry_of_nobody_is_not_found() -> None:
    with pytest.raises(JobNotFoundError):
        revival.retry(Plan(Rows([FAILED_JOB]), NOW), 99)


@pytest.mark.parametrize(
    ("job", "hint"),
    [
        (replace(FAILED_JOB, status=JobStatus.COMPLETED), None),
        (replace(FAILED_JOB, status=JobStatus.IN_PROGRESS), None),
        (replace(GATE, status=JobStatus.PENDING, waits_for=WaitsFor.ANSWER), None),
        (replace(GATE, status=JobStatus.COMPLETED), None),
        (replace(FAILED_JOB, status=JobStatus.SKIPPED, because="root"), "retry 'root' instead"),
    ],
)
def test_only_a_failed_or_cancelled_job_is_retried(job: JobState, hint: str | None) -> None:
    plan = Plan(Rows([job], gates=[STATE]), NOW)
    with pytest.raises(JobStateError, match="only a failed or cancelled job can be retried") as refused:
        revival.retry(plan, job.n)
    assert refused.value.hint == hint
    assert plan.clean


def test_a_retry_begins_a_generation_and_a_fresh_one_lets_steps_count_from_it() -> None:
    failed = JobState(6, "failed", JobStatus.FAILED, None, attempt=1, generation=3, steps_from=2)
    skipped = JobState(7, "skipped", JobStatus.SKIPPED, None, because="failed")
    for fresh, steps_from in ((False, 2), (True, 4)):
        plan = Plan(Rows([failed, skipped], [EdgeRow(6, 7, state=EdgeState.BROKEN)]), NOW)
        revival.retry(plan, 6, fresh=fresh)
        assert [(job.id, job.generation, job.steps_from) for job in plan.take().changed] == [
            ("failed", 4, steps_from),
            ("skipped", 0, 0),
        ]
        assert [event.data for _, event in plan.events] == [
            {"by": "retry_job", "job": "failed"} | ({"fresh": True} if fresh else {}),
            {"by": "retry_job", "job": "failed"},
        ]


def test_an_edge_of_a_damaged_store_that_leads_nowhere_does_not_stop_the_others() -> None:
    skipped = JobState(7, "skipped", JobStatus.SKIPPED, None, because="p")
    plan = Plan(Rows([FAILED_JOB, skipped], [EdgeRow(1, 99, state=BROKEN), EdgeRow(1, 7, state=BROKEN)]), NOW)
    revival.retry(plan, 1)
    assert plan[7].status is JobStatus.PENDING


def test_what_gates_have_beside_their_rows_is_read_in_one_step() -> None:
    read: list[list[int]] = []

    class Counting(Rows):
        def gates(self, numbers: Sequence[int]) -> Iterable[GateState]:
            read.append(list(numbers))
            return super().gates(numbers)

    waiting = [replace(GATE, n=n, id=f"g{n}", status=JobStatus.CANCELLED) for n in (2, 3, 4)]
    rows = [FAILED_JOB, *waiting, JobState(5, "c")]
    revival.retry(Plan(Counting(rows, [EdgeRow(1, n, True, PASSED) for n in (2, 3, 4, 5)]), NOW), 1)
    assert read[0] == [2, 3, 4]


# -- of a gate


@pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.CANCELLED])
def test_a_gate_is_opened_again_with_its_timeout(status: JobStatus) -> None:
    plan = Plan(Rows([replace(GATE, status=status)], gates=[STATE]), NOW)
    opened = revival.retry(plan, 2)
    assert gates.is_open(opened)
    assert (opened.run_at, opened.finished_at) == (NOW + 7, None)
    assert plan.gate(2) == GateState(2, timeout=7, opened_at=NOW)
    assert types(plan, 2) == ["retrying", "asked"]


def test_one_that_cannot_be_read_fails_again() -> None:
    child = JobState(3, "c", JobStatus.SKIPPED, None, because="g")
    plan = Plan(Rows([GATE, child], [EdgeRow(2, 3, state=BROKEN)], [STATE], calls={}), NOW)
    assert revival.retry(plan, 2).status is JobStatus.FAILED
    assert (plan[3].status, plan[3].because) == (JobStatus.SKIPPED, "g")
    assert types(plan, 3) == ["retrying", "skipped"]


@pytest.mark.parametrize("status", [JobStatus.IN_PROGRESS, JobStatus.PENDING])
def test_one_whose_asker_goes_on_is_opened_in_its_generation(status: JobStatus) -> None:
    asker = JobState(1, "a", status, None, attempt=1, role=Role.ASKER, generation=3)
    plan = Plan(Rows([asker, GATE], gates=[replace(STATE, asker=1)]), NOW)
    revival.retry(plan, 2)
    opened = plan.gate(2)
    assert opened is not None
    assert (opened.generation, opened.opened_at) == (3, NOW)


@pytest.mark.parametrize("status", [status for status in JobStatus if status.terminal])
def test_one_whose_asker_has_ended_is_not(status: JobStatus) -> None:
    asker = JobState(1, "a", status, None, attempt=1, role=Role.ASKER)
    plan = Plan(Rows([asker, GATE], gates=[replace(STATE, asker=1)]), NOW)
    with pytest.raises(JobStateError) as refused:
        revival.retry(plan, 2)
    assert str(refused.value) == (
        "job 'g' is failed; the job that asked has ended\n  hint: retry 'a' instead: it asks again"
    )
    assert plan.clean


def test_nor_one_whose_asker_is_gone() -> None:
    plan = Plan(Rows([GATE], gates=[replace(STATE, asker=1)]), NOW)
    with pytest.raises(JobStateError) as refused:
        revival.retry(plan, 2)
    assert refused.value.hint is None


def test_in_a_damaged_store_one_without_its_state_is_opened_without_a_deadline() -> None:
    plan = Plan(Rows([GATE]), NOW)
    assert gates.is_open(revival.retry(plan, 2))
    assert plan.gate(2) == GateState(2, opened_at=NOW)


# -- what waits for it


def with_dependent(child: JobState, edge: EdgeState, *states: GateState) -> Plan:
    plan = Plan(Rows([FAILED_JOB, child], [EdgeRow(1, child.n, True, edge)], states), NOW)
    revival.retry(plan, 1)
    return plan


def test_a_ready_job_waits_again_and_one_that_ran_does_not() -> None:
    ready = JobState(3, "c")
    assert with_dependent(ready, PASSED)[3].waits_for is WaitsFor.DEPENDENCIES
    assert with_dependent(replace(ready, attempt=1), PASSED).take().changed_edges == []


@pytest.mark.parametrize(
    ("gate", "state", "waits"),
    [
        (replace(GATE, status=JobStatus.PENDING, waits_for=WaitsFor.ANSWER), (STATE,), False),
        (replace(GATE, status=JobStatus.PENDING, waits_for=WaitsFor.ANSWER), (), False),
        (GATE, (STATE,), False),
        (replace(GATE, status=JobStatus.CANCELLED), (STATE,), False),
        (replace(GATE, status=JobStatus.CANCELLED), (GateState(2),), True),
        (replace(GATE, status=JobStatus.CANCELLED), (), True),
    ],
    ids=["open", "open, its state lost", "rejected", "cancelled", "cancelled before it was asked", "state lost"],
)
def test_a_gate_that_was_asked_has_started(gate: JobState, state: tuple[GateState, ...], waits: bool) -> None:
    plan = with_dependent(gate, PASSED, *state)
    assert bool(plan.take().changed_edges) is waits
    assert plan[2].status is gate.status
    assert types(plan, 2) == []


def test_a_gate_that_was_skipped_waits_again() -> None:
    plan = Plan(
        Rows(
            [FAILED_JOB, replace(GATE, status=JobStatus.SKIPPED, because="p")],
            [EdgeRow(1, 2, False, BROKEN)],
            [GateState(2)],
        ),
        NOW,
    )
    revival.retry(plan, 1)
    assert (plan[2].status, plan[2].waits_for) == (JobStatus.PENDING, WaitsFor.DEPENDENCIES)


def test_a_dependency_that_was_met_and_is_asked_again_counts_no_more() -> None:
    """It was no cause of a skip, so it revives nothing."""
    asker = JobState(1, "a", JobStatus.IN_PROGRESS, None, attempt=1, role=Role.ASKER)
    asked = replace(GATE, status=JobStatus.PENDING, waits_for=WaitsFor.DEPENDENCIES)
    ready = JobState(3, "ready", require=1, met=2)
    skipped = JobState(4, "skipped", JobStatus.SKIPPED, None, require=2, met=1, because="other")
    other = JobState(5, "other", JobStatus.COMPLETED, None)
    edges = [EdgeRow(2, 3, state=MET), EdgeRow(2, 4, state=MET), EdgeRow(5, 3, state=MET)]
    plan = Plan(Rows([asker, asked, ready, skipped, other], edges, [replace(STATE, asker=1)]), NOW)
    plan.load([1, 2])
    revival.wait_again(plan, asked, by="ask")
    assert (plan[3].open, plan[3].met, plan[3].waits_for) == (1, 1, WaitsFor.WORKER), "one is enough for it"
    assert (plan[4].open, plan[4].met, plan[4].status) == (1, 0, JobStatus.SKIPPED)
    assert types(plan, 4) == []
