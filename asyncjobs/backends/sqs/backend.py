"""Keep jobs in DynamoDB and spread them by SQS: the contract of ``backends.base`` for many machines.

The table is the truth, a message only a hint. Each job is one item, so each of its transitions is one conditional
write; ``core`` decides, on rows that were loaded. What a crash leaves undone stands in an index until any process has
done it (``sweep``).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import anyio

from asyncjobs.backends.base import (
    AttemptEnd,
    AttemptRef,
    ClaimRequest,
    ClaimResult,
    Finding,
    Finished,
    JobBackend,
    LimitInfo,
    Listener,
    NewJob,
    NewWorker,
    Seen,
    Stale,
    StoredCall,
    WorkerLease,
)
from asyncjobs.backends.bounds import check_changes
from asyncjobs.backends.listeners import Listeners
from asyncjobs.backends.sqs.finding import BOUNDS
from asyncjobs.backends.sqs.parts import Parts, connect
from asyncjobs.backends.sqs.workers import number_of
from asyncjobs.backends.values import StepPage
from asyncjobs.checks import CheckedArguments
from asyncjobs.clock import Clock
from asyncjobs.config import SQSConfig
from asyncjobs.core.lanes import Lane
from asyncjobs.core.requests import Answer, AskedGate, StepChange
from asyncjobs.exceptions import BackendClosedError, ConfigurationError
from asyncjobs.models import (
    Attempt,
    BodyEvent,
    Edge,
    EventPage,
    GroupProgress,
    Job,
    JobError,
    JobPage,
    JobResult,
    JobStatus,
    WorkerInfo,
)
from asyncjobs.requests import JobQuery
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs.sqs")


class SQSBackend(CheckedArguments, JobBackend):
    """A store in a DynamoDB table, whose work is spread by an SQS queue: any number of machines.

    ::

        async with JobProcessor(SQSBackend(SQSConfig(table="asyncjobs", queue_url="asyncjobs"))) as jp:
            await (await jp.submit_job(render, "report"))

    It needs the extra ``sqs``, and asyncio. The table and the queue are made by ``asyncjobs aws init``.

    :param config: settings; default ``SQSConfig()``.
    :param clock: for tests. Without one, all moments are those of AWS, whatever the clock of this host says.
    """

    _settings = (("config", SQSConfig),)
    capabilities: frozenset[str] = frozenset({"ordered_log", "persistent", "shared"})
    bounds = BOUNDS

    def __init__(self, config: SQSConfig | None = None, *, clock: Clock | None = None) -> None:
        if config is not None and not isinstance(config, SQSConfig):
            raise ConfigurationError("SQSBackend.config", config, allowed="an SQSConfig, or nothing")
        self.config: SQSConfig = config or SQSConfig()
        self._given_clock = clock
        self._listeners = Listeners(logger)
        self._opened = 0
        self._opening = anyio.Lock()
        self._pid = os.getpid()
        self._open_parts: Parts | None = None

    # -- life

    async def open(self) -> None:
        """Connect, and check the table, the queues and the bucket; with ``create=True`` make what is missing."""
        self._check_process()
        async with self._opening:
            if self._open_parts is None:
                self._open_parts = await self._connect()
            self._opened += 1

    async def _connect(self) -> Parts:
        return await connect(self.config, self._given_clock, self._listeners)

    async def close(self) -> None:
        """End the polls, give their messages back, and close the connections, when the last user has left."""
        if os.getpid() != self._pid:
            return  # a forked child must not use its parent's connections
        with anyio.CancelScope(shield=True):
            async with self._opening:
                self._opened = max(0, self._opened - 1)
                if not self._opened and self._open_parts is not None:
                    parts, self._open_parts = self._open_parts, None
                    await parts.close()

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise BackendClosedError(
                "this store belongs to the parent process", hint="make a new one in a forked child"
            )

    @property
    def _parts(self) -> Parts:
        self._check_process()
        if self._open_parts is None:
            raise BackendClosedError
        return self._open_parts

    def add_listener(self, listener: Listener) -> Callable[[], None]:
        """Notify ``listener`` after each own write. The log has no place for those events yet: no cursor."""
        return self._listeners.add(listener)

    async def wait(self, timeout: float, *, urgent: bool = False, seen: Seen | None = None) -> bool:
        """Look at the end of the log, and wait for messages if a worker of this process has room for more."""
        return await self._parts.waiting.wait(timeout, urgent=urgent, seen=seen)

    def removals(self) -> int | None:
        """Return None: only a call could find out what other processes have removed."""
        return None

    async def health(self) -> Mapping[str, Any]:
        """Describe the table and the queue; ``messages`` counts what living workers met that are no hints for them."""
        return {**await self._parts.health(), "capabilities": sorted(self.capabilities)}

    async def checkup(self) -> Sequence[Finding]:
        """Look at the table, the queues, and what the workers counted; a store that is not open finds nothing."""
        self._check_process()
        return () if self._open_parts is None else await self._open_parts.checkup()

    # -- submitting

    async def enqueue_jobs(self, jobs: Sequence[NewJob], *, parent: AttemptRef | None = None) -> Sequence[str]:
        """Store the batch in one transaction, or staged if it is too large for one."""
        parts = self._parts
        by = None if parent is None else (parent.job_id, parent.attempt, number_of(parent.worker))
        owed = await parts.submitting.enqueue(jobs, by)
        await parts.follow(owed)
        return [job.id for job in jobs]

    # -- running

    async def dequeue_jobs(self, claim: ClaimRequest) -> ClaimResult:
        """Promote what came due, and claim."""
        return await self._parts.claim(claim)

    async def update_job_status(self, ends: Sequence[AttemptEnd], claim: ClaimRequest | None = None) -> Finished:
        """Record each outcome by a write of its own, settle the dependents, delete the messages, then claim."""
        parts = self._parts
        results, owed = await parts.running.finish(ends)
        await parts.follow(owed)
        await parts.messages.ended([end.attempt.job_id for end in ends])
        return Finished(results, ClaimResult() if claim is None else await parts.claim(claim))

    async def append_events(self, batches: Sequence[tuple[AttemptRef, Sequence[BodyEvent]]]) -> Sequence[bool]:
        """Store the events of each job by a write of its own."""
        return await self._parts.running.append_events(batches)

    async def write_steps(self, changes: Sequence[StepChange]) -> Sequence[Stale | None]:
        """Keep and forget, each change by a write of its own."""
        parts = self._parts
        check_changes(changes)
        return await parts.steps.write(changes)

    async def read_steps(
        self, job_id: str, after: str | None = None, limit: int = 500, *, values: bool = True
    ) -> StepPage:
        """Read a page of the steps that count."""
        return await self._parts.steps.page(job_id, after, limit, values=values)

    async def read_step(self, job_id: str, key: str) -> bytes | None:
        """Read one value."""
        return await self._parts.steps.value(job_id, key)

    async def count_steps(self, job_id: str) -> int:
        """Count the steps that count."""
        return await self._parts.steps.count(job_id)

    # -- gates

    async def ask_gate(self, attempt: AttemptRef, gate: NewJob) -> AskedGate:
        """Ask in one transaction of the asker's row, the gate and its entry."""
        parts = self._parts
        asked, owed = await parts.gates.ask(attempt, gate)
        await parts.follow(owed)
        return asked

    async def answer_gate(self, answer: Answer) -> JobStatus:
        """Answer by one write of the gate's row."""
        parts = self._parts
        status, owed = await parts.gates.answer(answer)
        await parts.follow(owed)
        return status

    async def end_due_gates(self) -> Sequence[str]:
        """End what is due, each gate by a write of its own."""
        parts = self._parts
        return await parts.end_due_gates()

    # -- workers and leases

    async def register_worker(self, worker: NewWorker) -> str:
        """Register a worker, and renew its lease apart from the event loop."""
        return await self._parts.workers.register(worker)

    async def deregister_worker(self, worker: str) -> None:
        """Mark the worker as gone, and take back at once what it held."""
        parts = self._parts
        await parts.workers.deregister(worker)
        parts.messages.forget(worker)
        await parts.follow([])

    async def extend_leases(self, worker: str) -> WorkerLease:
        """Renew the lease of the worker, and hide the messages of what runs for longer."""
        parts = self._parts
        lease = await parts.workers.extend(worker)
        if not lease.alive:
            parts.messages.forget(worker)
        await parts.settle_left()
        await parts.messages.extend()
        return lease

    async def report_refusals(self, worker: str, refused: Mapping[str, str]) -> None:
        """Keep the refusals on the worker's item."""
        await self._parts.workers.report_refusals(worker, dict(refused))

    async def reap(self, *, expired: bool = True) -> Sequence[str]:
        """Take back what workers hold whose lease has run out.

        Nothing else is known of a worker on another machine: without ``expired``, it makes no call.
        """
        parts = self._parts
        return await parts.reap() if expired else []

    async def workers(self) -> Sequence[WorkerInfo]:
        """List the workers that were not taken back."""
        return await self._parts.workers.all()

    # -- deciding by hand

    async def cancel_jobs(self, ids: Sequence[str], *, descendants: bool = False) -> Mapping[str, JobStatus]:
        """Cancel each job by a write of its own."""
        parts = self._parts
        statuses, owed = await parts.deciding.cancel(ids, descendants=descendants)
        await parts.follow(owed)
        return statuses

    async def retry_job(self, job_id: str, *, fresh: bool = False) -> JobStatus:
        """Retry the job and those that were skipped because of it: in one transaction, or in steps if they are many."""
        parts = self._parts
        status, owed = await parts.deciding.retry(job_id, fresh=fresh)
        await parts.follow(owed)
        return status

    async def mark_job_ready(self, ids: Sequence[str]) -> Sequence[str]:
        """Decide each job anew."""
        parts = self._parts
        ready, owed = await parts.deciding.recount(ids)
        await parts.follow(owed)
        return ready

    async def give_up(self, ids: Sequence[str], error: JobError) -> Sequence[str]:
        """Fail each job by a write of its own."""
        parts = self._parts
        failed, owed = await parts.deciding.give_up(ids, error)
        await parts.follow(owed)
        return failed

    # -- upkeep

    async def prune(self, before: int, limit: int = 1000) -> int:
        """Remove components, the first that ended before the others.

        ``before`` is by the clock of this host, mostly: if that is ahead of the time of the store, less is removed.
        """
        parts = self._parts
        return await parts.removal.prune(min(before, parts.clock.of_host(before)), limit)

    async def remove_jobs(self, ids: Sequence[str], *, components: bool = False) -> Sequence[str]:
        """Remove the jobs in one transaction, or staged if they are too many."""
        return await self._parts.removal.remove(ids, components=components)

    # -- asking

    async def get_jobs(self, ids: Sequence[str]) -> Sequence[Job]:
        """Read the rows, and what belongs to them."""
        return await self._parts.queries.jobs(ids)

    async def get_results(self, ids: Sequence[str]) -> Mapping[str, JobResult]:
        """Read the rows, and their results."""
        return await self._parts.queries.results(ids)

    async def get_attempts(self, job_id: str) -> Sequence[Attempt]:
        """Read the records of the attempts, and the row for the one that runs or succeeded."""
        return await self._parts.queries.attempts(job_id)

    async def find_jobs(self, query: JobQuery) -> JobPage:
        """Walk over the partition that the query names."""
        return await self._parts.finding.find(query)

    async def find_ids(self, prefix: str, limit: int = 20) -> Sequence[str]:
        """Look among the jobs that were submitted last."""
        return await self._parts.finding.ids(prefix, limit)

    async def get_call(self, job_id: str) -> StoredCall | None:
        """Read what a job calls."""
        return await self._parts.queries.call(job_id)

    async def count_jobs(self, group: str | None = None) -> Mapping[JobStatus, int]:
        """Count the entries of the index, or the members of the group."""
        return await self._parts.finding.count(group)

    async def list_groups(self, after: str | None = None, limit: int = 100) -> Sequence[GroupProgress]:
        """Read the names in order, and count the members of each."""
        return await self._parts.finding.groups(after, limit)

    async def get_durations(self, function: str, limit: int = 20) -> Sequence[float]:
        """Look among the jobs that were submitted last."""
        return await self._parts.finding.durations(function, limit)

    async def has_unfinished(self, group: str | None = None) -> bool:
        """Look for the first job that has not ended."""
        return await self._parts.finding.unfinished(group)

    async def get_dependencies(self, ids: Iterable[str]) -> Sequence[Edge]:
        """Read the edges in the rows of the children."""
        return await self._parts.queries.dependencies(list(ids))

    async def get_dependent_jobs(self, ids: Iterable[str]) -> Sequence[Edge]:
        """Read the dependents of these jobs, and the edges in their rows."""
        return await self._parts.queries.dependents(list(ids))

    async def get_ready_jobs(self, limit: int = 100) -> Sequence[Job]:
        """Merge the heads of the ready lanes."""
        return await self._parts.finding.ready(limit)

    async def get_limit(self, key: str) -> LimitInfo | None:
        """Read the capacity of a key, and count its slots."""
        return await self._parts.limits.info(key)

    async def get_lanes(self) -> Sequence[Lane]:
        """Read the lanes."""
        return await self._parts.finding.lanes()

    async def read_events(
        self,
        after: str | None = None,
        *,
        limit: int = 500,
        job_id: str | None = None,
        group: str | None = None,
    ) -> EventPage:
        """Append what is not in the log yet, and read a page of it."""
        return await self._parts.log.read(after, limit=limit, job_id=job_id, group=group)

    async def last_cursor(self) -> str:
        """Append what is not in the log yet, and return its end."""
        return await self._parts.log.last_cursor()
