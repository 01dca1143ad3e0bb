"""An error after which a retry would be pointless ends the job, also as the cause of another one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from asyncjobs import JobExecutionError, JobProcessor, RetryPolicy
from asyncjobs.runtime.final_errors import mark_final

pytestmark = pytest.mark.anyio


def paused() -> None:
    raise mark_final(ValueError("paused for good"))


def wrapped() -> None:
    try:
        paused()
    except ValueError as error:
        raise RuntimeError("what a library makes of it") from error


async def in_a_group() -> None:
    raise ExceptionGroup("several", [KeyError("x"), mark_final(ValueError("paused for good"))])


@pytest.mark.parametrize("body", [paused, wrapped, in_a_group])
async def test_a_marked_error_is_not_retried(jp: JobProcessor, body: Callable[[], Any]) -> None:
    job = await jp.submit_job(body, max_retries=3)
    with pytest.raises(JobExecutionError):
        await job
    assert (await jp.get_job(job.id)).failures == 1


async def test_any_other_error_is(jp: JobProcessor) -> None:
    job = await jp.submit_job(int, "x", retry=RetryPolicy(max_retries=1, base=0.01))
    with pytest.raises(JobExecutionError):
        await job
    assert (await jp.get_job(job.id)).failures == 2
