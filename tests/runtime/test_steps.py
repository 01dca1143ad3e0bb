"""Steps: what an attempt has finished is not done again by the next one."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from asyncjobs import (
    JobExecutionError,
    JobProcessor,
    JobStateError,
    current_job,
)
from asyncjobs.backends.bounds import SMALL_VALUE
from tests.runtime.step_bodies import ONCE, Work, fail_first, run, step
from tests.runtime.support import Stores, within

pytestmark = pytest.mark.anyio


# -- what an earlier attempt finished


@pytest.mark.parametrize("way", ["plain", "awaited"])
async def test_a_later_attempt_gets_the_value_and_does_not_call_the_function(jp: JobProcessor, way: str) -> None:
    work = Work()

    async def body() -> Any:
        value = await current_job().step("draw", getattr(work, way), "a picture")
        fail_first()
        return value

    assert await run(jp, body) == "a picture"
    assert work.calls == ["a picture"]


async def test_plain_bodies_have_steps_in_their_thread(jp: JobProcessor) -> None:
    work, threads = Work(), set[int]()

    def draw() -> str:
        threads.add(threading.get_ident())
        return work.plain()

    def body() -> bool:
        value = current_job().step_sync("draw", draw)
        fail_first()
        return value == "done" and threading.get_ident() not in threads - {threading.get_ident()}

    assert await run(jp, body)
    assert work.calls == ["done"]
    assert len(threads) == 1


async def test_keyword_arguments_reach_the_function_whatever_they_are_called(jp: JobProcessor) -> None:
    def func(key: str, *, fn: str, self: int) -> str:
        return f"{key}{fn}{self}"

    async def body() -> str:
        return await current_job().step("k", func, "a", fn="b", self=1)

    assert await run(jp, body) == "ab1"


async def test_a_lambda_that_returns_a_coroutine_is_awaited(jp: JobProcessor) -> None:
    work = Work()

    async def body() -> Any:
        return await current_job().step("k", lambda: work.awaited("from inside"))

    assert await run(jp, body) == "from inside"


@dataclass
class Picture:
    width: int


async def test_the_value_comes_from_the_stored_bytes_in_the_first_attempt_too(jp: JobProcessor) -> None:
    made: list[Picture] = []

    def draw() -> Picture:
        made.append(Picture(3))
        return made[0]

    def without_annotation():
        return {"a": (1, 2)}

    async def body() -> list[Any]:
        first = await current_job().step("draw", draw)
        fail_first() if current_job().attempt == 1 and first is made[0] else None
        return [first is made[0], first == made[0], await current_job().step("plain", without_annotation)]

    assert await run(jp, body, retry=ONCE) == [False, True, {"a": (1, 2)}]


async def test_what_the_function_raises_is_not_kept(jp: JobProcessor) -> None:
    work = Work()

    def fails_at_first() -> str:
        work.plain()
        fail_first()
        return "second"

    async def body() -> Any:
        return await current_job().step("k", fails_at_first)

    assert await run(jp, body) == "second"
    assert len(work.calls) == 2


@pytest.mark.parametrize("value", [None, "", b"", 0, [], b"x" * (SMALL_VALUE - 5), b"x" * (SMALL_VALUE + 1)])
@pytest.mark.parametrize("way", ["async", "thread"])
async def test_any_value_comes_back_also_none_and_a_large_one(jp: JobProcessor, value: Any, way: str) -> None:
    work = Work()

    async def body() -> Any:
        value_of_it = await step(way, "k", work.plain, value)
        fail_first()
        return value_of_it

    assert await run(jp, body) == value
    assert len(work.calls) == 1


async def test_what_was_kept_under_the_key_of_a_step_is_its_value(jp: JobProcessor) -> None:
    work = Work()

    async def body() -> Any:
        await current_job().keep("k", "kept")
        return await current_job().step("k", work.plain)

    assert await run(jp, body) == "kept"
    assert work.calls == []


async def test_a_step_inside_of_a_step_has_a_key_of_its_own(stores: Stores) -> None:
    """Also where the outer one holds the only token for threads."""
    work = Work()

    def outer() -> str:
        job = current_job()
        return str([job.step_sync("inner", work.plain, 1), anyio.from_thread.run(job.step, "thread", work.plain, 2)])

    async def outer_async() -> Any:
        return await current_job().step("inner async", work.plain, 3)

    async def body() -> list[Any]:
        value = [await current_job().step("outer", outer), await current_job().step("outer async", outer_async)]
        fail_first()
        return value

    async with stores.processor(num_workers=1) as jp:
        assert await run(jp, body) == ["[1, 2]", 3]
    assert work.calls == [1, 2, 3]


async def test_as_many_plain_functions_run_at_once_as_jobs_and_no_more(stores: Stores) -> None:
    two, three = threading.Barrier(2), threading.Barrier(3)

    def meet(barrier: threading.Barrier, seconds: float) -> bool:
        try:
            barrier.wait(seconds)
        except threading.BrokenBarrierError:
            return False
        return True

    async def body() -> list[bool]:
        met: list[bool] = []

        async def one(key: str, barrier: threading.Barrier, seconds: float) -> None:
            met.append(await current_job().step(key, meet, barrier, seconds))

        for name, barrier, seconds in (("two", two, 10), ("three", three, 0.3)):
            async with anyio.create_task_group() as tasks:
                for i in range(barrier.parties):
                    tasks.start_soon(one, f"{name}/{i}", barrier, seconds)
        return met

    async with stores.processor(num_workers=2) as jp:
        assert await run(jp, body) == [True] * 2 + [False] * 3


# -- where bodies run


async def test_a_body_with_a_loop_of_its_own_has_steps(stores: Stores) -> None:
    work = Work()

    def body() -> list[Any]:
        async def program() -> list[Any]:
            job = current_job()
            values = [await job.step("plain", work.plain, 1), await job.step("async", work.awaited, 2)]
            await job.keep("k", 3)
            return [*values, await job.recall("k")]

        values = asyncio.run(program())
        fail_first()
        return values

    async with stores.processor(num_workers=1) as jp:
        assert await run(jp, body) == [1, 2, 3]
    assert work.calls == [1, 2]


async def test_current_job_is_what_it_was_inside_of_the_function(jp: JobProcessor) -> None:
    def func() -> str:
        current_job().log("from the step")
        return current_job().id

    async def body() -> list[str]:
        return [await current_job().step("k", func), current_job().id]

    one, other = await run(jp, body)
    assert one == other


async def test_resumed_by_hand_steps_stay_and_afresh_they_are_gone(jp: JobProcessor) -> None:
    work, fails = Work(), [True]

    async def body() -> Any:
        value = await current_job().step("k", work.plain)
        if fails[0]:
            raise RuntimeError("fails")
        return value

    handle = await jp.submit_job(body, local=True, retry=ONCE)
    with pytest.raises(JobExecutionError):
        await within(10, handle)
    await handle.retry()
    with pytest.raises(JobExecutionError):
        await within(10, handle)
    assert len(work.calls) == 1
    fails[0] = False
    await handle.retry(fresh=True)
    assert await within(10, handle) == "done"
    assert len(work.calls) == 2


def test_outside_of_a_job_there_are_no_steps() -> None:
    with pytest.raises(JobStateError, match="works only inside a job's body"):
        current_job()
