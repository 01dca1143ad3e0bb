"""Callables are not kept alive longer than their jobs need them: they hold arguments, closures, defaults."""

from __future__ import annotations

import functools
import gc
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import anyio
import pytest

from asyncjobs import DuplicateJobError, JobExecutionError, JobProcessor, JobRequest, JobSkippedError
from asyncjobs.testing import ManualClock
from tests.runtime.support import PATIENCE, Held, Stores, within

pytestmark = pytest.mark.anyio


class Big:
    """Something large that a callable holds."""

    def __init__(self, name: str = "big") -> None:
        self.name = name


@dataclass
class Page:
    number: int


def size(data: bytes) -> int:
    return len(data)


def page_of(big: Big | None, number: int) -> Page:
    return Page(number)


def number_of(page: Page) -> int:
    return page.number


class Body:
    def __init__(self, big: Big) -> None:
        self.big = big

    def __call__(self) -> str:
        return self.big.name


def a_partial(big: Big) -> Callable[[], Any]:
    return functools.partial(page_of, big, 3)


def a_closure(big: Big) -> Callable[[], Any]:
    def closure() -> str:
        return big.name

    return closure


def a_default(big: Big) -> Callable[[], Any]:
    return lambda kept=big: kept.name


def an_object(big: Big) -> Callable[[], Any]:
    return Body(big)


def a_method(big: Big) -> Callable[[], Any]:
    return Body(big).__call__


def failing(big: Big) -> Callable[[], Any]:
    def fails() -> None:
        raise ValueError(big.name)

    return fails


KINDS = [a_partial, a_closure, a_default, an_object, a_method]


def alive(reference: weakref.ref[Any]) -> bool:
    gc.collect()
    return reference() is not None


@pytest.mark.parametrize("make", KINDS)
async def test_a_local_callable_is_let_go_when_its_job_completes_also_if_the_handle_is_kept(
    jp: JobProcessor, make: Callable[[Big], Callable[[], Any]]
) -> None:
    big = Big()
    there = weakref.ref(big)
    handles = [await jp.submit_job(make(big), local=True)]
    async with jp.batch() as batch:
        handles.append(batch.submit_job(make(big), local=True))
    handles += await jp.submit_jobs([JobRequest(func=make(big), local=True)])
    del big
    results = [await handle for handle in handles]
    await within(PATIENCE, jp.submit_job(size, b""))  # whatever the worker's tasks still held is gone
    await jp.drain()
    assert not alive(there)
    assert results == [Page(3)] * 3 if make is a_partial else ["big"] * 3
    assert [await handle for handle in handles] == results  # the value is as it was, although the callable is gone


async def test_a_local_callable_of_a_failed_job_is_kept_for_a_retry(jp: JobProcessor) -> None:
    big = Big()
    there = weakref.ref(big)
    job = await jp.submit_job(failing(big), local=True, max_retries=0)
    del big
    for _ in range(2):
        with pytest.raises(JobExecutionError, match="ValueError: big"):
            await job
        assert alive(there)
        await job.retry()
    with pytest.raises(JobExecutionError, match="ValueError: big"):
        await job
    await jp.remove_jobs(job)
    await jp.drain()
    assert not alive(there)


async def test_a_local_callable_is_let_go_when_its_job_is_skipped(jp: JobProcessor) -> None:
    big = Big()
    there = weakref.ref(big)
    held = Held()
    parent = await jp.submit_job(held.body, local=True)
    child = await jp.submit_job(a_closure(big), local=True, depends_on=parent)
    del big
    assert alive(there)
    await parent.cancel()
    with pytest.raises(JobSkippedError):
        await child
    assert not alive(there)


@pytest.mark.persistent
@pytest.mark.parametrize("how", ["skipped", "removed"])
async def test_what_another_processor_decides_is_found_at_the_next_beat(stores: Stores, how: str) -> None:
    clock = ManualClock()
    big = Big()
    there = weakref.ref(big)
    async with stores.processor(clock=clock) as jp, stores.processor(enable_daemon=False) as other:
        held = Held()
        parent = await jp.submit_job(held.body, local=True, queue="default")
        if how == "skipped":
            waiting = await other.submit_job(size, b"", delay=3600)
            await jp.submit_job(a_closure(big), local=True, depends_on=waiting)
            del big
            await other.cancel_job(waiting)
        else:
            job = await jp.submit_job(failing(big), local=True, max_retries=0)
            del big
            with pytest.raises(JobExecutionError):
                await job
            await other.remove_jobs(job)
        assert alive(there)
        with anyio.fail_after(PATIENCE):
            while alive(there):
                clock.advance(5.0)
                await anyio.sleep(0.01)  # the beat is a thread's
        held.go.open()
        await parent


async def test_a_refused_submission_takes_no_callable_from_the_job_that_has_the_id(jp: JobProcessor) -> None:
    held = Held()
    first = await jp.submit_job(held.body, local=True)
    waiting = await jp.submit_job(a_closure(Big("mine")), local=True, job_id="taken", depends_on=first)
    with pytest.raises(DuplicateJobError):
        await jp.submit_job(a_closure(Big("other")), local=True, job_id="taken")
    held.go.open()
    assert await waiting == "mine"


async def test_arguments_of_stored_partials_are_let_go_once_they_are_stored(jp: JobProcessor) -> None:
    page = Page(4)
    func = functools.partial(number_of, page)
    callable_there, argument_there = weakref.ref(func), weakref.ref(page)
    held = Held()
    first = await jp.submit_job(held.body, local=True)
    job = await jp.submit_job(func, depends_on=first)
    del func, page
    assert not alive(callable_there)
    assert not alive(argument_there)
    held.go.open()
    assert await job == 4


async def test_a_batch_lets_go_of_what_it_has_stored(jp: JobProcessor) -> None:
    func = functools.partial(size, b"1234")
    there = weakref.ref(func)
    async with jp.batch() as batch:
        job = batch.submit_job(func)
    del func
    assert not alive(there)
    assert await job == 4


class Unhashable:
    __hash__ = None

    def __call__(self, a: int, b: int = 0) -> int:
        return a + b

    def __eq__(self, other: object) -> bool:
        return True


unhashable = Unhashable()


async def test_callables_that_cannot_be_hashed_are_callables(jp: JobProcessor) -> None:
    """And that are equal to all others are not taken for them."""
    assert await (await jp.submit_job(unhashable, 1)) == 1
    assert await (await jp.submit_job(unhashable, 1, b=2)) == 3
    assert await (await jp.submit_job(Unhashable(), 1, b=3, local=True)) == 4
    assert await (await jp.submit_job(functools.partial(unhashable, b=4), 1)) == 5
