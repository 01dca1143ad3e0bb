"""What a writing connection remembers between its transactions: for how long, how much, and what that saves."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from asyncjobs import JobProcessor, RetryPolicy, SQLiteBackend, SQLiteConfig, current_job
from asyncjobs.backends.base import NewWorker
from asyncjobs.backends.sqlite.connection_cache import ConnectionCache
from asyncjobs.backends.sqlite.writer import Writer
from tests.conformance.support import CANCELLED, COMPLETED, SUCCESS, Hand, Store, new

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    config = SQLiteConfig(db_path=tmp_path / "jobs.db", readers=1)
    async with Store(lambda clock: SQLiteBackend(config, clock=clock)) as store:
        yield store


def writer_of(backend: object) -> Writer:
    assert isinstance(backend, SQLiteBackend)
    assert backend._writer is not None
    return backend._writer


def cache_of(store: Store) -> ConnectionCache:
    return writer_of(store.backend)._cache


def traced(writer: Writer) -> list[str]:
    """The statements of the writer, from now on."""
    statements: list[str] = []
    writer.connection.set_trace_callback(statements.append)
    return statements


async def submitted_and_claimed(store: Store, hand: Hand, *ids: str) -> None:
    """Submit jobs, and claim them in the transaction that stores them."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hand.claims)
        await store.submit(*map(new, ids))
    assert hand.held.keys() >= set(ids)


def commit_elsewhere(store: Store, sql: str) -> None:
    assert isinstance(store.backend, SQLiteBackend)
    with closing(sqlite3.connect(store.backend.config.file, isolation_level=None)) as other:
        other.execute(sql)


# -- for how long


async def test_the_end_of_an_attempt_reads_nothing_that_its_connection_wrote(store: Store) -> None:
    hand = await store.hand()
    await submitted_and_claimed(store, hand, "a")
    statements = traced(writer_of(store.backend))
    await hand.succeed("a")
    assert not [text for text in statements if text.startswith(("SELECT", "WITH"))]


async def test_what_another_connection_commits_is_read_at_the_next_transaction(store: Store) -> None:
    hand = await store.hand()
    await submitted_and_claimed(store, hand, "a", "b")
    commit_elsewhere(store, "UPDATE jobs SET cancel_requested = 1 WHERE id = 'a'")
    assert await hand.ends({"a": SUCCESS, "b": SUCCESS}) == [CANCELLED, COMPLETED]


async def test_a_worker_that_another_process_buried_gets_nothing(store: Store) -> None:
    hand = await store.hand()
    await submitted_and_claimed(store, hand, "a")
    commit_elsewhere(store, "UPDATE workers SET gone = 1")
    await store.submit(new("b"))
    assert (await hand.claims()).lost


async def test_a_worker_that_this_connection_buried_gets_nothing(store: Store) -> None:
    hand = await store.hand()
    await submitted_and_claimed(store, hand, "a")
    await store.backend.deregister_worker(hand.id)
    await store.submit(new("b"))
    assert (await hand.claims()).lost


@pytest.mark.parametrize("point", ["begin", "before-commit"])
async def test_a_transaction_that_fails_leaves_nothing_behind(tmp_path: Path, point: str) -> None:
    failures: list[str] = []
    seen: list[tuple[int, int]] = []

    def hook(at: str) -> None:
        if not failures:
            return
        if at == point:
            failures.pop()
            raise sqlite3.OperationalError("disk I/O error")

    config = SQLiteConfig(db_path=tmp_path / "jobs.db")
    async with Store(lambda clock: SQLiteBackend(config, clock=clock, hook=hook)) as store:
        hand = await store.hand()
        await submitted_and_claimed(store, hand, "a")
        cache = cache_of(store)
        forget = cache.forget

        def counted() -> None:
            forget()
            seen.append((len(cache.running), len(cache.alive)))

        cache.forget = counted  # to look at it right after the failure
        failures.append(point)
        await hand.succeed("a")  # the thread tries again
        assert seen[0] == (0, 0)
        [job] = await store.backend.get_jobs(["a"])
        assert job.status is COMPLETED


async def test_one_operation_that_it_does_not_follow_makes_the_group_read_everything(store: Store) -> None:
    hand = await store.hand()
    await submitted_and_claimed(store, hand, "a", "b")
    statements = traced(writer_of(store.backend))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(store.backend.cancel_jobs, ["b"])
        await hand.succeed("a")
    assert [text for text in statements if text.startswith("SELECT n, id, status")]
    assert not cache_of(store).running


# -- how much


async def test_it_is_bounded_by_what_runs_and_not_by_the_backlog(store: Store) -> None:
    hand = await store.hand()
    await store.submit(*(new(f"waiting-{i}") for i in range(500)))
    for _ in range(100):
        taken = await hand.claim(3)
        assert len(cache_of(store).running) == 3
        await hand.succeed(*taken)
        assert not cache_of(store).running
        assert not cache_of(store).childless
    assert len(cache_of(store).alive) == 1
    assert len(cache_of(store).ready or ()) == 1


async def test_a_lane_that_is_empty_is_not_looked_at_again(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"))
    assert await hand.claim() == ["a"]
    assert await hand.claim() == []
    statements = traced(writer_of(store.backend))
    assert await hand.claim() == []
    assert [text.split()[0] for text in statements] == ["BEGIN", "PRAGMA", "COMMIT"]


# -- order


async def test_what_is_claimed_as_it_is_submitted_does_not_overtake_what_is_stored(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("low"), new("high", priority=5))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hand.claims, 3)
        await store.submit(new("same"), new("higher", priority=9), new("middle", priority=3))
    assert list(hand.held) == ["higher", "high", "middle"]
    assert await hand.claim() == ["low", "same"]


async def test_a_child_that_is_released_and_claimed_at_once_was_never_stored_as_ready(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("parent"), new("child", "parent"))
    assert await hand.claim() == ["parent"]
    statements = traced(writer_of(store.backend))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hand.claims)
        await hand.succeed("parent")
    assert "child" in hand.held
    updates = [text.strip() for text in statements if text.startswith("UPDATE jobs")]
    assert len([text for text in updates if text.endswith("n IN (2)")]) == 1, "its only write"


async def test_two_claims_of_a_group_share_what_it_submits(store: Store) -> None:
    one, two = await store.hand("one"), await store.hand("two")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one.claims, 2)
        tasks.start_soon(two.claims, 2)
        await store.submit(*(new(f"job-{i}") for i in range(3)))
    assert list(one.held) == ["job-0", "job-1"]
    assert list(two.held) == ["job-2"]


# -- what it saves


async def noop(number: int) -> int:
    return number


ONE_BY_ONE, ROUND_TRIP, CHAIN = 6, 10, 10
"""Statements a job, or a node. Before the connection remembered anything: 19, 23, 16."""


@pytest.mark.parametrize("others", [False, True], ids=["alone on the file", "another connection commits in between"])
async def test_statements_of_jobs_that_are_submitted_one_after_the_other(tmp_path: Path, others: bool) -> None:
    config = SQLiteConfig(db_path=tmp_path / "jobs.db")
    async with JobProcessor(config=config) as jp, SQLiteBackend(config) as other:
        writer = writer_of(jp.backend)
        await (await jp.submit_job(noop, 0))
        statements = traced(writer)
        for i in range(20):
            handle = await jp.submit_job(noop, i)
            if others:
                await other.register_worker(NewWorker(name="other", slots=1, lease=15.0))
        await handle
        writer.connection.set_trace_callback(None)
    begun = sum(text.startswith("BEGIN") for text in statements)
    if others:
        assert len(statements) / begun <= 20, "no more than each transaction once took"
    else:
        assert begun <= 22
        assert len(statements) / 20 <= ONE_BY_ONE + 0.5


async def fails_twice(number: int, tries: list[int] | None = None) -> int:
    if current_job().attempt < 3:
        raise ValueError(number)
    return number


@pytest.mark.parametrize("size", [1, 1000], ids=["in the row", "apart"])
async def test_a_job_that_is_retried_at_once_is_claimed_by_the_transaction_of_its_failure(
    tmp_path: Path, size: int
) -> None:
    async with JobProcessor(config=SQLiteConfig(db_path=tmp_path / "jobs.db")) as jp:
        await (await jp.submit_job(noop, 0))
        statements = traced(writer_of(jp.backend))
        policy = RetryPolicy(max_retries=2, base=0, jitter=0)
        assert await (await jp.submit_job(fails_twice, 7, [1] * size, retry=policy)) == 7
        writer_of(jp.backend).connection.set_trace_callback(None)
    assert [text for text in statements if text.startswith("ROLLBACK")] == []
    assert sum(text.startswith("BEGIN") for text in statements) == 4, "submit, two failures, success"


async def test_statements_of_round_trips(tmp_path: Path) -> None:
    async with JobProcessor(config=SQLiteConfig(db_path=tmp_path / "jobs.db")) as jp:
        writer = writer_of(jp.backend)
        await (await jp.submit_job(noop, 0))
        statements = traced(writer)
        for i in range(20):
            await (await jp.submit_job(noop, i))
        writer.connection.set_trace_callback(None)
    assert sum(text.startswith("BEGIN") for text in statements) <= 41
    assert len(statements) / 20 <= ROUND_TRIP + 0.5


async def test_statements_of_a_chain(tmp_path: Path) -> None:
    async with JobProcessor(config=SQLiteConfig(db_path=tmp_path / "jobs.db")) as jp:
        writer = writer_of(jp.backend)
        await (await jp.submit_job(noop, 0))
        statements = traced(writer)
        async with jp.batch() as batch:
            handle = batch.submit_job(noop, 0)
            for _ in range(39):
                handle = batch.submit_job(noop, handle)
        await handle
        writer.connection.set_trace_callback(None)
    assert sum(text.startswith("BEGIN") for text in statements) <= 42
    assert len(statements) / 40 <= CHAIN + 0.5
