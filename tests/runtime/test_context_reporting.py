"""What a body reports about itself never fails it: what cannot be stored becomes a warning in its log, and names the
call, the field and the value."""

from __future__ import annotations

import enum
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

import pytest
from msgspec import json

from asyncjobs import JobEvent, JobProcessor, current_job
from asyncjobs.core.codec.wire import MAX_DEPTH
from asyncjobs.models import Handle
from asyncjobs.runtime.context import JobContext
from asyncjobs.runtime.submission import Optional
from tests.runtime import isolated
from tests.runtime.support import PATIENCE, everything

pytestmark = pytest.mark.anyio


class Float64(float):
    """As numpy's: a subclass of float."""


class Whole(int):
    """A subclass of int."""


class Words(str):
    """A subclass of str, whose methods are its own."""

    def encode(self, *args: Any) -> bytes:
        raise RuntimeError("no bytes")


class Colour(enum.Enum):
    RED = "red"


class Kind(str, enum.Enum):  # noqa: UP042 - the older spelling
    LOUD = "loudness"


@dataclass
class Point:
    x: int


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no text")

    __str__ = __repr__


class Proxy:
    @property
    def __class__(self) -> Any:
        raise RuntimeError("outside of the context")


class Leaky(Mapping[str, Any]):
    def __getitem__(self, key: str) -> Any:
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        raise ConnectionError("the dict is on a server that is away")

    def __len__(self) -> int:
        return 1


def nested(levels: int) -> Any:
    value: Any = 1
    for level in range(levels):
        value = [value] if level % 2 else {"in": value}
    return value


async def reported(jp: JobProcessor, *calls: Callable[[JobContext], None]) -> list[JobEvent]:
    """What is stored of these calls by a body, which completes."""

    async def body() -> str:
        for call in calls:
            call(current_job())
        return "done"

    job = await jp.submit_job(body, local=True, max_retries=0)
    assert await job.result(timeout=PATIENCE) == "done"
    events = await everything(jp.stream_job(job))
    json.encode([event.data for event in events])  # every stream can send it
    return events[2:-1]


UNDERSTOOD: dict[str, tuple[Callable[[JobContext], None], Any]] = {
    "progress, float subclass": (lambda job: job.progress(Float64(5), 10), {"done": 5.0, "total": 10, "message": None}),
    "progress, int subclass": (lambda job: job.progress(Whole(5)), {"done": 5, "total": None, "message": None}),
    "progress, Decimal": (
        lambda job: job.progress(Decimal("0.5"), Fraction(1, 1)),
        {"done": 0.5, "total": 1.0, "message": None},
    ),
    "progress, any message": (
        lambda job: job.progress(1, message=Path),
        {"done": 1, "total": None, "message": "a path"},
    ),
    "emit, float subclass": (lambda job: job.emit("m", {"loss": Float64(5)}), {"loss": 5.0}),
    "emit, nested float subclass": (lambda job: job.emit("m", {"all": [Float64(5)]}), {"all": [5.0]}),
    "emit, Decimal": (lambda job: job.emit("m", {"loss": Decimal("0.10")}), {"loss": "0.10"}),
    "emit, str subclass": (lambda job: job.emit("m", {Words("k"): Words("v")}), {"k": "v"}),
    "emit, whole keys": (lambda job: job.emit("m", {1: {2: "b"}}), {"1": {"2": "b"}}),
    "emit, enums": (
        lambda job: job.emit("m", {"a": Colour.RED, Kind.LOUD: Kind.LOUD}),
        {"a": "red", "loudness": "loudness"},
    ),
    "emit, a surrogate": (lambda job: job.emit("m", {"t": "\udc80"}), {"t": "\\udc80"}),
    "emit, sets and tuples": (lambda job: job.emit("m", {"s": {1}, "t": (2,)}), {"s": [1], "t": [2]}),
    "emit, a datetime": (
        lambda job: job.emit("m", {"at": datetime(2030, 1, 1, tzinfo=UTC), "id": UUID(int=1)}),
        {"at": "2030-01-01T00:00:00Z", "id": str(UUID(int=1))},
    ),
    "emit, a dataclass": (lambda job: job.emit("m", {"p": Point(1)}), {"p": {"x": 1}}),
    "emit, as deep as may be": (lambda job: job.emit("m", {"v": nested(MAX_DEPTH - 1)}), {"v": nested(MAX_DEPTH - 1)}),
    "append, str subclasses": (
        lambda job: job.emit("m", {Words("k"): Words("v")}, append=Words("k")),
        {"k": "v"},
    ),
    "append, enums": (lambda job: job.emit("m", {Kind.LOUD: Kind.LOUD}, append=Kind.LOUD), {"loudness": "loudness"}),
    "append, a surrogate": (lambda job: job.emit("m", {"t": "\udc80"}, append="t"), {"t": "\\udc80"}),
    "append, NUL": (lambda job: job.emit("m", {"t": "a\0"}, append="t"), {"t": "a\0"}),
    "append, nothing": (lambda job: job.emit("m", {"t": ""}, append="t"), {"t": ""}),
    "emit, nothing": (lambda job: job.emit("m", None), {}),
    "log, a level of logging": (lambda job: job.log("x", logging.WARNING), {"level": "warning", "message": "x"}),
    "log, a level between": (lambda job: job.log("x", 35), {"level": "warning", "message": "x"}),
    "log, float subclass": (
        lambda job: job.log("x", loss=Float64(5), n=Whole(2), d=Decimal(5)),
        {"level": "info", "message": "x", "fields": {"loss": 5.0, "n": 2, "d": "5"}},
    ),
    "log, fields that cannot be printed": (
        lambda job: job.log("x", a=Unprintable(), b=Proxy(), self=1),
        {
            "level": "info",
            "message": "x",
            "fields": {
                "a": f"<{__name__}.Unprintable that cannot be printed>",
                "b": f"<{__name__}.Proxy that cannot be printed>",
                "self": 1,
            },
        },
    ),
    "log, no text": (
        lambda job: job.log(Unprintable()),
        {"level": "info", "message": f"<{__name__}.Unprintable that cannot be printed>"},
    ),
}


class _Path:
    def __str__(self) -> str:
        return "a path"


Path: Any = _Path()


@pytest.mark.parametrize("what", UNDERSTOOD)
async def test_what_is_understood_is_stored(jp: JobProcessor, what: str) -> None:
    call, data = UNDERSTOOD[what]
    [event] = await reported(jp, call)
    assert event.data == data
    assert _kinds(event.data) == _kinds(data)


def _kinds(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _kinds(item) for key, item in value.items()}
    return [_kinds(item) for item in value] if isinstance(value, list) else type(value)


LEFT_OUT: dict[str, tuple[Callable[[JobContext], None], tuple[str, ...]]] = {
    "progress, NaN": (lambda job: job.progress(float("nan")), ("progress(done)", "nan")),
    "progress, infinite": (lambda job: job.progress(1, float("inf")), ("progress(total)", "inf")),
    "progress, too large": (lambda job: job.progress(1 << 80), ("progress(done)", str(1 << 80))),
    "progress, a total too large": (lambda job: job.progress(1, 1 << 64), ("progress(total)", str(1 << 64))),
    "progress, a text": (lambda job: job.progress("half"), ("progress(done)", "'half'")),
    "progress, True": (lambda job: job.progress(True), ("progress(done)", "True")),
    "progress, sNaN": (lambda job: job.progress(Decimal("sNaN")), ("progress(done)", "sNaN")),
    "progress, a proxy": (lambda job: job.progress(Proxy()), ("progress(done)",)),
    "emit, the engine's type": (lambda job: job.emit("completed"), ("emit(type)", "'completed'")),
    "emit, progress by hand": (lambda job: job.emit("progress"), ("emit(type)", "'progress'")),
    "emit, no type": (lambda job: job.emit(""), ("emit(type)", "''")),
    "emit, a long type": (lambda job: job.emit("x" * 65), ("emit(type)", "xxx")),
    "emit, a type of two lines": (lambda job: job.emit("a\nb"), ("emit(type)", "'a\\nb'")),
    "emit, a number as type": (lambda job: job.emit(5), ("emit(type)", "5")),
    "emit, a handle as type": (lambda job: job.emit(Handle("a-job")), ("emit(type)", "'a-job'", "the handle of a job")),
    "emit, an optional one as type": (lambda job: job.emit(Optional("a-job")), ("emit(type)", "the handle of a job")),
    "emit, None as type": (lambda job: job.emit(None), ("emit(type)", "None is not a text")),
    "emit, bytes as type": (lambda job: job.emit(b"x"), ("emit(type)", "b'x' is not a text")),
    "emit, a list as type": (lambda job: job.emit(["x"]), ("emit(type)", "['x'] is not a text")),
    "emit, a proxy as type": (lambda job: job.emit(Proxy()), ("emit(type)",)),
    "emit, an object": (lambda job: job.emit("m", {"x": [object()]}), ("emit('m', data)", "$.data.x[0]", "object")),
    "emit, a lock": (lambda job: job.emit("m", {"x": threading.Lock()}), ("emit('m', data)", "$.data.x", "lock")),
    "emit, a huge number": (lambda job: job.emit("m", {"x": 1 << 80}), ("emit('m', data)", "$.data.x", str(1 << 80))),
    "emit, too much": (lambda job: job.emit("m", {"x": "y" * 70_000}), ("emit('m', data)", "70,0", "yyy")),
    "emit, no dict": (lambda job: job.emit("m", [1]), ("emit('m', data)", "[1]")),
    "emit, odd keys": (lambda job: job.emit("m", {"k": {(1,): 2}}), ("emit('m', data)", "$.data.k", "(1,)")),
    "emit, equal keys": (lambda job: job.emit("m", {1: 1, "1": 2}), ("emit('m', data)", "'1'")),
    "emit, too deep": (lambda job: job.emit("m", {"v": nested(MAX_DEPTH)}), ("emit('m', data)", "nested deeper")),
    "emit, far too deep": (lambda job: job.emit("m", {"v": nested(100_000)}), ("emit('m', data)", "nested deeper")),
    "emit, a mapping that raises": (lambda job: job.emit("m", Leaky()), ("emit('m', data)", "ConnectionError")),
    "emit, a proxy": (lambda job: job.emit("m", {"x": Proxy()}), ("emit('m', data)", "RuntimeError")),
    "append, no such field": (
        lambda job: job.emit("m", {"text": "a"}, append="txt"),
        ("emit('m', append)", "'txt' is not a field", "did you mean 'text'?"),
    ),
    "append, no data": (lambda job: job.emit("m", append="text"), ("emit('m', append)", "'text' is not a field")),
    "append, a number": (
        lambda job: job.emit("m", {"n": 5}, append="n"),
        ("emit('m', append='n')", "5 is not a text"),
    ),
    "append, bytes": (
        lambda job: job.emit("m", {"t": b"a"}, append="t"),
        ("emit('m', append='t')", "b'a' is not a text"),
    ),
    "append, None": (
        lambda job: job.emit("m", {"t": None}, append="t"),
        ("emit('m', append='t')", "None is not a text"),
    ),
    "append, a list": (lambda job: job.emit("m", {"t": ["a"]}, append="t"), ("emit('m', append='t')", "['a'] is not")),
    "append, by a number": (
        lambda job: job.emit("m", {1: "a"}, append=1),
        ("emit('m', append)", "1 is not a text"),
    ),
    "append, by True": (lambda job: job.emit("m", {"t": ""}, append=True), ("append)", "True is not a text")),
    "append, by a handle": (
        lambda job: job.emit("m", {"t": ""}, append=Handle("a-job")),
        ("emit('m', append)", "'a-job' is not a field"),
    ),
    "append, by a proxy": (lambda job: job.emit("m", {"t": ""}, append=Proxy()), ("append)",)),
    "append, 5 MB": (
        lambda job: job.emit("m", {"t": "y" * 5_000_000}, append="t"),
        ("emit('m', data)", "5,000,00", "yyy", "emit it in pieces"),
    ),
    "append, the engine's type": (
        lambda job: job.emit("log", {"t": ""}, append="t"),
        ("emit(type)", "'log'"),
    ),
    "log, no level": (lambda job: job.log("x", "loud"), ("log(level)", "'loud'")),
    "log, None as level": (lambda job: job.log("x", None), ("log(level)", "None")),
    "log, a proxy as level": (lambda job: job.log("x", Proxy()), ("log(level)",)),
}


@pytest.mark.parametrize("what", LEFT_OUT)
async def test_what_cannot_be_stored_is_a_warning_that_names_it(jp: JobProcessor, what: str) -> None:
    call, names = LEFT_OUT[what]
    warning, *rest = await reported(jp, call)
    assert (warning.type, warning.data["level"], warning.data["logger"]) == ("log", "warning", "asyncjobs")
    assert all(name in warning.data["message"] for name in names), warning.data["message"]
    assert [event.data for event in rest] == ([{"level": "info", "message": "x"}] if what.startswith("log") else [])


async def test_a_value_that_holds_itself_is_too_deep(jp: JobProcessor) -> None:
    loop: dict[str, Any] = {}
    loop["in"] = loop
    [warning] = await reported(jp, lambda job: job.emit("m", loop))
    assert "nested deeper" in warning.data["message"]


async def test_in_a_process_of_its_own_too(jp: JobProcessor) -> None:
    job = await jp.submit_job(isolated.report_oddly, isolation="process", max_retries=0)
    assert await job.result(timeout=3 * PATIENCE) == "done"
    events = [event for event in await everything(jp.stream_job(job)) if event.type in ("log", "m", "progress")]
    assert [(event.type, event.data.get("level")) for event in events] == [
        ("log", "warning"), ("m", None), ("log", "warning"), ("log", "warning"), ("progress", None),
    ]  # fmt: skip
    assert events[1].data == {"1": 0.5}
