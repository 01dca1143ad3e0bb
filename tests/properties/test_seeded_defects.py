"""The checker is checked: each of these defects, put into ``core`` on purpose, is caught by the random histories."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from asyncjobs.backends.memory import MemoryBackend
from asyncjobs.backends.memory.tables import Step, Tables
from asyncjobs.backends.sqlite import steps
from asyncjobs.core import commands, edges, lifecycle, limits
from asyncjobs.core.commands import NewJob
from asyncjobs.core.limits import Admission, Candidate
from asyncjobs.core.plan import Plan
from asyncjobs.core.requests import Keep, StepChange
from asyncjobs.core.state import Change, JobState, NewEvent, Stale
from asyncjobs.exceptions import CyclicDependencyError, JobStateError
from asyncjobs.models import BodyEvent, EdgeState, EventType, JobStatus, WaitsFor
from tests.conformance.support import maker
from tests.properties.driver import Driver, play
from tests.properties.gate_defects import GATE_DEFECTS, GATE_DEFECTS_OF_FILES
from tests.properties.gate_driver import GateDriver

SEEDS = range(200)

Patch = pytest.MonkeyPatch


def no_fence(patch: Patch) -> None:
    """Any attempt of any worker may end a job that is in progress."""

    def holds(job: JobState, attempt: int, worker: int | None) -> bool:
        return job.status is JobStatus.IN_PROGRESS

    patch.setattr(lifecycle, "holds", holds)


def no_worker_in_the_fence(patch: Patch) -> None:
    """The attempt number is compared, who holds it is not."""

    def holds(job: JobState, attempt: int, worker: int | None) -> bool:
        return job.status is JobStatus.IN_PROGRESS and job.attempt == attempt

    patch.setattr(lifecycle, "holds", holds)


def no_status_in_the_fence(patch: Patch) -> None:
    """An attempt number is enough to say something, also when the job went back to pending."""

    def say(job: JobState, attempt: int, worker: int | None, said: Sequence[BodyEvent]) -> Change | Stale:
        if job.attempt != attempt:
            return Stale(job.attempt, job.status)
        events = [NewEvent(job.seq + i, e.type, e.at, job.attempt, None, e.data) for i, e in enumerate(said, start=1)]
        return Change(replace(job, seq=job.seq + len(said)), tuple(events))

    patch.setattr(lifecycle, "append_events", say)


def double_release(patch: Patch) -> None:
    """A met edge is counted twice, so that a dependent starts too early."""
    release = edges.count_settled

    def twice(child: JobState, settled: edges.Settled, now: int) -> JobState | Change:
        met = settled.state is EdgeState.MET
        return release(replace(child, open=child.open - met, met=child.met + met), settled, now)

    patch.setattr(edges, "count_settled", twice)


def event_outside_its_change(patch: Patch) -> None:
    """A skip is stored, its event is lost."""
    apply = Plan.apply

    def silent(plan: Plan, change: Change) -> None:
        apply(plan, replace(change, events=tuple(e for e in change.events if e.type != EventType.SKIPPED)))

    patch.setattr(Plan, "apply", silent)


def event_told_twice(patch: Patch) -> None:
    """A start is told twice."""
    apply = Plan.apply

    def echoing(plan: Plan, change: Change) -> None:
        apply(plan, change)
        plan.events.extend((change.job.n, e) for e in change.events if e.type == EventType.STARTED)

    patch.setattr(Plan, "apply", echoing)


def retry_forgets_a_second_broken_parent(patch: Patch) -> None:
    """A revived job waits on, although another parent of it is broken."""
    decide = Plan.decide

    def hopeful(plan: Plan, n: int) -> bool:
        if any(edge.state is EdgeState.BROKEN for edge in plan.edges_to([n])):
            return False
        return decide(plan, n)

    patch.setattr(Plan, "decide", hopeful)


def retry_leaves_optional_dependents_ready(patch: Patch) -> None:
    """What is ready stays so, although an optional parent of it runs again."""
    decide = Plan.decide

    def lazy(plan: Plan, n: int) -> bool:
        ready = plan[n].waits_for in (WaitsFor.WORKER, WaitsFor.TIME, WaitsFor.LIMIT)
        return False if ready else decide(plan, n)

    patch.setattr(Plan, "decide", lazy)


def skip_not_propagated(patch: Patch) -> None:
    """The dependents of a job are told, theirs are not."""
    propagate = Plan.propagate

    def one_level(plan: Plan, ended: Sequence[int]) -> None:
        original = plan.edges_from
        calls = 0

        def first_level(parents: Sequence[int]) -> list[Any]:
            nonlocal calls
            calls += 1
            return original(parents) if calls == 1 else []

        plan.edges_from = first_level
        try:
            propagate(plan, ended)
        finally:
            plan.edges_from = original

    patch.setattr(Plan, "propagate", one_level)


def limit_not_freed(patch: Patch) -> None:
    """A job that ends keeps its place in its key."""
    limited: Callable[[Plan, JobState | None, JobState], None] = Plan._limited

    def hoarding(plan: Plan, before: JobState | None, after: JobState) -> None:
        if before is None or before.status is not JobStatus.IN_PROGRESS:
            limited(plan, before, after)

    patch.setattr(Plan, "_limited", hoarding)


def limit_admits_beside_what_is_ready(patch: Patch) -> None:
    """The room of a key is given to waiting jobs, although ready ones have it already."""

    def admit(capacity: int, in_progress: int, ready: Sequence[Candidate], waiting: Sequence[Candidate]) -> Admission:
        return Admission(promote=tuple(job.n for job in waiting), demote=())

    patch.setattr(limits, "admit", admit)


def cancel_request_forgotten(patch: Patch) -> None:
    """An attempt that was asked to stop may still succeed."""
    finish = lifecycle.finish

    def deaf(job: JobState, *args: Any, **kwargs: Any) -> Change | Stale:
        return finish(replace(job, cancel_requested=False), *args, **kwargs)

    patch.setattr(lifecycle, "finish", deaf)


def interruption_not_counted(patch: Patch) -> None:
    """A killer job is tried for ever."""
    interrupt = lifecycle.interrupt

    def forgiving(job: JobState, now: int, jitter: float) -> Change | Stale:
        change = interrupt(replace(job, max_interruptions=99), now, jitter)
        return change if isinstance(change, Stale) else replace(change, job=replace(change.job, interruptions=0))

    patch.setattr(lifecycle, "interrupt", forgiving)


def cycle_not_seen(patch: Patch) -> None:
    """The jobs of a cycle are stored, and wait for ever."""
    parents_first = commands._parents_first

    def blind(fresh: dict[str, NewJob]) -> list[str]:
        try:
            return parents_first(fresh)
        except CyclicDependencyError:
            cut = {job_id: replace(job, dependencies=(), require=None) for job_id, job in fresh.items()}
            fresh.update(cut)
            return list(cut)

    patch.setattr(commands, "_parents_first", blind)


def only_the_stored_cause_revives(patch: Patch) -> None:
    """A child with ``require`` stays skipped when another of its broken parents is retried."""
    patch.setattr(edges, "revives", lambda child, retried, cause: child.because == retried)


def a_cancelled_tree_stays_open(patch: Patch) -> None:
    """An attempt that was asked to stop goes on submitting."""
    check_parent = commands.check_parent

    def lenient(plan: Plan, parent: tuple[int, int, int]) -> None:
        try:
            check_parent(plan, parent)
        except JobStateError as refused:
            if refused.status != "asked to stop":
                raise

    patch.setattr(commands, "check_parent", lenient)


def a_backoff_follows_the_wall_clock(patch: Patch) -> None:
    """A clock that is set back by an hour stretches it by an hour."""
    back = lifecycle._back

    def by_the_wall(*args: Any, **kwargs: Any) -> Change:
        change = back(*args, **kwargs)
        return replace(change, job=replace(change.job, lasts=False))

    patch.setattr(lifecycle, "_back", by_the_wall)


def steps_not_fenced_by_the_attempt(patch: Patch) -> None:
    """Whatever attempt of whatever worker keeps, as long as the job runs."""

    def refuse(job: JobState, attempt: int, worker: int | None) -> Stale | None:
        return None if job.status is JobStatus.IN_PROGRESS else Stale(job.attempt, job.status)

    patch.setattr(lifecycle, "refuse_step", refuse)


def steps_of_an_old_generation_are_read(patch: Patch) -> None:
    """A job that was retried anew finds what it kept before."""

    def all_of_them(tables: Tables, job_id: str) -> dict[str, bytes]:
        n = tables.ids.get(job_id, 0)
        return {key: step.value for key, step in sorted(tables.steps.get(n, {}).items())}

    patch.setattr(Tables, "counting_steps", all_of_them)


def steps_of_an_old_generation_are_read_from_the_file(patch: Patch) -> None:
    for name in ("_PAGE", "_ONE", "_COUNT"):
        patch.setattr(steps, name, getattr(steps, name).replace("s.generation >= j.steps_from", "1"))


def steps_kept_before_the_commit(patch: Patch) -> None:
    """A value of a running attempt is kept, although its call is refused afterwards."""
    write_steps = MemoryBackend.write_steps

    async def eager(self: MemoryBackend, changes: Sequence[StepChange]) -> Sequence[Stale | None]:
        tables: Tables = self._tables
        for change in changes:
            row = tables.rows[tables.ids[change.attempt.job_id]]
            if isinstance(change, Keep) and lifecycle.holds(row, change.attempt.attempt, None):
                tables.steps.setdefault(row.n, {})[change.key] = Step(row.generation, change.value)
        return await write_steps(self, changes)

    patch.setattr(MemoryBackend, "write_steps", eager)


def steps_forgotten_on_release(patch: Patch) -> None:
    """A job that is given back begins anew."""
    finish = lifecycle.finish

    def forgetful(job: JobState, *args: Any, **kwargs: Any) -> Change | Stale:
        change = finish(job, *args, **kwargs)
        if isinstance(change, Stale) or not any(event.type == EventType.RELEASED for event in change.events):
            return change
        return replace(change, job=replace(change.job, steps_from=job.generation + 1))

    patch.setattr(lifecycle, "finish", forgetful)


def steps_forgotten_on_every_retry(patch: Patch) -> None:
    """A retry that should resume begins anew."""
    revive = lifecycle.revive

    def anew(job: JobState, cause: str, now: int, *, fresh: bool = False, by: str = "retry_job") -> Change:
        right = revive(job, cause, now, fresh=fresh, by=by)
        return replace(revive(job, cause, now, fresh=True, by=by), events=right.events)

    patch.setattr(lifecycle, "revive", anew)


def steps_deleted_by_upkeep_that_count(patch: Patch) -> None:
    """Upkeep deletes what was kept before the last retry, although it was no fresh one."""

    def greedy(tables: Tables) -> None:
        for n, kept in tables.steps.items():
            for key in [key for key, step in kept.items() if step.generation < tables.rows[n].generation]:
                del kept[key]

    patch.setattr(Tables, "delete_outdated_steps", greedy)


DEFECTS = [
    no_fence,
    no_worker_in_the_fence,
    no_status_in_the_fence,
    double_release,
    event_outside_its_change,
    event_told_twice,
    retry_forgets_a_second_broken_parent,
    retry_leaves_optional_dependents_ready,
    skip_not_propagated,
    limit_not_freed,
    limit_admits_beside_what_is_ready,
    cancel_request_forgotten,
    interruption_not_counted,
    cycle_not_seen,
    only_the_stored_cause_revives,
    a_cancelled_tree_stays_open,
    a_backoff_follows_the_wall_clock,
    steps_not_fenced_by_the_attempt,
    steps_of_an_old_generation_are_read,
    steps_kept_before_the_commit,
    steps_forgotten_on_release,
    steps_forgotten_on_every_retry,
    steps_deleted_by_upkeep_that_count,
]
DEFECTS_OF_FILES = [steps_of_an_old_generation_are_read_from_the_file]

PLAYED_FIRST = {
    "limit_admits_beside_what_is_ready": 61,
    "a_cancelled_tree_stays_open": 133,
    "a_backoff_follows_the_wall_clock": 14,
    "cancel_request_forgotten": 15,
    "steps_forgotten_on_release": 9,
    "steps_of_an_old_generation_are_read": 32,
    "steps_of_an_old_generation_are_read_from_the_file": 32,
    "a_default_is_forgotten": 4,
    "a_question_of_an_ended_job_is_opened_again": 4,
    "a_stale_attempt_parks": 80,
    "an_answer_sent_again_is_refused": 8,
    "an_old_answer_read_after_a_fresh_retry": 3,
    "an_old_rejection_read_after_a_retry": 3,
    "a_submitted_gate_ends_with_its_parent": 3,
    "asked_again_revives_what_it_did_not_skip": 9,
    "expired_twice": 24,
    "opened_again_by_a_surplus_dependency": 11,
    "the_newest_deadline_first_in_the_file": 19,
    "woken_by_another_gate": 25,
    "woken_by_answers_alone": 19,
}
"""The first seed that catches a defect, where those before it take a while. If it does not any more, all are played."""


def caught(defect: Callable[[Patch], None], patch: Patch, kind: str, folder: Path, plays: type[Driver]) -> bool:
    """Whether the histories of a driver catch a defect, each seed in a store of its own."""
    first = PLAYED_FIRST.get(defect.__name__)

    async def histories() -> None:
        for seed in sorted(SEEDS, key=lambda seed: seed != first):
            own = folder / str(seed)
            own.mkdir()
            await play(maker(kind, own), seed, plays=plays)

    with patch.context() as planted:
        defect(planted)
        try:
            anyio.run(histories)
        except AssertionError:
            return True
    return False


@pytest.mark.slow
@pytest.mark.untraced  # what runs here is wrong
@pytest.mark.parametrize(
    ("kind", "defect"),
    [("memory", defect) for defect in DEFECTS] + [("sqlite", defect) for defect in DEFECTS_OF_FILES],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_the_checker_catches(kind: str, defect: Callable[[Patch], None], monkeypatch: Patch, tmp_path: Path) -> None:
    assert caught(defect, monkeypatch, kind, tmp_path, Driver)


@pytest.mark.slow
@pytest.mark.untraced
@pytest.mark.parametrize(
    ("kind", "defect"),
    [("memory", defect) for defect in GATE_DEFECTS] + [("sqlite", defect) for defect in GATE_DEFECTS_OF_FILES],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_histories_with_gates_catch(
    kind: str, defect: Callable[[Patch], None], monkeypatch: Patch, tmp_path: Path
) -> None:
    assert caught(defect, monkeypatch, kind, tmp_path, GateDriver)
