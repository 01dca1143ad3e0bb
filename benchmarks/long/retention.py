"""Jobs that are made and end all the time, while retention removes what is older: does it keep up?"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from msgspec import Struct

from asyncjobs import DaemonConfig, JobProcessor, SQLiteConfig
from asyncjobs.core.state import SECOND
from benchmarks.draining import EVENTS_OF_A_RUN, file_size
from benchmarks.jobs import SLOTS, noop
from benchmarks.long.work import MEGABYTE, Part
from benchmarks.result import higher, lower, quantile

RATE = 5_000
"""Jobs a second, at most: what the machine cannot run is not made, so that no backlog grows."""
_BATCH = 100
_MOST = 5_000
"""Jobs that may be under way."""
_EVENTS = EVENTS_OF_A_RUN + 1
_LOOK = 5.0


class Look(Struct, frozen=True):
    """The file at a moment: jobs in it that have ended long enough ago, bytes, and the bytes of the log."""

    moment: float
    removable: int
    size: int
    log: int


def run(part: Part) -> None:
    """Make jobs for some minutes; then see what is left to be removed, and how large the file became."""
    asyncio.run(_run(part))


async def _run(part: Part) -> None:
    seconds = 60 * part.size.minutes
    retention = seconds / 10
    path = part.folder / "jobs.db"
    config = DaemonConfig(num_workers=SLOTS, shutdown_timeout=10, retention=retention)
    looks: list[Look] = []
    async with JobProcessor(SQLiteConfig(db_path=path), daemon=config) as jp:
        watching = asyncio.create_task(_watch(part, path, retention, looks))
        began = time.monotonic()
        jobs = await _load(jp, seconds)
        took = time.monotonic() - began
        looks.append(await _look(path, retention))
        watching.cancel()
    late = [look for look in looks if look.moment > began + seconds / 2]
    middle, end = late[0].size, max(look.size for look in late)
    part.figures(
        higher("jobs", jobs / took, "jobs/s"),
        lower("removable_end", looks[-1].removable, "jobs"),
        lower("removable_p50", quantile([look.removable for look in late], 0.5), "jobs"),
        lower("removable_max", max(look.removable for look in late), "jobs"),
        lower("removable_seconds", max(look.removable for look in late) / (jobs / took), "s"),
        lower("file_half", middle / MEGABYTE, "MB"),
        lower("file_end", end / MEGABYTE, "MB"),
        lower("file_growth", end / middle, "× half-time's"),
        lower("log_max", max(look.log for look in looks) / MEGABYTE, "MB"),
    )
    part.note(
        f"{seconds:.0f} s, {jobs:,} jobs, removed {retention:.0f} s after their end. What can be removed and the file "
        "are those of the second half. Rounds begin up to a minute apart, so as many seconds of jobs wait for the next."
    )


async def _load(jp: JobProcessor, seconds: float) -> int:
    """Make jobs, as many a second as there should be, or as can be run, until all have ended; their number."""
    began, made, ended = time.monotonic(), 0, 0
    while (now := time.monotonic() - began) < seconds:
        due = min(int(RATE * now), made + 10 * _BATCH)
        while made < due and made - ended < _MOST:
            await jp.map_jobs(noop, range(made, made + _BATCH))
            made += _BATCH
        await asyncio.sleep(0.01)
        ended = int(await jp.backend.last_cursor()) // _EVENTS
    await jp.drain()
    return made


async def _watch(part: Part, path: Path, retention: float, looks: list[Look]) -> None:
    while True:
        await asyncio.sleep(_LOOK)
        look = await _look(path, retention)
        looks.append(look)
        if len(looks) % 6 == 0:
            part.progress(
                f"{look.removable:,} jobs can be removed; file {look.size / MEGABYTE:.0f} MB, "
                f"log {look.log / MEGABYTE:.1f} MB"
            )


async def _look(path: Path, retention: float) -> Look:
    removable = await asyncio.to_thread(_removable, path, retention)
    return Look(time.monotonic(), removable, file_size(path), file_size(Path(f"{path}-wal")))


def _removable(path: Path, retention: float) -> int:
    before = int((time.time() - retention) * SECOND)
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        found: int = connection.execute("SELECT count(*) FROM jobs WHERE finished_at < ?", (before,)).fetchone()[0]
    return found
