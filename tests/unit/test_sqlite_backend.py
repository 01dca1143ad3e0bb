"""How the SQLite backend notices that other processes changed something: ``wait``."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from asyncjobs import SQLiteBackend, SQLiteConfig
from asyncjobs.backends.sqlite.writer import Writer
from asyncjobs.clock import SystemClock

pytestmark = pytest.mark.anyio

LONG = 10.0


class Pauses(SystemClock):
    """Keeps how long it was asked to sleep, and sleeps no longer than a moment."""

    def __init__(self) -> None:
        self.asked: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.asked.append(seconds)
        await anyio.sleep(0)


@pytest.fixture
def clock() -> Pauses:
    return Pauses()


@pytest.fixture
async def backend(tmp_path: Path, clock: Pauses) -> AsyncIterator[SQLiteBackend]:
    backend = SQLiteBackend(SQLiteConfig(db_path=tmp_path / "jobs.db"), clock=clock)
    await backend.open()
    yield backend
    await backend.close()


@pytest.mark.parametrize("urgent", [True, False])
async def test_without_a_look_for_a_quarter_of_a_second_a_change_is_taken_for_granted(
    backend: SQLiteBackend, clock: Pauses, monkeypatch: pytest.MonkeyPatch, urgent: bool
) -> None:
    monkeypatch.setattr(Writer, "busy_in_thread", True)
    for _ in range(3):
        assert await backend.wait(LONG, urgent=urgent)
        assert 0.25 <= sum(clock.asked) <= 0.7
        clock.asked.clear()


async def test_short_waits_add_up_to_that_time(
    backend: SQLiteBackend, clock: Pauses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Writer, "busy_in_thread", True)
    answers = [await backend.wait(0.1) for _ in range(5)]
    assert sum(answers) == 1
    assert sum(clock.asked) <= 0.5


async def test_a_look_that_found_nothing_begins_it_anew(
    backend: SQLiteBackend, clock: Pauses, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        with monkeypatch.context() as busy:
            busy.setattr(Writer, "busy_in_thread", True)
            assert not await backend.wait(0.2)
        assert not await backend.wait(0.0)  # one look


async def test_nothing_is_reported_while_nothing_changes(backend: SQLiteBackend, clock: Pauses) -> None:
    assert not await backend.wait(LONG)
    assert sum(clock.asked) == pytest.approx(LONG)


@pytest.mark.parametrize("urgent", [True, False])
async def test_two_processes_do_not_look_in_step(backend: SQLiteBackend, clock: Pauses, urgent: bool) -> None:
    await backend.wait(LONG, urgent=urgent)
    assert len(set(clock.asked)) > len(clock.asked) / 2


async def test_a_change_is_noticed_while_the_writers_thread_has_the_connection_at_each_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Writer, "busy_in_thread", True)
    backend = SQLiteBackend(SQLiteConfig(db_path=tmp_path / "real.db"))
    await backend.open()
    began = time.monotonic()
    assert await backend.wait(LONG)
    assert time.monotonic() - began < LONG / 2
    await backend.close()
