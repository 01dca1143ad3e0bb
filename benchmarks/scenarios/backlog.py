"""What claims cost beside a backlog: 1,000 and 1,000,000 jobs that wait for a parent, are not due, or are ready."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

from asyncjobs import DaemonConfig, JobProcessor, SQLiteBackend
from asyncjobs.backends.base import AttemptEnd, ClaimRequest, NewWorker
from asyncjobs.config import SQLiteConfig
from asyncjobs.core.codec import describe_callable, encode_value
from asyncjobs.models import Outcome, OutcomeKind
from benchmarks.backlog_file import Kind, fresh_ids, make, new_job
from benchmarks.jobs import noop
from benchmarks.result import Figure, Place, Result, lower, quantile

_CLAIMS = 300
_CLAIMS_32 = 20
_HIGH = 9
"""A priority above the backlog's: the one more job is the next to be claimed."""


class _Store:
    """An open backend with a worker."""

    def __init__(self, backend: SQLiteBackend, worker: str) -> None:
        self.backend = backend
        self._worker = worker
        self._functions = frozenset({describe_callable(noop).name})
        self._more = 0

    async def claim(self, limit: int) -> float:
        """Seconds that it takes to claim so many."""
        began = time.perf_counter()
        claims = await self.backend.dequeue_jobs(self._claim(limit))
        seconds = time.perf_counter() - began
        if len(claims.jobs) != limit:
            raise AssertionError(f"{len(claims.jobs)} jobs instead of {limit} were claimed")
        return seconds

    async def one_more(self) -> float:
        """Seconds that it takes to submit and to finish one more job (its claim is not counted)."""
        self._more += 1
        job = new_job(f"more{self._more}", priority=_HIGH)
        began = time.perf_counter()
        await self.backend.enqueue_jobs([job])
        submitted = time.perf_counter() - began
        claimed = (await self.backend.dequeue_jobs(self._claim(1))).jobs[0]
        if claimed.attempt.job_id != job.id:
            raise AssertionError("the job with the highest priority was not the first")
        end = AttemptEnd(claimed.attempt, Outcome(OutcomeKind.SUCCEEDED, encode_value(1, "$")))
        began = time.perf_counter()
        await self.backend.update_job_status([end])
        return submitted + time.perf_counter() - began

    def _claim(self, limit: int) -> ClaimRequest:
        return ClaimRequest(worker=self._worker, limit=limit, functions=self._functions)


def run(place: Place, kind: Kind) -> Result:
    """Microseconds at both sizes, taken in turns in one process, and the ratio of their medians."""
    return asyncio.run(_run(place, kind))


async def _run(place: Place, kind: Kind) -> Result:
    sizes = (1_000, place.pick(1_000_000, 100_000))
    paths = [place.folder / f"{size}.db" for size in sizes]
    for path, size in zip(paths, sizes, strict=True):
        await make(path, kind, size)
    figures = await _starts(paths)
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(_opened(path)) for path in paths]
        if kind != "ready":
            for store in stores:
                await store.backend.enqueue_jobs(fresh_ids(new_job("", priority=7), 1_000, "ready"))
        figures += await _compare("claim_1", [partial(s.claim, 1) for s in stores], _CLAIMS)
        figures += await _compare("claim_32", [partial(s.claim, 32) for s in stores], _CLAIMS_32)
        figures += await _compare("one_more", [s.one_more for s in stores], _CLAIMS)
    return Result(tuple(figures), (f"{sizes[0]:,} and {sizes[1]:,} {kind} jobs",))


@asynccontextmanager
async def _opened(path: Path) -> AsyncGenerator[_Store]:
    backend = SQLiteBackend(SQLiteConfig(db_path=path))
    async with backend:
        yield _Store(backend, await backend.register_worker(NewWorker(name="benchmark", slots=32)))


async def _compare(name: str, actions: Sequence[Callable[[], Awaitable[float]]], times: int) -> list[Figure]:
    """Do it at each size in turn."""
    seconds: list[list[float]] = [[] for _ in actions]
    for _ in range(times):
        for action, taken in zip(actions, seconds, strict=True):
            taken.append(await action())
    small, large = (1e6 * quantile(taken, 0.5) for taken in seconds)
    return [
        lower(f"{name}_small", small, "µs"),
        lower(f"{name}_large", large, "µs"),
        lower(f"{name}_ratio", large / small, "×"),
    ]


async def _starts(paths: Sequence[Path]) -> list[Figure]:
    """Milliseconds until a processor with a daemon is ready; its worker serves another queue, so nothing is run."""
    taken: list[list[float]] = [[], []]
    for _ in range(5):
        for path, seconds in zip(paths, taken, strict=True):
            began = time.perf_counter()
            async with JobProcessor(SQLiteConfig(db_path=path), daemon=DaemonConfig(queues=("other",))):
                seconds.append(time.perf_counter() - began)
    small, large = (1e3 * quantile(seconds, 0.5) for seconds in taken)
    return [lower("start_small", small, "ms"), lower("start_large", large, "ms")]
