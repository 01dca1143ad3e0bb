"""Several daemons on one file that are well: work is shared, nobody is in another's way, nothing leaks.

``ASYNCJOBS_STORM=long`` has eight processes work for a minute (``ASYNCJOBS_TEST_SECONDS`` says how long).
"""

from __future__ import annotations

import os
import signal
import sqlite3
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import anyio
import pytest

from asyncjobs import JobProcessor, JobStatus, RetryPolicy, SQLiteConfig
from asyncjobs.backends.sqlite import schema
from asyncjobs.exceptions import WorkerLostError
from tests.faults import bodies, checker, storm_bodies
from tests.faults.children import Child, first_words
from tests.faults.storm import Heard

SCENARIOS = "tests.faults.storm_scenarios"
LONG = os.environ.get("ASYNCJOBS_STORM") == "long"
SECONDS = float(os.environ.get("ASYNCJOBS_TEST_SECONDS", "60" if LONG else "8"))
LEASE = 15.0

pytestmark = [pytest.mark.slow, pytest.mark.untraced]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


Start = Callable[..., list[Heard]]


@pytest.fixture
def start(path: Path, ledger: Path) -> Iterator[Start]:
    """Start so many programs on the file, and wait until each has it open."""
    with ExitStack() as stack:

        def start(count: int, *arguments: object) -> list[Heard]:
            name, *rest = arguments
            children = [Heard(SCENARIOS, name, path, *rest, ledger=ledger) for _ in range(count)]
            for child in children:
                stack.enter_context(child)
            for child in children:
                child.until("opened")
            return children

        yield start


class Served:
    """What a daemon says that it did."""

    def __init__(self, child: Child) -> None:
        child.say("tell")
        ended, commits, processor = child.until("served")
        self.ended, self.commits, self.processor = int(ended), int(commits), float(processor)


def leave(children: Sequence[Child]) -> None:
    for child in children:
        child.say("leave")
    for child in children:
        assert child.end() == 0, child.errors()


async def run_all(path: Path, function: Callable[..., object], calls: Sequence[tuple[object, ...]]) -> float:
    """Submit as one batch, and wait until all have ended; returns seconds."""
    async with JobProcessor(SQLiteConfig(db_path=path), enable_daemon=False) as jp:
        began = time.monotonic()
        async with jp.batch() as batch:
            for args in calls:
                batch.submit_job(function, *args)
        await jp.drain()
        return time.monotonic() - began


# -- equal shares


@pytest.mark.serial
@pytest.mark.parametrize(("function", "args", "count"), [("nap", (0.02,), 1200), ("add", (1, 2), 12_000)])
def test_four_daemons_share_the_work(
    path: Path, start: Start, function: str, args: tuple[object, ...], count: int
) -> None:
    """Whether the bodies take the time, or the file does."""
    children = start(4, "serve", LEASE, 4)
    seconds = anyio.run(run_all, path, getattr(storm_bodies, function), [args] * count)
    served = [Served(child) for child in children]
    leave(children)
    shares = sorted(each.ended for each in served)
    print(
        f"{function}: {shares} of {count} jobs, {count / seconds:.0f} jobs/s, {sum(s.commits for s in served)} commits"
    )
    assert sum(shares) == count
    assert shares[0] / shares[-1] >= 0.5
    assert checker.check_log(checker.read_store(path)) == []


# -- no stampede


@pytest.mark.serial
def test_a_job_that_comes_wakes_each_daemon_once(path: Path, start: Start) -> None:
    """One of four runs it; the others look, and that is all: nobody's look is news to the others."""
    children = start(4, "serve", LEASE, 4)
    before = [Served(child) for child in children]
    jobs = 10

    async def one_by_one() -> None:
        async with JobProcessor(SQLiteConfig(db_path=path), enable_daemon=False) as jp:
            for _ in range(jobs):
                await (await jp.submit_job(storm_bodies.add, 1, 2))

    began = time.monotonic()
    anyio.run(one_by_one)
    seconds = time.monotonic() - began
    after = [Served(child) for child in children]
    leave(children)
    commits = sum(b.commits - a.commits for a, b in zip(before, after, strict=True))
    print(f"{commits / jobs:.1f} transactions a job in {len(children)} daemons, {1000 * seconds / jobs:.0f} ms a job")
    # Each looks once for the submission, once for the end; the one that runs it claims and finishes.
    assert commits <= jobs * (2 * len(children) + 2) + 2 * len(children) * seconds


@pytest.mark.first
def test_daemons_that_run_something_do_not_wake_each_other(path: Path, start: Start) -> None:
    """A renewed lease is a change of the file, at which the others look whether they were asked to stop."""
    children = start(4, "serve", LEASE, 1)
    anyio.run(submit_all, path, bodies.wait_for_ever, 4)
    for child in children:
        child.until("started")
    seconds = 3.0
    with closing(sqlite3.connect(path)) as connection:
        versions = set()
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            versions.add(connection.execute("PRAGMA data_version").fetchone()[0])
            time.sleep(0.005)
    print(f"{len(versions)} changes of the file in {seconds:g} s")
    # Each beats once, or at most twice, in this time, by its thread and by its loop.
    assert len(versions) <= 16


async def submit_all(path: Path, function: Callable[..., object], count: int) -> None:
    async with JobProcessor(SQLiteConfig(db_path=path), enable_daemon=False) as jp:
        for _ in range(count):
            await jp.submit_job(function)
        jp._submitted = 0


@pytest.mark.serial
def test_idle_daemons_cost_next_to_nothing(start: Start) -> None:
    children = start(4, "serve", LEASE, 32)
    before = [Served(child) for child in children]
    began = time.monotonic()
    time.sleep(4)
    after = [Served(child) for child in children]
    shares = [(b.processor - a.processor) / (time.monotonic() - began) for a, b in zip(before, after, strict=True)]
    leave(children)
    print("of a core: " + ", ".join(f"{share:.2%}" for share in shares))
    assert statistics.median(shares) < 0.03, "0.01 on a machine that has nothing else to do"


# -- all of them submit, and run


@pytest.mark.serial
@pytest.mark.timeout(SECONDS + 120)
def test_eight_processes_submit_and_run(path: Path, ledger: Path, start: Start) -> None:
    children = start(8, "work_for", SECONDS)
    for child in children:
        child.patience += SECONDS  # they say something after a third of it, and at the end
        child.say("begin")
    began = time.monotonic()
    said = [child.rest() for child in children]
    seconds = time.monotonic() - began
    assert [child.end() for child in children] == [0] * 8, children[0].errors()
    errors = [" ".join(words) for lines in said for words in first_words(lines, "error")]
    assert not errors, errors[:3]
    assert "is locked" not in ledger.with_suffix(".stderr").read_text()
    done = [int(first_words(lines, "done")[0][0]) for lines in said]
    took = [[[int(word) for word in words] for words in first_words(lines, "took")] for lines in said]
    print(f"{sum(done)} jobs by 8 processes in {seconds:.1f} s: {sum(done) / SECONDS:.0f} jobs/s, each {sorted(done)}")
    for what, i, allowed in (("KiB", 0, 24_000), ("descriptors", 1, 4), ("threads", 2, 10)):
        early, late = ([each[when][i] for each in took] for when in (0, 1))
        print(f"{what}: {max(early)} at most after a third, {max(late)} at the end")
        assert all(b - a <= allowed for a, b in zip(early, late, strict=True)), (what, early, late)
    stored = checker.read_store(path)
    assert checker.check_log(stored) == []
    assert {job.status for job in stored.jobs.values()} == {JobStatus.COMPLETED}
    assert len(stored.jobs) == sum(done)


# -- a job that kills whoever runs it


@pytest.mark.first
def test_a_killer_takes_three_daemons_with_it_and_no_neighbour(path: Path, start: Start) -> None:
    children = start(4, "serve", LEASE, 4)

    async def submit_killer_among_others() -> None:
        async with JobProcessor(SQLiteConfig(db_path=path), enable_daemon=False) as jp:
            # Those that die with it come back at other times than it does, and so not beside it again and again.
            quick = RetryPolicy(base=1.0, factor=1.0)
            async with jp.batch() as batch:
                killer = batch.submit_job(bodies.kill_the_process, retry=quick)
                others = [batch.submit_job(storm_bodies.nap, 0.05, retry=quick) for _ in range(100)]
            await jp.drain()
            with pytest.raises(WorkerLostError):
                await killer
            assert {(await jp.get_job(other)).status for other in others} == {JobStatus.COMPLETED}

    anyio.run(submit_killer_among_others)
    alive = [child for child in children if child.process.poll() is None]
    assert [child.end() for child in children if child not in alive] == [-signal.SIGKILL] * 3
    leave(alive)
    assert checker.check_log(checker.read_store(path)) == []


# -- a file that somebody else makes at this very moment


class Interrupted(sqlite3.Connection):
    """Another process makes the tables after the ``after``-th statement."""

    after = 0
    other: sqlite3.Connection

    def execute(self, *args: object) -> sqlite3.Cursor:
        cursor = super().execute(*args)
        self.after -= 1
        if self.after == 0:
            schema.migrate(self.other, "the same file")
        return cursor


@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_new_file_is_never_taken_for_another_programs(path: Path, after: int) -> None:
    with closing(sqlite3.connect(path, factory=Interrupted, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            connection.other, connection.after = other, after
            assert schema.read_version(connection, str(path)) in (0, schema.VERSION)
            schema.migrate(connection, str(path))
    with closing(sqlite3.connect(path)) as connection:
        assert schema.read_version(connection, str(path)) == schema.VERSION
