"""Daemons as processes: several on one file, one beside a large backlog, and the kill storm of the tests."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from statistics import median

from msgspec import Struct, json

from asyncjobs import JobProcessor, SQLiteConfig
from benchmarks.backlog_file import make
from benchmarks.daemon import Facts
from benchmarks.jobs import noop
from benchmarks.machine import ROOT
from benchmarks.result import Figure, Place, Result, higher, lower

_TURNS = 3
_MEGABYTE = 1 << 20


class _Daemon:
    """A running one."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.ready = self._hear()

    def _hear(self) -> Facts:
        assert self._process.stdout is not None
        return json.decode(self._process.stdout.readline(), type=Facts)

    def look(self) -> Facts:
        """What it took until now."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"look\n")
        return self._hear()


@contextmanager
def _daemon(path: Path) -> Generator[_Daemon]:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.daemon", str(path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    )
    try:
        yield _Daemon(process)
    finally:
        process.communicate()


class _Ran(Struct):
    """What the file tells: jobs that ended, seconds from the first start to the last end, jobs of each worker."""

    jobs: int
    seconds: float
    shares: list[int]


def _ran(path: Path) -> _Ran:
    with closing(sqlite3.connect(path)) as connection:
        jobs, first, last = connection.execute(
            "SELECT count(*), min(started_at), max(finished_at) FROM jobs WHERE finished_at IS NOT NULL"
        ).fetchone()
        shares = connection.execute(
            "SELECT count(*) FROM jobs WHERE finished_at IS NOT NULL GROUP BY worker"
        ).fetchall()
    return _Ran(jobs, (last - first) / 1e6, sorted(share for (share,) in shares))


# -- 1, 2, 4 of them


def several(place: Place) -> Result:
    """No-op jobs a second by 1, 2 and 4 daemons, taken in turns; and how evenly they share them."""
    jobs = place.pick(20_000, 5_000)
    taken: dict[int, list[tuple[_Ran, float]]] = {1: [], 2: [], 4: []}
    for turn in range(place.pick(_TURNS, 1)):
        for count, runs in taken.items():
            runs.append(_share(place.folder / f"{count}-{turn}.db", count, jobs))
    rates = {count: median(ran.jobs / ran.seconds for ran, _ in runs) for count, runs in taken.items()}
    figures: list[Figure] = []
    for count, runs in taken.items():
        figures.append(higher(f"jobs_{count}", rates[count], "jobs/s"))
        figures.append(lower(f"processor_{count}", median(1e6 * used / jobs for _, used in runs), "µs/job"))
        if count > 1:
            figures.append(higher(f"times_one_{count}", rates[count] / rates[1], "×"))
            figures.append(
                higher(f"fairness_{count}", median(r.shares[0] / r.shares[-1] for r, _ in runs), "least/most")
            )
    return Result(tuple(figures), (f"{jobs:,} no-op jobs, stored as one batch by a process that runs none",))


def _share(path: Path, count: int, jobs: int) -> tuple[_Ran, float]:
    with ExitStack() as stack:
        daemons = [stack.enter_context(_daemon(path)) for _ in range(count)]
        asyncio.run(_submit(path, jobs))
        used = sum(daemon.look().processor for daemon in daemons)
    ran = _ran(path)
    if ran.jobs != jobs:
        raise AssertionError(f"{ran.jobs} of {jobs} jobs have ended")
    return ran, used


async def _submit(path: Path, jobs: int) -> None:
    async with JobProcessor(SQLiteConfig(db_path=path), enable_daemon=False) as jp:
        await jp.map_jobs(noop, range(jobs))
        await jp.drain()


# -- one, and a backlog


def backlog(place: Place) -> Result:
    """A daemon's start, rate and memory on 10,000 and on 1,000,000 ready jobs, within the same time."""
    sizes = (10_000, place.pick(1_000_000, 100_000))
    figures: list[Figure] = []
    rates: list[float] = []
    for name, size in zip(("small", "large"), sizes, strict=True):
        path = place.folder / f"{size}.db"
        asyncio.run(make(path, "ready", size))
        with _daemon(path) as daemon:
            time.sleep(place.pick(6, 2))
            facts = daemon.look()
        ran = _ran(path)
        rates.append(ran.jobs / ran.seconds)
        figures += [
            lower(f"start_{name}", 1e3 * daemon.ready.start, "ms"),
            higher(f"jobs_{name}", rates[-1], "jobs/s"),
            lower(f"own_{name}", facts.own / _MEGABYTE, "MB"),
            lower(f"own_ready_{name}", daemon.ready.own / _MEGABYTE, "MB"),
        ]
    figures.append(higher("jobs_large_share", rates[1] / rates[0], "of small"))
    return Result(
        tuple(figures), (f"{sizes[0]:,} and {sizes[1]:,} ready jobs; memory after {place.pick(6, 2)} s of them",)
    )


# -- the storm


def storm(place: Place) -> Result:
    """Daemons that are killed and frozen while they run random graphs; whatever the witnesses find ends it."""
    from tests.faults.storm import Weather
    from tests.faults.storm import storm as rage
    from tests.faults.storm_stores import InFile

    weather = (
        Weather(kills=10, freezes=1, client_kills=1, graphs=1, size=80)
        if place.quick
        else Weather(kills=200, freezes=16, client_kills=8, graphs=8, size=500, longest=1500)
    )
    seed = time.time_ns() % 2**32
    came = rage(InFile(place.folder / "storm.db"), place.folder, seed, weather)
    if came.problems:
        raise AssertionError(f"seed {seed}: {came.problems[:20]}")
    return Result(
        (
            higher("kills", sum(came.kills.values()), "SIGKILLs"),
            higher("freezes", came.freezes, "SIGSTOPs"),
            higher("jobs", came.jobs, "jobs"),
            lower("interruptions", came.interruptions, "attempts"),
            higher("refused", came.stale, "late outcomes"),
            lower("seconds", came.seconds, "s"),
        ),
        (f"seed {seed}: nothing lost, nothing twice, nothing out of order",),
    )
