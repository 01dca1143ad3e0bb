"""How much of a write-ahead log is in use, against what SQLite itself says."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from asyncjobs.backends.sqlite.log_size import NO_LOG, LogSize, measure_log


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "any.db-wal"


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path.with_name("any.db"), isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("CREATE TABLE t(x)")
        yield connection


def frames(connection: sqlite3.Connection) -> int:
    """Of the log now, by SQLite; it writes them back, and leaves the log as it is."""
    return connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1]


def bytes_of(frames: int, page_size: int = 4096) -> int:
    return 32 + frames * (24 + page_size)


@pytest.mark.parametrize("page_size", [512, 2048, 4096, 65_536])
def test_it_is_as_long_as_sqlite_says_however_often_it_was_begun_again(tmp_path: Path, page_size: int) -> None:
    draw = random.Random(page_size)
    generations: set[bytes] = set()
    with closing(sqlite3.connect(tmp_path / "any.db", isolation_level=None)) as connection:
        connection.execute(f"PRAGMA page_size = {page_size}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("CREATE TABLE t(x)")
        for _ in range(30):
            connection.execute("INSERT INTO t VALUES (zeroblob(?))", (draw.randrange(20 * page_size),))
            log = measure_log(tmp_path / "any.db-wal")
            generations.add(log.generation)
            # Each of these has SQLite begin the log again with the next write.
            assert log.used == bytes_of(frames(connection), page_size)
    assert len(generations) == 30


def test_without_a_log_there_is_none(path: Path) -> None:
    assert measure_log(path) == NO_LOG
    path.write_bytes(b"")
    assert measure_log(path) == NO_LOG


def test_what_is_no_log_has_no_length(path: Path) -> None:
    for content in (b"x" * 20, b"x" * 100_000, bytes(100_000), b"\xff" * 100_000):
        path.write_bytes(content)
        assert measure_log(path).used == 0


def test_an_emptied_log_has_no_length(path: Path, connection: sqlite3.Connection) -> None:
    assert measure_log(path).used > 0
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert measure_log(path) == NO_LOG


def test_what_was_written_since_is_told_from_what_was_there() -> None:
    emptied = LogSize(b"one", 1000)
    assert LogSize(b"one", 1000).since(emptied) == 0
    assert LogSize(b"one", 1500).since(emptied) == 500
    assert LogSize(b"two", 800).since(emptied) == 800
