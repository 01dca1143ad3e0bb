"""Decide the operations on gates (ask, answer, end those that are due), as ``core.commands`` does for all jobs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from asyncjobs.core import gates, lifecycle
from asyncjobs.core.commands import check_parent, insert
from asyncjobs.core.plan import Plan
from asyncjobs.core.requests import Answer, AskedGate, NewJob
from asyncjobs.core.revival import check_asker, wait_again
from asyncjobs.core.state import JobState, Role
from asyncjobs.exceptions import JobConflictError, JobStateError
from asyncjobs.models import JobStatus


def ask(plan: Plan, asker: tuple[int, int, int], job: NewJob, numbers: Iterable[int]) -> AskedGate:
    """Ask the question of a body: open its gate, or find the one that an earlier attempt asked under this id.

    A gate that ended without an answer before the asker was retried is opened again; after a fresh retry, any gate is.

    :param asker: (number, attempt, worker) of the job whose body asks; it must still hold its attempt.
    :param numbers: fresh job numbers; at most one is taken, after everything is read.
    :raises JobStateError: the asker no longer holds it. JobConflictError: the id is that of another kind of job.
    """
    check_parent(plan, asker)
    row = plan[asker[0]]
    n = plan.numbers([job.id]).get(job.id)
    if n is None:
        _note_asker(plan, row)
        n = next(iter(numbers))
        insert(plan, job, {job.id: n}, asker, asker[0])
        return _asked(plan, row.n, n)
    plan.load([n])
    found, gate = plan[n], plan.gate(n)
    if found.role is not Role.GATE or gate is None or gate.asker != row.n:
        raise JobConflictError(job.id, differs="another function")
    _note_asker(plan, row)
    again = gate.generation < (row.steps_from if found.status is JobStatus.COMPLETED else row.generation)
    if found.status.terminal and again:
        _open_again(plan, found, row)
    return _asked(plan, row.n, n)


def open_again(plan: Plan, n: int) -> JobState:
    """Open the gate of a question again: one step, for stores that perform ``ask`` in several steps.

    :raises JobStateError: it is open already, or the job that asked has ended.
    """
    plan.load([n])
    job, gate = plan[n], plan.gate(n)
    if not job.status.terminal:
        raise JobStateError(job.id, job.status, "it is asked already")
    check_asker(plan, job)
    assert gate is not None
    assert gate.asker is not None, "it is the gate of a question"
    _open_again(plan, job, plan[gate.asker])
    return plan[n]


def _open_again(plan: Plan, gate: JobState, asker: JobState) -> None:
    plan.apply(lifecycle.revive(gate, asker.id, plan.now, by="ask"))
    wait_again(plan, gate, by="ask")


def _asked(plan: Plan, asker: int, n: int) -> AskedGate:
    """Return a gate as it stands; if it is open, record in the log of its asker that the asker begins to wait."""
    gate = plan[n]
    if gates.is_open(gate):
        # Recorded here and not by the body, whose events are stored a moment later: the answer may come before them.
        plan.apply(gates.noted_question(plan[asker], gate, plan.question(n), plan.now))
    return AskedGate(gate.id, gate.status, plan.call(n) or b"")


def _note_asker(plan: Plan, row: JobState) -> None:
    """Mark a job as one whose end may close gates."""
    if row.role is not Role.ASKER:
        plan.put(replace(row, role=Role.ASKER))


def answer(plan: Plan, n: int, given: Answer) -> JobStatus:
    """End an open gate by an answer, or by a rejection; the first one wins.

    :returns: the status of the gate then, also if this very answer has ended it before.
    :raises JobStateError: it is not a gate, not open, its deadline has passed, or another answer came first.
    """
    plan.load([n])
    job, gate = plan[n], plan.gate(n)
    if job.role is not Role.GATE or gate is None:
        hint = "only gates, made by submit_gate or ask, can be answered"
        raise JobStateError(job.id, job.status, "it is not a gate", hint=hint)
    refusal = gates.refusal(job, gate, plan.now)
    if refusal is not None:
        if gates.is_repeated(job, gate, given, plan.result(n)):
            return job.status
        raise refusal
    change, state = gates.answered(job, gate, given, plan.now)
    plan.apply(change)
    plan.put_gate(state)
    plan.propagate([n])
    return change.job.status


def end_due_gates(plan: Plan, numbers: Sequence[int]) -> list[JobState]:
    """End these gates if they are open and their deadline has passed; return the rows of those that ended."""
    plan.load(numbers)
    ended: list[JobState] = []
    for n in numbers:
        job = plan.get(n)
        if job is None or not gates.is_open(job) or not gates.is_due(job, plan.now):
            continue
        question = plan.question(n)
        if question is None:
            change = lifecycle.give_up(job, gates.UNREADABLE, plan.now)
        else:
            change = gates.not_answered(job, question, plan.now)
        plan.apply(change)
        ended.append(change.job)
    plan.propagate([job.n for job in ended])
    return ended
