"""Whether two stored calls are the same: what ``if_exists="return"`` asks."""

from __future__ import annotations

from itertools import chain
from typing import Any, cast

from msgspec import msgpack
from msgspec.msgpack import Ext

from asyncjobs.core.codec import wire
from asyncjobs.core.codec.decoding import FAILURES

_encode = msgpack.Encoder().encode
# Extensions with values in them.
_NESTED = frozenset({wire.TUPLE, wire.NAMED_TUPLE, wire.DICT, wire.ENUM, wire.RECORD})


def same_call(stored: bytes, given: bytes) -> bool:
    """Whether two encoded calls are equal: the same bytes, or bytes that differ only in the order of dict items.

    Types count: 1, True and 1.0 are three values. What cannot be decoded is compared as bytes.
    """
    try:
        return stored == given or _ordered(stored) == _ordered(given)
    except FAILURES:
        return False


def _ordered(data: bytes | memoryview) -> bytes:
    return _encode(_form(msgpack.decode(data, ext_hook=_extension)))


def _extension(code: int, data: memoryview) -> Ext:
    if code not in _NESTED:
        return Ext(code, bytes(data))
    parts: Any = msgpack.decode(data, ext_hook=_extension)
    if code == wire.DICT:
        pairs = iter(cast("list[Any]", parts))
        return _dict(zip(pairs, pairs, strict=True))
    return Ext(code, _encode(_form(parts)))


def _form(value: Any) -> Any:
    """The value with every dict as its sorted items."""
    if isinstance(value, list):
        return [_form(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        return _dict(cast("dict[Any, Any]", value).items())
    return value


def _dict(items: Any) -> Ext:
    pairs = sorted((_encode(_form(key)), _encode(_form(item))) for key, item in items)
    return Ext(wire.DICT, b"".join(chain.from_iterable(pairs)))
