"""The file and its connections: what is refused, with which mend, and what SQLite's errors become."""

from __future__ import annotations

import os
import socket
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from asyncjobs.backends.sqlite import files
from asyncjobs.backends.sqlite.errors import is_busy, translate
from asyncjobs.backends.sqlite.files import open_connection, prepare_file
from asyncjobs.backends.sqlite.schema import migrate
from asyncjobs.config import SQLiteConfig
from asyncjobs.exceptions import (
    BackendClosedError,
    BackendConnectionError,
    BackendError,
    ConfigurationError,
    JobProcessorError,
)


def config_of(path: Path, **settings: object) -> SQLiteConfig:
    return SQLiteConfig(db_path=path, **settings)


def opened(config: SQLiteConfig, *, read_only: bool = False) -> sqlite3.Connection:
    return open_connection(config, prepare_file(config), busy_timeout=0, read_only=read_only)


def refused(config: SQLiteConfig) -> str:
    with pytest.raises(ConfigurationError) as caught:
        prepare_file(config)
    assert caught.value.field == "SQLiteConfig.db_path"
    assert caught.value.hint
    return str(caught.value)


def test_a_missing_file_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        path = prepare_file(config_of(tmp_path / "jobs.db"))
        with closing(open_connection(config_of(path), path, busy_timeout=0)) as connection:
            migrate(connection, str(path))
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(("jobs.db", "jobs.db-wal", "jobs.db-shm"), 0o600)


def test_an_existing_file_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    path.write_bytes(b"")
    path.chmod(0o640)
    assert prepare_file(config_of(path)) == path
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_link_leads_to_the_real_file(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "real.db")
    assert prepare_file(config_of(tmp_path / "link.db")) == tmp_path / "real.db"
    assert (tmp_path / "real.db").exists()


def test_a_missing_folder(tmp_path: Path) -> None:
    message = refused(config_of(tmp_path / "no" / "jobs.db"))
    assert f"the folder {tmp_path}/no does not exist" in message
    assert "mkdir -p" in message


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "is not a folder" in refused(config_of(tmp_path / "file" / "jobs.db"))


def test_a_path_that_is_a_folder(tmp_path: Path) -> None:
    message = refused(config_of(tmp_path))
    assert f"{tmp_path} is a folder" in message
    assert f"{tmp_path}/asyncjobs.db" in message


def test_a_path_that_is_no_regular_file() -> None:
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/s")  # a short path: sockets allow no other
        assert "is not a regular file" in refused(config_of(Path(folder, "s")))


PERMISSIONS = """
import os, sys
from asyncjobs.backends.sqlite.files import prepare_file
from asyncjobs.config import SQLiteConfig
from asyncjobs.exceptions import ConfigurationError
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
for path in sys.argv[1:]:
    try:
        prepare_file(SQLiteConfig(db_path=path))
    except ConfigurationError as error:
        print(error.args[0])
"""


def test_what_this_user_may_not_write() -> None:
    # In a process that is not root: root may do everything.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        closed, file = folder / "closed", folder / "open" / "jobs.db"
        closed.mkdir(mode=0o555)
        file.parent.mkdir()
        file.parent.chmod(0o777)
        file.touch(mode=0o444)
        arguments = [sys.executable, "-c", PERMISSIONS, str(closed / "jobs.db"), str(file)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        f"the folder {closed} is not writable for this user",
        f"{file} is not readable and writable for this user",
    ]


def test_a_network_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def always(path: str, mountinfo: str) -> str:
        return "nfs4"

    monkeypatch.setattr(files, "network_filesystem", always)
    message = refused(config_of(tmp_path / "jobs.db"))
    assert "network file system (nfs4)" in message
    assert "allow_network_filesystem=True" in message
    assert prepare_file(config_of(tmp_path / "jobs.db", allow_network_filesystem=True)).exists()


# -- connections


def pragma(connection: sqlite3.Connection, name: str) -> object:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def test_settings_of_a_writing_connection(tmp_path: Path) -> None:
    config = config_of(tmp_path / "jobs.db", synchronous="FULL", cache_size=3, mmap_size=2, max_size=1 << 20)
    with closing(opened(config)) as connection:
        names = ("journal_mode", "synchronous", "cache_size", "mmap_size", "wal_autocheckpoint", "query_only")
        assert [pragma(connection, name) for name in names] == ["wal", 2, -3072, 2 << 20, 0, 0]
        page_size = pragma(connection, "page_size")
        assert isinstance(page_size, int)
        assert pragma(connection, "max_page_count") == (1 << 20) // page_size
        assert (pragma(connection, "foreign_keys"), pragma(connection, "temp_store")) == (0, 2)
        assert connection.isolation_level is None


def test_a_reading_connection_cannot_write(tmp_path: Path) -> None:
    config = config_of(tmp_path / "jobs.db")
    with closing(opened(config)) as writer, closing(opened(config, read_only=True)) as reader:
        migrate(writer, "jobs.db")
        with pytest.raises(sqlite3.OperationalError) as caught:
            reader.execute("DELETE FROM marks")
        error = translate(caught.value, "jobs.db")
        assert error.code == "read-only"


@pytest.mark.parametrize("name", ["a b.db", "100%.db", "wh?at#.db", "é.db", "file:x.db", "\udcff.db"])
def test_any_name_is_a_name(tmp_path: Path, name: str) -> None:
    config = config_of(tmp_path / name)
    with closing(opened(config)) as connection:
        migrate(connection, name)
    assert os.listdir(tmp_path) == [name]


def test_a_file_that_was_deleted_is_not_made_anew(tmp_path: Path) -> None:
    config = config_of(tmp_path / "jobs.db")
    path = prepare_file(config)
    path.unlink()
    with pytest.raises(BackendError) as caught:
        open_connection(config, path, busy_timeout=0)
    assert caught.value.code == "cannot-open"
    assert not path.exists()


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    path.write_bytes(b"not a database, but long enough to be taken for one " * 100)
    before = path.read_bytes()
    with pytest.raises(ConfigurationError) as caught:
        opened(config_of(path))
    assert (caught.value.code, caught.value.field) == ("not-a-database", "SQLiteConfig.db_path")
    assert path.read_bytes() == before


def test_a_damaged_file(tmp_path: Path) -> None:
    config = config_of(tmp_path / "jobs.db")
    path = prepare_file(config)
    with closing(opened(config)) as connection:
        migrate(connection, str(path))
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 3000)
    with pytest.raises(BackendError) as caught:
        opened(config).close()
    assert caught.value.code == "corrupt"
    assert ".recover" in str(caught.value)


def test_a_file_of_another_program_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE theirs(x)")
    before = path.read_bytes()
    with closing(opened(config_of(path))) as connection, pytest.raises(ConfigurationError):
        migrate(connection, str(path))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["other.db"]


def test_a_file_locked_by_another_connection(tmp_path: Path) -> None:
    config = config_of(tmp_path / "jobs.db")
    path = prepare_file(config)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(BackendConnectionError) as caught:
            open_connection(config, path, busy_timeout=0.01)
    assert "is locked for 0.01 s by" in str(caught.value)


CREATE_TOGETHER = """
import sys
from asyncjobs.backends.sqlite.files import open_connection, prepare_file
from asyncjobs.backends.sqlite.schema import migrate
from asyncjobs.config import SQLiteConfig
config = SQLiteConfig(db_path=sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
path = prepare_file(config)
connection = open_connection(config, path, busy_timeout=30)
migrate(connection, str(path))
print(connection.execute("PRAGMA journal_mode").fetchone()[0], flush=True)
connection.close()
"""


def test_processes_may_make_the_file_at_the_same_moment(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CREATE_TOGETHER, str(tmp_path / "jobs.db")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.communicate()[0] for process in processes] == ["wal\n"] * 4


# -- errors


@pytest.fixture
def full(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(opened(config_of(tmp_path / "jobs.db", max_size=262_144))) as connection:
        connection.execute("CREATE TABLE t(x)")
        yield connection


def test_a_full_file(full: sqlite3.Connection) -> None:
    with pytest.raises(sqlite3.OperationalError) as caught:
        full.execute("INSERT INTO t VALUES (zeroblob(1000000))")
    error = translate(caught.value, "jobs.db")
    assert isinstance(error, BackendError)
    assert error.code == "disk-full"
    assert "max_size" in str(error)
    assert not is_busy(caught.value)


def test_a_value_that_is_too_large(full: sqlite3.Connection) -> None:
    full.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 100)
    with pytest.raises(sqlite3.DataError) as caught:
        full.execute("INSERT INTO t VALUES (?)", (b"x" * 101,))
    assert translate(caught.value, "jobs.db").code == "too-big"


def test_a_closed_connection(tmp_path: Path) -> None:
    connection = opened(config_of(tmp_path / "jobs.db"))
    connection.close()
    with pytest.raises(sqlite3.ProgrammingError) as caught:
        connection.execute("SELECT 1")
    assert isinstance(translate(caught.value, "jobs.db"), BackendClosedError)


def test_a_mistake_of_ours_is_told_as_such(full: sqlite3.Connection) -> None:
    with pytest.raises(sqlite3.OperationalError) as caught:
        full.execute("SELECT missing")
    error = translate(caught.value, "jobs.db")
    assert error.code == "unexpected"
    assert "no such column: missing" in str(error)


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (sqlite3.SQLITE_FULL, "disk-full"),
        (sqlite3.SQLITE_IOERR | 3 << 8, "io-error"),
        (sqlite3.SQLITE_READONLY | 1 << 8, "read-only"),
        (sqlite3.SQLITE_READONLY_DBMOVED, "moved"),
        (sqlite3.SQLITE_CORRUPT, "corrupt"),
        (sqlite3.SQLITE_NOTADB, "not-a-database"),
        (sqlite3.SQLITE_CANTOPEN | 2 << 8, "cannot-open"),
        (sqlite3.SQLITE_PERM, "permission"),
        (sqlite3.SQLITE_TOOBIG, "too-big"),
        (sqlite3.SQLITE_NOMEM, "out-of-memory"),
        (sqlite3.SQLITE_INTERRUPT, "interrupted"),
        (sqlite3.SQLITE_BUSY | 2 << 8, "backend-unavailable"),
        (sqlite3.SQLITE_LOCKED, "backend-unavailable"),
        (sqlite3.SQLITE_PROTOCOL, "backend-unavailable"),
        (sqlite3.SQLITE_CONSTRAINT, "unexpected"),
    ],
)
def test_every_code_has_a_meaning_and_a_mend(number: int, code: str) -> None:
    error = sqlite3.OperationalError("what SQLite says")
    error.sqlite_errorcode = number
    error.sqlite_errorname = "SQLITE_X"
    translated = translate(error, "/somewhere/jobs.db")
    assert isinstance(translated, JobProcessorError)
    assert translated.code == code
    assert translated.hint
    assert "/somewhere/jobs.db" in str(translated)
    assert is_busy(error) is (code == "backend-unavailable")


def test_only_errors_of_sqlite_are_busy() -> None:
    assert not is_busy(ValueError("locked"))
