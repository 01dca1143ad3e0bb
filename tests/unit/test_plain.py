"""Metadata and the data of events: what every reader can read back, and refusals with the path to what cannot be."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from enum import Enum, IntEnum
from types import MappingProxyType
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from asyncjobs.core.plain import event_data, json_copy, metadata
from asyncjobs.exceptions import NotSerializableError


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "something else"


class Share(float):
    __slots__ = ()


class Size(IntEnum):
    BIG = 3


class Colour(Enum):
    RED = "red"
    MIXED = (1, "a")


class Tag(str, Enum):  # noqa: UP042 - its str() is not its value, unlike that of a StrEnum
    NEW = "new"


class Point(msgspec.Struct):
    x: int


@dataclass
class Page:
    number: int


class Nowhere(tzinfo):
    def utcoffset(self, dt: datetime | None) -> Any:
        raise RuntimeError("no offset")


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"in": value}
    return value


STORED: list[tuple[Any, Any]] = [
    ({}, {}),
    ({"a": None, "b": True, "c": -1, "d": 1.5, "e": "x"}, {"a": None, "b": True, "c": -1, "d": 1.5, "e": "x"}),
    ({"a": [1, (2, {"b": []})]}, {"a": [1, [2, {"b": []}]]}),
    (MappingProxyType({"a": MappingProxyType({})}), {"a": {}}),
    ({Text("a"): Text("b")}, {"a": "b"}),
    ({Tag.NEW: Tag.NEW}, {"new": "new"}),
    ({"a": Size.BIG, "b": Share(0.5)}, {"a": 3, "b": 0.5}),
    ({"a": Colour.RED, "b": [Colour.MIXED]}, {"a": "red", "b": [[1, "a"]]}),
    ({"a": 2**64 - 1, "b": -(2**63)}, {"a": 2**64 - 1, "b": -(2**63)}),
    (nested(100), nested(100)),
]


@pytest.mark.parametrize(("value", "stored"), STORED)
def test_plain_values_and_subclasses_of_their_types_are_stored_as_plain_values(value: Any, stored: Any) -> None:
    data, size = event_data(value)
    for seen in (data, msgspec.json.decode(metadata(value))):
        assert same(seen, stored)
    assert size == len(msgspec.msgpack.encode(data))


def same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return type(other) is dict and list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return type(other) is list and len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and bool(one == other)


keys = st.text(max_size=3) | st.sampled_from([Text("a"), "\ud800", 1])
atoms = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 2**1024, "\ud800", Text("b"), Size.BIG, Decimal(1)])
    | st.floats()
    | st.text(max_size=3)
    | st.binary(max_size=3)
)
values = st.recursive(atoms, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(keys, inner, max_size=2))


def written(value: Any) -> bytes | str:
    try:
        return metadata(value)
    except NotSerializableError as error:
        return str(error)


@pytest.mark.untraced
@settings(max_examples=300, deadline=None)
@given(st.dictionaries(keys, atoms, max_size=3) | st.dictionaries(keys, values, max_size=3))
@example({"a": math.nan})
@example({"a": -math.inf, "b": "x"})
def test_metadata_that_is_encoded_without_a_copy_gives_the_bytes_or_the_refusal_of_the_walk(value: Any) -> None:
    assert written(value) == written(MappingProxyType(value))  # which is no dict, and so walked through


def test_what_is_stored_is_a_copy() -> None:
    for value in ({"a": 1}, {"a": [1]}):
        data, _ = event_data(value)
        value["a"] = 2
        assert data["a"] in (1, [1])


@pytest.mark.parametrize(
    ("value", "where", "what"),
    [
        ({"a": math.nan}, ".a", "nan, which JSON does not have"),
        ({"a": [0.0, -math.inf]}, ".a[1]", "-inf, which JSON does not have"),
        ({"a": Decimal(1)}, ".a", "a decimal.Decimal, which JSON does not have"),
        ({"a": {"b": b"x"}}, ".a.b", "bytes, which JSON does not have"),
        ({"a": datetime(2026, 1, 1, tzinfo=UTC)}, ".a", "a datetime.datetime, which JSON does not have"),
        ({"a": {1}}, ".a", "a set, which JSON does not have"),
        ({1: "a"}, "", "keyed by 1, which is not a string"),
        ({"a": {None: 1}}, ".a", "keyed by None, which is not a string"),
        ({("a",): 1}, "", "keyed by a tuple, which is not a string"),
        ({"a": "\ud800"}, ".a", "a string with a lone surrogate at index 0"),
        ({"a b\ud800": 1}, "", "a string with a lone surrogate at index 3"),
        ({"a": 10**400}, ".a", "a whole number that is too large"),
        ([("a", 1)], "", "a list, and not a dict"),
        (None, "", "a NoneType, and not a dict"),
        (nested(101), ".in" * 100, "nested deeper than 100 levels"),
        ({"a": object()}, ".a", "an object, which JSON does not have"),
    ],
)
def test_metadata_that_json_does_not_have_is_refused_with_its_path(value: Any, where: str, what: str) -> None:
    with pytest.raises(NotSerializableError) as caught:
        metadata(value)
    path = caught.value.where
    assert path == f"$.metadata{where}" or ("…" in path and path.endswith(where[-60:]))
    assert what in caught.value.what


def test_metadata_has_whole_numbers_as_far_as_a_float_goes() -> None:
    assert msgspec.json.decode(metadata({"a": 2**64}), type=dict[str, Any])
    assert metadata({"a": -(2**1000)}) == b'{"a":%d}' % -(2**1000)


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ({1: "a", Size.BIG: "b"}, {"1": "a", "3": "b"}),
        ({"a": b"x", "b": bytearray(b"y")}, {"a": b"x", "b": b"y"}),
        ({"a": {1}, "b": frozenset({"x"})}, {"a": [1], "b": ["x"]}),
        ({"a": math.inf}, {"a": math.inf}),
        ({"a": datetime(2026, 1, 1, tzinfo=UTC)}, {"a": "2026-01-01T00:00:00Z"}),
        ({"a": UUID(int=0)}, {"a": "00000000-0000-0000-0000-000000000000"}),
        ({"a": Decimal("1.10")}, {"a": "1.10"}),
        ({"a": Page(1), "b": [Point(2)]}, {"a": {"number": 1}, "b": [{"x": 2}]}),
        ({"a": "x\ud800y"}, {"a": "x\\ud800y"}),
        ({"\udcff": 1}, {"\\udcff": 1}),
    ],
)
def test_the_data_of_an_event_may_hold_more(value: Any, stored: Any) -> None:
    data, size = event_data(value)
    assert same(data, stored)
    assert size == len(msgspec.msgpack.encode(data))


@pytest.mark.parametrize(
    ("value", "where", "what"),
    [
        ({1: "a", "1": "b"}, "", "keyed twice by '1', as a number and as a string"),
        ({True: "a"}, "", "keyed by True, which is not a string"),
        ({1.5: "a"}, "", "keyed by 1.5, which is not a string"),
        ({"a": {"b": 2**64}}, ".a.b", "a whole number that is too large"),
        ({"a": [{1, -(2**63) - 1}]}, ".a[0]", "a whole number that is too large"),
        ({"a": object()}, ".a", "an object, which cannot be stored"),
        ({"a": 1j}, ".a", "a complex, which cannot be stored"),
        ({"a": Page(10**30)}, ".a", "a whole number that is too large"),
        ({"a": int}, ".a", "a type, which cannot be stored"),
        ({"a": datetime(2026, 1, 1, tzinfo=Nowhere())}, ".a", "a datetime.datetime, which cannot be stored"),
        (nested(101), ".in" * 100, "nested deeper than 100 levels"),
        ("text", "", "a str, and not a dict"),
    ],
)
def test_the_data_of_an_event_that_cannot_be_stored_is_refused_with_its_path(value: Any, where: str, what: str) -> None:
    with pytest.raises(NotSerializableError) as caught:
        event_data(value)
    path = caught.value.where
    assert path.startswith(f"$.data{where}") or ("…" in path and path.endswith(where[-60:]))
    assert what in caught.value.what


def test_what_is_inside_itself_is_refused() -> None:
    circle: dict[str, Any] = {}
    circle["a"] = [circle]
    for store in (metadata, event_data):
        with pytest.raises(NotSerializableError, match="nested deeper than 100 levels"):
            store(circle)


@pytest.mark.parametrize("value", [True, 0, 1.5, "no", None, [1, ["a"]], {"a": {"b": None}}])
def test_an_answer_is_copied_as_json_has_it(value: Any) -> None:
    copy = json_copy(value, "$.value")
    assert (copy, type(copy)) == (value, type(value))
    assert copy is not value or not isinstance(value, list | dict)


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (datetime(2026, 1, 1, tzinfo=UTC), "$.value"),
        (b"bytes", "$.value"),
        ([1, {"a": math.nan}], "$.value[1].a"),
        ({"a": [object()]}, "$.value.a[0]"),
    ],
)
def test_what_json_does_not_have_is_no_answer(value: Any, where: str) -> None:
    with pytest.raises(NotSerializableError) as caught:
        json_copy(value, "$.value")
    assert caught.value.where == where
