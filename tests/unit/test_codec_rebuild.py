"""Records of generic classes: what their type variables stand for is what their fields hold."""

from __future__ import annotations

import typing
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec
import pytest

from tests.unit.record_support import Box, Cat, Email, Sms, T, arrives, refused, same


@dataclass
class IntBox(Box[int]):
    pass


@dataclass
class CatBox(Box[Cat]):
    pass


U = TypeVar("U")


@dataclass
class Crate(Box[U], Generic[U]):
    lid: U | None = None


@dataclass
class Shelf(Generic[T]):
    """Generic in what its fields are generic in."""

    boxes: list[Box[list[T]]]
    front: T | list[T] | None = None


Constrained = TypeVar("Constrained", Email, Sms)


class Holder(msgspec.Struct, Generic[T]):
    content: T


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Box[Cat], Box(Cat("a"), [Cat("b")])),
        (Box[Box[Cat]], Box(Box(Cat("a")))),
        (Box[int], IntBox(1)),
        (Box, CatBox(Cat("a"))),
        (CatBox, CatBox(Cat("a"), [Cat("b")])),
        (Box[Cat], Crate(Cat("a"), [], Cat("b"))),
        (Box[Email] | Box[Sms], Box(Sms("1"))),
        (Holder[Cat], Holder(Cat("a"))),
        (Box[Email | Sms], Box(Sms("1"))),
        (Box[Email | dict[str, str]], Box({"to": "1"})),
        (Constrained, Sms("1")),
        (Shelf[Cat], Shelf([Box([Cat("a")])], Cat("b"))),
        (Shelf[int], Shelf([Box([1])], 2)),
        (Shelf[Box[Cat]], Shelf([Box([Box(Cat("a"))])], None)),
        (Shelf, Shelf([Box([1])])),
    ],
    ids=str,
)
def test_generic_records_arrive(annotation: Any, value: Any) -> None:
    assert same(arrives(annotation, value), value)
    if typing.get_origin(annotation) is Box and type(value) is Box:
        spelled = annotation(value.content, value.more)  # has the alias on it
        assert arrives(annotation, spelled) == spelled


def test_a_record_in_a_type_variable_that_stands_for_nothing_is_refused() -> None:
    assert refused(Box, Box(Cat("a"))).where == "$.args[0].content"
    assert refused(Shelf, Shelf([Box([Cat("a")])])).where == "$.args[0].boxes[0].content[0]"


def test_a_record_that_a_type_variable_does_not_stand_for_is_refused() -> None:
    assert refused(Box[Cat], Box(Email("a"))).where == "$.args[0].content"
    assert refused(Shelf[Cat], Shelf([Box([Email("a")])])).where == "$.args[0].boxes[0].content[0]"
    assert refused(Shelf[Cat], Shelf([], Email("a"))).where == "$.args[0].front"
