"""A duration is counted on a clock that begins anew with each boot: after another one, its moment is what is left."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from asyncjobs import SQLiteBackend, SQLiteConfig, host
from asyncjobs.backends.base import ClaimRequest, NewJob, NewWorker
from asyncjobs.core.retry import RetryPolicy
from asyncjobs.core.state import SECOND
from asyncjobs.testing import ManualClock

pytestmark = pytest.mark.anyio

BOOTS = ("00000000-0000-4000-8000-000000000001", "ffffffff-ffff-4fff-bfff-fffffffffff2")


def boot(monkeypatch: pytest.MonkeyPatch, boot_id: str) -> None:
    real = host._text

    def text(path: str) -> str:
        return boot_id if path.endswith("boot_id") else real(path)

    monkeypatch.setattr(host, "_text", text)


def new(job_id: str, **fields: object) -> NewJob:
    return NewJob(id=job_id, function="f", call=b"", queue="q", retry=RetryPolicy(), **fields)


async def claimed(backend: SQLiteBackend) -> list[str]:
    worker = await backend.register_worker(NewWorker(name="w", slots=1))
    claims = await backend.dequeue_jobs(ClaimRequest(worker=worker, limit=1000, functions=frozenset({"f"})))
    return [job.attempt.job_id for job in claims.jobs]


async def test_a_duration_is_kept_beside_jobs_without_one(tmp_path: Path) -> None:
    config, clock = SQLiteConfig(db_path=tmp_path / "jobs.db"), ManualClock()
    later = clock.now() + 60 * SECOND

    def stored() -> dict[str, bool]:
        with closing(sqlite3.connect(config.file)) as connection:
            return {job_id: due is not None for job_id, due in connection.execute("SELECT id, due FROM jobs")}

    async with SQLiteBackend(config, clock=clock) as backend:
        await backend.enqueue_jobs([new("now"), new("lasts", delay=60 * SECOND), new("named", run_at=later)])
        assert stored() == {"now": False, "lasts": True, "named": False}
        assert await claimed(backend) == ["now"]
        clock.jump(-3600)  # the wall clock is set back: only the moment that was named follows it
        clock.advance(60)
        assert await claimed(backend) == ["lasts"]
        clock.advance(3600)
        assert await claimed(backend) == ["named"]


@pytest.mark.parametrize("order", [BOOTS, BOOTS[::-1]], ids=["up", "down"])
async def test_after_another_boot_the_moment_that_was_stored_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: tuple[str, str]
) -> None:
    config, clock = SQLiteConfig(db_path=tmp_path / "jobs.db"), ManualClock()
    boot(monkeypatch, order[0])
    clock.advance(10_000)
    async with SQLiteBackend(config, clock=clock) as backend:
        await backend.enqueue_jobs([new("a", delay=60 * SECOND), new("b", delay=7200 * SECOND)])
        await backend.enqueue_jobs([new(f"c{i}", delay=3600 * SECOND) for i in range(500)])
    rebooted = ManualClock()  # its monotonic clock is behind
    rebooted.jump(10_000 + 59)
    boot(monkeypatch, order[1])
    async with SQLiteBackend(config, clock=rebooted) as backend:
        assert await claimed(backend) == []
        rebooted.advance(1)
        assert await claimed(backend) == ["a"]
        rebooted.jump(3600 - 60)  # they are moments like any others now
        found: list[str] = []
        while some := await claimed(backend):
            found += some
        assert len(set(found)) == 500
        rebooted.advance(3600)
        assert await claimed(backend) == ["b"]


async def test_durations_of_the_new_boot_are_counted_on_its_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, clock = SQLiteConfig(db_path=tmp_path / "jobs.db"), ManualClock()
    boot(monkeypatch, BOOTS[0])
    async with SQLiteBackend(config, clock=clock) as backend:
        await backend.enqueue_jobs([new("old", delay=3600 * SECOND)])
    boot(monkeypatch, BOOTS[1])
    async with SQLiteBackend(config, clock=clock) as backend:
        await backend.enqueue_jobs([new("young", delay=10 * SECOND)])
        clock.jump(-3600)
        clock.advance(10)
        assert await claimed(backend) == ["young"]


async def test_where_the_system_tells_no_boot_moments_are_all_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boot(monkeypatch, "")
    clock = ManualClock()
    async with SQLiteBackend(SQLiteConfig(db_path=tmp_path / "jobs.db"), clock=clock) as backend:
        await backend.enqueue_jobs([new("a", delay=10 * SECOND)])
        clock.jump(10)
        assert await claimed(backend) == ["a"]


def test_a_boot_is_a_number_that_fits_a_column() -> None:
    numbers = [host.boot_number(boot_id) for boot_id in BOOTS]
    assert all(number is not None and 0 <= number < 2**63 for number in numbers)
    assert len(set(numbers)) == 2
    assert host.boot_number("") is None
