"""Values that cannot be stored: each refusal says what it is, where it is, and what to do instead."""

from __future__ import annotations

import collections
import datetime as dt
import io
import sys
import threading
import time
from dataclasses import InitVar, dataclass, field
from decimal import Decimal
from enum import Enum
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import pytest

from asyncjobs.core.codec import decode_value, encode_call, encode_value
from asyncjobs.core.codec.names import type_name, with_article
from asyncjobs.exceptions import NotSerializableError
from asyncjobs.models import Handle

HERE = __name__


class Carrier(Enum):
    STREAM = io.StringIO
    LOCK = threading.Lock()


class Point(NamedTuple):
    x: int
    y: Any = None


@dataclass(frozen=True)
class Size:
    width: int
    height: Any = 2
    area: int = field(init=False, default=0)
    scale: InitVar[int] = 1


class Shape(msgspec.Struct):
    name: str
    size: Size


class Boxed(Enum):
    """Its members can be in a set; what they are where the class is not loaded cannot."""

    LIST = [1]
    DICT = {"a": 1}
    SET = {1}
    BYTES = bytearray(b"x")
    DEEP = ((1, [2]),)


class Text(str):
    __slots__ = ()


def back(value: Any) -> Any:
    return decode_value(encode_value(value))


class Model:
    __module__ = "pydantic.main"


Model.__name__ = Model.__qualname__ = "BaseModel"


def _library(module: str, name: str) -> Any:
    return type("Mine", (type(name, (), {"__module__": module}),), {"__module__": "app"})()


async def _coroutine() -> None: ...


class Future:
    def __await__(self) -> Any: ...


CALL_IT = "call it in a separate job, or pass its name"
BY_FILE = "save it to a file and pass the path"


@pytest.mark.parametrize(
    ("value", "what", "hint"),
    [
        (object(), "an object, which cannot be stored", None),
        (type("AsyncClient", (), {"__module__": "httpx"})(), "an httpx.AsyncClient, which cannot be stored", None),
        (threading.Lock(), "a _thread.lock, which cannot be stored", "a lock works inside one process only; use "
         "limit=(name, n) to bound how many jobs run at once"),
        (io.StringIO(), "an _io.StringIO, which cannot be stored", "pass the path and open it in the job"),
        ((i for i in ()), "a generator, which cannot be stored", "pass the items in a list"),
        (iter([1]), "a list_iterator, which cannot be stored", "pass list(…)"),
        (collections.deque(), "a collections.deque, which cannot be stored", "pass list(…)"),
        ({}.keys(), "a dict_keys, which cannot be stored", "pass list(…)"),
        (type(sys)("x").__class__.__dict__, "a mappingproxy, which cannot be stored", "pass dict(…)"),
        (memoryview(b""), "a memoryview, which cannot be stored", "pass bytes(…)"),
        (ValueError("x"), "a ValueError, which cannot be stored", "pass str(error), or its parts in a dict"),
        (int, "the class int, which cannot be stored", "pass its name"),
        (Size, f"the class {HERE}.Size, which cannot be stored", "pass its name"),
        (len, "the function len, which cannot be stored", CALL_IT),
        ("".__len__, "the function str.__len__, which cannot be stored", CALL_IT),
        (back, "the function back, which cannot be stored", CALL_IT),
        (sys, "the module sys, which cannot be stored", "import it in the job"),
        (Future(), f"a {HERE}.Future, which cannot be stored", "await it first and pass the result, or submit it "
         "as a job and pass the handle"),
        (slice(1), "a slice, which cannot be stored", None),
        (_library("pydantic.main", "BaseModel"), "an app.Mine, which cannot be stored",
         "pass model.dict() to a parameter annotated as dict"),
        (_library("numpy", "ndarray"), "an app.Mine, which cannot be stored", BY_FILE),
        (_library("numpy", "generic"), "an app.Mine, which cannot be stored", "pass its Python value: value.item()"),
        (_library("PIL.Image", "Image"), "an app.Mine, which cannot be stored", BY_FILE),
        (_library("pandas.core.frame", "DataFrame"), "an app.Mine, which cannot be stored", BY_FILE),
        ("a\ud800", "a string with a lone surrogate at index 1",
         "pass it as bytes, or clean it: text.encode('utf-8', 'replace').decode()"),
        (Path("a\ud800"), "a path with characters that no file name can have", None),
    ],
)  # fmt: skip
def test_refusals_in_words(value: Any, what: str, hint: str | None) -> None:
    with pytest.raises(NotSerializableError) as caught:
        encode_call((1, {"items": [0, value]}), {})
    error = caught.value
    assert (error.where, error.what, error.hint) == ("$.args[1].items[1]", what, hint)
    assert str(error) == f"$.args[1].items[1] is {what}" + (f"\n  hint: {hint}" if hint else "")


def test_a_coroutine_is_refused() -> None:
    coroutine = _coroutine()
    with pytest.raises(NotSerializableError, match="is a coroutine, which cannot be stored\n  hint: await it first"):
        encode_value(coroutine)
    coroutine.close()


bad = object()


@pytest.mark.parametrize(
    ("args", "kwargs", "where"),
    [
        ((), {"image": bad}, "$.kwargs.image"),
        ((), {"a": 1, "b": {"x y": bad}}, "$.kwargs.b['x y']"),
        (({"k" * 99: bad},), {}, f"$.args[0].{'k' * 99}"),
        (({"-" * 99: bad},), {}, f"$.args[0]['{'-' * 38}…]"),
        (({(1, 2): bad},), {}, "$.args[0][tuple]"),
        (({3: bad},), {}, "$.args[0][3]"),
        (({bad: 3},), {}, "$.args[0]{key}"),
        (([{bad}],), {}, "$.args[0][0]{item}"),
        ((1, Point(1, [bad])), {}, "$.args[1][1][0]"),
        ((Shape("s", Size(bad)),), {}, "$.args[0].size.width"),
        ((Carrier.LOCK,), {}, "$.args[0].value"),
        (("\ud800",), {}, "$.args[0]"),
        (({"\ud800": 1},), {}, "$.args[0]{key}"),
        ((), {"a\ud800": 1}, "$.kwargs"),
        ((2**70, "\ud800"), {}, "$.args[1]"),
    ],
)
def test_the_path_leads_to_it(args: tuple[Any, ...], kwargs: dict[str, Any], where: str) -> None:
    with pytest.raises(NotSerializableError) as caught:
        encode_call(args, kwargs)
    assert caught.value.where == where


def test_argument_names_are_strings() -> None:
    assert encode_call((), {Text("b"): 1, "a": 2}) == encode_call((), {"a": 2, "b": 1})
    with pytest.raises(NotSerializableError) as caught:
        encode_call((), {3: 1})
    assert str(caught.value) == "$.kwargs is a dict with the key 3, which is not the name of an argument"


@pytest.mark.parametrize("value", [{Size(1)}, frozenset({Size(1)}), {Size(1): 2}, {(1, Size(2))}])
def test_what_could_not_be_hashed_again_is_refused(value: Any) -> None:
    with pytest.raises(NotSerializableError, match="would be restored as an unhashable value\n  hint: use a list"):
        encode_value(value)


def test_circles_are_refused_where_they_close() -> None:
    items: list[Any] = [1]
    items.append(items)
    table: dict[str, Any] = {}
    table["self"] = [(table,)]
    for value, where in [(items, "$[1]"), (table, "$.self[0][0]")]:
        with pytest.raises(NotSerializableError) as caught:
            encode_value(value)
        assert str(caught.value) == f"{where} is inside itself, and a circular structure cannot be stored"
    shared = [1, [2]]
    assert back([shared, shared]) == [shared, shared]


def _nested(levels: int, kind: type) -> Any:
    value: Any = kind()
    for _ in range(levels - 1):
        value = {"k": value} if kind is dict else kind([value])
    return value


@pytest.mark.parametrize("kind", [list, tuple, dict, frozenset])
def test_a_hundred_levels_and_no_more(kind: type) -> None:
    assert back(_nested(100, kind)) == _nested(100, kind)
    for levels in (101, 10_000 if kind is not frozenset else 150):
        with pytest.raises(NotSerializableError) as caught:
            encode_call((_nested(levels, kind),), {})
        assert caught.value.what == "nested deeper than 100 levels"
        assert len(caught.value.where) <= 160


def test_a_caller_near_the_recursion_limit_gets_the_error_of_the_value() -> None:
    def descend() -> None:
        try:
            descend()
        except RecursionError:
            encode_value(_nested(90, tuple))

    with pytest.raises(NotSerializableError, match="nested too deeply for the stack that is left"):
        descend()


# -- subclasses of what is stored as itself


class Count(int): ...


class Real(float): ...


class Safe(str):
    """As Django's: its text is safe, too."""

    def __str__(self) -> str:
        return self


class Hex(bytes): ...


class Row(list[Any]):
    __hash__ = object.__hash__


class Settings(dict[str, Any]): ...


class Pixel(tuple[int, ...]): ...


class Tags(set[str]): ...


class Frozen(frozenset[str]): ...


class Buffer(bytearray): ...


class Moment(dt.datetime): ...


class Day(dt.date): ...


class Clock(dt.time): ...


class Span(dt.timedelta): ...


class Money(Decimal): ...


class Key(UUID): ...


class Impedance(complex): ...


class Bucket(PurePosixPath): ...


class Folder(type(Path())): ...


SUBCLASSES = [
    (collections.Counter("aab"), dict),
    (collections.defaultdict(list, a=[1]), dict),
    (collections.OrderedDict(a=1), dict),
    (Settings(a=1), dict),
    (Row([1]), list),
    (Pixel((1, 2)), tuple),
    (time.gmtime(0), tuple),
    (Tags({"a"}), set),
    (Frozen({"a"}), frozenset),
    (Buffer(b"a"), bytearray),
    (Text("a"), str),
    (Safe("a"), str),
    (Hex(b"a"), bytes),
    (Count(3), int),
    (Count(2**80), int),
    (Real(1.5), float),
    (Impedance(1), complex),
    (Moment(2024, 1, 2, 3, tzinfo=dt.UTC), dt.datetime),
    (Day(2024, 1, 2), dt.date),
    (Clock(1, 2), dt.time),
    (Span(1, 2, 3), dt.timedelta),
    (Money("1.10"), Decimal),
    (Key(int=5), UUID),
    (Bucket("a/b"), PurePath),
    (Folder("a"), Path),
]


@pytest.mark.parametrize(("value", "base"), SUBCLASSES)
def test_a_subclass_that_would_arrive_as_its_base_is_refused_and_the_hint_works(value: Any, base: type) -> None:
    for args, where in [
        ((value,), "$.args[0]"),
        (([value],), "$.args[0][0]"),
        (({"a": (1, value)},), "$.args[0].a[1]"),
        ((Size(value),), "$.args[0].width"),
        ((2**70, {1: value}), "$.args[1][1]"),  # the careful walk
    ]:
        with pytest.raises(NotSerializableError) as caught:
            encode_call(args, {})
        error = caught.value
        assert (error.where, error.what.split(", ")[1]) == (
            where,
            f"which would arrive as {with_article(type_name(base))}",
        )
        assert type(value).__name__ in error.what
    known = {"value": value, "Path": Path, "PurePath": PurePath, "Decimal": Decimal, "UUID": UUID}
    known |= {name: getattr(dt, name) for name in ("datetime", "date", "time", "timedelta")}
    mended = eval(str(error.hint).removeprefix("pass "), known)
    assert type(mended) is base or base in (Path, PurePath)
    assert back(mended) == mended == value


@pytest.mark.parametrize("value", [{Row()}, {Text("a"): 1}, {Count(1)}, {(1, Pixel((1,)))}, frozenset({Safe("a")})])
def test_subclasses_in_sets_and_keys_are_refused(value: Any) -> None:
    with pytest.raises(NotSerializableError, match="which would arrive as a"):
        encode_value(value)


@pytest.mark.parametrize(
    ("library", "name", "base", "hint"),
    [
        ("numpy", "generic", float, "pass its Python value: value.item()"),
        ("numpy", "datetime64", float, "pass value.astype('datetime64[us]').item()"),
        ("numpy", "timedelta64", float, "pass value.astype('timedelta64[us]').item()"),
        ("numpy", "longdouble", float, "pass float(value)"),
        ("numpy", "float128", float, "pass float(value)"),
        ("numpy", "clongdouble", complex, "pass complex(value)"),
        ("numpy", "complex256", complex, "pass complex(value)"),
        ("freezegun.api", "FakeDate", float, "pass freezegun.api.real_date.fromisoformat(value.isoformat())"),
        ("freezegun.api", "FakeDatetime", float, "pass freezegun.api.real_datetime.fromisoformat(value.isoformat())"),
        ("pandas", "Timestamp", float, "pass value.to_pydatetime()"),
        ("pandas", "Timedelta", float, "pass value.to_pytimedelta()"),
        ("pandas", "NaTType", float, "pass None"),
    ],
)
def test_libraries_say_how_to_get_the_plain_value(library: str, name: str, base: type, hint: str) -> None:
    scalar = type("generic", (), {"__module__": "numpy"}) if library == "numpy" and name != "generic" else object
    mixin = type(name, (scalar,), {"__module__": library})
    with pytest.raises(NotSerializableError) as caught:
        encode_value(type("Value", (base, mixin), {})(1.5))
    assert caught.value.hint == hint


def test_what_was_decided_stays() -> None:
    """Enum members, NamedTuples and handles are subclasses of plain types, and arrive as they were sent."""

    class Handle(str):
        __slots__ = ()

    assert back(Point(1, 2)) == Point(1, 2)
    assert type(back(Point(1, 2))) is Point
    assert encode_call((Handle("a"),), {}, Handle).handles == ("a",)
    assert encode_call((), {Text("b"): 1}) == encode_call((), {"b": 1})  # names of parameters are names


def test_articles() -> None:
    names = ["list", "int", "httpx.Client", "html", "_io.X", "user", "mp3", "module", "object", "_"]
    assert [with_article(name).split()[0] for name in names] == ["a", "an", "an", "an", "an", "a", "an", "a", "an", "a"]


@pytest.mark.parametrize(
    ("member", "what", "step"),
    [
        (Boxed.LIST, "a list", ".value"),
        (Boxed.DICT, "a dict", ".value"),
        (Boxed.SET, "a set", ".value"),
        (Boxed.BYTES, "a bytearray", ".value"),
        (Boxed.DEEP, "a list", ".value[0][1]"),
    ],
)
def test_what_could_not_be_hashed_where_its_enum_is_not_loaded_is_refused_in_sets_and_keys(
    member: Boxed, what: str, step: str
) -> None:
    assert back([member, {"a": member}, (member,)]) == [member, {"a": member}, (member,)]
    for value, place, inner in (
        ({member}, "a set", "{item}"),
        (frozenset({member}), "a frozenset", "{item}"),
        ({member: 1}, "a dict key", "{key}"),
        ({(0, member): 1}, "a dict key", "{key}[1]"),
    ):
        with pytest.raises(NotSerializableError) as caught:
            encode_value(value)
        error = caught.value
        assert error.where == f"${inner}{step}"
        assert error.what == f"{what} in {place}, and would be restored as an unhashable value"
        assert error.hint == "use a list"


class Later(Handle):
    __slots__ = ()


def test_a_handle_in_a_result_is_refused_or_where_no_results_are_injected_its_id() -> None:
    with pytest.raises(NotSerializableError, match="a job handle in a result"):
        encode_value({"a": [Later("job-1")]}, handle_type=Handle)
    for value in (Later("job-1"), [Later("job-1")], {"a": (Later("job-1"),)}, {Later("job-1"): {Later("job-1")}}):
        seen = back(value)
        assert seen == value
        assert "Later" not in repr(seen)
    with pytest.raises(NotSerializableError, match="a lone surrogate"):
        encode_value([Later("\ud800")])
