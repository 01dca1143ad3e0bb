"""Every call that a body may make while its processor is left, for the tests of drains. Imports nothing of pytest.

``CALLS`` and ``WAITS`` use the processor, which bodies in its own process have; ``ASKS`` and ``ASK_WAITS`` what bodies
in child processes have, too: ``current_job()`` and the handles of what they submitted.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

from asyncjobs import JobHandle, JobProcessor, JobQuery, JobRequest, JobStatus, as_completed, current_job, gather
from tests.runtime.support import echo, nothing

ENDED, LATER = "ended", "later"
"""Ids of a job that has completed, and of one that runs in an hour."""

Call = Callable[[JobProcessor], Awaitable[Any]]


class Known(NamedTuple):
    """Jobs that a body submitted before: one has completed, one runs in an hour, one runs now."""

    ended: JobHandle[Any]
    later: JobHandle[Any]
    running: JobHandle[Any]


Ask = Callable[[Known], Awaitable[Any]]


async def submit_and_wait(_: object) -> Any:
    return await (await current_job().submit_job(nothing))


async def submit_and_retry(_: object) -> None:
    child = await current_job().submit_job(nothing, delay=3600)
    assert await child.cancel() is JobStatus.CANCELLED
    assert await child.retry() is JobStatus.PENDING
    await child.status()  # a claim that was on its way may have it for a moment, before it goes back


async def cancel_and_retry(jp: JobProcessor) -> None:
    child = await current_job().submit_job(nothing, delay=3600)
    assert await jp.cancel_job(child) is JobStatus.CANCELLED
    assert await jp.retry_job(child) is JobStatus.PENDING


async def batch(jp: JobProcessor) -> None:
    async with jp.batch() as jobs:
        jobs.submit_job(echo, jobs.submit_job(nothing))


async def first_of(stream: AsyncIterator[Any]) -> Any:
    try:
        return await anext(stream)
    finally:
        await stream.aclose()


async def all_of(stream: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in stream]


async def both_in_order(handle: JobHandle[Any]) -> list[str]:
    return [handle.id async for handle in as_completed([handle, handle])]


async def say(_: object) -> None:
    current_job().progress(1, 2, "half")
    current_job().log("a line", "warning")
    current_job().emit("output", {"text": "words"})
    logging.getLogger("studio").warning("a record")
    assert not current_job().cancelled


CALLS: dict[str, Call] = {
    "submit a child": lambda jp: current_job().submit_job(nothing),
    "submit_job": lambda jp: jp.submit_job(nothing),
    "submit_jobs": lambda jp: jp.submit_jobs([JobRequest(func=nothing)]),
    "map_jobs": lambda jp: jp.map_jobs(echo, [1, 2]),
    "batch": batch,
    "await a handle that has ended": lambda jp: jp.handle(ENDED).result(),
    "gather": lambda jp: gather(jp.handle(ENDED), jp.handle(ENDED)),
    "as_completed": lambda jp: both_in_order(jp.handle(ENDED)),
    "wait_for_job": lambda jp: jp.wait_for_job(ENDED),
    "status of a handle": lambda jp: jp.handle(LATER).status(),
    "events of a handle": lambda jp: first_of(jp.handle(LATER).events()),
    "get_job": lambda jp: jp.get_job(LATER),
    "get_result": lambda jp: jp.get_result(ENDED),
    "get_attempts": lambda jp: jp.get_attempts(ENDED),
    "find_jobs": lambda jp: jp.find_jobs(JobQuery(status=[JobStatus.PENDING])),
    "get_progress": lambda jp: jp.get_progress("g"),
    "poll_status": lambda jp: jp.poll_status(ENDED),
    "poll_batch": lambda jp: jp.poll_batch([ENDED, LATER]),
    "why": lambda jp: jp.why(LATER),
    "workers": lambda jp: jp.workers(),
    "stream_job": lambda jp: first_of(jp.stream_job(LATER)),
    "stream_group": lambda jp: first_of(jp.stream_group("g")),
    "stream_all": lambda jp: first_of(jp.stream_all()),
    "cancel_jobs": lambda jp: jp.cancel_jobs(group="to be cancelled"),
    "cancel_job, retry_job": cancel_and_retry,
    "cancel and retry of a handle": submit_and_retry,
    "progress, log, emit": say,
}
WAITS: dict[str, Call] = {
    "await a child": submit_and_wait,
    "await a handle": lambda jp: jp.handle(LATER).result(),
    "await it with a timeout": lambda jp: jp.handle(LATER).result(timeout=3600),
    "gather": lambda jp: gather(jp.handle(ENDED), jp.handle(LATER)),
    "as_completed": lambda jp: first_of(as_completed([jp.handle(LATER)])),
    "wait_for_job": lambda jp: jp.wait_for_job(LATER),
    "drain": lambda jp: jp.drain("g"),
    "drain with a timeout": lambda jp: jp.drain("g", timeout=3600),
    "stream_job": lambda jp: all_of(jp.stream_job(LATER)),
    "stream_group": lambda jp: all_of(jp.stream_group("g")),
    "stream_all": lambda jp: all_of(jp.stream_all(types=["never"])),
    "events of a handle": lambda jp: all_of(jp.handle(LATER).events()),
    "subscribe_sse": lambda jp: all_of(jp.subscribe_sse(job_id=LATER)),
}
ASKS: dict[str, Ask] = {
    "submit a child": lambda known: current_job().submit_job(nothing),
    "submit one that uses another": lambda known: current_job().submit_job(echo, known.later, isolation="process"),
    "await a handle that has ended": lambda known: known.ended.result(),
    "await it with a timeout": lambda known: known.ended.result(timeout=3600),
    "gather": lambda known: gather(known.ended, known.ended),
    "as_completed": lambda known: both_in_order(known.ended),
    "status of a handle": lambda known: known.later.status(),
    "status of one that runs": lambda known: known.running.status(),
    "cancel and retry of a handle": submit_and_retry,
    "progress, log, emit": say,
}
ASK_WAITS: dict[str, Ask] = {
    "await a child": submit_and_wait,
    "await a handle": lambda known: known.later.result(),
    "await it with a timeout": lambda known: known.later.result(timeout=3600),
    "await one that runs": lambda known: known.running.result(),
    "gather": lambda known: gather(known.ended, known.later),
    "as_completed": lambda known: first_of(as_completed([known.later])),
}
PLAIN_ASKS: dict[str, Callable[[Known], Any]] = {
    "submit_job_sync": lambda known: current_job().submit_job_sync(nothing),
    "result_sync": lambda known: known.ended.result_sync(),
    "result_sync with a timeout": lambda known: known.ended.result_sync(timeout=3600),
}
PLAIN_ASK_WAITS: dict[str, Callable[[Known], Any]] = {
    "submit_job_sync, result_sync": lambda known: current_job().submit_job_sync(nothing).result_sync(),
    "result_sync": lambda known: known.later.result_sync(),
    "result_sync with a timeout": lambda known: known.later.result_sync(timeout=3600),
    "result_sync of one that runs": lambda known: known.running.result_sync(),
}
