"""The contract of a store. Its docstrings are the specification; ``tests/conformance`` checks every backend by them.

A backend stores what ``core`` decides, atomically, and has no policy of its own. Everything comes in batches: each
method is one transaction, or one member of a group of concurrent calls that share one (group commit), in which a
refused member never fails its neighbours. Cancelling a caller never leaves half of a write: a call that was not taken
up yet is dropped, any other is finished first.

What a backend may do weaker is said by ``JobBackend.capabilities``.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any

from msgspec import Struct

from asyncjobs.core.commands import AttemptEnd, AttemptRef, NewJob
from asyncjobs.core.lanes import Lane
from asyncjobs.core.state import Stale
from asyncjobs.exceptions import ConfigurationError
from asyncjobs.models import (
    Attempt,
    BodyEvent,
    Edge,
    EventPage,
    GroupProgress,
    Isolation,
    Job,
    JobError,
    JobEvent,
    JobPage,
    JobQuery,
    JobResult,
    JobStatus,
    WorkerInfo,
)

__all__ = [
    "AttemptEnd",
    "AttemptRef",
    "ClaimRequest",
    "ClaimResult",
    "ClaimedJob",
    "Finished",
    "JobBackend",
    "LimitInfo",
    "NewJob",
    "NewWorker",
    "Stale",
    "StoredCall",
    "WorkerLease",
]


class NewWorker(Struct, frozen=True, kw_only=True):
    """A worker that wants to register. ``lease`` is seconds without a heartbeat after which it counts as dead."""

    name: str
    slots: int
    queues: tuple[str, ...] | None = None
    lease: float = 15.0


class WorkerLease(Struct, frozen=True):
    """What a heartbeat brings back.

    ``alive`` False: the worker was reaped; none of its attempts is its own any more and it must register anew.
    ``cancel_requested``: its attempts that somebody asked to stop. ``held``: all that are in progress; None: not known.
    """

    alive: bool
    cancel_requested: tuple[tuple[str, int], ...] = ()
    held: tuple[tuple[str, int], ...] | None = None


class ClaimRequest(Struct, frozen=True, kw_only=True):
    """How many jobs a worker wants, and which it may run.

    ``functions`` it has resolved, ``refused`` it has not; names in neither come back in ``ClaimResult.unknown``.
    ``queues`` None means every queue. Jobs that carry an owner are given only to the worker with that id.
    """

    worker: str
    limit: int
    functions: frozenset[str]
    refused: frozenset[str] = frozenset()
    queues: tuple[str, ...] | None = None


class ClaimedJob(Struct, frozen=True):
    """A job that now is in progress as ``attempt`` of the claiming worker."""

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
    """What of it cannot be read: it is not to be run, and this attempt fails."""


class ClaimResult(Struct, frozen=True):
    """What a claim brings.

    ``next_due`` is when the earliest delayed job comes due (µs since the epoch, by the wall clock as it is now), None
    without one. ``unknown`` are function names of ready jobs that ``functions`` and ``refused`` do not tell of.
    ``lost`` True: the worker is registered no more, nothing was claimed.
    """

    jobs: Sequence[ClaimedJob] = ()
    next_due: int | None = None
    unknown: tuple[str, ...] = ()
    lost: bool = False


class Finished(Struct, frozen=True):
    """Per end, in order: the status the job has now, or ``Stale`` where the fence refused it (nothing was changed)."""

    results: Sequence[JobStatus | Stale]
    claims: ClaimResult = ClaimResult()


class LimitInfo(Struct, frozen=True):
    """A limited key: how many may be in progress, and how many are."""

    key: str
    capacity: int
    in_progress: int


class StoredCall(Struct, frozen=True):
    """What a job calls: ``call`` is its arguments, encoded as they are stored.

    ``injects`` True: results of other jobs are named in them, and are put in when an attempt begins.
    """

    function: str
    call: bytes
    injects: bool


Listener = Callable[[Sequence[JobEvent]], None]


class JobBackend(ABC):
    """Where jobs are kept.

    Opened and closed by ``async with``. Reads return what is committed. Every method raises ``BackendClosedError``
    before ``open`` and after ``close``, ``BackendConnectionError`` when the store stays out of reach, and
    ``BackendError`` when it cannot do what was asked; drivers' own errors never come out.
    """

    capabilities: frozenset[str] = frozenset()
    """What this store can do beyond the contract: ``"persistent"`` (survives the process), ``"shared"`` (several
    processes at once), ``"ordered_log"`` (one total order of events over all jobs), ``"backup"`` (``backup`` and
    ``compact``)."""

    # -- life

    @abstractmethod
    async def open(self) -> None:
        """Connect, create or migrate the schema, and refuse what cannot work, naming the mend."""

    @abstractmethod
    async def close(self) -> None:
        """Finish writes that were taken up, then let go of everything. May be called twice."""

    async def __aenter__(self) -> JobBackend:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    @abstractmethod
    def set_listener(self, listener: Listener | None) -> None:
        """Call this with the events of every own commit, in order, in the event loop, before its callers go on. It must
        not block or raise. Commits of other processes are told by ``wait``."""

    @abstractmethod
    async def wait(self, timeout: float, *, urgent: bool = False) -> bool:
        """Wait until another process (or another backend object) may have changed something: True; or for
        ``timeout`` seconds: False. ``urgent`` asks for the shortest delay the store can give cheaply."""

    def removals(self) -> int | None:
        """Return how many jobs were ever removed, by any process; None: that cannot be told without waiting."""
        return None

    @abstractmethod
    async def health(self) -> Mapping[str, Any]:
        """What an operator wants to know of the store: at least ``backend`` and ``where``. Raises if out of reach."""

    # -- submitting

    @abstractmethod
    async def enqueue_jobs(self, jobs: Sequence[NewJob], *, parent: AttemptRef | None = None) -> Sequence[str]:
        """Store a batch, all or nothing: rows, edges, ``submitted`` events. Durable when it returns the ids.

        1. An id that exists: ``DuplicateJobError``, or with ``if_exists="return"`` the existing job if function and
           call are the same bytes, else ``JobConflictError``.
        2. A dependency must be stored or in the batch, else ``UnknownDependencyError``. One that is terminal counts
           at once: the job may be stored ready, or ``skipped``. One given twice is one edge, and required wins.
           ``require`` that is not from 1 to the number of dependencies: ``ConfigurationError``.
        3. Edges inside the batch must not close a cycle, else ``CyclicDependencyError``.
        4. With ``parent``, that attempt must still be in progress and not be asked to stop, else ``JobStateError``: so
           that cancelling the descendants of a running job closes the tree.
        5. ``run_at`` in the past counts as now; ``delay`` (µs) counts from the store's own now. ``run_at`` follows the
           wall clock. A delay, like the backoff after a failure, is a duration: a clock that is set does not move its
           end, as far as the store can tell (``docs/adr/0021``).
        """

    # -- running

    @abstractmethod
    async def dequeue_jobs(self, claim: ClaimRequest) -> ClaimResult:
        """Claim up to ``claim.limit`` ready jobs: ``in_progress``, ``attempt`` + 1, a ``started`` event.

        Ready means: pending, dependencies met, due, and within its limit. Order is priority (highest first), then
        submission. The claim is exclusive: no attempt is given out twice. Due jobs are promoted first, in bounded
        steps.
        """

    @abstractmethod
    async def update_job_status(self, ends: Sequence[AttemptEnd], claim: ClaimRequest | None = None) -> Finished:
        """Record outcomes, and claim the next jobs in the same transaction.

        Each end is guarded by (in progress, attempt, worker). What the body said goes before the end's own event.
        Dependents are released or skipped, transitively; limits are freed.
        """

    @abstractmethod
    async def append_events(self, batches: Sequence[tuple[AttemptRef, Sequence[BodyEvent]]]) -> Sequence[bool]:
        """Store what running bodies said. False: that attempt is not in progress any more, nothing was stored."""

    # -- workers and leases

    @abstractmethod
    async def register_worker(self, worker: NewWorker) -> str:
        """Make a worker known; returns its id, which is never used again. Until ``deregister_worker`` the backend
        keeps its lease alive, apart from the event loop where it can (a busy loop must not lose leases)."""

    @abstractmethod
    async def deregister_worker(self, worker: str) -> None:
        """The worker leaves in order. Attempts that it holds are interrupted; pending jobs that it owns fail."""

    @abstractmethod
    async def extend_leases(self, worker: str) -> WorkerLease:
        """The heartbeat: renew the lease of every attempt of this worker."""

    @abstractmethod
    async def report_refusals(self, worker: str, refused: Mapping[str, str]) -> None:
        """Store which functions this worker may not or cannot run, and why, for ``why``."""

    @abstractmethod
    async def reap(self, *, expired: bool = True) -> Sequence[str]:
        """Interrupt the attempts of workers that are gone or whose lease ran out, and fail pending jobs whose owner is
        gone; returns the ids of these jobs. Takes no ``now``: leases live on the store's own clock. A worker whose
        heartbeat could not be written because the store itself was blocked must be given the time to renew:
        ``expired=False`` leaves those alone of which a lease that ran out is all that is known."""

    @abstractmethod
    async def workers(self) -> Sequence[WorkerInfo]:
        """Registered workers, the dead ones that were not reaped yet with ``alive=False``."""

    # -- deciding by hand

    @abstractmethod
    async def cancel_jobs(self, ids: Sequence[str], *, descendants: bool = False) -> Mapping[str, JobStatus]:
        """Cancel pending jobs, store the request for those in progress; ``descendants``: also the jobs submitted from
        inside these, and theirs. Returns the status each has then. Unknown ids are left out."""

    @abstractmethod
    async def retry_job(self, job_id: str) -> JobStatus:
        """The explicit retry: rule 4.4. Raises ``JobNotFoundError``, ``JobStateError``.
        What was skipped because of it waits again. A child with ``require`` was skipped because of all of its parents
        that did not complete, whichever of them is stored as the cause."""

    @abstractmethod
    async def mark_job_ready(self, ids: Sequence[str]) -> Sequence[str]:
        """Decide waiting jobs anew from their edges (idempotent); returns those whose dependencies are met."""

    @abstractmethod
    async def give_up(self, ids: Sequence[str], error: JobError) -> Sequence[str]:
        """Pending jobs that nobody can run end as failed, with this reason; returns their ids. What is not pending any
        more, or not known, is left out."""

    # -- upkeep

    @abstractmethod
    async def prune(self, before: int, limit: int = 1000) -> int:
        """Remove jobs that ended before this moment (µs), with all that is stored of them; returns how many.

        A job goes only with its whole connected component (edges, and jobs with those submitted from inside them), once
        all of it ended before then. To whoever looks, a component is there or it is not: no read and no call finds a
        part of one, also if the process dies in between. A retry or a submission that reaches it first keeps it.

        A call does a bounded amount of work: it removes about ``limit`` jobs, but whole components, and looks at that
        many that have to stay (5,000 at least). The next call goes on from there, so 0 means that nothing was found
        this time. It is cheap when nothing is due, however many jobs there are.

        The highest position of a removed event is kept, for ``EventPage.lost``.
        """

    @abstractmethod
    async def remove_jobs(self, ids: Sequence[str], *, components: bool = False) -> Sequence[str]:
        """Remove these jobs as ``prune`` does, however lately they ended; returns the ids of those removed, by
        submission. ``components``: also all that they are connected with. Unknown ids are left out.

        :raises JobStateError: one of a component has not ended, or was not named. It tells of the first such job, by
            submission; nothing was removed.
        """

    async def backup(self, path: str | os.PathLike[str]) -> None:
        """Write a copy of the whole store to a new file, as of one moment, while work goes on.

        :raises ConfigurationError: the file exists, cannot be made, or this store cannot do it.
        """
        raise _cannot("backup", path)

    async def compact(self, patience: float = 10.0) -> int:
        """Give back to the file system what removed jobs took; returns the bytes by which the store became smaller.

        :param patience: seconds that others may be held up by it.
        :raises BackendError: it takes longer than that; nothing was changed.
        :raises ConfigurationError: this store cannot do it.
        """
        raise _cannot("compact", patience)

    # -- asking

    async def get_job(self, job_id: str) -> Job | None:
        """One job, or None."""
        return next(iter(await self.get_jobs([job_id])), None)

    @abstractmethod
    async def get_jobs(self, ids: Sequence[str]) -> Sequence[Job]:
        """These jobs, in the order of ``ids``; unknown ones are left out."""

    @abstractmethod
    async def get_results(self, ids: Sequence[str]) -> Mapping[str, JobResult]:
        """Status and, where terminal, the encoded result or the error of these jobs; unknown ones are left out."""

    @abstractmethod
    async def get_attempts(self, job_id: str) -> Sequence[Attempt]:
        """Every attempt of a job, the first one first."""

    @abstractmethod
    async def find_jobs(self, query: JobQuery) -> JobPage:
        """A page of jobs. ``ConfigurationError`` for a cursor that is none."""

    @abstractmethod
    async def find_ids(self, prefix: str, limit: int = 20) -> Sequence[str]:
        """Ids that begin with ``prefix`` (case counts; no character has a meaning of its own), in order of the id;
        ``""`` gives the first ones. Cheap, however many jobs there are. ``ConfigurationError``: ``limit`` is not
        from 1 to 1,000."""

    @abstractmethod
    async def get_call(self, job_id: str) -> StoredCall | None:
        """What a job calls, for people who look at it; None: no such job."""

    @abstractmethod
    async def count_jobs(self, group: str | None = None) -> Mapping[JobStatus, int]:
        """How many jobs have each status, in a group or at all; statuses without jobs are left out."""

    @abstractmethod
    async def list_groups(self, after: str | None = None, limit: int = 100) -> Sequence[GroupProgress]:
        """Groups that have jobs, in order of their names, those behind ``after`` (None: from the first), with counts
        as of ``count_jobs``. It costs what the jobs of the groups given cost, not those of others. Names are ordered
        by code points. ``ConfigurationError``: ``limit`` is not from 1 to 1,000, or ``after`` can be no name."""

    @abstractmethod
    async def get_durations(self, function: str, limit: int = 20) -> Sequence[float]:
        """Seconds that completed jobs of this function took in their last attempt, from its start to its end; the
        jobs submitted last come first.

        A bounded look, so that it never becomes slow: of all completed jobs of the store, whatever their function,
        only the 5,000 submitted last are looked at. A function without any among them gives none.
        ``ConfigurationError``: ``limit`` is not from 1 to 1,000.
        """

    @abstractmethod
    async def has_unfinished(self, group: str | None = None) -> bool:
        """Whether any job (of the group) is pending or in progress. Cheap, however many there are."""

    @abstractmethod
    async def get_dependencies(self, ids: Iterable[str]) -> Sequence[Edge]:
        """The edges whose child is one of these."""

    @abstractmethod
    async def get_dependent_jobs(self, ids: Iterable[str]) -> Sequence[Edge]:
        """The edges whose parent is one of these."""

    @abstractmethod
    async def get_ready_jobs(self, limit: int = 100) -> Sequence[Job]:
        """Jobs that a claim could take now, in the order of claims."""

    @abstractmethod
    async def get_limit(self, key: str) -> LimitInfo | None:
        """A limited key, None if no job ever had it."""

    @abstractmethod
    async def get_lanes(self) -> Sequence[Lane]:
        """Return every lane that jobs were submitted for."""

    @abstractmethod
    async def read_events(
        self,
        after: str | None = None,
        *,
        limit: int = 500,
        job_id: str | None = None,
        group: str | None = None,
    ) -> EventPage:
        """A page of the log after this cursor (None: from the beginning), of one job, one group, or all.

        The page's ``cursor`` moves on even where filters left nothing. ``ConfigurationError``: not a cursor.
        A cursor below the highest one that retention ever removed gives what is left, and ``lost`` True.
        """

    @abstractmethod
    async def last_cursor(self) -> str:
        """The cursor of the newest stored event: reading after it gives only what comes later."""


def _cannot(what: str, value: object) -> ConfigurationError:
    return ConfigurationError(
        what,
        value,
        problem=f"{what}: this store is not kept in a file",
        hint="it is for stores in files, such as BackendType.SQLITE",
    )
