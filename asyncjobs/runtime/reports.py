"""Report the status of jobs: percent, seconds, an estimate of the rest, the result."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from asyncjobs.backends.base import JobBackend
from asyncjobs.checks import listed
from asyncjobs.clock import Clock, to_datetime
from asyncjobs.exceptions import ConversionError, CorruptValueError
from asyncjobs.models import Job, JobError, JobStatus, StatusReport
from asyncjobs.runtime.argument_checks import checked_id
from asyncjobs.runtime.functions import Functions
from asyncjobs.runtime.job_results import decode_value
from asyncjobs.runtime.large_values import decode_beside_loop
from asyncjobs.runtime.reasons import held_by_the_dead
from asyncjobs.runtime.submission import LONGEST_ID, checked_name
from asyncjobs.runtime.suggestions import not_found

_GROUND_FOR_ESTIMATE = 5.0
"""Percent that a body must have done before the rest is estimated from it."""
_ENOUGH_DURATIONS = 3
"""Earlier jobs of a function that must have completed before the rest is estimated from them."""


class StatusReports:
    """Makes reports from stored jobs and events."""

    def __init__(self, backend: JobBackend, functions: Functions, clock: Clock) -> None:
        self._backend = backend
        self._functions = functions
        self._clock = clock

    async def poll_status(self, job_id: str) -> StatusReport:
        """Report on one job.

        :raises JobNotFoundError: no such job.
        """
        job_id = checked_id(job_id)
        job = await self._backend.get_job(job_id)
        if job is None:
            raise await not_found(self._backend, job_id)
        return (await self._reports([job]))[job.id]

    async def poll_batch(self, job_ids: Sequence[str]) -> dict[str, StatusReport | None]:
        """Report on several jobs; None for an unknown id."""
        ids = [
            checked_name("job_ids", one, LONGEST_ID) for one in listed("job_ids", job_ids, "ids or handles, in a list")
        ]
        asked: dict[str, StatusReport | None] = dict.fromkeys(ids)
        return asked | await self._reports(await self._backend.get_jobs(list(asked)))

    async def _reports(self, jobs: Sequence[Job]) -> dict[str, StatusReport]:
        results = await self._backend.get_results([job.id for job in jobs if job.status is JobStatus.COMPLETED])
        values: dict[str, Any] = {}
        unreadable: dict[str, JobError] = {}
        for key, end in results.items():
            if end.status is not JobStatus.COMPLETED:
                continue
            try:
                values[key] = await decode_beside_loop(end.value, decode_value, end, None, self._functions)
            except (ConversionError, CorruptValueError) as error:
                unreadable[key] = unreadable_result(error)
        durations = {function: await self._backend.get_durations(function) for function in to_be_timed(jobs)}
        gone = await held_by_the_dead(self._backend, jobs)
        now = to_datetime(self._clock.now())
        return {
            job.id: report(
                job,
                now,
                values.get(job.id),
                durations.get(job.func, ()),
                worker_gone=job.id in gone,
                unreadable=unreadable.get(job.id),
            )
            for job in jobs
        }


def to_be_timed(jobs: Iterable[Job]) -> set[str]:
    """Return the functions whose durations ``report`` needs: of running jobs with too little progress of their own."""
    return {job.func for job in jobs if job.status is JobStatus.IN_PROGRESS and not _allows_estimate(_percent(job))}


def report(
    job: Job,
    now: datetime,
    result: Any,
    durations: Sequence[float] = (),
    *,
    worker_gone: bool = False,
    unreadable: JobError | None = None,
) -> StatusReport:
    """Report percent, elapsed and remaining seconds of a snapshot.

    :param result: the decoded result of a completed job.
    :param durations: seconds that earlier jobs of the function took.
    :param worker_gone: whether the job is in progress, and its worker is dead.
    :param unreadable: why the result of a completed job cannot be read.
    """
    percent = _percent(job)
    elapsed = remaining = None
    if job.started_at is not None and job.status is not JobStatus.PENDING:
        elapsed = max(0.0, ((job.finished_at or now) - job.started_at).total_seconds())
        if job.status is JobStatus.IN_PROGRESS and not worker_gone:
            remaining = _rest(elapsed, percent, durations)
    if job.status is JobStatus.COMPLETED:
        percent = 100.0
    return StatusReport(
        job_id=job.id,
        status=job.status,
        percent=percent,
        message="worker gone" if worker_gone else job.progress.message if job.progress is not None else None,
        elapsed=elapsed,
        remaining=remaining,
        attempt=job.attempt,
        result=result,
        error=job.error if job.status is JobStatus.FAILED else unreadable,
        because=job.because,
    )


def unreadable_result(error: Exception) -> JobError:
    """Return the error of a completed job whose result cannot be read."""
    return JobError(type(error).__name__, f"unreadable result: {error}")


def _rest(elapsed: float, percent: float | None, durations: Sequence[float]) -> float | None:
    if percent is not None and _allows_estimate(percent):
        return elapsed * (100.0 - percent) / percent
    if len(durations) >= _ENOUGH_DURATIONS:
        from statistics import median  # deferred: with the modules that it needs, it takes 160 kB

        rest = median(durations) - elapsed
        return rest if rest > 0 else None  # it takes longer than the others did: how much is unknown
    return None


def _percent(job: Job) -> float | None:
    return None if job.progress is None else job.progress.percent


def _allows_estimate(percent: float | None) -> bool:
    return percent is not None and percent >= _GROUND_FOR_ESTIMATE
