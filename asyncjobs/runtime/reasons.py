"""Find out why a job is not running: exactly one reason, for programs and for people."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from asyncjobs.backends.base import JobBackend
from asyncjobs.clock import Clock, to_datetime
from asyncjobs.core.gates import REJECTED
from asyncjobs.error_texts import shown
from asyncjobs.models import EdgeState, Job, JobStatus, Reason, WaitsFor, WorkerInfo
from asyncjobs.paging import take_jobs
from asyncjobs.plurals import counted, times
from asyncjobs.requests import JobQuery

_NAMED = 5


async def why(backend: JobBackend, clock: Clock, job: Job) -> Reason:
    """Return the reason, derived from the store. Codes:

    ``running``, ``worker_gone``, ``cancel_requested``, ``completed``, ``failed``, ``cancelled``, ``skipped``;
    ``answer`` if it waits for one: an open gate, a parked job, a running body that asks; for pending jobs
    ``dependencies``, ``time``, ``retry_backoff``, ``interruption_backoff``, ``limit``, ``slots``, ``next``,
    ``no_worker``, ``no_worker_for_queue``, ``not_allowed``, ``owner_gone``.
    """
    match job.status:
        case JobStatus.IN_PROGRESS:
            reason = _in_progress(job, await held_by_the_dead(backend, [job]))
            return await _asking(backend, job) or reason if reason.code == "running" else reason
        case JobStatus.PENDING:
            return await _pending(backend, clock, job)
        case JobStatus.SKIPPED:
            return _skipped(job, None if job.because is None else await backend.get_job(job.because))
        case JobStatus.FAILED:
            error = _error(job)
            at = f" at attempt {job.attempt}" if job.attempt else ""  # a gate has none
            return Reason("failed", f"it failed{at}: {error}", {"failures": job.failures})
        case _:
            return Reason(str(job.status), f"it is {job.status}")


def _error(job: Job) -> str:
    return f"{job.error.error_type}: {job.error.message}" if job.error else "no error was recorded"


def _skipped(job: Job, cause: Job | None) -> Reason:
    """Return the reason of a skipped job: what became of its cause, None in a damaged store.

    The details have no text of a job or a person, since they are shown as they are.
    """
    details: dict[str, Any] = {"because": job.because}
    sentence = f"it was skipped because {job.because!r} did not complete"
    if cause is None:
        return Reason("skipped", sentence, details)
    match cause.status:
        case JobStatus.FAILED if cause.gate is not None and cause.error is not None:
            told = f"{cause.error.message}, so the gate failed"
            if cause.error.error_type == REJECTED:
                by = cause.gate.answered_by
                told = f"the gate was rejected{'' if by is None else f' by {by!r}'}: {cause.error.message}"
                details["rejected_by"] = by
        case JobStatus.FAILED:
            told = f"it failed: {_error(cause)}"
        case JobStatus.CANCELLED:
            told = "it was cancelled"
        case _:  # it was retried between the two reads
            return Reason("skipped", sentence, details)
    return Reason("skipped", f"{sentence}: {told}", details)


async def held_by_the_dead(backend: JobBackend, jobs: Sequence[Job]) -> frozenset[str]:
    """Return the ids of jobs that are stored as in progress, but whose worker is dead."""
    held = {job.id: job.worker_id for job in jobs if job.status is JobStatus.IN_PROGRESS}
    if not held:
        return frozenset()
    alive = {worker.id for worker in await backend.workers() if worker.alive}
    gone = [job_id for job_id, worker in held.items() if worker not in alive]
    # Read again: between the two reads, the worker may have recorded the end and left.
    again = await backend.get_jobs(gone) if gone else ()
    return frozenset(job.id for job in again if job.status is JobStatus.IN_PROGRESS and job.worker_id == held[job.id])


def _in_progress(job: Job, gone: Collection[str]) -> Reason:
    details = {"worker": job.worker, "attempt": job.attempt}
    if job.id in gone:
        what = "is cancelled" if job.cancel_requested else "goes back to pending"
        sentence = (
            f"worker gone: {job.worker}, which had attempt {job.attempt}, is dead; the job {what} within two leases, "
            "by any process that has the store open"
        )
        return Reason("worker_gone", sentence, details)
    if job.cancel_requested:
        return Reason(
            "cancel_requested", f"worker {job.worker} was asked to stop it, and has not yet stopped it", details
        )
    return Reason("running", f"it is running: attempt {job.attempt} on worker {job.worker}", details)


async def _pending(backend: JobBackend, clock: Clock, job: Job) -> Reason:
    match job.waits_for:
        case WaitsFor.DEPENDENCIES:
            return await _dependencies(backend, job)
        case WaitsFor.TIME if job.run_at is None or job.run_at > to_datetime(clock.now()):
            return _time(clock, job)
        case WaitsFor.TIME if (limit := await _used_up(backend, job)) is not None:
            return limit  # it is due, as the next claim will notice: it waits for what a ready job waits for
        case WaitsFor.LIMIT:
            return await _limit(backend, job)
        case WaitsFor.ANSWER:
            return _answer(await _gate_of(backend, job) or job)
        case _:
            return await _worker(backend, job)


async def _gate_of(backend: JobBackend, job: Job) -> Job | None:
    """Return the job itself if it is an open gate, or the gate on which it is parked."""
    return job if job.gate is not None or job.parked is None else await backend.get_job(job.parked)


async def _asking(backend: JobBackend, job: Job) -> Reason | None:
    """Return the reason of a running job whose body waits for an answer, or None."""
    query = JobQuery(parent_id=job.id, waits_for="answer", status=JobStatus.PENDING)
    asked, _ = await take_jobs(backend.find_jobs, query, query.limit)
    return next((_answer(one) for one in asked if one.gate is not None and one.gate.asked_by == job.id), None)


def _answer(job: Job) -> Reason:
    gate = job.gate
    if gate is None:
        return Reason("answer", "it waits for an answer", {"gate": job.parked, "since": None, "until": None})
    since, until = (None if moment is None else moment.isoformat() for moment in (gate.opened_at, gate.deadline))
    sentence = f"it waits for an answer: {shown(gate.question)}"
    return Reason("answer", sentence, {"gate": job.id, "since": since, "until": until})


async def _dependencies(backend: JobBackend, job: Job) -> Reason:
    edges = [edge for edge in await backend.get_dependencies([job.id]) if edge.state is EdgeState.OPEN]
    parents = {parent.id: parent for parent in await backend.get_jobs([edge.parent_id for edge in edges])}
    waiting = {edge.parent_id: str(parents[edge.parent_id].status) for edge in edges if edge.parent_id in parents}
    named = ", ".join(f"{job_id} ({status})" for job_id, status in list(waiting.items())[:_NAMED])
    more = f" and {len(waiting) - _NAMED} more" if len(waiting) > _NAMED else ""
    sentence = f"it waits for {counted(len(edges), 'job')}: {named}{more}"
    return Reason("dependencies", sentence, {"parents": waiting})


def _time(clock: Clock, job: Job) -> Reason:
    code, cause = "time", "it is not due yet"
    if job.attempt and job.interruptions and job.error is None:
        code, cause = "interruption_backoff", f"it was interrupted {times(job.interruptions)} and waits before the next"
    elif job.attempt and job.failures:
        code, cause = "retry_backoff", f"it failed {times(job.failures)} and waits before the next attempt"
    if job.run_at is None:
        return Reason(code, cause)
    left = max(0.0, (job.run_at - to_datetime(clock.now())).total_seconds())
    sentence = f"{cause}: due in {left:.1f} s, at {job.run_at.isoformat(timespec='seconds')}"
    return Reason(code, sentence, {"run_at": job.run_at.isoformat(), "seconds": left})


async def _used_up(backend: JobBackend, job: Job) -> Reason | None:
    limit = None if job.limit is None else await backend.get_limit(job.limit)
    return await _limit(backend, job) if limit is not None and limit.in_progress >= limit.capacity else None


async def _limit(backend: JobBackend, job: Job) -> Reason:
    limit = await backend.get_limit(job.limit or "")
    if limit is None:
        return Reason("limit", f"the limit {job.limit!r} is used up", {"key": job.limit})
    details = {"key": limit.key, "capacity": limit.capacity, "in_progress": limit.in_progress}
    sentence = f"the limit {limit.key!r} lets {limit.capacity} run at a time, and other jobs are ahead of it"
    return Reason("limit", sentence, details)


async def _worker(backend: JobBackend, job: Job) -> Reason:
    alive = [worker for worker in await backend.workers() if worker.alive]
    if not alive:
        if job.func.startswith("local:"):
            return Reason("owner_gone", "it is local to a process that is gone; it will be failed")
        daemon = "run a daemon on this store, or " if "shared" in backend.capabilities else ""
        return Reason("no_worker", f"no worker is alive; {daemon}open a JobProcessor with enable_daemon=True")
    serving = [worker for worker in alive if worker.queues is None or job.queue in worker.queues]
    if not serving:
        queues = sorted({queue for worker in alive for queue in worker.queues or ()})
        sentence = f"no live worker serves its queue {job.queue!r}; they serve {', '.join(queues)}"
        return Reason("no_worker_for_queue", sentence, {"queue": job.queue, "served": queues})
    willing = [worker for worker in serving if job.func not in worker.refused]
    if not willing:
        refusals = {worker.name: worker.refused[job.func] for worker in serving}
        who, reason = next(iter(refusals.items()))
        return Reason(
            "not_allowed",
            f"no live worker may run {job.func!r}; {who}: {reason}",
            {"function": job.func, "refusals": refusals},
        )
    return _queued(job, willing)


def _queued(job: Job, willing: list[WorkerInfo]) -> Reason:
    slots = sum(worker.slots for worker in willing)
    running = sum(worker.running for worker in willing)
    details = {"slots": slots, "running": running, "priority": job.priority}
    if running >= slots:
        sentence = f"the workers that may run it have no free slot ({running:,} of {slots:,} in use)"
        return Reason("slots", sentence, details)
    return Reason("next", "it is ready; one of the next claims of a worker takes it", details)
