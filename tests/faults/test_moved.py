"""The file is deleted or replaced while it is open: noticed although nobody writes, told once, and nothing is written
to what is at its path now."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from asyncjobs import BackendError, DaemonConfig, JobProcessor, JobStatus, SQLiteBackend, SQLiteConfig
from asyncjobs.processor import get_engine
from asyncjobs.runtime import draining
from tests.faults import bodies
from tests.faults.stores import logged, new_job, until

pytestmark = pytest.mark.anyio

NOTICED = 5.0
"""Seconds within which it must be noticed."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


@pytest.fixture(autouse=True)
def _short_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaving waits so long for outcomes that cannot be stored."""
    monkeypatch.setattr(draining, "_LAST_WORDS", 0.2)


@pytest.fixture
async def jp(path: Path) -> AsyncIterator[JobProcessor]:
    """With a daemon that beats often, and leaves fast."""
    daemon = DaemonConfig(num_workers=2, lease=0.9, heartbeat=0.3, shutdown_timeout=0)
    async with JobProcessor(SQLiteConfig(db_path=path), daemon=daemon) as jp:
        yield jp
        jp._submitted = 0


async def waits_for_nothing() -> None:
    await anyio.sleep_forever()


def delete(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


async def another_store(path: Path) -> Path:
    """Another store of ours, with a job that is ready, and a worker of the same number."""
    other = path.with_name("other.db")
    async with SQLiteBackend(SQLiteConfig(db_path=other)) as backend:
        await backend.enqueue_jobs([new_job("theirs")])
    with closing(sqlite3.connect(other)) as connection:
        for n in range(1, 6):
            connection.execute(
                "INSERT INTO workers(n, name, slots, host, boot, pid_namespace, pid, process_start, registered_at, "
                "lease, expires) VALUES (?, 'theirs', 1, '', '', '', 1, '', 0, 1, 1)",
                (n,),
            )
        connection.commit()
    return other


def content(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


async def test_who_waits_is_told_although_nobody_writes(jp: JobProcessor, path: Path) -> None:
    handle = await jp.submit_job(waits_for_nothing, local=True)
    stream = jp.stream_job(handle)
    await anext(stream)
    errors: list[BackendError] = []

    async def told(wait: object) -> None:
        with pytest.raises(BackendError) as caught:
            await wait
        errors.append(caught.value)

    async def read_on() -> None:
        async for _ in stream:
            pass

    with anyio.fail_after(NOTICED):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(told, handle.result())
            tasks.start_soon(told, jp.wait_for_job(handle))
            tasks.start_soon(told, jp.drain())
            tasks.start_soon(told, read_on())
            await until(lambda: get_engine(jp)._parts.tail.listened_to)
            delete(path)
    assert [error.code for error in errors] == ["moved"] * 4
    assert all(error.hint for error in errors)


async def test_nothing_is_made_anew_or_claimed(jp: JobProcessor, path: Path) -> None:
    await jp.submit_job(bodies.nothing, job_id="later", delay=0.3)
    delete(path)
    for call in (jp.submit_job(bodies.nothing), jp.get_job("later"), jp.retry_job("later"), jp.backend.health()):
        with pytest.raises(BackendError) as caught:
            await call
        assert caught.value.code == "moved"
    await anyio.sleep(0.7)  # the delayed job comes due, and beats fall due: time itself is what is tested
    assert jp.daemon is not None
    assert jp.daemon.running == []
    assert not path.exists()


async def test_a_running_job_ends_unrecorded_and_leaving_is_not_held_up(path: Path) -> None:
    ended = anyio.Event()
    gate = anyio.Event()

    async def body() -> None:
        await gate.wait()
        ended.set()

    with anyio.fail_after(20):
        async with JobProcessor(SQLiteConfig(db_path=path), daemon=DaemonConfig(shutdown_timeout=1)) as jp:
            handle = await jp.submit_job(body, local=True)
            await until(lambda: jp.daemon is not None and jp.daemon.running == [handle])
            delete(path)
            gate.set()
            await ended.wait()
            jp._submitted = 0
    assert not path.exists()


async def test_nothing_is_written_to_the_file_that_took_its_place(jp: JobProcessor, path: Path) -> None:
    other = await another_store(path)
    before = content(other)
    gate, running = anyio.Event(), anyio.Event()

    async def body() -> None:
        running.set()
        await gate.wait()

    await jp.submit_job(body, local=True)
    await running.wait()
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink()
    os.replace(other, path)
    gate.set()
    with pytest.raises(BackendError, match="deleted, moved or replaced"):
        await jp.submit_job(bodies.nothing)
    backend = jp.backend
    assert isinstance(backend, SQLiteBackend)
    for _ in range(3):
        backend._heartbeat.beat()
        await anyio.sleep(0.1)
    assert content(path) == before
    assert jp.daemon is not None
    await jp.daemon.stop()
    assert content(path) == before


async def test_a_heartbeat_that_connects_anew_leaves_another_store_alone(jp: JobProcessor, path: Path) -> None:
    other = await another_store(path)
    before = content(other)
    backend = jp.backend
    assert isinstance(backend, SQLiteBackend)
    delete(path)
    os.replace(other, path)
    heartbeat = backend._heartbeat
    with heartbeat._changed:  # its connection is lost, at a moment at which the thread does not use it
        heartbeat._drop_connection()
    heartbeat.beat()
    await until(lambda: heartbeat.last_error is not None)
    assert "deleted, moved or replaced" in (heartbeat.last_error or "")
    assert content(path) == before


async def test_it_is_told_once_and_not_again_and_again(
    jp: JobProcessor, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await jp.submit_job(bodies.nothing, job_id="later", delay=0.2)
    waiting = anyio.create_task_group()
    async with waiting:
        waiting.start_soon(_ignored, jp)
        caplog.set_level(logging.WARNING)
        delete(path)
        await logged(caplog, "cannot be detected")
        await anyio.sleep(2.5)  # beats, claims, and looks for changes go on meanwhile
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    lines = [message.partition(", retrying")[0] for message in told]
    assert len(lines) == len(set(lines)), told
    assert len(told) <= 4, told


async def _ignored(jp: JobProcessor) -> None:
    with pytest.raises(BackendError):
        await jp.wait_for_job("later")


async def test_work_goes_on_when_it_is_put_back(path: Path, tmp_path: Path) -> None:
    gate = anyio.Event()

    async def body() -> str:
        await gate.wait()
        return "done"

    async with JobProcessor(SQLiteConfig(db_path=path), daemon=DaemonConfig(lease=60, heartbeat=0.2)) as jp:
        handle = await jp.submit_job(body, local=True)
        await until(lambda: jp.daemon is not None and jp.daemon.running == [handle])
        os.rename(path, tmp_path / "away.db")
        with pytest.raises(BackendError):
            await jp.get_job(handle)
        gate.set()
        os.rename(tmp_path / "away.db", path)
        with anyio.fail_after(10):
            await until(lambda: jp.daemon is not None and jp.daemon.running == [])
            while (await jp.get_job(handle)).status is not JobStatus.COMPLETED:
                await anyio.sleep(0.01)
            assert await (await jp.submit_job(bodies.nothing)) is None
