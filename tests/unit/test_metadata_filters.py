"""What the metadata of jobs can be compared with, as values of a program and as texts of people and URLs."""

from __future__ import annotations

from enum import Enum, IntEnum, StrEnum
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import json

from asyncjobs.backends.matching import contains
from asyncjobs.core import plain
from asyncjobs.exceptions import ConfigurationError, NotSerializableError
from asyncjobs.metadata_filters import checked_filter, parse_texts
from asyncjobs.models import Handle
from asyncjobs.requests import JobQuery


class Colour(StrEnum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


class Kind(Enum):
    CREW = "crew"


class Shout(str):
    def __str__(self) -> str:
        return self.upper()


HANDLE: Any = Handle.__new__(Handle, "one")


@pytest.mark.parametrize(
    ("value", "compared"),
    [
        ("red", "red"),
        (Colour.RED, "red"),
        (Shout("red"), "red"),
        (HANDLE, "one"),
        (Level.HIGH, 3),
        (Kind.CREW, "crew"),
        (True, True),
        (None, None),
        (1.5, 1.5),
        (2**1023 - 1, 2**1023 - 1),
        ("a\0b", "a\0b"),
        ([1, Colour.RED], [1, "red"]),
        ((), []),
        (frozenset({2}), [2]),
        (range(2), [0, 1]),
    ],
    ids=repr,
)
def test_values_are_compared_as_they_are_stored(value: Any, compared: Any) -> None:
    given: Any = JobQuery(metadata=MappingProxyType({Colour.RED: value})).metadata
    assert given == {"red": compared}
    assert json.encode(given) == json.encode({"red": compared}), "and are plain"
    if not isinstance(compared, list):
        assert contains(json.decode(plain.metadata({"red": value})), given)


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("-inf"), 2**1023, -(2**1023), "\ud800", b"x", bytearray(b"x"), {"b": 1}, {}, 1j, object()],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("of", [lambda value: value, lambda value: ["x", value]], ids=["alone", "in a list"])
def test_what_metadata_cannot_have_is_refused(value: Any, of: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^JobQuery\.metadata cannot be \{'a': ") as refused:
        JobQuery(metadata={"a": of(value)})
    assert refused.value.field == "JobQuery.metadata"
    assert "strings, finite numbers, booleans and None" in str(refused.value)
    if not isinstance(value, dict):
        with pytest.raises(NotSerializableError):
            plain.metadata({"a": value if value not in (2**1023, -(2**1023)) else 2 * value})


@pytest.mark.parametrize("key", [1, None, "\ud800"], ids=repr)
def test_keys_are_texts(key: Any) -> None:
    with pytest.raises(ConfigurationError, match="keys that are strings"):
        JobQuery(metadata={key: 1})


def test_a_list_in_a_list_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"JobQuery\.metadata"):
        JobQuery(metadata={"a": [[1]]})


def test_only_so_much_is_compared_with_many_jobs() -> None:
    assert JobQuery(metadata={str(i): list(range(20)) for i in range(20)}).metadata
    with pytest.raises(ConfigurationError, match="has 21 keys, and at most 20") as refused:
        JobQuery(metadata={str(i): i for i in range(21)})
    assert refused.value.hint
    with pytest.raises(ConfigurationError, match="has 21 values for 'a', and at most 20") as refused:
        JobQuery(metadata={"a": list(range(21))})
    assert refused.value.hint


# -- texts


@pytest.mark.parametrize(
    ("text", "found", "others"),
    [
        ("crew", ["crew"], ["Crew", "crew ", "cre", None, True, 0, ["crew"], {"crew": 1}]),
        ("3", [3, 3.0, "3"], ["3.0", " 3", "03", 4, True, [3]]),
        ("3.0", [3, 3.0, "3.0"], ["3"]),
        ("1e2", [100, 100.0, "1e2"], ["100"]),
        ("-0", [0, "-0"], ["0", False]),
        ("1", [1, 1.0, "1"], [True, "true"]),
        ("true", [True, "true"], [1, 1.0, "True", "1"]),
        ("false", [False, "false"], [0, None, ""]),
        ("null", [None, "null"], ["", False, 0, "None"]),
        ("None", ["None"], [None, "null"]),
        ("True", ["True"], [True, "true"]),
        ("", [""], [None, False, 0, " "]),
        (" 3", [" 3"], [3, "3"]),
        ("03", ["03"], [3, "3"]),
        ("+3", ["+3"], [3]),
        ('"3"', ['"3"'], ["3", 3]),
        ("[3]", ["[3]"], [[3], 3, "3"]),
        ("{}", ["{}"], [{}]),
        ("NaN", ["NaN"], [None]),
        ("1e999", ["1e999"], [1e308]),
        ("9" * 512, ["9" * 512], [int("9" * 300)]),
        (str(2**64 + 1), [2**64 + 1, str(2**64 + 1)], [2**64, float(2**64)]),
        ("a=b", ["a=b"], ["a", "b"]),
        ("☃\0\U0001f4a9", ["☃\0\U0001f4a9"], ["☃"]),
    ],
)
def test_a_text_finds_texts_and_the_number_boolean_or_null_that_it_is(
    text: str, found: list[Any], others: list[Any]
) -> None:
    wanted = checked_filter("?", parse_texts([("n", text)], "{}"))
    assert [value for value in (*found, *others) if contains({"n": value}, wanted)] == found
    assert not contains({}, wanted)
    assert not contains({"m": found[0]}, wanted)


@given(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text())
def test_each_value_is_found_by_its_text(value: Any) -> None:
    text = value if isinstance(value, str) else json.encode(value).decode()
    stored = json.decode(plain.metadata({"n": value}))
    assert contains(stored, checked_filter("?", parse_texts([("n", text)], "{}")))


@pytest.mark.parametrize(
    ("given", "problem", "hint"),
    [
        ([("", "x")], "--metadata =x has no key", "--metadata kind=crew, for example"),
        ([("n", "3"), ("n", "4")], "--metadata n cannot be both '3' and '4'", "give one value"),
        ([("n", "3"), ("n", "3.0")], "--metadata n cannot be both '3' and '3.0'", "give one value"),
        ([("k" * 513, "x")], "its key has 513 characters, and at most 512", "filter by other metadata"),
        ([("k", "x" * 1000)], "--metadata k: its value has 1,000 characters, and at most 512", "filter by other"),
    ],
    ids=str,
)
def test_texts_that_cannot_be_compared_are_refused_with_key_value_and_fix(
    given: list[tuple[str, str]], problem: str, hint: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse_texts(given, "--metadata {}")
    assert problem in refused.value.args[0]
    assert hint in str(refused.value.hint)
    assert len(str(refused.value)) < 300


def test_the_same_twice_is_once_and_the_longest_are_compared() -> None:
    assert parse_texts([("n", "x"), ("n", "x")], "{}") == {"n": ["x"]}
    assert parse_texts([("k" * 512, "x" * 512)], "{}") == {"k" * 512: ["x" * 512]}
