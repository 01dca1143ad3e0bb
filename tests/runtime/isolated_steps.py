"""Bodies with steps that run in processes of their own, and their functions, which write into a ledger."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from asyncjobs import ConfigurationError, JobStateError, current_job
from asyncjobs.exceptions import NotSerializableError
from asyncjobs.runtime.lending import BodyStopped

FOREVER = 3600.0


def work(ledger: str, value: Any = "done") -> Any:
    with Path(ledger).open("a") as file:
        file.write(f"{current_job().attempt}\n")
    return value


async def work_async(ledger: str, value: Any = "done") -> Any:
    return work(ledger, value)


def die_first() -> None:
    if current_job().attempt == 1:
        os._exit(1)


async def steps(ledger: str) -> list[Any]:
    job = current_job()
    values = [
        await job.step("plain", work, ledger, 1),
        await job.step("async", work_async, ledger, (2, b"\x00")),
        await anyio.to_thread.run_sync(job.step_sync, "thread", work, ledger, None),
        len(await job.step("large", work, ledger, b"l" * 200_000)),
    ]
    if job.attempt == 1:
        await job.keep("kept", "first")
        await job.keep("forgotten", 1)
        await job.forget("forg")
    die_first()
    return [*values, await job.recall("kept"), await job.recall("forgotten", "gone"), os.getpid()]


def steps_sync(ledger: str) -> list[Any]:
    job = current_job()
    values = [job.step_sync("plain", work, ledger, 1), len(job.step_sync("large", work, ledger, b"l" * 200_000))]
    values.append(asyncio.run(job.step("async", work_async, ledger, 2)))
    if job.attempt == 1:
        job.keep_sync("kept", "first")
        job.keep_sync("forgotten", 1)
        job.forget_sync("forg")
    die_first()
    return [*values, job.recall_sync("kept"), job.recall_sync("forgotten", "gone"), os.getpid()]


async def gather_steps(ledger: str) -> int:
    """Twenty steps at once, and a step inside of one."""

    def outer() -> Any:
        return current_job().step_sync("inner", work, ledger, 7)

    job = current_job()
    async with anyio.create_task_group() as tasks:
        for i in range(20):
            tasks.start_soon(job.step, f"k{i}", work, ledger, i)
    value = await job.step("outer", outer)
    die_first()
    return value


async def refused(ledger: str) -> list[str]:
    job = current_job()
    await job.step("k", work, ledger)
    messages: list[str] = []
    calls = [
        lambda: job.step("k", work, ledger),
        lambda: job.step("", work, ledger),
        lambda: job.step("large", work, ledger, b"x" * 2_000_000),
    ]
    for call in calls:
        try:
            await call()
        except (ConfigurationError, NotSerializableError) as error:
            messages.append(f"{type(error).__name__}: {error}")
    return messages


async def returns_a_lock(ledger: str) -> None:
    await current_job().step("k", lambda: work(ledger, threading.Lock()))


def _begin() -> None:
    current_job().progress(0, 1, str(os.getpid()))


def finish_when_asked_to_stop() -> str:
    """The function of a step that ends once its job is asked to."""
    _begin()
    while not current_job().cancelled:
        time.sleep(0.005)
    return "finished"


async def stopped_inside() -> None:
    await current_job().step("begun", finish_when_asked_to_stop)
    await anyio.sleep(FOREVER)


def stopped_inside_sync() -> None:
    job = current_job()
    job.step_sync("begun", finish_when_asked_to_stop)
    try:
        job.step_sync("next", finish_when_asked_to_stop)
    except BodyStopped:
        job.keep_sync("interrupted", "BodyStopped")
        raise


async def stopped_before() -> None:
    job = current_job()
    _begin()
    try:
        await anyio.sleep(FOREVER)
    finally:
        try:
            await job.step("next", finish_when_asked_to_stop)
        except BaseException as error:
            with anyio.CancelScope(shield=True):
                await job.keep("interrupted", type(error).__name__)
            raise


async def keep_while_away() -> None:
    _begin()
    await current_job().keep("k", 1)


def keep_while_away_sync() -> None:
    _begin()
    current_job().keep_sync("k", 1)


async def stale() -> None:
    job = current_job()
    if job.attempt > 1:
        return
    with anyio.CancelScope(shield=True):
        _begin()
        while True:
            try:
                await job.keep("k", 1)
            except JobStateError as error:
                job.log(str(error))
                return
            await anyio.sleep(0.01)


def keep_and_go_on() -> None:
    job = current_job()
    job.step_sync("k", work, "/dev/null")
    job.keep_sync("after", job.cancelled)


def own_id() -> str:
    return current_job().id


async def _child() -> str:
    return await (await current_job().submit_job(own_id))


def _child_sync() -> str:
    return current_job().submit_job_sync(own_id).result_sync(timeout=10)


async def children_of_steps() -> list[str]:
    job, ids = current_job(), list[str]()
    for page in range(4):
        ids.append(await job.step(f"page/{page}", _child if page % 2 else _child_sync))
        if page == 1:
            die_first()
    return ids


def children_of_steps_sync() -> list[str]:
    job, ids = current_job(), list[str]()
    for page in range(4):
        ids.append(job.step_sync(f"page/{page}", _child_sync))
        if page == 1:
            die_first()
    return ids


async def cancelled_with_the_return() -> Any:
    """asyncio's own cancellation comes while the value goes to the worker."""
    job = current_job()

    async def func() -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return "paid"

    try:
        await asyncio.create_task(job.step("k", func))
    except asyncio.CancelledError:
        return await job.recall("k")


async def left_in_its_thread() -> list[Any]:
    job, began, go, calls = current_job(), threading.Event(), threading.Event(), list[int]()

    def func() -> str:
        calls.append(1)
        began.set()
        go.wait(10)
        return "paid"

    task = asyncio.create_task(job.step("k", func))
    while not began.is_set():
        await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.wait([task])
    go.set()
    while await job.recall("k") is None:
        await asyncio.sleep(0.001)
    while True:
        try:
            return [task.cancelled(), await job.step("k", func), len(calls)]
        except ConfigurationError as error:  # the value is kept a moment before its thread is done with the step
            if "its step is still running" not in str(error):
                raise
            await asyncio.sleep(0.001)


async def tried_again() -> list[Any]:
    calls: list[int] = []

    def func() -> str:
        calls.append(1)
        if len(calls) < 3:
            raise ValueError
        return "answer"

    for _ in range(5):
        try:
            return [await current_job().step("k", func), len(calls)]
        except ValueError:
            pass
    raise AssertionError


_context: list[Any] = []


async def leaves_its_context() -> int:
    await current_job().keep("mine", 1)
    _context.append(current_job())
    return os.getpid()


async def uses_that_of_another_job() -> list[Any]:
    (job,), refused = _context, list[str]()
    for call in (
        lambda: job.step("k", os.getpid),
        lambda: anyio.to_thread.run_sync(job.step_sync, "k", os.getpid),
        lambda: job.keep("k", 1),
        lambda: job.forget(""),
        lambda: job.recall("mine"),
        lambda: job.submit_job(own_id),
    ):
        try:
            await call()
        except JobStateError as error:
            refused.append(str(error))
    job.emit("stale", {"a": 1})
    job.progress(1, 2)
    return [os.getpid(), *refused]
