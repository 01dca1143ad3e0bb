"""A processor is not left inside of a job that it runs: its end and the body's would wait for each other."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import pytest

from asyncjobs import JobExecutionError, JobProcessor, JobStateError, SQLiteConfig, SyncJobs, current_job
from tests.runtime.support import PATIENCE, Gate, Stores, add, nothing, within


async def _leave(jp: JobProcessor) -> str:
    with pytest.raises(JobStateError) as caught:
        await jp.__aexit__(None, None, None)
    assert caught.value.job_id == current_job().id
    return str(caught.value)


async def leave_async(jp: JobProcessor) -> str:
    return await _leave(jp)


def leave_from_thread(jp: JobProcessor) -> str:
    return current_job().run_sync(_leave, jp)


async def leave_in_a_task(jp: JobProcessor) -> str:
    said: list[str] = []

    async def task() -> None:
        said.append(await _leave(jp))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(task)
    return said[0]


async def leave_a_stack(jp: JobProcessor) -> str:
    with pytest.raises(JobStateError) as caught:
        await jp.__aexit__(ValueError, ValueError("of the block"), None)
    return str(caught.value)


WAYS: list[Callable[[JobProcessor], Any]] = [leave_async, leave_from_thread, leave_in_a_task, leave_a_stack]


@pytest.mark.anyio
@pytest.mark.parametrize("way", WAYS)
async def test_a_body_is_refused_and_the_processor_goes_on(
    jp: JobProcessor, way: Callable[[JobProcessor], Any]
) -> None:
    if way is leave_from_thread:

        def plain() -> str:
            return leave_from_thread(jp)

        body: Callable[[], Any] = plain
    else:

        async def coroutine() -> str:
            return await way(jp)

        body = coroutine
    said = await within(PATIENCE, await jp.submit_job(body, local=True, max_retries=0))
    assert "cannot be left inside of it" in said
    assert "hint: let the body set an event" in said
    assert await within(PATIENCE, await jp.submit_job(add, 1, 2)) == 3


# -- the daemon of a processor


async def stop_async(jp: JobProcessor) -> None:
    assert jp.daemon is not None
    await jp.daemon.stop()


async def stop_in_a_task(jp: JobProcessor) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stop_async, jp)


async def stop_within_a_time(jp: JobProcessor) -> None:
    with anyio.fail_after(PATIENCE):
        await stop_async(jp)


async def stop_shielded(jp: JobProcessor) -> None:
    with anyio.CancelScope(shield=True):
        await stop_async(jp)


def stop_from_thread(jp: JobProcessor) -> None:
    current_job().run_sync(stop_async, jp)


def stop_by_anyio(jp: JobProcessor) -> None:
    anyio.from_thread.run(stop_async, jp)


STOPS: list[Callable[[JobProcessor], Any]] = [
    stop_async,
    stop_in_a_task,
    stop_within_a_time,
    stop_shielded,
    stop_from_thread,
    stop_by_anyio,
]


@pytest.mark.anyio
@pytest.mark.parametrize("stop", STOPS)
async def test_a_body_does_not_stop_the_daemon_that_runs_it(
    jp: JobProcessor, stop: Callable[[JobProcessor], Any]
) -> None:
    body = partial(stop, jp)
    with pytest.raises(JobExecutionError, match="the daemon that runs it cannot be stopped inside of it"):
        await within(PATIENCE, await jp.submit_job(body, local=True, max_retries=0))
    assert await within(PATIENCE, await jp.submit_job(add, 1, 2)) == 3


@pytest.mark.anyio
async def test_a_body_may_stop_the_daemon_of_another_processor(jp: JobProcessor, tmp_path: Path) -> None:
    async def body() -> int:
        async with Stores("memory", tmp_path).processor() as inner:
            three = await (await inner.submit_job(add, 1, 2))
            await stop_async(inner)
            return three

    assert await within(PATIENCE, await jp.submit_job(body, local=True, max_retries=0)) == 3


@pytest.mark.anyio
async def test_a_body_may_close_the_daemon_that_runs_it(stores: Stores) -> None:
    async with stores.processor() as jp:

        async def body() -> str:
            assert jp.daemon is not None
            jp.daemon.close()
            return "closed"

        assert await within(PATIENCE, await jp.submit_job(body, local=True)) == "closed"
        await within(PATIENCE, stop_async(jp))
        later = await jp.submit_job(add, 1, 2)
        assert (await jp.get_job(later)).attempt == 0


@pytest.mark.parametrize("on_loop", [False, True])
def test_bodies_of_sync_jobs_do_not_stop_their_daemon(tmp_path: Path, on_loop: bool) -> None:
    with SyncJobs(tmp_path / "jobs.db") as jobs:

        async def stop() -> None:
            await stop_async(jobs._jp)

        def plain() -> None:
            jobs.call(stop)

        body: Callable[[], Any] = stop if on_loop else plain
        with pytest.raises(JobExecutionError, match="cannot be stopped inside of it"):
            jobs.submit_job(body, local=True, max_retries=0).result(timeout=PATIENCE)
        assert jobs.submit_job(nothing).result(timeout=PATIENCE) is None


# -- a processor


@pytest.mark.anyio
async def test_unhandled_it_fails_the_job_and_the_block_is_left_as_ever(stores: Stores) -> None:
    jp = stores.processor()
    async with jp:

        async def body() -> None:
            await jp.__aexit__(None, None, None)

        with pytest.raises(JobExecutionError, match="cannot be left"):
            await within(PATIENCE, await jp.submit_job(body, local=True, max_retries=0))
        with anyio.fail_after(PATIENCE):
            await jp.drain()


@pytest.mark.anyio
async def test_a_body_may_leave_a_processor_that_does_not_run_it(jp: JobProcessor, tmp_path: Path) -> None:
    async def body() -> int:
        async with Stores("memory", tmp_path).processor() as inner:
            return await (await inner.submit_job(add, 1, 2))

    assert await within(PATIENCE, await jp.submit_job(body, local=True, max_retries=0)) == 3


@pytest.mark.anyio
async def test_what_a_body_left_behind_may_leave_the_processor_once_the_body_has_ended(tmp_path: Path) -> None:
    jp = Stores("memory", tmp_path).processor()
    await jp.__aenter__()
    left, go = anyio.Event(), anyio.Event()

    async def later() -> None:
        await go.wait()
        await jp.__aexit__(None, None, None)
        left.set()

    async with anyio.create_task_group() as tasks:

        async def body() -> None:
            tasks.start_soon(later)  # on asyncio, with the context of the job

        await within(PATIENCE, await jp.submit_job(body, local=True, max_retries=0))
        go.set()
        await within(PATIENCE, left.wait())


@pytest.mark.anyio
async def test_a_body_of_the_fallback_is_refused_too(tmp_path: Path) -> None:
    async with JobProcessor(SQLiteConfig(db_path=tmp_path / "jobs.db"), enable_daemon=False, fallback="sync") as jp:
        said: list[str] = []
        PROCESSORS.append((jp, said))
        await within(PATIENCE, jp.submit_job(leave_the_last, max_retries=0))
        assert "cannot be left inside of it" in said[0]
        PROCESSORS.clear()


PROCESSORS: list[tuple[JobProcessor, list[str]]] = []


async def leave_the_last() -> None:
    jp, said = PROCESSORS[-1]
    said.append(await _leave(jp))


def _exit_of(jobs: SyncJobs) -> str:
    with pytest.raises(JobStateError) as caught:
        jobs.__exit__(None, None, None)
    return str(caught.value)


@pytest.mark.parametrize("on_loop", [False, True])
def test_sync_jobs_are_not_left_inside_of_their_bodies(tmp_path: Path, on_loop: bool) -> None:
    with SyncJobs(tmp_path / "jobs.db") as jobs:

        async def coroutine() -> str:
            return _exit_of(jobs)

        def plain() -> str:
            return _exit_of(jobs)

        body: Callable[[], str | Coroutine[Any, Any, str]] = coroutine if on_loop else plain
        said = jobs.submit_job(body, local=True, max_retries=0).result(timeout=PATIENCE)
        assert "cannot be left inside of it" in said
        assert jobs.submit_job(nothing).result(timeout=PATIENCE) is None


def test_a_body_that_sets_an_event_ends_the_program(tmp_path: Path) -> None:
    """What the hint says works."""
    done = Gate()
    with SyncJobs(tmp_path / "jobs.db") as jobs:
        jobs.submit_job(done.open, local=True)
        done.wait_sync()
