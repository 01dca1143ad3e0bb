"""Decode the responses of the server, and turn them into models of this package."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct, field
from msgspec.structs import asdict

from asyncjobs.models import (
    Attempt,
    Gate,
    GroupProgress,
    Job,
    JobError,
    JobEvent,
    JobStatus,
    OutcomeKind,
    Progress,
    StatusReport,
    WaitsFor,
    WorkerInfo,
)

# -- shown to users


class Stats(Struct, frozen=True):
    """Counts of all jobs and live workers. ``streams`` are open on the server; ``cursor`` is the end of the log."""

    counts: dict[JobStatus, int]
    total: int
    workers: int
    slots: int
    running: int
    streams: int
    cursor: str


class Snapshot(Struct, frozen=True):
    """The state as of ``cursor``: ``stream_all(after=cursor)`` continues there and misses nothing.

    ``jobs`` are the newest ones, ``groups`` the first ones by name.
    """

    cursor: str
    stats: Stats
    jobs: list[Job]
    groups: list[GroupProgress]
    workers: list[WorkerInfo]


class ChangedJobs(Struct, frozen=True):
    """``matched`` jobs were found; ``changed`` has the status of each that is different now, or is asked to stop."""

    matched: int
    changed: dict[str, JobStatus]


# -- as the server sends them; unknown fields of a newer server are ignored


class SentError(Struct, frozen=True):
    """The error of a job or an attempt."""

    error_type: str
    message: str
    traceback: str | None = None

    def model(self) -> JobError:
        """Return the model."""
        return JobError(self.error_type, self.message, self.traceback)


class SentGate(Struct, frozen=True, kw_only=True):
    """The question of a gate, and its state."""

    question: str
    choices: tuple[str, ...] | None = None
    schema: dict[str, Any] | None = None
    reject_on: tuple[str, ...] = ()
    asked_by: str | None = None
    opened_at: datetime | None = None
    deadline: datetime | None = None
    answered_by: str | None = None
    answered_at: datetime | None = None

    def model(self) -> Gate:
        """Return the model."""
        return Gate(**asdict(self))


class SentJob(Struct, frozen=True, kw_only=True):
    """A job."""

    id: str
    function: str
    status: JobStatus
    version: int
    queue: str
    priority: int
    group: str | None
    metadata: dict[str, Any]
    attempt: int
    failures: int
    interruptions: int
    max_retries: int
    timeout: float | None
    waits_for: str | None
    cancel_requested: bool
    created_at: datetime
    run_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    worker: str | None = None
    worker_id: str | None = None
    worker_gone: bool = False
    parent: str | None = None
    because: str | None = None
    depends_on: tuple[str, ...] = ()
    limit: str | None = None
    gate: SentGate | None = None
    parked: str | None = None
    error: SentError | None = None
    progress: Progress | None = None
    percent: float | None = None
    elapsed: float | None = None
    remaining: float | None = None
    unreadable: str | None = None

    def model(self) -> Job:
        """Return the model. ``dependencies_met`` is not sent: it follows from ``waits_for`` and the status."""
        waits_for = None if self.waits_for is None else WaitsFor[self.waits_for.upper()]
        return Job(
            id=self.id,
            func=self.function,
            status=self.status,
            queue=self.queue,
            priority=self.priority,
            group=self.group,
            metadata=self.metadata,
            attempt=self.attempt,
            failures=self.failures,
            interruptions=self.interruptions,
            max_retries=self.max_retries,
            timeout=self.timeout,
            dependencies_met=waits_for is not WaitsFor.DEPENDENCIES and self.status is not JobStatus.SKIPPED,
            cancel_requested=self.cancel_requested,
            created_at=self.created_at,
            run_at=self.run_at,
            started_at=self.started_at,
            finished_at=self.finished_at,
            worker=self.worker,
            worker_id=self.worker_id,
            parent_id=self.parent,
            because=self.because,
            error=None if self.error is None else self.error.model(),
            progress=self.progress,
            limit=self.limit,
            waits_for=waits_for,
            version=self.version,
            unreadable=self.unreadable,
            depends_on=self.depends_on,
            gate=None if self.gate is None else self.gate.model(),
            parked=self.parked,
        )

    def report(self) -> StatusReport:
        """Return the status report, without the result, which is not sent with a job."""
        failed = self.error is not None and self.status is JobStatus.FAILED
        return StatusReport(
            job_id=self.id,
            status=self.status,
            percent=self.percent,
            message="worker gone" if self.worker_gone else None if self.progress is None else self.progress.message,
            elapsed=self.elapsed,
            remaining=self.remaining,
            attempt=self.attempt,
            error=self.error.model() if failed and self.error is not None else None,
            because=self.because,
        )


class SentJobs(Struct, frozen=True):
    """A page of jobs."""

    items: list[SentJob]
    next: str | None = None


class SentBatchItem(Struct, frozen=True):
    """A job of a batch; None if the id is unknown."""

    id: str
    job: SentJob | None = None


class SentBatch(Struct, frozen=True):
    """The jobs of several ids."""

    items: list[SentBatchItem]


class SentStatus(Struct, frozen=True):
    """The status of a job."""

    id: str
    status: JobStatus


class SentResult(Struct, frozen=True):
    """The result of a completed job."""

    id: str
    status: JobStatus
    result: Any = None


class SentAttempt(Struct, frozen=True):
    """One attempt."""

    attempt: int
    worker: str | None
    started_at: datetime
    finished_at: datetime | None = None
    outcome: OutcomeKind | None = None
    error: SentError | None = None

    def model(self, job_id: str) -> Attempt:
        """Return the model."""
        error = None if self.error is None else self.error.model()
        return Attempt(job_id, self.attempt, self.worker, self.started_at, self.finished_at, self.outcome, error)


class SentAttempts(Struct, frozen=True):
    """All attempts of a job."""

    items: list[SentAttempt]


class SentEvents(Struct, frozen=True):
    """A page of events."""

    items: list[JobEvent]
    cursor: str
    end: bool


class SentGroups(Struct, frozen=True):
    """A page of groups."""

    items: list[GroupProgress]
    next: str | None = None


class SentWorkers(Struct, frozen=True):
    """All workers."""

    items: list[WorkerInfo]


class SentSnapshot(Struct, frozen=True):
    """The state as of a cursor."""

    cursor: str
    stats: Stats
    jobs: list[SentJob]
    groups: list[GroupProgress]
    workers: list[WorkerInfo]

    def model(self) -> Snapshot:
        """Return the model."""
        jobs = [job.model() for job in self.jobs]
        return Snapshot(self.cursor, self.stats, jobs, self.groups, self.workers)


class SentProblem(Struct, frozen=True):
    """A problem document (RFC 9457) with the fields that asyncjobs adds."""

    code: str
    detail: str = ""
    hint: str | None = None
    details: dict[str, Any] = field(default_factory=dict[str, Any])
