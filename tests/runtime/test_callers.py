"""A warning points at the line of the program that it is about, never into this package."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import pytest

from asyncjobs import JobProcessor, JobRequest, SyncJobs, current_job
from tests.runtime.support import PATIENCE, within

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def jp() -> AsyncIterator[JobProcessor]:
    async with JobProcessor("memory") as processor:
        yield processor


def plain() -> None: ...


async def _batch(jp: JobProcessor) -> None:
    async with jp.batch() as batch:
        batch.submit_job(plain, timeout=5)


async def _child(jp: JobProcessor) -> None:
    async def body() -> None:
        await current_job().submit_job(plain, timeout=5)

    await within(PATIENCE, await jp.submit_job(body, local=True))


async def _helper(jp: JobProcessor) -> None:
    async def submit() -> None:
        await jp.submit_job(plain, timeout=5)

    await submit()


SUBMITS: dict[str, Callable[[JobProcessor], Awaitable[Any]]] = {
    "submit_job": lambda jp: _awaited(jp.submit_job(plain, timeout=5)),
    "a helper": _helper,
    "submit_jobs": lambda jp: _awaited(jp.submit_jobs([JobRequest(func=plain, timeout=5)])),
    "batch": _batch,
    "a body": _child,
    "a function of a task": lambda jp: _in_a_task(_helper, jp),
}


async def _awaited(submission: Awaitable[Any]) -> None:
    await submission


async def _in_a_task(function: Callable[[JobProcessor], Awaitable[Any]], jp: JobProcessor) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(function, jp)


@pytest.mark.parametrize("how", SUBMITS)
async def test_a_warning_points_at_the_line_that_submits(jp: JobProcessor, how: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        await SUBMITS[how](jp)
    assert [warning.filename for warning in caught] == [__file__]
    source = inspect.getsource(inspect.getmodule(plain)).splitlines()
    line = source[caught[0].lineno - 1]
    assert "await" in line or "batch.submit_job" in line or "body" in line, line


def test_where_nobody_of_the_program_waits_it_points_at_the_function() -> None:
    with SyncJobs("memory") as jobs, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        jobs.submit_job(plain, timeout=5)
        jobs.submit_job(len, "abc", timeout=5)
    assert (caught[0].filename, caught[0].lineno) == (__file__, plain.__code__.co_firstlineno)


async def test_it_is_shown_once_for_each_line_and_function(jp: JobProcessor) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            await jp.submit_job(plain, timeout=5)
        await jp.submit_job(plain, timeout=5)
    assert len(caught) == 2
