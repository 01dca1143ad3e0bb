"""Decide about plain jobs without asking for what they do not have: the short ways of commands.

A plain job waits for nothing but a worker; a plain end completes a job without another word.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from asyncjobs.core import lifecycle
from asyncjobs.core.plan import Plan, Record
from asyncjobs.core.requests import AttemptEnd, NewJob
from asyncjobs.core.state import JobState, NewEvent
from asyncjobs.models import EventType, JobStatus, OutcomeKind

SUBMITTED = lifecycle.EVENT_TYPES[EventType.SUBMITTED]
STARTED = lifecycle.EVENT_TYPES[EventType.STARTED]
COMPLETED = lifecycle.EVENT_TYPES[EventType.COMPLETED]


def are_plain(jobs: Sequence[NewJob]) -> bool:
    """Return whether these jobs have new ids and wait for nothing but a worker.

    Nothing can be refused then, and nothing has to be read.
    """
    for job in jobs:
        if (
            not job.generated
            or job.dependencies
            or job.require is not None
            or job.limit is not None
            or job.run_at is not None
            or job.delay is not None
            or job.gate
        ):
            return False
    return len(jobs) < 2 or len({job.id for job in jobs}) == len(jobs)


def is_success(end: AttemptEnd) -> bool:
    """Return whether an attempt has succeeded without another word."""
    return end.outcome.kind is OutcomeKind.SUCCEEDED and not end.body_events and end.parked_on is None


def completes(row: JobState, worker: int, end: AttemptEnd) -> bool:
    """Return whether this success is a plain one: then ``lifecycle.finish`` gives ``completed(row, now)``."""
    return (
        lifecycle.holds(row, end.attempt.attempt, worker)
        and not (row.cancel_requested or row.lasts or row.generation)
        and row.limit is None
        and row.role is None
        and row.unreadable is None
    )


def first_attempt(n: int, job: NewJob, worker: int, now: int) -> JobState:
    """Return the row of a job that is started in the transaction that submits it."""
    return JobState(
        n=n,
        id=job.id,
        status=JobStatus.IN_PROGRESS,
        waits_for=None,
        priority=job.priority,
        attempt=1,
        max_interruptions=job.max_interruptions,
        retry=job.retry,
        worker=worker,
        started_at=now,
        seq=2,
        group=job.group,
    )


def submitted(now: int) -> NewEvent:
    """Return the event of a submission."""
    return NewEvent(1, SUBMITTED, now, 0, JobStatus.PENDING)


def started(now: int) -> NewEvent:
    """Return the event of the first attempt of a job that has done nothing yet."""
    return NewEvent(2, STARTED, now, 1, JobStatus.IN_PROGRESS)


def completed(row: JobState, now: int) -> NewEvent:
    """Return the event of a success that nothing was said before."""
    return NewEvent(row.seq + 1, COMPLETED, now, row.attempt, JobStatus.COMPLETED)


def insert_plain(plan: Plan, jobs: Sequence[NewJob], numbers: Iterable[int]) -> list[int] | None:
    """Insert jobs, and return their numbers; None if one is not plain, and nothing is done."""
    if not are_plain(jobs):
        return None
    taken: list[int] = []
    event = submitted(plan.now)
    for job, n in zip(jobs, numbers, strict=False):
        row = JobState(
            n=n,
            id=job.id,
            priority=job.priority,
            max_interruptions=job.max_interruptions,
            retry=job.retry,
            seq=1,
            group=job.group,
        )
        plan.events.append((n, event))
        plan.insert(record(job, row, None, plan.now), ())
        taken.append(n)
    return taken


def record(job: NewJob, row: JobState, parent: int | None, now: int) -> Record:
    """Return what is inserted for a job, whose row is decided.

    :param parent: the number of the job whose body submits.
    """
    return Record(
        job=row,
        queue=job.queue,
        function=job.function,
        owner=job.owner,
        parent=parent,
        created_at=now,
        timeout=job.timeout,
        capacity=job.limit.capacity if job.limit else None,
        call=job.call,
        injects=job.injects,
        isolation=job.isolation,
        metadata=job.metadata,
    )
