"""Jobs by the million: stored and drained, by one process each, with what claims and starts cost on the way."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from msgspec.json import encode

from benchmarks.backlog_file import make
from benchmarks.claiming import CLAIMS, CLAIMS_32, medians, opened, starts
from benchmarks.draining import TENTHS, Tenth, drain, file_size
from benchmarks.long.store import FILE, most_own, rates, told
from benchmarks.long.work import MEGABYTE, Part
from benchmarks.machine import ROOT, memory
from benchmarks.result import Figure, higher, lower

SMALL = 100_000
"""Jobs of the file whose start the large one's is compared with."""
_LEAST = 4_000
"""Jobs that are left, at least, when claims are measured for the last time."""


def run(part: Part) -> None:
    """Store all, drain all, and measure at the beginning, in the middle and near the end."""
    _store(part)
    asyncio.run(_run(part))


async def _run(part: Part) -> None:
    path = part.folder / FILE
    jobs = part.size.jobs
    part.figures(lower("own_before", memory().own / MEGABYTE, "MB"))
    await _start(part, path)
    until = time.monotonic() + part.size.longest
    left, done = jobs, list[Tenth]()
    for name, stop in (("begin", jobs // 2), ("middle", max(jobs // 50, _LEAST)), ("end", 0)):
        left -= await _claims(part, path, name)
        ended, tenths = await _drain(part, path, left - stop, until)
        left -= ended
        done += tenths
        if time.monotonic() > until:
            part.note(f"the drain was stopped after {part.size.longest / 60:.0f} minutes, {left:,} jobs before its end")
            break
    part.figures(*_drained(done, jobs))
    (ended,) = await starts([path])
    part.figures(
        lower("start_ended", 1e3 * ended, "ms"),
        lower("file", file_size(path) / MEGABYTE, "MB"),
        lower("file_per_job", file_size(path) / jobs, "B"),
    )


def _store(part: Part) -> None:
    """Store them all, in a process of its own, whose caches do not count as memory of the drain."""
    command = [sys.executable, "-m", "benchmarks.long.child", "store", str(part.folder), encode(part.size).decode()]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE) as process:
        if process.wait() != 0:
            raise SystemExit(process.returncode)


async def _start(part: Part, path: Path) -> None:
    small = part.folder / "small.db"
    await make(small, "ready", min(SMALL, part.size.jobs))
    of_small, of_all = await starts([small, path])
    part.progress(f"a start takes {1e3 * of_small:.1f} ms beside {SMALL:,} jobs, {1e3 * of_all:.1f} ms beside all")
    part.figures(
        lower("start_small", 1e3 * of_small, "ms"),
        lower("start", 1e3 * of_all, "ms"),
        lower("start_ratio", of_all / of_small, "×"),
    )
    small.unlink()


async def _claims(part: Part, path: Path, when: str) -> int:
    """Measure claims of 1 and of 32; the number of jobs that this ended."""
    async with opened(path) as store:
        (one,) = await medians([partial(store.claim, 1)], CLAIMS)
        (many,) = await medians([partial(store.claim, 32)], CLAIMS_32)
        ended = await store.leave()
    part.progress(f"claims take {1e6 * one:.0f} µs, of 32 {1e6 * many:.0f} µs")
    part.figures(lower(f"claim_1_{when}", 1e6 * one, "µs"), lower(f"claim_32_{when}", 1e6 * many, "µs"))
    return ended


async def _drain(part: Part, path: Path, jobs: int, until: float) -> tuple[int, list[Tenth]]:
    tenth = -(-part.size.jobs // TENTHS)
    return await drain(path, jobs, tenth, partial(told, part, "drained"), until)


def _drained(tenths: Sequence[Tenth], jobs: int) -> list[Figure]:
    if not tenths:
        return []
    whole = [tenth for tenth in tenths if tenth.jobs >= 0.5 * jobs / TENTHS]  # the others are too short for a rate
    return [
        higher("drained", sum(tenth.jobs for tenth in tenths), "jobs"),
        *rates("drain", whole or tenths),
        lower("drain_own_first", tenths[0].own / MEGABYTE, "MB"),
        lower("drain_own_last", tenths[-1].own / MEGABYTE, "MB"),
        lower("drain_own_max", most_own(tenths), "MB"),
        lower("drain_own_growth", tenths[-1].own / tenths[0].own, "× the first tenth's"),
        lower("drain_resident_max", max(tenth.resident for tenth in tenths) / MEGABYTE, "MB"),
        lower("drain_log_max", max(tenth.log for tenth in tenths) / MEGABYTE, "MB"),
    ]
