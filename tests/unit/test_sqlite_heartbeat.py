"""The heartbeat thread on a real file. Tests wait for a beat by the condition that the thread itself notifies."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from asyncjobs.backends.sqlite.heartbeat import Heartbeat
from asyncjobs.clock import SystemClock
from asyncjobs.config import SQLiteConfig
from tests.unit.sqlite_store import Store, new_store

LEASE = 15_000_000
OFTEN = 0.005
LONG = 10.0


@pytest.fixture
def config(tmp_path: Path) -> SQLiteConfig:
    return SQLiteConfig(db_path=tmp_path / "jobs.db")


@pytest.fixture
def store(config: SQLiteConfig) -> Iterator[Store]:
    with new_store(config) as store:
        for n in (1, 2):
            store.worker(n, expires=0)
        yield store


class Clock(SystemClock):
    """A monotonic clock that only the test moves."""

    def __init__(self) -> None:
        self.at = 1_000_000

    def monotonic(self) -> int:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def heartbeat(config: SQLiteConfig, store: Store, clock: Clock) -> Iterator[Heartbeat]:
    heartbeat = Heartbeat(config, config.file, clock)
    yield heartbeat
    heartbeat.close()
    assert "asyncjobs-heartbeat" not in [thread.name for thread in threading.enumerate()]


def expires(store: Store, n: int) -> int:
    return store.connection.execute("SELECT expires FROM workers WHERE n = ?", (n,)).fetchone()[0]


def test_a_beat_renews_the_lease_from_the_clock(store: Store, heartbeat: Heartbeat, clock: Clock) -> None:
    heartbeat.add(1, LEASE, OFTEN)
    assert heartbeat.last_written(1) == 1_000_000
    for moment in (2_000_000, 3_000_000):
        clock.at = moment
        assert heartbeat.wait_written(1, moment, LONG)
        assert heartbeat.last_written(1) == moment
        assert expires(store, 1) == moment + LEASE
    assert expires(store, 2) == 0
    assert heartbeat.last_error is None


def test_beats_come_when_they_are_due_and_when_asked_for(heartbeat: Heartbeat, clock: Clock) -> None:
    heartbeat.add(1, LEASE, 3600)
    heartbeat.add(2, LEASE, OFTEN)
    clock.at += 1
    assert heartbeat.wait_written(2, clock.at, LONG)
    assert heartbeat.last_written(1) == 1_000_000
    heartbeat.beat()
    assert heartbeat.wait_written(1, clock.at, LONG)


def test_a_removed_worker_is_left_alone(store: Store, heartbeat: Heartbeat, clock: Clock) -> None:
    heartbeat.add(1, LEASE, OFTEN)
    heartbeat.add(2, LEASE, OFTEN)
    clock.at += 1
    assert heartbeat.wait_written(1, clock.at, LONG)
    heartbeat.remove(1)
    assert heartbeat.last_written(1) is None
    assert not heartbeat.wait_written(1, 0, LONG)
    clock.at += 1
    assert heartbeat.wait_written(2, clock.at, LONG)  # what was being written for 1 is written by now
    before = expires(store, 1)
    for _ in range(3):
        clock.at += 1
        assert heartbeat.wait_written(2, clock.at, LONG)
    assert expires(store, 1) == before


def test_a_worker_taken_for_dead_stays_so(store: Store, heartbeat: Heartbeat, clock: Clock) -> None:
    store.connection.execute("UPDATE workers SET gone = 1 WHERE n = 1")
    heartbeat.add(1, LEASE, OFTEN)
    clock.at += 1
    assert not heartbeat.wait_written(1, clock.at, LONG)
    assert heartbeat.is_lost(1)
    assert expires(store, 1) == 0
    assert heartbeat.last_written(1) == 1_000_000


def test_a_locked_file_is_tried_again_until_it_can_be_written(store: Store, heartbeat: Heartbeat, clock: Clock) -> None:
    store.connection.execute("BEGIN IMMEDIATE")
    heartbeat.add(1, 30_000, OFTEN)  # so short a lease that waiting for the lock fails after 10 ms
    clock.at += 1
    assert not heartbeat.wait_written(1, clock.at, 0.15)
    assert heartbeat.last_error is not None
    assert not heartbeat.is_lost(1)
    store.connection.execute("COMMIT")
    assert heartbeat.wait_written(1, clock.at, LONG)
    assert heartbeat.last_error is None


def test_a_missing_file_is_no_error_of_the_caller(tmp_path: Path, clock: Clock) -> None:
    config = SQLiteConfig(db_path=tmp_path / "jobs.db")
    heartbeat = Heartbeat(config, config.file, clock)
    heartbeat.add(1, LEASE, OFTEN)
    clock.at += 1
    assert not heartbeat.wait_written(1, clock.at, 0.05)
    made = SQLiteConfig(db_path=tmp_path / "made.db")
    with new_store(made) as store:
        store.worker(1, expires=0)
    made.file.rename(config.file)  # not before the worker's row is in it: without one, a beat takes it for dead
    assert heartbeat.wait_written(1, clock.at, LONG)
    heartbeat.close()
    heartbeat.close()
    heartbeat.add(2, LEASE, OFTEN)
    assert heartbeat.last_written(2) is None


def test_without_workers_there_is_no_thread(heartbeat: Heartbeat) -> None:
    assert "asyncjobs-heartbeat" not in [thread.name for thread in threading.enumerate()]
