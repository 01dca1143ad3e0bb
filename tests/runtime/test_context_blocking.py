"""A plain call that waits for the event loop is refused on that loop's own thread, which it would stop for ever."""

from __future__ import annotations

import ast
import asyncio
import contextvars
import functools
import re
import threading
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from asyncjobs import JobExecutionError, JobHandle, JobProcessor, JobStateError, SyncJobs, current_job
from tests.runtime import isolated
from tests.runtime.support import PATIENCE, Stores, add, nothing, within


async def double(x: int) -> int:
    return 2 * x


def _watched(body: Callable[[], Any]) -> Callable[[], Awaitable[JobStateError]]:
    """An ``async def`` body that makes the call; a coroutine that it left un-awaited fails it."""

    async def run() -> JobStateError:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(JobStateError) as caught:
                body()
            return caught.value

    return run


CALLS: dict[str, tuple[Callable[[JobHandle[Any]], Any], str]] = {
    "submit_job_sync": (lambda _: current_job().submit_job_sync(nothing), "await current_job().submit_job("),
    "result_sync": (lambda handle: handle.result_sync(), "await handle"),
    "result_sync(timeout=)": (lambda handle: handle.result_sync(timeout=0.1), "await handle"),
    "run_sync": (lambda _: current_job().run_sync(double, 1), "await function("),
}


@pytest.mark.anyio
@pytest.mark.parametrize("call", CALLS)
async def test_an_async_body_is_refused_with_the_twin_to_await(jp: JobProcessor, call: str) -> None:
    blocking, twin = CALLS[call]
    other = await jp.submit_job(add, 1, 2)
    errors: list[JobStateError] = []

    async def body() -> None:
        errors.append(await _watched(functools.partial(blocking, other))())

    handle = await jp.submit_job(body, job_id="me", local=True, max_retries=0)
    await within(PATIENCE, handle)
    assert errors[0].job_id == "me"
    assert f"{call.partition('(')[0]}(" in str(errors[0])
    assert errors[0].hint is not None
    assert twin in errors[0].hint
    assert {job.id for job in await jp.find_jobs()} == {other.id, "me"}  # nothing was stored


async def _as_printed(hint: str | None, **names: Any) -> list[Any]:
    """Run the calls that a hint names, in their order, as they are printed; ``…`` stands for ``double, 21``."""
    assert hint is not None
    calls, _, assignment = hint.removeprefix("in an 'async def' function: ").partition(", with ")
    if assignment:
        exec(assignment, names)
    names |= {"current_job": current_job, "double": double}
    code = f"[{calls.replace('function(…)', 'function(21)').replace('…', 'double, 21')}]"
    values = eval(compile(code, "hint", "eval", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
    return [await value if isinstance(value, JobHandle) else value for value in await values]


@pytest.mark.anyio
@pytest.mark.parametrize("call", CALLS)
async def test_the_twin_in_the_hint_works_as_printed(jp: JobProcessor, call: str) -> None:
    other = await jp.submit_job(double, 21)
    values: list[Any] = []

    async def body() -> None:
        error = await _watched(functools.partial(CALLS[call][0], other))()
        values.extend(await _as_printed(error.hint, handle=other, function=double))

    await within(PATIENCE, await jp.submit_job(body, local=True, max_retries=0))
    assert values == [42]


def test_the_twin_of_sync_jobs_works_as_printed(tmp_path: Path) -> None:
    with SyncJobs(tmp_path / "jobs.db") as jobs:
        other = jobs.submit_job(double, 21)

        async def body() -> list[Any]:
            error = await _watched(jobs.find_jobs)()
            return await _as_printed(error.hint, jobs=jobs, job_id=other.id)

        assert jobs.submit_job(body, local=True, max_retries=0).result(timeout=PATIENCE) == [42, 42]
        assert jobs.call(body) == [42, 42]  # outside of a job


IN_THREADS: dict[str, Callable[[JobHandle[Any]], Any]] = {
    "current_job": lambda handle: current_job().id and handle.result_sync(),
    "submit_job_sync": lambda _: current_job().submit_job_sync(double, 21).result_sync(),
    "result_sync": lambda handle: handle.result_sync(),
    "run_sync": lambda _: current_job().run_sync(double, 21),
}


@pytest.mark.parametrize("call", IN_THREADS)
def test_in_a_thread_without_the_jobs_context_the_error_names_what_gives_it(tmp_path: Path, call: str) -> None:
    """``loop.run_in_executor`` copies no context, as ``asyncio.to_thread`` does."""

    async def program() -> None:
        async with JobProcessor(tmp_path / "jobs.db") as jp:
            waited = functools.partial(IN_THREADS[call], await jp.submit_job(double, 21))

            async def body() -> list[Any]:
                loop = asyncio.get_running_loop()
                with pytest.raises(JobStateError) as caught:
                    await loop.run_in_executor(None, waited)
                assert caught.value.hint is not None
                names = {"asyncio": asyncio, "contextvars": contextvars, "f": waited}
                by_task, in_executor = re.findall(r"[a-z._]+(?:to_thread|\(\)\.run)\(f\)", caught.value.hint)
                called = functools.partial(eval, in_executor, names)
                context = contextvars.copy_context()
                assert in_executor == "contextvars.copy_context().run(f)"
                return [
                    await eval(by_task, names),
                    await loop.run_in_executor(None, functools.partial(context.run, called)),
                ]

            handle = await jp.submit_job(body, local=True, max_retries=0)
            assert await within(PATIENCE, handle) == [42, 42]

    asyncio.run(program())


@pytest.mark.anyio
async def test_so_does_it_in_a_thread_of_a_plain_body(jp: JobProcessor) -> None:
    hints: list[str | None] = []

    def look() -> None:
        with pytest.raises(JobStateError) as caught:
            current_job()
        hints.append(caught.value.hint)

    def body() -> None:
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()

    await within(PATIENCE, await jp.submit_job(body, local=True, max_retries=0))
    assert [hint and hint.partition("; ")[2].startswith("a thread of a body") for hint in hints] == [True]


def test_on_the_main_thread_outside_of_a_job_the_error_names_the_twin() -> None:
    with pytest.raises(JobStateError) as caught:
        JobHandle("a").result_sync()
    assert caught.value.hint == "in an 'async def' function: await handle; or SyncJobs, whose handles have result()"
    with pytest.raises(JobStateError) as caught:
        current_job()
    assert caught.value.hint == "submit the function"


@pytest.mark.anyio
async def test_unhandled_it_fails_the_job_alone(jp: JobProcessor) -> None:
    async def body() -> None:
        current_job().submit_job_sync(nothing)

    handle = await jp.submit_job(body, local=True, max_retries=0)
    with pytest.raises(JobExecutionError, match="submit_job_sync") as caught:
        await within(PATIENCE, handle)
    assert caught.value.error_type.endswith("JobStateError")
    assert await (await jp.submit_job(add, 1, 2)) == 3


@pytest.mark.anyio
async def test_a_plain_helper_that_an_async_body_calls_is_refused(jp: JobProcessor) -> None:
    def helper() -> Any:
        return current_job().submit_job_sync(nothing)

    async def body() -> JobStateError:
        return await _watched(helper)()

    errors: list[JobStateError] = []

    async def outer() -> None:
        async with anyio.create_task_group() as tasks:  # a task of the body's own is no other place

            async def task() -> None:
                errors.append(await body())

            tasks.start_soon(task)

    await within(PATIENCE, await jp.submit_job(outer, local=True, max_retries=0))
    assert errors


def test_a_callback_of_the_loop_is_refused(tmp_path: Path) -> None:
    async def body() -> str:
        said: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def callback() -> None:  # runs in the job's context, and in no task
            try:
                current_job().submit_job_sync(nothing)
            except JobStateError as error:
                said.set_result(str(error))

        asyncio.get_running_loop().call_soon(callback)
        return await said

    async def program() -> str:
        async with Stores("memory", tmp_path).processor() as jp:
            return await within(PATIENCE, await jp.submit_job(body, local=True, max_retries=0))

    assert "submit_job_sync" in asyncio.run(program())


@pytest.mark.anyio
async def test_a_coroutine_that_runs_on_the_loop_for_a_plain_body_is_refused(jp: JobProcessor) -> None:
    async def on_the_loop() -> str:
        return str(await _watched(lambda: current_job().submit_job_sync(nothing))())

    def body() -> str:
        return current_job().run_sync(on_the_loop)

    handle = await jp.submit_job(body, local=True, max_retries=0)
    assert "submit_job_sync" in await within(PATIENCE, handle)


@pytest.mark.anyio
async def test_threads_of_bodies_may_still_block(jp: JobProcessor) -> None:
    def in_thread() -> int:
        assert current_job().run_sync(double, 1) == 2
        return current_job().submit_job_sync(add, 1, 2).result_sync(timeout=PATIENCE)

    async def body() -> int:
        return await anyio.to_thread.run_sync(in_thread)

    def with_a_loop_of_its_own() -> int:
        async def program() -> int:
            return in_thread()

        return asyncio.run(program())

    for job in (in_thread, body, with_a_loop_of_its_own):
        assert await within(PATIENCE, await jp.submit_job(job, local=True, max_retries=0)) == 3


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("body", "call", "twin"),
    [
        (isolated.block_on_submit, "submit_job_sync", "await current_job().submit_job("),
        (isolated.block_on_result, "result_sync", "await handle"),
        (isolated.block_on_run, "run_sync", "await function("),
        (isolated.block_in_a_loop_of_its_own, "submit_job_sync", "await current_job().submit_job("),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
async def test_in_a_process_of_its_own_too(tmp_path: Path, body: Callable[..., Any], call: str, twin: str) -> None:
    async with Stores("memory", tmp_path).processor() as jp:
        handle = await jp.submit_job(body, isolation="process", max_retries=0)
        with pytest.raises(JobExecutionError) as caught:
            await within(PATIENCE, handle)
    assert caught.value.error_type.endswith("JobStateError")
    assert call in caught.value.message
    assert twin in caught.value.message
    assert "never awaited" not in (caught.value.traceback_text or "")


def test_sync_jobs_are_refused_on_their_own_loop(tmp_path: Path) -> None:
    with SyncJobs(tmp_path / "jobs.db") as jobs:
        other = jobs.submit_job(nothing)
        calls: dict[str, Callable[[], Any]] = {
            "submit": lambda: jobs.submit_job(nothing),
            "result": other.result,
            "status": other.status,
            "gather": lambda: jobs.gather(other),
            "find": jobs.find_jobs,
            "stream": lambda: list(jobs.stream_job(other)),
        }
        said: dict[str, str] = {}

        async def body() -> None:
            for name, call in calls.items():
                said[name] = str(await _watched(call)())

        jobs.submit_job(body, local=True, max_retries=0).result(timeout=PATIENCE)
        jobs.call(body)  # outside of a job, it is the same thread
        assert list(said) == list(calls)
        assert all("SyncJobs" in text and "await" in text for text in said.values())
        assert len(jobs.find_jobs()) == 2


def test_plain_bodies_and_other_loops_may_use_sync_jobs(tmp_path: Path) -> None:
    with SyncJobs(tmp_path / "jobs.db") as jobs:

        def body() -> int:
            return jobs.submit_job(add, 1, 2).result(timeout=PATIENCE)

        async def elsewhere() -> int:
            return jobs.submit_job(add, 3, 4).result(timeout=PATIENCE)

        assert jobs.submit_job(body, local=True).result(timeout=PATIENCE) == 3
        assert asyncio.run(elsewhere()) == 7
