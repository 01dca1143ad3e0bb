"""What arrives is what was sent, or it is refused at submit: the state of records of every kind."""

from __future__ import annotations

import functools
import sys
import threading
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar

import attrs
import msgspec
import pydantic
import pytest
from msgspec.msgpack import Ext

from asyncjobs.core.codec import (
    ConversionError,
    CorruptValueError,
    decode_result,
    decode_value,
    encode_arguments,
    encode_call,
    encode_value,
    record_fields,
    wire,
)
from tests.unit.record_support import Animal, Cat, Dog, Email, Price, arrives, pack, ran, read, refused, stored, taking

# -- no second __init__, no second __post_init__


@dataclass(frozen=True, slots=True)
class Frozen:
    path: str
    parts: list[str] = field(init=False, default_factory=list)
    count: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        ran.append("Frozen")
        object.__setattr__(self, "path", self.path + "/")


@dataclass
class OwnInit:
    a: int

    def __init__(self, text: str) -> None:
        ran.append("OwnInit")
        self.a = int(text)


@attrs.define
class Defined:
    _x: int
    seen: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        ran.append("Defined")
        self._x += 1
        self.seen = self._x


@attrs.frozen(slots=False)
class Converting:
    at: int = attrs.field(converter=lambda value: value + 1)


class Renamed(msgspec.Struct, frozen=True, rename="camel", tag="r", forbid_unknown_fields=True, array_like=True):
    first_name: str
    last_name: str = "x"


class Counting(msgspec.Struct):
    net: int
    parts: list[int] = []

    def __post_init__(self) -> None:
        self.net += 1
        self.parts.append(self.net)


class Roomy(msgspec.Struct, dict=True):
    a: int


class Unset(msgspec.Struct):
    a: int
    b: int | msgspec.UnsetType = msgspec.UNSET


@dataclass
class Node:
    name: str
    below: list[Node] = field(default_factory=list)
    cache: ClassVar[dict[str, int]] = {}

    def __post_init__(self) -> None:
        self.name += "!"


@dataclass
class Cached:
    a: int

    @functools.cached_property
    def lock(self) -> Any:
        return threading.Lock()


@dataclass
class Hidden:
    name: str

    @property
    def name(self) -> str:
        return self._name

    @name.setter
    def name(self, value: str) -> None:
        self._name = value.upper()


class Base:
    __slots__ = ("trace",)


@dataclass
class Below(Base):
    a: int


def roomy() -> Roomy:
    value = Roomy(1)
    value.extra = [2]
    return value


def below() -> Below:
    value = Below(1)
    value.trace = "t"
    return value


def cached() -> Cached:
    value = Cached(1)
    assert value.lock
    return value


@pytest.mark.parametrize(
    "value",
    [
        Price(1), Price(2, 0.25), Frozen("a"), OwnInit("3"), Defined(1), Converting(1), Renamed("a"), Counting(1),
        roomy(), Unset(1), Unset(1, 2), Node("a", [Node("b", [Node("c")])]), Hidden("n"), below(), cached(),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_the_state_arrives_and_the_class_does_not_run_again(value: Any) -> None:
    ran.clear()
    seen = arrives(type(value), value)
    assert ran == []
    assert type(seen) is type(value)
    kept = [name for name in (*getattr(value, "__dict__", ()), "net", "parts", "trace", "extra") if name != "lock"]
    for name in kept:
        assert getattr(seen, name, None) == getattr(value, name, None)
    assert repr(seen) == repr(value)
    again = arrives(type(value), seen)
    assert repr(again) == repr(value)


def test_a_struct_has_its_stored_fields_set_again_after_its_post_init() -> None:
    sent = Counting(1)
    assert (sent.net, sent.parts) == (2, [2])
    seen = arrives(Counting, sent)
    assert (seen.net, seen.parts) == (2, [2])
    assert (sent.net, sent.parts) == (2, [2])


class Ascending(msgspec.Struct):
    last: int

    def __post_init__(self) -> None:
        if self.last > 0:
            raise ValueError("from 0 down only")
        self.last = 1


def test_a_struct_that_cannot_be_made_again_is_refused() -> None:
    error = refused(Ascending, Ascending(0))
    assert error.where == "$.args[0]"
    assert "that cannot be made again: it was refused by its class (ValueError: from 0 down only)" in error.what


@dataclass
class Versioned:
    a: int
    more: list[int] = field(default_factory=lambda: [7])
    derived: int = field(init=False, default=5)


def test_a_field_that_the_stored_record_lacks_gets_its_default() -> None:
    seen = read(Versioned, stored(Versioned, {"a": 1}))
    assert (seen.a, seen.more, seen.derived) == (1, [7], 5)
    assert read(Frozen, stored(Frozen, {"path": "p"})).parts == []
    assert read(Converting, stored(Converting, {"at": 1})).at == 1
    assert read(Renamed, stored(Renamed, {"first_name": "a"})) == Renamed("a")
    for wrong in ({}, {"a": 1, "gone": 2}):
        with pytest.raises(ConversionError, match=r"has the fields \((a, gone)?\); expected"):
            read(Versioned, stored(Versioned, wrong))


@dataclass
class Shown:
    """The default is an attribute of the class: what an instance shows that has none of its own."""

    a: int = 1
    b: int = field(init=False, default=2)


def test_a_field_for_which_the_default_of_its_class_stands_arrives_as_that() -> None:
    sent = Shown(5)
    del sent.a
    assert (sent.a, sent.b) == (1, 2)
    assert arrives(Shown, sent) == sent
    assert read(Shown, stored(Shown, {})) == sent


@dataclass(slots=True)
class Slotted:
    a: int


def test_state_that_the_class_has_no_place_for_any_more_is_named() -> None:
    assert read(Roomy, stored(Roomy, {"a": 1}, {"extra": 2})).extra == 2
    assert read(Versioned, stored(Versioned, {"a": 1}, {"note": "n"})).note == "n"
    with pytest.raises(ConversionError, match="has the attribute 'note'; expected"):
        read(Slotted, stored(Slotted, {"a": 1}, {"note": "n"}))
    with pytest.raises(ConversionError, match="has the attribute 'note'; expected"):
        read(Frozen, stored(Frozen, {"path": "p"}, {"count": 1, "note": "n"}))


def test_rows_without_a_class_name_are_rebuilt_through_the_constructor() -> None:
    assert read(Price, {"net": 1, "rate": 1.0}) == Price(1, 1.0)
    assert read(Versioned | None, {"a": 1}) == Versioned(1)
    assert read(list[Node], [{"name": "a", "below": [{"name": "b"}]}]) == [Node("a", [Node("b")])]
    assert read(Defined, {"_x": 1}) == Defined(1)


# -- what cannot come back whole is refused


@dataclass
class Failure(Exception):
    code: int


@dataclass
class Row(dict[str, int]):
    name: str


class Model(pydantic.BaseModel):
    a: int
    of: Any = None


@dataclass
class Holding:
    a: int

    def __post_init__(self) -> None:
        self.lock = threading.Lock()


@dataclass(slots=True)
class Bare:
    a: int


def bare() -> Bare:
    value = Bare(1)
    del value.a
    return value


class Missing(msgspec.Struct):
    a: int = 1


def missing() -> Missing:
    value = Missing()
    del value.a
    return value


@dataclass
class Listing:
    a: list[int] = field(default_factory=list)
    b: list[int] = field(init=False, default_factory=list)


def listing(lacking: str) -> Listing:
    value = Listing()
    delattr(value, lacking)
    return value


@attrs.define
class Optional:
    a: int = 1


def optional() -> Optional:
    value = Optional()
    del value.a
    return value


class Titled(namedtuple("Titled", "a b")):
    pass


def titled() -> Titled:
    value = Titled(1, 2)
    value.title = "t"
    return value


LocalTuple = namedtuple("Elsewhere", "a")


LocalEnum = Enum("LocalEnum2", "A")


@pytest.mark.parametrize(
    ("value", "where", "what"),
    [
        (Failure(3), "", "which is also Exception and cannot be stored whole"),
        (Row("r"), "", "which is also dict and cannot be stored whole"),
        (Holding(1), ".lock", "_thread.lock, which cannot be stored"),
        (bare(), "", "whose field 'a' is not set"),
        (missing(), "", "whose field 'a' is not set"),
        (listing("a"), "", "whose field 'a' is not set"),  # its default is not what was sent
        (listing("b"), "", "whose field 'b' is not set"),
        (optional(), "", "whose field 'a' is not set"),
        (titled(), "", "with attributes besides its items"),
        (LocalTuple(1), "", "whose class another process could not find again"),
        (LocalEnum.A, "", "whose class another process could not find again"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_come_back_whole_is_refused(value: Any, where: str, what: str) -> None:
    error = refused(type(value), value)
    assert error.where == f"$.args[0]{where}"
    assert what in error.what


# -- stored data chooses no code


def test_a_stored_class_name_is_compared_and_never_looked_up() -> None:
    loaded = set(sys.modules)
    for module, qualname in (
        ("os", "system"),
        (Cat.__module__, "Cat"),
        (Cat.__module__, "taking"),
        ("this", "Animal"),
        ("", ""),
    ):
        value = stored((module, qualname), {"name": "a"})
        with pytest.raises(ConversionError, match="expected"):
            read(Animal, value)
        assert read(Any, value) == {"name": "a"}
    assert set(sys.modules) == loaded
    assert read(Animal, stored(Dog, {"name": "a"})) == Dog("a")


def test_a_script_and_the_module_of_its_file_are_the_same() -> None:
    own = Dog.__module__.rpartition(".")[2]
    assert read(Animal, stored((f"/app/{own}.py", "Dog"), {"name": "a"})) == Dog("a")
    with pytest.raises(ConversionError):
        read(Animal, stored(("/app/other.py", "Dog"), {"name": "a"}))


@pytest.mark.parametrize(
    "parts",
    [[], ["m"], ["m", "q"], [1, "q", {}], ["m", 2, {}], ["m", "q", []], ["m", "q", {1: 2}], ["m", "q", {}, []],
     ["m", "q", {}, {}, {}]],
    ids=str,
)  # fmt: skip
def test_damaged_records_are_one_clean_error(parts: list[Any]) -> None:
    data = pack(Ext(wire.RECORD, pack(parts)))
    with pytest.raises(CorruptValueError):
        decode_value(data)
    with pytest.raises(CorruptValueError):
        decode_result(data, taking(Animal))


def test_the_format_of_records_on_disk() -> None:
    assert encode_value(Cat("a")) == pack(stored(Cat, {"name": "a"}))
    assert encode_value(Price(1)) == pack(stored(Price, {"net": 2}, {"tax": 1.0, "note": "at 0.5"}))
    assert encode_call((Email("a"),), {}).records == (1,)
    assert encode_call((1, [Email("a"), Email("b")]), {"x": Email("c"), "a": 1}).records == (0, 2, 0, 1)
    exact = encode_arguments(taking(Email | dict[str, int]), ({"a": 1},), {}).data
    assert exact == pack([[Ext(wire.DICT, pack(["a", 1]))], {}])
    assert encode_arguments(taking(Email), ({"a": 1},), {}).data == pack([[{"a": 1}], {}])


# -- fields by name


def test_the_fields_of_a_record_are_what_its_constructor_takes() -> None:
    assert record_fields(Price(1)) == {"net": 2}
    assert record_fields(Defined(1)) == {"_x": 2}
    assert record_fields(Unset(1)) == {"a": 1}
    assert record_fields(Model(a=1)) == {"a": 1, "of": None}
    for other in (3, "text", {"a": 1}, [Cat("a")], Cat):
        assert record_fields(other) is None
    for incomplete in (bare(), missing(), Failure(3)):
        with pytest.raises(ValueError, match="not set|stored whole"):
            record_fields(incomplete)


# -- what msgspec itself refuses, inside of records


@dataclass
class Wrapping:
    of: Any


class Wrapped(msgspec.Struct):
    of: Any


@pytest.mark.parametrize("make", [Wrapping, Wrapped, lambda of: Model(a=1, of=of)])
@pytest.mark.parametrize("value", [(10**30, 1), {10**30: "a"}, {"a": (-(10**30),)}, frozenset({10**30})], ids=repr)
def test_large_numbers_in_containers_in_records_arrive(make: Callable[[Any], Any], value: Any) -> None:
    sent = make(value)
    seen = arrives(type(sent), sent)
    assert (seen, seen.of) == (sent, value)


@pytest.mark.parametrize("make", [Wrapping, Wrapped, lambda of: Model(a=1, of=of)])
@pytest.mark.parametrize(
    ("value", "step"), [(("\ud800",), "[0]"), ({"a": [("\ud800",)]}, ".a[0][0]"), (frozenset({"\ud800"}), "{item}")]
)
def test_strings_that_no_reader_reads_are_found_in_containers_in_records(
    make: Callable[[Any], Any], value: Any, step: str
) -> None:
    error = refused(Any, make(value))
    assert error.where == f"$.args[0].of{step}"
    assert error.what == "a string with a lone surrogate at index 0"
