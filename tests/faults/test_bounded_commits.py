"""What changes very many rows at once: how many of them the event loop writes in one commit, and who gets in between.

Rows are counted, not milliseconds: ``make bench`` measures those (``stalls-large``).
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest
from msgspec import Struct

from asyncjobs import JobProcessor, SQLiteBackend, SQLiteConfig
from asyncjobs.backends.sqlite import removal, writer
from asyncjobs.backends.sqlite.operations import INLINE
from tests.conformance.support import CANCELLED, PENDING, Store, new

pytestmark = pytest.mark.anyio

MANY = 10_000
COMPONENT = 5_000
OF_THE_LOOP = INLINE + 3 * writer._INLINE_ROWS
"""Rows: those that operations are estimated to write, and for each that was read a job, its edge and an event."""
OF_A_STEP = 4 * removal._STEP + 4 * removal._JOBS
"""Rows: steps, events, edges and attempts, and a row in each of four tables for each job that goes completely."""


class Written(Struct):
    """A commit, or a try: its operations, the rows that it wrote, and whether the event loop did that."""

    kinds: set[str]
    rows: int
    on_the_loop: bool


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[Written]:
    """Everything that is written from now on."""
    found: list[Written] = []
    commit = writer.commit

    def counted(connection: sqlite3.Connection, operations: Any, *arguments: Any, **named: Any) -> Any:
        before = connection.total_changes  # also of what is rolled back
        try:
            return commit(connection, operations, *arguments, **named)
        finally:
            on_the_loop = threading.current_thread() is threading.main_thread()
            kinds = {type(operation).__name__ for operation in operations}
            found.append(Written(kinds, connection.total_changes - before, on_the_loop))

    monkeypatch.setattr(writer, "commit", counted)
    return found


def most_rows(written: list[Written], *, on_the_loop: bool) -> int:
    return max(each.rows for each in written if each.on_the_loop is on_the_loop)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    config = SQLiteConfig(db_path=tmp_path / "jobs.db", readers=1)
    async with Store(lambda clock: SQLiteBackend(config, clock=clock)) as store:
        yield store


async def submit_around(store: Store) -> None:
    """Let the loop write something, too."""
    for i in range(5):
        await store.submit(new(f"neighbour-{i}"))


async def test_the_end_of_a_root_of_ten_thousand(store: Store, written: list[Written]) -> None:
    await store.submit(new("root"), *(new(f"child-{i}", "root") for i in range(MANY)))
    hand = await store.hand()
    assert await hand.claim(1) == ["root"]
    written.clear()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hand.succeed, "root")
        tasks.start_soon(submit_around, store)
    assert (await store.backend.count_jobs())[PENDING] == MANY + 5
    assert 0 < most_rows(written, on_the_loop=True) <= OF_THE_LOOP
    assert most_rows(written, on_the_loop=False) >= MANY, "all of them become ready at once"


async def test_ten_thousand_of_a_group_are_cancelled(tmp_path: Path, written: list[Written]) -> None:
    config = SQLiteConfig(db_path=tmp_path / "jobs.db")
    async with JobProcessor(config, enable_daemon=False) as jp:
        async with jp.batch() as batch:
            for value in range(MANY):
                batch.submit_job(abs, value, group="all")
        written.clear()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: jp.cancel_jobs(group="all"))
            for value in range(5):
                tasks.start_soon(jp.submit_job, abs, value)
        assert await jp.backend.count_jobs("all") == {CANCELLED: MANY}
    assert 0 < most_rows(written, on_the_loop=True) <= OF_THE_LOOP
    assert sum(each.rows for each in written if not each.on_the_loop) >= MANY


async def a_component(store: Store) -> None:
    """A root and its children, all of which have ended."""
    await store.submit(new("root"), *(new(f"child-{i}", "root") for i in range(COMPONENT - 1)))
    hand = await store.hand()
    await hand.claim(1)
    await hand.fail("root")  # skips the others


async def remove_beside(store: Store) -> list[str]:
    """Remove the component while another task submits jobs, one after the other, until it is gone."""
    gone: list[str] = []

    async def submit(cancelled: anyio.CancelScope) -> None:
        i = 0
        with cancelled:
            while True:
                await store.submit(new(f"neighbour-{i}"))
                i += 1

    scope = anyio.CancelScope()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(submit, scope)
        gone += await store.backend.remove_jobs(["root"], components=True)
        scope.cancel()
    return gone


async def test_a_large_component_is_removed_in_bounded_steps_of_the_thread(
    store: Store, written: list[Written]
) -> None:
    await a_component(store)
    written.clear()
    assert len(await store.backend.remove_jobs(["root"], components=True)) == COMPONENT
    first, *steps = [each for each in written if each.kinds & {"Remove", "Clear"}]
    assert first.kinds == {"Remove"}
    assert len(steps) >= COMPONENT / removal._JOBS - 1
    assert not any(each.on_the_loop for each in (first, *steps))
    assert max(step.rows for step in steps) <= OF_A_STEP
    # Readers find the whole component, or nothing of it: its rows in ``jobs`` and ``removed`` go together.
    assert first.rows <= 2 * COMPONENT + OF_A_STEP


async def test_a_neighbour_gets_in_between_each_two_steps(store: Store, written: list[Written]) -> None:
    await a_component(store)
    written.clear()
    assert len(await remove_beside(store)) == COMPONENT
    order = [each.kinds for each in written]
    steps = [i for i, kinds in enumerate(order) if kinds & {"Remove", "Clear"}]
    for step, following in pairwise(steps):
        between = set[str]().union(*order[step + 1 : following + 1])
        assert "Enqueue" in between
    assert most_rows(written, on_the_loop=True) <= OF_THE_LOOP
