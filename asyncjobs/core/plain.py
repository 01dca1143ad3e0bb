"""Check and copy plain data: the metadata of a job, the data of an event.

What is accepted here can be read back by every reader, and can be sent as JSON.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, cast

import msgspec

from asyncjobs.core.codec.names import kind_of
from asyncjobs.core.codec.refusals import Refusal, key_step
from asyncjobs.core.codec.wire import INT_MAX, INT_MIN, MAX_DEPTH
from asyncjobs.metadata_filters import FLOAT_BITS

_NAMES: frozenset[type] = frozenset({str})
_NO_JSON = "JSON has null, booleans, numbers, strings, lists, dicts"


def metadata(value: object) -> bytes:
    """Encode the metadata of a job as JSON.

    Subclasses of plain types (``numpy.float64``, an ``IntEnum``) are stored as the plain type. What JSON does not have
    (NaN, Decimal, keys that are not strings) is refused.

    :raises NotSerializableError: with the path to what cannot be stored.
    """
    if type(value) is dict:
        flat = cast("dict[Any, Any]", value)
        if _NAMES.issuperset(map(type, flat)) and all(map(_is_json, flat.values())):
            try:
                return msgspec.json.encode(flat)
            except UnicodeEncodeError:
                pass  # the walk names which
    try:
        return msgspec.json.encode(_Walk(for_events=False).mapping(cast("object", value)))
    except Refusal as refusal:
        raise refusal.at("$.metadata") from None


def _is_json(value: object) -> bool:
    """Return whether a value is of the common kinds that are JSON as they are."""
    return value is None or type(value) in _ALWAYS_JSON or (type(value) is int and INT_MIN <= value <= INT_MAX)


def event_data(data: object) -> tuple[dict[str, Any], int]:
    """Copy the data that a body stores with an event, and return it with its encoded size in bytes.

    The rules are those of ``metadata``, except that integer keys become text as in JSON, bytes and NaN stay, and what
    msgspec turns into plain values (datetimes, UUIDs, dataclasses) is stored as these.

    :raises NotSerializableError: with the path to what cannot be stored.
    """
    try:
        if type(data) is dict:
            flat = cast("dict[Any, Any]", data)
            if _NAMES.issuperset(map(type, flat)) and _ATOMS.issuperset(map(type, flat.values())):
                try:
                    return dict(flat), len(_encode(flat))
                except (OverflowError, UnicodeEncodeError):
                    pass  # the walk names which
        copy = _Walk(for_events=True).mapping(cast("object", data))
        return copy, len(_encode(copy))
    except Refusal as refusal:
        raise refusal.at("$.data") from None


def json_copy(value: object, where: str) -> Any:
    """Copy a value that has only what JSON has, by the rules of ``metadata``.

    :raises NotSerializableError: with the path to what JSON does not have, which starts with ``where``.
    """
    try:
        return _Walk(for_events=False).value(value)
    except Refusal as refusal:
        raise refusal.at(where) from None


_encode = msgspec.msgpack.Encoder().encode
_ALWAYS_JSON: frozenset[type] = frozenset({bool, str})
_ATOMS: frozenset[type] = frozenset({type(None), bool, int, float, str, bytes})


class _Walk:
    def __init__(self, *, for_events: bool) -> None:
        self._for_events = for_events
        self._depth = 0

    def mapping(self, value: object) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise Refusal(f"{kind_of(value)}, and not a dict")
        self._enter()
        copy: dict[str, Any] = {}
        for key, item in cast("Mapping[Any, Any]", value).items():
            name = self._key(key)
            if name in copy:
                raise Refusal(f"keyed twice by {name!r}, as a number and as a string")
            try:
                copy[name] = self.value(item)
            except Refusal as refusal:
                refusal.steps.append(key_step(key))
                raise
        self._depth -= 1
        return copy

    def _items(self, values: Iterable[Any]) -> list[Any]:
        self._enter()
        copy: list[Any] = []
        for value in values:
            try:
                copy.append(self.value(value))
            except Refusal as refusal:
                refusal.steps.append(f"[{len(copy)}]")
                raise
        self._depth -= 1
        return copy

    def _enter(self) -> None:
        if self._depth >= MAX_DEPTH:
            hint = "store it in a flatter form, or in a file and its path here"
            raise Refusal(f"nested deeper than {MAX_DEPTH} levels", hint)
        self._depth += 1

    def _key(self, key: Any) -> str:
        if isinstance(key, str):
            return self._text(key)
        if self._for_events and isinstance(key, int) and not isinstance(key, bool):
            return str(int(key))
        raise Refusal(f"keyed by {_shown(key)}, which is not a string", "use str(key)")

    def value(self, value: Any) -> Any:
        if value is None or value is True or value is False:
            return value
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, int):
            return self._int(int.__int__(value))
        if isinstance(value, float):
            return self._float(float.__float__(value))
        if isinstance(value, Mapping):
            return self.mapping(cast("object", value))
        if isinstance(value, (list, tuple)):
            return self._items(cast("Iterable[Any]", value))
        if isinstance(value, Enum):
            return self.value(value._value_)
        return self._other(value)

    def _text(self, value: str) -> str:
        text = str.__str__(value)
        try:
            text.encode()
        except UnicodeEncodeError as error:
            if self._for_events:
                return text.encode("utf-8", "backslashreplace").decode()
            raise Refusal(f"a string with a lone surrogate at index {error.start}", _NO_JSON) from None
        return text

    def _int(self, value: int) -> int:
        if INT_MIN <= value <= INT_MAX or (not self._for_events and value.bit_length() < FLOAT_BITS):
            return value
        raise Refusal("a whole number that is too large", "store it as a string: str(number)")

    def _float(self, value: float) -> float:
        if not self._for_events and not math.isfinite(value):
            raise Refusal(f"{value}, which JSON does not have", "store None, or a string")
        return value

    def _other(self, value: Any) -> Any:
        if not self._for_events:
            raise Refusal(f"{kind_of(value)}, which JSON does not have", _NO_JSON)
        if isinstance(value, (bytes, bytearray)):
            return bytes(value)
        if isinstance(value, (set, frozenset)):
            return self._items(cast("Iterable[Any]", value))
        try:
            built = msgspec.to_builtins(value, str_keys=True)
        except Exception as error:  # border: TypeError for what it does not know, and what the value's own code raises
            raise Refusal(f"{kind_of(value)}, which cannot be stored", "pass plain values: str(…), float(…)") from error
        return self.value(built)


def _shown(key: object) -> str:
    return repr(key) if type(key) in _ATOMS else kind_of(key)
