"""What is tried again, how often, and how long apart; and that a submission whose answer was lost is stored once."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import anyio.lowlevel
import pytest

from asyncjobs import (
    BackendConnectionError,
    BackendError,
    ConfigurationError,
    DuplicateJobError,
    JobProcessor,
    MemoryBackend,
    MemoryConfig,
    RetryPolicy,
    SQLiteBackend,
    SQLiteConfig,
)
from asyncjobs.backends import transient
from asyncjobs.backends.base import NewJob
from asyncjobs.backends.sqlite.errors import translate
from asyncjobs.backends.transient import delay_before, enqueue_patiently, patiently
from asyncjobs.requests import JobQuery
from asyncjobs.testing import FaultyBackend, ManualClock
from tests.faults.stores import Failpoint, busy, full, io_error, sqlite_error

pytestmark = pytest.mark.anyio

PASSING = BackendConnectionError("the store is out of reach")


class Naps(ManualClock):
    """Whoever sleeps has slept; how long is written down."""

    def __init__(self) -> None:
        super().__init__()
        self.naps: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.advance(seconds)
        await anyio.lowlevel.checkpoint()


@pytest.fixture
def clock() -> Naps:
    return Naps()


def job(job_id: str, **fields: object) -> NewJob:
    return NewJob(id=job_id, function="app:work", call=b"", queue="default", retry=RetryPolicy(), **fields)


# -- how often, how long apart


async def test_it_is_tried_until_it_works(clock: Naps) -> None:
    async def third_time(attempt: int) -> int:
        if attempt < 3:
            raise PASSING
        return attempt

    assert await patiently(third_time, tries=5, clock=clock) == 3
    assert len(clock.naps) == 2


async def test_and_not_for_ever(clock: Naps) -> None:
    async def never(attempt: int) -> None:
        raise PASSING

    with pytest.raises(BackendConnectionError, match=r"out of reach \(5 tries\)") as caught:
        await patiently(never, tries=5, clock=clock)
    assert caught.value.tries == 5
    assert not caught.value.transient, "nobody tries again what was tried enough"
    assert caught.value.__cause__ is PASSING
    assert len(clock.naps) == 4
    assert sum(clock.naps) < 2


async def test_what_does_not_pass_by_itself_is_raised_at_once(clock: Naps) -> None:
    error = BackendError("there is no room")

    async def never(attempt: int) -> None:
        raise error

    with pytest.raises(BackendError) as caught:
        await patiently(never, tries=5, clock=clock)
    assert caught.value is error
    assert clock.naps == []


def test_the_waits_grow_and_are_spread() -> None:
    shortest = [delay_before(attempt, lambda: 0.0) for attempt in range(2, 12)]
    longest = [delay_before(attempt, lambda: 1.0) for attempt in range(2, 12)]
    assert longest[:5] == [0.1, 0.2, 0.4, 0.8, 1.6]
    assert max(longest) == 5.0
    assert shortest == [delay / 2 for delay in longest]


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (io_error(), True),
        (sqlite_error(sqlite3.SQLITE_IOERR_FSYNC, "SQLITE_IOERR_FSYNC", "disk I/O error"), True),
        (sqlite_error(sqlite3.SQLITE_CANTOPEN, "SQLITE_CANTOPEN", "unable to open database file"), True),
        (sqlite_error(sqlite3.SQLITE_NOMEM, "SQLITE_NOMEM", "out of memory"), True),
        (full(), False),
        (busy(), False),
        (sqlite_error(sqlite3.SQLITE_READONLY, "SQLITE_READONLY", "readonly"), False),
        (sqlite_error(sqlite3.SQLITE_READONLY_DBMOVED, "SQLITE_READONLY_DBMOVED", "moved"), False),
        (sqlite_error(sqlite3.SQLITE_CORRUPT, "SQLITE_CORRUPT", "malformed"), False),
        (sqlite_error(sqlite3.SQLITE_TOOBIG, "SQLITE_TOOBIG", "too big"), False),
    ],
    ids=lambda value: getattr(value, "sqlite_errorname", None),
)
def test_what_passes_by_itself(error: sqlite3.Error, passes: bool) -> None:
    translated = translate(error, "jobs.db")
    assert isinstance(translated, BackendError)
    assert translated.transient is passes


# -- submissions


@pytest.fixture
async def store(clock: Naps) -> FaultyBackend:
    return FaultyBackend(MemoryBackend(clock=clock))


async def stored(store: FaultyBackend) -> list[str]:
    return [job.id for job in await store.inner.find_jobs(JobQuery())]


async def test_a_lost_answer_is_no_second_job(store: FaultyBackend, clock: Naps) -> None:
    async with store:
        for nth in (1, 2, 3):
            store.fail("enqueue_jobs", nth, when="after")
        batch = [job("a", generated=True), job("mine")]
        assert list(await enqueue_patiently(store, batch, None, tries=5, clock=clock)) == ["a", "mine"]
        assert await stored(store) == ["a", "mine"]
        assert store.calls["enqueue_jobs"] == 4
        assert len((await store.read_events()).events) == 2


async def test_an_id_that_was_taken_before_is_refused_as_ever(store: FaultyBackend, clock: Naps) -> None:
    async with store:
        await store.enqueue_jobs([job("mine")])
        clock.advance(1)
        store.fail("enqueue_jobs")
        with pytest.raises(DuplicateJobError):
            await enqueue_patiently(store, [job("new"), job("mine")], None, tries=5, clock=clock)
        assert await stored(store) == ["mine"]
        store.fail("enqueue_jobs")
        again = job("mine", if_exists="return")
        assert list(await enqueue_patiently(store, [again], None, tries=5, clock=clock)) == ["mine"]


async def nothing() -> None:
    pass


async def test_a_processor_tries_as_often_as_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transient, "_FIRST_DELAY", 0.001)
    store = FaultyBackend(MemoryBackend())
    store.config = MemoryConfig(tries=3)
    async with JobProcessor(store, enable_daemon=False) as jp:
        for nth in (1, 2):
            store.fail("enqueue_jobs", nth)
        handle = await jp.submit_job(nothing)
        assert await stored(store) == [handle]
        for nth in (1, 2):
            store.fail("enqueue_jobs", nth)
        store.fail("enqueue_jobs", 3, when="after")
        with pytest.raises(BackendConnectionError) as caught:
            await jp.submit_job(nothing)
        assert caught.value.tries == 3
        again = await jp.submit_jobs(caught.value.request, if_exists="return")
        assert await stored(store) == [handle, *again]
        assert again == [caught.value.request[0].job_id]
        jp._submitted = 0


@pytest.mark.parametrize("tries", [0, -1, 1.5, True, 101])
def test_a_number_of_tries_that_cannot_be_is_refused(tries: object) -> None:
    with pytest.raises(ConfigurationError, match=r"SQLiteConfig\.tries"):
        SQLiteConfig(tries=tries)


# -- on a file


async def test_a_disk_that_fails_for_a_moment_is_not_noticed(tmp_path: Path, clock: Naps) -> None:
    hook = Failpoint()
    store = SQLiteBackend(SQLiteConfig(db_path=tmp_path / "jobs.db"), hook=hook)
    async with store:
        hook.fail("before-commit", *([io_error()] * 6))  # each failed attempt is two: on the loop, and in the thread
        assert list(await enqueue_patiently(store, [job("a")], None, tries=5, clock=clock)) == ["a"]
        assert [job.id for job in await store.find_jobs(JobQuery())] == ["a"]
        assert len(clock.naps) == 3


@pytest.mark.parametrize(("error", "code"), [(full(), "disk-full"), (busy(), "backend-unavailable")])
async def test_a_full_disk_and_a_lock_are_told_without_a_second_patience(
    tmp_path: Path, clock: Naps, error: Exception, code: str
) -> None:
    hook = Failpoint()
    store = SQLiteBackend(SQLiteConfig(db_path=tmp_path / "jobs.db", busy_timeout=0), hook=hook)
    async with store:
        hook.fail("begin", *([error] * 10))
        with pytest.raises(BackendError) as caught:
            await enqueue_patiently(store, [job("a")], None, tries=5, clock=clock)
        assert caught.value.code == code
        assert clock.naps == []
        hook.fail("begin")
