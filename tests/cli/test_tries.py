"""The column of tries counts what the retry policy counts: what is shown never exceeds what is granted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from asyncjobs import DaemonConfig, Job, JobProcessor, JobStatus, MemoryBackend, RetryPolicy
from asyncjobs.cli.job_views import tries
from asyncjobs.core.lifecycle import WORKER_LOST
from asyncjobs.models import JobError

pytestmark = pytest.mark.anyio
FOUR = RetryPolicy(max_retries=3, base=0, jitter=0)
LATER = RetryPolicy(max_retries=3, base=3600, jitter=0)


async def fine() -> None:
    """A body that ends well."""


async def bad() -> None:
    raise ValueError("no")


STARTED: list[anyio.Event] = []


async def stays() -> None:
    STARTED[-1].set()
    await anyio.sleep_forever()


async def ended(jp: JobProcessor, func: Any, **options: Any) -> Job:
    job = await jp.submit_job(func, **options)
    await jp.drain(timeout=20)
    return await jp.get_job(job)


async def test_what_a_retry_policy_grants_is_used_up_by_failures() -> None:
    async with JobProcessor(MemoryBackend()) as jp:
        assert tries(await ended(jp, fine, retry=FOUR)) == "1/4"
        assert tries(await ended(jp, bad, retry=FOUR)) == "4/4"
        assert tries(await ended(jp, bad, max_retries=0)) == "1/1"
        never = RetryPolicy(max_retries=3, never_on=(ValueError,))
        assert tries(await ended(jp, bad, retry=never)) == "1/4"
        later = await jp.submit_job(fine, retry=FOUR, delay=3600)
        assert tries(await jp.get_job(later)) == "0/4"
        await later.cancel()
        assert tries(await jp.get_job(later)) == "0/4"


async def test_a_job_between_two_tries_has_used_up_the_first() -> None:
    async with JobProcessor(MemoryBackend()) as jp:
        job = await jp.submit_job(bad, retry=LATER)
        async for event in job.events():
            if event.type == "retrying":
                break
        assert tries(await jp.get_job(job)) == "1/4"


async def test_a_retry_by_hand_begins_anew_and_the_attempt_stands_behind_it() -> None:
    async with JobProcessor(MemoryBackend()) as jp:
        once = await ended(jp, bad, max_retries=0)
        for attempt in (2, 3):
            await jp.retry_job(once.id)
            await jp.drain(timeout=20)
            assert tries(await jp.get_job(once.id)) == f"1/1 #{attempt}"


async def test_a_job_that_is_handed_back_has_used_up_none() -> None:
    backend = MemoryBackend()
    for running, handed_back in (("1/4", "0/4 #1"), ("1/4 #2", "0/4 #2")):
        STARTED.append(anyio.Event())
        async with JobProcessor(backend, daemon=DaemonConfig(shutdown_timeout=0)) as jp:
            await jp.submit_job(stays, job_id="it", if_exists="return", retry=FOUR)
            await STARTED[-1].wait()
            assert tries(await jp.get_job("it")) == running
        async with JobProcessor(backend, enable_daemon=False) as jp:
            assert tries(await jp.get_job("it")) == handed_back


def test_a_worker_that_is_lost_uses_up_none_and_the_try_that_it_had_is_shown() -> None:
    now = datetime.now(UTC)
    job = Job(
        id="it",
        func="m:f",
        status=JobStatus.FAILED,
        queue="default",
        priority=0,
        group=None,
        metadata={},
        attempt=4,
        failures=1,
        interruptions=3,
        max_retries=3,
        timeout=None,
        dependencies_met=True,
        cancel_requested=False,
        created_at=now - timedelta(seconds=9),
        error=JobError(WORKER_LOST, "the worker was lost 3 times while it ran this job"),
    )
    assert tries(job) == "2/4 #4"
    assert tries(replace(job, status=JobStatus.CANCELLED, error=None)) == "1/4 #4"


async def test_a_gate_has_no_tries() -> None:
    async with JobProcessor(MemoryBackend()) as jp:
        gates = [await jp.submit_gate("?") for _ in range(4)]
        await gates[1].answer()
        await gates[2].reject("no")
        await gates[3].cancel()
        assert [tries(await jp.get_job(gate)) for gate in gates] == [""] * 4
