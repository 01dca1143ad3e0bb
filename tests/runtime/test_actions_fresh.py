"""``retry_job`` resumes, with the steps that the job has kept; ``fresh=True`` begins anew: by every door."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from asyncjobs import ConfigurationError, JobEvent, JobHandle, JobProcessor, JobStatus, RetryPolicy, SyncJobs
from asyncjobs.backends.base import AttemptEnd, ClaimRequest, JobBackend, NewWorker
from asyncjobs.core.requests import Keep
from asyncjobs.models import JobError, Outcome, OutcomeKind
from asyncjobs.processor import get_engine
from tests.runtime import isolated
from tests.runtime.support import Stores, nothing, within

pytestmark = pytest.mark.anyio

ONCE = RetryPolicy(max_retries=0)
FATAL = Outcome(OutcomeKind.FAILED, error=JobError("ValueError", "boom"), retryable=False)

Retry = Callable[[JobProcessor, JobHandle[None], bool], Awaitable[JobStatus]]
DOORS: dict[str, Retry] = {
    "processor": lambda jp, handle, fresh: jp.retry_job(handle, fresh=fresh),
    "handle": lambda _, handle, fresh: handle.retry(fresh=fresh),
    "engine": lambda jp, handle, fresh: get_engine(jp).retry_job(handle, fresh=fresh),
}


async def failed_after_a_step(backend: JobBackend, handle: JobHandle[None], function: str) -> None:
    """A worker that the test plays claims the job, keeps a value, and reports a failure."""
    worker = await backend.register_worker(NewWorker(name="hand", slots=1))
    claim = ClaimRequest(worker=worker, limit=1, functions=frozenset({function}))
    (claimed,) = (await backend.dequeue_jobs(claim)).jobs
    assert await backend.write_steps([Keep(claimed.attempt, "x", b"1")]) == [None]
    await backend.update_job_status([AttemptEnd(claimed.attempt, FATAL)])


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("door", DOORS)
async def test_a_retry_resumes_unless_it_is_fresh(stores: Stores, door: str, fresh: bool) -> None:
    async with stores.processor(enable_daemon=False) as jp:
        handle = await jp.submit_job(nothing, retry=ONCE)
        await failed_after_a_step(jp.backend, handle, (await jp.get_job(handle)).func)
        assert await DOORS[door](jp, handle, fresh) is JobStatus.PENDING
        assert await jp.backend.count_steps(handle) == (0 if fresh else 1)
        last = (await events_of(jp, handle))[-1]
        assert last.data == {"by": "retry_job", "job": handle} | ({"fresh": True} if fresh else {})


async def events_of(jp: JobProcessor, job_id: str) -> Sequence[JobEvent]:
    return (await jp.backend.read_events(job_id=job_id)).events


@pytest.mark.parametrize("wrong", ["yes", 1, None])
async def test_fresh_is_a_flag(stores: Stores, wrong: bool) -> None:
    async with stores.processor(enable_daemon=False) as jp:
        handle = await jp.submit_job(nothing, delay=1000)
        await jp.cancel_job(handle)
        with pytest.raises(ConfigurationError, match="fresh"):
            await jp.retry_job(handle, fresh=wrong)
        assert await jp.get_status(handle) is JobStatus.CANCELLED


@pytest.mark.persistent
async def test_a_body_in_a_process_of_its_own_retries_anew(stores: Stores) -> None:
    async with stores.processor() as jp:
        handle = await jp.submit_job(isolated.retry_a_child_anew, isolation="process", retry=ONCE)
        child = await within(20, handle.result())
        assert {"by": "retry_job", "job": child, "fresh": True} in [event.data for event in await events_of(jp, child)]


@pytest.mark.parametrize("fresh", [False, True])
def test_without_await(tmp_path: Path, fresh: bool) -> None:
    with SyncJobs(str(tmp_path / "jobs.db")) as jobs:
        for retry in (lambda job: jobs.retry_job(job, fresh=fresh), lambda job: job.retry(fresh=fresh)):
            job = jobs.submit_job(nothing, delay=1000)
            job.cancel()
            assert retry(job) is JobStatus.PENDING
            job.cancel()
            told = [event.data.get("fresh", False) for event in job.events() if event.type == "retrying"]
            assert told == [fresh]
