"""Reads of steps: none without a question, and no more than it takes."""

from __future__ import annotations

import threading
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from asyncjobs import (
    current_job,
)
from asyncjobs.backends.bounds import SMALL_VALUE
from asyncjobs.testing import FaultyBackend
from tests.runtime.step_bodies import AT_ONCE, Work, fail_first, run
from tests.runtime.support import Stores, within

pytestmark = pytest.mark.anyio


def counted(stores: Stores, **settings: Any) -> FaultyBackend:
    return FaultyBackend(stores.backend(**settings))


def reads(backend: FaultyBackend) -> tuple[int, int]:
    return backend.calls["read_steps"], backend.calls["read_step"]


async def test_the_first_attempt_reads_nothing(stores: Stores) -> None:
    work = Work()

    async def body() -> None:
        job = current_job()
        await job.step("a", work.plain)
        await job.keep("b", 1)
        assert await job.recall("b") == 1
        assert await job.recall("a") == "done"
        await job.recall("c")
        await job.forget("a")

    backend = counted(stores)
    async with stores.processor(backend=backend) as jp:
        await run(jp, body)
        assert reads(backend) == (0, 0)


async def test_later_attempts_read_once_and_only_if_they_ask(stores: Stores) -> None:
    work = Work()

    async def no_steps() -> None:
        fail_first()

    async def writes_only() -> None:
        await current_job().keep("k", 1)
        await current_job().forget("k")
        fail_first()

    async def nothing_kept() -> None:
        fail_first()
        async with anyio.create_task_group() as tasks:
            for i in range(5):
                tasks.start_soon(current_job().step, f"k{i}", work.plain)
                tasks.start_soon(current_job().recall, f"k{i}")

    def nothing_kept_sync() -> None:
        fail_first()
        job = current_job()
        threads = [threading.Thread(target=job.step_sync, args=(f"k{i}", work.plain)) for i in range(5)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()

    async def some_kept() -> None:
        for i in range(5):
            await current_job().step(f"k{i}", work.plain)
        fail_first()

    backend = counted(stores)
    async with stores.processor(backend=backend) as jp:
        for body, expected in ((no_steps, 0), (writes_only, 0), (nothing_kept, 1), (some_kept, 1)):
            await run(jp, body)
            assert reads(backend) == (expected, 0), body.__name__
            backend.calls.clear()
        await run(jp, nothing_kept_sync)
        assert reads(backend) == (1, 0)


async def test_large_values_are_read_when_they_are_asked_for(stores: Stores) -> None:
    async def body() -> int:
        job = current_job()
        if job.attempt == 1:
            await job.keep("large", b"l" * (SMALL_VALUE + 1))
            await job.keep("small", b"s")
            fail_first()
        assert await job.recall("small") == b"s"
        assert reads(backend) == (1, 0)
        return len(await job.recall("large"))

    backend = counted(stores)
    async with stores.processor(backend=backend) as jp:
        assert await run(jp, body) == SMALL_VALUE + 1
        assert reads(backend) == (1, 1)


async def test_values_beyond_what_an_attempt_holds_are_read_when_they_are_asked_for(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asyncjobs.runtime.step_cache._MOST_BYTES", 10_000)

    async def body() -> int:
        job = current_job()
        for i in range(5):
            if job.attempt == 1:
                await job.keep(f"k{i}", bytes([i]) * 4_000)
        fail_first()
        return [(await job.recall(f"k{i}"))[0] for i in range(5)] == list(range(5))

    backend = counted(stores)
    async with stores.processor(backend=backend) as jp:
        assert await run(jp, body)
        assert reads(backend) == (1, 3)


@pytest.mark.slow
async def test_a_thousand_steps_cost_no_more_reads_and_writes_each_than_ten(stores: Stores) -> None:
    work = Work()

    async def body(count: int) -> None:
        async with anyio.create_task_group() as tasks:
            for i in range(count):
                tasks.start_soon(current_job().step, f"k{i:04}", work.awaited)
        fail_first()

    backend = counted(stores)
    async with stores.processor(backend=backend) as jp:
        costs = {}
        for count in (10, 1_000):
            backend.calls.clear()
            await run(jp, body, count)
            costs[count] = backend.calls["read_steps"], backend.calls["read_step"], backend.calls["write_steps"] / count
    assert costs == {10: (1, 0, 1.0), 1_000: (1, 0, 1.0)}
    assert len(work.calls) == 1_010


@pytest.mark.slow
async def test_a_job_may_have_ten_thousand_steps(stores: Stores) -> None:
    work = Work()

    async def body() -> int:
        async def some(start: int) -> None:
            for i in range(start, 10_000, 20):
                assert await current_job().step(f"k{i}", work.awaited, i) == i

        async with anyio.create_task_group() as tasks:
            for start in range(20):
                tasks.start_soon(some, start)
        fail_first()
        return await jp.backend.count_steps(current_job().id)

    async with stores.processor() as jp:
        handle = await jp.submit_job(body, local=True, retry=AT_ONCE)
        assert await within(60, handle) == 10_000
    assert len(work.calls) == 10_000
