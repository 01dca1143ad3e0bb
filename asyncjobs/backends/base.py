"""Specify what a store does. The docstrings are the contract; ``tests/conformance`` checks every backend against them.

A backend stores what ``core`` decides, atomically, and has no policy of its own. Everything comes in batches: each
method is one transaction, or one member of a group of concurrent calls that share one (group commit), in which a
refused member never fails its neighbours. (Without the capability ``"one_transaction"``, each job's part of it is.)
Cancelling a caller never leaves half of a write: a call that was not taken up yet is dropped, any other is finished
first. ``JobBackend.capabilities`` names what a backend does beyond this.

One act has up to three names: the method, the operation that SQLite queues for its group commit
(``sqlite.operations``), and the command that decides (``core.commands``, ``core.revival``, ``core.gate_commands``).
They differ only in the rows of this table:

===================  ===================  ===============================================================
method               operation            decided by
===================  ===================  ===============================================================
enqueue_job(s)       Enqueue              enqueue
dequeue_job(s)       Dequeue              promote (due jobs), set_waiting_place (limited jobs), start
update_job_status    Finish               finish, then what a claim does
append_events        AppendEvents         append_events
write_steps          WriteSteps           write_steps
ask_gate             AskGate              ask
answer_gate          AnswerGate           answer
end_due_gates        EndDueGates          end_due_gates
register_worker      Register             the backend alone
deregister_worker    Deregister           reap (held attempts), give_up (owned jobs)
extend_leases        ExtendLeases         the backend alone
report_refusals      ReportRefusals       the backend alone
reap                 Reap                 reap (held attempts), give_up (owned jobs)
cancel_jobs          Cancel               cancel
retry_job            Retry                retry
mark_job_ready       Recount              recount
give_up              GiveUp               give_up
prune, remove_jobs   Remove, then Clear   ``core.retention``, beforehand
===================  ===================  ===============================================================
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from asyncjobs.backends.bounds import Bounds
from asyncjobs.backends.event_store import EventStore
from asyncjobs.backends.gate_store import GateStore
from asyncjobs.backends.group_commits import GroupMember, Membership
from asyncjobs.backends.step_store import StepStore
from asyncjobs.backends.values import (
    ClaimedJob,
    ClaimRequest,
    ClaimResult,
    Finding,
    Finished,
    LimitInfo,
    Listener,
    NewWorker,
    Seen,
    StoredCall,
    WorkerLease,
)
from asyncjobs.core.lanes import Lane
from asyncjobs.core.requests import AttemptEnd, AttemptRef, NewJob
from asyncjobs.core.state import Stale
from asyncjobs.exceptions import ConfigurationError
from asyncjobs.models import (
    Attempt,
    BodyEvent,
    Edge,
    GroupProgress,
    Job,
    JobError,
    JobPage,
    JobResult,
    JobStatus,
    WorkerInfo,
)
from asyncjobs.requests import JobQuery

__all__ = [
    "AttemptEnd",
    "AttemptRef",
    "ClaimRequest",
    "ClaimResult",
    "ClaimedJob",
    "Finding",
    "Finished",
    "JobBackend",
    "LimitInfo",
    "Listener",
    "NewJob",
    "NewWorker",
    "Seen",
    "Stale",
    "StoredCall",
    "WorkerLease",
]


class JobBackend(EventStore, StepStore, GateStore):
    """A store of jobs, opened and closed by ``async with``.

    Reads return what is committed. Every method raises ``BackendClosedError`` before ``open`` and after ``close``,
    ``BackendConnectionError`` when the store stays out of reach, and ``BackendError`` when it cannot do what was
    asked. Errors of a driver are translated, never passed on.

    Any number of processors, daemons and publishers may share one object; the last one to leave closes it.
    """

    capabilities: frozenset[str] = frozenset()
    """The capabilities of the store beyond the contract. ``health`` lists them, too.

    - ``"persistent"``: what is stored survives the process.
    - ``"shared"``: several processes use it at once.
    - ``"ordered_log"``: the events of all jobs have one order, the same for every reader.
    - ``"backup"``: ``backup`` and ``compact``.
    - ``"one_transaction"``: what a call decides about several jobs is seen at once or not at all. Without it, each
      job's change is atomic, and ``enqueue_jobs`` and removals still are as a whole; what a crash left undone is
      finished by any process. Reads of the whole store (``find_jobs``, ``count_jobs()``, ``get_ready_jobs``, the log)
      then show own changes at once, those of other processes soon.
    - ``"dense_log"``: positions in the log have no holes, and the events that listeners get have them. Without it,
      cursors only grow: see ``backends.event_store``.
    - ``"strict_order"``: the claims of all workers together keep the order of priority and submission. Without it,
      those of one backend object do; beside others, each claim keeps the order among the jobs that it sees.
    """
    bounds: Bounds = Bounds()
    """How much the store examines for answers that would otherwise become slower as it grows."""

    # -- life

    @abstractmethod
    async def open(self) -> None:
        """Connect, create or migrate the schema, and refuse what cannot work with an error that names the fix.

        While the store is open, a call only counts: as many calls of ``close`` close it.
        """

    @abstractmethod
    async def close(self) -> None:
        """Finish the writes that were taken up, then release everything, once closed as often as opened. On a closed
        store, do nothing."""

    async def __aenter__(self) -> JobBackend:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @abstractmethod
    async def wait(self, timeout: float, *, urgent: bool = False, seen: Seen | None = None) -> bool:
        """Wait until another process (or another backend object) may have changed something, at most ``timeout`` s.

        A change ends every call that waits. A watcher that calls it again and again passes a ``Seen`` of its own: it
        then notices also what is changed between two of its calls, even if others wait. Its first call may return at
        once. Calls without one share what they have seen.

        A store of many hosts may notify one process of a change at once, and the others within seconds.

        :param urgent: notice a change with the shortest delay that the store can give cheaply.
        :returns: False if the time ran out.
        """

    def removals(self) -> int | None:
        """Return how many jobs were ever removed, by any process; None if finding out would mean waiting."""
        return None

    @abstractmethod
    async def health(self) -> Mapping[str, Any]:
        """Describe the store for an operator; raise if it is out of reach.

        At least by ``backend``, ``where``, and ``capabilities`` (sorted).
        """

    async def checkup(self) -> Sequence[Finding]:
        """Find what is wrong with the store itself, or soon will be: damage, or an unsuitable location.

        It may take long, and must not block other callers. Before ``open`` and after ``close`` it checks from outside
        only, for a store that cannot be opened. A store without anything to check has no findings.
        """
        return ()

    # -- submitting

    @abstractmethod
    async def enqueue_jobs(self, jobs: Sequence[NewJob], *, parent: AttemptRef | None = None) -> Sequence[str]:
        """Store a batch, all or nothing: rows, edges, ``submitted`` events. It is durable once the ids are returned.

        1. An id that exists raises ``DuplicateJobError``. With ``if_exists="return"`` it stands for the existing job
           if function and call are the same bytes, else ``JobConflictError`` is raised.
        2. A dependency must be stored or in the batch, else ``UnknownDependencyError``. One that is terminal counts
           at once: the job may be stored ready, or ``skipped``. One given twice is one edge, and required wins.
           ``require`` must be from 1 to the number of dependencies, else ``ConfigurationError``.
        3. Edges inside the batch must not close a cycle, else ``CyclicDependencyError``.
        4. With ``parent``, that attempt must still be in progress and not be asked to stop, else ``JobStateError``: so
           that cancelling the descendants of a running job closes the tree.
        5. ``run_at`` in the past counts as now; ``delay`` (µs) counts from the store's own now. ``run_at`` follows the
           wall clock. A delay, like the backoff after a failure, is a duration: a clock that is set does not move its
           end, as far as the store can know (``docs/adr/0021``).
        """

    async def enqueue_job(self, job: NewJob, *, parent: AttemptRef | None = None) -> str:
        """Store one job: a batch of one; returns its id."""
        (job_id,) = await self.enqueue_jobs([job], parent=parent)
        return job_id

    # -- running

    @abstractmethod
    async def dequeue_jobs(self, claim: ClaimRequest) -> ClaimResult:
        """Claim up to ``claim.limit`` ready jobs: ``in_progress``, ``attempt`` + 1, a ``started`` event.

        Ready means: pending, dependencies met, due, and within its limit. Order is priority (highest first), then
        submission. The claim is exclusive: no attempt is given out twice. Due jobs are promoted first, in bounded
        steps.
        """

    async def dequeue_job(self, claim: ClaimRequest) -> ClaimedJob | None:
        """Claim one ready job, whatever ``claim.limit`` is; return None if this worker may take none."""
        return next(iter((await self.dequeue_jobs(replace(claim, limit=1))).jobs), None)

    @abstractmethod
    async def update_job_status(self, ends: Sequence[AttemptEnd], claim: ClaimRequest | None = None) -> Finished:
        """Record outcomes, and claim the next jobs: in one transaction, with the capability ``"one_transaction"``.

        Each end is guarded by (in progress, attempt, worker): one that does not fit, or whose job is gone, is
        ``Stale``. Body events go before the end's own event. Dependents become ready or are skipped, transitively;
        limits are freed.
        """

    def join_group_commits(self, member: GroupMember) -> Membership | None:
        """Have a worker of this event loop asked whenever a group is put together. None: the store has no groups."""
        return None

    @abstractmethod
    async def append_events(self, batches: Sequence[tuple[AttemptRef, Sequence[BodyEvent]]]) -> Sequence[bool]:
        """Store the events of running bodies.

        :returns: per batch, in order: whether it was stored. False if its attempt is no longer in progress.
        """

    # -- workers and leases

    @abstractmethod
    async def register_worker(self, worker: NewWorker) -> str:
        """Register a worker and return its id, which is never used again.

        Until ``deregister_worker`` the backend renews its lease, apart from the event loop where it can: a busy loop
        must not lose leases.
        """

    @abstractmethod
    async def deregister_worker(self, worker: str) -> None:
        """Remove a worker that leaves in order: interrupt the attempts it holds, fail the pending jobs it owns."""

    @abstractmethod
    async def extend_leases(self, worker: str) -> WorkerLease:
        """Renew the lease of every attempt of this worker (its heartbeat), and return what the worker must know."""

    @abstractmethod
    async def report_refusals(self, worker: str, refused: Mapping[str, str]) -> None:
        """Store which functions this worker may not or cannot run, each with the reason, for ``why``."""

    @abstractmethod
    async def reap(self, *, expired: bool = True) -> Sequence[str]:
        """Interrupt the attempts of workers that are gone or whose lease ran out, and fail pending jobs of lost owners.

        It takes no ``now``: leases are measured by the store's own clock.

        :param expired: False spares workers whose only sign of death is a lease that ran out. A heartbeat that could
            not be written because the store itself was blocked must be given the time to catch up.
        :returns: the ids of the jobs that were interrupted or failed.
        """

    @abstractmethod
    async def workers(self) -> Sequence[WorkerInfo]:
        """Return the registered workers, the dead ones that were not reaped yet with ``alive=False``."""

    # -- deciding by hand

    @abstractmethod
    async def cancel_jobs(self, ids: Sequence[str], *, descendants: bool = False) -> Mapping[str, JobStatus]:
        """Cancel pending jobs, and store the request for those in progress.

        :param descendants: include the jobs submitted from inside these, and theirs.
        :returns: the status of each job afterwards; unknown ids are left out.
        """

    @abstractmethod
    async def retry_job(self, job_id: str, *, fresh: bool = False) -> JobStatus:
        """Make a failed or cancelled job pending again, at a user's request: rule 4.4.

        Its steps stay; with ``fresh``, those kept until now no longer count (``backends.step_store``).

        Jobs that were skipped because of it wait again. A child with ``require`` was skipped because of all of its
        parents that did not complete, whichever of them is stored as the cause.

        :raises JobNotFoundError: the id is unknown.
        :raises JobStateError: the job is neither failed nor cancelled.
        """

    @abstractmethod
    async def mark_job_ready(self, ids: Sequence[str]) -> Sequence[str]:
        """Decide waiting jobs again from their edges (idempotent), and return those whose dependencies are met."""

    @abstractmethod
    async def give_up(self, ids: Sequence[str], error: JobError) -> Sequence[str]:
        """Fail pending jobs that no worker can run, for this reason, and return their ids.

        Jobs that are no longer pending and unknown ids are left out.
        """

    # -- upkeep

    @abstractmethod
    async def prune(self, before: int, limit: int = 1000) -> int:
        """Remove jobs that ended before this moment (µs) with everything stored of them, and return how many.

        A job is removed only with its connected component (edges, and jobs with those submitted from inside them), once
        all of it ended before then. A component exists or it does not: no read and no call finds a part of one, even
        if the process dies in between. A retry or a submission that reaches it first keeps it.

        A call does a bounded amount of work: it removes about ``limit`` jobs, but whole components, and examines that
        many that have to stay (5,000 at least). The next call continues from there, so 0 means that nothing was found
        this time. It is cheap when nothing is due, however many jobs there are.

        The highest position of a removed event is kept, for ``EventPage.lost``. Data that no reader can find (steps
        that no longer count, what was left of removed jobs) is deleted first, in bounded steps, due or not.
        """

    @abstractmethod
    async def remove_jobs(self, ids: Sequence[str], *, components: bool = False) -> Sequence[str]:
        """Remove these jobs as ``prune`` does, however recently they ended. Unknown ids are left out.

        :param components: remove also all jobs that they are connected with.
        :returns: the ids of the removed jobs, in order of submission.
        :raises JobStateError: a job of a component has not ended, or was not named. The error is about the first such
            job, by submission; nothing was removed.
        """

    async def backup(self, path: str | os.PathLike[str]) -> None:
        """Write a copy of the whole store to a new file, as of one moment, while work goes on.

        :raises ConfigurationError: the file exists, cannot be made, or this store cannot do it.
        """
        raise _cannot("backup", path)

    async def compact(self, patience: float = 10.0) -> int:
        """Return the space of removed jobs to the file system; returns the bytes by which the store became smaller.

        :param patience: seconds for which other callers may have to wait.
        :raises BackendError: it takes longer than that; nothing was changed.
        :raises ConfigurationError: this store cannot do it.
        """
        raise _cannot("compact", patience)

    # -- asking

    async def get_job(self, job_id: str) -> Job | None:
        """Return one job, or None."""
        return next(iter(await self.get_jobs([job_id])), None)

    @abstractmethod
    async def get_jobs(self, ids: Sequence[str]) -> Sequence[Job]:
        """Return these jobs, in the order of ``ids``; unknown ones are left out."""

    @abstractmethod
    async def get_results(self, ids: Sequence[str]) -> Mapping[str, JobResult]:
        """Return the status of these jobs and how they ended: encoded result or error. Unknown ids are left out."""

    @abstractmethod
    async def get_attempts(self, job_id: str) -> Sequence[Attempt]:
        """Return every attempt of a job, the first one first."""

    @abstractmethod
    async def find_jobs(self, query: JobQuery) -> JobPage:
        """Return a page of jobs. A text that is no cursor raises ``ConfigurationError``.

        A page may be short, or empty, and still have a ``next``: a store need not examine all jobs in one call.
        """

    @abstractmethod
    async def find_ids(self, prefix: str, limit: int = 20) -> Sequence[str]:
        """Return the first ids that begin with ``prefix``, in order of the id. Cheap, however many jobs there are.

        Case counts, no character is a wildcard, and ``""`` fits every id. Only the ``bounds.ids`` jobs submitted last
        are examined, if that is a number.

        :raises ConfigurationError: ``limit`` is not from 1 to 1,000.
        """

    @abstractmethod
    async def get_call(self, job_id: str) -> StoredCall | None:
        """Return the function and the arguments of a job, for display; None if there is no such job."""

    @abstractmethod
    async def count_jobs(self, group: str | None = None) -> Mapping[JobStatus, int]:
        """Count the jobs of each status, in a group or in the whole store; statuses without jobs are left out."""

    @abstractmethod
    async def list_groups(self, after: str | None = None, limit: int = 100) -> Sequence[GroupProgress]:
        """Return the groups that have jobs, ordered by the code points of their names, with counts as ``count_jobs``.

        It costs what the jobs of the returned groups cost, not those of others.

        :param after: begin after this name. Default: with the first group.
        :raises ConfigurationError: ``limit`` is not from 1 to 1,000, or ``after`` cannot be a name.
        """

    @abstractmethod
    async def get_durations(self, function: str, limit: int = 20) -> Sequence[float]:
        """Return the seconds that completed jobs of this function took in their last attempt, the latest job first.

        Of all completed jobs of the store, whatever their function, only the ``bounds.durations`` submitted last are
        examined, so that it never becomes slow. A function without any among them gives none.

        :raises ConfigurationError: ``limit`` is not from 1 to 1,000.
        """

    @abstractmethod
    async def has_unfinished(self, group: str | None = None) -> bool:
        """Return whether any job (of the group) is pending or in progress. Cheap, however many there are."""

    @abstractmethod
    async def get_dependencies(self, ids: Iterable[str]) -> Sequence[Edge]:
        """Return the edges whose child is one of these."""

    @abstractmethod
    async def get_dependent_jobs(self, ids: Iterable[str]) -> Sequence[Edge]:
        """Return the edges whose parent is one of these."""

    @abstractmethod
    async def get_ready_jobs(self, limit: int = 100) -> Sequence[Job]:
        """Return the jobs that a claim could take now, in the order of claims."""

    @abstractmethod
    async def get_limit(self, key: str) -> LimitInfo | None:
        """Return a limited key; None if no job ever had it."""

    @abstractmethod
    async def get_lanes(self) -> Sequence[Lane]:
        """Return every lane that jobs were submitted for."""


def _cannot(what: str, value: object) -> ConfigurationError:
    hint = "it is for stores in files, such as BackendType.SQLITE"
    return ConfigurationError(what, value, problem=f"{what}: this store is not kept in a file", hint=hint)
