"""What an annotation names comes back, with subclasses and members of unions told apart; the rest is refused."""

from __future__ import annotations

import abc
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntFlag
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, Protocol, TypedDict

import attrs
import msgspec
import pytest

from asyncjobs.core.codec import (
    ConversionError,
    decode_arguments,
    decode_call,
    decode_value,
    encode_arguments,
    encode_result,
    encode_value,
    from_json,
)
from asyncjobs.exceptions import NotSerializableError
from tests.unit.record_support import (
    Animal,
    Box,
    Cat,
    Dog,
    Email,
    Handle,
    Kind,
    Plain,
    Price,
    Puppy,
    Sms,
    T,
    arrives,
    read,
    refused,
    same,
    taking,
)

# -- subclasses


class Shape(abc.ABC):
    @abc.abstractmethod
    def area(self) -> float: ...


@dataclass
class Square(Shape):
    side: float

    def area(self) -> float:
        return self.side**2


class Sound(msgspec.Struct, tag=True):
    name: str


class Bark(Sound, tag=True):
    volume: int = 1


@attrs.define
class Thing:
    name: str


@attrs.define
class Toy(Thing):
    owner: Animal | None = None


class Key(NamedTuple):
    value: int


class Sub(Key):
    __slots__ = ()

    def __new__(cls, value: int) -> Sub:
        return super().__new__(cls, value * 2)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Animal, Dog("a")),
        (Animal, Puppy("a", 5)),
        (Animal | None, Plain("a")),
        (list[Animal], [Dog("a"), Animal("b"), Puppy("c")]),
        (dict[str, Sequence[Animal]], {"x": (Dog("a"), Cat)[:1]}),
        (Shape, Square(2)),
        (list[Shape], [Square(2)]),
        (Sound, Bark("b", 4)),
        (Thing, Toy("t", Dog("d"))),
        (tuple[Thing, ...], (Toy("t"), Thing("u"))),
        (Key, Sub(2)),
        (list[Key], [Sub(2), Key(1)]),
    ],
    ids=str,
)
def test_a_subclass_given_for_its_base_stays_the_subclass(annotation: Any, value: Any) -> None:
    assert same(arrives(annotation, value), value)


@pytest.mark.parametrize(
    ("annotation", "value", "where"),
    [
        (Dog, Animal("a"), ""),
        (Animal, Cat("a"), ""),
        (Animal | str, Cat("a"), ""),
        (list[Dog], [Dog("a"), Cat("b")], "[1]"),
        (dict[str, Dog], {"x": Animal("a")}, "['x']"),
        (dict[str, Dog], [Dog("a")], ""),
        (int, Animal("a"), ""),
        (dict[str, int], {"x": Animal("a")}, ".x"),
        (list[int], [1, Animal("a")], "[1]"),
        (list[int], [[1], {"x": 1}, {1}, Animal("a")], "[3]"),
        (Animal, 3, ""),
        (list[Animal], "abc", ""),
        (tuple[int, Animal], (1, 2, 3), ""),
        (Animal | list[int], [Animal("a")], "[0]"),
    ],
    ids=str,
)
def test_what_its_annotation_does_not_name_is_refused(annotation: Any, value: Any, where: str) -> None:
    error = refused(annotation, value)
    assert error.where == f"$.args[0]{where}"
    assert "argument 'value' of taking.<locals>.taker()" in error.what
    with pytest.raises(NotSerializableError):
        encode_arguments(taking(annotation), (), {"value": value})


def test_another_class_of_the_same_name_is_refused() -> None:
    def make() -> Any:
        @dataclass
        class Local:
            a: int

        return Local

    first, second = make(), make()
    assert arrives(first, first(1)) == first(1)
    assert "Local" in refused(first, second(1)).what


def test_a_record_where_there_is_no_annotation_arrives_as_a_plain_dict() -> None:
    for annotation in (Any, object, T, Any | None):
        assert same(arrives(annotation, Price(1)), {"net": 2})
        assert same(arrives(annotation, [Price(1), {"x": Price(2)}]), [{"net": 2}, {"x": {"net": 4}}])
    for annotation in (dict, dict[str, Any], list, list[Any], Sequence[Any]):
        value = [Cat("a")] if annotation not in (dict, dict[str, Any]) else {"x": Cat("a")}
        assert refused(annotation, value).where in ("$.args[0][0]", "$.args[0].x")
        assert refused(annotation, Cat("a")).where == "$.args[0]"

    def free(value, *rest, **more): ...

    call = encode_arguments(free, (Cat("a"), Cat("b")), {"x": Cat("c")})
    assert decode_arguments(call.data, free, lambda _: None) == (({"name": "a"}, {"name": "b"}), {"x": {"name": "c"}})
    assert decode_call(call.data) == (({"name": "a"}, {"name": "b"}), {"x": {"name": "c"}})
    assert decode_value(encode_value([Cat("a")])) == [{"name": "a"}]


@dataclass
class Loose:
    of: Any


def test_a_record_in_a_field_that_does_not_name_it_is_refused() -> None:
    assert arrives(Loose, Loose({"a": [1]})) == Loose({"a": [1]})
    assert refused(Loose, Loose([Cat("a")])).where == "$.args[0].of[0]"
    assert refused(list[Loose], [Loose(1), Loose(Cat("a"))]).where == "$.args[0][1].of"


# -- unions


class Letter(msgspec.Struct):
    to: str


class Told(TypedDict):
    to: str


class Rights(IntFlag):
    R = 1
    W = 2


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Email | Sms, Email("1")),
        (Email | Sms, Sms("1")),
        (Sms | Letter | Email, Letter("1")),
        (list[Email] | list[Sms], [Sms("1")]),
        (list[Email | Sms], [Sms("1"), Email("2")]),
        (dict[str, Email] | dict[str, Sms], {"x": Sms("1")}),
        (tuple[Email, int] | tuple[Sms, int], (Sms("1"), 2)),
        (Email | dict[str, str], {"to": "1"}),
        (Email | dict[str, str], Email("1")),
        (Email | dict[str, str] | None, None),
        (list[Email | dict[str, str]], [{"to": "1"}, Email("2"), {"to": "3"}]),
        (list[Email] | list[dict[str, str]], [{"to": "1"}]),
        (dict[str, str] | Email, {"to": "1"}),
        (Email | Any, {"to": "1"}),
        (Email | Mapping[str, str], {"to": "1"}),
        (Email | Told, {"to": "1"}),
        (Email | dict[str, Email], {"to": Email("1")}),
        (Email | int, 3),
        (Email | Kind, Kind.A),
        (Email | Rights, Rights.R | Rights.W),
        (Annotated[Email | Annotated[Sms, 1], 2], Sms("1")),
        (Email | Literal["none"], "none"),
        (Animal | Cat, Puppy("p")),
    ],
    ids=str,
)
def test_members_of_a_union_are_told_apart(annotation: Any, value: Any) -> None:
    assert same(arrives(annotation, value), value)


@pytest.mark.parametrize(
    ("annotation", "value", "wanted"),
    [
        (Email | dict[str, str], {"to": "1"}, Email("1")),
        (Email | dict[str, str], {"for": "1"}, {"for": "1"}),
        (Email | Sms, {"to": "1"}, Email("1")),
        (list[Email] | list[dict[str, str]], [{"to": "1"}], [Email("1")]),
        (dict[str, Email | int], {"x": {"to": "1"}, "y": 2}, {"x": Email("1"), "y": 2}),
        (Email | Any, {"to": "1"}, Email("1")),
        (Email, {"to": "1"}, Email("1")),
    ],
    ids=str,
)
def test_json_has_no_classes_and_is_rebuilt_by_annotation(annotation: Any, value: Any, wanted: Any) -> None:
    assert same(arrives(annotation, from_json(value)), wanted)
    assert same(read(annotation, value), wanted)  # a row of an earlier version


# -- None, and handles


class Table(TypedDict):
    cat: Cat
    size: NotRequired[int]


class Pair(NamedTuple):
    cat: Cat
    size: int


CONTAINERS: list[tuple[Any, Any]] = [
    (Cat, Cat("a")),
    (list[Cat], [Cat("a")]),
    (dict[str, Cat], {"x": Cat("a")}),
    (tuple[Cat, int], (Cat("a"), 1)),
    (tuple[Cat, ...], (Cat("a"), Cat("b"))),
    (Pair, Pair(Cat("a"), 1)),
    (Table, {"cat": Cat("a"), "size": 1}),
    (Table, {"cat": Cat("a"), "other": [1]}),
    (Cat | dict[str, Cat], {"x": Cat("a")}),
    (Shape, Square(2)),
]


@pytest.mark.parametrize(("annotation", "value"), CONTAINERS, ids=str)
def test_none_and_handles_stand_for_any_record_and_any_container_of_records(annotation: Any, value: Any) -> None:
    assert same(arrives(annotation, value), value)
    assert arrives(annotation, None) is None
    func = taking(annotation)
    results: dict[str, Any] = {"h": (encode_result(func, value), func)}
    call = encode_arguments(func, (Handle("h"),), {}, Handle)
    (seen,), _ = decode_arguments(call.data, func, results.get)
    assert same(seen, value)


@pytest.mark.parametrize(
    ("annotation", "value", "where"),
    [
        (Table, {"cat": Dog("a")}, ".args[0]['cat']"),
        (Table, {"cat": Cat("a"), "other": [Dog("b")]}, ".args[0]['other'][0]"),
        (Table, [Cat("a")], ".args[0]"),
        (Table, Cat("a"), ".args[0]"),
        (Pair, Pair(Dog("a"), 1), ".args[0][0]"),
        (Pair, (Cat("a"),), ".args[0]"),
        (tuple[Cat, int], (Dog("a"), 1), ".args[0][0]"),
        (dict[str, Cat], {"x": Dog("a")}, ".args[0]['x']"),
    ],
    ids=str,
)
def test_a_record_of_another_class_in_a_container_is_refused_with_its_place(
    annotation: Any, value: Any, where: str
) -> None:
    assert refused(annotation, value).where == f"${where}"


@pytest.mark.parametrize("annotation", [Email | Any, Email | object, Email | list[Any] | Any])
def test_where_anything_may_be_the_result_of_another_job_is_that(annotation: Any) -> None:
    def untyped(): ...

    results: dict[str, Any] = {
        name: (encode_result(untyped, value), untyped)
        for name, value in (("cat", Cat("a")), ("email", Email("1")), ("cats", [(Cat("a"), {"x": Cat("b")})]))
    }
    func = taking(annotation)

    def result_of(name: str) -> Any:
        return decode_arguments(encode_arguments(func, (Handle(name),), {}, Handle).data, func, results.get)[0][0]

    assert result_of("email") == Email("1")
    assert same(result_of("cat"), {"name": "a"})
    assert same(result_of("cats"), [({"name": "a"}, {"x": {"name": "b"}})])


def test_a_result_that_no_member_of_a_union_names_is_an_error_of_that_job() -> None:
    def untyped(): ...
    def result(_: str) -> Any:
        return encode_result(untyped, Cat("a")), untyped

    for annotation in (Email | int, Email | dict[str, str], Email | list[str] | None):
        func = taking(annotation)
        call = encode_arguments(func, (Handle("cat"),), {}, Handle)
        with pytest.raises(ConversionError, match=rf"{Cat.__module__}\.Cat; expected"):
            decode_arguments(call.data, func, result)


# -- what is no record


class Named(Protocol):
    name: str


def test_what_a_protocol_accepts_is_not_known_by_name() -> None:
    assert "Cat" in refused(Named, Cat("a")).what
    assert arrives(Named, {"name": "a"}) == {"name": "a"}


def test_dicts_of_other_kinds_are_refused() -> None:
    for annotation in (Email | dict[str, str], Email, OrderedDict[str, str], dict, Any):
        error = refused(annotation, OrderedDict(to="1"))
        assert (error.where, error.hint) == ("$.args[0]", "pass dict(value)")


# -- unions of types that fit alike


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Box[int] | Box[Cat], Box(Cat("Tom"))),
        (Box[Cat] | Box[int], Box(3)),
        (Box[int] | Box[Cat] | None, Box(Cat("Tom"), [Cat("Kit")])),
        (Box[int] | Box[list[Cat]], Box([Cat("Tom")])),
        (list[Box[int]] | list[Box[Cat]], [Box(1), Box(Cat("Tom"))][1:]),
        (dict[str, Box[int]] | dict[str, Box[Cat]], {"a": Box(Cat("Tom"))}),
        (Box[Box[int]] | Box[Box[Cat]], Box(Box(Cat("Tom")))),
    ],
)
def test_the_member_that_names_every_record_inside_is_taken(annotation: Any, value: Any) -> None:
    assert same(arrives(annotation, value), value)


def test_where_no_member_names_every_record_the_value_is_refused() -> None:
    with pytest.raises(NotSerializableError):
        arrives(Box[int] | Box[str], Box(Cat("Tom")))


def test_a_stored_record_inside_that_no_member_names_any_more_arrives_as_a_plain_dict() -> None:
    stored = encode_arguments(taking(Box[int] | Box[Cat]), (Box(Cat("Tom")),), {}, Handle).data
    (seen,), _ = decode_arguments(stored, taking(Box[int] | Box[str]), lambda _: None)
    assert same(seen, Box({"name": "Tom"}))
