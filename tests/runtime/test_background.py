"""Entered by one task and left by another, as fixtures, start-up hooks and notebook cells do (ADR 12)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import anyio
import pytest

from asyncjobs import BackendClosedError, BackendError, DaemonConfig, JobProcessor, SQLiteConfig
from asyncjobs.processor import get_engine
from tests.runtime.support import PATIENCE, PENDING, Held, add, within

T = TypeVar("T")

pytestmark = pytest.mark.anyio


def processor(path: Path, **daemon: Any) -> JobProcessor:
    return JobProcessor(SQLiteConfig(db_path=path / "jobs.db", readers=1), daemon=DaemonConfig(**daemon))


async def in_another_task(body: Coroutine[Any, Any, T]) -> T:
    return await within(PATIENCE, asyncio.create_task(body))


async def test_a_processor_is_entered_in_one_task_and_left_in_another(tmp_path: Path) -> None:
    jp = processor(tmp_path)
    await in_another_task(jp.__aenter__())
    assert await (await jp.submit_job(add, 1, 2)) == 3
    assert not await in_another_task(jp.__aexit__(None, None, None))
    with pytest.raises(BackendClosedError):
        await jp.submit_job(add, 1, 2)


async def test_leaving_in_another_task_drains(tmp_path: Path) -> None:
    held = Held("done")
    jp = processor(tmp_path)
    await in_another_task(jp.__aenter__())
    handle = await jp.submit_job(held.body, local=True, job_id="held")
    await held.started.wait()
    leaving = asyncio.create_task(jp.__aexit__(None, None, None))
    await asyncio.sleep(0)
    assert not leaving.done()
    held.go.open()
    await within(PATIENCE, leaving)
    async with processor(tmp_path) as again:
        assert await again.get_result(handle) == "done"


async def test_processors_are_left_in_the_order_in_which_they_were_entered(tmp_path: Path) -> None:
    first, second = processor(tmp_path), processor(tmp_path)
    await first.__aenter__()
    await second.__aenter__()
    await within(PATIENCE, first.__aexit__(None, None, None))
    assert await (await second.submit_job(add, 1, 2)) == 3
    await within(PATIENCE, second.__aexit__(None, None, None))


async def test_a_processor_outlives_the_cancel_scope_in_which_it_was_entered(tmp_path: Path) -> None:
    jp = processor(tmp_path)
    with anyio.move_on_after(PATIENCE) as scope:
        await jp.__aenter__()
    scope.cancel()
    assert await (await jp.submit_job(add, 1, 2)) == 3
    await within(PATIENCE, jp.__aexit__(None, None, None))


async def test_an_async_generator_that_another_task_finalizes_leaves_it(tmp_path: Path) -> None:
    @asynccontextmanager
    async def fixture() -> AsyncIterator[JobProcessor]:
        async with processor(tmp_path) as jp:
            yield jp

    context = fixture()
    jp = await in_another_task(context.__aenter__())
    assert await (await jp.submit_job(add, 1, 2)) == 3
    await in_another_task(context.__aexit__(None, None, None))


async def test_a_program_that_is_cancelled_in_its_block_drains_all_the_same(tmp_path: Path) -> None:
    held = Held("done")

    async def program() -> None:
        async with processor(tmp_path) as jp:
            await jp.submit_job(held.body, local=True, job_id="held")
            await anyio.sleep_forever()

    task = asyncio.create_task(program())
    await held.started.wait()
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()  # in the middle of the drain
    await asyncio.sleep(0)
    held.go.open()
    with pytest.raises(asyncio.CancelledError):
        await within(PATIENCE, task)
    async with processor(tmp_path) as again:
        assert await again.get_result("held") == "done"


async def test_what_keeps_it_from_starting_is_raised_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jp = processor(tmp_path)

    async def refuse(worker: object) -> str:
        raise BackendError("no worker today")

    monkeypatch.setattr(get_engine(jp).backend, "register_worker", refuse)
    with pytest.raises(BackendError, match="no worker today"):
        await in_another_task(jp.__aenter__())
    monkeypatch.undo()
    async with jp:
        assert await (await jp.submit_job(add, 1, 2)) == 3


async def test_cancelled_while_it_starts_it_leaves_nothing_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jp = processor(tmp_path)
    starting = asyncio.Event()

    async def register(worker: object) -> str:
        starting.set()
        await anyio.sleep_forever()
        raise AssertionError

    monkeypatch.setattr(get_engine(jp).backend, "register_worker", register)
    before = asyncio.all_tasks()
    task = asyncio.create_task(jp.__aenter__())
    await within(PATIENCE, starting.wait())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await within(PATIENCE, task)
    assert asyncio.all_tasks() == before
    monkeypatch.undo()
    async with jp:
        assert await (await jp.submit_job(add, 1, 2)) == 3


async def test_an_error_of_the_background_is_logged_and_does_not_cancel_the_programs_block(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, "asyncjobs")
    failed = asyncio.Event()

    async def fail() -> None:
        failed.set()
        raise ZeroDivisionError("a mistake of ours")

    jp = processor(tmp_path)
    with pytest.raises(ZeroDivisionError, match="a mistake of ours"):
        async with jp:
            handle = await jp.submit_job(add, 1, 2, delay=3600)
            get_engine(jp)._beside.start_soon(fail)
            await within(PATIENCE, failed.wait())
            await within(PATIENCE, asyncio.wait([get_engine(jp)._background._task]))
            assert await handle.status() is PENDING  # the block goes on
    assert "jobs no longer run here" in caplog.text


async def test_an_error_of_the_program_is_raised_and_not_that_of_the_background(tmp_path: Path) -> None:
    async def fail() -> None:
        raise ZeroDivisionError("a mistake of ours")

    with pytest.raises(LookupError, match="the program's"):
        async with processor(tmp_path) as jp:
            get_engine(jp)._beside.start_soon(fail)
            await within(PATIENCE, asyncio.wait([get_engine(jp)._background._task]))
            raise LookupError("the program's")
