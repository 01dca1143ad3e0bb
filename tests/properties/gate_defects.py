"""Defects of gates, to be put into ``core`` and the store in memory on purpose: the random histories catch each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from asyncjobs.backends.memory import MemoryBackend
from asyncjobs.backends.memory.tables import Tables
from asyncjobs.backends.sqlite import gates as sqlite_gates
from asyncjobs.core import commands, edges, gate_commands, gates, lifecycle, revival
from asyncjobs.core.plan import Plan
from asyncjobs.core.requests import Answer, Question
from asyncjobs.core.state import Change, GateState, JobState, Role
from asyncjobs.exceptions import JobStateError
from asyncjobs.models import EdgeState, EventType, JobStatus, WaitsFor

Patch = pytest.MonkeyPatch
Opened = tuple[Change, GateState]

# -- answers


def two_answers_accepted(patch: Patch) -> None:
    """Whether somebody else has answered meanwhile is not looked at."""
    answered, refusal = gates.answered, gates.refusal

    def overwrite(job: JobState, gate: GateState, answer: Answer, now: int) -> Opened:
        return answered(replace(job, status=JobStatus.PENDING), gate, answer, now)

    def lenient(job: JobState, gate: GateState, now: int) -> JobStateError | None:
        return None if gate.answered_at is not None else refusal(job, gate, now)

    patch.setattr(gates, "answered", overwrite)
    patch.setattr(gates, "refusal", lenient)


def an_answer_sent_again_is_refused(patch: Patch) -> None:
    """Who did not get the acknowledgement is told that another one was first."""
    patch.setattr(gates, "is_repeated", lambda *_: False)


def the_answer_of_another_is_a_repetition(patch: Patch) -> None:
    """The value is compared, who gave it is not."""
    is_repeated = gates.is_repeated

    def same(job: JobState, gate: GateState, answer: Answer, value: bytes | None) -> bool:
        return is_repeated(job, gate, replace(answer, by=gate.answered_by), value)

    patch.setattr(gates, "is_repeated", same)


def an_answer_after_the_deadline_is_accepted(patch: Patch) -> None:
    """Until somebody has ended the gate."""
    refusal = gates.refusal
    patch.setattr(gates, "refusal", lambda job, gate, now: refusal(replace(job, run_at=None), gate, now))


def dependents_released_before_the_answer_is_stored(patch: Patch) -> None:
    """The gate is completed, its value comes later."""
    completed = gates._completed

    def empty(job: JobState, value: bytes | None, now: int, *, by: str | None) -> Change:
        return completed(job, None, now, by=by)

    patch.setattr(gates, "_completed", empty)


def an_answer_stored_without_its_dependents_released(patch: Patch) -> None:
    """They would be settled in another transaction."""
    propagate = Plan.propagate

    def later(plan: Plan, ended: Sequence[int]) -> None:
        propagate(plan, [n for n in ended if plan[n].role is not Role.GATE])

    patch.setattr(Plan, "propagate", later)


def an_old_answer_shown_of_a_gate_that_is_open_again(patch: Patch) -> None:
    """What is beside the row is not cleared."""
    opened = gates.opened

    def kept(job: JobState, gate: GateState, question: Question, now: int, generation: int) -> Opened:
        change, state = opened(job, gate, question, now, generation)
        return change, replace(state, answered_at=gate.answered_at, answered_by=gate.answered_by, reason=gate.reason)

    patch.setattr(gates, "opened", kept)


# -- opening


def opened_before_its_dependencies(patch: Patch) -> None:
    """The first of them that is met opens it."""
    decide = edges.decide

    def eager(child: JobState, settled: Sequence[edges.Settled], now: int) -> JobState | Change:
        first = child.role is Role.GATE and any(edge.state is EdgeState.MET for edge in settled)
        verdict = decide(child, settled, now)
        return replace(verdict, waits_for=WaitsFor.ANSWER) if first and isinstance(verdict, JobState) else verdict

    patch.setattr(edges, "decide", eager)


def opened_without_its_event(patch: Patch) -> None:
    """It waits for an answer, and no page shows it."""
    apply = Plan.apply

    def silent(plan: Plan, change: Change) -> None:
        apply(plan, replace(change, events=tuple(e for e in change.events if e.type != EventType.ASKED)))

    patch.setattr(Plan, "apply", silent)


def opened_again_by_a_surplus_dependency(patch: Patch) -> None:
    """Each dependency that ends asks once more."""
    keep = Plan._keep

    def again(plan: Plan, verdict: JobState | Change) -> bool:
        if isinstance(verdict, JobState) and gates.is_open(verdict):
            return plan.open_gate(verdict)
        return keep(plan, verdict)

    patch.setattr(Plan, "_keep", again)


def closed_by_a_retried_optional_parent(patch: Patch) -> None:
    """An open gate waits for it again, as a job does that is ready and not started."""
    patch.setattr(revival, "_has_started", lambda plan, job: job.attempt > 0)


def closed_by_a_retried_optional_parent_once_it_has_ended(patch: Patch) -> None:
    """Only as long as it is open, it counts as started."""
    patch.setattr(revival, "_has_started", lambda plan, job: job.attempt > 0 or gates.is_open(job))


# -- deadlines


def expired_twice(patch: Patch) -> None:
    """Two processes have read what is due; the second one does not look again whether it still is."""
    end = gate_commands.end_due_gates
    read: list[int] = []

    def both(plan: Plan, numbers: Sequence[int]) -> list[JobState]:
        first = end(plan, numbers)
        plan.load(read)
        for n in read:
            question, job = plan.question(n), plan.get(n)
            if question is not None and job is not None and job.status in (JobStatus.COMPLETED, JobStatus.FAILED):
                plan.apply(gates.not_answered(replace(job, status=JobStatus.PENDING), question, plan.now))
        read[:] = [job.n for job in first]
        return first

    patch.setattr(gate_commands, "end_due_gates", both)


def an_ended_gate_expires(patch: Patch) -> None:
    """The deadline of one that was answered ends it once more."""

    def due_gates(tables: Tables, now: int) -> Sequence[int]:
        rows = [tables.rows[n] for n in tables.gate_rows]
        return [row.n for row in rows if row.run_at is not None and row.run_at <= now]

    def end(plan: Plan, numbers: Sequence[int]) -> list[JobState]:
        plan.load(numbers)
        ended: list[JobState] = []
        for n in numbers:
            job, question = plan[n], plan.question(n)
            assert question is not None
            change = gates.not_answered(replace(job, status=JobStatus.PENDING), question, plan.now)
            plan.apply(change)
            ended.append(change.job)
        plan.propagate(numbers)
        return ended

    patch.setattr(Tables, "due_gates", due_gates)
    patch.setattr(gate_commands, "end_due_gates", end)


def a_default_is_forgotten(patch: Patch) -> None:
    not_answered = gates.not_answered
    patch.setattr(
        gates, "not_answered", lambda job, question, now: not_answered(job, replace(question, default=None), now)
    )


def a_deadline_counts_from_the_submission(patch: Patch) -> None:
    """The time that its dependencies took is lost."""
    opened = gates.opened

    def early(job: JobState, gate: GateState, question: Question, now: int, generation: int) -> Opened:
        change, state = opened(job, gate, question, now, generation)
        shorter = gate.timeout is not None and job.open == 0 and job.met > 0
        return (replace(change, job=replace(change.job, run_at=now)), state) if shorter else (change, state)

    patch.setattr(gates, "opened", early)


def a_deadline_does_not_follow_the_wall_clock(patch: Patch) -> None:
    """It is kept as a duration, as backoffs are."""
    opened = gates.opened

    def lasting(job: JobState, gate: GateState, question: Question, now: int, generation: int) -> Opened:
        change, state = opened(job, gate, question, now, generation)
        return replace(change, job=replace(change.job, lasts=change.job.run_at is not None)), state

    patch.setattr(gates, "opened", lasting)


# -- asking


def left_open_after_its_job_ended(patch: Patch) -> None:
    patch.setattr(Plan, "open_gates", lambda plan, askers: [])


def a_submitted_gate_ends_with_its_parent(patch: Patch) -> None:
    """One that a body submitted is taken for its question."""
    open_gates = Plan.open_gates

    def all_children(plan: Plan, askers: Sequence[int]) -> list[int]:
        children = plan.view.children(askers)
        plan.load(children)
        return sorted({*open_gates(plan, askers), *(n for n in children if gates.is_open(plan[n]))})

    patch.setattr(Plan, "open_gates", all_children)


def an_old_rejection_read_after_a_retry(patch: Patch) -> None:
    """A gate that ended without an answer is not opened again."""
    opened = gates.opened

    def for_ever(job: JobState, gate: GateState, question: Question, now: int, generation: int) -> Opened:
        return opened(job, gate, question, now, 10**6)

    patch.setattr(gates, "opened", for_ever)


def an_old_answer_read_after_a_fresh_retry(patch: Patch) -> None:
    """Answers that were given stay, whatever the retry."""
    ask = gate_commands.ask

    def found(plan: Plan, asker: tuple[int, int, int], *rest: Any) -> Any:
        plan.load([asker[0]])
        row = plan.get(asker[0])
        if row is not None:
            plan._jobs[row.n] = replace(row, steps_from=0)
        return ask(plan, asker, *rest)

    patch.setattr(gate_commands, "ask", found)


def a_given_answer_is_asked_for_again(patch: Patch) -> None:
    """Each retry asks everything again."""
    opened = gates.opened

    def never(job: JobState, gate: GateState, question: Question, now: int, generation: int) -> Opened:
        return opened(job, gate, question, now, generation - 10**6)

    patch.setattr(gates, "opened", never)


def a_stale_attempt_asks(patch: Patch) -> None:
    """Who asks is not looked at."""
    patch.setattr(gate_commands, "check_parent", lambda plan, parent: plan.load([parent[0]]))


def a_question_of_an_ended_job_is_opened_again(patch: Patch) -> None:
    """Nobody will read the answer, and nothing closes it."""
    patch.setattr(revival, "check_asker", lambda plan, job: None)


def asked_again_revives_what_it_did_not_skip(patch: Patch) -> None:
    """For a job with ``require``, a parent that was met is taken for a cause of its skip."""
    apply, edge = Plan.apply, Plan.edge

    def reviving(plan: Plan, row: Any, state: EdgeState) -> None:
        edge(plan, row, state)
        child = plan.get(row.child)
        if row.state is EdgeState.MET and child is not None and child.require and child.status is JobStatus.SKIPPED:
            apply(plan, lifecycle.revive(child, plan[row.parent].id, plan.now))
            apply(plan, lifecycle.skip(plan[child.n], child.because or "", plan.now))

    patch.setattr(Plan, "edge", reviving)


# -- parking


def parked_after_the_answer_and_never_woken(patch: Patch) -> None:
    """Whether the gate is still open is not looked at."""

    def open_gate(plan: Plan, gate_id: str, asker: int) -> JobState | None:
        n = plan.numbers([gate_id]).get(gate_id, -1)
        plan.load([n])
        gate = plan.gate(n)
        return plan.get(n) if gate is not None and gate.asker == asker else None

    patch.setattr(commands, "_open_gate", open_gate)


def parked_on_the_gate_of_another_job(patch: Patch) -> None:
    """Whose question it is is not looked at: its end wakes whoever asked it."""

    def open_gate(plan: Plan, gate_id: str, asker: int) -> JobState | None:
        n = plan.numbers([gate_id]).get(gate_id, -1)
        plan.load([n])
        job = plan.get(n)
        return job if job is not None and gates.is_open(job) else None

    patch.setattr(commands, "_open_gate", open_gate)


def woken_by_another_gate(patch: Patch) -> None:
    """Any of its questions that ends makes a parked job ready."""

    def wake(plan: Plan, ended: Sequence[int]) -> None:
        for by in plan.load_askers(ended).values():
            asker = plan[by]
            if asker.parked is not None:
                plan.put(replace(asker, parked=None, waits_for=lifecycle.waiting_place(asker, plan.now)))

    patch.setattr(Plan, "_notify_askers", wake)


def never_woken(patch: Patch) -> None:
    patch.setattr(Plan, "_notify_askers", lambda plan, ended: None)


def woken_by_answers_alone(patch: Patch) -> None:
    """A gate that is cancelled leaves who is parked on it where it is."""
    wake = Plan._notify_askers

    def answered(plan: Plan, ended: Sequence[int]) -> None:
        wake(plan, [n for n in ended if plan[n].status is not JobStatus.CANCELLED])

    patch.setattr(Plan, "_notify_askers", answered)


def a_cancelled_job_stays_parked(patch: Patch) -> None:
    """The gate of a job that was cancelled while it was parked, and is retried, wakes it once more."""
    cancel = lifecycle.cancel

    def keeping(job: JobState, now: int) -> Change | None:
        change = cancel(job, now)
        return None if change is None else replace(change, job=replace(change.job, parked=job.parked))

    patch.setattr(lifecycle, "cancel", keeping)


def a_stale_attempt_parks(patch: Patch) -> None:
    """An attempt that is over takes its job out of the ready ones."""
    update = MemoryBackend.update_job_status

    async def late(self: MemoryBackend, ends: Any, claim: Any = None) -> Any:
        tables: Tables = self._tables
        parking = [end for end in ends if end.parked_on is not None and end.attempt.job_id in tables.ids]
        for end in parking:
            row = tables.rows[tables.ids[end.attempt.job_id]]
            ready = row.status is JobStatus.PENDING and row.waits_for is WaitsFor.WORKER
            if ready and end.parked_on in tables.ids:
                parked = replace(row, waits_for=WaitsFor.ANSWER, parked=tables.ids[end.parked_on], run_at=None)
                self._commit(lambda plan, row=parked: plan.put(row))
        return await update(self, ends, claim)

    patch.setattr(MemoryBackend, "update_job_status", late)


# -- of files


def left_open_after_its_job_ended_in_the_file(patch: Patch) -> None:
    patch.setattr(sqlite_gates, "OPEN", sqlite_gates.OPEN.replace("g.asker IS NOT NULL", "g.asker IS NULL"))


def the_newest_deadline_first_in_the_file(patch: Patch) -> None:
    patch.setattr(sqlite_gates, "DUE", sqlite_gates.DUE.replace("ORDER BY run_at, n", "ORDER BY run_at DESC, n"))


def what_changes_beside_the_row_is_written_once_in_the_file(patch: Patch) -> None:
    """An answer is stored, who gave it is not."""
    patch.setattr(sqlite_gates, "_WRITE", sqlite_gates._WRITE.replace("REPLACE", "IGNORE"))


GATE_DEFECTS_OF_FILES = [
    left_open_after_its_job_ended_in_the_file,
    the_newest_deadline_first_in_the_file,
    what_changes_beside_the_row_is_written_once_in_the_file,
]
GATE_DEFECTS = [
    two_answers_accepted,
    an_answer_sent_again_is_refused,
    the_answer_of_another_is_a_repetition,
    an_answer_after_the_deadline_is_accepted,
    dependents_released_before_the_answer_is_stored,
    an_answer_stored_without_its_dependents_released,
    an_old_answer_shown_of_a_gate_that_is_open_again,
    opened_before_its_dependencies,
    opened_without_its_event,
    opened_again_by_a_surplus_dependency,
    closed_by_a_retried_optional_parent,
    closed_by_a_retried_optional_parent_once_it_has_ended,
    expired_twice,
    an_ended_gate_expires,
    a_default_is_forgotten,
    a_deadline_counts_from_the_submission,
    a_deadline_does_not_follow_the_wall_clock,
    left_open_after_its_job_ended,
    a_submitted_gate_ends_with_its_parent,
    an_old_rejection_read_after_a_retry,
    an_old_answer_read_after_a_fresh_retry,
    a_given_answer_is_asked_for_again,
    a_stale_attempt_asks,
    a_question_of_an_ended_job_is_opened_again,
    asked_again_revives_what_it_did_not_skip,
    parked_after_the_answer_and_never_woken,
    parked_on_the_gate_of_another_job,
    woken_by_another_gate,
    never_woken,
    woken_by_answers_alone,
    a_cancelled_job_stays_parked,
    a_stale_attempt_parks,
]
