"""Callables, results and exceptions that misbehave cost their own job, and nobody else anything (rule 4.15)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from asyncjobs import Job, JobProcessor, JobStatus, RetryPolicy, SubmissionError
from tests.runtime.support import PATIENCE, Stores, add, within

pytestmark = pytest.mark.anyio


async def ended(jp: JobProcessor, job: str) -> Job:
    return await within(PATIENCE, jp.wait_for_job(job))


async def works(jp: JobProcessor) -> None:
    """Others run, in every slot: none is lost."""
    slots = sum(worker.slots for worker in await jp.workers())
    handles = await jp.submit_jobs([request(add, 1, 2) for _ in range(slots + 1)])
    assert [await within(PATIENCE, handle) for handle in handles] == [3] * (slots + 1)


def request(func: Callable[..., Any], *args: Any) -> Any:
    from asyncjobs import JobRequest

    return JobRequest(func=func, args=args)


# -- callables that are false, cannot be compared, cannot be hashed


class Steps(list[Any]):
    """An empty pipeline: false."""

    def __call__(self, x: int) -> list[Any]:
        return [step(x) for step in self]


class Expression:
    """As arrays and query expressions are: without a truth value, equal to nothing."""

    def __bool__(self) -> bool:
        raise ValueError("its truth value is ambiguous")

    def __eq__(self, other: object) -> Any:
        raise ValueError("compared element by element")

    def __hash__(self) -> int:
        raise RuntimeError("no hash")

    def __call__(self, x: int) -> int:
        return x


class Sized:
    """False by its length."""

    def __len__(self) -> int:
        return 0

    async def __call__(self, x: int) -> int:
        return x


steps = Steps()
expression = Expression()
sized = Sized()


@pytest.mark.parametrize(
    ("body", "result"), [(steps, []), (expression, 1), (sized, 1)], ids=["empty", "ambiguous", "sized"]
)
@pytest.mark.parametrize("local", [False, True])
async def test_a_callable_without_truth_is_run_like_any_other(
    jp: JobProcessor, body: Callable[..., Any], result: Any, local: bool
) -> None:
    assert await within(PATIENCE, (await jp.submit_job(body, 1, local=local))) == result
    await works(jp)


# -- functions that became something else since they were stored


class Proxy:
    """A lazy proxy outside of its context: whatever is asked of it raises."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError("working outside of the context")

    def __call__(self, x: int) -> int:
        return x


def generator(x: int) -> Iterator[int]:
    yield x


async def async_generator(x: int) -> Any:
    yield x


class Meta(type):
    """Its classes say nothing of themselves."""

    def __getattribute__(cls, name: str) -> Any:
        if name in {"__qualname__", "__name__", "__module__", "__mro__"}:
            raise RuntimeError(f"no {name}")
        return super().__getattribute__(name)


class Nameless(metaclass=Meta):
    def __init__(self, x: int) -> None:
        pass


class Unwilling:
    """A class that cannot be called with what was stored."""

    def __init__(self) -> None:
        pass


def original(x: int) -> int:
    return x


@pytest.fixture
def app() -> Iterator[ModuleType]:
    """A module of the program's own, whose function is what the first version has."""
    module = ModuleType("hostile_app")
    sys.modules["hostile_app"] = module
    _own(module, original)
    yield module
    del sys.modules["hostile_app"]


def _own(module: ModuleType, function: Any) -> None:
    if isinstance(function, type) or callable(function):
        try:
            function.__module__, function.__qualname__ = "hostile_app", "work"
        except Exception:  # the proxy
            pass
    module.work = function
    module.__file__ = __file__


@pytest.mark.parametrize(
    ("became", "says"),
    [
        (generator, "generator function"),
        (async_generator, "generator function"),
        (type("work", (), {"__init__": lambda self: None, "__module__": "hostile_app"}), "TypeError"),
    ],
    ids=["a generator", "an async generator", "a class"],
)
@pytest.mark.persistent
async def test_a_function_that_became_something_else_fails_its_own_jobs(
    stores: Stores, app: ModuleType, became: Any, says: str
) -> None:
    async with stores.processor(enable_daemon=False) as jp:
        await jp.submit_job(original, 1, job_id="old", max_retries=0)
    _own(app, became)
    async with stores.processor() as jp:
        job = await ended(jp, "old")
        assert job.status is JobStatus.FAILED
        assert job.error is not None
        assert says in f"{job.error.error_type}: {job.error.message}"
        await works(jp)


@pytest.mark.persistent
async def test_a_lazy_proxy_is_left_alone_and_why_says_so(stores: Stores, app: ModuleType) -> None:
    async with stores.processor(enable_daemon=False) as jp:
        await jp.submit_job(original, 1, job_id="old", max_retries=0)
    app.work = Proxy()
    async with stores.processor() as jp:
        await works(jp)
        reason = await jp.why("old")
        assert reason.code == "not_allowed"
        assert "RuntimeError" in reason.sentence


async def test_a_generator_is_refused_at_submit(jp: JobProcessor) -> None:
    with pytest.raises(SubmissionError, match="generator"):
        await jp.submit_job(generator, 1, local=True)


# -- exceptions that cannot name or print themselves


class NamelessError(Exception, metaclass=Meta):
    pass


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class Text(str):
    """A text whose methods are the program's own."""

    def encode(self, *args: Any) -> bytes:
        raise RuntimeError("no bytes")

    def __getitem__(self, key: Any) -> Any:
        raise RuntimeError("no part")


class OddTextError(Exception):
    def __str__(self) -> str:
        return Text("odd")


class TracelessError(Exception):
    @property
    def __traceback__(self) -> Any:
        raise RuntimeError("no traceback")

    @property
    def __class__(self) -> Any:
        raise RuntimeError("no class")


class ModulelessError(Exception):
    pass


ModulelessError.__module__ = 3

ERRORS = [NamelessError, UnprintableError, OddTextError, TracelessError, ModulelessError]


@pytest.mark.parametrize("error", ERRORS, ids=range(len(ERRORS)))
@pytest.mark.parametrize("how", ["async", "plain"])
@pytest.mark.parametrize("policy", [RetryPolicy(max_retries=0), RetryPolicy(max_retries=1, base=0, on=["ValueError"])])
async def test_an_exception_that_misbehaves_is_its_jobs_failure(
    jp: JobProcessor, error: type[Exception], how: str, policy: RetryPolicy
) -> None:
    def plain() -> None:
        raise error("x")

    async def coroutine() -> None:
        raise error("x")

    job = await ended(jp, await jp.submit_job(plain if how == "plain" else coroutine, local=True, retry=policy))
    assert job.status is JobStatus.FAILED
    assert job.attempt == 1
    assert job.error is not None
    assert job.error.error_type
    await works(jp)


def raises_nameless() -> None:
    raise NamelessError("x")


async def test_an_exception_that_misbehaves_in_a_process_of_its_own(jp: JobProcessor) -> None:
    job = await ended(jp, await jp.submit_job(raises_nameless, isolation="process", max_retries=0))
    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert job.error.error_type.endswith("NamelessError")


# -- results that raise when they are looked at


class Result:
    @property
    def __class__(self) -> Any:
        raise RuntimeError("working outside of the context")


@pytest.mark.parametrize("how", ["async", "plain"])
async def test_a_result_that_cannot_be_stored_fails_its_attempt_without_a_retry(jp: JobProcessor, how: str) -> None:
    def plain() -> Any:
        return Result()

    async def coroutine() -> Any:
        return {"nested": [Result()]}

    job = await ended(jp, await jp.submit_job(plain if how == "plain" else coroutine, local=True, max_retries=3))
    assert job.status is JobStatus.FAILED
    assert job.attempt == 1
    await works(jp)
