"""The pool of readers over a real file: order, cancellation, locks, closing."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, suppress
from pathlib import Path

import aiosqlite
import anyio
import anyio.to_thread
import pytest

from asyncjobs.backends.sqlite.files import open_connection, prepare_file
from asyncjobs.backends.sqlite.readers import THREAD_NAME, Readers
from asyncjobs.clock import SystemClock
from asyncjobs.config import SQLiteConfig
from asyncjobs.exceptions import BackendClosedError, BackendConnectionError, BackendError

pytestmark = pytest.mark.anyio

SLOW = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 100000) SELECT max(x) FROM c"
ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c"


@pytest.fixture
def config(tmp_path: Path) -> SQLiteConfig:
    return SQLiteConfig(db_path=tmp_path / "jobs.db")


@pytest.fixture
def writer(config: SQLiteConfig) -> Iterator[sqlite3.Connection]:
    with closing(open_connection(config, prepare_file(config), busy_timeout=0)) as connection:
        connection.execute("CREATE TABLE t(x)")
        connection.execute("INSERT INTO t VALUES (1), (2)")
        yield connection


@pytest.fixture
async def readers(config: SQLiteConfig, writer: sqlite3.Connection) -> AsyncIterator[Readers]:
    readers = Readers(config, config.file)
    yield readers
    await readers.close()
    all_ended()


def all_ended() -> None:
    for thread in threading.enumerate():  # they have been told to end, and do
        if thread.name == THREAD_NAME:
            thread.join(5)
            assert not thread.is_alive()


class MovedClock(SystemClock):
    """Waiting moves the clock, and takes no time."""

    def __init__(self) -> None:
        self.at = 0
        self.waits: list[float] = []

    def monotonic(self) -> int:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.at += max(1, round(seconds * 1_000_000))


async def test_a_page_is_fetched_whole(readers: Readers) -> None:
    assert await readers.fetch("SELECT x FROM t WHERE x > ? ORDER BY x", (0,)) == [(1,), (2,)]
    assert await readers.fetch("SELECT x FROM t WHERE x > 5") == []


async def test_no_more_connections_than_configured_and_no_more_than_needed(readers: Readers) -> None:
    before = threading.active_count()
    for _ in range(3):
        await readers.fetch("SELECT 1")
    assert threading.active_count() == before + 1
    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(readers.fetch, "SELECT count(*) FROM t")
    assert threading.active_count() == before + 2


async def test_first_come_first_served(config: SQLiteConfig, writer: sqlite3.Connection) -> None:
    readers = Readers(SQLiteConfig(db_path=config.db_path, readers=1), config.file)
    order: list[int] = []

    async def ask(number: int) -> None:
        order.extend(row[0] for row in await readers.fetch("SELECT ?", (number,)))

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(ask, number)
            await anyio.lowlevel.checkpoint()
    await readers.close()
    assert order == list(range(20))


async def begun(readers: Readers, sql: str) -> asyncio.Task[object]:
    """A task whose statement has been given to a connection."""
    task = asyncio.ensure_future(readers.fetch(sql))
    for _ in range(1000):
        if readers.lent:
            break
        await asyncio.sleep(0)
    return task


@pytest.mark.parametrize("times", [1, 3])
async def test_a_cancelled_read_gives_its_connection_back(readers: Readers, times: int) -> None:
    await readers.fetch("SELECT 1")
    for _ in range(3):
        task = await begun(readers, ENDLESS)
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert readers.lent == 0
    assert await readers.fetch("SELECT count(*) FROM t") == [(2,)]


async def test_a_read_cancelled_by_a_scope_gives_its_connection_back(readers: Readers) -> None:
    with anyio.move_on_after(0.02) as scope:
        await readers.fetch(ENDLESS)
    assert scope.cancelled_caught
    assert readers.lent == 0
    assert await readers.fetch("SELECT count(*) FROM t") == [(2,)]


async def test_cancelled_while_the_connection_is_opened(readers: Readers) -> None:
    for turns in range(12):
        task = asyncio.ensure_future(readers.fetch("SELECT 1"))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert readers.lent == 0
    assert await readers.fetch("SELECT 1") == [(1,)]


async def test_a_cancelled_read_does_not_pin_the_log(
    config: SQLiteConfig, writer: sqlite3.Connection, readers: Readers
) -> None:
    task = await begun(readers, ENDLESS.replace("FROM c)", "FROM c, t)"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    writer.execute("INSERT INTO t VALUES (3)")
    assert writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)


async def test_a_cancelled_waiter_takes_no_place(config: SQLiteConfig, writer: sqlite3.Connection) -> None:
    readers = Readers(SQLiteConfig(db_path=config.db_path, readers=1), config.file)
    running = await begun(readers, ENDLESS)
    waiting = [asyncio.ensure_future(readers.fetch("SELECT ?", (n,))) for n in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    running.cancel()
    assert await waiting[1] == [(1,)]
    assert await waiting[2] == [(2,)]
    with pytest.raises(asyncio.CancelledError):
        await running
    await readers.close()


async def test_errors_are_translated_and_the_pool_goes_on(readers: Readers) -> None:
    for _ in range(5):
        with pytest.raises(BackendError) as caught:
            await readers.fetch("SELECT missing")
        assert caught.value.code == "unexpected"
    with pytest.raises(BackendError):
        await readers.fetch("DELETE FROM t")
    assert await readers.fetch("SELECT count(*) FROM t") == [(2,)]


LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA locking_mode = EXCLUSIVE")
connection.execute("BEGIN EXCLUSIVE")
connection.execute("CREATE TABLE other(x)")
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def locker(config: SQLiteConfig) -> Iterator[subprocess.Popen[str]]:
    """A process that has locked the whole file until it is killed."""
    path = prepare_file(config)
    with subprocess.Popen(
        [sys.executable, "-c", LOCK, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        yield process
        process.kill()


async def test_a_locked_file_is_waited_for_and_then_the_holder_is_named(
    config: SQLiteConfig, locker: subprocess.Popen[str]
) -> None:
    clock = MovedClock()
    readers = Readers(SQLiteConfig(db_path=config.db_path, busy_timeout=0.5), config.file, clock)
    with pytest.raises(BackendConnectionError) as caught:
        await readers.fetch("SELECT 1 FROM sqlite_master")
    assert "is locked for 0.5 s by" in str(caught.value)
    if sys.platform.startswith("linux"):
        assert f"pid {locker.pid}" in str(caught.value)
    assert caught.value.tries == len(clock.waits) + 1
    assert sum(clock.waits) == pytest.approx(0.5, abs=0.001)
    assert max(clock.waits) <= 0.25
    locker.kill()
    await anyio.to_thread.run_sync(locker.wait)
    assert await readers.fetch("SELECT count(*) FROM sqlite_master") == [(0,)]
    await readers.close()


class Held(logging.Handler):
    """Holds the thread of a connection where it is to end."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()
        self.released = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if "close_and_stop" in record.getMessage() and record.msg.startswith("executing"):
            self.reached.set()
            assert self.released.wait(30)


@pytest.fixture
def held() -> Iterator[Held]:
    handler, logger = Held(), logging.getLogger("aiosqlite")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield handler
    handler.released.set()
    logger.removeHandler(handler)
    logger.setLevel(before)


@pytest.mark.skipif(not hasattr(aiosqlite.Connection, "stop"), reason="up to 0.21, nothing was asked of the thread")
@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_connection_that_was_not_opened_leaves_no_thread_to_a_loop_that_may_end(
    cancelled: bool, config: SQLiteConfig, writer: sqlite3.Connection, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(*args: object, **options: object) -> sqlite3.Connection:
        raise sqlite3.DatabaseError("file is not a database")

    monkeypatch.setattr("asyncjobs.backends.sqlite.readers.open_connection", damaged)
    readers = Readers(config, config.file)
    fetching = asyncio.ensure_future(readers.fetch("SELECT 1"))
    await anyio.to_thread.run_sync(held.reached.wait, 30)
    if cancelled:
        fetching.cancel()
    with anyio.move_on_after(0.05):
        await asyncio.wait([fetching])
    assert not fetching.done()
    held.released.set()
    with pytest.raises(asyncio.CancelledError if cancelled else BackendError):
        await fetching
    assert [thread for thread in threading.enumerate() if thread.name == THREAD_NAME] == []
    await readers.close()


async def test_closing_closes_the_connections_also_if_asyncio_cancels_it(
    config: SQLiteConfig, writer: sqlite3.Connection
) -> None:
    readers = Readers(SQLiteConfig(db_path=config.db_path, readers=2), config.file)
    await asyncio.gather(*(readers.fetch("SELECT 1") for _ in range(2)))
    running = await begun(readers, SLOW)
    ending = asyncio.ensure_future(readers.close())
    await asyncio.sleep(0)
    ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending
    assert await running == [(100_000,)]
    all_ended()


async def test_a_closed_pool_says_so(config: SQLiteConfig, writer: sqlite3.Connection) -> None:
    readers = Readers(config, config.file)
    await readers.fetch("SELECT 1")
    await readers.close()
    await readers.close()
    with pytest.raises(BackendClosedError):
        await readers.fetch("SELECT 1")


async def test_closing_lets_reads_end_and_refuses_who_waits(config: SQLiteConfig, writer: sqlite3.Connection) -> None:
    readers = Readers(SQLiteConfig(db_path=config.db_path, readers=1), config.file)
    running = await begun(readers, SLOW)
    waiting = asyncio.ensure_future(readers.fetch("SELECT 1"))
    await asyncio.sleep(0)
    await readers.close()
    assert await running == [(100_000,)]
    with pytest.raises(BackendClosedError):
        await waiting


async def test_closing_stops_a_read_that_will_not_end(
    config: SQLiteConfig, writer: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asyncjobs.backends.sqlite.readers._SETTLE_TIMEOUT", 0.05)
    readers = Readers(config, config.file)
    running = await begun(readers, ENDLESS)
    await readers.close()
    with pytest.raises(BackendClosedError):
        await running


async def test_nothing_blocks_the_loop(readers: Readers) -> None:
    from blockbuster import blockbuster_ctx

    with blockbuster_ctx():
        await readers.fetch("SELECT 1")
        with pytest.raises(BackendError):
            await readers.fetch("SELECT missing")
        task = await begun(readers, ENDLESS)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
