"""Values of steps that cannot be kept, or do not come back."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

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
from tests.runtime.support import Stores, nothing, within

pytestmark = pytest.mark.anyio


@dataclass
class Picture:
    width: int


@dataclass
class Frame:
    title: str


class Ink(Enum):
    RED = "r"


class Pen(NamedTuple):
    width: int


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
        return [str(error.value), (await job.step("page v2", after)).title]

    message, value = await run(jp, body)
    assert "the value that is kept under 'page'" in message
    assert "give the step a new key" in message
    assert value == "new"
    assert len(work.calls) == 2


async def test_a_kept_value_whose_class_is_gone_comes_back_as_plain_data(jp: JobProcessor) -> None:
    def before() -> Picture:
        return Picture(2)

    def after():
        raise AssertionError("it was kept")

    async def body() -> Any:
        job = current_job()
        if job.attempt == 1:
            await job.step("k", before)
            fail_first()
        return [await job.recall("k"), await job.step("k", after)]

    assert await run(jp, body) == [{"width": 2}, {"width": 2}]


@pytest.mark.parametrize("way", ["async", "thread"])
@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        (Picture(1), int),
        (Picture(1), None),
        ([Picture(1)], list[str]),
        (Ink.RED, str),
        ({"a": Ink.RED}, dict[str, int]),
        (Pen(1), Picture),
    ],
)
async def test_a_kept_value_of_a_class_that_the_annotation_does_not_name_is_an_error(
    jp: JobProcessor, way: str, value: Any, annotation: Any
) -> None:
    work = Work()

    def after() -> Any:
        raise AssertionError("it was kept")

    after.__annotations__["return"] = annotation

    async def body() -> str:
        if current_job().attempt == 1:
            await step(way, "page/1", work.plain, value)
            fail_first()
        with pytest.raises(ConversionError) as error:
            await step(way, "page/1", after)
        return str(error.value)

    message = await run(jp, body)
    assert "the value that is kept under 'page/1'" in message
    assert "forget" not in message, "it would free page/10, too"


@pytest.mark.parametrize("way", ["keep", "keep_sync"])
async def test_a_value_that_a_body_keeps_and_that_cannot_be_kept_fails_the_job_for_good(
    jp: JobProcessor, way: str
) -> None:
    def plain() -> None:
        current_job().keep_sync("k", threading.Lock())

    async def awaited() -> None:
        await current_job().keep("k", threading.Lock())

    handle = await jp.submit_job(awaited if way == "keep" else plain, local=True, retry=AT_ONCE)
    with pytest.raises(JobExecutionError, match=r"\$\.steps\['k'\] is a _thread.lock") as failed:
        await within(10, handle)
    assert failed.value.attempt == 1
    assert "function" not in failed.value.message


@pytest.mark.parametrize("given", ["awaited", "plain", "in a list", "in a dict", "kept"])
async def test_a_handle_is_refused_and_the_fix_named(jp: JobProcessor, given: str) -> None:
    """It would come back as text, which cannot be awaited."""

    async def submits() -> Any:
        handle: Any = await current_job().submit_job(nothing, key="child")
        return {"in a list": [handle], "in a dict": {"child": (handle,)}}.get(given, handle)

    def submits_sync() -> Any:
        return current_job().submit_job_sync(nothing, key="child")

    async def its_id() -> str:
        return str(await submits())

    async def body() -> list[str]:
        job = current_job()
        with pytest.raises(NotSerializableError, match=r"a job handle") as error:
            if given == "kept":
                await job.keep("k", await submits())
            await job.step("k", submits_sync if given == "plain" else submits)
        assert error.value.hint is not None
        return [error.value.hint, await job.step("id", its_id)]

    hint, child = await run(jp, body, job_id="p")
    assert "await it and return the result, or return its id: str(handle)" in hint
    assert given.startswith("in a") or child == "p/child"


async def test_a_key_that_is_damaged_in_the_file_is_no_step(stores: Stores) -> None:
    if stores.kind == "memory":
        pytest.skip("it has no file")
    work = Work()

    async def body() -> list[Any]:
        job = current_job()
        values = [await job.step(key, work.plain, key) for key in ("a", "b")]
        if job.attempt == 1:
            with closing(sqlite3.connect(stores.path)) as connection, connection:
                connection.execute("UPDATE steps SET key = x'00ff' WHERE key = 'b'")
            assert await jp.backend.count_steps(job.id) == 1
            fail_first()
        return values

    async with stores.processor() as jp:
        handle = await jp.submit_job(body, local=True, retry=AT_ONCE)
        assert await within(10, handle) == ["a", "b"]
        assert [step.key for step in (await jp.backend.read_steps(handle)).steps] == ["a", "b"]
    assert work.calls == ["a", "b", "b"]
