"""What the rules say of one job, and of one gate."""

from __future__ import annotations

from dataclasses import dataclass, field

from asyncjobs.backends.base import NewJob
from asyncjobs.models import EdgeState, JobStatus

PENDING = JobStatus.PENDING


@dataclass
class Asked:
    """What a gate is beside a job. Moments are µs by the wall clock."""

    timeout: int | None
    default: bytes | None
    asker: str | None = None
    """The job whose body asked; None for a gate that was submitted."""
    openings: int = 0
    opened_at: int | None = None
    deadline: int | None = None
    answered_at: int | None = None
    by: str | None = None
    reason: str | None = None
    value: bytes | None = None
    error: str | None = None
    ask_again: bool = False
    """Its asker was retried since, so that its end does not count any more for the next attempt that asks."""


@dataclass
class Model:
    """What the rules say of one job."""

    new: NewJob
    n: int
    status: JobStatus = PENDING
    ready: bool = False
    due: int = 0
    attempt: int = 0
    failures: int = 0
    interruptions: int = 0
    cancel_requested: bool = False
    because: str | None = None
    worker: int | None = None
    parent: str | None = None
    gate: Asked | None = None
    """Of a gate: what the rules say of it beside the job."""
    parked: str | None = None
    """The gate on which it is parked."""
    frozen: dict[str, EdgeState] = field(default_factory=dict[str, EdgeState])
    """Edges of a job that has started: a later retry of the parent does not open them again."""
    steps: dict[str, bytes] = field(default_factory=dict[str, bytes])

    @property
    def id(self) -> str:
        return self.new.id

    @property
    def rank(self) -> tuple[int, int]:
        return -self.new.priority, self.n

    @property
    def open(self) -> bool:
        """A gate that waits for its answer."""
        return self.gate is not None and self.status is JobStatus.PENDING and self.ready

    @property
    def started(self) -> bool:
        """A gate has once it was asked."""
        return self.attempt > 0 if self.gate is None else self.gate.opened_at is not None
