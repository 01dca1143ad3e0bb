"""A store under test, and workers that the test plays by hand."""

from __future__ import annotations

import functools
import os
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from msgspec import Struct, json
from msgspec.structs import replace

from asyncjobs.backends.base import (
    AttemptEnd,
    AttemptRef,
    ClaimRequest,
    ClaimResult,
    JobBackend,
    NewJob,
    NewWorker,
    WorkerLease,
)
from asyncjobs.backends.memory import MemoryBackend
from asyncjobs.clock import Clock
from asyncjobs.config import SQLiteConfig, SQSConfig
from asyncjobs.core.requests import Forget, Keep
from asyncjobs.core.retry import RetryPolicy
from asyncjobs.core.state import Stale
from asyncjobs.models import (
    Attempt,
    BodyEvent,
    Dependency,
    Edge,
    EdgeState,
    GroupProgress,
    Job,
    JobError,
    JobEvent,
    JobResult,
    JobStatus,
    Limit,
    Outcome,
    OutcomeKind,
)
from asyncjobs.requests import JobQuery
from asyncjobs.testing import ManualClock
from tests import sqs_server
from tests.new_files import lay_out

FUNCTION = "app:work"
ONCE = RetryPolicy(max_retries=0, jitter=0.0)
"""The first failure is final."""
SUCCESS = Outcome(OutcomeKind.SUCCEEDED)
BOOM = JobError("ValueError", "boom", "Traceback: boom")
FAILURE = Outcome(OutcomeKind.FAILED, error=BOOM)
FATAL = Outcome(OutcomeKind.FAILED, error=BOOM, retryable=False)
STOPPED = Outcome(OutcomeKind.CANCELLED)
RELEASED = Outcome(OutcomeKind.RELEASED)

PENDING, IN_PROGRESS, COMPLETED, FAILED, CANCELLED, SKIPPED = JobStatus
OPEN, MET, PASSED, BROKEN = EdgeState

Make = Callable[[Clock], JobBackend]
"""Makes a backend object on one store, as often as it is called."""


def _memory(clock: Clock, _: Path) -> JobBackend:
    return MemoryBackend(clock=clock)


def _sqlite(clock: Clock, folder: Path) -> JobBackend:
    from asyncjobs.backends.sqlite.backend import SQLiteBackend

    return SQLiteBackend(SQLiteConfig(db_path=lay_out(folder / "jobs.db"), readers=1), clock=clock)


def _sqs(clock: Clock, folder: Path) -> JobBackend:
    from asyncjobs.backends.sqs.backend import SQSBackend

    return SQSBackend(_sqs_config(folder), clock=clock)


def _faulty(kind: str) -> Callable[[Clock, Path], JobBackend]:
    def make(clock: Clock, folder: Path) -> JobBackend:
        from tests.sqs_faulty_store import FaultySQSBackend

        return FaultySQSBackend(_sqs_config(folder), clock=clock, kind=kind, name=folder.name)

    return make


@functools.cache
def _sqs_config(folder: Path) -> SQSConfig:
    """One table for each test, which its folder stands for."""
    return sqs_server.made()


MAKERS: dict[str, Callable[[Clock, Path], JobBackend]] = {"memory": _memory}
STORES = [("asyncio", "memory"), ("trio", "memory")]
"""(event loop, kind of store) pairs to run the suite on."""
if find_spec("asyncjobs.backends.sqlite.backend") is not None:
    MAKERS["sqlite"] = _sqlite
    STORES.append(("asyncio", "sqlite"))
if sqs_server.missing() is None:
    MAKERS["sqs"] = _sqs
    STORES.append(("asyncio", "sqs"))
    if os.environ.get("ASYNCJOBS_TEST_FAULTS"):
        from tests.sqs_faulty_store import asked_for

        MAKERS |= {f"sqs+{faults}": _faulty(faults) for faults in asked_for()}
        STORES = [("asyncio", f"sqs+{faults}") for faults in asked_for()]


def maker(kind: str, folder: Path) -> Make:
    return lambda clock: MAKERS[kind](clock, folder)


def new(
    job_id: str,
    *parents: str,
    function: str = FUNCTION,
    call: bytes = b"call",
    queue: str = "default",
    retry: RetryPolicy = ONCE,
    limit: tuple[str, int] | None = None,
    metadata: Mapping[str, Any] | None = None,
    **options: Any,
) -> NewJob:
    """A job to submit. A parent with a question mark behind it is optional: ``new("c", "a", "b?")``."""
    return NewJob(
        id=job_id,
        function=function,
        call=call,
        queue=queue,
        retry=retry,
        limit=Limit(*limit) if limit else None,
        metadata=None if metadata is None else json.encode(metadata),
        dependencies=tuple(Dependency(parent.rstrip("?"), parent.endswith("?")) for parent in parents),
        **options,
    )


class Dump(Struct, frozen=True):
    """Everything that a store tells: equal dumps are equal histories."""

    jobs: Sequence[Job]
    edges: Sequence[Edge]
    events: Sequence[JobEvent]
    attempts: Sequence[Attempt]
    results: Mapping[str, JobResult]
    counts: Mapping[JobStatus, int]
    groups: Sequence[GroupProgress]
    durations: Sequence[float]
    ready: Sequence[str]
    steps: Mapping[str, Mapping[str, bytes | None]]


class Store:
    """An open backend and the clock it was given. Opened and closed by ``async with``."""

    def __init__(self, make: Make) -> None:
        self.clock = ManualClock()
        self.make = make
        self.backend = make(self.clock)
        self.hands: list[Hand] = []

    async def __aenter__(self) -> Self:
        await self.backend.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.backend.close()

    def has(self, capability: str) -> bool:
        return capability in self.backend.capabilities

    def many(self, count: int) -> int:
        """So many that one step of this store does not take them: a tenth where one transaction takes few jobs."""
        return count if self.has("one_transaction") else count // 10

    def check_positions(self, events: Sequence[JobEvent]) -> None:
        """Check the cursors of the whole log: without holes if the store promises that, else growing."""
        positions = [int(event.cursor) for event in events]
        assert positions == sorted(set(positions)), "each position once, in order"
        assert all(0 < position < 10**19 for position in positions)
        if self.has("dense_log"):
            assert positions == list(range(1, len(events) + 1)), "dense from 1, so that a reader can tell a hole"

    async def reopen(self) -> None:
        """As if the process had ended and another one began."""
        await self.backend.close()
        self.backend = self.make(self.clock)
        await self.backend.open()

    @asynccontextmanager
    async def second(self) -> AsyncGenerator[JobBackend]:
        """Another backend object on the same store."""
        async with self.make(self.clock) as other:
            yield other

    # -- doing

    async def submit(self, *jobs: NewJob, parent: AttemptRef | None = None) -> Sequence[str]:
        return await self.backend.enqueue_jobs(jobs, parent=parent)

    async def hand(self, name: str = "hand", **options: Any) -> Hand:
        """Register a worker; ``options`` are those of ``Hand``."""
        lease = options.pop("lease", 15.0)
        worker = await self.backend.register_worker(NewWorker(name=name, slots=100, lease=lease))
        hand = Hand(self, worker, **options)
        self.hands.append(hand)
        return hand

    async def lose(self, lost: Hand, lease: float = 15.0) -> Sequence[str]:
        """Let the lease of one worker run out while the others renew theirs; returns what was reaped."""
        self.clock.advance(lease + 1)
        for hand in self.hands:
            if hand is not lost:
                await hand.beat()
        return await self.backend.reap()

    # -- looking

    async def steps(self, job_id: str, limit: int = 500) -> dict[str, bytes | None]:
        """The steps of a job that count, page by page."""
        steps: dict[str, bytes | None] = {}
        after: str | None = None
        while True:
            page = await self.backend.read_steps(job_id, after, limit)
            for step in page.steps:
                assert after is None or after < step.key, "in the order of the keys, each once"
                after, steps[step.key] = step.key, step.value
                assert step.value is None or len(step.value) == step.size
            if page.next is None:
                return steps
            assert after == page.next

    async def job(self, job_id: str) -> Job:
        job = await self.backend.get_job(job_id)
        assert job is not None, job_id
        return job

    async def status(self, job_id: str) -> JobStatus:
        return (await self.job(job_id)).status

    async def statuses(self, *ids: str) -> list[JobStatus]:
        return [job.status for job in await self.backend.get_jobs(ids)]

    async def edges(self, child: str) -> dict[str, EdgeState]:
        """The states of the edges to this job, by parent."""
        return {edge.parent_id: edge.state for edge in await self.backend.get_dependencies([child])}

    async def events(self, job_id: str | None = None, group: str | None = None) -> list[JobEvent]:
        """The whole log, page by page."""
        events: list[JobEvent] = []
        cursor: str | None = None
        while True:
            page = await self.backend.read_events(cursor, job_id=job_id, group=group)
            events += page.events
            cursor = page.cursor
            if page.end:
                return events

    async def given(self) -> list[JobEvent]:
        """What listeners were given, if this object has written all that the log has."""
        events = await self.events()
        return events if self.has("dense_log") else unplaced(events)

    async def types(self, job_id: str) -> list[str]:
        return [event.type for event in await self.events(job_id)]

    async def jobs(self) -> list[Job]:
        """Every job, by submission."""
        jobs: list[Job] = []
        page = await self.backend.find_jobs(JobQuery(limit=1000))
        while True:
            jobs += page
            if page.next is None:
                return jobs
            page = await self.backend.find_jobs(JobQuery(limit=1000, cursor=page.next))

    async def dump(self) -> Dump:
        backend = self.backend
        jobs = await self.jobs()
        ids = [job.id for job in jobs]
        # Each store names its workers as it likes; which jobs name the same one is the same everywhere.
        named = dict.fromkeys(job.worker_id for job in jobs if job.worker_id is not None)
        names: dict[str | None, str | None] = {None: None} | {worker: f"worker {i}" for i, worker in enumerate(named)}
        return Dump(
            [replace(job, worker_id=names[job.worker_id]) for job in jobs],
            sorted(await backend.get_dependencies(ids), key=lambda edge: (edge.child_id, edge.parent_id)),
            await self.events(),
            [attempt for job_id in ids for attempt in await backend.get_attempts(job_id)],
            await backend.get_results(ids),
            await backend.count_jobs(),
            list(await backend.list_groups(limit=1000)),
            list(await backend.get_durations(FUNCTION, limit=1000)),
            [job.id for job in await backend.get_ready_jobs(1000)],
            {job_id: steps for job_id in ids if (steps := await self.steps(job_id))},
        )


class Hand:
    """A worker played by the test. It remembers the attempts that it was given, also when it lost them."""

    def __init__(
        self, store: Store, worker: str, *, functions: Sequence[str] = (FUNCTION,), refused: Sequence[str] = ()
    ) -> None:
        self.store = store
        self.id = worker
        self.functions = frozenset(functions)
        self.refused = frozenset(refused)
        self.held: dict[str, AttemptRef] = {}

    def wants(self, limit: int = 100, *, queues: tuple[str, ...] | None = None) -> ClaimRequest:
        return ClaimRequest(worker=self.id, limit=limit, functions=self.functions, refused=self.refused, queues=queues)

    async def claims(self, limit: int = 100, *, queues: tuple[str, ...] | None = None) -> ClaimResult:
        claims = await self.store.backend.dequeue_jobs(self.wants(limit, queues=queues))
        self.remember(claims)
        return claims

    def remember(self, claims: ClaimResult) -> list[str]:
        self.held.update({job.attempt.job_id: job.attempt for job in claims.jobs})
        return [job.attempt.job_id for job in claims.jobs]

    async def claim(self, limit: int = 100, *, queues: tuple[str, ...] | None = None) -> list[str]:
        """Claim; returns the ids in the order given."""
        return [job.attempt.job_id for job in (await self.claims(limit, queues=queues)).jobs]

    async def end(
        self, job_id: str, outcome: Outcome, said: tuple[BodyEvent, ...] = (), jitter: float = 0.5
    ) -> JobStatus | Stale:
        end = AttemptEnd(self.held[job_id], outcome, said, jitter)
        return (await self.store.backend.update_job_status([end])).results[0]

    async def ends(self, outcomes: Mapping[str, Outcome]) -> list[JobStatus | Stale]:
        """Several attempts in one call, in this order."""
        ends = [AttemptEnd(self.held[job_id], outcome) for job_id, outcome in outcomes.items()]
        return list((await self.store.backend.update_job_status(ends)).results)

    async def succeed(self, *ids: str) -> None:
        assert await self.ends(dict.fromkeys(ids, SUCCESS)) == [COMPLETED] * len(ids)

    async def fail(self, *ids: str) -> None:
        assert await self.ends(dict.fromkeys(ids, FATAL)) == [FAILED] * len(ids)

    async def run(self, *ids: str, outcome: Outcome = SUCCESS) -> None:
        """Claim exactly these jobs and end them."""
        assert sorted(await self.claim()) == sorted(ids)
        await self.ends(dict.fromkeys(ids, outcome))

    async def say(self, job_id: str, *said: BodyEvent) -> bool:
        return (await self.store.backend.append_events([(self.held[job_id], said)]))[0]

    async def keep(self, job_id: str, **values: bytes) -> list[Stale | None]:
        """Keep these values by their names."""
        attempt = self.held[job_id]
        return list(await self.store.backend.write_steps([Keep(attempt, key, value) for key, value in values.items()]))

    async def forget(self, job_id: str, prefix: str) -> Stale | None:
        return (await self.store.backend.write_steps([Forget(self.held[job_id], prefix)]))[0]

    async def beat(self) -> WorkerLease:
        return await self.store.backend.extend_leases(self.id)


def unplaced(events: Sequence[JobEvent]) -> list[JobEvent]:
    """The events as a listener may get them, when the log has no place for them yet."""
    return [replace(event, cursor="") for event in events]


def comparable(histories: Sequence[tuple[Make, Dump]]) -> list[Dump]:
    """The dumps of several stores, to be equal: job by job if the log of any of them has no dense order."""
    shared = frozenset.intersection(*(make(ManualClock()).capabilities for make, _ in histories))
    return [dump if "dense_log" in shared else job_by_job(dump) for _, dump in histories]


def job_by_job(dump: Dump) -> Dump:
    """A history without positions in the log, and without the order of the events of different jobs."""
    return replace(dump, events=sorted(unplaced(dump.events), key=lambda event: (event.job_id, event.seq)))


def progress(done: float, total: float | None = None, message: str | None = None, *, at: int = 0) -> BodyEvent:
    """What a body that reports its progress says."""
    return BodyEvent("progress", {"done": done, "total": total, "message": message}, at)
