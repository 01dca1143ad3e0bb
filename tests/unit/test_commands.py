"""Commands on a plan: what is not (or no longer) so is left out, and a refusal leaves no trace."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from asyncjobs.core import commands
from asyncjobs.core.plan import Plan
from asyncjobs.core.requests import AttemptEnd, AttemptRef, Forget, Keep, NewJob, StepChange
from asyncjobs.core.retry import DEFAULT_RETRY
from asyncjobs.core.state import EdgeRow, JobState, Stale
from asyncjobs.exceptions import DuplicateJobError
from asyncjobs.models import Dependency, EdgeState, JobError, JobStatus, Outcome, OutcomeKind, WaitsFor
from tests.unit.plans import NOW, Rows

READY = JobState(1, "ready")
WAITING = JobState(2, "waiting", waits_for=WaitsFor.DEPENDENCIES, open=1)
RUNNING = JobState(3, "running", JobStatus.IN_PROGRESS, None, attempt=1, worker=7)
DONE = JobState(4, "done", JobStatus.COMPLETED, None, attempt=1)
LATER = JobState(5, "later", waits_for=WaitsFor.TIME, run_at=NOW - 1)
JOBS = [READY, WAITING, RUNNING, DONE, LATER]
NUMBERS = [job.n for job in JOBS] + [99]


def plan_of(*edges: EdgeRow) -> Plan:
    return Plan(Rows(JOBS, edges), NOW)


def test_a_claim_takes_ready_jobs_only() -> None:
    assert [job.id for job in commands.start(plan_of(), NUMBERS, 7)] == ["ready"]


def test_only_jobs_whose_time_has_come_are_promoted() -> None:
    plan = plan_of()
    commands.promote(plan, NUMBERS)
    assert [job.id for job in plan.take().changed] == ["later"]
    assert plan[5].waits_for is WaitsFor.WORKER


def test_only_attempts_in_progress_are_reaped() -> None:
    assert [job.id for job in commands.reap(plan_of(), NUMBERS, [0.5] * len(NUMBERS))] == ["running"]


def test_only_pending_jobs_are_given_up() -> None:
    failed = commands.give_up(plan_of(), NUMBERS, JobError("E", "nobody"))
    assert [job.id for job in failed] == ["ready", "waiting", "later"]


def test_a_recount_of_right_counts_changes_nothing() -> None:
    plan = plan_of(EdgeRow(3, 2))
    assert [job.id for job in commands.recount(plan, NUMBERS)] == [job.id for job in JOBS]
    assert plan.clean


def test_a_recount_mends_what_was_not_told() -> None:
    plan = plan_of(EdgeRow(4, 2, state=EdgeState.MET))
    commands.recount(plan, [2])
    assert plan[2].waits_for is WaitsFor.WORKER


def test_a_recount_skips_what_can_never_run() -> None:
    plan = plan_of(EdgeRow(4, 2, state=EdgeState.BROKEN))
    commands.recount(plan, [2])
    assert plan[2].status is JobStatus.SKIPPED


def test_an_outcome_of_a_job_that_is_not_stored_is_stale_and_those_beside_it_count() -> None:
    end = AttemptEnd(AttemptRef("running", 1, "w7"), Outcome(OutcomeKind.SUCCEEDED))
    plan = plan_of()
    assert commands.finish(plan, [(99, 7, end), (3, 7, end)]) == [Stale(0, JobStatus.CANCELLED), JobStatus.COMPLETED]
    assert [job.id for job in plan.take().changed] == ["running"]


def test_an_id_of_the_same_group_commit_is_known() -> None:
    plan = plan_of()
    new = NewJob(id="new", function="m:f", call=b"", queue="q", retry=DEFAULT_RETRY)
    assert commands.enqueue(plan, [new], iter([10]), lambda n: ("", b"")) == [10]
    with pytest.raises(DuplicateJobError):
        commands.enqueue(plan, [new], iter([11]), lambda n: ("", b""))
    assert plan.numbers(["new", "ready", "nobody"]) == {"new": 10, "ready": 1}


def test_a_generated_id_is_not_looked_for_in_the_store_also_as_that_of_a_parent() -> None:
    asked: list[str] = []

    class Asked(Rows):
        def numbers(self, ids: Sequence[str]) -> dict[str, int]:
            asked.extend(ids)
            return super().numbers(ids)

    parent = NewJob(id="parent", function="m:f", call=b"", queue="q", retry=DEFAULT_RETRY, generated=True)
    edges = (Dependency("parent"), Dependency("named"), Dependency("ready"))
    child = replace(parent, id="child", dependencies=edges)
    batch = [parent, replace(parent, id="named", generated=False), child]
    plan = Plan(Asked(JOBS), NOW)
    assert commands.enqueue(plan, batch, iter([10, 11, 12]), lambda n: ("", b"")) == [10, 11, 12]
    assert set(asked) == {"named", "ready"}
    assert {(edge.parent, edge.child) for edge in plan.take().new_edges} == {(10, 12), (11, 12), (1, 12)}


def test_an_edge_of_a_damaged_store_that_leads_nowhere_does_not_stop_the_others() -> None:
    plan = plan_of(EdgeRow(4, 99), EdgeRow(4, 2))
    plan.load(NUMBERS)
    plan.propagate([4])
    writes = plan.take()
    assert [(job.id, job.waits_for) for job in writes.changed] == [("waiting", WaitsFor.WORKER)]
    assert [(edge.child, edge.state) for edge in writes.changed_edges] == [(99, EdgeState.MET), (2, EdgeState.MET)]


def test_only_an_attempt_in_progress_keeps_and_forgets() -> None:
    plan = plan_of()
    held = AttemptRef("running", 1, "w7")
    changes: list[tuple[int, int, StepChange]] = [
        (3, 7, Keep(held, "x", b"1")),
        (3, 8, Keep(held, "x", b"of another worker")),
        (3, 7, Keep(AttemptRef("running", 2, "w7"), "x", b"of another attempt")),
        (3, 7, Forget(held, "x")),
        (4, 7, Forget(AttemptRef("done", 1, "w7"), "")),
        (99, 7, Keep(AttemptRef("gone", 1, "w7"), "x", b"1")),
    ]
    refused = Stale(1, JobStatus.IN_PROGRESS)
    answers = commands.write_steps(plan, changes)
    assert answers == [None, refused, refused, None, Stale(1, JobStatus.COMPLETED), Stale(0, JobStatus.CANCELLED)]
    assert not plan.clean
    assert plan.take().steps == [(3, 0, changes[0][2]), (3, 0, changes[3][2])]
    assert plan.clean
