"""Callables that are wrapped, or marked with ``@job``: what runs, and with which options."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial, singledispatch, update_wrapper, wraps
from typing import Any

import anyio
import pytest

from asyncjobs import (
    ConfigurationError,
    JobCancelledError,
    JobExecutionError,
    JobProcessor,
    current_job,
)
from asyncjobs import job as marked
from tests.runtime.support import Held, add, echo, echo_sync, until

pytestmark = pytest.mark.anyio


who: ContextVar[str] = ContextVar("who", default="nobody")


class Adder:
    def __call__(self, value: int) -> int:
        return value + 1


def with_session(func: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return func("session", *args, **kwargs)

    return wrapper


def plainly(func: Callable[..., Any]) -> Callable[..., Any]:
    """A plain wrapper, around whatever it is."""

    @wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        who.set(f"wrapped in {threading.current_thread().name.partition('-')[0]}")
        return func(*args, **kwargs)

    return wrapper


@with_session
def query(session: str, number: int) -> list[Any]:
    return [session, number]


@plainly
async def wrapped_async(value: int) -> list[Any]:
    await anyio.lowlevel.checkpoint()
    return [value, threading.current_thread().name, who.get(), current_job().attempt]


@plainly
async def wrapped_async_that_waits() -> None:
    await anyio.sleep_forever()


@plainly
async def wrapped_async_that_fails() -> None:
    raise ValueError("boom")


@with_session
def runs_a_loop_of_its_own(session: str) -> str:
    return asyncio.run(echo(session))


@singledispatch
def either(value: Any) -> str:
    return f"plain {value}"


@either.register
async def _(value: int) -> str:
    return f"async {value}"


class CountedCalls:
    def __init__(self, func: Callable[..., Any]) -> None:
        update_wrapper(self, func)
        self.func = func

    def __call__(self, *args: Any) -> Any:
        return self.func(*args)


@CountedCalls
async def counted(value: int) -> int:
    return value + 1


class Awaitable:
    """Its class is the callable, so it is the result, although it can be awaited."""

    def __await__(self) -> Any:
        raise AssertionError("nobody awaits it")
        yield


@pytest.mark.parametrize("local", [False, True])
async def test_a_wrapper_that_supplies_an_argument_takes_the_others(jp: JobProcessor, local: bool) -> None:
    assert await (await jp.submit_job(query, 7, local=local)) == ["session", 7]
    assert await (await jp.submit_job(partial(query, number=8), local=local)) == ["session", 8]


@pytest.mark.parametrize("isolation", ["thread", "process"])
async def test_a_plain_wrapper_around_an_async_function_is_awaited(jp: JobProcessor, isolation: Any) -> None:
    value, thread, seen, attempt = await (await jp.submit_job(wrapped_async, 3, isolation=isolation))
    assert (value, attempt) == (3, 1)
    if isolation == "thread":  # the wrapper in a thread, where it may block; the coroutine on the loop
        assert (thread, seen) == (threading.current_thread().name, "wrapped in asyncjobs")


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (lambda: echo("from a lambda"), "from a lambda"),
        (partial(lambda value: echo(value), "from a partial"), "from a partial"),
        (CountedCalls(echo_sync), "plain"),
        (CountedCalls(echo), "async"),
    ],
    ids=["lambda", "partial", "object", "object of async"],
)
async def test_what_returns_a_coroutine_is_awaited(jp: JobProcessor, body: Callable[..., Any], wanted: Any) -> None:
    args = (wanted,) if isinstance(body, CountedCalls) else ()
    assert await (await jp.submit_job(body, *args, local=True)) == wanted


async def test_an_object_that_wraps_an_async_function_is_awaited(jp: JobProcessor) -> None:
    assert await (await jp.submit_job(counted, 1)) == 2


async def test_implementations_of_singledispatch_may_be_plain_or_async(jp: JobProcessor) -> None:
    assert await (await jp.submit_job(either, "a")) == "plain a"
    assert await (await jp.submit_job(either, 1)) == "async 1"


async def test_a_wrapper_that_runs_a_loop_of_its_own_may_do_so(jp: JobProcessor) -> None:
    assert await (await jp.submit_job(runs_a_loop_of_its_own)) == "session"


async def test_what_a_class_makes_is_the_result_also_if_it_can_be_awaited(jp: JobProcessor) -> None:
    job = await jp.submit_job(Awaitable, max_retries=0)
    with pytest.raises(JobExecutionError, match=r"\$\.result is an? .*Awaitable, which cannot be stored"):
        await job


@pytest.mark.parametrize("isolation", ["thread", "process"])
async def test_a_wrapped_coroutine_fails_and_stops_as_an_async_body(jp: JobProcessor, isolation: Any) -> None:
    with pytest.raises(JobExecutionError, match="ValueError: boom"):
        await (await jp.submit_job(wrapped_async_that_fails, max_retries=0, isolation=isolation))
    with pytest.raises(JobExecutionError, match="TimeoutError"):  # and no warning: a coroutine can be stopped
        await (await jp.submit_job(wrapped_async_that_waits, max_retries=0, timeout=0.05, isolation=isolation))
    job = await jp.submit_job(wrapped_async_that_waits, isolation=isolation)
    await until(jp, job, "started")
    await job.cancel()
    with pytest.raises(JobCancelledError):
        await job


async def test_a_coroutine_is_dropped_if_its_wrapper_was_told_to_stop(jp: JobProcessor) -> None:
    """And Python does not warn of a coroutine that was never awaited."""
    held, begun = Held(), []

    async def inner() -> None:
        begun.append(True)

    def body() -> Any:
        held.sync()
        return inner()

    job = await jp.submit_job(body, local=True)
    await held.started.wait()
    await job.cancel()
    held.go.open()
    with pytest.raises(JobCancelledError):
        await job
    assert begun == []


# -- @job on all of them


@marked(queue="gpu", timeout=3, max_retries=0)
async def render(a: int, b: int) -> list[int]:
    return [a, b]


class Renderer:
    @marked(queue="gpu", max_retries=1)
    @staticmethod
    async def above_static() -> None: ...

    @staticmethod
    @marked(queue="gpu", max_retries=1)
    async def below_static() -> None: ...

    @marked(queue="gpu", max_retries=1)
    @classmethod
    async def above_class(cls) -> None: ...

    @classmethod
    @marked(queue="gpu", max_retries=1)
    async def below_class(cls) -> None: ...

    @marked(queue="gpu", max_retries=1)
    @plainly
    async def above_wrapper(self) -> None: ...

    @plainly
    @marked(queue="gpu", max_retries=1)
    async def below_wrapper(self) -> None: ...


class SubRenderer(Renderer):
    pass


@pytest.mark.parametrize(
    "callee",
    [
        Renderer.above_static,
        Renderer.below_static,
        Renderer.above_class,
        Renderer.below_class,
        SubRenderer.above_class,
        partial(Renderer.above_wrapper, None),
        partial(Renderer.below_wrapper, None),
        marked(queue="gpu", max_retries=1)(partial(echo, None)),
        marked(queue="gpu")(partial(marked(queue="cpu", max_retries=1)(add), 1, 2)),
    ],
)
async def test_options_of_the_decorator_are_kept_wherever_it_stands(jp: JobProcessor, callee: Any) -> None:
    stored = await jp.get_job(await jp.submit_job(callee))
    assert (stored.queue, stored.max_retries) == ("gpu", 1)


async def test_a_partial_of_a_marked_function_keeps_its_options(jp: JobProcessor) -> None:
    stored = await jp.get_job(await jp.submit_job(partial(partial(render, 1), 2)))
    assert (stored.queue, stored.timeout, stored.max_retries) == ("gpu", 3.0, 0)
    again = await jp.get_job(await jp.submit_job(partial(render, 1), 2, queue="other", local=True))
    assert (again.queue, again.timeout) == ("other", 3.0)


async def test_an_object_with_any_attribute_is_not_marked(jp: JobProcessor) -> None:
    class Proxy:
        def __getattr__(self, name: str) -> Any:
            return self if not name.startswith("__wrapped") else None

        def __call__(self) -> int:
            return 1

    assert await (await jp.submit_job(Proxy(), local=True)) == 1


@pytest.mark.parametrize("what", [len, Adder().__call__, property(lambda self: 1), 3])
def test_what_takes_no_mark_is_refused_with_the_mend(what: Any) -> None:
    with pytest.raises(ConfigurationError, match="mark a function that calls it"):
        marked(queue="gpu")(what)
