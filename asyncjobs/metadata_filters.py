"""Check and parse filters on the metadata of jobs: in a query, in a URL, on the command line."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence, Set
from enum import Enum
from typing import TypeAlias, cast

from msgspec import json

from asyncjobs.checks import checked_dict, encodable, is_a, reading
from asyncjobs.exceptions import ConfigurationError

Scalar: TypeAlias = str | int | float | bool | None
"""The values that metadata can be compared with."""
MetadataFilter: TypeAlias = Mapping[str, Scalar | Sequence[Scalar]]
"""By key, the value that the metadata must have, or a sequence of values of which they must have one."""

MOST = 20
"""The most keys of a filter, and values of one key: each is compared with the metadata of many jobs."""
LONGEST = 512
"""The most characters of a key, and of a value, that is given as text."""
FLOAT_BITS = 1024
"""Metadata have whole numbers of fewer bits: these fit into a float, as which other readers of JSON take them."""
_NO_LISTS = (str, bytes, bytearray, memoryview)
"""Sequences that are one value."""
_ALLOWED = "strings, finite numbers, booleans and None, or a list of these for one of them"


def checked_filter(name: str, given: object) -> dict[str, Scalar | list[Scalar]]:
    """Return a filter with plain values.

    :raises ConfigurationError: it is not a dict, has too many keys or values, or a value that metadata cannot have.
    """
    fields = checked_dict(name, given, "a dict of keys and their values, or None")
    if len(fields) > MOST:
        problem = f"{name} has {len(fields):,} keys, and at most {MOST} can be compared"
        raise ConfigurationError(name, given, problem=problem, hint="filter by fewer, and compare the others yourself")
    checked: dict[str, Scalar | list[Scalar]] = {}
    for key, value in fields.items():
        if not is_a(key, str) or not encodable(key):
            raise ConfigurationError(name, {key: value}, allowed="keys that are strings")
        checked[str.__str__(key)] = _checked_value(name, key, value)
    return checked


def _checked_value(name: str, key: str, value: object) -> Scalar | list[Scalar]:
    if issubclass(type(value), _NO_LISTS) or not issubclass(type(value), (Sequence, Set)):
        return _plain(name, key, value)
    with reading(name, value):
        several = list(cast("Iterable[object]", value))
    if len(several) > MOST:
        problem = f"{name} has {len(several):,} values for {key!r}, and at most {MOST} can be compared"
        raise ConfigurationError(name, {key: value}, problem=problem, hint="ask for them in several queries")
    return [_plain(name, key, one) for one in several]


def _plain(name: str, key: str, value: object) -> Scalar:
    """Return a value as metadata have it: the text of a ``StrEnum``, the float of a ``numpy.float64``."""
    if value is None or value is True or value is False:
        return value
    if is_a(value, str):
        text = str.__str__(value)
        if encodable(text):
            return text
    elif is_a(value, int) and _is_storable(value):
        return int.__int__(value)
    elif is_a(value, float) and _is_storable(value):
        return float.__float__(value)
    elif is_a(value, Enum):
        return _plain(name, key, value._value_)
    hint = "a lone surrogate (half of a pair such as \\ud83d\\ude00) is not valid text" if is_a(value, str) else None
    raise ConfigurationError(name, {key: value}, allowed=_ALLOWED, hint=hint)


def _is_storable(value: float | None) -> bool:
    """Return whether metadata may have this number, as ``core.plain`` decides."""
    if is_a(value, int):
        return int.bit_length(value) < FLOAT_BITS
    return value is None or math.isfinite(value)


def alternatives(value: Scalar | Sequence[Scalar]) -> Sequence[Scalar]:
    """Return the values of which a field must have one."""
    return (value,) if value is None or isinstance(value, (str, int, float)) else value


def parse_texts(given: Iterable[tuple[str, str]], spell: str) -> dict[str, list[Scalar]]:
    """Return a filter of keys and values that are written as text, as in URLs and on the command line.

    A value matches that text, and the number, boolean or null that it is in JSON: ``3`` finds ``3`` and ``"3"``.

    :param spell: how a key is named in errors, with ``{}`` for it.
    :raises ConfigurationError: a key is empty, too long, or has two values; a value is too long.
    """
    texts: dict[str, str] = {}
    for key, text in given:
        name = spell.format(key if len(key) <= LONGEST else key[:20] + "…")
        if not key:
            problem = f"{name}={text[:LONGEST]} has no key"
            raise ConfigurationError(name, text, problem=problem, hint=f"{spell.format('kind')}=crew, for example")
        for what, length in (("key", len(key)), ("value", len(text))):
            if length > LONGEST:
                problem = f"{name}: its {what} has {length:,} characters, and at most {LONGEST} can be compared"
                hint = "filter by other metadata or by group, or compare it in a program"
                raise ConfigurationError(name, text, problem=problem, hint=hint)
        if texts.setdefault(key, text) != text:
            problem = f"{name} cannot be both {texts[key]!r} and {text!r}: a job must match all"
            raise ConfigurationError(name, text, problem=problem, hint="give one value, and query twice")
    return {key: _readings(text) for key, text in texts.items()}


def _readings(text: str) -> list[Scalar]:
    """Return the text, and the number, boolean or null that it is in JSON."""
    try:
        value = json.decode(text, type=int | float | bool | None)
    except ValueError:  # no JSON, or of another type
        return [text]
    # JSON may be surrounded by white space, and a number may be larger than those of metadata.
    return [text, value] if text == text.strip() and _is_storable(value) else [text]
