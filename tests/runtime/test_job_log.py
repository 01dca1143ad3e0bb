"""The log tells a job's life, with fields that machines can sort by."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import pytest

from asyncjobs import JobRequest, RetryPolicy, current_job
from asyncjobs.backends.base import AttemptEnd, AttemptRef, Stale
from asyncjobs.models import JobStatus, Outcome, OutcomeKind
from asyncjobs.runtime import job_log
from asyncjobs.testing import FaultyBackend
from tests.runtime.support import PATIENCE, Held, Stores, add, fail, nothing

pytestmark = pytest.mark.anyio
SOON = RetryPolicy(max_retries=1, base=0.01, jitter=0)


async def add_nothing() -> None: ...


def add_nothing_in_a_thread() -> None: ...


def of_jobs(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, Any, Any]]:
    return [
        (r.levelname, r.message, getattr(r, "attempt", None), getattr(r, "group", None))
        for r in caplog.records
        if r.name == "asyncjobs.jobs"
    ]


async def test_submitted_started_completed(stores: Stores, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "asyncjobs"):
        async with stores.processor() as jp:
            await (await jp.submit_job(add, 1, 2, job_id="a", group="g"))
            worker = (await jp.workers())[0].id
    name = "tests.runtime.support:add"
    assert of_jobs(caplog) == [
        ("INFO", f"job 'a' submitted: {name}", None, "g"),
        ("INFO", f"job 'a' started: {name}", 1, "g"),
        ("INFO", "job 'a' completed", 1, "g"),
    ]
    ended = next(r for r in caplog.records if r.message == "job 'a' completed")
    assert (ended.job_id, ended.worker_id) == ("a", worker)


async def log_and_return() -> None:
    logging.getLogger("asyncjobs.jobs").info("job %r logs", current_job().id)


@pytest.mark.parametrize("function", [add_nothing, add_nothing_in_a_thread, log_and_return])
async def test_a_job_is_logged_as_submitted_then_started_then_by_its_body_then_ended(
    stores: Stores, caplog: pytest.LogCaptureFixture, function: Callable[[], object]
) -> None:
    """One after the other, at once, and as a batch: a claim joins the transaction of the submission."""
    with caplog.at_level(logging.INFO, "asyncjobs"):
        async with stores.processor() as jp:
            for i in range(5):
                await (await jp.submit_job(function, job_id=f"one {i}"))
            async with anyio.create_task_group() as tasks:
                for i in range(20):
                    tasks.start_soon(partial(jp.submit_job, function, job_id=f"beside {i}"))
            await jp.submit_jobs([JobRequest(func=function, job_id=f"batch {i}") for i in range(3)])
            await jp.drain(timeout=PATIENCE)
    steps: dict[str, list[str]] = {}
    for record in caplog.records:
        if record.name == "asyncjobs.jobs":
            steps.setdefault(record.message.split("'")[1], []).append(record.message.split("' ")[1].partition(":")[0])
    logs = ("logs",) if function is log_and_return else ()
    assert set(map(tuple, steps.values())) == {("submitted", "started", *logs, "completed")}
    assert len(steps) == 28


async def test_a_failure_and_its_retry_with_the_traceback(stores: Stores, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "asyncjobs.jobs"):
        async with stores.processor() as jp:
            await jp.submit_job(fail, job_id="a", retry=SOON, group="g")
            await jp.wait_for_job("a", timeout=PATIENCE)
    records = [r for r in caplog.records if r.name == "asyncjobs.jobs"]
    assert [(r.levelname, r.message.split(" at ")[0]) for r in records] == [
        ("WARNING", "job 'a' will be retried after it failed"),
        ("ERROR", "job 'a' failed"),
    ]
    assert all("Traceback" in r.traceback_text for r in records)
    assert [r.group for r in records] == ["g", "g"]


async def raise_in_finally() -> None:
    try:
        await anyio.sleep_forever()
    finally:
        raise ValueError("in finally")


async def test_a_cancelled_job_is_not_said_to_be_retried_whatever_its_body_raised(
    stores: Stores, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "asyncjobs.jobs")
    async with stores.processor() as jp:
        handle = await jp.submit_job(raise_in_finally, job_id="j", max_retries=0)
        async with jp.streamer.reader(job_id=handle, types="started") as reader:
            await reader.next()
        await handle.cancel()
        await jp.wait_for_job(handle)
    assert "job 'j' was cancelled" in caplog.messages
    assert not any("retried" in message for message in caplog.messages)


async def test_a_large_batch_is_one_line_more(stores: Stores, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "asyncjobs.jobs"):
        async with stores.processor(enable_daemon=False) as jp:
            await jp.submit_jobs([JobRequest(func=nothing) for _ in range(10)])
    messages = [r.message for r in caplog.records if r.name == "asyncjobs.jobs"]
    assert len(messages) == 4
    assert messages[-1] == "… and 7 more jobs submitted with them"


async def test_what_the_store_does_at_debug(stores: Stores, caplog: pytest.LogCaptureFixture) -> None:
    if stores.kind != "sqlite":
        pytest.skip("the memory store has no commits")
    with caplog.at_level(logging.DEBUG, "asyncjobs.sqlite"):
        async with stores.processor() as jp:
            await (await jp.submit_job(nothing))
    assert any("Enqueue" in r.message and r.message.startswith("committed") for r in caplog.records)


@pytest.mark.parametrize("how", ["completed", "failed", "retried", "cancelled"])
async def test_an_outcome_that_was_stored_although_its_answer_was_lost_did_not_come_too_late(
    stores: Stores, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    store = FaultyBackend(stores.backend())
    held = Held()
    async with stores.processor(backend=store) as jp:
        with caplog.at_level(logging.INFO, "asyncjobs.jobs"):
            store.fail("update_job_status", when="after")
            match how:
                case "completed":
                    await jp.submit_job(add, 1, 2, job_id="a")
                case "failed" | "retried":
                    retries = int(how == "retried")
                    await jp.submit_job(fail, job_id="a", retry=RetryPolicy(max_retries=retries, base=0.2, jitter=0))
                case _:
                    await jp.submit_job(held.body, job_id="a", local=True)
                    await held.started.wait()
                    await jp.cancel_job("a")
            job = await jp.wait_for_job("a", timeout=PATIENCE)
            await (await jp.submit_job(nothing))  # recorded after it, in order
    assert job.status == ("failed" if how == "retried" else how)
    assert "came too late" not in caplog.text
    assert any("'a'" in r.message for r in caplog.records)


async def test_an_outcome_of_an_attempt_that_others_have_came_too_late(
    stores: Stores, caplog: pytest.LogCaptureFixture
) -> None:
    attempt = AttemptRef("a", 1, "w1", 1)
    end = AttemptEnd(attempt, Outcome(OutcomeKind.SUCCEEDED))
    with caplog.at_level(logging.WARNING, "asyncjobs.jobs"):
        job_log.log_outcome(end, Stale(2, JobStatus.COMPLETED), None, again=True)  # another attempt's
        job_log.log_outcome(end, Stale(1, JobStatus.PENDING), None, again=True)  # interrupted
        job_log.log_outcome(end, Stale(1, JobStatus.COMPLETED), None)  # never sent before
    assert caplog.text.count("came too late and was refused") == 3
