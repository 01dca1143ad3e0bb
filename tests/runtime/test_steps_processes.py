"""Steps of bodies in processes of their own: over the pipe, as they are in the worker's own process."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncjobs import (
    DaemonConfig,
    JobCancelledError,
    JobExecutionError,
    JobProcessor,
    JobQuery,
    MemoryBackend,
    RetryPolicy,
)
from asyncjobs.config import MemoryConfig
from asyncjobs.testing import FaultyBackend
from tests.runtime import isolated_steps as bodies
from tests.runtime.support import comes_true, until, within

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

AT_ONCE = RetryPolicy(max_retries=3, base=0.001, jitter=0)
ONCE = RetryPolicy(max_retries=0)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def jp() -> AsyncIterator[JobProcessor]:
    async with JobProcessor(FaultyBackend(MemoryBackend())) as processor:
        yield processor


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    (tmp_path / "ledger").touch()
    return tmp_path / "ledger"


async def run(jp: JobProcessor, body: Any, *args: Any, **options: Any) -> Any:
    options = {"retry": AT_ONCE, "isolation": "process", **options}
    return await within(20, await jp.submit_job(body, *args, **options))


def calls(jp: JobProcessor) -> tuple[int, int, int]:
    """How often the store was asked: pages, single values, writes."""
    backend = jp.backend
    assert isinstance(backend, FaultyBackend)
    return backend.calls["read_steps"], backend.calls["read_step"], backend.calls["write_steps"]


async def test_what_a_process_finished_before_it_died_is_not_done_again(jp: JobProcessor, ledger: Path) -> None:
    *values, process = await run(jp, bodies.steps, str(ledger))
    assert values == [1, (2, b"\x00"), None, 200_000, "first", "gone"]
    assert process != os.getpid()
    assert ledger.read_text() == "1\n" * 4
    assert calls(jp) == (1, 1, 7), "a page, the large value alone; four steps, two keeps, a forget"


async def test_plain_bodies_have_them_too(jp: JobProcessor, ledger: Path) -> None:
    *values, process = await run(jp, bodies.steps_sync, str(ledger))
    assert values == [1, 200_000, 2, "first", "gone"]
    assert process != os.getpid()
    assert ledger.read_text() == "1\n" * 3
    assert calls(jp) == (1, 1, 6)


async def test_many_steps_at_once_and_one_inside_of_another(jp: JobProcessor, ledger: Path) -> None:
    assert await run(jp, bodies.gather_steps, str(ledger)) == 7
    assert ledger.read_text() == "1\n" * 21
    assert calls(jp)[:2] == (1, 0)


@pytest.mark.parametrize("body", [bodies.children_of_steps, bodies.children_of_steps_sync], ids=["async", "plain"])
async def test_children_without_a_key_are_numbered_in_their_step(jp: JobProcessor, body: Any) -> None:
    assert await run(jp, body, job_id="p") == [f"p/~page/{page}~/1" for page in range(4)]


async def test_a_value_is_kept_whatever_cancels_its_step(jp: JobProcessor) -> None:
    assert await run(jp, bodies.cancelled_with_the_return, retry=ONCE) == "paid"
    assert await run(jp, bodies.left_in_its_thread, retry=ONCE) == [True, "paid", 1]


async def test_a_step_whose_function_raised_may_be_tried_again(jp: JobProcessor) -> None:
    assert await run(jp, bodies.tried_again, retry=ONCE) == ["answer", 3]


async def test_the_job_of_an_earlier_attempt_does_nothing_for_the_next_one_in_its_process() -> None:
    async with JobProcessor(MemoryBackend(), daemon=DaemonConfig(num_workers=1)) as jp:
        first = await jp.submit_job(bodies.leaves_its_context, isolation="process", retry=ONCE)
        process = await within(20, first)
        second = await jp.submit_job(bodies.uses_that_of_another_job, isolation="process", retry=ONCE)
        same_process, *refused = await within(20, second)
        assert same_process == process
        assert len(refused) == 6
        assert all("no longer held by this attempt; its body has ended" in message for message in refused)
        assert await jp.backend.count_steps(second) == 0
        assert await jp.find_jobs(JobQuery(parent_id=first)) == []
        assert not {event.type async for event in jp.stream_job(second)} & {"stale", "progress"}


async def test_a_first_attempt_reads_nothing_and_jobs_without_steps_ask_nothing(jp: JobProcessor) -> None:
    await run(jp, bodies.work, "/dev/null")
    assert calls(jp) == (0, 0, 0)


async def test_bad_keys_and_values_are_refused_there(ledger: Path) -> None:
    async with JobProcessor(MemoryConfig(max_value_size=1_000_000)) as jp:
        again, empty, large = await run(jp, bodies.refused, str(ledger))
    assert "ConfigurationError: the key 'k' was already used in this attempt" in again
    assert "ConfigurationError: key cannot be ''" in empty
    assert "more than the 1,000,000 that max_value_size allows; the function of the step has run" in large
    assert ledger.read_text() == "1\n1\n"


async def test_a_value_that_cannot_be_kept_fails_the_job_for_good(jp: JobProcessor, ledger: Path) -> None:
    with pytest.raises(JobExecutionError, match=r"the function of the step has run") as failed:
        await run(jp, bodies.returns_a_lock, str(ledger))
    assert failed.value.attempt == 1
    assert ledger.read_text() == "1\n"


@pytest.mark.parametrize("body", [bodies.stopped_inside, bodies.stopped_inside_sync])
async def test_a_step_that_has_begun_finishes_and_is_kept_after_the_request_to_stop(
    jp: JobProcessor, body: Any
) -> None:
    handle = await jp.submit_job(body, isolation="process", retry=ONCE)
    await until(jp, handle, "progress")
    await handle.cancel()
    with pytest.raises(JobCancelledError):
        await within(10, handle)
    kept = {step.key: step.value for step in (await jp.backend.read_steps(handle)).steps}
    assert "next" not in kept, "no step begins"
    assert kept.keys() >= {"begun"}
    if body is bodies.stopped_inside_sync:
        assert kept["interrupted"] == b"\xabBodyStopped"


async def test_no_step_begins_in_the_clean_up_of_a_body(jp: JobProcessor) -> None:
    handle = await jp.submit_job(bodies.stopped_before, isolation="process", retry=ONCE)
    await until(jp, handle, "progress")
    await handle.cancel()
    with pytest.raises(JobCancelledError):
        await within(10, handle)
    kept = {step.key: step.value for step in (await jp.backend.read_steps(handle)).steps}
    assert kept == {"interrupted": b"\xaeCancelledError"}


@pytest.mark.parametrize("body", [bodies.keep_while_away, bodies.keep_while_away_sync])
async def test_a_keep_waits_for_the_store_until_its_body_is_asked_to_stop(body: Any) -> None:
    backend = FaultyBackend(MemoryBackend())
    for nth in range(1, 100):
        backend.fail("write_steps", nth)
    async with JobProcessor(backend) as jp:
        handle = await jp.submit_job(body, isolation="process", retry=ONCE)
        await comes_true(lambda: backend.calls["write_steps"] >= 3)
        await handle.cancel()
        with anyio.fail_after(2), pytest.raises(JobCancelledError):
            await handle


async def test_a_keep_that_waits_is_done_when_the_store_is_back(jp: JobProcessor) -> None:
    assert isinstance(jp.backend, FaultyBackend)
    for nth in (1, 2, 3):
        jp.backend.fail("write_steps", nth, when="after" if nth == 2 else "before")
    await run(jp, bodies.keep_while_away)
    assert calls(jp)[2] == 4


async def test_a_zombie_keeps_nothing(jp: JobProcessor) -> None:
    handle = await jp.submit_job(bodies.stale, isolation="process", retry=AT_ONCE)
    await until(jp, handle, "progress")
    assert jp.daemon is not None
    await jp.backend.deregister_worker(jp.daemon.runner.worker_id)
    await within(20, handle)
    assert (await jp.backend.get_job(handle)).attempt == 2


async def test_a_value_whose_commit_is_under_way_is_kept_and_the_body_has_the_answer() -> None:
    class Slow(FaultyBackend):
        began, go = anyio.Event(), anyio.Event()

        async def write_steps(self, changes: Any) -> Any:
            self.began.set()
            await self.go.wait()
            return await super().write_steps(changes)

    backend = Slow(MemoryBackend())
    async with JobProcessor(backend) as jp:
        handle = await jp.submit_job(bodies.keep_and_go_on, isolation="process", retry=ONCE)
        await within(10, backend.began.wait())
        await handle.cancel()
        await anyio.sleep(0.1)  # the request to stop is read in the other process
        backend.go.set()
        with pytest.raises(JobCancelledError):
            await within(10, handle)
        kept = {step.key: step.value for step in (await backend.read_steps(handle)).steps}
    assert kept == {"k": b"\xa4done", "after": b"\xc3"}
