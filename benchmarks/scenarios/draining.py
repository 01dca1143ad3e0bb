"""A million ready jobs, drained by one process: does it go on as it began?"""

from __future__ import annotations

import asyncio

from benchmarks.backlog_file import make
from benchmarks.draining import TENTHS, drain
from benchmarks.result import Place, Result, higher, lower

_MEGABYTE = 1 << 20


def run(place: Place) -> Result:
    """Jobs a second over all and in the first and last tenth, memory, and the write-ahead log."""
    return asyncio.run(_run(place))


async def _run(place: Place) -> Result:
    jobs = place.pick(1_000_000, 20_000)
    path = place.folder / "jobs.db"
    await make(path, "ready", jobs)
    _, tenths = await drain(path, jobs, jobs // TENTHS, lambda _: None)
    whole = [tenth for tenth in tenths if tenth.jobs >= jobs / TENTHS / 2]
    first, last = whole[0], whole[-1]
    return Result(
        (
            higher("jobs", sum(tenth.jobs for tenth in tenths) / sum(tenth.seconds for tenth in tenths), "jobs/s"),
            higher("first", first.rate, "jobs/s"),
            higher("last", last.rate, "jobs/s"),
            higher("last_share", last.rate / first.rate, "of first"),
            lower("own_first", first.own / _MEGABYTE, "MB"),
            lower("own_last", last.own / _MEGABYTE, "MB"),
            lower("own_growth", last.own / first.own, "× the first tenth's"),
            lower("log_max", max(tenth.log for tenth in tenths) / _MEGABYTE, "MB"),
        ),
        (f"{jobs:,} ready jobs",),
    )
