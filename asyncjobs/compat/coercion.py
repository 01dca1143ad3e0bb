"""Coerce the values of fields as the models of the old tracker did, or name the field that cannot be.

The rules are those of pydantic's lax mode for the types that occur: texts, whole numbers, booleans, members of an
enumeration, moments, paths, dicts and lists. pydantic itself is not needed.
"""

from __future__ import annotations

import math
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar, cast

from asyncjobs.exceptions import ConfigurationError

T = TypeVar("T")
E = TypeVar("E", bound=Enum)

Coercion = Callable[[str, Any], T]
"""Returns the value of a field, by the name of the field (``Job.status``) and what was given for it."""

_YES = frozenset({"1", "t", "true", "y", "yes", "on"})
_NO = frozenset({"0", "f", "false", "n", "no", "off"})
_WHOLE = re.compile(r"[+-]?\d+(?:_\d+)*(?:\.0+)?")
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d(?:[Tt _]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?:[Zz]|[+-]\d\d(?::?\d\d)?)?)?")
_LARGEST_SECONDS = 20_000_000_000
"""A number of seconds since 1970 that is larger than this means milliseconds."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def refused(field: str, value: object, allowed: str) -> ConfigurationError:
    """Return the error (a ``ValueError``) of a value that cannot be coerced."""
    return ConfigurationError(field, value, allowed=allowed)


def text(field: str, value: Any) -> str:
    """Return a text; also of bytes, and of the member of an enumeration whose value is a text."""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, (bytes, bytearray)):
        try:
            return value.decode()
        except UnicodeDecodeError:
            pass
    raise refused(field, value, "a text")


def whole(field: str, value: Any) -> int:
    """Return a whole number; also of a text, or of a float or Decimal without a fraction."""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, (bytes, bytearray)):
        value = value.decode("ascii", "replace")
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()) and len(value) <= 4300:
        return int(value.strip().partition(".")[0].replace("_", ""))
    if isinstance(value, (float, Decimal)) and math.isfinite(value) and value == int(value):
        return int(value)
    raise refused(field, value, "a whole number")


def boolean(field: str, value: Any) -> bool:
    """Return a boolean; also of 0 and 1, and of texts such as ``"yes"`` and ``"off"``."""
    if isinstance(value, bool):
        return value
    if isinstance(value, (int, float)) and value in (0, 1):
        return bool(value)
    if isinstance(value, (bytes, bytearray)):
        value = value.decode("ascii", "replace")
    if isinstance(value, str) and value.lower() in _YES | _NO:
        return value.lower() in _YES
    raise refused(field, value, "True or False")


def member(kind: type[E]) -> Coercion[E]:
    """Return the coercion to a member of an enumeration of texts: of the member, or of its value."""

    def coerce(field: str, value: Any) -> E:
        if isinstance(value, kind):
            return value
        try:
            return kind(text(field, value))
        except ValueError:
            raise refused(field, value, ", ".join(str(one.value) for one in kind)) from None

    return coerce


def moment(field: str, value: Any) -> datetime:
    """Return a moment; also of an ISO 8601 text (naive or aware), a date, or seconds since 1970."""
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)  # noqa: DTZ001 - naive, as the text of a date is
    if isinstance(value, (bytes, bytearray)):
        value = value.decode("ascii", "replace")
    try:
        if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
            return _since_epoch(Decimal(str(value)))
        if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
            return _since_epoch(Decimal(value.strip()))
        if isinstance(value, str) and _MOMENT.fullmatch(value):
            return datetime.fromisoformat(value.upper().replace("_", "T").replace(",", "."))
    except (ValueError, OverflowError, ArithmeticError):
        pass
    raise refused(field, value, "a moment: a datetime, or ISO 8601")


def _since_epoch(number: Decimal) -> datetime:
    seconds = number if abs(number) <= _LARGEST_SECONDS else number / 1000
    return _EPOCH + timedelta(microseconds=int(seconds * 1_000_000))


def path(field: str, value: Any) -> Path:
    """Return a path; also of a text."""
    if isinstance(value, Path):
        return value
    if isinstance(value, (str, os.PathLike)):
        return Path(cast("str | os.PathLike[str]", value))
    raise refused(field, value, "a path")


def mapping(field: str, value: Any) -> dict[str, Any]:
    """Return a dict with texts as keys, a new one; its values are not looked at."""
    if not isinstance(value, Mapping):
        raise refused(field, value, "a dict with texts as keys")
    given = cast("Mapping[Any, Any]", value)
    return {text(f"{field} (a key)", key): item for key, item in given.items()}


def sequence(of: Coercion[T]) -> Coercion[list[T]]:
    """Return the coercion to a new list, by that of its items."""

    def coerce(field: str, value: Any) -> list[T]:
        if not isinstance(value, (list, tuple, set, frozenset, deque, Iterator)):
            raise refused(field, value, "a list")
        return [of(f"{field}[{i}]", item) for i, item in enumerate(cast("Iterable[Any]", value))]

    return coerce


def optional(of: Coercion[T]) -> Coercion[T | None]:
    """Return a coercion that also takes None."""

    def coerce(field: str, value: Any) -> T | None:
        return None if value is None else of(field, value)

    return coerce


def anything(field: str, value: Any) -> Any:
    """Return the value as it is."""
    return value
