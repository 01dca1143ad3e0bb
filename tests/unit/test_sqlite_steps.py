"""Steps in a file: the order of phases, what each statement costs, and how upkeep deletes what no longer counts."""

from __future__ import annotations

import os
import re
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from asyncjobs import SQLiteBackend, SQLiteConfig
from asyncjobs.backends.sqlite import removal, steps
from asyncjobs.backends.sqlite.writer import Writer
from asyncjobs.core.requests import Forget, Keep
from asyncjobs.core.state import Stale
from tests.conformance.support import COMPLETED, FATAL, PENDING, RELEASED, SUCCESS, Hand, Store, new
from tests.unit.sqlite_store import Store as File
from tests.unit.sqlite_store import new_store

pytestmark = pytest.mark.anyio

STATEMENTS = 17
"""Statements of the writer for the submit, the claim and the end of a job, as many as before there were steps."""


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    config = SQLiteConfig(db_path=tmp_path / "jobs.db", readers=1)
    async with Store(lambda clock: SQLiteBackend(config, clock=clock)) as store:
        yield store


@pytest.fixture
def file(tmp_path: Path) -> Iterator[File]:
    with new_store(SQLiteConfig(db_path=tmp_path / "jobs.db")) as file:
        yield file


async def running(store: Store, *ids: str) -> Hand:
    await store.submit(*map(new, ids))
    hand = await store.hand()
    assert await hand.claim() == list(ids)
    return hand


# -- the order of the phases


async def test_what_is_kept_in_the_group_of_its_end_is_kept(store: Store) -> None:
    hand = await running(store, "a", "b")
    answers: dict[str, object] = {}

    async def end() -> None:
        answers["end"] = await hand.ends({"a": SUCCESS, "b": RELEASED})

    async def keep(job_id: str) -> None:
        answers[job_id] = await hand.keep(job_id, x=b"1")

    writer: Writer = store.backend._writer
    before = writer.commits
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(end)
        tasks.start_soon(keep, "a")
        tasks.start_soon(keep, "b")
    assert writer.commits == before + 1
    assert answers == {"end": [COMPLETED, PENDING], "a": [None], "b": [None]}
    assert await store.steps("a") == await store.steps("b") == {"x": b"1"}


async def test_what_is_kept_in_the_group_of_its_removal_is_stale(store: Store) -> None:
    hand = await running(store, "a")
    await hand.succeed("a")
    answers: list[object] = []

    async def keep() -> None:
        answers.extend(await hand.keep("a", x=b"1"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(keep)
        tasks.start_soon(store.backend.remove_jobs, ["a"])
    assert answers != [None]
    assert await rows(store, "steps") == 0


async def test_a_retry_and_a_keep_of_one_group_are_done_in_some_order(store: Store) -> None:
    """The attempt has ended, so the keep is stale in either."""
    hand = await running(store, "a")
    await hand.keep("a", x=b"1")
    await hand.fail("a")
    answers: list[object] = []

    async def keep() -> None:
        answers.extend(await hand.keep("a", x=b"2"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(store.backend.retry_job, "a", fresh=True))
        tasks.start_soon(keep)
    assert [type(answer) for answer in answers] == [Stale]
    assert await store.steps("a") == {}


async def rows(store: Store, table: str) -> int:
    config: SQLiteConfig = store.backend.config
    with closing(sqlite3.connect(config.file)) as connection:
        return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


# -- who commits


class Committers:
    """A hook that knows who committed."""

    def __init__(self) -> None:
        self.on_the_loop: list[bool] = []

    def __call__(self, point: str) -> None:
        if point == "after-commit":
            self.on_the_loop.append(threading.current_thread() is threading.main_thread())


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[tuple[Store, Committers]]:
    config, hook = SQLiteConfig(db_path=tmp_path / "jobs.db", readers=1), Committers()
    async with Store(lambda clock: SQLiteBackend(config, clock=clock, hook=hook)) as store:
        yield store, hook


@pytest.mark.parametrize(("size", "on_the_loop"), [(0, True), (60_000, True), (66_000, False), (8 << 20, False)])
async def test_large_values_are_not_written_on_the_loop(
    watched: tuple[Store, Committers], size: int, on_the_loop: bool
) -> None:
    store, hook = watched
    hand = await running(store, "a")
    await hand.keep("a", x=b"v" * size)
    kept = hook.on_the_loop[-1]
    await hand.end("a", replace(SUCCESS, value=b"v" * size))
    ended = hook.on_the_loop[-1]
    await store.submit(new("b", call=b"v" * size))
    assert (kept, ended, hook.on_the_loop[-1]) == (on_the_loop,) * 3


async def test_neither_are_many_small_ones_of_one_group(watched: tuple[Store, Committers]) -> None:
    store, hook = watched
    hand = await running(store, "a", "b", "c")
    async with anyio.create_task_group() as tasks:
        for job_id in "abc":
            tasks.start_soon(partial(hand.keep, job_id, x=b"v" * 30_000))
    assert not hook.on_the_loop[-1]
    outcome = replace(SUCCESS, value=b"v" * 30_000)
    assert await hand.ends(dict.fromkeys("abc", outcome)) == [COMPLETED] * 3
    assert not hook.on_the_loop[-1]


async def test_what_is_forgotten_may_be_large_and_is_not_deleted_on_the_loop(
    watched: tuple[Store, Committers],
) -> None:
    store, hook = watched
    hand = await running(store, "a")
    await hand.forget("a", "")
    assert not hook.on_the_loop[-1]


@pytest.mark.parametrize("size", [(1 << 20) + 1, (2 << 20) + 12_345])
async def test_large_values_are_written_in_parts(store: Store, size: int) -> None:
    """While a thread binds a value it holds the GIL, and the loop stands still: 1 ms for each MiB."""
    value = os.urandom(size)
    large, small = replace(SUCCESS, value=value), replace(SUCCESS, value=b"small")
    statements = traced(store)
    await store.submit(new("a", call=value), new("b"), new("c", call=value[::-1]))
    hand = await store.hand()
    claims = {job.attempt.job_id: job.call for job in (await hand.claims()).jobs}
    assert claims == {"a": value, "b": b"call", "c": value[::-1]}
    await hand.keep("a", first=b"1", large=value, last=b"2")
    await hand.keep("a", large=value[::-1])
    attempt = hand.held["b"]
    await store.backend.write_steps(
        [
            Keep(attempt, "x", value),
            Keep(attempt, "x", b"small"),
            Keep(attempt, "y", b"small"),
            Keep(attempt, "y", value),
        ]
    )
    assert await hand.ends({"a": large, "b": small, "c": large}) == [COMPLETED] * 3
    written = [text.split()[1] for text in statements if "zeroblob" in text]
    assert written == ["calls_apart", "calls_apart", "steps", "steps", "steps", "results_apart", "results_apart"]
    assert await store.steps("a") == {"first": b"1", "large": None, "last": b"2"}
    assert await store.backend.read_step("a", "large") == value[::-1]
    assert await store.steps("b") == {"x": b"small", "y": None}
    assert await store.backend.read_step("b", "y") == value
    results = await store.backend.get_results(["a", "b", "c"])
    assert [results[job_id].value for job_id in "abc"] == [value, b"small", value]


class Deleting:
    """A hook that counts the transactions, and calls something after one of them."""

    def __init__(self) -> None:
        self.commits = 0
        self.then: Callable[[], object] = lambda: None

    def __call__(self, point: str) -> None:
        if point == "after-commit":
            self.commits += 1
            self.then()


async def test_many_steps_are_forgotten_in_bounded_transactions(tmp_path: Path) -> None:
    config, hook = SQLiteConfig(db_path=tmp_path / "jobs.db", readers=1), Deleting()
    async with Store(lambda clock: SQLiteBackend(config, clock=clock, hook=hook)) as store:
        hand = await running(store, "a", "b")
        attempt = hand.held["a"]
        await store.backend.write_steps([Keep(attempt, f"k{i:05}", b"v") for i in range(12_000)])
        await hand.keep("b", k=b"of b")
        left: list[int] = []

        def count() -> None:
            with closing(sqlite3.connect(config.file)) as connection:
                left.append(connection.execute("SELECT count(*) FROM steps WHERE job = 1").fetchone()[0])

        hook.then = count
        changes = [Keep(attempt, "a", b"1"), Keep(attempt, "k", b"1"), Forget(attempt, "k"), Keep(attempt, "k1", b"2")]
        assert list(await store.backend.write_steps(changes)) == [None] * 4
        assert left == [7002, 2002, 1, 2], "5,000 at most with each, and the last change after all of them"
        hook.then = lambda: None
        assert await store.steps("a") == {"a": b"1", "k1": b"2"}
        assert await store.steps("b") == {"k": b"of b"}


async def test_an_attempt_that_ends_in_between_forgets_no_more(tmp_path: Path) -> None:
    config = SQLiteConfig(db_path=tmp_path / "jobs.db", readers=1)
    async with Store(lambda clock: SQLiteBackend(config, clock=clock)) as store:
        hand = await running(store, "a")
        attempt = hand.held["a"]
        await store.backend.write_steps([Keep(attempt, f"k{i:05}", b"v") for i in range(12_000)])

        async def end() -> None:
            while await store.backend.count_steps("a") == 12_000:
                await anyio.sleep(0)
            await hand.end("a", RELEASED)

        answers: list[object] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(end)
            answers += await store.backend.write_steps([Forget(attempt, ""), Keep(attempt, "late", b"1")])
        if answers[0] is None:  # it was faster
            assert await store.backend.count_steps("a") in (0, 1)
        else:
            assert answers == [Stale(1, PENDING)] * 2
            assert await store.backend.count_steps("a") in (7000, 2000)


# -- what it costs


def traced(store: Store) -> list[str]:
    """The statements of the writer, from now on."""
    statements: list[str] = []
    writer: Writer = store.backend._writer
    writer.connection.set_trace_callback(statements.append)
    return statements


async def test_a_job_without_steps_costs_no_statement_more(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("warm"))
    await hand.run("warm")
    statements = traced(store)
    await store.submit(new("a"))
    await hand.run("a")
    assert len(statements) == STATEMENTS
    assert not [text for text in statements if "steps " in text or "outdated" in text]
    written = [text for text in statements if text.startswith(("INSERT", "UPDATE jobs"))]
    assert len(written) == 6
    assert not [text for text in written if "generation" in text]


async def test_a_retried_job_is_written_with_its_numbers_by_the_same_statements(store: Store) -> None:
    hand = await running(store, "a", "b")
    await hand.fail("a", "b")
    await store.backend.retry_job("a")
    statements = traced(store)
    await hand.run("a")
    retried = len(statements)
    await store.backend.retry_job("b")
    del statements[:]
    await hand.run("b")
    assert len(statements) == retried
    assert await numbers(store, "a", "b") == [(1, 0), (1, 0)]


async def test_the_two_numbers_are_kept_by_every_later_write(store: Store) -> None:
    hand = await running(store, "a", "b")
    await hand.fail("a", "b")
    for fresh, expected in ((False, (1, 0)), (True, (2, 2)), (False, (3, 2)), (True, (4, 4))):
        await store.backend.retry_job("a", fresh=fresh)
        assert await numbers(store, "a", "b") == [expected, (0, 0)]
        assert await hand.claim() == ["a"]
        await hand.end("a", RELEASED)
        await store.submit(new(f"other-{expected[0]}"))
        assert sorted(await hand.claim()) == ["a", f"other-{expected[0]}"]
        await hand.ends({"a": FATAL, f"other-{expected[0]}": SUCCESS})
        assert await numbers(store, "a", "b") == [expected, (0, 0)]


async def numbers(store: Store, *ids: str) -> list[tuple[int, int]]:
    config: SQLiteConfig = store.backend.config
    with closing(sqlite3.connect(config.file)) as connection:
        return [
            connection.execute("SELECT generation, steps_from FROM jobs WHERE id = ?", (job_id,)).fetchone()
            for job_id in ids
        ]


@pytest.mark.parametrize("kept", [10, 1000])
async def test_a_keep_costs_the_same_however_many_there_are(store: Store, kept: int) -> None:
    hand = await running(store, "a")
    await hand.keep("a", **{f"k{i:04}": b"v" for i in range(kept)})
    statements = traced(store)
    await hand.keep("a", new=b"v")
    assert [text.split()[0] for text in statements] == ["BEGIN", "PRAGMA", "INSERT", "COMMIT"]
    del statements[:]
    await hand.keep("a", new=b"v2")
    assert [text.split()[0] for text in statements] == ["BEGIN", "PRAGMA", "INSERT", "COMMIT"]


def fill(file: File, count: int, size: int, *, job: int = 1, generation: int = 0) -> None:
    file.job(job)
    file.connection.execute(
        f"WITH RECURSIVE t(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM t WHERE i < {count}) "
        f"INSERT INTO steps(job, key, generation, value) SELECT {job}, printf('k%06d', i), {generation}, "
        f"zeroblob({size}) FROM t"
    )


def instructions(file: File, sql: str, parameters: Sequence[Any]) -> int:
    taken = 0

    def count() -> None:
        nonlocal taken
        taken += 1

    file.connection.set_progress_handler(count, 1)
    file.connection.execute(sql, tuple(parameters)).fetchall()
    file.connection.set_progress_handler(None, 0)
    return taken


@pytest.mark.parametrize("sql", [steps._PAGE, steps._SIZES], ids=["page", "sizes"])
def test_a_page_costs_its_steps_however_many_follow(tmp_path: Path, sql: str) -> None:
    taken: list[int] = []
    for count in (10, 1000, 10_000):
        with new_store(SQLiteConfig(db_path=tmp_path / f"{count}.db")) as file:
            fill(file, count, 20)
            taken.append(instructions(file, sql, ("job-1", "", 10)))
            if count == 1000:
                thousand = instructions(file, sql, ("job-1", "", 1001))
    assert taken[0] == pytest.approx(taken[1], abs=20) == taken[2]
    assert thousand <= 100 * taken[0]


@pytest.mark.parametrize(
    ("sql", "parameters"),
    [
        (steps._PAGE, ("job-1", "", 10)),
        (steps._SIZES, ("job-1", "", 10)),
        (steps._ONE, ("job-1", "k")),
        (steps._COUNT, ("job-1",)),
        (steps._NOTE, (1, 1)),
        (f"{steps._FORGET} LIMIT 9", (1, "k")),
        (f"{steps._FORGET} AND key < ? LIMIT 9", (1, "k", "l")),
        (f"{removal._STEPS} LIMIT 9", ("[1,2]",)),
        (f"{removal._OUTDATED} LIMIT 9", ("[1,2]",)),
    ],
)
def test_every_statement_finds_its_rows_by_the_index(file: File, sql: str, parameters: tuple[Any, ...]) -> None:
    for job in range(1, 50):
        fill(file, 50, 5, job=job)
    plan = [step[3] for step in file.connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]
    assert [step for step in plan if "steps_key (job=?" in step]
    bounded = ("SCAN l", "SCAN p")
    assert not [step for step in plan if re.match(r"SCAN (?!k\b|CONSTANT|\()", step) and step not in bounded]
    if sql != steps._PAGE:  # which sorts the rows that it has limited
        assert not [step for step in plan if "TEMP B-TREE" in step]


def bytes_read() -> int:
    return int(Path("/proc/self/io").read_text().split()[1])


@pytest.mark.skipif(not os.path.exists("/proc/self/io"), reason="the system counts no bytes of a process")
def test_keys_and_sizes_are_listed_without_reading_values(tmp_path: Path) -> None:
    config = SQLiteConfig(db_path=tmp_path / "jobs.db")
    with new_store(config) as file:
        fill(file, 40, 1 << 20)
    read: list[int] = []
    for sql, parameters in (
        (steps._SIZES, ("job-1", "", 1000)),
        (steps._PAGE, ("job-1", "", 1000)),
        (steps._COUNT, ("job-1",)),
        ("SELECT sum(length(CAST(value AS TEXT))) FROM steps", ()),
    ):
        with closing(sqlite3.connect(config.file)) as connection:
            before = bytes_read()
            assert connection.execute(sql, parameters).fetchall()
            read.append(bytes_read() - before)
    assert max(read[:3]) < 1 << 20
    assert read[3] > 40 << 20, "what reads them is seen"


@pytest.mark.skipif(not os.path.exists("/proc/self/io"), reason="the system counts no bytes of a process")
def test_a_step_of_a_thousand_costs_no_more_bytes_to_read_than_one_of_ten(tmp_path: Path) -> None:
    per_step: list[float] = []
    for count in (10, 1000):
        config = SQLiteConfig(db_path=tmp_path / f"{count}.db")
        with new_store(config) as file:
            fill(file, count, 1000)
        with closing(sqlite3.connect(config.file)) as connection:
            before = bytes_read()
            found = connection.execute(steps._PAGE, ("job-1", "", 1001)).fetchall()
            per_step.append((bytes_read() - before) / len(found))
    assert 0 < per_step[1] <= per_step[0]


async def test_a_step_of_a_thousand_costs_no_more_bytes_to_write_than_one_of_ten(tmp_path: Path) -> None:
    config = SQLiteConfig(db_path=tmp_path / "jobs.db", checkpoint_size=1 << 30)
    log = tmp_path / "jobs.db-wal"
    async with Store(lambda clock: SQLiteBackend(config, clock=clock)) as store:
        written: list[float] = []
        hand = await running(store, "ten", "thousand")
        for job_id, kept in (("ten", 10), ("thousand", 1000)):
            await hand.keep(job_id, **{f"k{i:04}": b"v" * 100 for i in range(kept)})
            before = log.stat().st_size
            for i in range(40):
                await hand.keep(job_id, **{f"new{i:04}": b"v" * 100})
            written.append((log.stat().st_size - before) / 40)
        # A page of the table, one of the index, and now and then one more where a page is full.
        assert written[1] <= 1.3 * written[0] <= 1.3 * 4 * 4200


# -- upkeep


def clear_all(file: File) -> list[int]:
    """Clear until nothing is left; returns how many steps each time deleted."""
    deleted: list[int] = []
    more = True
    while more:
        before = file.connection.execute("SELECT count(*) FROM steps").fetchone()[0]
        more = removal.clear(file.connection)
        deleted.append(before - file.connection.execute("SELECT count(*) FROM steps").fetchone()[0])
    return deleted


@pytest.mark.parametrize(("count", "size", "most"), [(12_000, 10, 5000), (40, 1 << 20, 16), (3, 20 << 20, 1)])
def test_old_steps_are_deleted_in_bounded_steps(file: File, count: int, size: int, most: int) -> None:
    fill(file, count, size)
    fill(file, 7, 10, job=2)
    file.connection.execute("UPDATE jobs SET generation = 1, steps_from = 1 WHERE n = 1")
    file.connection.execute("UPDATE steps SET generation = 1 WHERE job = 1 AND key <= 'k000002'")
    steps.note_outdated(file.connection, 1)
    deleted = clear_all(file)
    assert max(deleted) == most
    assert sum(deleted) == count - 2
    assert file.connection.execute("SELECT job, count(*) FROM steps GROUP BY job").fetchall() == [(1, 2), (2, 7)]
    assert file.connection.execute("SELECT count(*) FROM outdated").fetchone() == (0,)


@pytest.mark.parametrize(("count", "size", "most"), [(12_000, 10, 5000), (40, 1 << 20, 16), (3, 20 << 20, 1)])
def test_those_of_a_removed_job_too(file: File, count: int, size: int, most: int) -> None:
    fill(file, count, size)
    fill(file, 7, 10, job=2)
    file.connection.execute("UPDATE jobs SET status = 3, waits_for = NULL, finished_at = 1 WHERE n = 1")
    steps.note_outdated(file.connection, 1)  # it was also retried anew
    assert removal.remove(file.connection, [[1]], 2, 2**62).jobs == [(1, "job-1")]
    left = file.connection.execute("SELECT count(*) FROM steps WHERE job = 1").fetchone()[0]
    assert count - most == left
    assert max(clear_all(file)) <= most
    for table, rows in (("steps", 7), ("outdated", 0), ("removed", 0)):
        assert file.connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (rows,), table


def test_a_job_without_steps_is_not_noted(file: File) -> None:
    fill(file, 1, 1)
    file.job(2)
    for n in (1, 2, 3, 1):
        steps.note_outdated(file.connection, n)
    assert file.connection.execute("SELECT n FROM outdated").fetchall() == [(1,)]


async def test_what_a_process_left_behind_another_one_deletes(store: Store) -> None:
    """It died after the retry: steps that no longer count wait for upkeep of any process."""
    hand = await running(store, "a")
    await hand.keep("a", x=b"1", y=b"1")
    await hand.fail("a")
    await store.backend.retry_job("a", fresh=True)
    await store.reopen()
    assert (await rows(store, "steps"), await rows(store, "outdated")) == (2, 1)
    assert await store.backend.prune(0) == 0
    assert (await rows(store, "steps"), await rows(store, "outdated")) == (0, 0)
