"""A batch takes its jobs as they are at ``submit_job``, and its handles are of use once its block is left."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from asyncjobs import (
    ConfigurationError,
    DuplicateJobError,
    JobHandle,
    JobNotFoundError,
    JobProcessor,
    NotSerializableError,
    SubmissionError,
    UnknownDependencyError,
    gather,
)
from asyncjobs.processor import get_engine
from tests.runtime.support import echo, nothing

pytestmark = pytest.mark.anyio


# -- a snapshot at the call


async def test_each_job_has_its_arguments_as_they_were_at_its_call(jp: JobProcessor) -> None:
    row: list[int] = []
    async with jp.batch() as batch:
        handles: list[JobHandle[Any]] = []
        for i in range(3):
            row[:] = [i]
            handles.append(batch.submit_job(echo, row))
    assert await gather(*handles) == [[0], [1], [2]]


async def test_so_are_nested_values_keywords_and_metadata(jp: JobProcessor) -> None:
    page: dict[str, Any] = {"panels": [1]}
    labels = {"run": 1}
    async with jp.batch() as batch:
        by_place = batch.submit_job(echo, page, metadata=labels)
        by_name = batch.submit_job(echo, value=page)
        page["panels"].append(2)
        labels["run"] = 2
    assert await gather(by_place, by_name) == [{"panels": [1]}, {"panels": [1]}]
    assert (await jp.get_job(by_place)).metadata == {"run": 1}


async def test_no_argument_is_encoded_twice(jp: JobProcessor, monkeypatch: pytest.MonkeyPatch) -> None:
    submissions = get_engine(jp).submissions
    encode, encoded = submissions.encode, 0

    def counted(*args: Any) -> Any:
        nonlocal encoded
        encoded += 1
        return encode(*args)

    monkeypatch.setattr(submissions, "encode", counted)
    async with jp.batch() as batch:
        for i in range(5):
            batch.submit_job(echo, i)
        assert encoded == 5
    assert encoded == 5


# -- refused at its line


WRONG: dict[str, tuple[dict[str, Any], type[Exception]]] = {
    "an argument": ({"args": (object(),)}, NotSerializableError),
    "a call that does not fit": ({"args": (1, 2)}, SubmissionError),
    "a priority": ({"args": (1,), "priority": "x"}, ConfigurationError),
    "a delay": ({"args": (1,), "delay": -1}, ConfigurationError),
    "an id": ({"args": (1,), "job_id": ""}, ConfigurationError),
    "metadata": ({"args": (1,), "metadata": {"a": object()}}, Exception),
}


@pytest.mark.parametrize("what", WRONG)
async def test_a_bad_job_is_refused_at_its_own_line(jp: JobProcessor, what: str) -> None:
    options, kind = WRONG[what]
    async with jp.batch() as batch:
        with pytest.raises(kind) as caught:
            batch.submit_job(echo, **options)  # this line
    lines = inspect.getsource(inspect.getmodule(test_a_bad_job_is_refused_at_its_own_line)).splitlines()
    frame = next(frame for frame in traceback.extract_tb(caught.value.__traceback__) if frame.filename == __file__)
    assert "this line" in lines[(frame.lineno or 0) - 1]


async def test_a_job_that_is_refused_is_not_part_of_the_batch(jp: JobProcessor) -> None:
    async with jp.batch() as batch:
        good = batch.submit_job(echo, 1)
        with pytest.raises(NotSerializableError):
            batch.submit_job(echo, object())
        other = batch.submit_job(echo, good)
    assert await gather(good, other) == [1, 1]
    assert len(await jp.find_jobs()) == 2


async def test_a_batch_of_a_processor_that_is_not_entered_is_refused_when_it_is_entered() -> None:
    from asyncjobs import BackendClosedError

    with pytest.raises(BackendClosedError):
        async with JobProcessor("memory").batch():
            pytest.fail("the block began")


async def test_a_batch_may_be_used_again(jp: JobProcessor) -> None:
    batch = jp.batch()
    async with batch:
        first = batch.submit_job(echo, 1)
    async with batch:
        second = batch.submit_job(echo, 2)
    assert await gather(first, second) == [1, 2]


async def test_a_local_job_is_of_the_worker_that_lives_when_the_block_is_left(
    jp: JobProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = get_engine(jp).runner
    assert runner is not None
    async with jp.batch() as batch:
        with monkeypatch.context() as patched:
            patched.setattr(type(runner), "worker_id", "before")
            handle = batch.submit_job(lambda: 5, local=True)
    assert await handle.result(timeout=20) == 5


# -- handles


ASKED: dict[str, Callable[[JobProcessor, JobHandle[Any]], Awaitable[Any]]] = {
    "await": lambda _, handle: handle.result(),
    "gather": lambda _, handle: gather(handle),
    "status": lambda _, handle: handle.status(),
    "cancel": lambda _, handle: handle.cancel(),
    "get_job": lambda jp, handle: jp.get_job(handle),
    "get_result": lambda jp, handle: jp.get_result(handle),
    "wait_for_results": lambda jp, handle: jp.wait_for_results([handle]),
    "retry_job": lambda jp, handle: jp.retry_job(handle),
    "why": lambda jp, handle: jp.why(handle),
    "poll_status": lambda jp, handle: jp.poll_status(handle),
}


@pytest.mark.parametrize("how", ASKED)
async def test_inside_of_its_block_a_handle_is_refused_with_the_reason(jp: JobProcessor, how: str) -> None:
    await jp.submit_job(nothing)  # an id that is like the other
    async with jp.batch() as batch:
        handle = batch.submit_job(echo, 1)
        with pytest.raises(JobNotFoundError, match="its batch stores it when the block of the batch is left") as caught:
            await ASKED[how](jp, handle)
        assert "did you mean" not in str(caught.value)
    assert await handle == 1


@pytest.mark.parametrize("how", ASKED)
async def test_after_a_block_that_an_error_left_the_reason_is_another(jp: JobProcessor, how: str) -> None:
    batch = jp.batch()
    handles: list[JobHandle[Any]] = []
    with pytest.raises(RuntimeError, match="changed my mind"):
        async with batch:
            handles.append(batch.submit_job(echo, 1))
            raise RuntimeError("changed my mind")
    with pytest.raises(JobNotFoundError, match="left by an error"):
        await ASKED[how](jp, handles[0])


async def test_after_a_batch_that_the_store_refused_the_store_is_asked(jp: JobProcessor) -> None:
    await jp.submit_job(echo, 1, job_id="taken")
    handles: list[JobHandle[Any]] = []
    with pytest.raises(DuplicateJobError):
        async with jp.batch() as batch:
            handles.append(batch.submit_job(echo, 2, job_id="taken"))
    assert await handles[0] == 1


async def test_a_handle_that_is_passed_on_is_of_use_at_once(jp: JobProcessor) -> None:
    async with jp.batch() as batch:
        first = batch.submit_job(echo, 1)
        second = batch.submit_job(echo, [first], depends_on=first)
    assert await second == [1]


# -- what the store refuses


async def test_a_job_that_the_store_refuses_is_named_by_its_place(jp: JobProcessor) -> None:
    with pytest.raises(UnknownDependencyError, match=r"^batch\[2\] \(.*:echo\): job '.*' depends on 'zz'"):
        async with jp.batch() as batch:
            for i in range(5):
                batch.submit_job(echo, i, depends_on="zz" if i == 2 else ())
