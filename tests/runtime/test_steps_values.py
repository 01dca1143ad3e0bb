"""Values of steps that cannot be kept, or do not come back."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import pytest

from asyncjobs import (
    JobExecutionError,
    JobProcessor,
    NotSerializableError,
    current_job,
)
from asyncjobs.exceptions import ConversionError
from asyncjobs.runtime.step_values import StepNotKeptError
from tests.runtime.step_bodies import AT_ONCE, Work, fail_first, run, step
from tests.runtime.support import Stores, within

pytestmark = pytest.mark.anyio


@dataclass
class Picture:
    width: int


@dataclass
class Frame:
    title: str


@pytest.mark.parametrize("way", ["async", "thread", "awaited"])
async def test_a_value_that_cannot_be_kept_fails_its_step_for_good(jp: JobProcessor, way: str) -> None:
    work = Work()

    async def body() -> None:
        if way == "awaited":
            await current_job().step("k", work.awaited, threading.Lock())
        else:
            await step(way, "k", work.plain, threading.Lock())

    handle = await jp.submit_job(body, local=True, retry=AT_ONCE)
    with pytest.raises(JobExecutionError) as failed:
        await within(10, handle)
    assert failed.value.attempt == 1, "the function has run: the job is not tried again"
    assert "$.steps['k']" in failed.value.message
    assert "the function of the step has run, its value is not kept" in failed.value.message
    assert len(work.calls) == 1
    assert await jp.backend.count_steps(handle) == 0


async def test_a_body_may_go_on_without_a_value_that_cannot_be_kept(jp: JobProcessor) -> None:
    async def body() -> str:
        with pytest.raises(NotSerializableError):
            await current_job().step("k", lambda: threading.Lock())
        with pytest.raises(NotSerializableError, match=r"\$\.steps\['k'\]"):
            await current_job().keep("k", threading.Lock())
        fail_first()
        return "went on"

    assert await run(jp, body) == "went on"


async def test_max_value_size_bounds_what_is_kept(stores: Stores) -> None:
    header = 5  # of msgpack, for bytes

    async def body() -> list[str]:
        job, errors = current_job(), list[str]()
        await job.step("fits", lambda: b"x" * (100_000 - header))
        await job.keep("fits, too", b"x" * (100_000 - header))
        with pytest.raises(StepNotKeptError) as of_step:
            await job.step("step", lambda: b"x" * (100_001 - header))
        errors.append(str(of_step.value))
        with pytest.raises(NotSerializableError) as of_keep:
            await job.keep("keep", b"x" * (100_001 - header))
        return [*errors, str(of_keep.value)]

    backend = stores.backend(**({} if stores.kind == "memory" else {"max_value_size": 100_000}))
    async with stores.processor(backend=backend) as jp:
        if stores.kind == "memory":
            pytest.skip("the store in memory is made with its default bound")
        for message in await run(jp, body):
            assert "100,001 bytes, more than the 100,000 that max_value_size allows" in message


async def test_a_kept_value_whose_class_has_changed_is_an_error_with_its_key(jp: JobProcessor) -> None:
    work = Work()

    def before() -> Picture:
        work.plain()
        return Picture(1)

    def after() -> Frame:
        work.plain()
        return Frame("new")

    async def body() -> Any:
        job = current_job()
        if job.attempt == 1:
            await job.step("page", before)
            fail_first()
        with pytest.raises(ConversionError) as error:
            await job.step("page", after)
        await job.forget("page")
        return [str(error.value), (await job.step("page", after)).title]

    message, value = await run(jp, body)
    assert "the value that is kept under 'page'" in message
    assert "forget('page')" in message
    assert value == "new"
    assert len(work.calls) == 2


async def test_a_kept_value_whose_class_is_gone_comes_back_as_plain_data(jp: JobProcessor) -> None:
    def before() -> Picture:
        return Picture(2)

    def after():  # type: ignore[no-untyped-def]
        raise AssertionError("it was kept")

    async def body() -> Any:
        job = current_job()
        if job.attempt == 1:
            await job.step("k", before)
            fail_first()
        return [await job.recall("k"), await job.step("k", after)]  # pyright: ignore[reportUnknownArgumentType]

    assert await run(jp, body) == [{"width": 2}, {"width": 2}]
