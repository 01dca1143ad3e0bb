"""Files that cannot be used: each a clear error with its mend, and nothing of them is changed."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from asyncjobs import JobProcessor, SQLiteConfig
from asyncjobs.backends.sqlite import files
from asyncjobs.backends.sqlite.errors import translate
from asyncjobs.backends.sqlite.schema import APPLICATION_ID, VERSION
from asyncjobs.exceptions import BackendError, ConfigurationError, JobProcessorError, SchemaVersionError
from asyncjobs.models import JobStatus
from asyncjobs.requests import JobQuery
from tests.faults.children import Child
from tests.runtime.support import nothing

pytestmark = pytest.mark.anyio

OLD_TRACKER = """
CREATE TABLE jobs(id TEXT PRIMARY KEY, movie_id TEXT NOT NULL, type TEXT NOT NULL, status TEXT NOT NULL, scene_id TEXT,
  character_id INTEGER, metadata TEXT, error TEXT, retry_count INTEGER DEFAULT 0, max_retries INTEGER DEFAULT 3,
  output_path TEXT, created_at TEXT NOT NULL, updated_at TEXT NOT NULL);
CREATE INDEX idx_movie_id ON jobs(movie_id);
CREATE TABLE pipeline_states(movie_id TEXT PRIMARY KEY, created_at TEXT NOT NULL, updated_at TEXT NOT NULL);
INSERT INTO jobs(id, movie_id, type, status, created_at, updated_at)
  VALUES ('char_1_front', 'm', 'image', 'pending', '2024-01-01', '2024-01-01');
"""


def fingerprint(folder: Path) -> dict[str, tuple[str, int]]:
    """Every file below, with its content and its permissions."""
    return {
        str(file.relative_to(folder)): (
            hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "-",
            file.stat().st_mode,
        )
        for file in sorted(folder.rglob("*"))
    }


async def refused(path: Path, kind: type[JobProcessorError], *words: str, **settings: object) -> JobProcessorError:
    """Opening is refused with this error, tells these words, has a mend, and changes nothing in the folder."""
    before = fingerprint(path.parent)
    with pytest.raises(kind) as caught:
        async with JobProcessor(SQLiteConfig(db_path=path, **settings)):
            pass
    for word in (*words, str(path)):
        assert word in str(caught.value)
    assert caught.value.hint
    assert fingerprint(path.parent) == before
    return caught.value


async def filled(path: Path, jobs: int = 50) -> None:
    """A proper file of ours, closed in order."""
    async with JobProcessor(SQLiteConfig(db_path=path), enable_daemon=False) as jp:
        async with jp.batch() as batch:
            for i in range(jobs):
                batch.submit_job(nothing, job_id=f"j{i}")
        jp._submitted = 0


async def test_a_folder(tmp_path: Path) -> None:
    (tmp_path / "folder.db").mkdir()
    await refused(tmp_path / "folder.db", ConfigurationError, "is a folder", "asyncjobs.db")


async def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        async with JobProcessor(SQLiteConfig(db_path=tmp_path / "no" / "jobs.db")):
            pass
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("content", [b"not a database, but long enough to be one: " * 100, b"short", os.urandom(8192)])
async def test_no_database(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    error = await refused(path, ConfigurationError, "is not an SQLite database")
    assert error.code == "not-a-database"


@pytest.mark.parametrize("mode", ["delete", "wal"])
async def test_the_database_of_another_program(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
        connection.execute("CREATE TABLE notes(text)")
        connection.commit()
    await refused(path, ConfigurationError, "another program", "nothing was changed")


@pytest.mark.parametrize("mode", ["delete", "wal"])
async def test_the_old_tracker(tmp_path: Path, mode: str) -> None:
    """It has a table of the same name."""
    path = tmp_path / "cinema_jobs.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
        connection.executescript(OLD_TRACKER)
    await refused(path, ConfigurationError, "another program", "choose another path")


async def test_the_old_tracker_while_it_is_used(tmp_path: Path) -> None:
    """Its -wal holds what was not written back yet: that stays, too."""
    path = tmp_path / "cinema_jobs.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = wal")
        connection.executescript(OLD_TRACKER)
        with pytest.raises(ConfigurationError, match="another program"):
            async with JobProcessor(SQLiteConfig(db_path=path)):
                pass
        connection.execute(
            "INSERT INTO jobs(id, movie_id, type, status, created_at, updated_at) VALUES ('b', 'm', 'x', 'x', 'y', 'z')"
        )
        connection.commit()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM jobs").fetchone() == (2,)
        assert connection.execute("PRAGMA application_id").fetchone() == (0,)


async def test_an_empty_file_is_taken(tmp_path: Path) -> None:
    (tmp_path / "jobs.db").touch()
    await filled(tmp_path / "jobs.db", 1)


async def test_a_newer_schema(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    await filled(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
        assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    error = await refused(path, SchemaVersionError, f"schema version {VERSION + 1}", "upgrade asyncjobs")
    assert isinstance(error, SchemaVersionError)
    assert (error.found, error.supported) == (VERSION + 1, VERSION)


MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 22 0:35 / {point} rw,relatime shared:2 - nfs4 server:/home rw,vers=4.2
"""


async def test_a_network_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the text of mountinfo, as this very path would be told of."""
    ask = files.network_filesystem
    mounts = MOUNTS.format(point=str(tmp_path).replace(" ", r"\040"))
    monkeypatch.setattr(files, "network_filesystem", lambda path, _: ask(path, mounts))
    path = tmp_path / "jobs.db"
    await refused(path, ConfigurationError, "network file system (nfs4)", "allow_network_filesystem=True")
    assert not path.exists()
    async with JobProcessor(SQLiteConfig(db_path=path, allow_network_filesystem=True)):
        pass


# -- damage


async def damaged(path: Path) -> BackendError:
    """Opening and using it tells of the damage, whenever it is met, and never raises anything else."""
    with pytest.raises((BackendError, ConfigurationError)) as caught:
        async with JobProcessor(SQLiteConfig(db_path=path), enable_daemon=False) as jp:
            jp._submitted = 0
            for i in range(3):
                await jp.submit_job(nothing, job_id=f"new-{i}")
            await jp.find_jobs(JobQuery(limit=1000))
            for i in range(50):
                await jp.get_job(f"j{i}")
            jp._submitted = 0
    assert caught.value.code in ("corrupt", "not-a-database", "io-error"), caught.value
    assert str(path) in str(caught.value)
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("keep", [0.3, 0.6])
async def test_a_file_that_was_cut_off(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "jobs.db"
    await filled(path, 500)
    os.truncate(path, int(path.stat().st_size * keep) // 4096 * 4096)
    await damaged(path)


async def test_a_header_that_was_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    await filled(path)
    with path.open("r+b") as file:
        file.write(b"\0" * 16)
    error = await damaged(path)
    assert error.code == "not-a-database"


async def test_pages_that_were_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    await filled(path, 500)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))
    await damaged(path)


async def test_a_file_that_is_deleted_while_it_is_open(tmp_path: Path) -> None:
    """What is written then would be lost: it is refused."""
    path = tmp_path / "jobs.db"
    with pytest.raises(BackendError) as caught:
        async with JobProcessor(SQLiteConfig(db_path=path), enable_daemon=False) as jp:
            await jp.submit_job(nothing)
            path.unlink()
            jp._submitted = 0
            await jp.submit_job(nothing)
    assert caught.value.code == "moved", caught.value
    assert caught.value.hint


# -- permissions: as a user who is not root, in a process of its own


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that any user can reach."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def told_to_nobody(path: Path) -> str:
    with Child("tests.faults.open_once", path, ledger=path.parent.parent / "ledger") as child:
        said = child.line()
        assert said is not None, child.errors()
        return " ".join(said)


def test_a_folder_that_may_not_be_written(public: Path) -> None:
    folder = public / "closed"
    folder.mkdir(mode=0o555)
    assert told_to_nobody(folder / "jobs.db").startswith(
        f"configuration: the folder {folder} is not writable for this user"
    )
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("mode", [0o444, 0o000])
async def test_a_file_that_may_not_be_written(public: Path, mode: int) -> None:
    folder = public / "open"
    folder.mkdir()
    path = folder / "jobs.db"
    await filled(path)
    folder.chmod(0o777)
    path.chmod(mode)
    before = fingerprint(folder)
    assert told_to_nobody(path).startswith(f"configuration: {path} is not readable and writable for this user")
    assert fingerprint(folder) == before


def test_a_file_that_may_be_written(public: Path) -> None:
    folder = public / "open"
    folder.mkdir()
    folder.chmod(0o777)
    assert told_to_nobody(folder / "jobs.db") == "opened"


# -- what a killed process leaves


async def test_a_log_that_a_killed_process_left_behind(tmp_path: Path) -> None:
    path, ledger = tmp_path / "jobs.db", tmp_path / "ledger"
    with Child("tests.faults.scenarios", "local_jobs", path, ledger=ledger) as child:
        child.until("stored")
        child.kill()
    assert (tmp_path / "jobs.db-wal").stat().st_size > 0
    async with JobProcessor(SQLiteConfig(db_path=path), enable_daemon=False) as jp:
        jobs = await jp.find_jobs()
        assert [job.id for job in jobs] == ["running", "local", "local-running", "after"]
        assert jobs[0].status in (JobStatus.PENDING, JobStatus.IN_PROGRESS)


async def test_a_log_that_was_cut_off(tmp_path: Path) -> None:
    """The last frames of the -wal are missing, as after a power cut: the file is as it was before their commit."""
    path, ledger = tmp_path / "jobs.db", tmp_path / "ledger"
    with Child("tests.faults.scenarios", "local_jobs", path, ledger=ledger) as child:
        child.until("stored")
        child.kill()
    wal = tmp_path / "jobs.db-wal"
    os.truncate(wal, wal.stat().st_size - 100)
    (tmp_path / "jobs.db-shm").unlink()
    async with JobProcessor(SQLiteConfig(db_path=path), enable_daemon=False) as jp:
        known = [job.id for job in await jp.find_jobs()]
        assert known == ["running", "local", "local-running", "after"][: len(known)]
        jp._submitted = 0


# -- a read-only file system, an emptied file: named as what they are


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Callable[[], None]]:
    """A file system of its own at ``tmp_path / "disk"``; calling it makes it read-only."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("file systems cannot be mounted here")
    try:
        yield lambda: void(subprocess.run(["mount", "-o", "remount,ro", disk], check=True))
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def void(_: object) -> None:
    """Nothing is wanted of it."""


@pytest.mark.parametrize("name", ["jobs.db", "new.db"])
async def test_a_read_only_file_system_is_not_called_a_lack_of_permission(
    tmp_path: Path, read_only: Callable[[], None], name: str
) -> None:
    await filled(tmp_path / "disk" / "jobs.db", 1)
    read_only()
    with pytest.raises(ConfigurationError, match="is on a file system that is read-only") as caught:
        async with JobProcessor(SQLiteConfig(db_path=tmp_path / "disk" / name)):
            pass
    assert caught.value.code == "read-only"
    assert "permission" not in str(caught.value)


@pytest.mark.parametrize("code", [sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR])
async def test_whatever_sqlite_says_of_it_while_it_is_open(
    tmp_path: Path, read_only: Callable[[], None], code: int
) -> None:
    path = tmp_path / "disk" / "jobs.db"
    await filled(path, 1)
    error = sqlite3.OperationalError("no")
    error.sqlite_errorcode = code
    assert "file system" not in str(translate(error, str(path)).args[0])
    read_only()
    translated = translate(error, str(path))
    assert (translated.code, "its file system is read-only" in str(translated)) == ("read-only", True)


async def test_an_emptied_file_is_called_emptied(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    async with JobProcessor(SQLiteConfig(db_path=path), enable_daemon=False) as jp:
        await jp.submit_job(nothing, job_id="it")
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        os.truncate(path, 0)
        for call in (jp.find_jobs(), jp.get_job("it"), jp.submit_job(nothing)):
            with pytest.raises(BackendError, match="is empty: it was truncated while it was in use") as caught:
                await call
            assert caught.value.code == "emptied"
        jp._submitted = 0  # what is left cannot be counted any more


@pytest.mark.parametrize("size", [4096, 20_480])
async def test_one_that_was_cut_short_is_called_damaged(tmp_path: Path, size: int) -> None:
    path = tmp_path / "jobs.db"
    await filled(path)
    async with JobProcessor(SQLiteConfig(db_path=path), enable_daemon=False) as jp:
        os.truncate(path, size)
        with pytest.raises(BackendError) as caught:
            for _ in range(3):
                await jp.find_jobs(JobQuery(limit=1000))
        assert caught.value.code == "corrupt"
        jp._submitted = 0
