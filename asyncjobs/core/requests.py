"""Define what the runtime hands to the commands: new jobs, attempts with their outcomes, and what they keep."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from asyncjobs.core.retry import RetryPolicy
from asyncjobs.models import BodyEvent, Dependency, Isolation, Limit, Outcome


class NewJob(Struct, frozen=True, kw_only=True, gc=False):
    """A job as the runtime hands it over: everything encoded, the id fixed, nothing left to look up."""

    id: str
    function: str
    call: bytes
    injects: bool = False
    queue: str
    owner: str | None = None
    group: str | None = None
    metadata: bytes | None = None
    priority: int = 0
    limit: Limit | None = None
    retry: RetryPolicy
    max_interruptions: int = 3
    timeout: float | None = None
    isolation: Isolation = "thread"
    run_at: int | None = None
    delay: int | None = None
    dependencies: tuple[Dependency, ...] = ()
    require: int | None = None
    if_exists: Literal["raise", "return"] = "raise"
    generated: bool = False
    """Whether the id was just drawn at random, so that it cannot be taken."""


class AttemptRef(Struct, frozen=True, gc=False):
    """An attempt as its worker knows it. ``ref`` is the backend's own key of the job, given with the claim."""

    job_id: str
    attempt: int
    worker: str
    ref: int = -1


class AttemptEnd(Struct, frozen=True):
    """An attempt's outcome with the last events of its body. ``jitter`` (0 to 1) spreads its backoff."""

    attempt: AttemptRef
    outcome: Outcome
    body_events: tuple[BodyEvent, ...] = ()
    jitter: float = 0.5


class Keep(Struct, frozen=True):
    """A value that an attempt keeps under a key, in place of the one that the job has there."""

    attempt: AttemptRef
    key: str
    value: bytes


class Forget(Struct, frozen=True):
    """A request of an attempt to keep nothing under the keys that begin with ``prefix``; all begin with ``""``."""

    attempt: AttemptRef
    prefix: str


StepChange = Keep | Forget
"""A change of the steps of a job: rule of ``backends.step_store``."""
