"""Whatever is given to the API is understood, or refused with the field: no error of its own code comes out.

Lazy proxies (of web frameworks, of settings, of remote objects) raise when they are looked at; arrays and query
expressions have no truth value. Both get into calls by mistake, or are callables that Python calls.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import datetime, timedelta, tzinfo
from typing import Any

import pytest

from asyncjobs import (
    ConfigurationError,
    DaemonConfig,
    JobExecutionError,
    JobHandle,
    JobProcessor,
    JobQuery,
    JobRequest,
    NotSerializableError,
    RetryPolicy,
    SQLiteConfig,
    gather,
    job,
)
from tests.runtime.support import PATIENCE, echo, nothing, within

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def jp() -> AsyncIterator[JobProcessor]:
    """On one store: all of this is decided before it is asked."""
    async with JobProcessor("memory") as processor:
        yield processor


class Unlooked(Exception):
    """Nobody may see this one."""


# -- callables


class Lazy:
    """Has no attribute beside what its class has; asking for another raises more than AttributeError."""

    error: type[BaseException] = Unlooked

    def __getattr__(self, name: str) -> Any:
        raise self.error(name)

    def __call__(self, x: int) -> int:
        return x + 1


class LazyLookup(Lazy):
    error = LookupError


class LazyStop(Lazy):
    error = StopIteration


class LazySlots:
    __slots__ = ("__weakref__",)

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("working outside of a context")

    def __call__(self, x: int) -> int:
        return x + 1


class LazyAsync(Lazy):
    async def __call__(self, x: int) -> int:
        return x + 1


class Opaque:
    """Nothing about it can be asked, not even its class."""

    def __getattribute__(self, name: str) -> Any:
        raise Unlooked(name)

    def __call__(self, x: int) -> int:
        return x + 1


class OpaqueAsync(Opaque):
    async def __call__(self, x: int) -> int:
        return x + 1


class OpaqueMissing(Opaque):
    def __getattribute__(self, name: str) -> Any:
        raise AttributeError(name)


class Unclassed(Lazy):
    @property
    def __class__(self) -> Any:
        raise Unlooked("__class__")


class Undicted(Lazy):
    @property
    def __dict__(self) -> Any:
        raise Unlooked("__dict__")


lazy, lazy_lookup, lazy_stop, lazy_slots, lazy_async = Lazy(), LazyLookup(), LazyStop(), LazySlots(), LazyAsync()
opaque, opaque_async, opaque_missing, unclassed, undicted = (
    Opaque(),
    OpaqueAsync(),
    OpaqueMissing(),
    Unclassed(),
    Undicted(),
)
CALLABLES: dict[str, Callable[..., Any]] = {
    "lazy": lazy,
    "lazy lookup": lazy_lookup,
    "lazy stop": lazy_stop,
    "lazy slots": lazy_slots,
    "lazy async": lazy_async,
    "opaque": opaque,
    "opaque async": opaque_async,
    "opaque missing": opaque_missing,
    "unclassed": unclassed,
    "undicted": undicted,
    "partial": functools.partial(lazy, x=1),
    "partial opaque": functools.partial(opaque, x=1),
}


@pytest.mark.parametrize("name", CALLABLES)
@pytest.mark.parametrize("local", [False, True], ids=["stored", "local"])
async def test_a_callable_that_cannot_be_looked_at_is_called_as_python_calls_it(
    jp: JobProcessor, name: str, local: bool
) -> None:
    args = () if name.startswith("partial") else (1,)
    assert await within(PATIENCE, await jp.submit_job(CALLABLES[name], *args, local=local)) == 2


@pytest.mark.parametrize("name", ["lazy", "lazy async", "opaque", "opaque async"])
async def test_also_where_it_is_registered_and_in_a_process_of_its_own(jp: JobProcessor, name: str) -> None:
    JobProcessor("memory", functions=[CALLABLES[name]])
    assert await within(30, await jp.submit_job(CALLABLES[name], 1, isolation="process")) == 2


async def test_one_that_fits_no_signature_is_refused_as_any_other(jp: JobProcessor) -> None:
    with pytest.raises(ConfigurationError, match="@job"):
        job(OpaqueSetter())
    with pytest.raises(NotSerializableError, match=r"\$\.func"):
        await jp.submit_job(Opaque())  # nothing in its module leads to this one
    assert await jp.find_jobs() == []


class OpaqueSetter(Opaque):
    def __setattr__(self, name: str, value: object) -> None:
        raise Unlooked(name)


# -- options


class NoTruth:
    def __bool__(self) -> bool:
        raise Unlooked("__bool__")


class NoText:
    def __repr__(self) -> str:
        raise Unlooked("__repr__")


class NoClass:
    @property
    def __class__(self) -> Any:
        raise Unlooked("__class__")


class NoEqual:
    def __eq__(self, other: object) -> bool:
        raise Unlooked("__eq__")

    __hash__ = object.__hash__


class NoItems(list[Any]):
    def __iter__(self) -> Iterator[Any]:
        raise Unlooked("__iter__")


class OnlyItems:
    def __iter__(self) -> Iterator[Any]:
        raise Unlooked("__iter__")


class NoKeys(dict[str, Any]):
    def _raise(self) -> Any:
        raise Unlooked("keys")

    __iter__ = keys = items = __bool__ = _raise


class NoZone(tzinfo):
    def utcoffset(self, moment: datetime | None) -> timedelta:
        raise Unlooked("utcoffset")


HOSTILE: dict[str, Callable[[], Any]] = {
    "no truth": NoTruth,
    "no text": NoText,
    "no class": NoClass,
    "no equality": NoEqual,
    "no items": lambda: NoItems(["x"]),
    "only items": OnlyItems,
    "no keys": lambda: NoKeys(a=1),
}
OPTIONS = sorted(set(JobRequest.__struct_fields__) - {"func"})


@pytest.mark.parametrize("hostile", HOSTILE)
async def test_an_option_that_cannot_be_looked_at_is_refused_by_its_name(jp: JobProcessor, hostile: str) -> None:
    for option in OPTIONS:
        value = HOSTILE[hostile]()
        for submit in (
            lambda: jp.submit_job(nothing, **{option: value}),  # noqa: B023 - it is called before the next round - called at once
            lambda: jp.submit_jobs([JobRequest(func=nothing, **{option: value})]),  # noqa: B023 - it is called before the next round
            lambda: jp.map_jobs(echo, [1], **{option: value}),  # noqa: B023 - it is called before the next round
        ):
            with pytest.raises(ConfigurationError) as caught:
                await submit()
            assert caught.value.field == option, str(caught.value)
    assert await jp.find_jobs() == []


@pytest.mark.parametrize("value", [0, False, "", 0.0, b"", range(0)], ids=repr)
@pytest.mark.parametrize("option", ["depends_on", "metadata", "limit", "retry", "args", "kwargs", "run_at"])
async def test_nothing_is_given_as_none_or_as_an_empty_one_of_its_kind(
    jp: JobProcessor, option: str, value: object
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        await jp.submit_job(nothing, **{option: value})
    assert caught.value.field == option
    assert await jp.find_jobs() == []


@pytest.mark.parametrize("empty", [None, (), [], set(), frozenset(), {}], ids=repr)
async def test_an_empty_list_of_dependencies_is_none(jp: JobProcessor, empty: Any) -> None:
    assert await within(PATIENCE, await jp.submit_job(echo, 1, depends_on=empty)) == 1


class Untrue(list[Any]):
    """Looks false, or has no length, and has items."""

    def __bool__(self) -> bool:
        return False

    def __len__(self) -> int:
        raise Unlooked("__len__")


async def test_what_a_list_has_counts_and_not_its_truth_value(jp: JobProcessor) -> None:
    first = await jp.submit_job(nothing, delay=3600)
    second = await jp.submit_job(nothing, depends_on=Untrue([first]), limit=Untrue(["key", 1]))
    stored = await jp.get_job(second)
    assert (stored.dependencies_met, stored.limit) == (False, "key")
    third = await jp.submit_job(echo, args=Untrue(["x"]))
    assert await within(PATIENCE, third) == "x"
    assert len(await jp.submit_jobs(Untrue([JobRequest(func=nothing)]))) == 1
    assert len(await jp.map_jobs(echo, Untrue([1, 2]))) == 2


async def test_a_moment_whose_zone_raises_is_refused(jp: JobProcessor) -> None:
    with pytest.raises(ConfigurationError, match="run_at"):
        await jp.submit_job(nothing, run_at=datetime(2030, 1, 1, tzinfo=NoZone()))


# -- other doors


Call = Callable[[JobProcessor, Any], Awaitable[Any]]
CALLS: dict[str, tuple[Call, str]] = {
    "submit_jobs": (lambda jp, v: jp.submit_jobs(v), "requests"),
    "map_jobs": (lambda jp, v: jp.map_jobs(echo, v), "items"),
    "find_jobs": (lambda jp, v: jp.find_jobs(v), "query"),
    "cancel_jobs": (lambda jp, v: jp.cancel_jobs(v), "query"),
    "cancel_jobs(group=)": (lambda jp, v: jp.cancel_jobs(group=v), "group"),
    "get_job": (lambda jp, v: jp.get_job(v), "job_id"),
    "wait_for_job": (lambda jp, v: jp.wait_for_job(v), "job_id"),
    "poll_batch": (lambda jp, v: jp.poll_batch(v), "job_ids"),
    "drain": (lambda jp, v: jp.drain(v), "group"),
    "gather": (lambda _, v: gather(v), "handles"),
}


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("call", CALLS)
async def test_also_by_every_other_method(jp: JobProcessor, call: str, hostile: str) -> None:
    made, field = CALLS[call]
    with pytest.raises(ConfigurationError) as caught:
        await within(PATIENCE, made(jp, HOSTILE[hostile]()))
    assert caught.value.field.partition("[")[0] == field, str(caught.value)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_also_where_settings_are_made(hostile: str) -> None:
    for cls in (DaemonConfig, RetryPolicy, SQLiteConfig, JobQuery):
        for setting in cls.__annotations__:
            value = HOSTILE[hostile]()
            if setting in ("allow_network_filesystem", "order", "name") or setting.startswith("_"):
                continue  # looked at where they are used
            with pytest.raises(ConfigurationError) as caught:
                cls(**{setting: value})
            assert setting in caught.value.field
    for argument in ("backend", "config", "enable_daemon", "daemon", "functions", "fallback"):
        with pytest.raises(ConfigurationError):
            JobProcessor(**{argument: HOSTILE[hostile]()})


@pytest.mark.parametrize("hostile", HOSTILE)
async def test_a_value_that_cannot_be_looked_at_is_refused_with_its_path(jp: JobProcessor, hostile: str) -> None:
    value = HOSTILE[hostile]()
    for args in ((value,), ([value],), ({"key": value},)):
        with pytest.raises(NotSerializableError, match=r"\$\.args\[0\]"):
            await jp.submit_job(echo, *args)
    assert await jp.find_jobs() == []


def returns(hostile: str) -> Any:
    return HOSTILE[hostile]()


@pytest.mark.parametrize("hostile", HOSTILE)
async def test_a_result_that_cannot_be_looked_at_fails_its_attempt(jp: JobProcessor, hostile: str) -> None:
    handle: JobHandle[Any] = await jp.submit_job(returns, hostile)
    with pytest.raises(JobExecutionError) as caught:
        await within(PATIENCE, handle)
    assert (caught.value.attempt, "$.result" in caught.value.message) == (1, True)
