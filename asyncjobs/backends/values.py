"""Define the values that a store takes and returns, beside those of ``models`` and ``core.requests``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from msgspec import Struct

from asyncjobs.backends.committed_events import CommittedEvents
from asyncjobs.clock import to_datetime
from asyncjobs.core.requests import AttemptRef, Question
from asyncjobs.core.state import GateState, Stale
from asyncjobs.models import Gate, Isolation, JobStatus

Listener = Callable[[CommittedEvents], None]


class Seen(Struct):
    """The changes by other processes that one watcher has noticed, kept between its calls of ``JobBackend.wait``.

    Only the store uses the fields.
    """

    version: int | None = None
    unseen: float = 0.0


class NewWorker(Struct, frozen=True, kw_only=True):
    """A worker to register. ``lease`` is the seconds without a heartbeat after which it counts as dead."""

    name: str
    slots: int
    queues: tuple[str, ...] | None = None
    lease: float = 15.0


class WorkerLease(Struct, frozen=True):
    """The answer to a heartbeat.

    If ``alive`` is False, the worker was reaped: it has lost all its attempts and must register anew.
    ``cancel_requested`` are its attempts with a stored request to stop, ``held`` all that are in progress (None if
    not known), each as job id and attempt number.
    """

    alive: bool
    cancel_requested: tuple[tuple[str, int], ...] = ()
    held: tuple[tuple[str, int], ...] | None = None


class ClaimRequest(Struct, frozen=True, kw_only=True):
    """How many jobs a worker wants, and which it may run.

    The worker has resolved ``functions`` and failed to resolve ``refused``; names in neither are returned in
    ``ClaimResult.unknown``. ``queues`` None means every queue. A job with an owner is given only to the worker with
    that id.
    """

    worker: str
    limit: int
    functions: frozenset[str]
    refused: frozenset[str] = frozenset()
    queues: tuple[str, ...] | None = None


class ClaimedJob(Struct, frozen=True, gc=False):
    """A job that is now in progress as ``attempt`` of the claiming worker."""

    attempt: AttemptRef
    function: str
    call: bytes
    injects: bool
    retry: Any
    timeout: float | None
    group: str | None
    started_at: int
    cancel_requested: bool = False
    isolation: Isolation = "thread"
    unreadable: str | None = None
    """The mark of a job that cannot be read: it must not be run, and this attempt fails. None for a sound job."""


class ClaimResult(Struct, frozen=True):
    """The answer to a claim.

    ``next_due`` is when to claim again even if nothing happens before: when the earliest delayed job comes due, or the
    store asks for another claim (µs since the epoch, by the wall clock as it is now); None if there is no such moment.
    ``unknown`` are the functions of ready jobs that the claim neither resolved nor refused. If ``lost`` is True, the
    worker is no longer registered and nothing was claimed.
    """

    jobs: Sequence[ClaimedJob] = ()
    next_due: int | None = None
    unknown: tuple[str, ...] = ()
    lost: bool = False


class Finished(Struct, frozen=True):
    """Per end, in order, the status of its job now, or ``Stale`` where it was refused and changed nothing."""

    results: Sequence[JobStatus | Stale]
    claims: ClaimResult = ClaimResult()


class KeptStep(Struct, frozen=True):
    """A value that a job has kept. ``size`` is in bytes.

    ``value`` is None if it is larger than ``bounds.SMALL_VALUE``, or was not asked for.
    """

    key: str
    size: int
    value: bytes | None = None


class StepPage(Struct, frozen=True):
    """A page of the steps of a job. ``next`` is where the next page begins, None at the end."""

    steps: tuple[KeptStep, ...] = ()
    next: str | None = None


class LimitInfo(Struct, frozen=True):
    """A limited key: how many may be in progress, and how many are."""

    key: str
    capacity: int
    in_progress: int


class StoredCall(Struct, frozen=True):
    """The function of a job, and in ``call`` its encoded arguments, as they are stored.

    If ``injects`` is True, they refer to results of other jobs, which are injected when an attempt begins.
    """

    function: str
    call: bytes
    injects: bool


class Finding(Struct, frozen=True):
    """A finding of a checkup: a ``text`` for operators, and the fix in ``mend``.

    ``level`` is ``"error"`` if work is in danger, ``"warning"`` if it soon may be, ``"ok"`` for a useful fact.
    """

    level: Literal["ok", "warning", "error"]
    text: str
    mend: str | None = None


def show_gate(question: Question, state: GateState, deadline: int | None, submitted_by: str | None) -> Gate:
    """Return a snapshot of a gate.

    :param deadline: in µs.
    :param submitted_by: the id of the job from whose body it came, None without one.
    """
    moments = (state.opened_at, deadline, state.answered_at)
    opened_at, until, answered_at = (None if moment is None else to_datetime(moment) for moment in moments)
    return Gate(
        question=question.question,
        choices=question.choices,
        schema=question.schema,
        reject_on=question.reject_on,
        asked_by=None if state.asker is None else submitted_by,
        opened_at=opened_at,
        deadline=until,
        answered_by=state.answered_by,
        answered_at=answered_at,
    )
