"""Equal arguments are equal: the same bytes, or bytes that differ only in the order of dict items. Types count."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, make_dataclass
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple

import pytest

from asyncjobs.core.codec import encode_arguments, encode_call, from_json, same_call, same_function


@dataclass
class Order:
    lines: dict[str, int]


@dataclass
class Offer:
    lines: dict[str, int]


class Pair(NamedTuple):
    first: Any
    second: Any


class Kind(Enum):
    A = "a"


def call(*args: Any, **kwargs: Any) -> bytes:
    return encode_call(args, kwargs).data


AB, BA = {"a": 1, "b": [2]}, {"b": [2], "a": 1}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (AB, BA),
        ([{"x": AB}], [{"x": BA}]),
        ((1, AB), (1, BA)),
        (Pair(1, AB), Pair(1, BA)),
        ({1: AB, (2, 3): 4}, {(2, 3): 4, 1: BA}),
        (Order({"a": 1, "b": 2}), Order({"b": 2, "a": 1})),
        ({"x": {1, 2, 3}}, {"x": {3, 2, 1}}),
        ({"a": Decimal("1.0"), "b": Kind.A}, {"b": Kind.A, "a": Decimal("1.0")}),
        ({"a": float("nan"), "b": 1}, {"b": 1, "a": float("nan")}),
    ],
    ids=repr,
)
def test_the_order_of_dict_items_does_not_count(one: Any, other: Any) -> None:
    assert same_call(call(one), call(other))
    assert same_call(call(1, x=one), call(1, x=other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, True), (1, 1.0), (True, 1.0), (0.0, -0.0), ("a", b"a"), ([1], (1,)), ({"a": 1}, {"a": 2}),
        ({"a": 1, "b": 2}, {"b": 1, "a": 2}), ({1: 2}, {True: 2}), ({1: 2}, {"1": 2}), ([1, 2], [2, 1]),
        ((AB, BA, 1), (AB, BA, 2)), (Order({"a": 1}), Offer({"a": 1})), (Order({"a": 1}), {"lines": {"a": 1}}),
        (Pair(1, 2), (1, 2)), (Kind.A, "a"), (Decimal("1.0"), Decimal("1.00")), ({1, 2}, frozenset({1, 2})),
    ],
    ids=repr,
)  # fmt: skip
def test_types_and_values_count(one: Any, other: Any) -> None:
    assert not same_call(call(one), call(other))
    assert not same_call(call({"x": one, "y": AB}), call({"y": BA, "x": other}))


def test_a_marked_dict_is_the_dict_that_came_as_json() -> None:
    def takes(value: Order | dict[str, Any]) -> None: ...

    marked, plain = (encode_arguments(takes, (value,), {}).data for value in (AB, from_json(BA)))
    assert marked != plain
    assert same_call(marked, plain)


@pytest.mark.parametrize("damage", [bytes.hex, lambda data: data[:-1], lambda data: b"\xc1" + data])
def test_what_cannot_be_decoded_is_compared_as_bytes(damage: Callable[[bytes], Any]) -> None:
    whole = call(AB)
    broken = damage(whole)
    broken = broken.encode() if isinstance(broken, str) else broken
    assert same_call(broken, broken)
    assert not same_call(broken, whole)
    assert not same_call(whole, broken)


# -- a script is a module elsewhere: ``python shop.py`` stores ``/srv/shop.py``, ``--app shop:jp`` stores ``shop``


def sold(module: str, number: int = 1, name: str = "Sale") -> bytes:
    """A record in a dict of a call, of a class that says it belongs to this module."""
    cls = make_dataclass(name, [("number", int)])
    cls.__module__ = module
    return call([{"of": cls(number)}], "/srv/x.py")


@pytest.mark.parametrize("module", ["shop", "app.shop", "/home/me/shop.py"])
def test_a_class_of_a_script_is_that_of_the_module_of_its_file_name(module: str) -> None:
    assert same_call(sold("/srv/shop.py"), sold(module))
    assert same_call(sold(module), sold("/srv/shop.py"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (sold("/srv/shop.py"), sold("/srv/shops.py")),
        (sold("/srv/shop.py"), sold("shops")),
        (sold("/srv/shop.py"), sold("shop", 2)),
        (sold("/srv/shop.py"), sold("shop", name="Offer")),
        (sold("a.shop"), sold("b.shop")),
    ],
)
def test_other_modules_classes_and_values_differ(one: bytes, other: bytes) -> None:
    assert not same_call(one, other)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("/srv/shop.py:sell", "shop:sell", True),
        ("shop:sell", "/srv/shop.py:sell", True),
        ("/srv/shop.py:Till.sell", "app.shop:Till.sell", True),
        ("/srv/shop.py:sell", "/home/me/shop.py:sell", True),
        ("/srv/shop.py:sell", "shop:buy", False),
        ("/srv/shop.py:sell", "shops:sell", False),
        ("a.shop:sell", "b.shop:sell", False),
        ("local:a:sell", "a:sell", False),
    ],
)
def test_a_function_of_a_script_is_that_of_the_module_of_its_file_name(one: str, other: str, same: bool) -> None:
    assert same_function(one, other) is same
