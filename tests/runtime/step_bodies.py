"""What the tests of steps share: functions that count their calls, and ways to have a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread

from asyncjobs import (
    JobProcessor,
    RetryPolicy,
    current_job,
)
from tests.runtime.support import within

AT_ONCE = RetryPolicy(max_retries=3, base=0.001, jitter=0)
ONCE = RetryPolicy(max_retries=0)


class Work:
    """A function for a step, plain and ``async def``, that counts its calls."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def plain(self, value: Any = "done") -> Any:
        self.calls.append(value)
        return value

    async def awaited(self, value: Any = "done") -> Any:
        return self.plain(value)


async def step(way: str, key: str, func: Callable[..., Any], *args: Any) -> Any:
    """A step as an ``async def`` body has it, or as a thread of that body."""
    job = current_job()
    if way == "async":
        return await job.step(key, func, *args)
    return await anyio.to_thread.run_sync(job.step_sync, key, func, *args)


async def run(jp: JobProcessor, body: Callable[..., Any], *args: Any, **options: Any) -> Any:
    handle = await jp.submit_job(body, *args, local=True, **{"retry": AT_ONCE, **options})
    return await within(10, handle)


def fail_first() -> None:
    if current_job().attempt == 1:
        raise RuntimeError("the first attempt fails")
