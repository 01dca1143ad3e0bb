"""Plain values as attribute values of DynamoDB, and back."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Any

import pytest

from asyncjobs.backends.sqs import values


class Colour(StrEnum):
    RED = "red"


class Size(IntEnum):
    LARGE = 3


KINDS = [
    ("text", {"S": "text"}),
    ("", {"S": ""}),
    (0, {"N": "0"}),
    (-(10**37), {"N": str(-(10**37))}),
    (True, {"BOOL": True}),
    (b"\x00\xff", {"B": b"\x00\xff"}),
    ([1, "a", [b"b"]], {"L": [{"N": "1"}, {"S": "a"}, {"L": [{"B": b"b"}]}]}),
    ({"a": 1, "b": {"c": False}}, {"M": {"a": {"N": "1"}, "b": {"M": {"c": {"BOOL": False}}}}}),
]


@pytest.mark.parametrize(("value", "stored"), KINDS, ids=[next(iter(stored)) + str(value) for value, stored in KINDS])
def test_a_value_has_the_type_of_dynamodb_and_comes_back(value: Any, stored: dict[str, Any]) -> None:
    assert values.attribute(value) == stored
    assert values.plain(stored) == value


def test_members_of_enums_are_stored_as_what_they_are() -> None:
    assert values.item({"colour": Colour.RED, "size": Size.LARGE}) == {"colour": {"S": "red"}, "size": {"N": "3"}}


def test_a_tuple_is_stored_as_a_list() -> None:
    assert values.plain(values.attribute((1, 2))) == [1, 2]


def test_an_item_leaves_out_what_is_none() -> None:
    assert values.item({"a": None, "b": 1}) == {"b": {"N": "1"}}
    assert values.plain_item({"b": {"N": "1"}}) == {"b": 1}


@pytest.mark.parametrize("value", [1.5, None, {"a"}], ids=["float", "none", "set"])
def test_what_no_attribute_holds_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match=f"no attribute holds a {type(value).__name__}"):
        values.attribute(value)
