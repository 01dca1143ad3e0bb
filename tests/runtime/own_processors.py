"""Bodies that wait for other jobs through a processor that they open themselves, on the store that their job is of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio
import anyio.to_thread

from asyncjobs import JobProcessor, SQLiteConfig, SyncJobs, current_job
from tests.runtime.drain_calls import WAITS, Call

WITHOUT_DAEMON, WITH_DAEMON = False, True


async def wait_with_own(path: str, name: str, enable_daemon: bool) -> Any:
    """Make a call of ``WAITS`` through a processor of the body's own, on the loop that runs here."""
    async with JobProcessor(SQLiteConfig(db_path=path), enable_daemon=enable_daemon) as own:
        current_job().emit("waits")
        return await WAITS[name](own)


def on_a_loop_of_its_own(path: str, name: str, enable_daemon: bool) -> Any:
    return anyio.run(wait_with_own, path, name, enable_daemon)


def on_the_workers_loop(path: str, name: str, enable_daemon: bool) -> Any:
    return current_job().run_sync(wait_with_own, path, name, enable_daemon)


async def in_a_thread_of_a_coroutine(path: str, name: str, enable_daemon: bool) -> Any:
    return await anyio.to_thread.run_sync(on_a_loop_of_its_own, path, name, enable_daemon)


def with_sync_jobs(path: str, name: str, enable_daemon: bool) -> Any:
    call: Call = WAITS[name]
    with SyncJobs(path, enable_daemon=enable_daemon) as own:
        current_job().emit("waits")
        wait: Callable[[], Awaitable[Any]] = partial(call, own.processor)
        return own.call(wait)  # as its own methods do


BODIES: dict[str, tuple[Callable[..., Any], str | None]] = {
    "async": (wait_with_own, None),
    "thread": (on_the_workers_loop, None),
    "thread with a loop": (on_a_loop_of_its_own, None),
    "thread of a coroutine": (in_a_thread_of_a_coroutine, None),
    "thread with SyncJobs": (with_sync_jobs, None),
    "async in a process": (wait_with_own, "process"),
    "plain in a process": (on_a_loop_of_its_own, "process"),
    "thread of a coroutine in a process": (in_a_thread_of_a_coroutine, "process"),
    "SyncJobs in a process": (with_sync_jobs, "process"),
}
"""Functions, and how they are isolated."""
