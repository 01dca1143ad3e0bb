"""Keys of steps: each names one step of an attempt, and one value of the job."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from asyncjobs import (
    ConfigurationError,
    JobProcessor,
    JobStateError,
    current_job,
)
from asyncjobs.exceptions import SubmissionError
from tests.runtime.step_bodies import ONCE, Work, fail_first, run, step
from tests.runtime.support import Held

pytestmark = pytest.mark.anyio


# -- keys


@pytest.mark.parametrize("way", ["async", "thread"])
async def test_a_key_names_one_step_of_an_attempt(jp: JobProcessor, way: str) -> None:
    work = Work()

    async def body() -> list[str]:
        await step(way, "once", work.plain)
        fail_first()
        with pytest.raises(ConfigurationError) as again:
            await step(way, "once", work.plain)
        return [str(again.value), again.value.value]

    message, key = await run(jp, body)
    assert "'once' was already used in this attempt" in message
    assert "the index" in message
    assert key == "once"
    assert len(work.calls) == 1


async def test_a_key_in_use_by_a_step_that_runs_is_refused_too(jp: JobProcessor) -> None:
    held = Held()

    async def body() -> str:
        job = current_job()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(job.step, "k", held.sync)
            await held.started.wait()
            with pytest.raises(ConfigurationError, match="'k' was already used") as refused:
                await job.step("k", held.sync)
            with pytest.raises(ConfigurationError, match="'k' was already used"):
                await anyio.to_thread.run_sync(job.step_sync, "k", held.sync)
            held.go.open()
        return str(refused.value.value)

    assert await run(jp, body) == "k"
    assert held.starts == 1


async def test_of_two_threads_in_one_step_one_is_refused(jp: JobProcessor) -> None:
    work = Work()

    def body() -> list[str]:
        job, outcomes = current_job(), list[str]()
        together = threading.Barrier(2, timeout=10)

        def thread() -> None:
            together.wait()
            try:
                outcomes.append(job.step_sync("k", work.plain))
            except ConfigurationError as error:
                outcomes.append(str(error.value))

        threads = [threading.Thread(target=thread) for _ in range(2)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        return sorted(outcomes)

    assert await run(jp, body) == ["done", "k"]
    assert len(work.calls) == 1


@pytest.mark.parametrize("key", ["", "x" * 201, "\ud800", None, 3, b"k"])
async def test_what_cannot_be_a_key_is_refused_before_anything_happens(jp: JobProcessor, key: Any) -> None:
    work = Work()

    async def body() -> int:
        job = current_job()
        calls: list[Callable[[], Any]] = [
            lambda: job.step(key, work.plain),
            lambda: anyio.to_thread.run_sync(job.step_sync, key, work.plain),
            lambda: job.recall(key),
            lambda: job.keep(key, 1),
            *([lambda: job.forget(key)] if key != "" else []),
        ]
        for call in calls:
            with pytest.raises(ConfigurationError, match=r"200 characters"):
                await call()
        return await jp.backend.count_steps(job.id)

    assert await run(jp, body) == 0
    assert work.calls == []


async def test_keys_of_200_characters_are_allowed(jp: JobProcessor) -> None:
    async def body() -> Any:
        await current_job().keep("ü" * 200, 1)
        return await current_job().recall("ü" * 200)

    assert await run(jp, body) == 1


async def test_what_cannot_be_called_once_is_refused(jp: JobProcessor) -> None:
    work = Work()

    def generator() -> Any:
        yield 1

    def body() -> list[str]:
        refused: list[str] = []
        with pytest.raises(ConfigurationError, match=r"step_sync\(\) does not await") as error:
            current_job().step_sync("k", work.awaited)
        refused.append(error.value.field)
        with pytest.raises(ConfigurationError, match="does not await what fn returned"):
            current_job().step_sync("k", lambda: work.awaited())
        for no_function in (generator, 3):
            with pytest.raises(SubmissionError):
                current_job().step_sync("k", no_function)
        return refused

    assert await run(jp, body) == ["fn"]
    assert work.calls == []


@pytest.mark.parametrize("way", ["async", "thread"])
async def test_the_hint_for_what_cannot_be_called_names_step_and_the_key(jp: JobProcessor, way: str) -> None:
    def generator() -> Any:
        yield 1

    async def body() -> list[str]:
        hints: list[str] = []
        for no_function in (3, None, "name", generator):
            with pytest.raises(SubmissionError) as refused:
                await step(way, "page/1", no_function)
            hints.append(str(refused.value.hint))
        return hints

    for hint in await run(jp, body):
        assert "step('page/1', render, path)" in hint
        assert "submit_job" not in hint


async def test_the_calls_of_threads_are_refused_on_the_loop(jp: JobProcessor) -> None:
    async def body() -> int:
        job = current_job()
        for call in (
            lambda: job.step_sync("k", fail_first),
            lambda: job.recall_sync("k"),
            lambda: job.keep_sync("k", 1),
            lambda: job.forget_sync("k"),
        ):
            with pytest.raises(JobStateError, match=r"await current_job\(\)\.(step|recall|keep|forget)\("):
                call()
        return await jp.backend.count_steps(job.id)

    assert await run(jp, body, retry=ONCE) == 0


# -- below steps


@pytest.mark.parametrize("way", ["async", "thread"])
async def test_what_is_kept_is_recalled_by_this_attempt_and_the_next(jp: JobProcessor, way: str) -> None:
    if way == "async":

        async def body() -> list[Any]:
            job = current_job()
            if job.attempt == 1:
                assert await job.recall("a", "default") == "default"
                await job.keep("a", 1)
                await job.keep("a", {"n": (2, b"\x00")})
                await job.keep("none", None)
                assert await job.recall("a") == {"n": (2, b"\x00")}
                fail_first()
            return [await job.recall("a"), await job.recall("none", "default"), await job.recall("b", "default")]
    else:

        def body() -> list[Any]:
            job = current_job()
            if job.attempt == 1:
                assert job.recall_sync("a", "default") == "default"
                job.keep_sync("a", 1)
                job.keep_sync("a", {"n": (2, b"\x00")})
                job.keep_sync("none", None)
                assert job.recall_sync("a") == {"n": (2, b"\x00")}
                fail_first()
            return [job.recall_sync("a"), job.recall_sync("none", "default"), job.recall_sync("b", "default")]

    assert await run(jp, body) == [{"n": (2, b"\x00")}, None, "default"]


@pytest.mark.parametrize("attempt", [1, 2])
async def test_forgotten_keys_are_free_again_in_this_attempt(jp: JobProcessor, attempt: int) -> None:
    work = Work()

    async def body() -> list[Any]:
        job = current_job()
        await job.step("page/1", work.plain, 1)
        await job.step("page/2", work.plain, 2)
        await job.step("title", work.plain, 3)
        if job.attempt < attempt:
            fail_first()
        await job.forget("page/")
        again = [await job.step("page/1", work.plain, 11), await job.recall("page/2"), await job.recall("title")]
        with pytest.raises(ConfigurationError):
            await job.step("title", work.plain, 3)
        await job.forget("")
        return [*again, await jp.backend.count_steps(job.id), await job.step("title", work.plain, 33)]

    assert await run(jp, body) == [11, None, 3, 0, 33]
    assert work.calls == [1, 2, 3, 11, 33]


async def test_a_forgotten_step_does_not_come_back_in_a_later_attempt(jp: JobProcessor) -> None:
    work = Work()

    def body() -> Any:
        job = current_job()
        value = job.step_sync("k", work.plain, job.attempt)
        if job.attempt == 1:
            job.forget_sync("k")
        fail_first()
        return value

    assert await run(jp, body) == 2


async def test_a_step_that_runs_keeps_its_key_while_others_are_forgotten(jp: JobProcessor) -> None:
    held = Held("late")

    async def body() -> Any:
        job = current_job()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(job.step, "k", held.sync)
            await held.started.wait()
            await job.forget("")
            with pytest.raises(ConfigurationError):
                await job.step("k", held.sync)
            held.go.open()
        return await job.recall("k")

    assert await run(jp, body) == "late"
