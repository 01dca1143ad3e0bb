"""Values as JSON has them: nothing is dropped, whatever keys and numbers there are."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from uuid import UUID

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncjobs.core.json_values import find_lone_surrogate, is_json_object, json_value


class Colour(Enum):
    RED = "red"


class Size(IntEnum):
    BIG = 3


class Text(str):
    pass


class Pair(NamedTuple):
    a: int
    b: Any


@dataclass
class Record:
    pages: Any


class Renamed(msgspec.Struct, rename="camel"):
    the_pages: Any


class Model(pydantic.BaseModel):
    pages: Any


@attrs.define
class Defined:
    pages: Any
    lacking: int = attrs.field(init=False)


class Nowhere(tzinfo):
    def __init__(self, error: type[Exception]) -> None:
        self.error = error

    def utcoffset(self, dt: datetime | None) -> Any:
        raise self.error("no offset")


class Wordless:
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({1: "number", "1": "text"}, {"int 1": "number", "1": "text"}),
        ({"1": "text", 1: "number"}, {"1": "text", "int 1": "number"}),
        ({1: "a", "1": "b", "int 1": "c"}, {"int int 1": "a", "1": "b", "int 1": "c"}),
        ({None: 1, "None": 2}, {"NoneType None": 1, "None": 2}),
        ({date(2026, 3, 1): 1, "2026-03-01": 2}, {"date 2026-03-01": 1, "2026-03-01": 2}),
        ({1.0: "float", "1.0": "text"}, {"float 1.0": "float", "1.0": "text"}),
        ({Decimal(1): 1, "1": 2, 2: 3}, {"Decimal 1": 1, "1": 2, "2": 3}),
        ({(1, 2): "pair"}, {"(1, 2)": "pair"}),
        ({(1, 2): "tuple", "(1, 2)": "text"}, {"tuple (1, 2)": "tuple", "(1, 2)": "text"}),
        ({(10**5000,): "large"}, {f"['{10**5000:#x}']": "large"}),
        ({True: "yes", "True": "text"}, {"bool True": "yes", "True": "text"}),
        ([{"deep": ({1: 2, "1": 3},)}], [{"deep": [{"int 1": 2, "1": 3}]}]),
        (Record({1: 2, "1": 3}), {"pages": {"int 1": 2, "1": 3}}),
        (Renamed({1: 2, "1": 3}), {"thePages": {"int 1": 2, "1": 3}}),
        (Model(pages={1: 2, "1": 3}), {"pages": {"int 1": 2, "1": 3}}),
        (10**5000, f"{10**5000:#x}"),
        (-(10**5000), f"{-(10**5000):#x}"),
        (10**4300 - 1, f"{10**4300 - 1:#x}"),
        (10**4299, 10**4299),
        (2**64, 2**64),
        (Size.BIG, 3),
        (Colour.RED, "red"),
        (Text("subclass"), "subclass"),
        ({Text("a"): 1}, {"a": 1}),
        (Pair(1, {2: 3}), [1, {"2": 3}]),
        (datetime(2026, 3, 1, tzinfo=UTC), "2026-03-01T00:00:00Z"),
        (UUID(int=0), "00000000-0000-0000-0000-000000000000"),
        (Path("/a/b"), "/a/b"),
        (b"\xff", "/w=="),
        (1 + 2j, "(1+2j)"),
        (range(3), "range(0, 3)"),
        (ValueError("no"), "ValueError('no')"),
        (Wordless(), "<Wordless>"),
        (Defined({1: 2, "1": 3}), {"pages": {"int 1": 2, "1": 3}}),
        (datetime(2026, 3, 1, tzinfo=Nowhere(ValueError)), "<datetime>"),
        ([datetime(2026, 3, 1, tzinfo=Nowhere(RuntimeError))], ["<datetime>"]),
        (Path(os.fsdecode(b"/a/\xff")), "/a/\\udcff"),  # JSON has no lone surrogates
        ({Path(os.fsdecode(b"\xff")): [PurePosixPath("\udcfe")]}, {"\\udcff": ["\\udcfe"]}),
        (ValueError("\udcff"), "ValueError('\\udcff')"),
        ({"password": {1: "x"}}, {"password": {"1": "x"}}),
    ],
    ids=lambda value: f"{type(value).__name__}",
)
def test_it_becomes(value: Any, expected: Any) -> None:
    assert json_value(value) == expected
    assert type(json_value(value)) is type(expected)
    text = msgspec.json.encode(json_value(value))
    assert json.loads(text) == expected


def test_a_large_number_can_be_read_back() -> None:
    for number in (10**5000, -(10**5000), 2**100_000 + 1):
        assert int(json_value(number), 0) == number


KEYS = st.one_of(
    st.integers(-3, 3), st.sampled_from(["1", "2", "int 1", "int int 1", "None", "True"]), st.none(), st.booleans(),
    st.floats(-2, 2, width=16), st.tuples(st.integers(0, 2)),
)  # fmt: skip
VALUES = st.recursive(
    st.one_of(
        st.integers(),
        st.text(),
        st.none(),
        st.booleans(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.integers(0, 3).map(lambda i: 10**4500 + i),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=6)),
    max_leaves=12,
)


def leaves(value: Any) -> int:
    if isinstance(value, dict):
        return sum(map(leaves, value.values()))
    return sum(map(leaves, value)) if isinstance(value, list) else 1


@pytest.mark.untraced
@settings(deadline=None)  # a busy machine breaks no rule
@given(VALUES)
def test_nothing_is_dropped_and_every_reader_reads_it(value: Any) -> None:
    plain = json_value(value)
    assert leaves(plain) == leaves(value)
    text = msgspec.json.encode(plain)
    assert json.loads(text, object_pairs_hook=distinct) == plain == msgspec.json.decode(text)


def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def test_what_is_json_already_is_known_without_a_walk() -> None:
    assert is_json_object({"a": 1, "b": "x", "c": None, "d": 1.5, "e": True, "f": math.inf})
    for other in ({1: 1}, {"a": 10**5000}, {"a": {1: 1}}, {"a": [1]}, {"a": b""}):
        assert not is_json_object(other)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (r'"\ud800"', []),
        (r'["a", "\udc00b"]', [1]),
        (r'[null, true, 1, {}, "\ud800"]', [4]),
        (r'[null, {"a": false}]', None),
        (r'{"a": {"b": [1, "x\ud83d"]}}', ["a", "b", 1]),
        (r'{"a": {"\ud800": 1}}', ["a", r"\ud800"]),
        (b'{"a": "\xed\xa0\x80"}', ["a"]),
        ('["\udcff"]', [0]),
        (r'["\ud83d\ude00", "' + "9" * 5000 + r'", "\ude00\ud83d"]', [2]),
        (r'["\ud83d\ude00"]', None),
        (r'["\ud83d"', None),
        ("[" * 100_000, None),
        ("[1", None),
        ("", None),
    ],
)
def test_a_lone_surrogate_is_found_where_it_is_and_what_is_no_json_is_not_taken_for_one(
    text: str | bytes, where: list[str | int] | None
) -> None:
    assert find_lone_surrogate(text) == where
