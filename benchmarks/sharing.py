"""Daemons as processes that share one file: how fast they are together, and what each pays for that."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from statistics import median

from msgspec import Struct, json

from asyncjobs import JobProcessor, SQLiteConfig
from benchmarks.daemon import Facts
from benchmarks.jobs import compute, noop
from benchmarks.machine import ROOT
from benchmarks.result import Figure, higher, lower

COUNTS = (1, 2, 4)
SHORT = 0.005
"""Seconds of processor time of the jobs that compute."""


class Daemon:
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
def daemon(path: Path) -> Generator[Daemon]:
    """One more on this file. It ends with the block, or with this process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.daemon", str(path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    )
    try:
        yield Daemon(process)
    finally:
        process.communicate()


class Ran(Struct):
    """What the file tells: jobs that ended, seconds from the first start to the last end, jobs of each worker."""

    jobs: int
    seconds: float
    shares: list[int]

    @property
    def rate(self) -> float:
        """Jobs a second."""
        return self.jobs / self.seconds


def ran(path: Path) -> Ran:
    """Read it."""
    with closing(sqlite3.connect(path)) as connection:
        jobs, first, last = connection.execute(
            "SELECT count(*), min(started_at), max(finished_at) FROM jobs WHERE finished_at IS NOT NULL"
        ).fetchone()
        shares = connection.execute(
            "SELECT count(*) FROM jobs WHERE finished_at IS NOT NULL GROUP BY worker"
        ).fetchall()
    return Ran(jobs, (last - first) / 1e6, sorted(share for (share,) in shares))


class Work(Struct, frozen=True):
    """So many jobs of a function; ``name`` begins the names of their figures."""

    name: str
    function: Callable[..., object]
    arguments: Sequence[float]


def no_ops(jobs: int) -> Work:
    """Jobs of which the engine is all the cost."""
    return Work("", noop, range(jobs))


def computing(jobs: int) -> Work:
    """Jobs of 5 ms of Python each."""
    return Work("computing_", compute, [SHORT] * jobs)


class Turn(Struct, frozen=True):
    """What came of one turn; seconds and numbers of all its daemons together."""

    ran: Ran
    processor: float
    commits: int
    held: float
    waited: float
    refused: int

    def each(self, value: float) -> float:
        """Microseconds a job."""
        return 1e6 * value / self.ran.jobs


def share(folder: Path, work: Work, turns: int, told: Callable[[str], None] = lambda _: None) -> list[Figure]:
    """Jobs a second by 1, 2 and 4 daemons, taken in turns; how evenly they share them, and what the lock costs."""
    taken: dict[int, list[Turn]] = {count: [] for count in COUNTS}
    for turn in range(turns):
        for count, of_count in taken.items():
            path = folder / f"{work.name}{count}-{turn}.db"
            of_count.append(_turn(path, count, work))
            told(f"{count} daemons, turn {turn + 1} of {turns}: {of_count[-1].ran.rate:,.0f} jobs/s")
            _remove(path)
    figures: list[Figure] = []
    for count, of_count in taken.items():
        figures += _figures(work.name, count, of_count, median(turn.ran.rate for turn in taken[1]))
    return figures


def _figures(name: str, count: int, turns: Iterable[Turn], alone: float) -> list[Figure]:
    turns = list(turns)
    rate = median(turn.ran.rate for turn in turns)
    figures = [
        higher(f"{name}jobs_{count}", rate, "jobs/s"),
        lower(f"{name}processor_{count}", median(turn.each(turn.processor) for turn in turns), "µs/job"),
        lower(f"{name}commits_{count}", median(turn.commits / turn.ran.jobs for turn in turns), "a job"),
        lower(f"{name}lock_held_{count}", median(turn.each(turn.held) for turn in turns), "µs/job"),
        lower(f"{name}lock_share_{count}", median(turn.held / turn.ran.seconds for turn in turns), "of the time"),
        lower(f"{name}lock_waited_{count}", median(turn.each(turn.waited) for turn in turns), "µs/job"),
        lower(f"{name}lock_refused_{count}", median(turn.refused / turn.commits for turn in turns), "tries/commit"),
    ]
    if count > 1:
        fairness = median(turn.ran.shares[0] / turn.ran.shares[-1] for turn in turns)
        figures += [
            higher(f"{name}times_one_{count}", rate / alone, "×"),
            higher(f"{name}fairness_{count}", fairness, "least/most"),
        ]
    return figures


def _turn(path: Path, count: int, work: Work) -> Turn:
    with ExitStack() as stack:
        daemons = [stack.enter_context(daemon(path)) for _ in range(count)]
        before = [each.ready.lock for each in daemons]
        asyncio.run(_submit(path, work))
        facts = [each.look() for each in daemons]
    found = ran(path)
    if found.jobs != len(work.arguments):
        raise AssertionError(f"{found.jobs} of {len(work.arguments)} jobs have ended")
    return Turn(
        found,
        sum(each.processor for each in facts),
        sum(each.lock.commits for each in facts) - sum(each.commits for each in before),
        sum(each.lock.held for each in facts) - sum(each.held for each in before),
        sum(each.lock.waited for each in facts) - sum(each.waited for each in before),
        sum(each.lock.refused for each in facts) - sum(each.refused for each in before),
    )


async def _submit(path: Path, work: Work) -> None:
    async with JobProcessor(SQLiteConfig(db_path=path), enable_daemon=False) as jp:
        await jp.map_jobs(work.function, work.arguments)
        await jp.drain()


def _remove(path: Path) -> None:
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()
