"""Keep jobs in memory: the contract of ``backends.base``, readable as its explanation, and fast in tests.

A call is one transaction (``transactions.py``): nothing is awaited between its first read and its last write. A refused
call raises before anything is written.
"""

from __future__ import annotations

import heapq
import os
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count, islice
from typing import Any, TypeVar

import anyio
import anyio.lowlevel
from msgspec.structs import replace

from asyncjobs.backends.base import (
    AttemptEnd,
    AttemptRef,
    ClaimRequest,
    ClaimResult,
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
from asyncjobs.backends.bounds import check_changes, check_key
from asyncjobs.backends.listeners import Listeners
from asyncjobs.backends.memory import removal
from asyncjobs.backends.memory.queries import Queries
from asyncjobs.backends.memory.tables import NOBODY, Tables
from asyncjobs.backends.memory.transactions import Transactions, encodable
from asyncjobs.backends.values import StepPage
from asyncjobs.checks import CheckedArguments
from asyncjobs.clock import Clock, checked_clock
from asyncjobs.config import MemoryConfig
from asyncjobs.core import commands, gate_commands, revival
from asyncjobs.core.lanes import Lane
from asyncjobs.core.lifecycle import LOCAL_JOB_LOST
from asyncjobs.core.plan import Plan
from asyncjobs.core.requests import Answer, AskedGate, StepChange
from asyncjobs.core.state import JobState
from asyncjobs.exceptions import BackendClosedError, ConfigurationError, JobNotFoundError
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
    WaitsFor,
    WorkerInfo,
)
from asyncjobs.requests import JobQuery
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs.memory")

T = TypeVar("T")


class MemoryBackend(CheckedArguments, JobBackend):
    """A store in dictionaries of this object, which live as long as it does. Runs on asyncio and on trio.

    ::

        async with MemoryBackend() as backend:
            async with JobProcessor(backend) as jp:
                await (await jp.submit_job(render, "report"))
            print(await backend.count_jobs())

    Closing it keeps the jobs, so that a test can open the same object again as if a process had restarted.
    A worker's lease is renewed by ``extend_leases`` alone: the worker cannot die apart from the store.

    :param config: settings; default ``MemoryConfig()``.
    :param clock: for tests.
    """

    _settings = (("config", MemoryConfig),)
    capabilities: frozenset[str] = frozenset({"ordered_log", "one_transaction", "dense_log", "strict_order"})

    def __init__(self, config: MemoryConfig | None = None, *, clock: Clock | None = None) -> None:
        if config is not None and not isinstance(config, MemoryConfig):
            raise ConfigurationError("MemoryBackend.config", config, allowed="a MemoryConfig, or nothing")
        self.config: MemoryConfig = config or MemoryConfig()
        self._clock = checked_clock("MemoryBackend.clock", clock)
        self._tables = Tables()
        self._queries = Queries(self._tables)
        self._job_numbers = count(1)
        self._listeners = Listeners(logger)
        self._opened = 0
        self._pid = os.getpid()
        self._commit = Transactions(self._tables, self._queries, self._clock, self._listeners).commit
        self._waiting: set[anyio.CancelScope] = set()

    # -- life

    async def open(self) -> None:
        """Count one more user of this object; there is nothing to connect to."""
        await anyio.lowlevel.checkpoint()
        self._opened += 1

    async def close(self) -> None:
        """Count one user less. The last one ends the waits, and the jobs are kept for the next opening."""
        self._opened = max(0, self._opened - 1)
        if not self._opened:
            for scope in self._waiting:
                scope.cancel()

    def add_listener(self, listener: Listener) -> Callable[[], None]:
        """Notify ``listener`` inside each transaction, after its last write."""
        return self._listeners.add(listener)

    async def wait(self, timeout: float, *, urgent: bool = False, seen: Seen | None = None) -> bool:
        """Sleep for ``timeout`` seconds, or until it is closed: no other process can change this store."""
        await self._begin()
        with anyio.CancelScope() as scope:
            self._waiting.add(scope)
            try:
                await self._clock.sleep(timeout)
            finally:
                self._waiting.discard(scope)
        return False

    def removals(self) -> int | None:
        """Return a counter of the tables."""
        return self._tables.removed

    async def health(self) -> Mapping[str, Any]:
        """Describe the process that has the store, and how many jobs it holds."""
        await self._begin()
        where, jobs = f"process {self._pid}", len(self._tables.rows)
        return {"backend": "memory", "where": where, "capabilities": sorted(self.capabilities), "jobs": jobs}

    async def _begin(self) -> None:
        """Let other tasks run, as a real store does, before a call is taken up."""
        self._check()
        await anyio.lowlevel.checkpoint()
        self._check()
        self._tables.offset = self._clock.now() - self._clock.since_boot()

    def _check(self) -> None:
        if os.getpid() != self._pid:
            raise BackendClosedError(
                "this store belongs to the parent process", hint="make a new one in a forked child"
            )
        if not self._opened:
            raise BackendClosedError

    # -- submitting

    async def enqueue_jobs(self, jobs: Sequence[NewJob], *, parent: AttemptRef | None = None) -> Sequence[str]:
        """Insert the batch in one transaction; a batch that is refused leaves the tables as they were."""
        await self._begin()
        by = None if parent is None else (self._number(parent), parent.attempt, self._worker(parent.worker))
        self._commit(lambda plan: commands.enqueue(plan, jobs, self._job_numbers, self._existing, by))
        return [job.id for job in jobs]

    def _existing(self, n: int) -> tuple[str, bytes]:
        record = self._tables.records[n]
        return record.function, record.call

    def _number(self, attempt: AttemptRef) -> int:
        return self._tables.ids.get(attempt.job_id, -1)

    def _worker(self, worker: str) -> int:
        row = self._tables.workers.get(worker)
        return NOBODY if row is None else row.n

    # -- running

    async def dequeue_jobs(self, claim: ClaimRequest) -> ClaimResult:
        """Claim in a separate transaction."""
        await self._begin()
        # A second time, so that a submission that was called before this claim comes first, even on trio, which runs
        # tasks in any order.
        await self._begin()
        return self._commit(lambda plan: None, claim)[1]

    async def update_job_status(self, ends: Sequence[AttemptEnd], claim: ClaimRequest | None = None) -> Finished:
        """Check that the body events can be stored, then record the outcomes and claim in one transaction."""
        await self._begin()
        ends = [replace(end, body_events=encodable(end.body_events)) for end in ends]
        numbered = [(self._number(end.attempt), self._worker(end.attempt.worker), end) for end in ends]
        results, claims = self._commit(lambda plan: commands.finish(plan, numbered), claim)
        return Finished(results, claims)

    async def append_events(self, batches: Sequence[tuple[AttemptRef, Sequence[BodyEvent]]]) -> Sequence[bool]:
        """Check that the events can be stored, then store those of all batches in one transaction."""
        await self._begin()
        numbered = [
            (self._number(attempt), attempt.attempt, self._worker(attempt.worker), encodable(events))
            for attempt, events in batches
        ]
        return self._commit(lambda plan: commands.append_events(plan, numbered))[0]

    async def write_steps(self, changes: Sequence[StepChange]) -> Sequence[Stale | None]:
        """Do the changes in one transaction."""
        await self._begin()
        check_changes(changes)
        numbered = [(self._number(change.attempt), self._worker(change.attempt.worker), change) for change in changes]
        return self._commit(lambda plan: commands.write_steps(plan, numbered))[0]

    # -- gates

    async def ask_gate(self, attempt: AttemptRef, gate: NewJob) -> AskedGate:
        """Ask in one transaction."""
        await self._begin()
        asker = (self._number(attempt), attempt.attempt, self._worker(attempt.worker))
        return self._commit(lambda plan: gate_commands.ask(plan, asker, gate, self._job_numbers))[0]

    async def answer_gate(self, answer: Answer) -> JobStatus:
        """Answer in one transaction."""
        await self._begin()
        n = self._tables.ids.get(answer.job_id)
        if n is None or self._tables.records[n].created_at != answer.created_at:
            raise JobNotFoundError(answer.job_id)
        return self._commit(lambda plan: gate_commands.answer(plan, n, answer))[0]

    async def end_due_gates(self) -> Sequence[str]:
        """End the gates that are due, in one transaction."""
        await self._begin()
        due = self._tables.due_gates(self._clock.now())
        ended = self._commit(lambda plan: gate_commands.end_due_gates(plan, due))[0] if due else []
        return [job.id for job in ended]

    # -- workers and leases

    async def register_worker(self, worker: NewWorker) -> str:
        """Register a worker under a random id: numbers alone would repeat in the next process."""
        await self._begin()
        return self._tables.register(worker, self._clock)

    async def deregister_worker(self, worker: str) -> None:
        """Mark the worker as gone, and take back its jobs at once."""
        await self._begin()
        if (row := self._tables.workers.get(worker)) is not None and not row.gone:
            row.gone = True
            self._bury()

    async def extend_leases(self, worker: str) -> WorkerLease:
        """Renew the lease of the worker; no thread does it beside the loop, since both live and die together."""
        await self._begin()
        row = self._tables.workers.get(worker)
        if row is None or row.gone:
            return WorkerLease(alive=False)
        row.expires = self._clock.monotonic() + row.lease
        held = [self._tables.rows[n] for n in sorted(self._tables.running[row.n])]
        asked = tuple((job.id, job.attempt) for job in held if job.cancel_requested)
        return WorkerLease(True, asked, tuple((job.id, job.attempt) for job in held))

    async def report_refusals(self, worker: str, refused: Mapping[str, str]) -> None:
        """Keep the refusals on the worker's row."""
        await self._begin()
        row = self._tables.workers.get(worker)
        if row is not None:
            row.info = replace(row.info, refused=dict(refused))

    async def reap(self, *, expired: bool = True) -> Sequence[str]:
        """Take back the jobs of workers that are gone or, if ``expired``, whose lease has run out."""
        await self._begin()
        now = self._clock.monotonic()
        for row in self._tables.workers.values():
            row.gone = row.gone or (expired and row.expires < now)
        return self._bury()

    def _bury(self) -> Sequence[str]:
        """Interrupt the attempts of workers that are gone, and fail the jobs that only they could run."""
        tables = self._tables
        gone = [row for row in tables.workers.values() if row.gone]
        held = sorted(n for row in gone for n in tables.running[row.n])
        owned = sorted(n for row in gone for n in tables.owned.get(row.info.id, ()))

        def command(plan: Plan) -> list[JobState]:
            reaped = commands.reap(plan, held, [random.random() for _ in held])
            return [*reaped, *commands.give_up(plan, owned, LOCAL_JOB_LOST)]

        jobs = self._commit(command)[0] if held or owned else []
        return list(dict.fromkeys(job.id for job in jobs))

    async def workers(self) -> Sequence[WorkerInfo]:
        """List the rows of workers, alive as long as their lease runs."""
        await self._begin()
        return self._queries.workers(self._clock.monotonic())

    # -- deciding by hand

    async def cancel_jobs(self, ids: Sequence[str], *, descendants: bool = False) -> Mapping[str, JobStatus]:
        """Cancel the jobs in one transaction."""
        await self._begin()
        numbers = list(self._tables.numbers(ids).values())
        jobs, _ = self._commit(lambda plan: commands.cancel(plan, numbers, descendants=descendants))
        return {job.id: job.status for job in jobs}

    async def retry_job(self, job_id: str, *, fresh: bool = False) -> JobStatus:
        """Retry the job in one transaction."""
        await self._begin()
        n = self._tables.ids.get(job_id)
        if n is None:
            raise JobNotFoundError(job_id)
        return self._commit(lambda plan: revival.retry(plan, n, fresh=fresh))[0].status

    async def mark_job_ready(self, ids: Sequence[str]) -> Sequence[str]:
        """Recount the jobs in one transaction."""
        await self._begin()
        numbers = list(self._tables.numbers(ids).values())
        jobs, _ = self._commit(lambda plan: commands.recount(plan, numbers))
        return [job.id for job in jobs if job.waits_for not in (None, WaitsFor.DEPENDENCIES)]

    async def give_up(self, ids: Sequence[str], error: JobError) -> Sequence[str]:
        """Fail the jobs in one transaction."""
        await self._begin()
        numbers = list(self._tables.numbers(ids).values())
        return [job.id for job in self._commit(lambda plan: commands.give_up(plan, numbers, error))[0]]

    # -- upkeep

    async def prune(self, before: int, limit: int = 1000) -> int:
        """Remove components in one step, in the order in which they ended."""
        await self._begin()
        return removal.prune(self._tables, before, limit)

    async def remove_jobs(self, ids: Sequence[str], *, components: bool = False) -> Sequence[str]:
        """Remove the jobs in one step."""
        await self._begin()
        return removal.remove(self._tables, ids, components)

    # -- asking

    async def get_jobs(self, ids: Sequence[str]) -> Sequence[Job]:
        """Return snapshots of the jobs."""
        await self._begin()
        return [self._queries.job(self._tables.ids[job_id]) for job_id in ids if job_id in self._tables.ids]

    async def get_results(self, ids: Sequence[str]) -> Mapping[str, JobResult]:
        """Return snapshots of the results."""
        await self._begin()
        return {job_id: self._queries.result(n) for job_id, n in self._tables.numbers(ids).items()}

    async def get_attempts(self, job_id: str) -> Sequence[Attempt]:
        """Return the attempts of the job, if it exists."""
        await self._begin()
        return [attempt for n in self._tables.numbers([job_id]).values() for attempt in self._queries.attempts(n)]

    async def find_jobs(self, query: JobQuery) -> JobPage:
        """Walk over all jobs until the page is full."""
        await self._begin()
        return self._queries.find(query)

    async def find_ids(self, prefix: str, limit: int = 20) -> Sequence[str]:
        """Walk over all ids: this store has no index of their prefixes."""
        await self._begin()
        return self._queries.ids(prefix, limit)

    async def get_call(self, job_id: str) -> StoredCall | None:
        """Return the call of the job, if it exists."""
        await self._begin()
        n = self._tables.ids.get(job_id)
        return None if n is None else self._queries.call(n)

    async def read_steps(
        self, job_id: str, after: str | None = None, limit: int = 500, *, values: bool = True
    ) -> StepPage:
        """Sort all steps of the job, and cut out the page."""
        await self._begin()
        return self._queries.steps(job_id, after, limit, values)

    async def read_step(self, job_id: str, key: str) -> bytes | None:
        """Return the value under this key."""
        await self._begin()
        check_key("key", key)
        return self._tables.counting_steps(job_id).get(key)

    async def count_steps(self, job_id: str) -> int:
        """Count by a walk over the steps of the job."""
        await self._begin()
        return len(self._tables.counting_steps(job_id))

    async def count_jobs(self, group: str | None = None) -> Mapping[JobStatus, int]:
        """Count by a walk over all jobs."""
        await self._begin()
        return self._queries.count(group)

    async def list_groups(self, after: str | None = None, limit: int = 100) -> Sequence[GroupProgress]:
        """Count by a walk over all jobs."""
        await self._begin()
        return self._queries.groups(after, limit)

    async def get_durations(self, function: str, limit: int = 20) -> Sequence[float]:
        """Walk back from the completed job that was submitted last."""
        await self._begin()
        return self._queries.durations(function, limit)

    async def has_unfinished(self, group: str | None = None) -> bool:
        """Walk over the jobs until one has not ended."""
        await self._begin()
        return self._queries.unfinished(group)

    async def get_dependencies(self, ids: Iterable[str]) -> Sequence[Edge]:
        """Return edges by their child."""
        await self._begin()
        numbers = list(self._tables.numbers(list(ids)).values())
        return [self._queries.edge(edge) for edge in self._tables.edges_to(numbers)]

    async def get_dependent_jobs(self, ids: Iterable[str]) -> Sequence[Edge]:
        """Return edges by their parent."""
        await self._begin()
        numbers = list(self._tables.numbers(list(ids)).values())
        return [self._queries.edge(edge) for edge in self._tables.edges_from(numbers)]

    async def get_ready_jobs(self, limit: int = 100) -> Sequence[Job]:
        """Merge the ready jobs of all lanes."""
        await self._begin()
        return [self._queries.job(n) for _, n in islice(heapq.merge(*self._tables.ready.values()), limit)]

    async def get_limit(self, key: str) -> LimitInfo | None:
        """Return a snapshot of the limited key."""
        await self._begin()
        row = self._tables.limits.get(key)
        return None if row is None else LimitInfo(key, row.capacity, row.in_progress)

    async def get_lanes(self) -> Sequence[Lane]:
        """Return all lanes, in the order of their first jobs."""
        await self._begin()
        return list(self._tables.ready)

    async def read_events(
        self, after: str | None = None, *, limit: int = 500, job_id: str | None = None, group: str | None = None
    ) -> EventPage:
        """Read a page of the log in memory."""
        await self._begin()
        return self._queries.events(after, limit, job_id, group)

    async def last_cursor(self) -> str:
        """Return the position of the last event."""
        await self._begin()
        return str(self._tables.end)
