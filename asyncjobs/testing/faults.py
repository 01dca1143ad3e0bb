"""Provide a store that fails on request: before a call does anything, or after it did, with its answer lost."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, TypeVar

from msgspec import Struct

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
from asyncjobs.backends.bounds import Bounds
from asyncjobs.backends.values import StepPage
from asyncjobs.checks import CheckedArguments
from asyncjobs.core.lanes import Lane
from asyncjobs.core.requests import Answer, AskedGate, StepChange
from asyncjobs.exceptions import BackendConnectionError, ConfigurationError
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
from asyncjobs.spellings import nearest

T = TypeVar("T")


class _Fault(Struct, frozen=True):
    when: Literal["before", "after"]
    error: BaseException


class FaultyBackend(CheckedArguments, JobBackend):
    """A store that passes every call on to ``inner``, except for those that ``fail`` named.

    ::

        store = FaultyBackend(MemoryBackend())
        store.fail("enqueue_jobs")                          # the next call does not reach the store
        store.fail("update_job_status", 2, when="after")    # the second call from now is committed, its answer is lost
    """

    def __init__(self, inner: JobBackend) -> None:
        self.inner = inner
        self.capabilities: frozenset[str] = inner.capabilities
        self.bounds: Bounds = inner.bounds
        self.calls: Counter[str] = Counter()
        """How often each method was called."""
        self._faults: dict[tuple[str, int], _Fault] = {}

    def fail(
        self,
        method: str,
        nth: int = 1,
        *,
        when: Literal["before", "after"] = "before",
        error: BaseException | None = None,
    ) -> None:
        """Make the ``nth`` call of this method from now on raise ``error`` (default ``BackendConnectionError``).

        :raises ConfigurationError: the method does not exist or is not asynchronous, or ``nth`` is below 1.
        """
        if method not in FAULTY_METHODS:
            near = nearest(method, FAULTY_METHODS)
            hint = f"did you mean {near!r}?" if near else None
            raise ConfigurationError("method", method, allowed="an asynchronous method of JobBackend", hint=hint)
        if nth < 1:
            raise ConfigurationError("nth", nth, allowed="a whole number from 1")
        if error is None:
            lost = "the answer was lost" if when == "after" else "the store is out of reach"
            error = BackendConnectionError(f"{method}: {lost} (a fault that the test asked for)")
        self._faults[method, self.calls[method] + nth] = _Fault(when, error)

    async def _pass(self, method: str, call: Callable[[], Awaitable[T]]) -> T:
        self.calls[method] += 1
        fault = self._faults.pop((method, self.calls[method]), None)
        if fault is not None and fault.when == "before":
            raise fault.error
        answer = await call()
        if fault is not None:
            raise fault.error
        return answer

    async def open(self) -> None:
        await self._pass("open", self.inner.open)

    async def close(self) -> None:
        await self._pass("close", self.inner.close)

    def add_listener(self, listener: Listener) -> Callable[[], None]:
        return self.inner.add_listener(listener)

    def removals(self) -> int | None:
        return self.inner.removals()

    async def wait(self, timeout: float, *, urgent: bool = False, seen: Seen | None = None) -> bool:
        return await self._pass("wait", lambda: self.inner.wait(timeout, urgent=urgent, seen=seen))

    async def health(self) -> Mapping[str, Any]:
        return await self._pass("health", self.inner.health)

    async def checkup(self) -> Sequence[Finding]:
        return await self._pass("checkup", self.inner.checkup)

    async def enqueue_jobs(self, jobs: Sequence[NewJob], *, parent: AttemptRef | None = None) -> Sequence[str]:
        return await self._pass("enqueue_jobs", lambda: self.inner.enqueue_jobs(jobs, parent=parent))

    async def dequeue_jobs(self, claim: ClaimRequest) -> ClaimResult:
        return await self._pass("dequeue_jobs", lambda: self.inner.dequeue_jobs(claim))

    async def update_job_status(self, ends: Sequence[AttemptEnd], claim: ClaimRequest | None = None) -> Finished:
        return await self._pass("update_job_status", lambda: self.inner.update_job_status(ends, claim))

    async def append_events(self, batches: Sequence[tuple[AttemptRef, Sequence[BodyEvent]]]) -> Sequence[bool]:
        return await self._pass("append_events", lambda: self.inner.append_events(batches))

    async def write_steps(self, changes: Sequence[StepChange]) -> Sequence[Stale | None]:
        return await self._pass("write_steps", lambda: self.inner.write_steps(changes))

    async def ask_gate(self, attempt: AttemptRef, gate: NewJob) -> AskedGate:
        return await self._pass("ask_gate", lambda: self.inner.ask_gate(attempt, gate))

    async def answer_gate(self, answer: Answer) -> JobStatus:
        return await self._pass("answer_gate", lambda: self.inner.answer_gate(answer))

    async def end_due_gates(self) -> Sequence[str]:
        return await self._pass("end_due_gates", self.inner.end_due_gates)

    async def register_worker(self, worker: NewWorker) -> str:
        return await self._pass("register_worker", lambda: self.inner.register_worker(worker))

    async def deregister_worker(self, worker: str) -> None:
        await self._pass("deregister_worker", lambda: self.inner.deregister_worker(worker))

    async def extend_leases(self, worker: str) -> WorkerLease:
        return await self._pass("extend_leases", lambda: self.inner.extend_leases(worker))

    async def report_refusals(self, worker: str, refused: Mapping[str, str]) -> None:
        await self._pass("report_refusals", lambda: self.inner.report_refusals(worker, refused))

    async def reap(self, *, expired: bool = True) -> Sequence[str]:
        return await self._pass("reap", lambda: self.inner.reap(expired=expired))

    async def workers(self) -> Sequence[WorkerInfo]:
        return await self._pass("workers", self.inner.workers)

    async def cancel_jobs(self, ids: Sequence[str], *, descendants: bool = False) -> Mapping[str, JobStatus]:
        return await self._pass("cancel_jobs", lambda: self.inner.cancel_jobs(ids, descendants=descendants))

    async def retry_job(self, job_id: str, *, fresh: bool = False) -> JobStatus:
        return await self._pass("retry_job", lambda: self.inner.retry_job(job_id, fresh=fresh))

    async def mark_job_ready(self, ids: Sequence[str]) -> Sequence[str]:
        return await self._pass("mark_job_ready", lambda: self.inner.mark_job_ready(ids))

    async def give_up(self, ids: Sequence[str], error: JobError) -> Sequence[str]:
        return await self._pass("give_up", lambda: self.inner.give_up(ids, error))

    async def prune(self, before: int, limit: int = 1000) -> int:
        return await self._pass("prune", lambda: self.inner.prune(before, limit))

    async def remove_jobs(self, ids: Sequence[str], *, components: bool = False) -> Sequence[str]:
        return await self._pass("remove_jobs", lambda: self.inner.remove_jobs(ids, components=components))

    async def backup(self, path: str | os.PathLike[str]) -> None:
        await self._pass("backup", lambda: self.inner.backup(path))

    async def compact(self, patience: float = 10.0) -> int:
        return await self._pass("compact", lambda: self.inner.compact(patience))

    async def get_jobs(self, ids: Sequence[str]) -> Sequence[Job]:
        return await self._pass("get_jobs", lambda: self.inner.get_jobs(ids))

    async def get_results(self, ids: Sequence[str]) -> Mapping[str, JobResult]:
        return await self._pass("get_results", lambda: self.inner.get_results(ids))

    async def get_attempts(self, job_id: str) -> Sequence[Attempt]:
        return await self._pass("get_attempts", lambda: self.inner.get_attempts(job_id))

    async def find_jobs(self, query: JobQuery) -> JobPage:
        return await self._pass("find_jobs", lambda: self.inner.find_jobs(query))

    async def find_ids(self, prefix: str, limit: int = 20) -> Sequence[str]:
        return await self._pass("find_ids", lambda: self.inner.find_ids(prefix, limit))

    async def get_call(self, job_id: str) -> StoredCall | None:
        return await self._pass("get_call", lambda: self.inner.get_call(job_id))

    async def read_steps(
        self, job_id: str, after: str | None = None, limit: int = 500, *, values: bool = True
    ) -> StepPage:
        return await self._pass("read_steps", lambda: self.inner.read_steps(job_id, after, limit, values=values))

    async def read_step(self, job_id: str, key: str) -> bytes | None:
        return await self._pass("read_step", lambda: self.inner.read_step(job_id, key))

    async def count_steps(self, job_id: str) -> int:
        return await self._pass("count_steps", lambda: self.inner.count_steps(job_id))

    async def count_jobs(self, group: str | None = None) -> Mapping[JobStatus, int]:
        return await self._pass("count_jobs", lambda: self.inner.count_jobs(group))

    async def list_groups(self, after: str | None = None, limit: int = 100) -> Sequence[GroupProgress]:
        return await self._pass("list_groups", lambda: self.inner.list_groups(after, limit))

    async def get_durations(self, function: str, limit: int = 20) -> Sequence[float]:
        return await self._pass("get_durations", lambda: self.inner.get_durations(function, limit))

    async def has_unfinished(self, group: str | None = None) -> bool:
        return await self._pass("has_unfinished", lambda: self.inner.has_unfinished(group))

    async def get_dependencies(self, ids: Iterable[str]) -> Sequence[Edge]:
        return await self._pass("get_dependencies", lambda: self.inner.get_dependencies(ids))

    async def get_dependent_jobs(self, ids: Iterable[str]) -> Sequence[Edge]:
        return await self._pass("get_dependent_jobs", lambda: self.inner.get_dependent_jobs(ids))

    async def get_ready_jobs(self, limit: int = 100) -> Sequence[Job]:
        return await self._pass("get_ready_jobs", lambda: self.inner.get_ready_jobs(limit))

    async def get_limit(self, key: str) -> LimitInfo | None:
        return await self._pass("get_limit", lambda: self.inner.get_limit(key))

    async def get_lanes(self) -> Sequence[Lane]:
        return await self._pass("get_lanes", self.inner.get_lanes)

    async def read_events(
        self, after: str | None = None, *, limit: int = 500, job_id: str | None = None, group: str | None = None
    ) -> EventPage:
        return await self._pass(
            "read_events", lambda: self.inner.read_events(after, limit=limit, job_id=job_id, group=group)
        )

    async def last_cursor(self) -> str:
        return await self._pass("last_cursor", self.inner.last_cursor)


FAULTY_METHODS = (frozenset(JobBackend.__abstractmethods__) | {"backup", "checkup", "compact"}) - {"add_listener"}
"""What can be made to fail; ``get_job`` is ``get_jobs``, and so for the others that do one of a batch."""
