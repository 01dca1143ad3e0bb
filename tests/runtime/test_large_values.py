"""A large value is decoded beside the event loop: whatever waits for it, the loop goes on."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from asyncjobs import JobHandle, JobProcessor, SyncJobs, as_completed, gather
from asyncjobs.core.codec import decode_result
from asyncjobs.core.codec import read_arguments as read_call
from asyncjobs.runtime import attempt, job_results, stored_calls
from asyncjobs.runtime.large_values import LARGE
from tests.runtime.support import PATIENCE, Stores, within
from tests.web.sites import site

pytestmark = pytest.mark.anyio

PROMPT = 5.0
"""Seconds within which a loop that goes on has had its turn."""


@dataclass
class Panel:
    number: int
    text: str


def draw(size: int) -> list[Panel]:
    return [Panel(1, "x" * size)]


def take(panels: list[Panel]) -> int:
    return len(panels)


class Held:
    """Holds whatever decodes, until it is released; it fails if that stops the loop, which releases it."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.released = threading.Event()
        self.threads: list[threading.Thread] = []

    def wrap(self, decode: Callable[..., Any]) -> Callable[..., Any]:
        def held(*args: Any) -> Any:
            self.threads.append(threading.current_thread())
            self.entered.set()
            assert self.released.wait(PROMPT), "the loop waited for the value"
            return decode(*args)

        return held


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    held = Held()
    monkeypatch.setattr(job_results, "decode_result", held.wrap(decode_result))
    monkeypatch.setattr(stored_calls, "read_arguments", held.wrap(read_call))
    return held


@pytest.fixture
async def large(jp: JobProcessor) -> JobHandle[list[Panel]]:
    handle = await jp.submit_job(draw, LARGE)
    await jp.wait_for_job(handle, PATIENCE)
    return handle


async def first(handle: JobHandle[Any]) -> Any:
    async with aclosing(as_completed([handle])) as ended:
        (value,) = [await one async for one in ended]
    return value


async def gathered(handle: JobHandle[Any]) -> Any:
    return (await gather(handle))[0]


async def polled(jp: JobProcessor, handle: JobHandle[Any]) -> Any:
    return (await jp.poll_status(handle)).result


async def polled_together(jp: JobProcessor, handle: JobHandle[Any]) -> Any:
    report = (await jp.poll_batch([handle]))[handle]
    assert report is not None
    return report.result


async def awaited(handle: JobHandle[Any]) -> Any:
    return await handle


READ: dict[str, Callable[[JobProcessor, JobHandle[Any]], Awaitable[Any]]] = {
    "await handle": lambda _, handle: awaited(handle),
    "result(timeout=)": lambda _, handle: handle.result(timeout=PATIENCE),
    "a handle of its id": lambda jp, handle: jp.handle(handle.id).result(),
    "gather": lambda _, handle: gathered(handle),
    "as_completed": lambda _, handle: first(handle),
    "get_result": lambda jp, handle: jp.get_result(handle),
    "poll_status": lambda jp, handle: polled(jp, handle),
    "poll_batch": lambda jp, handle: polled_together(jp, handle),
}


@pytest.mark.parametrize("how", READ)
async def test_the_loop_goes_on_while_a_large_result_is_decoded(
    jp: JobProcessor, large: JobHandle[list[Panel]], held: Held, how: str
) -> None:
    values: list[Any] = []

    async def read() -> None:
        values.append(await READ[how](jp, large))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        assert await anyio.to_thread.run_sync(held.entered.wait, PROMPT)
        held.released.set()
    assert values == [draw(LARGE)]


@pytest.mark.parametrize("how", READ)
async def test_a_small_one_needs_no_thread(jp: JobProcessor, held: Held, how: str) -> None:
    held.released.set()
    handle = await jp.submit_job(draw, LARGE // 2)
    await jp.wait_for_job(handle, PATIENCE)
    assert await READ[how](jp, handle) == draw(LARGE // 2)
    assert held.threads == [threading.current_thread()]


async def test_large_arguments_are_read_back_beside_the_loop(jp: JobProcessor, held: Held) -> None:
    job = await jp.submit_job(take, draw(LARGE), delay=3600)
    read: list[Any] = []

    async def look() -> None:
        read.append((await jp.get_arguments(job)).args)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look)
        assert await anyio.to_thread.run_sync(held.entered.wait, PROMPT)
        held.released.set()
    assert read == [(draw(LARGE),)]


async def count(panels: list[Panel]) -> int:
    return len(panels)


@pytest.mark.parametrize("body", [take, count], ids=["plain", "async def"])
@pytest.mark.parametrize("given", ["as it is", "as the result of another job"])
async def test_the_loop_goes_on_while_a_worker_decodes_large_arguments(
    jp: JobProcessor,
    large: JobHandle[list[Panel]],
    monkeypatch: pytest.MonkeyPatch,
    body: Callable[..., Any],
    given: str,
) -> None:
    held = Held()
    monkeypatch.setattr(attempt, "decode_arguments", held.wrap(attempt.decode_arguments))
    job = await jp.submit_job(body, draw(LARGE) if given == "as it is" else large)
    assert await anyio.to_thread.run_sync(held.entered.wait, PROMPT)
    held.released.set()
    assert await within(PATIENCE, job) == 1


async def test_who_is_cancelled_does_not_wait_for_it(large: JobHandle[list[Panel]], held: Held) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(awaited, large)
        assert await anyio.to_thread.run_sync(held.entered.wait, PROMPT)
        with anyio.fail_after(PROMPT / 2):
            tasks.cancel_scope.cancel()
            await anyio.sleep(0)
    held.released.set()


async def test_an_error_in_it_is_raised_where_it_is_awaited(
    jp: JobProcessor, large: JobHandle[list[Panel]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("torn")

    monkeypatch.setattr(job_results, "decode_result", fail)
    for read in READ.values():
        with pytest.raises(ValueError, match="torn"):
            await within(PATIENCE, read(jp, large))


def test_sync_jobs_have_large_values_too(tmp_path: Path) -> None:
    with SyncJobs(tmp_path / "jobs.db") as jobs:
        handle = jobs.submit_job(draw, LARGE)
        assert handle.result(timeout=PATIENCE) == draw(LARGE)
        later = jobs.submit_job(take, draw(LARGE), depends_on=[handle], delay=3600)
        assert jobs.get_arguments(later).args == (draw(LARGE),)


async def _length_of_a_child() -> int:
    from asyncjobs import current_job

    return len((await (await current_job().submit_job(draw, LARGE)))[0].text)


async def test_a_body_in_a_process_of_its_own_has_them_too(tmp_path: Path) -> None:
    async with Stores("memory", tmp_path).processor(num_workers=2) as jp:
        assert await within(PATIENCE, await jp.submit_job(_length_of_a_child, isolation="process")) == LARGE


async def test_over_http_it_is_decoded_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    from asyncjobs.core.codec import decode_value
    from asyncjobs.web import jobs

    held = Held()
    monkeypatch.setattr(jobs, "decode_value", held.wrap(decode_value))
    answers: list[Any] = []
    async with site() as here:
        handle = await here.jp.submit_job(draw, LARGE)
        await here.jp.wait_for_job(handle, PATIENCE)

        async def ask() -> None:
            answers.append(await here.get(f"/v1/jobs/{handle.id}/result"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            assert await anyio.to_thread.run_sync(held.entered.wait, PROMPT)
            held.released.set()
    assert answers[0].json()["result"] == [{"number": 1, "text": "x" * LARGE}]
