"""Decide the operations on a store (submit, finish, cancel, …) as pure functions over a ``Plan``.

A refused command leaves the plan as it was. ``backends.base`` lists which method of a backend uses which command.
If its view interrupts a command (``core.plan.View``), the plan must be discarded; nothing else has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec.structs import replace

from asyncjobs.core import edges, gates, lifecycle
from asyncjobs.core.codec import same_call, same_function
from asyncjobs.core.plain_jobs import SUBMITTED, insert_plain, record
from asyncjobs.core.plan import Plan
from asyncjobs.core.requests import AttemptEnd, NewJob, StepChange
from asyncjobs.core.state import SECOND, Change, EdgeRow, GateState, JobState, NewEvent, Role, Stale
from asyncjobs.exceptions import (
    ConfigurationError,
    CyclicDependencyError,
    DuplicateJobError,
    JobConflictError,
    JobStateError,
    UnknownDependencyError,
)
from asyncjobs.models import (
    BodyEvent,
    Dependency,
    EdgeState,
    JobError,
    JobStatus,
    WaitsFor,
)

Existing = Callable[[int], tuple[str, bytes]]
"""Returns the function and the encoded call of a stored job, which ``if_exists="return"`` compares."""


def enqueue(
    plan: Plan,
    jobs: Sequence[NewJob],
    numbers: Iterable[int],
    existing: Existing,
    parent: tuple[int, int, int] | None = None,
) -> list[int]:
    """Insert a batch, all or nothing.

    :param numbers: fresh job numbers, in submission order, at least one per job. They are taken only after everything
        is read, so an iterator has not advanced if the view raises.
    :param parent: (number, attempt, worker) of the job whose body submits; it must still hold its attempt.
    :returns: each job's number; for an existing job, the stored number.
    :raises SubmissionError: one of its subclasses, by the cause; the plan is unchanged.
    :raises ConfigurationError: ``require`` is not from 1 to the number of dependencies; likewise.
    """
    plain = insert_plain(plan, jobs, numbers) if parent is None else None
    if plain is not None:
        return plain
    generated = {job.id for job in jobs if job.generated}  # no stored job has one of these
    wanted = [job.id for job in jobs if not job.generated]
    wanted += [dep.parent_id for job in jobs for dep in job.dependencies if dep.parent_id not in generated]
    ids = plan.numbers(wanted) if wanted else {}
    if parent is not None:
        check_parent(plan, parent)
    fresh = _not_stored(jobs, ids, existing)
    for job in fresh.values():
        _check_dependencies(job, ids, fresh)
    order = _parents_first(fresh)
    plan.load(ids[d.parent_id] for job in fresh.values() for d in job.dependencies if d.parent_id in ids)
    ids.update(zip(fresh, numbers, strict=False))  # from here on nothing is read
    for job_id in order:
        insert(plan, fresh[job_id], ids, parent)
    for job in fresh.values():
        if job.limit is not None:
            plan.capacities[job.limit.key] = job.limit.capacity  # the last one given, in the order of submission
    return [ids[job.id] for job in jobs]


def check_parent(plan: Plan, parent: tuple[int, int, int]) -> None:
    """Refuse a submission by an attempt (number, attempt, worker) that is no longer held, or was asked to stop."""
    number, attempt, worker = parent
    plan.load([number])
    row = plan.get(number)
    if row is None or not lifecycle.holds(row, attempt, worker):
        raise JobStateError(
            row.id if row else "?",
            "no longer held by this attempt",
            "it can no longer submit jobs",
            hint="the attempt lost its lease or was ended; what it does now is not recorded",
        )
    if row.cancel_requested:
        # A request to cancel descendants reaches those that are stored by then. Later ones would escape it.
        raise JobStateError(
            row.id,
            "asked to stop",
            "it can no longer submit jobs",
            hint="a cancel request is stored; whatever the attempt does now, it ends as cancelled",
        )


def _not_stored(jobs: Sequence[NewJob], ids: Mapping[str, int], existing: Existing) -> dict[str, NewJob]:
    """Return the jobs that must be inserted, by id. An id that is taken is refused, or must belong to the same call."""
    fresh: dict[str, NewJob] = {}
    for job in jobs:
        # Its id is new; or taken, and that is an error; or taken by an earlier job of the batch; or by a stored one.
        if job.id not in fresh and job.id not in ids:
            fresh[job.id] = job
        elif job.if_exists == "raise":
            raise DuplicateJobError(job.id)
        elif job.id in fresh:
            _check_same(job, fresh[job.id].function, fresh[job.id].call)
        else:
            _check_same(job, *existing(ids[job.id]))
    return fresh


def _check_dependencies(job: NewJob, ids: Mapping[str, int], fresh: Mapping[str, NewJob]) -> None:
    if not job.dependencies and job.require is None:
        return
    missing = [d.parent_id for d in job.dependencies if d.parent_id not in ids and d.parent_id not in fresh]
    if missing:
        raise UnknownDependencyError(job.id, list(dict.fromkeys(missing)))
    if job.require is None:
        return
    parents = {d.parent_id for d in job.dependencies}
    if not 1 <= job.require <= len(parents):
        # With a larger number, the job would wait forever once every parent has completed.
        allowed = f"1 to {len(parents)}, the number of its dependencies" if parents else "None without dependencies"
        raise ConfigurationError("require", job.require, allowed=allowed)


def _check_same(job: NewJob, function: str, call: bytes) -> None:
    if not same_function(function, job.function):
        raise JobConflictError(job.id, differs="another function")
    if not same_call(call, job.call):
        raise JobConflictError(job.id, differs="other arguments")


def _parents_first(fresh: dict[str, NewJob]) -> list[str]:
    """Order the batch so that parents come before children. Only edges inside the batch can close a cycle."""
    order: list[str] = []
    done: set[str] = set()
    for root, root_job in fresh.items():
        if root in done:
            continue
        if not root_job.dependencies:
            done.add(root)
            order.append(root)
            continue
        path: dict[str, None] = {root: None}
        stack = [(root, iter(root_job.dependencies))]
        while stack:
            node, pending = stack[-1]
            for dep in pending:
                if dep.parent_id in path:
                    # The walk goes from child to parent; the message shows the direction in which work would flow.
                    nodes = list(path)
                    cycle = [*nodes[nodes.index(dep.parent_id) :], dep.parent_id]
                    raise CyclicDependencyError(cycle[::-1])
                if dep.parent_id in fresh and dep.parent_id not in done:
                    path[dep.parent_id] = None
                    stack.append((dep.parent_id, iter(fresh[dep.parent_id].dependencies)))
                    break
            else:
                stack.pop()
                del path[node]
                done.add(node)
                order.append(node)
    return order


def _distinct(dependencies: Sequence[Dependency]) -> dict[str, bool]:
    """Return for each parent id whether it is optional. A parent given twice is one edge, and required wins."""
    parents: dict[str, bool] = {}
    for dep in dependencies:
        parents[dep.parent_id] = dep.optional and parents.get(dep.parent_id, True)
    return parents


def insert(
    plan: Plan, job: NewJob, ids: dict[str, int], parent: tuple[int, int, int] | None, asker: int | None = None
) -> None:
    """Insert a job with its edges, and decide what they settle at once.

    :param ids: the numbers of the job itself and of its dependencies, which are loaded.
    :param parent: (number, attempt, worker) of the job whose body submits.
    :param asker: the number of the job whose body asks, if it is the gate of a question.
    """
    now = plan.now
    n = ids[job.id]
    run_at = job.run_at if job.delay is None else now + job.delay
    rows: list[EdgeRow] = []
    settled: list[edges.Settled] = []
    met = 0
    for parent_id, optional in _distinct(job.dependencies).items():
        above = plan[ids[parent_id]]
        state = EdgeState.OPEN
        if above.status.terminal:
            edge = edges.settle(above, optional)
            settled.append(edge)
            state = edge.state
            met += state is EdgeState.MET
        rows.append(EdgeRow(above.n, n, optional, state))
    row = JobState(
        n=n,
        id=job.id,
        waits_for=WaitsFor.DEPENDENCIES if rows else None,
        priority=job.priority,
        run_at=run_at if run_at is not None and run_at > now else None,
        max_interruptions=job.max_interruptions,
        retry=job.retry,
        require=job.require,
        open=len(rows) - len(settled),
        met=met,
        limit=job.limit.key if job.limit else None,
        seq=1,
        group=job.group,
        lasts=job.delay is not None,
        role=Role.GATE if job.gate else None,
    )
    if not rows:
        row = replace(row, waits_for=lifecycle.waiting_place(row, now))
    plan.events.append((n, NewEvent(1, SUBMITTED, now, 0, JobStatus.PENDING)))
    verdict = edges.decide(row, settled, now) if rows else row
    if isinstance(verdict, Change):
        plan.events.extend((n, event) for event in verdict.events)
        row = verdict.job
    else:
        row = verdict
    plan.insert(record(job, row, parent[0] if parent else None, now), rows)
    if job.gate:
        plan.put_gate(GateState(n, None if job.timeout is None else round(job.timeout * SECOND), asker))
        if gates.is_open(row):
            plan.open_gate(row)


def finish(plan: Plan, ends: Sequence[tuple[int, int, AttemptEnd]]) -> list[JobStatus | Stale]:
    """Record outcomes and settle the dependents.

    :param ends: (job number, worker, end); all rows are read at once.
    :returns: per end the status of its job then, or ``Stale`` where the fence refused it or the job is gone.
    """
    plan.load(n for n, _, _ in ends)
    results: list[JobStatus | Stale] = []
    ended: list[int] = []
    for n, worker, end in ends:
        job = plan.get(n)
        if job is None:
            results.append(_REMOVED)
            continue
        gate = None if end.parked_on is None else _open_gate(plan, end.parked_on, n)
        change = lifecycle.finish(
            job, end.attempt.attempt, worker, end.outcome, plan.now, end.jitter, end.body_events, gate
        )
        if isinstance(change, Stale):
            results.append(change)
            continue
        plan.apply(change)
        results.append(change.job.status)
        if change.job.status.terminal:
            ended.append(n)
    plan.propagate(ended)
    return results


def _open_gate(plan: Plan, gate_id: str, asker: int) -> JobState | None:
    """Return the gate with this id if it is open and this job asked it."""
    n = plan.numbers([gate_id]).get(gate_id, -1)
    plan.load([n])
    job, gate = plan.get(n), plan.gate(n)
    return job if job is not None and gates.is_open(job) and gate is not None and gate.asker == asker else None


_REMOVED = Stale(0, JobStatus.CANCELLED)
"""The answer for an attempt whose job is no longer stored."""


def append_events(plan: Plan, batches: Sequence[tuple[int, int, int, tuple[BodyEvent, ...]]]) -> list[bool]:
    """Store the events of running bodies.

    :param batches: (job number, attempt, worker, events).
    :returns: per batch, whether it was stored; a stale attempt is refused.
    """
    plan.load(n for n, _, _, _ in batches)
    results: list[bool] = []
    for n, attempt, worker, body_events in batches:
        job = plan.get(n)
        change = None if job is None else lifecycle.append_events(job, attempt, worker, body_events)
        if isinstance(change, Change):
            plan.apply(change)
        results.append(isinstance(change, Change))
    return results


def write_steps(plan: Plan, changes: Sequence[tuple[int, int, StepChange]]) -> list[Stale | None]:
    """Keep and forget values of running attempts, in this order.

    :param changes: (job number, worker, change).
    :returns: per change None, or ``Stale`` where the fence refused it or the job is gone.
    """
    plan.load(n for n, _, _ in changes)
    results: list[Stale | None] = []
    for n, worker, change in changes:
        job = plan.get(n)
        stale = _REMOVED if job is None else lifecycle.refuse_step(job, change.attempt.attempt, worker)
        if job is not None and stale is None:
            plan.steps.append((n, job.generation, change))
        results.append(stale)
    return results


def start(plan: Plan, numbers: Sequence[int], worker: int) -> list[JobState]:
    """Claim these ready jobs for a worker; jobs that are no longer ready are left out."""
    plan.load(numbers)
    started: list[JobState] = []
    for n in numbers:
        job = plan.get(n)
        change = None if job is None else lifecycle.start(job, worker, plan.now)
        if isinstance(change, Change):
            plan.apply(change)
            started.append(change.job)
    return started


def promote(plan: Plan, numbers: Sequence[int]) -> None:
    """Make delayed jobs that are due ready."""
    plan.load(numbers)
    for n in numbers:
        job = plan.get(n)
        if job is not None and job.waits_for is WaitsFor.TIME:
            plan.put(replace(job, waits_for=lifecycle.waiting_place(job, plan.now)))


def reap(plan: Plan, numbers: Sequence[int], draws: Sequence[float]) -> list[JobState]:
    """Interrupt the attempts of a dead or frozen worker, and return their rows.

    :param draws: a random number from 0 to 1 for each job.
    """
    plan.load(numbers)
    reaped: list[JobState] = []
    ended: list[int] = []
    for n, draw in zip(numbers, draws, strict=True):
        job = plan.get(n)
        change = None if job is None else lifecycle.interrupt(job, plan.now, draw)
        if isinstance(change, Change):
            plan.apply(change)
            reaped.append(change.job)
            if change.job.status.terminal:
                ended.append(n)
    plan.propagate(ended)
    return reaped


def cancel(plan: Plan, numbers: Sequence[int], *, descendants: bool = False) -> list[JobState]:
    """Cancel pending jobs, and store the request for those in progress.

    :param descendants: include the jobs that were submitted from inside these ones, and theirs.
    :returns: the rows of all of them, changed or not.
    """
    targets = dict.fromkeys(numbers)
    level: Sequence[int] = list(numbers)
    while descendants and level:
        level = [n for n in plan.view.children(level) if n not in targets]
        targets.update(dict.fromkeys(level))
    plan.load(targets)
    ended: list[int] = []
    for n in targets:
        job = plan.get(n)
        change = None if job is None else lifecycle.cancel(job, plan.now)
        if change is not None:
            plan.apply(change)
            if change.job.status.terminal:
                ended.append(n)
    plan.propagate(ended)
    return [job for n in targets if (job := plan.get(n)) is not None]


def give_up(plan: Plan, numbers: Sequence[int], error: JobError) -> list[JobState]:
    """Fail pending jobs that no worker can ever run, and return their rows."""
    plan.load(numbers)
    failed: list[JobState] = []
    for n in numbers:
        job = plan.get(n)
        if job is not None and job.status is JobStatus.PENDING:
            change = lifecycle.give_up(job, error, plan.now)
            plan.apply(change)
            failed.append(change.job)
    plan.propagate([job.n for job in failed])
    return failed


def recount(plan: Plan, numbers: Sequence[int]) -> list[JobState]:
    """Decide waiting jobs again from their edges, and return all rows. Correct counts stay as they are."""
    plan.load(numbers)
    skipped: list[int] = []
    for n in numbers:
        job = plan.get(n)
        if job is None or job.status is not JobStatus.PENDING or job.waits_for is not WaitsFor.DEPENDENCIES:
            continue
        if plan.decide(n):
            skipped.append(n)
    plan.propagate(skipped)
    return [job for n in numbers if (job := plan.get(n)) is not None]


def set_waiting_place(plan: Plan, numbers: Sequence[int], waits_for: WaitsFor) -> None:
    """Put pending jobs into the ready index or out of it, as ``limits.admit`` decided."""
    plan.load(numbers)
    for n in numbers:
        plan.put(replace(plan[n], waits_for=waits_for))
