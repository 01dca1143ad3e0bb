"""The writer lets other threads have their turn before it locks the file, where they would take it anyway."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from asyncjobs import SQLiteBackend, SQLiteConfig
from asyncjobs.backends.sqlite import writer
from tests.conformance.support import Store, new

pytestmark = pytest.mark.anyio

TURNS = 3


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Time:
    """A clock, and what happens to a commit in its order: the turn of other threads, and the lock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.turn = self.locked = 0.0
        """Seconds that a turn takes, and a commit."""
        self.order: list[str] = []

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds == 0
        self.order.append("turn")
        self.now += self.turn

    def hook(self, point: str) -> None:
        if point == "begin":
            self.order.append("lock")
            self.now += self.locked


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    clock = Time()
    fake = SimpleNamespace(monotonic=time.monotonic, perf_counter=clock.perf_counter, sleep=clock.sleep)
    monkeypatch.setattr(writer, "time", fake)
    monkeypatch.setattr(writer, "_TURNS", TURNS)
    return clock


@pytest.fixture
async def store(tmp_path: Path, clock: Time) -> AsyncIterator[Store]:
    config = SQLiteConfig(db_path=tmp_path / "jobs.db", readers=1)
    async with Store(lambda manual: SQLiteBackend(config, clock=manual, hook=clock.hook)) as store:
        clock.order.clear()
        yield store


async def commit(store: Store, clock: Time, locked: float = 0.001) -> list[str]:
    """Commit once; return what happened."""
    clock.locked = locked
    await store.submit(new(str(clock.now)))
    happened = clock.order[:]
    clock.order.clear()
    return happened


async def test_a_commit_that_takes_no_time_gives_no_turn(store: Store, clock: Time) -> None:
    assert [await commit(store, clock) for _ in range(4)] == [["lock"]] * 4


async def test_after_one_that_others_have_held_up_they_have_a_turn_before_the_next_ones(
    store: Store, clock: Time
) -> None:
    await commit(store, clock, locked=1)
    assert [await commit(store, clock) for _ in range(TURNS + 1)] == [["turn", "lock"]] * TURNS + [["lock"]]


async def test_as_long_as_they_take_it_they_have_it(store: Store, clock: Time) -> None:
    await commit(store, clock, locked=1)
    clock.turn = 1
    assert [await commit(store, clock) for _ in range(5 * TURNS)] == [["turn", "lock"]] * 5 * TURNS
    clock.turn = 0
    assert [await commit(store, clock) for _ in range(TURNS + 1)] == [["turn", "lock"]] * TURNS + [["lock"]]
