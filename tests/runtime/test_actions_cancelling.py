"""Cancelling tells the truth: what is stored is what happens."""

from __future__ import annotations

import anyio
import pytest

from asyncjobs import (
    ConfigurationError,
    JobCancelledError,
    JobNotFoundError,
    JobProcessor,
    JobQuery,
    current_job,
)
from asyncjobs.models import OutcomeKind
from asyncjobs.testing import FaultyBackend
from tests.runtime.support import (
    CANCELLED,
    COMPLETED,
    FAILED,
    IN_PROGRESS,
    PATIENCE,
    PENDING,
    Gate,
    Held,
    Stores,
    echo,
    fail,
    nothing,
    types,
    until,
)

pytestmark = pytest.mark.anyio


async def test_a_pending_job_never_starts(stores: Stores) -> None:
    async with stores.processor(num_workers=1) as jp:
        blocker = Held()
        await jp.submit_job(blocker.body, local=True)
        await blocker.started.wait()
        held = Held()
        job = await jp.submit_job(held.body, local=True)
        assert await job.cancel() is CANCELLED
        blocker.go.open()
        await jp.drain(timeout=PATIENCE)
        assert held.starts == 0
        assert await types(jp, job) == ["submitted", "cancelled"]
        with pytest.raises(JobCancelledError, match="was cancelled"):
            await job


async def test_an_async_job_gets_the_cancellation(jp: JobProcessor) -> None:
    held = Held()
    job = await jp.submit_job(held.body, local=True)
    await held.started.wait()
    assert await job.cancel() is IN_PROGRESS
    with pytest.raises(JobCancelledError):
        await job.result(timeout=PATIENCE)
    assert held.was_cancelled
    assert await types(jp, job) == ["submitted", "started", "cancel_requested", "cancelled"]
    assert [attempt.outcome for attempt in await jp.get_attempts(job)] == [OutcomeKind.CANCELLED]


async def test_a_thread_is_told_and_is_in_progress_until_it_ends(stores: Stores) -> None:
    async with stores.processor(num_workers=1) as jp:
        held = Held("value")
        job = await jp.submit_job(held.sync, local=True)
        await held.started.wait()
        assert await job.cancel() is IN_PROGRESS
        behind = await jp.submit_job(nothing)
        stored = await jp.get_job(job)
        assert (stored.status, stored.cancel_requested) == (IN_PROGRESS, True)
        assert (await jp.why(job)).code == "cancel_requested"
        assert await behind.status() is PENDING  # it keeps its slot
        held.go.open()
        assert (await jp.wait_for_job(job, timeout=PATIENCE)).status is CANCELLED
        assert held.was_cancelled
        await behind


@pytest.mark.parametrize("ending", ["swallow", "return", "raise"])
async def test_whatever_a_body_makes_of_it_it_ends_as_cancelled(jp: JobProcessor, ending: str) -> None:
    started = Gate()

    async def body() -> str:
        started.open()
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            if ending == "raise":
                raise ValueError("instead") from None
            if ending == "return":
                return "value"
        return "swallowed"

    job = await jp.submit_job(body, local=True)
    await started.wait()
    assert await job.cancel() is IN_PROGRESS
    assert (await jp.wait_for_job(job, timeout=PATIENCE)).status is CANCELLED


async def test_a_body_that_cleans_up_is_given_the_time(jp: JobProcessor) -> None:
    started, cleaned = Gate(), []

    async def body() -> None:
        started.open()
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0)
                cleaned.append(current_job().cancelled)

    job = await jp.submit_job(body, local=True)
    await started.wait()
    await job.cancel()
    await jp.wait_for_job(job, timeout=PATIENCE)
    assert cleaned == [True]


async def test_too_late_is_told(jp: JobProcessor) -> None:
    done = await jp.submit_job(echo, 1)
    await done
    failed = await jp.submit_job(fail, max_retries=0)
    await jp.wait_for_job(failed)
    assert await done.cancel() is COMPLETED
    assert await failed.cancel() is FAILED
    assert await done == 1


async def test_cancelling_twice_is_one_request(jp: JobProcessor) -> None:
    held = Held()
    job = await jp.submit_job(held.sync, local=True)
    await held.started.wait()
    assert [await job.cancel() for _ in range(3)] == [IN_PROGRESS] * 3
    held.go.open()
    await jp.wait_for_job(job, timeout=PATIENCE)
    assert await job.cancel() is CANCELLED
    assert (await types(jp, job)).count("cancel_requested") == 1


async def test_a_cancelled_job_is_not_retried(jp: JobProcessor) -> None:
    held = Held()
    job = await jp.submit_job(held.body, local=True, max_retries=5)
    await held.started.wait()
    await job.cancel()
    await jp.wait_for_job(job, timeout=PATIENCE)
    assert (await jp.get_job(job)).attempt == 1


async def test_a_job_that_waits_for_its_retry_is_cancelled_at_once(jp: JobProcessor) -> None:
    job = await jp.submit_job(fail)
    await until(jp, job, "retrying")
    assert await job.cancel() is CANCELLED


async def test_a_group(jp: JobProcessor) -> None:
    held = Held()
    running = await jp.submit_job(held.body, group="movie", local=True)
    await held.started.wait()
    done = await jp.submit_job(nothing, group="movie")
    await done
    waiting = [await jp.submit_job(nothing, group="movie", delay=3600) for _ in range(3)]
    other = await jp.submit_job(nothing, group="other", delay=3600)
    statuses = await jp.cancel_jobs(group="movie")
    assert statuses == {running: IN_PROGRESS, **dict.fromkeys(waiting, CANCELLED)}
    await jp.drain("movie", timeout=PATIENCE)
    assert await done.status() is COMPLETED
    assert await other.status() is PENDING


async def test_a_query(jp: JobProcessor) -> None:
    red = [await jp.submit_job(nothing, metadata={"colour": "red"}, delay=3600) for _ in range(2)]
    blue = await jp.submit_job(nothing, metadata={"colour": "blue"}, delay=3600)
    assert set(await jp.cancel_jobs(JobQuery(metadata={"colour": "red"}))) == set(red)
    assert await blue.status() is PENDING
    assert await jp.cancel_jobs(JobQuery(group="nobody")) == {}


async def test_more_jobs_than_a_page(jp: JobProcessor) -> None:
    async with jp.batch() as batch:
        for _ in range(600):
            batch.submit_job(nothing, delay=3600, group="g")
    statuses = await jp.cancel_jobs(group="g")
    assert len(statuses) == 600
    assert set(statuses.values()) == {CANCELLED}


async def test_what_is_refused(jp: JobProcessor) -> None:
    with pytest.raises(JobNotFoundError):
        await jp.cancel_job("nobody")
    for arguments in ({}, {"query": JobQuery(), "group": "g"}):
        with pytest.raises(ConfigurationError, match="and not both"):
            await jp.cancel_jobs(**arguments)


@pytest.mark.persistent
async def test_another_processor_cancels_a_running_job(stores: Stores) -> None:
    held, threaded = Held(), Held()
    async with stores.processor() as jp, stores.processor(enable_daemon=False) as other:
        job = await jp.submit_job(held.body, local=True)
        thread = await jp.submit_job(threaded.sync, local=True)
        await held.started.wait()
        await threaded.started.wait()
        assert await other.cancel_job(job) is IN_PROGRESS
        assert await other.cancel_job(thread) is IN_PROGRESS
        assert (await other.wait_for_job(job, timeout=PATIENCE)).status is CANCELLED
        threaded.go.open()
        assert (await other.wait_for_job(thread, timeout=PATIENCE)).status is CANCELLED
        assert held.was_cancelled


async def test_a_cancellation_that_is_stored_is_not_refused_because_the_dead_cannot_be_looked_for(
    stores: Stores,
) -> None:
    store = FaultyBackend(stores.backend())
    async with stores.processor(backend=store) as jp:
        held = Held()
        job = await jp.submit_job(held.body, local=True)
        await held.started.wait()
        looks = store.calls["reap"]
        store.fail("reap")
        assert await job.cancel() is IN_PROGRESS
        assert store.calls["reap"] > looks
        with pytest.raises(JobCancelledError):
            await job.result(timeout=PATIENCE)
