"""The writer and the workers that it asks: one user of the connection at a time, and nobody takes others down."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from asyncjobs import SQLiteBackend, SQLiteConfig
from asyncjobs.backends.base import ClaimRequest, Finished
from asyncjobs.backends.group_commits import Membership, Offer
from tests.conformance.support import Store, new

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Worker:
    """A member that always has a claim, and asks for the next group as soon as it is told of the last one."""

    def __init__(self, worker: str, *, restless: bool = False) -> None:
        self.worker = worker
        self.restless = restless
        self.limit: Any = 1
        self.membership: Membership | None = None
        self.offers = 0
        self.told: list[Finished] = []
        self.errors: list[Exception] = []
        self.failing: Callable[[], None] = lambda: None

    def offer(self, *, submitted: bool, claiming: Collection[str]) -> Offer | None:
        self.failing()
        self.offers += 1
        return Offer((), ClaimRequest(worker=self.worker, limit=self.limit, functions=frozenset(), refused=frozenset()))

    def renewed(self, claim: ClaimRequest) -> ClaimRequest:
        self.failing()
        return claim

    def committed(self, finished: Finished) -> None:
        self.told.append(finished)
        if self.restless and self.membership is not None:
            self.membership.ask_soon()

    def failed(self, error: Exception) -> None:
        self.errors.append(error)


class Watched:
    """Notes who is inside of a transaction, and whether that was ever more than one."""

    def __init__(self) -> None:
        self.inside = threading.Lock()
        self.overlaps = 0
        self.threads: set[str] = set()

    def __call__(self, point: str) -> None:
        if point == "begin":
            self.threads.add(threading.current_thread().name)
            if not self.inside.acquire(blocking=False):
                self.overlaps += 1
        elif point == "before-commit" and threading.current_thread().name == "asyncjobs-writer":
            time.sleep(0.005)  # a commit of the loop would come now
        elif point == "after-commit" and self.inside.locked():
            self.inside.release()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    config = SQLiteConfig(db_path=tmp_path / "jobs.db", readers=1)
    async with Store(lambda clock: SQLiteBackend(config, clock=clock)) as store:
        yield store


async def joined(store: Store, *, restless: bool = False) -> Worker:
    hand = await store.hand()
    worker = Worker(hand.id, restless=restless)
    worker.membership = store.backend.join_group_commits(worker)
    assert worker.membership is not None
    return worker


async def test_the_loop_and_the_thread_never_use_the_connection_at_once(tmp_path: Path) -> None:
    watched = Watched()
    config = SQLiteConfig(db_path=tmp_path / "jobs.db", readers=1)
    async with Store(lambda clock: SQLiteBackend(config, clock=clock, hook=watched)) as store:
        worker = await joined(store, restless=True)

        async def submit(number: int) -> None:
            for i in range(40):
                size = 400 if i % 8 == number else 1  # more than the loop commits itself, and little
                await store.submit(*(new(f"{number}-{i}-{k}") for k in range(size)))
                for _ in range((number + i) % 4):
                    await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as tasks:
            for number in range(4):
                tasks.start_soon(submit, number)
        worker.restless = False
    assert watched.threads == {"MainThread", "asyncjobs-writer"}
    assert not watched.overlaps


async def test_it_is_asked_for_submissions_and_on_request_and_not_for_anything_else(store: Store) -> None:
    worker = await joined(store)
    await store.submit(new("a"))
    assert worker.offers == len(worker.told) == 1
    await store.backend.mark_job_ready(["a"])
    await store.hand("other")
    assert worker.offers == 1
    assert worker.membership is not None
    worker.membership.ask_soon()
    await store.backend.mark_job_ready(["a"])
    assert worker.offers == 2


async def test_a_worker_that_raises_takes_nobody_down(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    faulty, sound = await joined(store), await joined(store)

    def fail() -> None:
        raise ZeroDivisionError

    faulty.failing = fail
    assert list(await store.submit(new("a"))) == ["a"]
    assert len(sound.told) == 1
    assert "could not be asked" in caplog.text


async def test_a_worker_that_cannot_be_told_takes_nobody_down(
    store: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty, sound = await joined(store), await joined(store)

    def fail(finished: Finished) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(faulty, "committed", fail)
    assert list(await store.submit(new("a"))) == ["a"]
    assert len(sound.told) == 1
    assert "could not be told" in caplog.text


async def test_an_offer_that_fails_alone_is_given_back(store: Store) -> None:
    worker = await joined(store)
    worker.limit = "many"
    assert list(await store.submit(new("a"))) == ["a"]
    assert [type(error) for error in worker.errors] == [TypeError]
    assert not worker.told


async def test_an_offer_that_fails_with_the_disk_is_given_back(tmp_path: Path) -> None:
    broken = [False]

    def hook(point: str) -> None:
        if point == "before-commit" and broken[0]:
            raise sqlite3.OperationalError("disk I/O error")

    config = SQLiteConfig(db_path=tmp_path / "jobs.db", readers=1)
    async with Store(lambda clock: SQLiteBackend(config, clock=clock, hook=hook)) as store:
        worker = await joined(store)
        broken[0] = True
        with pytest.raises(Exception, match="disk I/O"):
            await store.submit(new("a"))
        assert len(worker.errors) == 1
        broken[0] = False
        await store.submit(new("b"))
        assert len(worker.told) == 1


async def test_whoever_has_left_is_not_asked(store: Store) -> None:
    worker = await joined(store)
    assert worker.membership is not None
    worker.membership.leave()
    worker.membership.ask_soon()
    worker.membership.leave()
    await store.submit(new("a"))
    assert not worker.offers
