"""The checkpointing thread on a real file. Tests wait for its next look by its own condition."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from asyncjobs.backends.sqlite.checkpoint import Checkpointer
from asyncjobs.backends.sqlite.files import open_connection, prepare_file
from asyncjobs.backends.sqlite.log_size import measure_log
from asyncjobs.config import SQLiteConfig

LONG = 10.0


@pytest.fixture
def config(tmp_path: Path) -> SQLiteConfig:
    return SQLiteConfig(db_path=tmp_path / "jobs.db", checkpoint_size=65_536)


@pytest.fixture
def writer(config: SQLiteConfig) -> Iterator[sqlite3.Connection]:
    """Waits, as ours do, for the moment in which the checkpointer holds the lock that writers need."""
    with closing(open_connection(config, prepare_file(config), busy_timeout=LONG)) as connection:
        connection.execute("CREATE TABLE t(x)")
        yield connection


@pytest.fixture
def checkpointer(config: SQLiteConfig, writer: sqlite3.Connection) -> Iterator[Checkpointer]:
    checkpointer = Checkpointer(config, config.file)
    yield checkpointer
    checkpointer.close()
    assert "asyncjobs-checkpoint" not in [thread.name for thread in threading.enumerate()]


def log_size(config: SQLiteConfig) -> int:
    return os.stat(f"{config.file}-wal").st_size


def is_written_back(writer: sqlite3.Connection) -> bool:
    """Whether all of the log is in the database, as SQLite says itself."""
    busy, pages, written = writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return not busy and pages == written


def write(writer: sqlite3.Connection, size: int = 200_000) -> None:
    writer.execute("INSERT INTO t VALUES (zeroblob(?))", (size,))


def looked(checkpointer: Checkpointer) -> None:
    """Two looks: the first may have begun before what the test did."""
    checkpointer.nudge()
    assert checkpointer.wait_looked(1, LONG)
    checkpointer.nudge()
    assert checkpointer.wait_looked(1, LONG)


def test_a_long_log_is_written_back_and_written_over(
    config: SQLiteConfig, writer: sqlite3.Connection, checkpointer: Checkpointer
) -> None:
    generations: set[bytes] = set()
    for _ in range(3):
        write(writer)
        assert 200_000 < log_size(config) < 300_000
        generations.add(measure_log(f"{config.file}-wal").generation)
        looked(checkpointer)
    assert len(generations) == 3
    statistics = checkpointer.statistics
    assert (statistics.runs, statistics.busy, statistics.failures, statistics.last_error) == (3, 0, 0, None)
    assert statistics.seconds >= statistics.longest > 0
    assert writer.execute("SELECT count(*) FROM t").fetchone() == (3,)


def test_a_short_log_is_left_alone(
    config: SQLiteConfig, writer: sqlite3.Connection, checkpointer: Checkpointer
) -> None:
    write(writer, 10_000)
    before = log_size(config)
    looked(checkpointer)
    assert log_size(config) == before > 0
    assert checkpointer.statistics.runs == 0


def test_a_log_that_was_written_back_is_left_alone_until_it_is_long_again(
    config: SQLiteConfig, writer: sqlite3.Connection, checkpointer: Checkpointer
) -> None:
    write(writer)
    looked(checkpointer)
    looked(checkpointer)  # the file is as long as before
    assert checkpointer.statistics.runs == 1
    write(writer, 10_000)
    looked(checkpointer)
    assert checkpointer.statistics.runs == 1
    write(writer)
    looked(checkpointer)
    assert checkpointer.statistics.runs == 2


def test_a_log_that_was_very_long_once_is_shortened(
    config: SQLiteConfig, writer: sqlite3.Connection, checkpointer: Checkpointer
) -> None:
    with closing(open_connection(config, config.file, busy_timeout=0, read_only=True)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM t").fetchone()
        for _ in range(5):
            write(writer)
        looked(checkpointer)
    assert log_size(config) > 1_000_000
    wait_for_a_run(checkpointer)
    assert log_size(config) <= 2 * config.checkpoint_size


def test_it_looks_without_being_nudged(
    config: SQLiteConfig, writer: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asyncjobs.backends.sqlite.checkpoint._EVERY", 0.02)
    with closing(Checkpointer(config, config.file)) as checkpointer:
        write(writer)  # by another process, let us say
        assert checkpointer.wait_looked(2, LONG)
        assert checkpointer.statistics.runs >= 1, "a look may come between two of its commits"


def test_a_reader_in_the_way_is_counted_and_tried_again(
    config: SQLiteConfig, writer: sqlite3.Connection, checkpointer: Checkpointer
) -> None:
    with closing(open_connection(config, config.file, busy_timeout=0, read_only=True)) as reader:
        reader.execute("BEGIN")  # before there is anything to write back: a look may come at any time
        reader.execute("SELECT count(*) FROM t").fetchone()
        write(writer)
        write(writer)
        looked(checkpointer)
        assert checkpointer.statistics.busy >= 1
        assert checkpointer.statistics.runs == 0
        write(writer)  # nobody is kept from writing
    wait_for_a_run(checkpointer)
    assert is_written_back(writer)


def test_a_writer_in_the_way_is_counted_and_tried_again(
    config: SQLiteConfig, writer: sqlite3.Connection, checkpointer: Checkpointer
) -> None:
    for _ in range(10):  # a look may come before the lock, and find nobody in the way
        write(writer)
        writer.execute("BEGIN IMMEDIATE")
        looked(checkpointer)
        if checkpointer.statistics.busy:
            break
        writer.execute("COMMIT")
    assert checkpointer.statistics.busy >= 1
    writer.execute("COMMIT")
    write(writer)
    wait_for_a_run(checkpointer)
    assert is_written_back(writer)


def wait_for_a_run(checkpointer: Checkpointer) -> None:
    for _ in range(100):
        if checkpointer.statistics.runs:
            return
        checkpointer.nudge()
        assert checkpointer.wait_looked(1, LONG)
    pytest.fail("it never ran")


def test_errors_are_kept_not_raised(tmp_path: Path) -> None:
    (tmp_path / "jobs.db").write_bytes(b"not a database, but long enough to be taken for one " * 100)
    (tmp_path / "jobs.db-wal").write_bytes(b"x" * 100_000)
    config = SQLiteConfig(db_path=tmp_path / "jobs.db", checkpoint_size=65_536)
    checkpointer = Checkpointer(config, config.file)
    looked(checkpointer)
    checkpointer.close()
    statistics = checkpointer.statistics
    assert statistics.failures >= 1
    assert statistics.last_error is not None
    assert "is not an SQLite database" in statistics.last_error


def test_closing_writes_back_what_is_left_and_empties_the_log(
    config: SQLiteConfig, writer: sqlite3.Connection, checkpointer: Checkpointer
) -> None:
    write(writer, 10_000)
    checkpointer.close()
    checkpointer.close()
    assert log_size(config) == 0
    assert checkpointer.statistics.runs == 1


def test_nudging_after_closing_does_nothing(checkpointer: Checkpointer) -> None:
    checkpointer.close()
    checkpointer.nudge()
    assert checkpointer.wait_looked(1, LONG)  # returns at once
