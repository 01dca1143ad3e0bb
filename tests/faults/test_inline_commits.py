"""What the event loop commits itself is small, also in what it releases, skips and interrupts (promise 12)."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from asyncjobs import SQLiteBackend, SQLiteConfig
from asyncjobs.backends.base import AttemptEnd, NewJob
from tests.conformance.support import (
    CANCELLED,
    COMPLETED,
    FAILED,
    IN_PROGRESS,
    PENDING,
    SKIPPED,
    SUCCESS,
    Hand,
    Store,
    new,
)

pytestmark = pytest.mark.anyio

MANY = 2000
"""Jobs that take several times as long as the loop has."""
FEW = 50


class Commits:
    """A hook that knows who committed."""

    def __init__(self) -> None:
        self.on_the_loop: list[bool] = []

    def __call__(self, point: str) -> None:
        if point == "after-commit":
            self.on_the_loop.append(threading.current_thread() is threading.main_thread())


class Watched(Store):
    """A store that says whether the last commit was the loop's."""

    def __init__(self, folder: Path) -> None:
        self.commits = Commits()
        config = SQLiteConfig(db_path=folder / "jobs.db", readers=1)
        super().__init__(lambda clock: SQLiteBackend(config, clock=clock, hook=self.commits))

    @property
    def on_the_loop(self) -> bool:
        return self.commits.on_the_loop[-1]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Watched]:
    async with Watched(tmp_path) as store:
        yield store


async def a_running_root(store: Store, *children: NewJob) -> Hand:
    await store.submit(new("root"), *children)
    hand = await store.hand()
    assert await hand.claim(1) == ["root"]
    return hand


def children(count: int, *parents: str) -> list[NewJob]:
    return [new(f"child-{i}", *parents) for i in range(count)]


@pytest.mark.parametrize("end", ["succeed", "fail"])
async def test_the_end_of_a_job_with_many_dependents_is_not_committed_on_the_loop(store: Watched, end: str) -> None:
    hand = await a_running_root(store, *children(MANY, "root"))
    await getattr(hand, end)("root")
    assert not store.on_the_loop
    counts = await store.backend.count_jobs()
    assert counts == ({COMPLETED: 1, PENDING: MANY} if end == "succeed" else {FAILED: 1, SKIPPED: MANY})
    assert await store.status(f"child-{MANY - 1}") is (PENDING if end == "succeed" else SKIPPED)


async def test_nor_is_one_that_skips_a_long_chain(store: Watched) -> None:
    chain = [new(f"link-{i}", f"link-{i - 1}" if i else "root") for i in range(MANY)]
    hand = await a_running_root(store, *chain)
    await hand.fail("root")
    assert not store.on_the_loop
    assert await store.backend.count_jobs() == {FAILED: 1, SKIPPED: MANY}


async def test_nor_a_retry_that_revives_many(store: Watched) -> None:
    hand = await a_running_root(store, *children(MANY, "root"))
    await hand.fail("root")
    assert await store.backend.retry_job("root") is PENDING
    assert not store.on_the_loop
    assert await store.backend.count_jobs() == {PENDING: MANY + 1}


async def test_nor_a_reap_that_interrupts_many(store: Watched) -> None:
    await store.submit(*children(MANY))
    hand = await store.hand()
    for _ in range(MANY // 100):
        assert len(await hand.claim(100)) == 100
    assert len(await store.lose(hand)) == MANY
    assert not store.on_the_loop


async def test_nor_the_cancellation_of_a_job_with_many_descendants(store: Watched) -> None:
    hand = await a_running_root(store)
    for start in range(0, MANY, 100):
        await store.submit(*(new(f"root/{start + i}") for i in range(100)), parent=hand.held["root"])
    await store.backend.cancel_jobs(["root"], descendants=True)
    assert not store.on_the_loop
    assert await store.backend.count_jobs() == {IN_PROGRESS: 1, CANCELLED: MANY}


async def test_the_end_of_a_job_with_few_dependents_is_committed_on_the_loop(store: Watched) -> None:
    hand = await a_running_root(store, *children(FEW, "root"))
    await hand.succeed("root")
    assert store.on_the_loop
    assert await store.status("child-0") is PENDING


async def test_neighbours_in_the_same_group_get_their_answers(store: Watched) -> None:
    hand = await a_running_root(store, *children(MANY, "root"))
    end = AttemptEnd(hand.held["root"], SUCCESS)
    statuses: list[object] = []

    async def finish() -> None:
        statuses.extend((await store.backend.update_job_status([end], hand.wants(3))).results)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(finish)
        for i in range(5):
            tasks.start_soon(store.submit, new(f"other-{i}"))
    assert not store.on_the_loop
    assert statuses == [COMPLETED]
    assert len(await store.backend.get_jobs([f"other-{i}" for i in range(5)])) == 5
    assert (await store.backend.count_jobs())[IN_PROGRESS] == 3
    assert sorted(await store.types("root")) == ["completed", "started", "submitted"]  # once, although tried twice
