"""What a checkup finds in a database file: each fault as one finding, with its mend, and nothing else."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from asyncjobs import MemoryBackend, SQLiteBackend, SQLiteConfig
from asyncjobs.backends.base import Finding
from asyncjobs.backends.sqlite import checkup, files
from asyncjobs.backends.sqlite.checkup import check_up
from asyncjobs.exceptions import BackendConnectionError
from asyncjobs.testing import FaultyBackend
from tests.conformance.support import new

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]


@pytest.fixture
async def path(tmp_path: Path, anyio_backend: str) -> Path:
    """A file with some jobs that nobody has open."""
    path = tmp_path / "jobs.db"
    async with SQLiteBackend(SQLiteConfig(db_path=path)) as backend:
        await backend.enqueue_jobs([new(f"j{n}", call=b"x" * 3000) for n in range(50)])
    return path


def look(path: Path, opened: bool = True) -> list[Finding]:
    return check_up(path, opened, threading.Event())


def wrong(found: list[Finding]) -> list[Finding]:
    return [finding for finding in found if finding.level != "ok"]


async def test_a_sound_file_is_named_with_its_size(path: Path) -> None:
    [finding] = look(path)
    assert (finding.level, finding.mend) == ("ok", None)
    assert finding.text == f"store {path}: {path.stat().st_size / 1e6:.1f} MB, sound"


async def test_from_outside_a_sound_file_gives_nothing_and_one_that_is_missing_is_not_made(path: Path) -> None:
    assert look(path, opened=False) == []
    missing = path.with_name("other.db")
    assert look(missing, opened=False) == []
    assert not missing.exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
@pytest.mark.parametrize("opened", [False, True])
async def test_a_file_that_others_may_read_is_a_warning_with_the_command(path: Path, mode: int, opened: bool) -> None:
    path.chmod(mode)
    [finding] = wrong(look(path, opened))
    assert (finding.level, finding.mend) == ("warning", f"chmod 600 {path}")
    assert finding.text == f"others may read {path} (mode {mode:o})"


async def test_a_path_with_a_space_is_quoted_in_the_command(path: Path) -> None:
    spaced = path.with_name("my jobs.db")
    shutil.copy(path, spaced)
    spaced.chmod(0o644)
    [finding] = wrong(look(spaced))
    assert finding.mend == f"chmod 600 '{spaced}'"


@pytest.mark.parametrize("opened", [False, True])
async def test_a_large_log_is_a_warning(path: Path, opened: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(sqlite3.connect(path)) as holder:
        holder.execute("PRAGMA wal_autocheckpoint = 0")
        holder.execute("UPDATE marks SET value = value")
        holder.commit()
        size = Path(f"{path}-wal").stat().st_size
        monkeypatch.setattr(checkup, "_LARGE_LOG", size)
        assert wrong(look(path, opened)) == []
        monkeypatch.setattr(checkup, "_LARGE_LOG", size - 1)
        [finding] = wrong(look(path, opened))
    assert finding.level == "warning"
    assert finding.text.startswith("the write-ahead log has ")


async def test_a_log_that_is_written_over_is_as_long_as_what_is_new_in_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(sqlite3.connect(path)) as holder:
        holder.execute("PRAGMA wal_autocheckpoint = 0")
        holder.execute("CREATE TABLE padding AS SELECT zeroblob(100000)")
        holder.commit()
        holder.execute("PRAGMA wal_checkpoint(RESTART)")
        holder.execute("CREATE TABLE more(x)")
        holder.commit()
        assert Path(f"{path}-wal").stat().st_size > 100_000
        monkeypatch.setattr(checkup, "_LARGE_LOG", 50_000)
        assert wrong(look(path)) == []


@pytest.mark.parametrize("opened", [False, True])
async def test_a_network_file_system_is_an_error(path: Path, opened: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def network(real: str, _: str) -> str:
        asked.append(real)
        return "nfs4"

    monkeypatch.setattr(files, "network_filesystem", network)
    link = path.with_name("link.db")
    link.symlink_to(path)
    [finding] = wrong(look(link, opened))
    assert (finding.level, finding.mend) == ("error", "move it to a local disk: --db PATH")
    assert finding.text == f"{link} is on a network file system (nfs4): its locks cannot be trusted"
    assert asked == [str(path.resolve())], "the file counts, not the link"


def overwritten_page(path: Path) -> None:
    """A page of a table in the middle is garbage."""
    with closing(sqlite3.connect(path)) as connection:
        [(root,)] = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'events'")
        [(size,)] = connection.execute("PRAGMA page_size")
    data = bytearray(path.read_bytes())
    data[size * (root - 1) : size * root] = b"\xff" * size
    path.write_bytes(data)


def truncated(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def without_its_schema(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[100:4096] = b"\xff" * (4096 - 100)
    path.write_bytes(data)


@pytest.mark.parametrize(
    "damage", [overwritten_page, truncated, without_its_schema], ids=lambda damage: damage.__name__
)
async def test_damage_is_an_error_and_no_failure_of_the_checkup(path: Path, damage: Callable[[Path], None]) -> None:
    damage(path)
    [finding] = look(path)
    assert (finding.level, finding.mend) == ("error", "restore the newest backup")
    assert finding.text.startswith(f"store {path} is damaged: ")
    assert look(path, opened=False) == [], "from outside its pages are not read"


async def test_a_checkup_that_is_cancelled_stops(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    begun = anyio.Event()
    token = anyio.lowlevel.current_token()

    def slow(path: Path, stop: threading.Event) -> Iterator[Finding]:
        anyio.from_thread.run_sync(begun.set, token=token)
        assert stop.wait(10)
        ended.set()
        yield from ()

    monkeypatch.setattr(checkup, "_inside", slow)
    async with SQLiteBackend(SQLiteConfig(db_path=path)) as backend:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(backend.checkup)
            await begun.wait()
            tasks.cancel_scope.cancel()
    assert await anyio.to_thread.run_sync(ended.wait, 10)


async def test_a_stopped_check_is_no_damage_that_goes_on_for_ever(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "_EVERY", 1)
    stop = threading.Event()
    stop.set()
    [finding] = check_up(path, True, stop)
    assert "interrupted" in finding.text


async def test_the_store_of_a_test_passes_a_checkup_on_or_fails_it() -> None:
    faulty = FaultyBackend(MemoryBackend())
    assert list(await faulty.checkup()) == []
    faulty.fail("checkup")
    with pytest.raises(BackendConnectionError):
        await faulty.checkup()
