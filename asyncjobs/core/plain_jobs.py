"""Insert plain jobs without asking for what they do not have: the short way of ``commands.enqueue``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from asyncjobs.core import lifecycle
from asyncjobs.core.plan import Plan, Record
from asyncjobs.core.requests import NewJob
from asyncjobs.core.state import JobState, NewEvent
from asyncjobs.models import EventType, JobStatus

SUBMITTED = lifecycle.EVENT_TYPES[EventType.SUBMITTED]


def insert_plain(plan: Plan, jobs: Sequence[NewJob], numbers: Iterable[int]) -> list[int] | None:
    """Insert jobs whose ids are new and that wait for nothing but a worker; return their numbers.

    Nothing can be refused then, and nothing has to be read. Return None if one is of another kind: nothing is done.
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
            return None
    if len(jobs) > 1 and len({job.id for job in jobs}) < len(jobs):
        return None
    taken: list[int] = []
    event = NewEvent(1, SUBMITTED, plan.now, 0, JobStatus.PENDING)
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
