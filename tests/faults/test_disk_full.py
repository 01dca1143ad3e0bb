"""No room: a clear error, nothing acknowledged is lost, and work goes on as soon as there is room again."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from asyncjobs import DaemonConfig, JobProcessor, SQLiteBackend, SQLiteConfig
from asyncjobs.exceptions import BackendError
from asyncjobs.models import JobStatus
from asyncjobs.requests import JobQuery
from tests.faults import bodies
from tests.faults.checker import check_log, copy_of, read_store
from tests.faults.stores import logged, until

pytestmark = pytest.mark.anyio
MEBIBYTE = 1 << 20


class SmallDisk:
    """A file system with a few MiB of room, and a filler file that takes what is left of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.filler = folder / "filler"

    def fill(self) -> None:
        descriptor = os.open(self.filler, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        try:
            for size in (65_536, 4096, 1):
                try:
                    while True:
                        os.write(descriptor, b"x" * size)
                except OSError:
                    pass
        finally:
            os.close(descriptor)

    def make_room(self) -> None:
        self.filler.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small tmpfs")
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"a tmpfs may not be mounted here: {done.stderr.strip()}")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def is_full(error: BaseException) -> bool:
    return isinstance(error, BackendError) and error.code == "disk-full" and bool(error.hint)


async def fill_with_jobs(jp: JobProcessor, size: int) -> list[str]:
    """Submit until it is refused; returns the ids that were acknowledged."""
    acknowledged: list[str] = []
    for i in range(10_000):
        try:
            handle = await jp.submit_job(take, b"x" * size, job_id=f"fill-{size}-{i}")
        except BackendError as error:
            if not is_full(error):
                raise
            return acknowledged
        acknowledged.append(handle.id)
    raise AssertionError("it never was full")


def take(data: bytes) -> int:
    return len(data)


async def stored_coherently(path: Path, folder: Path, acknowledged: list[str]) -> None:
    stored = read_store(copy_of(path, folder))
    assert check_log(stored) == []
    assert set(acknowledged) <= set(stored.by_id)


def allow(backend: SQLiteBackend, size: int) -> None:
    """Raise the limit of the open file."""
    writer = backend._writer
    assert writer is not None
    (page_size,) = writer.connection.execute("PRAGMA page_size").fetchone()
    writer.connection.execute(f"PRAGMA max_page_count = {size // page_size}")


# -- SQLiteConfig.max_size


async def test_submitting_to_a_file_that_reached_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    async with JobProcessor(SQLiteConfig(db_path=path, max_size=MEBIBYTE), enable_daemon=False) as jp:
        acknowledged = await fill_with_jobs(jp, 50_000)
        assert acknowledged
        with pytest.raises(BackendError, match="max_size"):
            async with jp.batch() as batch:
                for _ in range(5):
                    batch.submit_job(take, b"x" * 50_000)
        assert len(await jp.find_jobs()) == len(acknowledged)
        await stored_coherently(path, tmp_path, acknowledged)
        jp._submitted = 0
    async with JobProcessor(SQLiteConfig(db_path=path, max_size=10 * MEBIBYTE)) as jp:
        await jp.submit_job(take, b"x" * 50_000)
        await jp.drain()
        assert {job.status for job in await jp.find_jobs()} == {JobStatus.COMPLETED}


async def test_a_large_one_in_a_group_takes_no_small_one_down(tmp_path: Path) -> None:
    async with JobProcessor(SQLiteConfig(db_path=tmp_path / "jobs.db", max_size=MEBIBYTE), enable_daemon=False) as jp:
        answers = await asyncio.gather(
            *(jp.submit_job(take, b"x" * (2 * MEBIBYTE if i == 7 else 10), job_id=f"j{i}") for i in range(20)),
            return_exceptions=True,
        )
        jp._submitted = 0
        assert is_full(answers[7])
        assert [str(answer) for i, answer in enumerate(answers) if i != 7] == [f"j{i}" for i in range(20) if i != 7]


async def test_an_outcome_waits_for_room(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "jobs.db"
    backend = SQLiteBackend(SQLiteConfig(db_path=path, max_size=MEBIBYTE))
    gate = anyio.Event()

    async def large() -> bytes:
        await gate.wait()
        return b"x" * 400_000

    async def small() -> str:
        await gate.wait()
        return "small"

    caplog.set_level(logging.WARNING)
    async with JobProcessor(backend, daemon=DaemonConfig(num_workers=2)) as jp:
        handles = [await jp.submit_job(body, local=True) for body in (large, small)]
        acknowledged = await fill_with_jobs(jp, 50_000)
        gate.set()
        await logged(caplog, "could not be stored yet")
        assert (await jp.get_job(handles[0])).status is JobStatus.IN_PROGRESS
        allow(backend, 10 * MEBIBYTE)
        assert await handles[0].result(timeout=10) == b"x" * 400_000
        assert await handles[1].result(timeout=10) == "small"
        await jp.drain(timeout=10)
        jobs = await jp.find_jobs()
        assert {(job.status, job.attempt) for job in jobs} == {(JobStatus.COMPLETED, 1)}
        assert len(jobs) == len(acknowledged) + 2


# -- a disk that is full


async def test_a_new_file_on_a_full_disk(disk: SmallDisk) -> None:
    disk.fill()
    config = SQLiteConfig(db_path=disk.folder / "jobs.db")
    with pytest.raises(BackendError) as caught:
        async with JobProcessor(config):
            pass
    assert is_full(caught.value), caught.value
    disk.make_room()
    async with JobProcessor(config) as jp:
        assert await (await jp.submit_job(take, b"xx")) == 2


async def test_submitting_to_a_full_disk(disk: SmallDisk, tmp_path: Path) -> None:
    path = disk.folder / "jobs.db"
    async with JobProcessor(SQLiteConfig(db_path=path), enable_daemon=False) as jp:
        acknowledged = [(await jp.submit_job(take, b"x" * 1000, job_id=f"j{i}")).id for i in range(20)]
        disk.fill()
        acknowledged += await fill_with_jobs(jp, 100_000)
        assert len(await jp.find_jobs()) == len(acknowledged)  # it can be read
        await stored_coherently(path, tmp_path, acknowledged)
        disk.make_room()
        acknowledged.append(await jp.submit_job(take, b"x" * 100_000))
        jp._submitted = 0
    async with JobProcessor(SQLiteConfig(db_path=path)) as jp:
        await jp.drain(timeout=10)
        jobs = await jp.find_jobs(JobQuery(ids=acknowledged, limit=1000))
        assert {job.id for job in jobs if job.status is JobStatus.COMPLETED} == set(acknowledged)


async def test_a_process_that_is_opened_on_a_full_disk_reads_what_is_there(disk: SmallDisk) -> None:
    """The leases cannot be written, so nothing is run; but nothing is lost, and the error says why."""
    path = disk.folder / "jobs.db"
    async with JobProcessor(SQLiteConfig(db_path=path), enable_daemon=False) as jp:
        await jp.submit_job(take, b"xx", job_id="a")
        jp._submitted = 0
    disk.fill()
    with pytest.raises(BackendError) as caught:
        async with JobProcessor(SQLiteConfig(db_path=path)):
            pass
    assert is_full(caught.value) or caught.value.code == "io-error", caught.value
    disk.make_room()
    async with JobProcessor(SQLiteConfig(db_path=path)) as jp:
        assert await jp.handle("a").result(timeout=10) == 2


async def test_an_outcome_on_a_full_disk(disk: SmallDisk, caplog: pytest.LogCaptureFixture) -> None:
    gate = anyio.Event()

    async def body() -> bytes:
        await gate.wait()
        return b"x" * 100_000

    caplog.set_level(logging.WARNING)
    async with JobProcessor(SQLiteConfig(db_path=disk.folder / "jobs.db"), daemon=DaemonConfig(num_workers=4)) as jp:
        handles = [await jp.submit_job(body, local=True) for _ in range(3)]
        disk.fill()
        gate.set()
        await logged(caplog, "could not be stored yet")
        disk.make_room()
        for handle in handles:
            assert len(await handle.result(timeout=10)) == 100_000
            job = await jp.get_job(handle)
            assert (job.attempt, job.failures, job.interruptions) == (1, 0, 0)


@pytest.mark.slow
async def test_no_lease_is_lost_to_oneself_on_a_full_disk(
    disk: SmallDisk, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Longer than a lease no heartbeat can be written. Then the living renew, and nobody is taken for dead."""
    gate = anyio.Event()

    async def body() -> str:
        await gate.wait()
        return "done"

    backend = SQLiteBackend(SQLiteConfig(db_path=disk.folder / "jobs.db", checkpoint_size=65_536))
    daemon = DaemonConfig(lease=0.6, heartbeat=0.2)
    caplog.set_level(logging.WARNING)
    other = JobProcessor(SQLiteConfig(db_path=disk.folder / "jobs.db", checkpoint_size=65_536), daemon=daemon)
    async with JobProcessor(backend, daemon=daemon) as jp, other:
        handle = await jp.submit_job(body, local=True)
        with closing(sqlite3.connect(disk.folder / "jobs.db")) as connection:  # else heartbeats write over the log
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        disk.fill()
        await until(lambda: backend._heartbeat.last_error is not None)
        over = time.monotonic() + 1.5 * daemon.lease
        await until(lambda: time.monotonic() > over)
        disk.make_room()
        await until(lambda: backend._heartbeat.last_error is None)
        beats = backend._heartbeat.last_written(1) or 0
        await until(lambda: (backend._heartbeat.last_written(1) or 0) > beats + 800_000)
        gate.set()
        assert await handle.result(timeout=10) == "done"
        job = await jp.get_job(handle)
        assert (job.attempt, job.interruptions) == (1, 0)
        assert await (await jp.submit_job(bodies.nothing_async)) == 1
    assert not any("lost its lease" in record.getMessage() for record in caplog.records)
