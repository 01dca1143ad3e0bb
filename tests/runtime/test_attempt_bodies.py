"""Whatever a body raises is its own failure: its neighbours complete, and the processor goes on."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from asyncjobs import (
    JobExecutionError,
    JobProcessor,
    MemoryBackend,
    MemoryConfig,
    RetryPolicy,
    SQLiteConfig,
    current_job,
)
from tests.runtime.support import COMPLETED, FAILED, PATIENCE, Held, Stores, add, echo

pytestmark = pytest.mark.anyio


class OddConstructor(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__()
        self.one, self.two = one, two

    def __str__(self) -> str:
        return f"odd {self.one} {self.two}"


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no message for you")

    __repr__ = __str__


class UnprintableByExit(Exception):
    def __str__(self) -> str:
        raise SystemExit(1)


class NotAString(Exception):
    def __str__(self) -> str:
        return 5


class OwnBase(BaseException):
    pass


def dive() -> None:
    dive()


def group() -> None:
    raise ExceptionGroup("several", [ValueError("one"), KeyError("two")])


def base_group() -> None:
    raise BaseExceptionGroup("several", [KeyboardInterrupt(), ValueError("one")])


def with_(error: BaseException) -> Callable[[], None]:
    def body() -> None:
        raise error

    return body


FAULTS: dict[str, tuple[Callable[[], Any], str, str]] = {
    "BaseException": (with_(BaseException("base")), "BaseException", "base"),
    "own BaseException": (with_(OwnBase("own")), f"{__name__}.OwnBase", "own"),
    "SystemExit": (lambda: sys.exit(3), "SystemExit", "3"),
    "KeyboardInterrupt": (with_(KeyboardInterrupt("ctrl-c")), "KeyboardInterrupt", "ctrl-c"),
    "StopIteration": (lambda: next(iter([])), "StopIteration", ""),
    "StopAsyncIteration": (with_(StopAsyncIteration()), "StopAsyncIteration", ""),
    "GeneratorExit": (with_(GeneratorExit("closed")), "GeneratorExit", "closed"),
    "odd constructor": (with_(OddConstructor(1, 2)), f"{__name__}.OddConstructor", "odd 1 2"),
    "unprintable": (
        with_(Unprintable()),
        f"{__name__}.Unprintable",
        "<Unprintable whose message cannot be printed>",
    ),
    "unprintable by exit": (
        with_(UnprintableByExit()),
        f"{__name__}.UnprintableByExit",
        "<UnprintableByExit whose message cannot be printed>",
    ),
    "message is no string": (
        with_(NotAString()),
        f"{__name__}.NotAString",
        "<NotAString whose message cannot be printed>",
    ),
    "surrogates": (with_(ValueError("bad \udc80 name")), "ValueError", "bad \\udc80 name"),
    "NUL": (with_(ValueError("a\0b")), "ValueError", "a\0b"),
    "long": (with_(ValueError("x" * 1_000_000)), "ValueError", "x" * 10_000),
    "recursion": (dive, "RecursionError", "maximum recursion depth exceeded"),
    "group": (group, "ExceptionGroup", "several (2 sub-exceptions)"),
    "base group": (base_group, "BaseExceptionGroup", "several (2 sub-exceptions)"),
    "MemoryError": (with_(MemoryError("none left")), "MemoryError", "none left"),
    "CancelledError": (with_(asyncio.CancelledError("mine")), "asyncio.exceptions.CancelledError", "mine"),
}


@pytest.mark.parametrize("threaded", [False, True], ids=["async", "thread"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_it_is_that_jobs_failure_only(jp: JobProcessor, fault: str, threaded: bool, anyio_backend: str) -> None:
    raise_it, error_type, message = FAULTS[fault]
    neighbour = Held("unharmed")

    async def body() -> None:
        raise_it()

    before = await jp.submit_job(neighbour.body, local=True)
    await neighbour.started.wait()
    job = await jp.submit_job(raise_it if threaded else body, max_retries=0, local=True)
    with pytest.raises(JobExecutionError) as caught:
        await job.result(timeout=PATIENCE)
    error = caught.value
    if not threaded and fault == "StopIteration":
        error_type, message = "RuntimeError", "coroutine raised StopIteration"  # so Python turns it
    if fault == "recursion":
        assert error.message.startswith(message)
    else:
        assert error.message == message
    assert error.error_type == error_type
    assert (await jp.get_job(job)).status is FAILED
    neighbour.go.open()
    assert await before == "unharmed"
    assert await (await jp.submit_job(add, 1, 2)).result(timeout=PATIENCE) == 3


async def test_an_exception_group_tells_its_parts(jp: JobProcessor) -> None:
    async def body() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wrong)

    async def wrong() -> None:
        raise ValueError("inside the group")

    with pytest.raises(JobExecutionError, match="ExceptionGroup") as caught:
        await (await jp.submit_job(body, max_retries=0, local=True))
    assert "inside the group" in (caught.value.traceback_text or "")


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("how", ["task", "scope", "swallowed"])
async def test_a_body_that_cancels_itself(tmp_path: Any, anyio_backend: str, how: str) -> None:
    async def body() -> str:
        if how == "scope":
            with anyio.CancelScope() as scope:
                scope.cancel()
                await anyio.sleep(0)
            return "went on"
        task = asyncio.current_task()
        assert task is not None
        task.cancel("by myself")
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            if how == "task":
                raise
            task.uncancel()
        return "went on"

    async with Stores("sqlite", tmp_path).processor(num_workers=1) as jp:
        job = await jp.submit_job(body, max_retries=0, local=True)
        if how == "task":
            with pytest.raises(JobExecutionError, match="CancelledError"):
                await job.result(timeout=PATIENCE)
        else:
            assert await job.result(timeout=PATIENCE) == "went on"
        assert await (await jp.submit_job(add, 1, 2)).result(timeout=PATIENCE) == 3


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_body_that_cancels_its_task_and_returns(tmp_path: Any, anyio_backend: str) -> None:
    """The request is still open when the body ends: it dies with the attempt's task."""

    async def body() -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return "value"

    async with Stores("sqlite", tmp_path).processor(num_workers=1) as jp:
        job = await jp.submit_job(body, max_retries=0, local=True)
        assert (await jp.wait_for_job(job, timeout=PATIENCE)).status is COMPLETED
        assert await (await jp.submit_job(add, 1, 2)).result(timeout=PATIENCE) == 3


@pytest.mark.parametrize("threaded", [False, True], ids=["async", "thread"])
@pytest.mark.parametrize(
    ("value", "where"),
    [
        (object(), "$.result"),
        ([1, {"image": object()}], "$.result[1].image"),
        ({"k": [lambda: 0]}, "$.result.k[0]"),
    ],
    ids=["object", "nested", "function"],
)
async def test_an_unstorable_result_fails_the_job_with_its_path(
    jp: JobProcessor, value: Any, where: str, threaded: bool
) -> None:
    async def body() -> Any:
        return value

    job = await jp.submit_job((lambda: value) if threaded else body, local=True)
    with pytest.raises(JobExecutionError) as caught:
        await job
    assert caught.value.message.startswith(f"{where} is ")
    assert caught.value.error_type == "asyncjobs.exceptions.NotSerializableError"
    assert caught.value.attempt == 1  # running it again would not help


async def test_a_result_that_refers_to_itself_fails_the_job(jp: JobProcessor) -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(JobExecutionError, match=r"\$\.result"):
        await (await jp.submit_job(lambda: loop, local=True))


@pytest.mark.parametrize("kind", ["sqlite", "memory"])
async def test_an_over_large_result_fails_the_job(kind: str, tmp_path: Any) -> None:
    settings = {"max_value_size": 2048}
    backend: Any = SQLiteConfig(db_path=tmp_path / "jobs.db", **settings)
    if kind == "memory":
        backend = MemoryBackend(MemoryConfig(**settings))
    async with JobProcessor(backend) as jp:
        job = await jp.submit_job(lambda: b"x" * 3000, local=True)
        with pytest.raises(JobExecutionError, match=r"\$.result is 3,003 bytes, more than the 2,048") as caught:
            await job
        assert "write it to a file and return the path" in caught.value.message
        assert len(await (await jp.submit_job(lambda: b"x" * 1000, local=True))) == 1000


async def test_arguments_that_do_not_fit_the_annotation_fail_without_a_retry(jp: JobProcessor) -> None:
    job = await jp.submit_job(takes_point, {"wrong": 1})
    ended = await jp.wait_for_job(job, timeout=PATIENCE)
    assert (ended.status, ended.attempt) == (FAILED, 1)
    assert ended.error is not None
    assert "$.args[0]" in ended.error.message or "point" in ended.error.message


from dataclasses import dataclass  # noqa: E402 - it belongs to the tests below


@dataclass
class Point:
    x: int
    y: int


async def takes_point(point: Point) -> int:
    return point.x


async def test_a_body_that_blocks_all_its_threads_is_only_slow(stores: Stores) -> None:
    """More plain functions than slots: they queue, and nobody else does."""
    held = [Held(i) for i in range(3)]
    async with stores.processor(num_workers=2) as jp:
        jobs = [await jp.submit_job(h.sync, local=True) for h in held]
        await held[0].started.wait()
        await held[1].started.wait()
        assert not held[2].started.is_open
        for h in held:
            h.go.open()
        assert [await job for job in jobs] == [0, 1, 2]


@pytest.mark.parametrize("threaded", [False, True], ids=["async", "thread"])
async def test_what_a_body_said_before_it_failed_is_kept(jp: JobProcessor, threaded: bool) -> None:
    def say() -> None:
        current_job().log("about to fail", level="warning")
        current_job().progress(1, 2)
        raise ValueError("then")

    async def body() -> None:
        say()

    job = await jp.submit_job(say if threaded else body, local=True, max_retries=0)
    await jp.wait_for_job(job)
    events = [event async for event in jp.stream_job(job)]
    assert [event.type for event in events] == ["submitted", "started", "log", "progress", "failed"]
    assert [event.seq for event in events] == [1, 2, 3, 4, 5]


async def test_a_hundred_failures_do_not_use_up_slots(stores: Stores) -> None:
    async with stores.processor(num_workers=4) as jp:
        async with jp.batch() as batch:
            for i in range(100):
                name = list(FAULTS)[i % len(FAULTS)]
                batch.submit_job(FAULTS[name][0], local=True, max_retries=0)
        await jp.drain(timeout=30)
        slots = jp.daemon.runner.slots
        assert slots.free == 4
        assert slots.limiter.borrowed_tokens == 0
        assert await (await jp.submit_job(echo, "alive")) == "alive"


@pytest.mark.parametrize("retried", [True, False], ids=["retried", "not retried"])
async def test_an_attempt_whose_time_is_up_is_tried_again_if_the_policy_retries_timeouts(
    jp: JobProcessor, retried: bool
) -> None:
    attempts: list[int] = []

    async def body() -> int:
        attempts.append(current_job().attempt)
        if len(attempts) == 1:
            await anyio.sleep_forever()
        return len(attempts)

    policy = RetryPolicy(max_retries=1, base=0.0, on=[TimeoutError if retried else ValueError])
    job = await jp.submit_job(body, local=True, timeout=0.05, retry=policy)
    ended = await jp.wait_for_job(job, timeout=PATIENCE)
    assert (ended.status, ended.failures, attempts) == ((COMPLETED, 1, [1, 2]) if retried else (FAILED, 1, [1]))
