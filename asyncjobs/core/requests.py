"""Define what the runtime passes to the commands: new jobs, attempts with their outcomes, and what they keep."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from asyncjobs.core.retry import RetryPolicy
from asyncjobs.models import BodyEvent, Dependency, Isolation, JobStatus, Limit, Outcome


class NewJob(Struct, frozen=True, kw_only=True, gc=False):
    """A job as the runtime passes it: everything encoded, the id fixed, nothing left to look up.

    If ``gate`` is True, it is a gate: ``call`` is its encoded ``Question``, and ``timeout`` counts from its opening.
    """

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
    gate: bool = False


class Question(Struct, frozen=True, kw_only=True):
    """The question of a gate, and which answers it takes: never changed once it is stored.

    Without ``choices`` and ``schema`` (a JSON Schema) it is an approval. ``reject_on`` are the choices that reject it.
    ``default`` is the encoded answer with which the deadline completes the gate; with None, the deadline fails it.
    """

    question: str
    choices: tuple[str, ...] | None = None
    schema: dict[str, Any] | None = None
    reject_on: tuple[str, ...] = ()
    default: bytes | None = None


class AskedGate(Struct, frozen=True):
    """The gate of a body's question, as it stands: the one that this attempt asked, or an earlier one.

    ``call`` is the encoded ``Question`` that it was first asked with.
    """

    job_id: str
    status: JobStatus
    call: bytes


class Answer(Struct, frozen=True, kw_only=True):
    """An answer to a gate, or its rejection: exactly one of ``value`` (encoded) and ``reason`` is given.

    ``by`` names its giver. It is only for the gate that was submitted at ``created_at`` (µs), whose question it fits,
    not for another gate with the same id.
    """

    job_id: str
    created_at: int
    value: bytes | None = None
    reason: str | None = None
    by: str | None = None


class AttemptRef(Struct, frozen=True, gc=False):
    """An attempt as its worker knows it. ``ref`` is the backend's own key of the job, given with the claim."""

    job_id: str
    attempt: int
    worker: str
    ref: int = -1


class AttemptEnd(Struct, frozen=True, gc=False):
    """An attempt's outcome with the last events of its body. ``jitter`` (0 to 1) spreads its backoff.

    ``parked_on`` is the id of the gate on which a released job is parked.
    """

    attempt: AttemptRef
    outcome: Outcome
    body_events: tuple[BodyEvent, ...] = ()
    jitter: float = 0.5
    parked_on: str | None = None


class Keep(Struct, frozen=True, gc=False):
    """A value that an attempt keeps under a key, in place of the one that the job has there."""

    attempt: AttemptRef
    key: str
    value: bytes


class Forget(Struct, frozen=True, gc=False):
    """A request of an attempt to keep nothing under the keys that begin with ``prefix``; all begin with ``""``."""

    attempt: AttemptRef
    prefix: str


StepChange = Keep | Forget
"""A change of the steps of a job: rule of ``backends.step_store``."""
