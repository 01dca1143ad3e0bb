"""Steps in a file: the order of phases, what each statement costs, and how upkeep deletes what no longer counts."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from asyncjobs import SQLiteBackend, SQLiteConfig
from asyncjobs.backends.sqlite.writer import Writer
from tests.conformance.support import COMPLETED, PENDING, RELEASED, SUCCESS, Hand, Store, new
from tests.unit.sqlite_store import Store as File
from tests.unit.sqlite_store import new_store

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    config = SQLiteConfig(db_path=tmp_path / "jobs.db", readers=1)
    async with Store(lambda clock: SQLiteBackend(config, clock=clock)) as store:
        yield store


@pytest.fixture
def file(tmp_path: Path) -> Iterator[File]:
    with new_store(SQLiteConfig(db_path=tmp_path / "jobs.db")) as file:
        yield file


async def running(store: Store, *ids: str) -> Hand:
    await store.submit(*map(new, ids))
    hand = await store.hand()
    assert await hand.claim() == list(ids)
    return hand


# -- the order of the phases


async def test_what_is_kept_in_the_group_of_its_end_is_kept(store: Store) -> None:
    hand = await running(store, "a", "b")
    answers: dict[str, object] = {}

    async def end() -> None:
        answers["end"] = await hand.ends({"a": SUCCESS, "b": RELEASED})

    async def keep(job_id: str) -> None:
        answers[job_id] = await hand.keep(job_id, x=b"1")

    writer: Writer = store.backend._writer  # type: ignore[attr-defined]  # pyright: ignore
    before = writer.commits
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(end)
        tasks.start_soon(keep, "a")
        tasks.start_soon(keep, "b")
    assert writer.commits == before + 1
    assert answers == {"end": [COMPLETED, PENDING], "a": [None], "b": [None]}
    assert await store.steps("a") == await store.steps("b") == {"x": b"1"}


async def test_what_is_kept_in_the_group_of_its_removal_is_stale(store: Store) -> None:
    hand = await running(store, "a")
    await hand.succeed("a")
    answers: list[object] = []

    async def keep() -> None:
        answers.extend(await hand.keep("a", x=b"1"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(keep)
        tasks.start_soon(store.backend.remove_jobs, ["a"])
    assert answers != [None]
    assert await rows(store, "steps") == 0


async def rows(store: Store, table: str) -> int:
    config: SQLiteConfig = store.backend.config  # type: ignore[attr-defined]  # pyright: ignore
    with closing(sqlite3.connect(config.file)) as connection:
        return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
