"""What is printed of values that cannot be stored."""

from __future__ import annotations

import collections
import datetime as dt
import pathlib
import threading
import uuid
from collections.abc import Callable
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pydantic

from asyncjobs import JobProcessor, MemoryBackend, current_job
from asyncjobs.core.codec.refusals import PLAIN_BASES
from tests.architecture.hints.following import Hints, refusal


async def echo(value: Any) -> Any:
    return value


async def typed(value: dict[str, Any]) -> Any:
    return value


NAMES: dict[str, Any] = {
    "datetime": dt.datetime,
    "date": dt.date,
    "time": dt.time,
    "timedelta": dt.timedelta,
    "Decimal": Decimal,
    "UUID": uuid.UUID,
    "Path": pathlib.Path,
    "PurePath": pathlib.PurePath,
}
SAMPLES: dict[type, tuple[Any, ...]] = {
    dt.datetime: (2026, 3, 1),
    dt.date: (2026, 3, 1),
    dt.time: (12, 30),
    dt.timedelta: (1, 2, 3),
    uuid.UUID: ("12345678123456781234567812345678",),
    Decimal: ("1.50",),
    bytes: (b"abc",),
    bytearray: (b"abc",),
    dict: ({"a": 1},),
    tuple: ((1, 2),),
    list: ([1, 2],),
    set: ({1},),
    frozenset: ({1},),
    str: ("abc",),
    pathlib.Path: ("a/b",),
    pathlib.PurePath: ("a/b",),
}


async def subclasses_of_plain_types(hints: Hints) -> None:
    async with JobProcessor(MemoryBackend()) as jp:
        for base in PLAIN_BASES:
            # A path is made of the kind for this system, and is of a class that can be derived from.
            parent = {pathlib.Path: pathlib.PosixPath, pathlib.PurePath: pathlib.PurePosixPath}.get(base, base)
            kind: Any = type("Own", (parent,), {})
            value = kind(*SAMPLES.get(base, (7,)))
            refused = await refusal(jp.submit_job(echo, value))
            plain = hints.code(refused.hint, PLAIN_BASES[base], value=value, **NAMES)
            assert type(plain) is parent
            assert await (await jp.submit_job(echo, plain)) == plain == value
        safe: Any = type("Safe", (str,), {"__str__": lambda self: self})
        refused = await refusal(jp.submit_job(echo, safe("abc")))
        plain = hints.code(refused.hint, "str.__str__(value)", value=safe("abc"))
        assert await (await jp.submit_job(echo, plain)) == "abc"


async def values_with_a_form_to_pass(hints: Hints) -> None:
    class Mapping(collections.abc.Mapping[str, int]):
        def __getitem__(self, key: str) -> int:
            return {"a": 1}[key]

        def __iter__(self) -> Any:
            return iter(["a"])

        def __len__(self) -> int:
            return 1

    secret = pydantic.SecretStr("hunter2")
    coroutine = echo(1)
    cases: list[tuple[Any, str, dict[str, Any], Any]] = [
        (collections.deque([1, 2]), "list(…)", {}, [1, 2]),
        ({"a": 1}.keys(), "list(…)", {}, ["a"]),
        (Mapping(), "dict(…)", {}, {"a": 1}),
        (memoryview(b"abc"), "bytes(…)", {}, b"abc"),
        (ValueError("no"), "str(error)", {}, "no"),
        (secret, "value.get_secret_value()", {}, "hunter2"),
        ("a\ud800", "text.encode('utf-8', 'replace').decode()", {}, "a?"),
    ]
    async with JobProcessor(MemoryBackend()) as jp:
        for value, code, names, expected in cases:
            refused = await refusal(jp.submit_job(echo, value))
            known = {"value": value, "error": value, "text": value, "given": value}
            plain = hints.code(refused.hint, code, "given", **known, **names)
            assert await (await jp.submit_job(echo, plain)) == expected
        awaited = await refusal(jp.submit_job(echo, coroutine))
        assert "await it first" in hints.follow(awaited.hint)
        assert await (await jp.submit_job(echo, await coroutine)) == 1
        assert await (await jp.submit_job(echo, await jp.submit_job(echo, 1))) == 1
        lock = await refusal(jp.submit_job(echo, threading.Lock()))
        assert "limit=(name, n)" in hints.follow(lock.hint)
        await (await jp.submit_job(echo, 1, limit=("name", 1)))


class Of:
    """A class as one of a library: by the names that are looked at, since the library is not needed for it."""

    def __new__(cls, module: str, name: str, bases: tuple[type, ...], **members: Any) -> Any:
        return type(name, bases, {"__module__": module, **members})


def in_us(plain: object) -> SimpleNamespace:
    """A value of numpy in microseconds."""
    return SimpleNamespace(item=lambda: plain)


async def values_of_libraries(hints: Hints) -> None:
    """By the names of their classes: numpy and pandas are not needed, nor pydantic 1."""
    moment, day = dt.datetime(2026, 3, 1), dt.timedelta(days=1)
    scalar: Any = Of("numpy", "generic", (), item=lambda self: 1.5)
    stamp: Any = Of("pandas.x", "Timestamp", (dt.datetime,), to_pydatetime=lambda self: moment)
    delta: Any = Of("pandas.x", "Timedelta", (dt.timedelta,), to_pytimedelta=lambda self: day)
    named: Any = Of("numpy", "datetime64", (scalar,), astype=lambda self, to: {"datetime64[us]": in_us(moment)}[to])
    span: Any = Of("numpy", "timedelta64", (scalar,), astype=lambda self, to: {"timedelta64[us]": in_us(day)}[to])
    real: Any = Of("numpy", "longdouble", (scalar,), __float__=lambda self: 2.5)
    imaginary: Any = Of("numpy", "clongdouble", (scalar,), __complex__=lambda self: 2j)
    frozen: Any = Of("freezegun.api", "FakeDatetime", (dt.datetime,))
    frozen_date: Any = Of("freezegun.api", "FakeDate", (dt.date,))
    freezegun = SimpleNamespace(api=SimpleNamespace(real_datetime=dt.datetime, real_date=dt.date))
    model: Any = Of("pydantic.main", "BaseModel", (), dict=lambda self: {"a": 1})
    cases: list[tuple[Any, str, Callable[..., Any], Any]] = [
        (scalar(), "value.item()", echo, 1.5),
        (named(), "value.astype('datetime64[us]').item()", echo, moment),
        (span(), "value.astype('timedelta64[us]').item()", echo, day),
        (real(), "float(value)", echo, 2.5),
        (imaginary(), "complex(value)", echo, 2j),
        (frozen(2026, 3, 1), "freezegun.api.real_datetime.fromisoformat(value.isoformat())", echo, moment),
        (frozen_date(2026, 3, 1), "freezegun.api.real_date.fromisoformat(value.isoformat())", echo, moment.date()),
        (stamp(2026, 3, 1), "value.to_pydatetime()", echo, moment),
        (delta(1), "value.to_pytimedelta()", echo, day),
        (model(), "model.dict()", typed, {"a": 1}),
    ]
    async with JobProcessor(MemoryBackend()) as jp:
        for value, code, function, expected in cases:
            refused = await refusal(jp.submit_job(echo, value))
            plain = hints.code(refused.hint, code, value=value, model=value, freezegun=freezegun)
            assert await (await jp.submit_job(function, plain)) == expected


async def metadata_and_events(hints: Hints) -> None:
    async with JobProcessor(MemoryBackend()) as jp:
        key, number = 1, 10**400
        keyed = await refusal(jp.submit_job(echo, 1, metadata={key: 1}))
        good = hints.code(keyed.hint, "str(key)", key=key)
        large = await refusal(jp.submit_job(echo, 1, metadata={"n": number}))
        text = hints.code(large.hint, "str(number)", number=number)
        job = await jp.submit_job(echo, 1, metadata={good: 1, "n": text})
        assert (await jp.get_job(job)).metadata == {"1": 1, "n": text}

        async def body() -> None:
            current_job().emit("mine", {"x": threading.Lock()})
            current_job().emit("mine", {"x": str(threading.Lock()), "n": float("1")})

        job = await jp.submit_job(body, local=True)
        events = [event async for event in jp.stream_job(job, types=["log", "mine"])]
        assert [event.type for event in events] == ["log", "mine"]
        hints.follow(events[0].data["message"])


class Scaled(pydantic.BaseModel):
    """A model that is another one each time it is validated."""

    x: float

    @pydantic.field_validator("x")
    @classmethod
    def twice(cls, value: float) -> float:
        return 2 * value


class ScaledAt(Scaled):
    url: pydantic.AnyUrl


async def models_that_do_not_come_back(hints: Hints) -> None:
    async with JobProcessor(MemoryBackend()) as jp:
        for model, code in (
            (Scaled(x=1), "model.model_dump()"),
            (ScaledAt(x=1, url="https://example.org"), "model.model_dump(mode='json')"),
        ):
            refused = await refusal(jp.submit_job(echo, model))
            plain = hints.code(refused.hint, code, model=model)
            assert await (await jp.submit_job(typed, plain)) == plain


async def takes_timeout(timeout: float) -> float:
    return timeout


async def parameters_named_like_options(hints: Hints) -> None:
    async with JobProcessor(MemoryBackend()) as jp:
        refused = await refusal(jp.submit_job(takes_timeout, 1.0))
        hints.follow(refused.hint)
        given = refused.hint.partition("as such: ")[2].partition(";")[0]
        call = f"jp.submit_job(function, {given.replace('…', '', 1).replace('…', '1.0')})"
        assert await (await eval(call, {"jp": jp, "function": takes_timeout})) == 1.0
