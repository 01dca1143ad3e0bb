"""Values as bytes: what comes back, handles, and equal bytes for equal values."""

from __future__ import annotations

import datetime as dt
import io
import struct
import sys
import threading
from dataclasses import InitVar, dataclass, field
from decimal import Decimal
from enum import Enum, Flag, IntEnum, StrEnum
from pathlib import Path, PosixPath, PurePath, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import msgspec
import pytest
from msgspec.msgpack import Ext

from asyncjobs.core.codec import decode_call, decode_value, encode_call, encode_value, wire
from asyncjobs.exceptions import NotSerializableError

HERE = __name__
pack = msgspec.msgpack.encode


class Handle(str):
    __slots__ = ()


class Color(Enum):
    RED = "red"
    ODD = (1, frozenset({2}))


class Level(IntEnum):
    LOW = 1


class Word(StrEnum):
    A = "a"


class Access(Flag):
    READ = 1
    WRITE = 2


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


@attrs.frozen
class Spot:
    _x: int
    y: int = attrs.field(init=False, default=5)


def back(value: Any) -> Any:
    return decode_value(encode_value(value))


BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    "value",
    [
        None, True, 0, -(2**63), 2**64 - 1, 2**64, -(2**63) - 1, 2**200, -(2**71), 1.5, float("inf"), "", "ä🙂\0",
        b"\0\xff",
        [], [[]], {}, {"a": [1, {"b": ()}]}, {1: 2, None: 3, 2.5: 4, b"k": 5}, {True: 6}, {(1, 2): 3, "x": (4,)},
        {2**70: 1},
        (), (1, (2, [3])), set(), {1, "a", (2, 3)}, frozenset({frozenset({1}), None}), bytearray(b"ab"),
        Decimal("1.10"), Decimal("-Infinity"), Decimal("1E+999999"), complex(-0.0, 1), UUID(int=5), range(1, 2**70, 3),
        dt.date(1, 1, 1), dt.timedelta(days=-3, microseconds=1), dt.timedelta.max, dt.datetime(2024, 2, 29, 1, 2, 3, 4),
        dt.datetime(2024, 1, 1, tzinfo=dt.UTC), dt.datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=BERLIN),
        dt.datetime(2024, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=-3, microseconds=5))),
        dt.time(1, 2, 3, 4, fold=1),
        dt.time(1, tzinfo=BERLIN), dt.time(1, tzinfo=dt.UTC),
        Path("a/b"), PurePosixPath("/x"), PureWindowsPath("C:\\x"),
        Path("bad\udcff"), Color.RED, Color.ODD, Level.LOW, Word.A, Access.READ, Access.READ | Access.WRITE, Access(0),
        {Level.LOW: 1, Color.ODD: {Word.A}}, Point(1, [2]), {Point(1): Point(2, Point(3))}, [Color.RED],
    ],
)  # fmt: skip
def test_comes_back_as_it_was(value: Any) -> None:
    def shown(one: Any) -> Any:  # the order of a set differs with the order in which it was filled
        return sorted(map(repr, one)) if isinstance(one, (set, frozenset)) else repr(one)

    again = back(value)
    assert (again, type(again), shown(again)) == (value, type(value), shown(value))
    assert encode_value(again) == encode_value(value)
    args, kwargs = decode_call(encode_call((value,), {"k": [value]}).data)
    assert (args, kwargs) == ((value,), {"k": [value]})


def test_zones_and_folds_come_back() -> None:
    late = back(dt.datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=BERLIN))
    assert (late.fold, late.tzinfo) == (1, BERLIN)
    assert late.utcoffset() == dt.timedelta(hours=1)
    assert back(dt.datetime(2024, 1, 1, tzinfo=dt.UTC)).tzinfo is dt.UTC

    class Odd(dt.tzinfo):
        def utcoffset(self, _: dt.datetime | None) -> dt.timedelta:
            return dt.timedelta(hours=2)

    assert back(dt.datetime(2024, 1, 1, tzinfo=Odd())).tzinfo == dt.timezone(dt.timedelta(hours=2))
    # A zone that this machine does not know: the moment is right.
    gone = Ext(wire.DATETIME, pack([2024, 1, 1, 0, 0, 0, 0, 0, ["Atlantis/Capital", 3_600_000_000]]))
    assert decode_value(pack(gone)) == dt.datetime(2024, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=1)))
    # "Europe" is a directory of that database.
    gone = Ext(wire.TIME, pack([1, 0, 0, 0, 0, ["Europe", None]]))
    assert decode_value(pack(gone)) == dt.time(1)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (PosixPath("a"), Path("a")),
        (Size(1, Size(2)), {"width": 1, "height": {"width": 2, "height": 2}}),
        (Shape("s", Size(1)), {"name": "s", "size": {"width": 1, "height": 2}}),
        (Spot(3), {"_x": 3}),
    ],
)
def test_records_come_back_plain(value: Any, plain: Any) -> None:
    again = back(value)
    assert (again, type(again)) == (plain, type(plain))


def test_classes_that_are_not_loaded_leave_their_values(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode_value([Color.RED, Point(1, 2), Access.READ | Access.WRITE])
    with monkeypatch.context() as patch:
        patch.delitem(sys.modules, HERE)
        assert decode_value(data) == ["red", (1, 2), 3]
        assert type(decode_value(data)[1]) is tuple
    # A member that was renamed is found by its value, one that is gone leaves its value.
    name = Color.__module__
    assert decode_value(pack(Ext(wire.ENUM, pack([name, "Color", "ROT", "red"])))) is Color.RED
    assert decode_value(pack(Ext(wire.ENUM, pack([name, "Color", "BLUE", "blue"])))) == "blue"
    assert decode_value(pack(Ext(wire.ENUM, pack(["enum", "Enum", "A", 1])))) == 1
    assert decode_value(pack(Ext(wire.ENUM, pack([name, "Point", "A", 1])))) == 1
    # Another number of fields now.
    assert decode_value(pack(Ext(wire.NAMED_TUPLE, pack([name, "Point", 1, 2, 3])))) == (1, 2, 3)
    assert decode_value(pack(Ext(wire.NAMED_TUPLE, pack([name, "Size", 1, 2])))) == (1, 2)


def test_paths_of_the_other_system_are_pure() -> None:
    assert type(decode_value(pack(Ext(wire.PATH, b"wC:\\x")))) is PureWindowsPath
    assert type(back(PurePath("a"))) is PurePosixPath


# -- handles


def test_handles_become_placeholders_and_values() -> None:
    call = encode_call((Handle("a"), [Handle("b"), (Handle("a"),)]), {"x": {"y": Handle("c")}, "z": "plain"}, Handle)
    assert call.handles == ("a", "b", "c")
    args, kwargs = decode_call(call.data, {"a": 1, "b": [2], "c": None}.__getitem__)
    assert (args, kwargs) == ((1, [[2], (1,)]), {"x": {"y": None}, "z": "plain"})
    shown = decode_call(call.data)
    assert shown == (("a", ["b", ("a",)]), {"x": {"y": "c"}, "z": "plain"})
    assert type(shown[0][0]) is str
    assert decode_call(encode_call((Point(Handle("a")),), {}, Handle).data, len) == ((Point(1),), {})
    # Without a handle type it is a subclass of str like any other.
    with pytest.raises(NotSerializableError, match="Handle, which would arrive as a str"):
        encode_call((Handle("a"),), {})
    # An int beyond 64 bits sends the walk round a second time; the handles are counted once.
    assert encode_call((Handle("a"), 2**64 - 1, [2**64]), {}, Handle).handles == ("a",)


class ParentGone(LookupError):
    pass


@pytest.mark.parametrize("error", [ParentGone("a"), RuntimeError("b"), KeyboardInterrupt()])
def test_what_resolve_raises_is_not_taken_for_damage(error: BaseException) -> None:
    def resolve(job_id: str) -> Any:
        raise error

    data = encode_call(([(Handle("a"),)],), {}, Handle).data
    with pytest.raises(type(error)) as caught:
        decode_call(data, resolve)
    assert caught.value is error


MEND = "pass it as a separate argument, or in a list, a tuple or a dict value"


@pytest.mark.parametrize(
    ("args", "where", "place"),
    [
        (([{Handle("a")}],), "$.args[0][0]{item}", "a set"),
        ((frozenset({Handle("a")}),), "$.args[0]{item}", "a frozenset"),
        (({Handle("a"): 1},), "$.args[0]{key}", "a dict key"),
        (({(1, Handle("a")): 1},), "$.args[0]{key}[1]", "a dict key"),
        ((1, Size(Handle("a"))), "$.args[1].width", f"a field of a {HERE}.Size"),
        ((Size([Handle("a")]),), "$.args[0].width[0]", f"a field of a {HERE}.Size"),
    ],
)
def test_handles_elsewhere_are_refused(args: tuple[Any, ...], where: str, place: str) -> None:
    with pytest.raises(NotSerializableError) as caught:
        encode_call(args, {}, Handle)
    assert str(caught.value) == (
        f"{where} is a job handle in {place}, where it is not replaced by the job's result\n  hint: {MEND}"
    )


def test_handles_in_results_are_refused() -> None:
    with pytest.raises(NotSerializableError) as caught:
        encode_value({"next": Handle("a")}, "$.result", Handle)
    assert str(caught.value) == (
        "$.result.next is a job handle in a result, where it is not replaced by the job's result\n"
        "  hint: await it and return the result, or return its id: str(handle)"
    )


# -- equal bytes


def test_equal_calls_have_equal_bytes() -> None:
    assert encode_call((1,), {"b": 1, "a": 2}).data == encode_call((1,), {"a": 2, "b": 1}).data
    assert encode_value({3, 1, "b", "a"}) == encode_value({"a", "b", 1, 3})
    # The order of a dict is part of its value.
    assert encode_value({"b": 1, "a": 2}) != encode_value({"a": 2, "b": 1})
    # The careful walk writes what the quick one writes.
    assert encode_value([2**64, [1, "a", {"b": (2,)}]])[-11:] == encode_value([0, [1, "a", {"b": (2,)}]])[-11:]


def test_plain_values_are_plain_msgpack() -> None:
    value = {"a": [1, None, True, 1.5, "x", b"y"], "b": {}}
    assert encode_value(value) == pack(value)
    assert encode_call((1, "x"), {"a": None}).data == pack([[1, "x"], {"a": None}])


def test_the_format_on_disk() -> None:
    """Numbers and layouts that stored files rely on."""
    for value, ext in [
        ((1, "a"), Ext(2, pack([1, "a"]))),
        ({2, 1}, Ext(4, pack([1, 2]))),
        (frozenset({2, 1}), Ext(5, pack([1, 2]))),
        ({(): 1}, Ext(6, pack([Ext(2, pack([])), 1]))),
        (bytearray(b"x"), Ext(7, b"x")),
        (-(2**64), Ext(8, (-(2**64)).to_bytes(9, "big", signed=True))),
        (1 + 2j, Ext(9, struct.pack(">dd", 1, 2))),
        (Decimal("1.0"), Ext(10, b"1.0")),
        (UUID(int=1), Ext(11, bytes(15) + b"\1")),
        (
            dt.datetime(2024, 1, 2, 3, 4, 5, 6, BERLIN),
            Ext(12, pack([2024, 1, 2, 3, 4, 5, 6, 0, ["Europe/Berlin", 3600 * 10**6]])),
        ),
        (dt.date(2024, 1, 2), Ext(13, pack([2024, 1, 2]))),
        (dt.time(3, 4, 5, 6), Ext(14, pack([3, 4, 5, 6, 0, None]))),
        (dt.timedelta(1, 2, 3), Ext(15, pack([1, 2, 3]))),
        (Path("a"), Ext(16, b"pa")),
        (PureWindowsPath("a"), Ext(16, b"Wa")),
        (Color.RED, Ext(17, pack([HERE, "Color", "RED", "red"]))),
        (Access(3), Ext(17, pack([HERE, "Access", None, 3]))),
        (range(1, 5), Ext(18, pack([1, 5, 1]))),
        (Point(1, 2), Ext(3, pack([HERE, "Point", 1, 2]))),
    ]:
        assert encode_value(value) == pack(ext)
    assert encode_call((Handle("ä"),), {}, Handle).data == pack([[Ext(1, "ä".encode())], {}])
