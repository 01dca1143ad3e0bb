"""JobDaemon works on its own: it runs what any process has stored."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from asyncjobs import (
    BackendClosedError,
    ConfigurationError,
    DaemonConfig,
    JobDaemon,
    JobProcessor,
    JobStatus,
    MemoryBackend,
    SQLiteBackend,
)
from tests.runtime.support import PATIENCE, Held, add, nothing, within

pytestmark = pytest.mark.anyio


async def test_it_runs_what_another_processor_has_stored(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    async with JobProcessor(path, enable_daemon=False) as jp, JobDaemon(path, functions=[add], poll_interval=0.02):
        assert await (await jp.submit_job(add, 1, 2)).result(timeout=PATIENCE) == 3


async def test_arguments_of_its_own_override_its_settings(tmp_path: Path) -> None:
    async with JobDaemon(
        tmp_path / "jobs.db", DaemonConfig(num_workers=3, poll_interval=1.0), num_workers=2, poll_interval=0.5
    ) as daemon:
        assert (daemon.config.num_workers, daemon.config.poll_interval) == (2, 0.5)
    with pytest.raises(ConfigurationError, match="config"):
        JobDaemon(tmp_path / "jobs.db", "fast")


async def test_its_bodies_submit_and_await_jobs(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    async with JobProcessor(path, enable_daemon=False) as jp:
        job = await jp.submit_job(parent)
        async with JobDaemon(path, functions=[parent, add], num_workers=1):
            assert await job.result(timeout=PATIENCE) == 5


async def parent() -> int:
    from asyncjobs import current_job

    return await (await current_job().submit_job(add, 2, 3))


async def test_leaving_it_gives_back_what_runs(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    held.reset()
    async with JobProcessor(path, enable_daemon=False) as jp:
        job = await jp.submit_job(hold)
        async with JobDaemon(path, DaemonConfig(shutdown_timeout=0.0), functions=[hold]) as daemon:
            await within(PATIENCE, held.held.started.wait())
            assert daemon.running == [job]
        stored = await jp.get_job(job)
        assert (stored.status, stored.failures, stored.interruptions) == (JobStatus.PENDING, 0, 0)


class _Held:
    """The body of a registered function is found by name: what it waits on is here."""

    held: Held

    def reset(self) -> None:
        self.held = Held()


held = _Held()


async def hold() -> None:
    await held.held.body()


async def test_before_it_runs_it_says_so(tmp_path: Path) -> None:
    daemon = JobDaemon(tmp_path / "jobs.db")
    with pytest.raises(BackendClosedError):
        _ = daemon.running
    async with daemon:
        with pytest.raises(BackendClosedError, match="running already"):
            await daemon.start()
        assert daemon.running == []


async def test_it_leaves_a_store_open_that_was_open(tmp_path: Path) -> None:
    backend = MemoryBackend()
    await backend.open()
    async with JobDaemon(backend, functions=[add]):
        await anyio.lowlevel.checkpoint()
    assert await backend.count_jobs() is not None
    await backend.close()


async def test_it_is_started_and_stopped_without_a_block_again_and_again(tmp_path: Path) -> None:
    backend = MemoryBackend()
    daemon = JobDaemon(backend, functions=[add])
    for n in range(2):
        await daemon.start()
        async with JobProcessor(backend, enable_daemon=False) as jp:
            assert await (await jp.submit_job(add, n, 1)).result(timeout=PATIENCE) == n + 1
        await daemon.stop()
        await daemon.stop()
        with pytest.raises(BackendClosedError):
            await backend.count_jobs()


async def test_stopping_it_inside_of_its_block_leaves_nothing_to_do(tmp_path: Path) -> None:
    backend = MemoryBackend()
    async with backend:
        async with JobDaemon(backend, functions=[add]) as daemon:
            await daemon.stop()
            assert not await backend.workers()
        await backend.count_jobs()


async def test_two_daemons_on_one_backend_object_share_its_jobs(tmp_path: Path) -> None:
    path = SQLiteBackend(tmp_path / "jobs.db")
    async with JobDaemon(path, functions=[add], poll_interval=60.0) as first:
        async with JobProcessor(path, enable_daemon=False) as jp:
            async with JobDaemon(path, functions=[nothing], poll_interval=60.0) as second:
                assert len(await path.workers()) == 2
                job = await jp.submit_job(add, 1, 2)
                assert await job.result(timeout=PATIENCE) == 3
                assert (await jp.get_job(job)).worker_id == first.worker_id
                after = await jp.submit_job(nothing, depends_on=[job])
                await after.result(timeout=PATIENCE)
                assert (await jp.get_job(after)).worker_id == second.worker_id
            await first.stop()
            waits = await jp.submit_job(add, 1, 2)
            assert (await jp.get_job(waits)).status is JobStatus.PENDING


@pytest.mark.parametrize("config", ["fast", 0, {"num_workers": 2}], ids=repr)
async def test_settings_of_a_wrong_kind_are_refused_whatever_overrides_them(config: object) -> None:
    with pytest.raises(ConfigurationError, match="config"):
        JobDaemon(MemoryBackend(), config, num_workers=2)
