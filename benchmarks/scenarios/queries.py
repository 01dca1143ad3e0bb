"""What asking costs beside a million jobs that have ended: pages, groups, counts, durations; and removing some."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from asyncjobs import JobQuery, JobStatus, SQLiteBackend
from asyncjobs.backends.base import JobBackend
from asyncjobs.config import SQLiteConfig
from asyncjobs.core.codec import describe_callable
from asyncjobs.core.state import SECOND
from benchmarks.backlog_file import GROUPS, make
from benchmarks.jobs import noop
from benchmarks.result import Figure, Place, Result, lower, quantile

_TIMES = 15
_PAGE = 100
_PRUNED = 500


def run(place: Place) -> Result:
    """Milliseconds of each, warm."""
    return asyncio.run(_run(place))


async def _run(place: Place) -> Result:
    jobs = place.pick(1_000_000, 20_000)
    path = place.folder / "jobs.db"
    await make(path, "ended", jobs)
    async with SQLiteBackend(SQLiteConfig(db_path=path)) as backend:
        asked = _questions(backend, jobs)
        figures = [await _measure(name, ask) for name, ask in asked.items()]
        before = int(time.time()) * SECOND + jobs
        figures.append(await _measure("prune", lambda: backend.prune(before, _PRUNED)))
    return Result(tuple(figures), (f"{jobs:,} jobs that have ended, in {GROUPS:,} groups; pages of {_PAGE}",))


def _questions(backend: JobBackend, jobs: int) -> dict[str, Callable[[], Awaitable[object]]]:
    """What is asked, by the name of its figure."""
    function = describe_callable(noop).name
    return {
        "find_first": lambda: backend.find_jobs(JobQuery(limit=_PAGE)),
        "find_newest": lambda: backend.find_jobs(JobQuery(limit=_PAGE, order="newest")),
        "find_status": lambda: backend.find_jobs(JobQuery(limit=_PAGE, status=JobStatus.COMPLETED)),
        "find_group": lambda: backend.find_jobs(JobQuery(limit=_PAGE, group="g7")),
        "find_middle": lambda: backend.find_jobs(JobQuery(limit=_PAGE, cursor=str(jobs // 2))),
        "groups": lambda: backend.list_groups(limit=_PAGE),
        "durations": lambda: backend.get_durations(function),
        "count": backend.count_jobs,
        "count_group": lambda: backend.count_jobs("g7"),
    }


async def _measure(name: str, ask: Callable[[], Awaitable[object]]) -> Figure:
    await ask()
    taken: list[float] = []
    for _ in range(_TIMES):
        began = time.perf_counter()
        await ask()
        taken.append(time.perf_counter() - began)
    return lower(name, 1e3 * quantile(taken, 0.5), "ms")
