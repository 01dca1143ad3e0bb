"""``cancel_grace``: what ``async def`` bodies may still do once they are stopped, and who waits for that (ADR 13)."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncjobs import JobExecutionError, JobProcessor, current_job
from asyncjobs.models import OutcomeKind
from tests.runtime import isolated
from tests.runtime.support import (
    CANCELLED,
    COMPLETED,
    PATIENCE,
    PENDING,
    Gate,
    Stores,
    echo,
    nothing,
    until,
    within,
)

pytestmark = pytest.mark.anyio


class Cleaning:
    """A body that waits to be stopped and then cleans up until it is let go."""

    def __init__(self) -> None:
        self.started = Gate()
        self.cleaning = Gate()
        self.go = asyncio.Event()
        self.seen: list[str] = []

    async def body(self) -> str:
        self.started.open()
        try:
            await asyncio.sleep(3600)
        finally:
            self.cleaning.open()
            try:
                await self.go.wait()
                self.seen.append("closed")
            except asyncio.CancelledError:
                self.seen.append("cancelled again")
                raise
        return "value"


BODIES: dict[str, Callable[[], Awaitable[Any]]] = {}


async def named(name: str) -> Any:
    """For jobs that outlive their processor: those that are local do not."""
    return await BODIES[name]()


@pytest.fixture
def store(tmp_path: Path) -> Stores:
    return Stores("sqlite", tmp_path)


@pytest.fixture
async def jp(store: Stores) -> AsyncIterator[JobProcessor]:
    async with store.processor(num_workers=1) as jp:
        yield jp


async def test_a_cancelled_body_cleans_up_and_holds_its_slot_meanwhile(jp: JobProcessor) -> None:
    it = Cleaning()
    handle = await jp.submit_job(it.body, local=True)
    await it.started.wait()
    await handle.cancel()
    await it.cleaning.wait()
    behind = await jp.submit_job(nothing)
    assert (await jp.why(behind)).code == "slots"
    assert (await jp.get_job(handle)).cancel_requested
    it.go.set()
    assert (await jp.wait_for_job(handle, timeout=PATIENCE)).status is CANCELLED
    assert it.seen == ["closed"]
    await within(PATIENCE, behind)


async def test_a_body_whose_time_is_up_cleans_up_and_has_failed(jp: JobProcessor) -> None:
    it = Cleaning()
    it.go.set()
    handle = await jp.submit_job(it.body, timeout=0.02, max_retries=0, local=True)
    with pytest.raises(JobExecutionError, match=r"longer than its timeout of 0.02 s"):
        await within(PATIENCE, handle)
    assert it.seen == ["closed"]


async def test_a_body_in_its_clean_up_may_use_the_library(jp: JobProcessor) -> None:
    started = Gate()
    parents: list[Any] = []

    async def body() -> None:
        started.open()
        try:
            await asyncio.sleep(3600)
        finally:
            parents.append(await jp.get_job("held"))

    handle = await jp.submit_job(body, local=True, job_id="held")
    await started.wait()
    await handle.cancel()
    assert (await jp.wait_for_job(handle, timeout=PATIENCE)).status is CANCELLED
    assert [job.cancel_requested for job in parents] == [True]


async def test_leaving_waits_for_the_clean_up_after_its_shutdown_timeout(store: Stores) -> None:
    it = Cleaning()

    async def let_go() -> None:
        await it.cleaning.wait()
        it.go.set()

    async with anyio.create_task_group() as tasks, store.processor(shutdown_timeout=0.01) as jp:
        BODIES["it"] = it.body
        await jp.submit_job(named, "it", job_id="held", max_retries=0)
        await it.started.wait()
        tasks.start_soon(let_go)
    assert it.seen == ["closed"]
    async with store.processor(enable_daemon=False) as later:
        job = await later.get_job("held")
        assert (job.status, job.failures, job.interruptions) == (PENDING, 0, 0)


async def test_a_clean_up_that_does_not_end_is_cancelled_and_the_job_given_back(store: Stores) -> None:
    it = Cleaning()
    async with store.processor(shutdown_timeout=0.01, cancel_grace=0.05) as jp:
        BODIES["it"] = it.body
        await jp.submit_job(named, "it", job_id="held")
        await it.started.wait()
    assert it.seen == ["cancelled again"]
    async with store.processor(enable_daemon=False) as later:
        assert (await later.get_job("held")).status is PENDING


async def test_giving_back_at_once_skips_the_grace(store: Stores) -> None:
    it = Cleaning()

    async def second_signal(jp: JobProcessor) -> None:
        await it.cleaning.wait()
        assert jp.daemon is not None
        jp.daemon.give_back()

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            async with store.processor(shutdown_timeout=0.01, cancel_grace=3600) as jp:
                BODIES["it"] = it.body
                await jp.submit_job(named, "it", job_id="held")
                await it.started.wait()
                tasks.start_soon(second_signal, jp)
    assert it.seen == ["cancelled again"]


async def test_giving_back_at_once_from_the_beginning_leaves_no_time_either(store: Stores) -> None:
    it = Cleaning()
    with anyio.fail_after(PATIENCE):
        async with store.processor(cancel_grace=3600) as jp:
            BODIES["it"] = it.body
            await jp.submit_job(named, "it", job_id="held")
            await it.started.wait()
            assert jp.daemon is not None
            jp.daemon.give_back()
    assert it.seen == ["cancelled again"]


async def test_a_body_that_waits_for_another_job_cleans_up_when_the_processor_is_left(store: Stores) -> None:
    it = Cleaning()
    it.go.set()

    async def body() -> None:
        child = await current_job().submit_job(echo, 1, delay=3600)
        it.started.open()
        try:
            await child
        finally:
            await asyncio.sleep(0.01)
            it.seen.append("closed")

    async with store.processor() as jp:  # whose shutdown_timeout is not waited for
        await jp.submit_job(body, local=True)
        await it.started.wait()
    assert it.seen == ["closed"]


async def test_a_body_that_is_given_back_and_returns_all_the_same_is_run_again(store: Stores) -> None:
    """It may have returned with half of its work done."""
    started = Gate()

    async def body() -> str:
        started.open()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            return "half"
        return "whole"

    async with store.processor(shutdown_timeout=0.01) as jp:
        BODIES["page"] = body
        await jp.submit_job(named, "page", job_id="page")
        await started.wait()
    async with store.processor(enable_daemon=False) as later:
        assert (await later.get_job("page")).status is PENDING


async def test_a_body_that_ends_by_itself_before_it_is_cancelled_has_completed(store: Stores) -> None:
    started = Gate()
    leaving = asyncio.Event()

    async def body() -> str:
        with anyio.CancelScope(shield=True):
            started.open()
            await leaving.wait()
            await asyncio.sleep(0.05)  # behind the shutdown_timeout
        return "whole"

    async with store.processor(shutdown_timeout=0.01) as jp:
        BODIES["page"] = body
        await jp.submit_job(named, "page", job_id="page")
        await started.wait()
        leaving.set()
    async with store.processor(enable_daemon=False) as later:
        assert (await later.get_job("page")).status is COMPLETED


async def test_a_lost_lease_lets_a_body_clean_up(jp: JobProcessor) -> None:
    it = Cleaning()
    it.go.set()
    handle = await jp.submit_job(it.body, local=True)
    await it.started.wait()
    assert jp.daemon is not None
    jp.daemon.runner.executor.lose()
    await until(jp, handle, "released")  # the store knows nothing of the loss
    assert it.seen == ["closed"]
    await handle.cancel()


# -- in a process of its own


async def test_an_async_body_in_a_process_of_its_own_cleans_up(store: Stores, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    async with store.processor() as jp:
        handle = await jp.submit_job(isolated.clean_up, str(closed), 1.5, isolation="process")  # more than ADR 6 gave
        await until(jp, handle, "progress")
        await handle.cancel()
        assert (await jp.wait_for_job(handle, timeout=PATIENCE)).status is CANCELLED
    assert closed.read_text() == "closed"


async def test_one_that_goes_on_is_cancelled_again_after_the_grace_and_not_killed(
    store: Stores, tmp_path: Path
) -> None:
    closed = tmp_path / "closed"
    async with store.processor(cancel_grace=0.1) as jp:
        handle = await jp.submit_job(isolated.clean_up, str(closed), isolated.FOREVER, isolation="process")
        await until(jp, handle, "progress")
        await handle.cancel()
        assert (await jp.wait_for_job(handle, timeout=PATIENCE)).status is CANCELLED
    assert closed.read_text() == "cancelled again"


async def test_a_plain_body_in_a_process_keeps_its_one_second(store: Stores) -> None:
    async with store.processor(cancel_grace=3600) as jp:
        handle = await jp.submit_job(isolated.sleep, isolation="process")
        process = int((await until(jp, handle, "progress"))[-1].data["message"])
        began = time.monotonic()
        await handle.cancel()
        assert (await jp.wait_for_job(handle, timeout=PATIENCE)).status is CANCELLED
        assert time.monotonic() - began < PATIENCE / 2
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


async def test_giving_back_at_once_skips_the_grace_of_processes(store: Stores, tmp_path: Path) -> None:
    closed = tmp_path / "closed"

    async def second_signal(jp: JobProcessor) -> None:
        assert jp.daemon is not None
        with anyio.fail_after(PATIENCE):
            while not closed.exists():
                await anyio.sleep(0.01)  # a file of another process: there is no event
        jp.daemon.give_back()

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            async with store.processor(shutdown_timeout=0.01, cancel_grace=3600) as jp:
                handle = await jp.submit_job(isolated.clean_up, str(closed), isolated.FOREVER, isolation="process")
                await until(jp, handle, "progress")
                tasks.start_soon(second_signal, jp)
    assert closed.read_text() == "cancelled again"
    async with store.processor(enable_daemon=False) as later:
        assert (await later.get_job(handle)).status is PENDING
        assert [attempt.outcome for attempt in await later.get_attempts(handle)] == [OutcomeKind.RELEASED]
