"""Pages of new files have 2 KiB; a file of an older version gets these when it is compacted and nobody has it open."""

from __future__ import annotations

import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from asyncjobs import SQLiteBackend, SQLiteConfig
from asyncjobs.backends.sqlite.files import PAGE_SIZE
from asyncjobs.exceptions import BackendClosedError, BackendError
from tests.faults.children import Child
from tests.faults.stores import new_job
from tests.faults.test_migration import content, made_by, opened

pytestmark = pytest.mark.anyio


@pytest.fixture
async def old(tmp_path: Path) -> Path:
    """A file of version 4, migrated, with some more in it."""
    path = made_by(4, tmp_path)
    async with SQLiteBackend(SQLiteConfig(db_path=path)) as backend:
        await backend.enqueue_jobs([new_job(f"j{i}", call=b"c" * 900) for i in range(200)])
    for copy in tmp_path.glob("*.bak"):
        copy.unlink()
    return path


def settings(path: Path) -> tuple[object, ...]:
    with closing(sqlite3.connect(path)) as connection:
        names = ("page_size", "journal_mode", "quick_check")
        return tuple(connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names)


async def compacted(path: Path, patience: float = 60) -> int:
    """Compact a file by a backend that is not open."""
    return await SQLiteBackend(SQLiteConfig(db_path=path)).compact(patience)


async def test_a_new_file_has_small_pages(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    await opened(path)
    assert settings(path) == (PAGE_SIZE, "wal", "ok")
    with pytest.raises(BackendClosedError):
        await compacted(path)


async def test_a_file_of_an_older_version_keeps_its_pages_until_it_is_compacted(old: Path) -> None:
    before = content(old)
    assert settings(old) == (4096, "wal", "ok")
    await compacted(old)
    assert settings(old) == (PAGE_SIZE, "wal", "ok")
    assert content(old) == before
    assert len(await opened(old)) == 100, "a page of its jobs"


async def test_one_that_is_not_migrated_is_left_alone(tmp_path: Path) -> None:
    path = made_by(4, tmp_path)
    before = path.read_bytes()
    with pytest.raises(BackendClosedError):
        await compacted(path)
    assert path.read_bytes() == before


async def test_and_none_is_made_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(BackendClosedError):
        await compacted(tmp_path / "jobs.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("how", ["idle", "reading", "writing"])
async def test_while_somebody_has_it_open_nothing_is_done(old: Path, how: str) -> None:
    with closing(sqlite3.connect(old, isolation_level=None)) as other:
        other.execute({"idle": "PRAGMA user_version", "reading": "BEGIN", "writing": "BEGIN IMMEDIATE"}[how])
        other.execute("SELECT count(*) FROM jobs").fetchone()
        with pytest.raises(BackendClosedError):
            await compacted(old)
        if how == "writing":
            other.execute("UPDATE jobs SET priority = 3")
            other.execute("COMMIT")
    assert settings(old) == (4096, "wal", "ok")


async def test_one_that_takes_too_long_changes_nothing(old: Path) -> None:
    before = content(old)
    with pytest.raises(BackendError, match="was not compacted") as caught:
        await compacted(old, patience=-1)
    assert caught.value.code == "compact-timeout"
    assert settings(old) == (4096, "wal", "ok")
    assert content(old) == before


@pytest.mark.untraced
@pytest.mark.parametrize("at", [1, 5, 25, 50])
async def test_killed_in_the_middle_everything_is_there(old: Path, at: int) -> None:
    before = content(old)
    with Child("tests.faults.killed_rebuild", old, at, ledger=old.with_name("ledger")) as child:
        assert child.end() == -signal.SIGKILL, child.errors()
    await opened(old)
    assert settings(old)[1:] == ("wal", "ok")
    assert content(old) == before
