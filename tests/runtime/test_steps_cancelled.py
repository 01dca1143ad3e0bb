"""Steps that the body itself cancels, by what asyncio and anyio have for that; and steps that are tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import anyio
import anyio.to_thread
import pytest

from asyncjobs import ConfigurationError, DaemonConfig, JobProcessor, MemoryBackend, current_job
from asyncjobs.exceptions import NotSerializableError
from asyncjobs.testing import FaultyBackend
from tests.runtime.step_bodies import Work, fail_first, run, step
from tests.runtime.support import Gate, Held, comes_true

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Slow(FaultyBackend):
    """Holds writes of steps until they are let go, once each; ``began`` is set by each."""

    def __init__(self) -> None:
        super().__init__(MemoryBackend())
        self.began, self.go = anyio.Event(), anyio.Event()

    async def write_steps(self, changes: Any) -> Any:
        self.began.set()
        await self.go.wait()
        return await super().write_steps(changes)


async def by_timeout(call: Callable[[], Any], backend: Slow) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(None) as timeout:
            watch = asyncio.create_task(when_began(backend, lambda: timeout.reschedule(0)))
            await call()
    await watch


async def by_wait_for(call: Callable[[], Any], backend: Slow) -> None:
    task = asyncio.create_task(call())
    await backend.began.wait()
    asyncio.get_running_loop().call_later(0.1, backend.go.set)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(task, 0.001)


async def by_task_group(call: Callable[[], Any], backend: Slow) -> None:
    async def fails() -> None:
        await when_began(backend, lambda: None)
        raise ValueError

    with pytest.raises(ExceptionGroup):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(call())
            tasks.create_task(fails())


async def by_cancel(call: Callable[[], Any], backend: Slow) -> None:
    task = asyncio.create_task(call())
    await when_began(backend, lambda: [task.cancel() for _ in range(3)])
    with pytest.raises(asyncio.CancelledError):
        await task


async def by_scope(call: Callable[[], Any], backend: Slow) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(when_began, backend, tasks.cancel_scope.cancel)
        await call()


async def when_began(backend: Slow, cancel: Callable[[], Any]) -> None:
    """Cancel once the commit is under way, and let it go after that."""
    await backend.began.wait()
    cancel()
    asyncio.get_running_loop().call_later(0.05, backend.go.set)


WAYS = [by_timeout, by_wait_for, by_task_group, by_cancel, by_scope]


@pytest.mark.parametrize("kind", ["plain", "awaited"])
@pytest.mark.parametrize("way", WAYS)
async def test_a_value_whose_function_has_returned_is_kept_whatever_cancels_its_step(way: Any, kind: str) -> None:
    work, backend, recalled = Work(), Slow(), list[Any]()

    async def body() -> Any:
        job = current_job()
        if job.attempt == 1:
            await way(lambda: job.step("k", getattr(work, kind), "paid"), backend)
            recalled.append(await job.recall("k"))
            fail_first()
        return await job.step("k", getattr(work, kind), "paid")

    async with JobProcessor(backend) as jp:
        assert await run(jp, body) == "paid"
    assert recalled == ["paid"], "by the same attempt"
    assert work.calls == ["paid"]


@pytest.mark.parametrize("way", WAYS)
async def test_so_it_is_with_keep_and_forget(way: Any) -> None:
    keeping, forgetting = Slow(), Slow()

    async def keeps() -> Any:
        job = current_job()
        await way(lambda: job.keep("k", 1), keeping)
        return await job.recall("k")

    async def forgets() -> Any:
        job = current_job()
        await way(lambda: job.forget(""), forgetting)
        return await job.recall("k", "gone")

    for backend, body, expected in ((keeping, keeps, 1), (forgetting, forgets, "gone")):
        async with JobProcessor(backend) as jp:
            assert await run(jp, body) == expected


async def test_a_body_with_a_loop_of_its_own_keeps_it_too() -> None:
    work = Work()

    async def program() -> Any:
        job = current_job()

        async def returns_cancelled() -> Any:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            return work.plain("paid")

        if job.attempt == 1:
            with pytest.raises(asyncio.CancelledError):
                await asyncio.create_task(job.step("k", returns_cancelled))
            recalled = await job.recall("k")
            fail_first() if recalled == "paid" else None
        return await job.step("k", returns_cancelled)

    def body() -> Any:
        return asyncio.run(program())

    async with JobProcessor(MemoryBackend()) as jp:
        assert await run(jp, body) == "paid"
    assert work.calls == ["paid"]


async def test_a_cancellation_that_comes_with_the_return_finds_the_value_kept() -> None:
    work = Work()

    async def body() -> Any:
        job, done = current_job(), asyncio.Event()

        async def func() -> Any:
            value = await work.awaited("paid")
            done.set()
            return value

        task = asyncio.create_task(job.step("k", func))
        await done.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await job.recall("k")

    async with JobProcessor(MemoryBackend()) as jp:
        assert await run(jp, body) == "paid"


# -- plain functions whose step is left


async def test_what_a_plain_function_returns_is_kept_after_its_step_was_left() -> None:
    held = Held("paid")

    async def body() -> list[Any]:
        job = current_job()
        if job.attempt == 1:
            task = asyncio.create_task(job.step("k", held.sync))
            await held.started.wait()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(task, 0.001)
            with pytest.raises(ConfigurationError, match="its step is still running"):
                await job.step("k", held.sync)
            held.go.open()
            while await job.recall("k") is None:
                await asyncio.sleep(0.001)
            assert await job.step("k", held.sync) == "paid", "the step that was left has returned no value"
            fail_first()
        return [await job.step("k", held.sync), job.attempt]

    async with JobProcessor(MemoryBackend()) as jp:
        assert await run(jp, body) == ["paid", 2]
    assert held.starts == 1


async def test_what_it_returns_after_the_body_has_ended_is_not_kept_and_logged(caplog: Any) -> None:
    held = Held("late")

    async def body() -> None:
        task = asyncio.create_task(current_job().step("k", held.sync))
        await held.started.wait()
        task.cancel()

    async with JobProcessor(MemoryBackend()) as jp:
        handle = await jp.submit_job(body, local=True)
        await handle
        held.go.open()
        await comes_true(lambda: "did not wait for its step 'k'" in caplog.text)
        assert await jp.backend.count_steps(handle) == 0


async def test_a_plain_function_whose_step_was_left_before_it_began_is_not_called() -> None:
    held, work = Held(), Work()

    async def body() -> list[Any]:
        job = current_job()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(job.step, "first", held.sync)
            await held.started.wait()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(job.step("k", work.plain), 0.05)
            calls = len(work.calls)
            held.go.open()
        return [calls, await job.step("k", work.plain, "again")]

    async with JobProcessor(MemoryBackend(), daemon=DaemonConfig(num_workers=1)) as jp:
        assert await run(jp, body) == [0, "again"]
    assert work.calls == ["again"]


# -- the same key again


@pytest.mark.parametrize("way", ["async", "thread"])
async def test_a_step_whose_function_raised_may_be_tried_again(way: str) -> None:
    calls: list[int] = []

    def asks() -> str:
        calls.append(1)
        if len(calls) < 3:
            raise ValueError("bad JSON")
        return "answer"

    async def body() -> list[Any]:
        for _ in range(5):
            try:
                value = await step(way, "ask", asks)
            except ValueError:
                pass
            else:
                with pytest.raises(ConfigurationError, match="'ask' was already used"):
                    await step(way, "ask", asks)
                return [value, len(calls)]
        raise AssertionError

    async with JobProcessor(MemoryBackend()) as jp:
        assert await run(jp, body) == ["answer", 3]


@pytest.mark.parametrize("cancels", ["asyncio", "anyio"])
async def test_a_step_that_the_body_timed_out_may_be_tried_again(cancels: str) -> None:
    work = Work()

    async def body() -> Any:
        job = current_job()
        if cancels == "asyncio":
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await job.step("k", anyio.sleep_forever)
        else:
            with anyio.move_on_after(0.01):
                await job.step("k", anyio.sleep_forever)
        return await job.step("k", work.awaited)

    async with JobProcessor(MemoryBackend()) as jp:
        assert await run(jp, body) == "done"


async def test_a_value_that_cannot_be_kept_leaves_the_key_free() -> None:
    async def body() -> Any:
        job = current_job()
        with pytest.raises(NotSerializableError):
            await job.step("k", lambda: object())
        return await job.step("k", lambda: 1)

    async with JobProcessor(MemoryBackend()) as jp:
        assert await run(jp, body) == 1


# -- after the end


@pytest.mark.parametrize("way", ["step", "step_sync", "keep", "forget", "recall", "submit"])
async def test_what_a_body_leaves_behind_can_do_nothing_for_its_job(way: str) -> None:
    work, ended, raised = Work(), Gate(), list[str]()

    async def call(job: Any) -> None:
        match way:
            case "step":
                await job.step("late", work.plain)
            case "step_sync":
                await anyio.to_thread.run_sync(job.step_sync, "late", work.plain)
            case "submit":
                await job.submit_job(work.plain)
            case _:
                await getattr(job, way)(*(("k", 1) if way == "keep" else ("k",)))

    left: list[asyncio.Task[None]] = []

    async def late() -> None:
        job = current_job()
        await ended.wait()
        try:
            await call(job)
        except BaseException as error:
            raised.append(str(error))

    async def body() -> None:
        left.append(asyncio.create_task(late()))

    async with JobProcessor(MemoryBackend()) as jp:
        await (await jp.submit_job(body, local=True))
        ended.open()
        await left[0]
    assert "no longer held by this attempt; its body has ended" in raised[0]
    assert work.calls == [], "its function was not called"
