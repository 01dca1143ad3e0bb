"""Values come back equal and of equal type; equal values have equal bytes in every process; bytes never crash."""

from __future__ import annotations

import contextlib
import datetime as dt
import math
import os
import subprocess
import sys
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum, IntFlag
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asyncjobs.core.codec import (
    CorruptValueError,
    bind_arguments,
    convert_arguments,
    decode_call,
    decode_value,
    encode_call,
    encode_value,
)

pytestmark = pytest.mark.untraced  # what it reaches, the tests of the codec name one by one

quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Color(Enum):
    RED = "red"
    MIXED = (1, "x")


class Access(IntFlag):
    READ = 1
    WRITE = 2


class Pair(NamedTuple):
    first: Any
    second: Any


class Handle(str):
    __slots__ = ()


@dataclass
class Record:
    name: str
    data: Any = None
    parts: list[Record] = field(default_factory=list)


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
zones = (
    st.none()
    | st.just(dt.UTC)
    | st.timezones()
    | st.integers(-1439, 1439).map(lambda minutes: dt.timezone(dt.timedelta(minutes=minutes)))
)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-(2**200), 2**200), st.floats(), text, st.binary(max_size=8),
    st.decimals(allow_nan=False), st.complex_numbers(), st.uuids(), st.dates(), st.timedeltas(),
    st.datetimes(timezones=zones), st.times(timezones=zones), st.sampled_from([*Color, *Access, Access(3)]),
    text.filter(lambda name: "\0" not in name).flatmap(
        lambda name: st.sampled_from([Path(name), PurePosixPath(name), PureWindowsPath(name)])
    ),
    st.builds(range, st.integers(), st.integers(), st.integers(1, 2**70)),
)  # fmt: skip
keys = st.recursive(
    scalars.filter(lambda value: value == value),  # nan is no key that anybody finds again
    lambda inner: (
        st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3) | st.builds(Pair, inner, inner)
    ),
    max_leaves=4,
)
values = st.recursive(
    scalars | keys | st.binary(max_size=4).map(bytearray) | st.sets(keys, max_size=3),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(keys, inner, max_size=3),
        st.dictionaries(text, inner, max_size=3),
        st.builds(Pair, inner, inner),
    ),
    max_leaves=12,
)


def same(a: Any, b: Any) -> bool:
    """Equal and of equal types, all the way down; nan is nan."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float) and math.isnan(a):
        return math.isnan(b)
    if isinstance(a, complex):
        return same((a.real, a.imag), (b.real, b.imag))
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return same(list(a.items()), list(b.items()))
    if isinstance(a, (set, frozenset)):
        return a == b and sorted(map(repr, map(type, a))) == sorted(map(repr, map(type, b)))
    if isinstance(a, (dt.datetime, dt.time)):
        return a.isoformat() == b.isoformat() and a.fold == b.fold and a.tzinfo == b.tzinfo
    return bool(a == b)


@quick
@given(values)
def test_values_come_back(value: Any) -> None:
    data = encode_value(value)
    again = decode_value(data)
    assert same(again, value)
    # Also what was read is written the same: that is what resubmission compares.
    assert encode_value(again) == data


@quick
@given(st.lists(values, max_size=4).map(tuple), st.dictionaries(text, values, max_size=4))
def test_calls_come_back(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    call = encode_call(args, kwargs, Handle)
    again_args, again_kwargs = decode_call(call.data)
    assert same(again_args, args)
    assert same(again_kwargs, dict(sorted(kwargs.items())))
    assert call == encode_call(args, dict(reversed(kwargs.items())), Handle)


@quick
@given(
    st.recursive(
        text.map(Handle) | scalars,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(text, inner, max_size=3)
            | st.lists(inner, max_size=3).map(tuple)
        ),
        max_leaves=8,
    )
)
def test_handles_become_their_values(value: Any) -> None:
    seen: list[str] = []

    def resolve(job_id: str) -> Any:
        seen.append(job_id)
        return ("result of", job_id)

    def resolved(part: Any) -> Any:
        match part:
            case Handle():
                return ("result of", str(part))
            case list() | tuple():
                return type(part)(map(resolved, part))
            case dict():
                return {key: resolved(item) for key, item in part.items()}
            case _:
                return part

    call = encode_call((value,), {}, Handle)
    (again,), _ = decode_call(call.data, resolve)
    assert same(again, resolved(value))
    assert call.handles == tuple(dict.fromkeys(seen))


records = st.recursive(
    st.builds(Record, text, scalars),
    lambda inner: st.builds(Record, text, scalars, st.lists(inner, max_size=3)),
    max_leaves=6,
)


def takes(record: Record, more: list[Record | None]) -> None: ...


@quick
@given(records, st.lists(records | st.none(), max_size=3))
def test_records_come_back_by_annotation(record: Record, more: list[Record | None]) -> None:
    stored = encode_call(*bind_arguments(takes, (record,), {"more": more}))
    args, kwargs = convert_arguments(takes, *decode_call(stored.data))
    assert not kwargs
    assert repr(args) == repr((record, more))


# -- bytes that nobody wrote


def _survives(data: bytes) -> None:
    for decode in (decode_value, decode_call, lambda bad: decode_call(bad, lambda job_id: [job_id])):
        with contextlib.suppress(CorruptValueError):
            decode(data)


@settings(quick, max_examples=300)
@given(st.binary(max_size=60))
def test_random_bytes_are_clean_errors(data: bytes) -> None:
    _survives(data)
    # As the data of every extension type; 0xc7 is the head of one.
    for code in range(20):
        _survives(bytes([0xC7, len(data), code]) + data)


@quick
@given(values, st.data())
def test_damaged_bytes_are_clean_errors(value: Any, data: st.DataObject) -> None:
    whole = encode_call((value, Handle("id")), {"k": value}, Handle).data
    _survives(whole[: data.draw(st.integers(0, len(whole)))])
    broken = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    _survives(bytes(broken))


@quick
@given(st.recursive(st.none() | st.integers() | st.text(max_size=5) | st.binary(max_size=5),
                    lambda inner: st.lists(inner, max_size=9), max_leaves=12), st.integers(0, 19))  # fmt: skip
def test_wrong_parts_of_extensions_are_clean_errors(parts: Any, code: int) -> None:
    inner = encode_value(parts)
    _survives(b"\xc9" + len(inner).to_bytes(4, "big") + bytes([code]) + inner)


# -- the same bytes everywhere

_SCRIPT = """
import datetime as dt, enum, sys
from decimal import Decimal
from asyncjobs.core.codec import encode_call
class Color(enum.Enum):
    RED = "red"; BLUE = "blue"
letters = {"alpha", "beta", "gamma", 1, 2.5, None, (1, "x"), frozenset({"p", "q", "r"}), *Color, Decimal("1.5")}
kwargs = {name: letters for name in {"one", "two", "three", "four"}}
call = encode_call((letters, frozenset(letters), {1: {"x", "y", "z"}}, {frozenset("abc"): 1}), kwargs)
print(call.data.hex())
"""


def test_equal_values_have_equal_bytes_in_every_process(tmp_path: Path) -> None:
    script = tmp_path / "codec_script.py"
    script.write_text(_SCRIPT)
    root = Path(__file__).parents[2]
    seen = {
        subprocess.run(
            [sys.executable, str(script)],
            env={**os.environ, "PYTHONPATH": str(root), "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("0", "1", "2", "77")
    }
    assert len(seen) == 1
    assert len(seen.pop()) > 1000
    assert Decimal("1.5") == decode_value(encode_value(Decimal("1.5")))
