"""Jobs by the million, stored in batches by one process."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence
from functools import partial

from asyncjobs import JobProcessor, SQLiteConfig
from benchmarks.draining import TENTHS, Tenth, Watch
from benchmarks.jobs import noop
from benchmarks.long.work import MEGABYTE, Part
from benchmarks.result import Figure, higher, lower

FILE = "jobs.db"
BATCH = 10_000


def run(part: Part) -> None:
    """Store them in batches of 10,000, in a process that runs none; nobody holds their handles."""
    asyncio.run(_run(part))


async def _run(part: Part) -> None:
    path, jobs = part.folder / FILE, part.size.jobs
    async with JobProcessor(SQLiteConfig(db_path=path), enable_daemon=False) as jp:
        watch = Watch(path, -(-jobs // TENTHS), partial(told, part, "stored"))
        for first in range(0, jobs, BATCH):
            await jp.map_jobs(noop, range(first, min(jobs, first + BATCH)))
            gc.collect()
            watch.look(min(jobs, first + BATCH))
        watch.look(jobs, last=True)
    part.figures(
        *rates("store", watch.tenths),
        lower("store_own_max", most_own(watch.tenths), "MB"),
        lower("store_log_max", max(tenth.log for tenth in watch.tenths) / MEGABYTE, "MB"),
    )


def told(part: Part, what: str, tenth: Tenth) -> None:
    """Tell people of a tenth."""
    part.progress(
        f"{tenth.jobs:,} {what}, {tenth.rate:,.0f} jobs/s; memory of its own {tenth.own / MEGABYTE:.0f} MB, "
        f"resident {tenth.resident / MEGABYTE:.0f} MB; log at most {tenth.log / MEGABYTE:.1f} MB"
    )


def rates(name: str, tenths: Sequence[Tenth]) -> list[Figure]:
    """The rate of all, and of the first, the middle and the last of them."""
    first, middle, last = tenths[0].rate, tenths[len(tenths) // 2].rate, tenths[-1].rate
    return [
        higher(name, sum(tenth.jobs for tenth in tenths) / sum(tenth.seconds for tenth in tenths), "jobs/s"),
        higher(f"{name}_first", first, "jobs/s"),
        higher(f"{name}_middle", middle, "jobs/s"),
        higher(f"{name}_last", last, "jobs/s"),
        higher(f"{name}_last_share", last / first, "of first"),
    ]


def most_own(tenths: Sequence[Tenth]) -> float:
    """The most memory that the process had for itself, in MB."""
    return max(tenth.own for tenth in tenths) / MEGABYTE
