"""Backups while others write, and making the file smaller."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncjobs import (
    BackendConnectionError,
    BackendError,
    ConfigurationError,
    RetryPolicy,
    SQLiteBackend,
    SQLiteConfig,
)
from asyncjobs.backends.sqlite import backup
from asyncjobs.backends.sqlite.backup import Stopped, back_up
from asyncjobs.backends.sqlite.files import StoreFile, open_connection
from asyncjobs.requests import JobQuery
from tests.conformance.support import FAILURE, SUCCESS, Hand, Store, maker, new

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(tmp_path: Path) -> Store:
    return Store(maker("sqlite", tmp_path))


# -- backup


async def test_a_backup_is_a_store(store: Store, tmp_path: Path) -> None:
    async with store:
        hand = await store.hand()
        await store.submit(new("a"), new("b", "a"))
        await hand.run("a")
        await store.backend.backup(tmp_path / "copy.db")
        before = await store.dump()
        await hand.run("b")
    assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o600
    copy = Store(lambda clock: SQLiteBackend(SQLiteConfig(db_path=tmp_path / "copy.db"), clock=clock))
    async with copy:
        assert await copy.dump() == before
    assert {file.name for file in tmp_path.iterdir()} == {"jobs.db", "copy.db"}


class Stepping:
    """A connection of which a backup copies five pages, then waits for a commit of another connection."""

    def __init__(self, connection: sqlite3.Connection, committed: threading.Event) -> None:
        self._connection = connection
        self._committed = committed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def backup(self, target: sqlite3.Connection, *, pages: int, progress: Callable[[int, int, int], object]) -> None:
        def after_a_commit(*left: int) -> None:
            self._committed.clear()
            assert self._committed.wait(30)
            progress(*left)

        self._connection.backup(target, pages=5, progress=after_a_commit)


async def test_it_is_of_one_moment_while_others_write(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every step is followed by a commit of another connection; without a transaction around it, it would never end."""
    committed = threading.Event()
    monkeypatch.setattr(
        backup, "open_connection", lambda *args, **options: Stepping(open_connection(*args, **options), committed)
    )
    async with store, store.second() as other:
        for i in range(30):
            await store.submit(new(f"{i}-a", call=b"x" * 10_000), new(f"{i}-b"))
        written = 30
        stopping = anyio.Event()

        async def write() -> None:
            nonlocal written
            while not stopping.is_set():
                await other.enqueue_jobs([new(f"{written}-a"), new(f"{written}-b")])
                written += 1
                committed.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write)
            await store.backend.backup(tmp_path / "copy.db")
            stopping.set()
        assert written > 31, "there were writes meanwhile"
    with closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        ids = {job_id for (job_id,) in copy.execute("SELECT id FROM jobs")}
        assert {f"{i}-a" for i in range(30)} <= ids
        assert all(f"{job_id[:-1]}b" in ids for job_id in ids), "each transaction as a whole"
        count, last = copy.execute("SELECT count(*), max(position) FROM events").fetchone()
        assert count == last


async def test_nothing_is_overwritten(store: Store, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    async with store:
        for name in ("there", "link", "jobs.db"):
            with pytest.raises(ConfigurationError, match="exists") as caught:
                await store.backend.backup(tmp_path / name)
            assert caught.value.hint
    assert (tmp_path / "there").read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()


async def test_a_name_that_was_taken_meanwhile_stays_what_it_is(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = backup.publish

    def too_late(part: Path, path: Path) -> None:
        path.write_text("theirs")
        publish(part, path)

    monkeypatch.setattr(backup, "publish", too_late)
    async with store:
        with pytest.raises(ConfigurationError, match="exists"):
            await store.backend.backup(tmp_path / "copy.db")
        assert sorted(os.listdir(tmp_path)) == ["copy.db", "jobs.db", "jobs.db-shm", "jobs.db-wal"]
    assert (tmp_path / "copy.db").read_text() == "theirs"


async def test_a_folder_that_is_not_there(store: Store, tmp_path: Path) -> None:
    async with store:
        with pytest.raises(ConfigurationError, match="the folder .* does not exist"):
            await store.backend.backup(tmp_path / "no" / "copy.db")


async def test_one_that_is_not_wanted_any_more_leaves_nothing(store: Store, tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    async with store:
        await store.submit(*(new(f"j{i}", call=b"x" * 10_000) for i in range(500)))
        config = SQLiteConfig(db_path=tmp_path / "jobs.db")
        with pytest.raises(Stopped):
            back_up(config, StoreFile(config.file), tmp_path / "copy.db", stop)
        assert sorted(os.listdir(tmp_path)) == ["jobs.db", "jobs.db-shm", "jobs.db-wal"]


# -- compact


async def emptied(store: Store) -> Hand:
    """Much was stored, and nearly all of it was removed."""
    hand = await store.hand()
    await store.submit(*(new(f"j{i}", call=b"x" * 5000) for i in range(1000)))
    await store.backend.cancel_jobs([f"j{i}" for i in range(1000)])
    assert len(await store.backend.remove_jobs([f"j{i}" for i in range(1000)])) == 1000
    return hand


async def test_compacting_gives_back_what_was_removed(store: Store, tmp_path: Path) -> None:
    async with store:
        hand = await emptied(store)
        await store.submit(new("a", retry=RetryPolicy(max_retries=5, base=0, jitter=0)))
        for outcome in (FAILURE, FAILURE, FAILURE, SUCCESS):
            await hand.run("a", outcome=outcome)
        before = await store.dump()
        assert await store.backend.compact() > 5_000_000
        assert (tmp_path / "jobs.db").stat().st_size < 300_000
        assert await store.dump() == before
        await store.submit(new("b"))
        await hand.run("b")


async def test_another_process_object_goes_on(store: Store) -> None:
    async with store, store.second() as other:
        await emptied(store)
        await other.enqueue_jobs([new("other")])
        assert await store.backend.compact() > 5_000_000
        assert [job.id for job in await other.find_jobs(JobQuery())] == ["other"]
        await other.enqueue_jobs([new("again")])


async def test_one_that_takes_too_long_changes_nothing(store: Store, tmp_path: Path) -> None:
    async with store:
        await emptied(store)
        await store.submit(*(new(f"k{i}", call=b"x" * 5000) for i in range(500)))
        before = await store.dump()
        with pytest.raises(BackendError, match="was not compacted") as caught:
            await store.backend.compact(patience=0)
        assert caught.value.code == "compact-timeout"
        assert caught.value.hint
        assert await store.dump() == before
        await store.submit(new("b"))


async def test_somebody_else_holds_the_lock(tmp_path: Path) -> None:
    config = SQLiteConfig(db_path=tmp_path / "jobs.db", busy_timeout=0.05)
    async with SQLiteBackend(config) as backend:
        with closing(sqlite3.connect(config.file, isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            with pytest.raises(BackendConnectionError, match="is locked"):
                await backend.compact()
            await backend.backup(tmp_path / "copy.db")  # which needs no lock
        await backend.compact()
