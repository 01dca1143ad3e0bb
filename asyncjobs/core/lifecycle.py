"""Decide the transitions of one job: the table of all transitions, and a function for each operation.

Each function takes the row as it is and returns a ``Change`` (the row as it will be, with its events), or ``Stale`` if
the guard does not hold. Guards are the status and the attempt number, which is the fencing token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from asyncjobs.core.state import SECOND, Change, EndedAttempt, JobState, NewEvent, Role, Stale
from asyncjobs.models import BodyEvent, EventType, JobError, JobStatus, Outcome, OutcomeKind, WaitsFor
from asyncjobs.plurals import times

PENDING, IN_PROGRESS, COMPLETED, FAILED, CANCELLED, SKIPPED = JobStatus

TRANSITIONS: dict[tuple[JobStatus | None, EventType], JobStatus] = {
    (None, EventType.SUBMITTED): PENDING,
    (PENDING, EventType.STARTED): IN_PROGRESS,
    (PENDING, EventType.CANCELLED): CANCELLED,
    (PENDING, EventType.SKIPPED): SKIPPED,
    (PENDING, EventType.FAILED): FAILED,  # no worker could ever run it; a gate: rejected, or not answered in time
    (PENDING, EventType.COMPLETED): COMPLETED,  # a gate: answered
    (IN_PROGRESS, EventType.COMPLETED): COMPLETED,
    (IN_PROGRESS, EventType.FAILED): FAILED,
    (IN_PROGRESS, EventType.CANCELLED): CANCELLED,
    (IN_PROGRESS, EventType.RETRYING): PENDING,
    (IN_PROGRESS, EventType.RELEASED): PENDING,
    (IN_PROGRESS, EventType.INTERRUPTED): PENDING,
    (FAILED, EventType.RETRYING): PENDING,  # the explicit retry
    (CANCELLED, EventType.RETRYING): PENDING,
    (SKIPPED, EventType.RETRYING): PENDING,  # the cause of the skip is retried
    (COMPLETED, EventType.RETRYING): PENDING,  # a gate: asked again by a body that begins anew
}
"""Every change of status: (from, event) -> to. The diagram in the docs is drawn from it."""

EVENT_TYPES: dict[EventType, str] = {event: str(event) for event in EventType}
"""The engine's event types as plain strings, made once: ``str(event)`` would make a new one for each event."""

WORKER_LOST = "WorkerLostError"
LOCAL_JOB_LOST = JobError(
    "LocalJobLostError",
    "the process that held this local callable is gone; submit an importable function to survive it",
)
"""Why a pending ``local=True`` job is given up once its owner is gone."""


def waiting_place(job: JobState, now: int) -> WaitsFor:
    """Return what a pending job whose dependencies are met waits for. A limited job is admitted by ``limits.admit``."""
    if job.role is Role.GATE:
        return WaitsFor.ANSWER
    if job.run_at is not None and job.run_at > now:
        return WaitsFor.TIME
    return WaitsFor.WORKER if job.limit is None else WaitsFor.LIMIT


def transition(
    job: JobState,
    event: EventType,
    now: int,
    *,
    body_events: Sequence[BodyEvent] = (),
    data: dict[str, Any] | None = None,
    ended: EndedAttempt | None = None,
    value: bytes | None = None,
    **fields: Any,
) -> Change:
    """Take the transition ``event`` from the table; ``body_events`` are ordered before it.

    :raises KeyError: the table has no such transition.
    """
    status = TRANSITIONS[job.status, event]
    seq = job.seq + len(body_events) + 1
    changed = NewEvent(seq, EVENT_TYPES[event], now, fields.get("attempt", job.attempt), status, data)
    return Change(
        replace(job, status=status, seq=seq, **fields),
        (*_new_body_events(job, body_events), changed) if body_events else (changed,),
        ended,
        value,
    )


def _new_body_events(job: JobState, body_events: Sequence[BodyEvent]) -> list[NewEvent]:
    return [
        NewEvent(job.seq + i, event.type, event.at, job.attempt, None, event.data)
        for i, event in enumerate(body_events, start=1)
    ]


def start(job: JobState, worker: int, now: int) -> Change | Stale:
    """Claim a ready job: it becomes the next attempt of ``worker``."""
    if job.status is not PENDING or job.waits_for is not WaitsFor.WORKER:
        return Stale(job.attempt, job.status)
    return transition(
        job,
        EventType.STARTED,
        now,
        attempt=job.attempt + 1,
        waits_for=None,
        worker=worker,
        started_at=now,
        finished_at=None,
    )


def holds(job: JobState, attempt: int, worker: int | None) -> bool:
    """Return whether this attempt of this worker is the one in progress: the fence."""
    return job.status is IN_PROGRESS and job.attempt == attempt and (worker is None or job.worker == worker)


def finish(
    job: JobState,
    attempt: int,
    worker: int | None,
    outcome: Outcome,
    now: int,
    jitter: float,
    body_events: Sequence[BodyEvent] = (),
    gate: JobState | None = None,
) -> Change | Stale:
    """Record how an attempt ended. A stored request to cancel turns every outcome into ``cancelled``.

    :param gate: the open gate on which the job is parked if it is released.
    """
    if not holds(job, attempt, worker):
        return Stale(job.attempt, job.status)
    if outcome.kind is OutcomeKind.SUCCEEDED and not job.cancel_requested:
        # The hot row itself is the record of a successful attempt: no history row is written for it.
        return transition(
            job,
            EventType.COMPLETED,
            now,
            body_events=body_events,
            value=outcome.value,
            waits_for=None,
            finished_at=now,
        )
    ended = EndedAttempt(attempt, job.worker, job.started_at, now, outcome.kind, outcome.error)
    if job.cancel_requested or outcome.kind is OutcomeKind.CANCELLED:
        ended = replace(ended, kind=OutcomeKind.CANCELLED)
        return transition(
            job, EventType.CANCELLED, now, body_events=body_events, ended=ended, worker=None, finished_at=now
        )
    match outcome.kind:
        case OutcomeKind.RELEASED if gate is not None:
            return transition(
                job,
                EventType.RELEASED,
                now,
                body_events=body_events,
                ended=ended,
                data={"gate": gate.id},
                waits_for=WaitsFor.ANSWER,
                parked=gate.n,
                run_at=None,
                lasts=False,
                worker=None,
            )
        case OutcomeKind.RELEASED:
            return _back(job, EventType.RELEASED, now, 0.0, body_events=body_events, ended=ended)
        case OutcomeKind.INTERRUPTED:
            return _interrupted(job, ended, now, jitter, body_events)
        case _:
            return _failed(job, ended, outcome, now, jitter, body_events)


def _failed(
    job: JobState,
    ended: EndedAttempt,
    outcome: Outcome,
    now: int,
    jitter: float,
    body_events: Sequence[BodyEvent],
) -> Change:
    failures = job.failures + 1
    data = error_data(outcome.error)
    if not outcome.retryable or failures > job.retry.max_retries:
        return transition(
            job,
            EventType.FAILED,
            now,
            body_events=body_events,
            data=data,
            ended=ended,
            failures=failures,
            worker=None,
            finished_at=now,
        )
    delay = job.retry.delay(failures, jitter)
    return _back(
        job,
        EventType.RETRYING,
        now,
        delay,
        body_events=body_events,
        ended=ended,
        data={**data, "delay": round(delay, 6), "retry": failures},
        failures=failures,
    )


def interrupt(job: JobState, now: int, jitter: float) -> Change | Stale:
    """End an attempt whose worker died or lost its lease; after ``max_interruptions`` of these the job fails."""
    if job.status is not IN_PROGRESS:
        return Stale(job.attempt, job.status)
    return finish(job, job.attempt, None, Outcome(OutcomeKind.INTERRUPTED), now, jitter)


def _interrupted(
    job: JobState, ended: EndedAttempt, now: int, jitter: float, body_events: Sequence[BodyEvent]
) -> Change:
    interruptions = job.interruptions + 1
    if interruptions >= job.max_interruptions:
        error = JobError(WORKER_LOST, f"the worker was lost {times(interruptions)} while it ran this job")
        return transition(
            job,
            EventType.FAILED,
            now,
            body_events=body_events,
            data=error_data(error),
            ended=replace(ended, error=error),
            interruptions=interruptions,
            worker=None,
            finished_at=now,
        )
    # One step behind the backoff of failures: a first interruption is rarely the job's fault.
    delay = job.retry.delay_after_interruption(interruptions - 1, jitter)
    return _back(
        job,
        EventType.INTERRUPTED,
        now,
        delay,
        body_events=body_events,
        ended=ended,
        data={"interruptions": interruptions, "delay": round(delay, 6)},
        interruptions=interruptions,
    )


def _back(job: JobState, event: EventType, now: int, delay: float, **kwargs: Any) -> Change:
    run_at = now + round(delay * SECOND) if delay > 0 else None
    waits_for = waiting_place(replace(job, run_at=run_at), now)
    return transition(job, event, now, run_at=run_at, lasts=delay > 0, waits_for=waits_for, worker=None, **kwargs)


def append_events(job: JobState, attempt: int, worker: int | None, body_events: Sequence[BodyEvent]) -> Change | Stale:
    """Store the events of a running body; refused once the attempt is not the current one."""
    if not holds(job, attempt, worker):
        return Stale(job.attempt, job.status)
    return Change(replace(job, seq=job.seq + len(body_events)), tuple(_new_body_events(job, body_events)))


def refuse_step(job: JobState, attempt: int, worker: int | None) -> Stale | None:
    """Return why this attempt may not keep or forget values; None if it may, also after it was asked to stop."""
    return None if holds(job, attempt, worker) else Stale(job.attempt, job.status)


def cancel(job: JobState, now: int) -> Change | None:
    """Cancel a pending job, or store the request for one in progress; return None for any other."""
    if job.status is PENDING:
        return transition(job, EventType.CANCELLED, now, waits_for=None, parked=None, finished_at=now)
    if job.status is IN_PROGRESS and not job.cancel_requested:
        event = NewEvent(job.seq + 1, EVENT_TYPES[EventType.CANCEL_REQUESTED], now, job.attempt)
        return Change(replace(job, cancel_requested=True, seq=job.seq + 1), (event,))
    return None


def skip(job: JobState, because: str, now: int) -> Change:
    """Skip a job that can never run, because of how the job ``because`` ended."""
    data = {"because": because}
    return transition(job, EventType.SKIPPED, now, data=data, waits_for=None, because=because, finished_at=now)


def give_up(job: JobState, error: JobError, now: int) -> Change:
    """Fail a pending job that no worker can ever run."""
    ended = EndedAttempt(0, None, None, now, OutcomeKind.FAILED, error)
    data = error_data(error)
    return transition(job, EventType.FAILED, now, data=data, ended=ended, waits_for=None, parked=None, finished_at=now)


def revive(job: JobState, cause: str, now: int, *, fresh: bool = False, by: str = "retry_job") -> Change:
    """Make a job pending again after ``cause`` (itself, or the reason of its skip) was retried by a user.

    It waits for its dependencies; the caller then decides what they already settle. A skipped job keeps the ``run_at``
    of its submitter; the retried job itself is due at once, and begins a new generation.

    :param fresh: steps of earlier generations no longer count. A skipped job never ran, and has none.
    :param by: what the user called, or ``"ask"``: the body of ``cause`` asks a gate again.
    """
    retried = job.id == cause
    generation = job.generation + retried
    fresh = fresh and retried
    return transition(
        job,
        EventType.RETRYING,
        now,
        data={"by": by, "job": cause, "fresh": True} if fresh else {"by": by, "job": cause},
        waits_for=WaitsFor.DEPENDENCIES,
        failures=0,
        interruptions=0,
        cancel_requested=False,
        run_at=None if retried or job.role is Role.GATE else job.run_at,
        started_at=None,
        finished_at=None,
        because=None,
        generation=generation,
        steps_from=generation if fresh else job.steps_from,
    )


def error_data(error: JobError | None) -> dict[str, Any]:
    """Return the data of the event of a failure."""
    return {} if error is None else {"error_type": error.error_type, "message": error.message}
