"""``python -m benchmarks.account``: where the time of a job goes, counted and timed statement by statement.

Each shape runs twice, warm and alone on a fresh file: as it is, for wall and processor time; and with counters on the
connections and the event loop, for the rest. The counters add a tenth or so to what they time. Counts wander little,
and are the same on every machine that runs the same turns; times do not.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import click
from msgspec import Struct, json

from asyncjobs import JobHandle, JobProcessor, gather
from benchmarks.counters import CountingConnection, CountingLoop, collecting, counted_connections, forget
from benchmarks.jobs import noop, processor
from benchmarks.machine import ROOT, Machine, machine
from benchmarks.report import aligned
from benchmarks.result import Synchronous
from benchmarks.scenarios.throughput import SUBMITTERS, submit_from
from benchmarks.stopwatch import Stopwatch
from benchmarks.targets import COUNT_TARGETS

FIGURES = ROOT / "docs" / "figures" / "account.json"
_FRAME_HEADER = 24
_NEVER = 1 << 40
"""Bytes of a log that is not written back while pages are counted: it only grows."""
Work = Callable[[JobProcessor, int], Awaitable[None]]


class Line(Struct, frozen=True):
    """A kind of statement: how often, and how many µs, a job."""

    name: str
    times: float
    micros: float


class Account(Struct, frozen=True):
    """What a job of this shape costs; all of it is a job's share. Times are µs.

    ``wall`` and ``processor`` are of a run without counters. Of the other one: ``between``, from BEGIN to COMMIT
    outside of statements; ``garbage``, collections; ``reads``, statements of other connections than the writing one.
    """

    shape: str
    jobs: int
    wall: float
    processor: float
    statements: Sequence[Line]
    between: float
    garbage: float
    commits: float
    pages: float
    page_size: int
    reads: float
    tasks: float
    futures: float
    calls: float
    turns: float

    @property
    def sql(self) -> float:
        """Return the µs of all statements of the connection that writes."""
        return sum(line.micros for line in self.statements)

    @property
    def times(self) -> float:
        """Return how many statements that is."""
        return sum(line.times for line in self.statements)


class Accounts(Struct, frozen=True):
    """All shapes; what is written as JSON."""

    machine: Machine
    date: str
    quick: bool
    shapes: Sequence[Account]


# -- the shapes


async def _one_by_one(jp: JobProcessor, jobs: int) -> None:
    await gather(*[await jp.submit_job(noop, value) for value in range(jobs)])


async def _round_trip(jp: JobProcessor, jobs: int) -> None:
    for value in range(jobs):
        await (await jp.submit_job(noop, value))


async def _chain(jp: JobProcessor, jobs: int) -> None:
    async with jp.batch() as batch:
        handle: JobHandle[object] = batch.submit_job(noop, 0)
        for _ in range(jobs - 1):
            handle = batch.submit_job(noop, handle)
    await handle


async def _submitters(jp: JobProcessor, jobs: int) -> None:
    values, handles = iter(range(jobs)), list[JobHandle[object]]()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(SUBMITTERS):
            tasks.create_task(submit_from(jp, values, handles))
    await gather(*handles)


async def _batch(jp: JobProcessor, jobs: int) -> None:
    await gather(*await jp.map_jobs(noop, range(jobs)))


SHAPES: dict[str, tuple[Work, int]] = {
    "one by one": (_one_by_one, 2_000),
    "round trip": (_round_trip, 1_000),
    "chain": (_chain, 500),
    "100 submitters": (_submitters, 5_000),
    "batch": (_batch, 5_000),
}
"""The work, and of how many jobs."""


# -- the measuring


def take(shape: str, jobs: int, folder: Path, synchronous: Synchronous = "NORMAL") -> Account:
    """Run a shape twice, and put the account together."""
    work, _ = SHAPES[shape]
    watch = asyncio.run(_watched(work, jobs, folder / "as-it-is", synchronous))
    with counted_connections() as connections, asyncio.Runner(loop_factory=CountingLoop) as runner:
        return runner.run(_counted(shape, jobs, folder / "counted", synchronous, connections, watch))


async def _watched(work: Work, jobs: int, folder: Path, synchronous: Synchronous) -> tuple[float, float]:
    folder.mkdir()
    async with processor(folder, synchronous=synchronous) as jp:
        await work(jp, 50)
        watch = Stopwatch()
        await work(jp, jobs)
        return 1e6 * watch.seconds() / jobs, 1e6 * watch.processor() / jobs


async def _counted(
    shape: str,
    jobs: int,
    folder: Path,
    synchronous: Synchronous,
    connections: Sequence[CountingConnection],
    watch: tuple[float, float],
) -> Account:
    folder.mkdir()
    work, log = SHAPES[shape][0], folder / "jobs.db-wal"
    loop = asyncio.get_running_loop()
    assert isinstance(loop, CountingLoop)
    async with processor(folder, synchronous=synchronous, checkpoint_size=_NEVER) as jp:
        await work(jp, 50)
        forget(connections)
        loop.forget()
        before = log.stat().st_size
        with collecting() as garbage:
            await work(jp, jobs)
        tasks, futures, calls, turns = (count / jobs for count in (loop.tasks, loop.futures, loop.calls, loop.turns))
        written = log.stat().st_size - before
        writer = max(connections, key=lambda connection: connection.commits)
        found = writer.by_name()
        reads = sum(one.times for other in connections if other is not writer for one in other.by_name().values())
        between, commits = writer.between, writer.commits
        page_size = int(writer.execute("PRAGMA page_size").fetchone()[0])
    wall, used = watch
    lines = [Line(name, one.times / jobs, 1e6 * one.seconds / jobs) for name, one in found.items()]
    return Account(
        shape=f"{shape}, FULL" if synchronous == "FULL" else shape,
        jobs=jobs,
        wall=wall,
        processor=used,
        statements=sorted(lines, key=lambda line: -line.micros),
        between=1e6 * between / jobs,
        garbage=1e6 * sum(garbage) / jobs,
        commits=commits / jobs,
        pages=written / (_FRAME_HEADER + page_size) / jobs,
        page_size=page_size,
        reads=reads / jobs,
        tasks=tasks,
        futures=futures,
        calls=calls,
        turns=turns,
    )


# -- what is shown


def counts(shapes: Sequence[Account]) -> list[tuple[str, ...]]:
    """Return a row for each shape: what a job is made of, in numbers."""
    head = ("a job of", "statements", "commits", "pages", "other reads", "tasks", "futures", "calls", "turns")
    return [head, *((one.shape, *map(count, _counts(one))) for one in shapes)]


def _counts(one: Account) -> tuple[float, ...]:
    return (one.times, one.commits, one.pages, one.reads, one.tasks, one.futures, one.calls, one.turns)


def times(shapes: Sequence[Account]) -> list[tuple[str, ...]]:
    """Return a row for each shape: where the µs go."""
    head = ("µs a job", "wall", "processor", "SQL", "of that COMMIT", "other Python inside", "garbage collection")
    return [head, *((one.shape, *(f"{micros:.0f}" for micros in _times(one))) for one in shapes)]


def _times(one: Account) -> tuple[float, ...]:
    commit = sum(line.micros for line in one.statements if line.name == "COMMIT")
    return (one.wall, one.processor, one.sql, commit, one.between, one.garbage)


def statements(one: Account) -> list[tuple[str, ...]]:
    """Return a row for each kind of statement of a shape."""
    head = (f"statement, {one.shape}", "times a job", "µs a job")
    shown = [line for line in one.statements if line.times >= 0.01 or line.micros >= 0.1]
    return [head, *((line.name, count(line.times), f"{line.micros:.1f}") for line in shown)]


def limits(shapes: Sequence[Account]) -> list[tuple[str, ...]]:
    """Return a row for each limit: what it is of, what was counted, and whether it is kept."""
    by_name = {one.shape: one for one in shapes}
    rows: list[tuple[str, ...]] = []
    for limit in COUNT_TARGETS:
        if limit.shape in by_name:
            value = float(getattr(by_name[limit.shape], limit.counter))
            kept = value <= limit.most + 0.05
            rows.append((limit.shape, limit.name, count(value), f"≤ {count(limit.most)}", "met" if kept else "NOT MET"))
    return [("a job of", "what", "counted", "must", "met"), *rows]


def count(value: float) -> str:
    """Two digits behind the point, none that say nothing."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def text(accounts: Accounts) -> str:
    """All tables, for a terminal."""
    of = accounts.machine
    shapes = accounts.shapes
    tables = [counts(shapes), times(shapes), *map(statements, shapes), limits(shapes)]
    head = f"{of.system}, {of.cores} cores, Python {of.python}, SQLite {of.sqlite}, revision {of.revision}"
    return "\n\n".join([head, *("\n".join(aligned(table)) for table in tables)])


@click.command()
@click.argument("shapes", nargs=-1, type=click.Choice(list(SHAPES)), metavar="[SHAPE]…")
@click.option("--quick", is_flag=True, help="A fifth of the jobs.")
@click.option("--full", is_flag=True, help="With each commit synced.")
@click.option("--docs", is_flag=True, help="Keep it for docs/explanation/performance.md, too.")
def main(shapes: tuple[str, ...], quick: bool, full: bool, docs: bool) -> None:
    """Account for a job of SHAPES (default: all)."""
    if docs and (shapes or full):
        raise click.UsageError("--docs wants all shapes, and NORMAL.")
    found: list[Account] = []
    before = machine()
    with tempfile.TemporaryDirectory(prefix="asyncjobs-account-") as folder:
        for i, shape in enumerate(shapes or SHAPES):
            place = Path(folder) / str(i)
            place.mkdir()
            jobs = SHAPES[shape][1]
            found.append(take(shape, jobs // 5 if quick else jobs, place, "FULL" if full else "NORMAL"))
    accounts = Accounts(before, f"{datetime.now(UTC):%Y-%m-%d}", quick, found)
    click.echo(text(accounts))
    if docs:
        FIGURES.write_bytes(json.format(json.encode(accounts), indent=1) + b"\n")


if __name__ == "__main__":
    main()
