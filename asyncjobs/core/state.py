"""Define the input and output of decisions: the part of a job that changes, and values that describe a change."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from msgspec import Struct

from asyncjobs.core.retry import DEFAULT_RETRY, RetryPolicy
from asyncjobs.models import EdgeState, JobError, JobStatus, OutcomeKind, WaitsFor

SECOND = 1_000_000
"""Microseconds in a second: moments in ``core`` and in storage are integer µs since the epoch."""


UNKNOWN_GATE = -1
"""The stand-in of a store for a ``JobState.parked`` that cannot be read: any gate that the job asked wakes it."""


class Role(IntEnum):
    """The role of a job that does more than run; the numbers are stored."""

    GATE = 1
    """The job has no function: it is answered."""
    ASKER = 2
    """The body of the job has asked: gates may have to be cancelled when the job ends."""


class JobState(Struct, frozen=True, gc=False):
    """The hot row of a job.

    ``n`` is its number: unique and in the order of submission, but with gaps. ``seq`` counts its events, and is its
    version. ``open`` and ``met`` count edges to its parents. ``waits_for`` is None unless it is pending. ``worker`` is
    the backend's key of the worker that holds the attempt. ``because`` names the root cause of a skip. If ``lasts`` is
    True, ``run_at`` is the end of a duration and not a moment that a submitter named: a store then gives it by the wall
    clock as that is now, so that setting the clock does not move it. ``generation`` counts the explicit retries. A step
    counts if it was kept in the generation ``steps_from`` or later. ``role`` is None for nearly all jobs. The
    ``run_at`` of a gate is the deadline for its answer. ``parked`` is the number of the gate on which a job is parked.
    """

    n: int
    id: str
    status: JobStatus = JobStatus.PENDING
    waits_for: WaitsFor | None = WaitsFor.WORKER
    priority: int = 0
    run_at: int | None = None
    attempt: int = 0
    failures: int = 0
    interruptions: int = 0
    max_interruptions: int = 3
    retry: RetryPolicy = DEFAULT_RETRY
    require: int | None = None
    open: int = 0
    met: int = 0
    limit: str | None = None
    cancel_requested: bool = False
    worker: int | None = None
    started_at: int | None = None
    finished_at: int | None = None
    because: str | None = None
    seq: int = 0
    group: str | None = None
    lasts: bool = False
    generation: int = 0
    steps_from: int = 0
    role: Role | None = None
    parked: int | None = None
    unreadable: str | None = None
    """The columns of the stored row that cannot be read and have stand-ins here."""


class GateState(Struct, frozen=True, gc=False):
    """The state of a gate beside its row as a job: ``n`` is its number; moments are by the wall clock.

    ``timeout`` is how long it stays open, in µs; None: forever. ``asker`` is the number of the job whose body asked,
    None for a gate that was submitted; ``generation`` is that of the asker when the gate was opened last. ``reason``
    is why it was rejected. The last three are None until it is answered or rejected.
    """

    n: int
    timeout: int | None = None
    asker: int | None = None
    generation: int = 0
    opened_at: int | None = None
    answered_at: int | None = None
    answered_by: str | None = None
    reason: str | None = None


class EdgeRow(Struct, frozen=True, gc=False):
    """A stored edge, by job numbers."""

    parent: int
    child: int
    optional: bool = False
    state: EdgeState = EdgeState.OPEN


class NewEvent(Struct, frozen=True, gc=False):
    """An event to write with the change that it reports; its ``seq`` is already decided.

    ``type`` is a plain str, also of the engine's own types: subscribers get it as it is.
    """

    seq: int
    type: str
    at: int
    attempt: int
    status: JobStatus | None = None
    data: dict[str, Any] | None = None


class EndedAttempt(Struct, frozen=True, gc=False):
    """A row of the attempt history."""

    attempt: int
    worker: int | None
    started_at: int | None
    finished_at: int
    kind: OutcomeKind
    error: JobError | None = None


class Change(Struct, frozen=True, gc=False):
    """A decided transition: the row as it will be and what is written with it, in one transaction."""

    job: JobState
    events: tuple[NewEvent, ...]
    ended: EndedAttempt | None = None
    value: bytes | None = None


class Stale(Struct, frozen=True, gc=False):
    """A refusal: the attempt is not, or no longer, the job's current one. It has the job's attempt and status."""

    attempt: int
    status: JobStatus
