"""Bytes that this package did not write: one clean error, whatever they are."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.msgpack import Ext

from asyncjobs.core.codec import CorruptValueError, decode_call, decode_value, wire

pack = msgspec.msgpack.encode


def _ext_bomb(levels: int) -> bytes:
    data = pack([])
    for _ in range(levels):
        data = pack([Ext(wire.TUPLE, data)])
    return data


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\xc1", b"\x91", b"\x01\x02", b"\xa1\xff", b"\xdd\xff\xff\xff\xff",
        b"\x91" * 1_000_000 + b"\x01", _ext_bomb(300),
        b"\x81\x81\x01\x01\x01", pack(Ext(99, b"")), pack(Ext(-1, b"\xff" * 12)), pack(Ext(wire.HANDLE, b"a")),
        pack(Ext(wire.TUPLE, pack({}))), pack(Ext(wire.TUPLE, b"")), pack(Ext(wire.SET, pack([[]]))),
        pack(Ext(wire.DICT, pack([1]))), pack(Ext(wire.DICT, pack([[], 1]))), pack(Ext(wire.COMPLEX, b"1")),
        pack(Ext(wire.DECIMAL, b"x")), pack(Ext(wire.DECIMAL, b"\xff")), pack(Ext(wire.UUID_, b"1")),
        pack(Ext(wire.DATETIME, pack([1]))), pack(Ext(wire.DATETIME, pack([2024, 13, 1, 0, 0, 0, 0, 0, None]))),
        pack(Ext(wire.DATETIME, pack([b"\x07\xe8\x01\x01", 1, 1, 0, 0, 0, 0, 0, None]))),
        pack(Ext(wire.DATE, pack([b"\x07\xe8\x01\x01"]))), pack(Ext(wire.TIME, pack([b"\0\0\0\0\0\0", 0, None]))),
        pack(Ext(wire.TIME, pack([]))), pack(Ext(wire.TIME, pack([1, 0, "x"]))),
        pack(Ext(wire.TIME, pack([1, 0, [5, 0]]))),
        pack(Ext(wire.TIME, pack([1, 0, 10**14]))), pack(Ext(wire.TIMEDELTA, pack([10**15]))),
        pack(Ext(wire.TIMEDELTA, pack(["a"]))), pack(Ext(wire.PATH, b"")), pack(Ext(wire.PATH, b"xa")),
        pack(Ext(wire.ENUM, pack([]))), pack(Ext(wire.ENUM, pack([1, "a", "b", 1]))),
        pack(Ext(wire.ENUM, pack(["a", [], "b", 1]))),
        pack(Ext(wire.NAMED_TUPLE, pack([]))), pack(Ext(wire.NAMED_TUPLE, pack([None, None]))),
        pack(Ext(wire.RANGE, pack([1, 2, 0]))), pack(Ext(wire.RANGE, pack([1.5]))),
    ],
)  # fmt: skip
def test_damaged_values_are_one_clean_error(data: bytes) -> None:
    for decode in (decode_value, decode_call):
        with pytest.raises(CorruptValueError) as caught:
            decode(data)
        assert str(caught.value).startswith("stored ")


@pytest.mark.parametrize("value", [1, [], [[], {}, 1], [{}, {}], [[], []], [[], {1: 2}], "ab", {1: 1, 2: 2}])
def test_damaged_calls_are_one_clean_error(value: Any) -> None:
    with pytest.raises(CorruptValueError) as caught:
        decode_call(pack(value))
    assert str(caught.value) == "stored arguments are not a pair of a list and a dict with names"
