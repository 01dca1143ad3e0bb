"""Decide what follows when a job is retried by hand: rule 4.4 of the state machine."""

from __future__ import annotations

from msgspec.structs import replace

from asyncjobs.core import edges, gates, lifecycle
from asyncjobs.core.plan import Plan
from asyncjobs.core.state import JobState, Role
from asyncjobs.exceptions import JobNotFoundError, JobStateError
from asyncjobs.models import EdgeState, JobStatus


def retry(plan: Plan, n: int, *, fresh: bool = False) -> JobState:
    """Make a failed or cancelled job pending again at a user's request, with those skipped because of it: rule 4.4.

    :param fresh: start over: the steps that it kept until now no longer count.
    :raises JobNotFoundError: there is no such job.
    :raises JobStateError: it is neither failed nor cancelled; nothing was changed.
    """
    plan.load([n])
    job = plan.get(n)
    if job is None:
        raise JobNotFoundError(str(n))
    if job.status not in (JobStatus.FAILED, JobStatus.CANCELLED):
        mend = f"retry {job.because!r} instead" if job.status is JobStatus.SKIPPED else None
        raise JobStateError(job.id, job.status, "only a failed or cancelled job can be retried", hint=mend)
    if job.role is Role.GATE:
        check_asker(plan, job)
    plan.apply(lifecycle.revive(job, job.id, plan.now, fresh=fresh))
    wait_again(plan, job)
    return plan[n]


def check_asker(plan: Plan, job: JobState) -> None:
    """Refuse to open a gate again if its asker has ended: no body would read the answer."""
    gate = plan.gate(job.n)
    if gate is None or gate.asker is None:
        return
    plan.load([gate.asker])
    asker = plan.get(gate.asker)
    if asker is None or asker.status.terminal:
        hint = None if asker is None else f"retry {asker.id!r} instead: it asks again"
        raise JobStateError(job.id, job.status, "the job that asked has ended", hint=hint)


def _is_gate(job: JobState | None) -> bool:
    return job is not None and job.role is Role.GATE


def _has_started(plan: Plan, job: JobState) -> bool:
    """Return whether a job ran or, if it is a gate, was opened: its dependencies were met then."""
    if not _is_gate(job):
        return job.attempt > 0
    gate = plan.gate(job.n)
    return gates.is_open(job) or (gate is not None and gate.opened_at is not None)


def wait_again(plan: Plan, job: JobState, *, by: str = "retry_job") -> None:
    """Decide on a revived job, and make the jobs wait again that were skipped, or not started, because of it.

    :param by: as for ``lifecycle.revive``.
    """
    n = job.n
    causes = {n: job.id}  # of each revived job: the root cause of its skip, for which its dependents were skipped, too
    again: dict[int, None] = {}  # pending jobs that are less ready than they were
    level = [n]
    while level:
        rows = plan.edges_from(level)
        plan.load(edge.child for edge in rows)
        plan.load_gates(edge.child for edge in rows if _is_gate(plan.get(edge.child)))
        level = []
        for edge in rows:
            child = plan.get(edge.child)
            if child is None or edge.state is EdgeState.OPEN or _has_started(plan, child):
                continue  # what has started stays as it is; in a damaged store, an edge may lead nowhere
            met = edge.state is EdgeState.MET  # by a gate that is asked again
            plan.edge(edge, EdgeState.OPEN)
            plan.put(replace(child, open=child.open + 1, met=child.met - met))
            child = plan[child.n]
            if child.status is JobStatus.SKIPPED and not met and edges.revives(child, job.id, causes[edge.parent]):
                causes[child.n] = child.because or job.id
                plan.apply(lifecycle.revive(child, job.id, plan.now, by=by))
                level.append(child.n)
            elif child.status is JobStatus.PENDING:
                again[child.n] = None
    # Each once: several edges lead to the tip of a diamond.
    ended = [number for number in dict.fromkeys((*causes, *again)) if plan.decide(number)]
    plan.propagate(ended)
