"""What a store costs beside its backlog: the claim of one job and of 32, and the start of a processor."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from asyncjobs import DaemonConfig, JobProcessor, SQLiteBackend
from asyncjobs.backends.base import AttemptEnd, AttemptRef, ClaimRequest, NewWorker
from asyncjobs.config import SQLiteConfig
from asyncjobs.core.codec import describe_callable, encode_value
from asyncjobs.models import Outcome, OutcomeKind
from benchmarks.backlog_file import new_job
from benchmarks.jobs import SLOTS, noop
from benchmarks.result import quantile

CLAIMS = 300
CLAIMS_32 = 20
_STARTS = 5
_HIGH = 9
"""A priority above the backlog's: the one more job is the next to be claimed."""


class Store:
    """An open backend with a worker."""

    def __init__(self, backend: SQLiteBackend, worker: str) -> None:
        self.backend = backend
        self._worker = worker
        self._functions = frozenset({describe_callable(noop).name})
        self._more = 0
        self._claimed: list[AttemptRef] = []

    async def claim(self, limit: int) -> float:
        """Seconds that it takes to claim so many."""
        began = time.perf_counter()
        claims = await self.backend.dequeue_jobs(self._request(limit))
        seconds = time.perf_counter() - began
        if len(claims.jobs) != limit:
            raise AssertionError(f"{len(claims.jobs)} jobs instead of {limit} were claimed")
        self._claimed += [job.attempt for job in claims.jobs]
        return seconds

    async def one_more(self) -> float:
        """Seconds that it takes to submit and to finish one more job (its claim is not counted)."""
        self._more += 1
        job = new_job(f"more{self._more}", priority=_HIGH)
        began = time.perf_counter()
        await self.backend.enqueue_jobs([job])
        submitted = time.perf_counter() - began
        claimed = (await self.backend.dequeue_jobs(self._request(1))).jobs[0]
        if claimed.attempt.job_id != job.id:
            raise AssertionError("the job with the highest priority was not the first")
        began = time.perf_counter()
        await self.backend.update_job_status([_done(claimed.attempt)])
        return submitted + time.perf_counter() - began

    async def leave(self) -> int:
        """Finish what was claimed, and sign the worker off; the number of jobs that this ended."""
        await self.backend.update_job_status([_done(attempt) for attempt in self._claimed])
        await self.backend.deregister_worker(self._worker)
        return len(self._claimed)

    def _request(self, limit: int) -> ClaimRequest:
        return ClaimRequest(worker=self._worker, limit=limit, functions=self._functions)


def _done(attempt: AttemptRef) -> AttemptEnd:
    return AttemptEnd(attempt, Outcome(OutcomeKind.SUCCEEDED, encode_value(1, "$")))


@asynccontextmanager
async def opened(path: Path) -> AsyncGenerator[Store]:
    """A store on this file."""
    async with SQLiteBackend(SQLiteConfig(db_path=path)) as backend:
        yield Store(backend, await backend.register_worker(NewWorker(name="benchmark", slots=SLOTS)))


async def medians(actions: Sequence[Callable[[], Awaitable[float]]], times: int) -> list[float]:
    """Do each of these so many times, in turns; the median of what each tells."""
    told: list[list[float]] = [[] for _ in actions]
    for _ in range(times):
        for action, values in zip(actions, told, strict=True):
            values.append(await action())
    return [quantile(values, 0.5) for values in told]


async def starts(paths: Sequence[Path]) -> list[float]:
    """Seconds until a processor with a daemon is ready, for each file, warm and in turns.

    Its worker serves another queue, so nothing is run.
    """

    async def start(path: Path) -> float:
        began = time.perf_counter()
        async with JobProcessor(SQLiteConfig(db_path=path), daemon=DaemonConfig(queues=("other",))):
            return time.perf_counter() - began

    return await medians([partial(start, path) for path in paths], _STARTS)
