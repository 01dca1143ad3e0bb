"""An older file is copied before it is changed, once, whoever opens it; and it is all there afterwards."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from asyncjobs import SQLiteBackend, SQLiteConfig
from asyncjobs.backends.sqlite import backup, schema
from asyncjobs.exceptions import BackendError, SchemaVersionError
from asyncjobs.models import JobQuery
from tests.faults import open_pretended
from tests.faults.children import Child
from tests.faults.stores import full, new_job
from tests.faults.test_bad_files import fingerprint

pytestmark = pytest.mark.anyio

OLD = schema.VERSION


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A file of this version with some jobs in it."""
    path = tmp_path / "jobs.db"
    async with SQLiteBackend(SQLiteConfig(db_path=path)) as backend:
        await backend.enqueue_jobs([new_job(f"j{i}") for i in range(50)])
    return path


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> int:
    """This package has the next schema version."""
    monkeypatch.setattr(schema, "VERSION", schema.VERSION)
    monkeypatch.setattr(schema, "MIGRATIONS", dict(schema.MIGRATIONS))
    open_pretended.pretend()
    return schema.VERSION


def content(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("PRAGMA user_version").fetchone()[0]


async def opened(path: Path) -> list[str]:
    async with SQLiteBackend(SQLiteConfig(db_path=path)) as backend:
        return [job.id for job in await backend.find_jobs(JobQuery())]


async def test_it_is_copied_and_then_migrated(path: Path, newer: int) -> None:
    before = content(path)
    assert len(await opened(path)) == 50
    assert version(path) == newer
    copy = path.with_name(f"jobs.db.v{OLD}.bak")
    assert copy.stat().st_mode & 0o777 == 0o600
    assert (version(copy), content(copy)) == (OLD, before)
    assert sorted(file.name for file in path.parent.iterdir()) == ["jobs.db", copy.name]


async def test_the_copy_is_a_store_of_the_old_version(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(schema, "VERSION", schema.VERSION)
        patch.setattr(schema, "MIGRATIONS", dict(schema.MIGRATIONS))
        open_pretended.pretend()
        await opened(path)
    with pytest.raises(SchemaVersionError):
        await opened(path)
    assert len(await opened(path.with_name(f"jobs.db.v{OLD}.bak"))) == 50


async def test_what_was_not_written_back_is_in_the_copy(path: Path, newer: int) -> None:
    with closing(sqlite3.connect(path)) as other:  # keeps the write-ahead log alive
        other.execute("PRAGMA wal_autocheckpoint = 0")
        other.execute("UPDATE jobs SET priority = 7")
        other.commit()
        await opened(path)
    with closing(sqlite3.connect(path.with_name(f"jobs.db.v{OLD}.bak"))) as copy:
        assert copy.execute("SELECT DISTINCT priority FROM jobs").fetchall() == [(7,)]


async def test_it_is_copied_before_the_journal_is_changed(path: Path, newer: int) -> None:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",)
    await opened(path)
    with closing(sqlite3.connect(path.with_name(f"jobs.db.v{OLD}.bak"))) as copy:
        assert copy.execute("PRAGMA journal_mode").fetchone() == ("delete",)


async def test_an_earlier_copy_is_never_overwritten(path: Path, newer: int) -> None:
    earlier = path.with_name(f"jobs.db.v{OLD}.bak")
    earlier.write_text("precious")
    await opened(path)
    assert earlier.read_text() == "precious"
    assert version(path.with_name(f"jobs.db.v{OLD}.bak2")) == OLD


async def test_without_a_copy_nothing_is_changed(path: Path, newer: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(*_: object) -> None:
        raise full()

    monkeypatch.setattr(backup.os, "link", no_room)
    before = fingerprint(path.parent)
    with pytest.raises(BackendError) as caught:
        await opened(path)
    assert caught.value.code == "disk-full"
    assert fingerprint(path.parent) == before


async def test_a_migration_that_fails_leaves_the_old_file(path: Path, newer: int) -> None:
    schema.MIGRATIONS[OLD] = "CREATE TABLE novelty(n); CREATE TABLE novelty(n);"
    before = content(path)
    with pytest.raises(BackendError):
        await opened(path)
    assert (version(path), content(path)) == (OLD, before)
    assert content(path.with_name(f"jobs.db.v{OLD}.bak")) == before


async def test_a_new_file_needs_no_copy(tmp_path: Path, newer: int) -> None:
    await opened(tmp_path / "new.db")
    assert os.listdir(tmp_path) == ["new.db"]


async def test_two_processes_at_once_migrate_once(path: Path, tmp_path: Path) -> None:
    children = [Child("tests.faults.open_pretended", path, ledger=tmp_path / f"ledger{i}") for i in range(2)]
    try:
        for child in children:
            child.until("ready")
        for child in children:
            child.say("go")
        assert [child.until("opened") for child in children] == [[str(OLD + 1)]] * 2
        assert [child.end() for child in children] == [0, 0]
    finally:
        for child in children:
            child.__exit__(None, None, None)
    assert [file.name for file in tmp_path.glob("*.bak*")] == [f"jobs.db.v{OLD}.bak"]
