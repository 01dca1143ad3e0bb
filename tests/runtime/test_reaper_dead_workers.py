"""The truth when no worker is alive: who returns its jobs, what is said of them, and who is told."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from asyncjobs import JobProcessor, JobQuery, SQLiteConfig, SyncJobs
from asyncjobs.backends.base import ClaimRequest, JobBackend, NewWorker, WorkerLease
from asyncjobs.runtime.reaper import Reaper
from asyncjobs.testing import ManualClock
from tests.runtime.support import CANCELLED, IN_PROGRESS, PATIENCE, PENDING, Stores, comes_true, nothing, within
from tests.runtime.test_engine_restart import kill_one

pytestmark = pytest.mark.anyio

QUERY = JobQuery()


@asynccontextmanager
async def another_process(stores: Stores, clock: ManualClock) -> AsyncGenerator[JobBackend]:
    """The store as another process has it open. When it is closed, nothing renews leases."""
    async with stores.backend(clock) as backend:
        yield backend


async def take_and_die(stores: Stores, clock: ManualClock, jp: JobProcessor, lease: float = 15.0, **job: Any) -> str:
    """A job in progress whose worker never beats again; its process cannot be seen to be gone. Returns the job's id."""
    async with another_process(stores, clock) as backend:
        handle = await jp.submit_job(nothing, job_id=job.pop("job_id", "j"), **job)
        function = (await jp.get_job(handle)).func
        worker = await backend.register_worker(NewWorker(name="mortal", slots=1, lease=lease))
        claims = await backend.dequeue_jobs(ClaimRequest(worker=worker, limit=1, functions=frozenset({function})))
        assert [claimed.attempt.job_id for claimed in claims.jobs] == [handle]
    return handle.id


async def passes(clock: ManualClock, seconds: float, step: float) -> None:
    """Time passes while every loop is on time: those that it wakes have looked, and sleep again, before it goes on."""
    for _ in range(round(seconds / step)):
        asleep = clock.sleepers
        clock.advance(step)
        await anyio.sleep(0.005)
        with anyio.move_on_after(0.5):  # one that is kept from its look does not hold up time
            while clock.sleepers < asleep:
                await anyio.sleep(0.001)


class Looks:
    """The looks of reapers that are under way: time must not run ahead of them on a busy machine."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.under_way = 0
        look = Reaper.look

        async def counted(reaper: Reaper) -> None:
            self.under_way += 1
            try:
                await look(reaper)
            finally:
                self.under_way -= 1

        monkeypatch.setattr(Reaper, "look", counted)

    async def are_over(self) -> None:
        await comes_true(lambda: not self.under_way)


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


# -- who returns its jobs


@pytest.mark.parametrize("lease", [1.0, 4.0, 15.0])
async def test_a_process_without_workers_returns_a_dead_workers_jobs_within_two_leases(
    stores: Stores, lease: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    looks = Looks(monkeypatch)
    async with stores.processor(clock=clock, enable_daemon=False) as jp:
        job = await take_and_die(stores, clock, jp, lease)
        began = clock.monotonic()
        with anyio.fail_after(4 * PATIENCE):
            while await jp.get_status(job) == IN_PROGRESS:
                await passes(clock, lease / 16, lease / 16)
                await looks.are_over()
        assert clock.monotonic() - began <= 2 * lease * 1_000_000
        found = await jp.get_job(job)
        assert (found.status, found.interruptions) == (PENDING, 1)
        await jp.cancel_job(job)


async def test_a_worker_that_was_kept_from_its_heartbeat_is_not_taken_for_dead(stores: Stores) -> None:
    """The machine was suspended, or the store locked: this process was held up as the worker was."""
    clock = ManualClock()
    async with stores.processor(clock=clock, enable_daemon=False) as jp:
        job = await take_and_die(stores, clock, jp)
        worker = (await jp.get_job(job)).worker_id
        assert worker is not None
        for _ in range(3):
            clock.advance(60.0)
            await passes(clock, 1.0, 0.25)
            assert await jp.get_status(job) == IN_PROGRESS
        assert (await jp.backend.extend_leases(worker)).alive
        await passes(clock, 10.0, 0.5)
        assert await jp.get_status(job) == IN_PROGRESS
        assert (await jp.why(job)).code == "running"
        await passes(clock, 20.0, 0.5)  # and now it is dead
        assert await jp.get_status(job) == PENDING
        await jp.cancel_job(job)


async def until_taken_back(jp: JobProcessor, clock: ManualClock, job: str) -> None:
    """Time passes until a job is not in progress any more."""
    with anyio.fail_after(PATIENCE):
        while await jp.get_status(job) == IN_PROGRESS:
            await clock.wait_for_sleepers(1)
            clock.advance(1)


async def test_where_every_heartbeat_is_late_the_fifth_takes_what_the_dead_hold(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store is so slow that no heartbeat is on time. One that is late may find the living late, too."""
    clock = ManualClock()
    async with stores.processor(clock=clock, enable_daemon=False) as jp:
        job = await take_and_die(stores, clock, jp)
    beats: list[bool] = []  # whether it was still in progress
    async with stores.processor(clock=clock, lease=15, heartbeat=5, queues=("elsewhere",)) as jp:
        renew = jp.backend.extend_leases

        async def slowly(worker: str) -> WorkerLease:
            beats.append(await jp.get_status(job) == IN_PROGRESS)
            clock.advance(8)
            return await renew(worker)

        monkeypatch.setattr(jp.backend, "extend_leases", slowly)
        await until_taken_back(jp, clock, job)
        assert beats == [True] * 5
        await jp.cancel_job(job)


async def test_where_every_check_is_late_it_is_believed_in_the_end(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    async with stores.processor(clock=clock, enable_daemon=False) as jp:
        job = await take_and_die(stores, clock, jp)
        workers, checks = jp.backend.workers, 0

        async def slowly() -> Any:
            nonlocal checks
            checks += 1
            clock.advance(3)
            return await workers()

        monkeypatch.setattr(jp.backend, "workers", slowly)
        clock.advance(16)
        await until_taken_back(jp, clock, job)
        assert 5 <= checks <= 8
        await jp.cancel_job(job)


async def test_a_worker_is_not_taken_for_dead_while_the_store_cannot_be_written(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    async with stores.processor(clock=clock, enable_daemon=False) as jp:
        job = await take_and_die(stores, clock, jp)
        backend, unlocked = jp.backend, anyio.Event()

        async def locked(ids: Any) -> Any:
            await unlocked.wait()
            return await type(backend).mark_job_ready(backend, ids)

        with monkeypatch.context() as patch:
            patch.setattr(backend, "mark_job_ready", locked)
            await passes(clock, 60.0, 1.0)
            assert await jp.get_status(job) == IN_PROGRESS
            unlocked.set()
            await passes(clock, 1.0, 0.25)
            assert await jp.get_status(job) == IN_PROGRESS, "it has the time to renew"
        await passes(clock, 5.0, 0.5)
        assert await jp.get_status(job) == PENDING
        await jp.cancel_job(job)


@pytest.mark.slow
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_killed_workers_jobs_come_back_in_a_process_that_only_looks(tmp_path: Path, anyio_backend: str) -> None:
    await anyio.to_thread.run_sync(kill_one, tmp_path)
    async with JobProcessor(SQLiteConfig(db_path=tmp_path / "jobs.db"), enable_daemon=False) as jp:
        with anyio.fail_after(PATIENCE):
            while await jp.get_status("sleeper") == IN_PROGRESS:
                await anyio.sleep(0.01)
        assert await jp.get_status("sleeper") == PENDING
        assert list(await jp.workers()) == []


@pytest.mark.slow
def test_so_they_do_in_sync_jobs(tmp_path: Path) -> None:
    kill_one(tmp_path)
    with (
        SyncJobs(str(tmp_path / "jobs.db"), enable_daemon=False) as jobs,
        anyio.from_thread.start_blocking_portal() as p,
    ):

        async def returned() -> None:
            with anyio.fail_after(PATIENCE):
                while await anyio.to_thread.run_sync(jobs.handle("sleeper").status) == IN_PROGRESS:
                    await anyio.sleep(0.01)

        p.call(returned)
        assert jobs.handle("sleeper").status() == PENDING


# -- what is said of them


async def test_a_job_of_a_dead_worker_is_not_said_to_run(stores: Stores) -> None:
    clock = ManualClock()
    async with stores.processor(clock=clock, enable_daemon=False) as jp:
        job = await take_and_die(stores, clock, jp)
        assert (await jp.why(job)).code == "running"
        assert (await jp.poll_status(job)).message is None
        clock.advance(15.1)
        reason = await jp.why(job)
        assert reason.code == "worker_gone"
        assert reason.sentence.startswith("worker gone: mortal")
        assert "running" not in reason.sentence
        report = await jp.poll_status(job)
        assert (report.status, report.message, report.remaining) == (IN_PROGRESS, "worker gone", None)
        assert (await jp.poll_batch([job]))[job] == report
        await jp.cancel_job(job)


async def test_a_second_worker_of_the_same_name_does_not_hide_it(stores: Stores) -> None:
    clock = ManualClock()
    async with stores.processor(clock=clock, enable_daemon=False) as jp:
        job = await take_and_die(stores, clock, jp)
        clock.advance(15.1)
        await jp.backend.register_worker(NewWorker(name="mortal", slots=1, lease=60.0))
        assert (await jp.why(job)).code == "worker_gone"
        await jp.cancel_job(job)


async def test_a_job_that_ended_meanwhile_is_not_said_to_be_held_by_the_dead(stores: Stores) -> None:
    from asyncjobs.runtime.reasons import held_by_the_dead

    clock = ManualClock()
    async with stores.processor(clock=clock, enable_daemon=False) as jp:
        job = await take_and_die(stores, clock, jp)
        seen = await jp.get_job(job)
        assert seen.worker_id is not None
        await jp.backend.deregister_worker(seen.worker_id)
        assert await held_by_the_dead(jp.backend, [seen]) == frozenset()
        await jp.cancel_job(job)


# -- cancelling it


async def test_cancelling_a_job_of_a_dead_worker_cancels_it(stores: Stores) -> None:
    clock = ManualClock()
    async with stores.processor(clock=clock, enable_daemon=False) as jp:
        job = await take_and_die(stores, clock, jp)
        assert await jp.cancel_job(job) == IN_PROGRESS
        clock.advance(15.1)
        assert "is cancelled within two leases" in (await jp.why(job)).sentence
        await passes(clock, 6.0, 0.5)
        assert await jp.get_status(job) == CANCELLED


@pytest.mark.slow
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("how", ["one", "query"])
async def test_cancelling_a_job_of_a_killed_worker_cancels_it_at_once(
    tmp_path: Path, anyio_backend: str, how: str
) -> None:
    """Also where nobody else will ever open the store again: a command that looks and leaves."""
    await anyio.to_thread.run_sync(kill_one, tmp_path)
    async with JobProcessor(SQLiteConfig(db_path=tmp_path / "jobs.db"), enable_daemon=False) as jp:
        status = await jp.cancel_job("sleeper") if how == "one" else (await jp.cancel_jobs(QUERY))["sleeper"]
        assert len(await jp.workers()) == 0
        assert (status, await jp.get_status("sleeper")) == (CANCELLED, CANCELLED)


# -- who is told


async def wait_for(jp: JobProcessor, job: str) -> None:
    await jp.handle(job)


async def wait_for_all(jp: JobProcessor, job: str) -> None:
    await jp.drain()


async def follow(jp: JobProcessor, job: str) -> None:
    async for _ in jp.stream_job(job):
        pass


async def follow_all(jp: JobProcessor) -> None:
    async for _ in jp.stream_all():
        pass


WAYS = pytest.mark.parametrize("way", [wait_for, wait_for_all, follow])


@WAYS
async def test_who_waits_is_told_within_two_seconds_and_once_that_no_worker_is_alive(
    stores: Stores, way: Callable[[JobProcessor, str], Any], caplog: pytest.LogCaptureFixture
) -> None:
    clock = ManualClock()
    async with stores.processor(clock=clock, enable_daemon=False) as jp:
        await passes(clock, 5.0, 0.25)
        assert messages(caplog) == [], "nobody waits"
        await jp.submit_job(nothing, job_id="j")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(way, jp, "j")
            await anyio.wait_all_tasks_blocked()
            await passes(clock, 2.0, 0.25)
            [said] = messages(caplog)
            assert "no worker is alive" in said
            tasks.start_soon(wait_for, jp, (await jp.submit_job(nothing)).id)
            await passes(clock, 5.0, 0.25)
            assert messages(caplog) == [said], "once per process"
            tasks.cancel_scope.cancel()
        await jp.cancel_jobs(QUERY)


@WAYS
async def test_also_when_the_worker_dies_while_its_job_is_waited_for(
    stores: Stores, way: Callable[[JobProcessor, str], Any], caplog: pytest.LogCaptureFixture
) -> None:
    clock = ManualClock()
    async with stores.processor(clock=clock, enable_daemon=False) as jp:
        job = await take_and_die(stores, clock, jp)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(way, jp, job)
            await anyio.wait_all_tasks_blocked()
            await passes(clock, 14.0, 0.5)
            assert messages(caplog) == [], "its lease has not run out"
            await passes(clock, 3.25, 0.25)
            assert len(messages(caplog)) == 1
            tasks.cancel_scope.cancel()
        await jp.cancel_jobs(QUERY)


async def test_nobody_is_told_while_a_worker_lives_or_nothing_is_left_to_run(
    stores: Stores, caplog: pytest.LogCaptureFixture
) -> None:
    clock = ManualClock()
    async with stores.processor(clock=clock, enable_daemon=False) as jp:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow_all, jp)
            await passes(clock, 5.0, 0.25)
            worker = await jp.backend.register_worker(NewWorker(name="w", slots=1, lease=60.0))
            await jp.submit_job(nothing, job_id="j")
            tasks.start_soon(wait_for, jp, "j")
            await passes(clock, 5.0, 0.25)
            assert messages(caplog) == []
            tasks.cancel_scope.cancel()
        await within(PATIENCE, jp.backend.deregister_worker(worker))
        await jp.cancel_job("j")
