"""The store in memory: the contract of ``backends.base``, readable as its explanation, fast in tests.

A call is one transaction: nothing is awaited between its first read and its last write. It decides on a ``Plan``,
writes what the plan holds, and notifies the listeners. A refused call raises before anything is written.
"""

from __future__ import annotations

import heapq
import os
import random
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count, islice
from typing import Any, TypeVar
from uuid import uuid4

import anyio
import anyio.lowlevel
from msgspec import msgpack
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
    StoredCall,
    WorkerLease,
)
from asyncjobs.backends.listeners import Listeners
from asyncjobs.backends.memory import removal
from asyncjobs.backends.memory.queries import Queries
from asyncjobs.backends.memory.tables import Tables, WorkerRow
from asyncjobs.clock import Clock, checked_clock, to_datetime
from asyncjobs.config import MemoryConfig
from asyncjobs.core import commands, limits
from asyncjobs.core.lanes import Lane, split_lanes
from asyncjobs.core.lifecycle import LOCAL_JOB_LOST
from asyncjobs.core.plan import Plan
from asyncjobs.core.state import SECOND, JobState
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
    JobQuery,
    JobResult,
    JobStatus,
    WaitsFor,
    WorkerInfo,
)
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs.memory")

T = TypeVar("T")

DUE_AT_ONCE = 200
"""Delayed jobs that become ready in one transaction, here as in every store."""
NOBODY = 0  # the key of a worker that is not known: it holds no attempt


class MemoryBackend(JobBackend):
    """All jobs in dictionaries of this object; when it goes, they go. Runs on asyncio and on trio.

    :param config: settings; default ``MemoryConfig()``.
    :param clock: for tests.

    Closing it keeps the jobs, so that a test can open the same object again as if a process had restarted.
    A worker's lease is renewed by ``extend_leases`` alone: the worker cannot die apart from the store.
    """

    capabilities = frozenset({"ordered_log"})

    def __init__(self, config: MemoryConfig | None = None, *, clock: Clock | None = None) -> None:
        if config is not None and not isinstance(config, MemoryConfig):
            raise ConfigurationError("MemoryBackend.config", config, allowed="a MemoryConfig, or nothing")
        self.config = config or MemoryConfig()
        self._clock = checked_clock("MemoryBackend.clock", clock)
        self._tables = Tables()
        self._queries = Queries(self._tables)
        self._job_numbers = count(1)
        self._worker_numbers = count(NOBODY + 1)
        self._listeners = Listeners(logger)
        self._opened = 0
        self._pid = os.getpid()
        self._waiting: set[anyio.CancelScope] = set()

    # -- life

    async def open(self) -> None:
        await anyio.lowlevel.checkpoint()
        self._opened += 1

    async def close(self) -> None:
        self._opened = max(0, self._opened - 1)
        if not self._opened:
            for scope in self._waiting:
                scope.cancel()

    def add_listener(self, listener: Listener) -> Callable[[], None]:
        return self._listeners.add(listener)

    async def wait(self, timeout: float, *, urgent: bool = False, seen: Seen | None = None) -> bool:
        """Nobody else changes this store: sleeps ``timeout`` seconds, less if it is closed meanwhile."""
        await self._begin()
        with anyio.CancelScope() as scope:
            self._waiting.add(scope)
            try:
                await self._clock.sleep(timeout)
            finally:
                self._waiting.discard(scope)
        return False

    def removals(self) -> int | None:
        return self._tables.removed

    async def health(self) -> Mapping[str, Any]:
        await self._begin()
        return {"backend": "memory", "where": f"process {self._pid}", "jobs": len(self._tables.rows)}

    async def _begin(self) -> None:
        """Give way to others, as a real store does, before a call is taken up."""
        self._check()
        await anyio.lowlevel.checkpoint()
        self._check()
        self._tables.offset = self._clock.now() - self._clock.since_boot()

    def _check(self) -> None:
        if os.getpid() != self._pid:
            raise BackendClosedError(
                "this store belongs to the parent process", hint="make one of its own in a forked child"
            )
        if not self._opened:
            raise BackendClosedError

    # -- one transaction

    def _commit(self, command: Callable[[Plan], T], claim: ClaimRequest | None = None) -> tuple[T, ClaimResult]:
        """Run a command, fill the limits that changed, claim. Events become visible with what they report."""
        plan = Plan(self._tables, self._clock.now())
        result = command(plan)
        self._write(plan)
        claims = ClaimResult() if claim is None else self._claim(plan, claim)
        events = self._tables.append(plan.events)
        if events:
            self._listeners.notify(events)
        return result, claims

    def _write(self, plan: Plan) -> None:
        tables = self._tables
        tables.write(plan.take())
        for key in plan.take_limits():
            limit = tables.limits[key]
            room = max(0, limit.capacity - limit.in_progress)
            ready = [limits.Candidate(*entry) for entry in tables.admitted[key]]
            waiting = [limits.Candidate(*entry) for entry in tables.limited[key][:room]]
            admission = limits.admit(limit.capacity, limit.in_progress, ready, waiting)
            commands.set_waiting_place(plan, admission.promote, WaitsFor.WORKER)
            commands.set_waiting_place(plan, admission.demote, WaitsFor.LIMIT)
        tables.write(plan.take())
        plan.take_limits()  # placing marks the keys again, but nobody came or left

    def _claim(self, plan: Plan, claim: ClaimRequest) -> ClaimResult:
        tables = self._tables
        worker = tables.workers.get(claim.worker)
        if worker is None or worker.gone:
            return ClaimResult(lost=True)
        since_boot = plan.now - tables.offset
        due = [n for over, n in tables.lasting[:DUE_AT_ONCE] if over <= since_boot]
        due += [n for run_at, n in tables.delayed[: DUE_AT_ONCE - len(due)] if run_at <= plan.now]
        commands.promote(plan, due)
        self._write(plan)
        lanes, unknown = split_lanes(
            ((lane, lane) for lane, ready in tables.ready.items() if ready),
            worker=claim.worker,
            queues=claim.queues,
            functions=claim.functions,
            refused=claim.refused,
        )
        first = islice(heapq.merge(*(tables.ready[lane] for lane in lanes)), max(0, claim.limit))
        started = commands.start(plan, [n for _, n in first], worker.n)
        self._write(plan)
        firsts = [run_at for run_at, _ in tables.delayed[:1]] + [over + tables.offset for over, _ in tables.lasting[:1]]
        next_due = min(firsts, default=None)
        return ClaimResult([self._queries.claimed(job, claim.worker) for job in started], next_due, unknown)

    # -- submitting

    async def enqueue_jobs(self, jobs: Sequence[NewJob], *, parent: AttemptRef | None = None) -> Sequence[str]:
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
        await self._begin()
        # Once more, so that a submission that was called before this claim comes first, on trio too, which lets tasks
        # run in any order.
        await self._begin()
        return self._commit(lambda plan: None, claim)[1]

    async def update_job_status(self, ends: Sequence[AttemptEnd], claim: ClaimRequest | None = None) -> Finished:
        await self._begin()
        numbered = [
            (
                self._number(end.attempt),
                self._worker(end.attempt.worker),
                replace(end, body_events=_encodable(end.body_events)),
            )
            for end in ends
        ]
        results, claims = self._commit(lambda plan: commands.finish(plan, numbered), claim)
        return Finished(results, claims)

    async def append_events(self, batches: Sequence[tuple[AttemptRef, Sequence[BodyEvent]]]) -> Sequence[bool]:
        await self._begin()
        numbered = [
            (self._number(attempt), attempt.attempt, self._worker(attempt.worker), _encodable(events))
            for attempt, events in batches
        ]
        return self._commit(lambda plan: commands.append_events(plan, numbered))[0]

    # -- workers and leases

    async def register_worker(self, worker: NewWorker) -> str:
        await self._begin()
        number = next(self._worker_numbers)
        worker_id = f"w{number}-{uuid4().hex[:8]}"
        info = WorkerInfo(
            id=worker_id,
            name=worker.name,
            pid=self._pid,
            host=socket.gethostname(),
            slots=worker.slots,
            queues=worker.queues,
            started_at=to_datetime(self._clock.now()),
            lease=worker.lease,
        )
        lease = round(worker.lease * SECOND)
        self._tables.workers[worker_id] = WorkerRow(number, info, lease, self._clock.monotonic() + lease)
        self._tables.worker_names[number] = worker.name
        self._tables.worker_ids[number] = worker_id
        return worker_id

    async def deregister_worker(self, worker: str) -> None:
        await self._begin()
        if (row := self._tables.workers.get(worker)) is not None and not row.gone:
            row.gone = True
            self._bury()

    async def extend_leases(self, worker: str) -> WorkerLease:
        await self._begin()
        row = self._tables.workers.get(worker)
        if row is None or row.gone:
            return WorkerLease(alive=False)
        row.expires = self._clock.monotonic() + row.lease
        held = [self._tables.rows[n] for n in sorted(self._tables.running[row.n])]
        asked = tuple((job.id, job.attempt) for job in held if job.cancel_requested)
        return WorkerLease(True, asked, tuple((job.id, job.attempt) for job in held))

    async def report_refusals(self, worker: str, refused: Mapping[str, str]) -> None:
        await self._begin()
        row = self._tables.workers.get(worker)
        if row is not None:
            row.info = replace(row.info, refused=dict(refused))

    async def reap(self, *, expired: bool = True) -> Sequence[str]:
        await self._begin()
        now = self._clock.monotonic()
        for row in self._tables.workers.values():
            row.gone = row.gone or (expired and row.expires < now)
        return self._bury()

    def _bury(self) -> Sequence[str]:
        """Interrupt what workers that are gone still hold; give up what nobody but them could run."""
        tables = self._tables
        gone = [row for row in tables.workers.values() if row.gone]
        held = sorted(n for row in gone for n in tables.running[row.n])
        owned = sorted(n for row in gone for n in tables.owned.get(row.info.id, ()))

        def command(plan: Plan) -> list[JobState]:
            reaped = commands.reap(plan, held, random.random)
            return [*reaped, *commands.give_up(plan, owned, LOCAL_JOB_LOST)]

        jobs = self._commit(command)[0] if held or owned else []
        return list(dict.fromkeys(job.id for job in jobs))

    async def workers(self) -> Sequence[WorkerInfo]:
        await self._begin()
        now = self._clock.monotonic()
        return [
            replace(row.info, alive=row.expires >= now, running=len(self._tables.running[row.n]))
            for row in self._tables.workers.values()
            if not row.gone
        ]

    # -- deciding by hand

    async def cancel_jobs(self, ids: Sequence[str], *, descendants: bool = False) -> Mapping[str, JobStatus]:
        await self._begin()
        numbers = list(self._tables.numbers(ids).values())
        jobs, _ = self._commit(lambda plan: commands.cancel(plan, numbers, descendants=descendants))
        return {job.id: job.status for job in jobs}

    async def retry_job(self, job_id: str) -> JobStatus:
        await self._begin()
        n = self._tables.ids.get(job_id)
        if n is None:
            raise JobNotFoundError(job_id)
        return self._commit(lambda plan: commands.retry(plan, n))[0].status

    async def mark_job_ready(self, ids: Sequence[str]) -> Sequence[str]:
        await self._begin()
        numbers = list(self._tables.numbers(ids).values())
        jobs, _ = self._commit(lambda plan: commands.recount(plan, numbers))
        return [job.id for job in jobs if job.waits_for not in (None, WaitsFor.DEPENDENCIES)]

    async def give_up(self, ids: Sequence[str], error: JobError) -> Sequence[str]:
        await self._begin()
        numbers = list(self._tables.numbers(ids).values())
        return [job.id for job in self._commit(lambda plan: commands.give_up(plan, numbers, error))[0]]

    # -- upkeep

    async def prune(self, before: int, limit: int = 1000) -> int:
        await self._begin()
        return removal.prune(self._tables, before, limit)

    async def remove_jobs(self, ids: Sequence[str], *, components: bool = False) -> Sequence[str]:
        await self._begin()
        return removal.remove(self._tables, ids, components)

    # -- asking

    async def get_jobs(self, ids: Sequence[str]) -> Sequence[Job]:
        await self._begin()
        return [self._queries.job(self._tables.ids[job_id]) for job_id in ids if job_id in self._tables.ids]

    async def get_results(self, ids: Sequence[str]) -> Mapping[str, JobResult]:
        await self._begin()
        return {job_id: self._queries.result(n) for job_id, n in self._tables.numbers(ids).items()}

    async def get_attempts(self, job_id: str) -> Sequence[Attempt]:
        await self._begin()
        return [attempt for n in self._tables.numbers([job_id]).values() for attempt in self._queries.attempts(n)]

    async def find_jobs(self, query: JobQuery) -> JobPage:
        await self._begin()
        return self._queries.find(query)

    async def find_ids(self, prefix: str, limit: int = 20) -> Sequence[str]:
        await self._begin()
        return self._queries.ids(prefix, limit)

    async def get_call(self, job_id: str) -> StoredCall | None:
        await self._begin()
        n = self._tables.ids.get(job_id)
        return None if n is None else self._queries.call(n)

    async def count_jobs(self, group: str | None = None) -> Mapping[JobStatus, int]:
        await self._begin()
        return self._queries.count(group)

    async def list_groups(self, after: str | None = None, limit: int = 100) -> Sequence[GroupProgress]:
        await self._begin()
        return self._queries.groups(after, limit)

    async def get_durations(self, function: str, limit: int = 20) -> Sequence[float]:
        await self._begin()
        return self._queries.durations(function, limit)

    async def has_unfinished(self, group: str | None = None) -> bool:
        await self._begin()
        return self._queries.unfinished(group)

    async def get_dependencies(self, ids: Iterable[str]) -> Sequence[Edge]:
        await self._begin()
        numbers = list(self._tables.numbers(list(ids)).values())
        return [self._queries.edge(edge) for edge in self._tables.edges_to(numbers)]

    async def get_dependent_jobs(self, ids: Iterable[str]) -> Sequence[Edge]:
        await self._begin()
        numbers = list(self._tables.numbers(list(ids)).values())
        return [self._queries.edge(edge) for edge in self._tables.edges_from(numbers)]

    async def get_ready_jobs(self, limit: int = 100) -> Sequence[Job]:
        await self._begin()
        return [self._queries.job(n) for _, n in islice(heapq.merge(*self._tables.ready.values()), limit)]

    async def get_limit(self, key: str) -> LimitInfo | None:
        await self._begin()
        row = self._tables.limits.get(key)
        return None if row is None else LimitInfo(key, row.capacity, row.in_progress)

    async def get_lanes(self) -> Sequence[Lane]:
        await self._begin()
        return list(self._tables.ready)

    async def read_events(
        self, after: str | None = None, *, limit: int = 500, job_id: str | None = None, group: str | None = None
    ) -> EventPage:
        await self._begin()
        return self._queries.events(after, limit, job_id, group)

    async def last_cursor(self) -> str:
        await self._begin()
        return str(self._tables.end)


def _encodable(events: Sequence[BodyEvent]) -> tuple[BodyEvent, ...]:
    """Fails before the transaction, not in it, for data that cannot be stored."""
    for event in events:
        msgpack.encode(event.data)
    return tuple(events)
