"""Turn the arguments of ``progress``, ``emit`` and ``log`` into stored events.

Nothing here raises, for any argument.
"""

from __future__ import annotations

import logging
from decimal import Decimal
from itertools import islice
from numbers import Real
from typing import Any, cast

from msgspec import Struct, msgpack

from asyncjobs.core.plain import event_data
from asyncjobs.core.retry import exception_name
from asyncjobs.exceptions import NotSerializableError
from asyncjobs.models import EventType, Handle
from asyncjobs.spellings import nearest

LEVELS = {name.lower(): name for name in logging.getLevelNamesMapping()}
_RESERVED_TYPES = frozenset(EventType) - {EventType.OUTPUT}
_STREAM_TYPES = frozenset({"open", "error", "message", "reset", "bye", "end"})
"""Names of a browser's own ``EventSource`` events, and of the control frames of our streams."""
_LONGEST_TYPE = 64
_LONGEST_FIELD = 1024
_LOOKED_AT = 64
"""Fields that are compared with an unknown name."""
_MAX = 2.0**63
_NUMBERS: frozenset[type] = frozenset({int, float})
_encode_sorted = msgpack.Encoder(order="sorted").encode


MAX_EVENT_BYTES = 64 * 1024
"""Encoded bytes that one event of a body may take; longer log messages are cut and marked."""
LONGEST_TEXT = MAX_EVENT_BYTES // 4
"""Characters of a text that are kept: encoded, they fit into ``MAX_EVENT_BYTES``."""


class Piece(Struct, frozen=True):
    """What makes an event a piece of a text that grows.

    ``field`` holds the piece, ``size`` counts its bytes. ``stream`` is equal for the pieces of one text: the type of
    the event, the name of the field, and all other fields, encoded.
    """

    field: str
    stream: bytes
    size: int


def printable(text: str) -> str:
    """Return text that every encoder accepts: lone surrogates are spelled out."""
    return str.__str__(text).encode("utf-8", "backslashreplace").decode()


def number(value: Any) -> float | None:
    """Return a finite number of any kind (Decimal, Fraction, numpy's) as an int or a float; None for anything else."""
    if type(value) not in _NUMBERS:
        try:
            if isinstance(value, bool):
                return None
            if isinstance(value, int):
                value = int.__int__(value)
            elif isinstance(value, (Real, Decimal)):
                value = float(value)
            else:
                return None
        except Exception:  # border: a number's class may raise anything
            return None
    return value if -_MAX <= value < _MAX else None  # NaN is not


def text(value: object) -> str:
    """Return any object as text."""
    try:
        return str.__str__(str(value))
    except Exception:  # border: its own code
        return _unprintable(value)


def _unprintable(value: object) -> str:
    return f"<{exception_name(type(value))} that cannot be printed>"


def field(value: Any) -> Any:
    """Return a field of a log line: numbers, True, False and None as they are, the rest as text."""
    if value is None or value is True or value is False:
        return value
    try:
        if isinstance(value, float):
            return float.__float__(value)
        if isinstance(value, int) and -_MAX <= value < _MAX:
            return int.__int__(value)
    except Exception:  # border: as above
        return _unprintable(value)
    return printable(text(value))[:_LONGEST_FIELD]


def level(value: object) -> str | None:
    """Return the name of a level that is given by name or number, in lower case, or None if it does not exist.

    A number between two levels counts as the lower one.
    """
    if issubclass(type(value), str):
        name = str.__str__(cast("str", value)).lower()
        return name if name in LEVELS else None
    if not issubclass(type(value), int) or value is True or value is False:
        return None
    value = int.__int__(cast("int", value))
    known = [logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL]
    below = [number for number in known if number <= value]
    return logging.getLevelName(below[-1] if below else logging.DEBUG).lower()


def event_type(value: object) -> tuple[str, str | None]:
    """Return the type of a body's event, and what is wrong with it, or None."""
    kind = type(value)
    if issubclass(kind, Handle):
        return "", "is the handle of a job, not the type of an event; for example: emit('job_done', {'job': handle.id})"
    if not issubclass(kind, str):
        return "", f"is not a text; a type is 1 to {_LONGEST_TYPE} printable characters"
    name = str.__str__(cast("str", value))
    if not 0 < len(name) <= _LONGEST_TYPE or not name.isprintable():
        return "", f"is not 1 to {_LONGEST_TYPE} printable characters"
    if name in _RESERVED_TYPES:
        return name, "is a type that the engine writes itself; use a type of your own"
    if name in _STREAM_TYPES:
        return name, f"is the name of an event of streams and browsers; for example: emit('job_{name}', …)"
    return name, None


def event(data: object) -> tuple[dict[str, Any], int, str | None]:
    """Return a copy of the data of a body's event, its encoded size, and what is wrong with it, or None.

    A copy, so that later changes by the body do not affect the event.
    """
    try:
        copy, size = event_data({} if data is None else data)
    except NotSerializableError as error:
        mend = f"; {error.hint}" if error.hint else ""
        return {}, 0, f"has something that cannot be stored: {error.args[0]}{mend}"
    except Exception as error:  # border: the data's own code
        return {}, 0, f"raised {exception_name(type(error))} when it was read"
    return copy, size, None


def piece(kind: str, data: dict[str, Any], append: object) -> tuple[Piece | None, tuple[str, object, str] | None]:
    """Return how an event is a piece of a text, and a mistake: the argument, its value, the problem.

    :param data: as ``event`` returns it.
    :param append: the name of the field that holds the piece.
    """
    argument = f"emit({kind!r}, append)"
    if not issubclass(type(append), str):
        return None, (argument, append, "is not a text; it names the field of the data that holds the piece of a text")
    field = printable(cast("str", append))
    if field not in data:
        near = nearest(field[:_LONGEST_TYPE], islice(data, _LOOKED_AT))
        return None, (argument, append, "is not a field of its data" + (f"; did you mean {near!r}?" if near else ""))
    text = data[field]
    if type(text) is not str:
        return None, (f"emit({kind!r}, append={field!r})", text, "is not a text, and only texts can be joined")
    others = {name: value for name, value in data.items() if name != field}
    size = len(text) if text.isascii() else len(text.encode())
    return Piece(field, _encode_sorted([kind, field, others]), size), None


def capped(name: str, text: str, length: int | None = None, *, mark: str = "cut") -> dict[str, Any]:
    """Return a text cut to the size of an event and, if it was cut, its full length.

    :param length: the full length, if ``text`` was cut before.
    """
    length = len(text) if length is None else length
    kept = printable(text[:LONGEST_TEXT])
    if max(length, len(kept)) <= LONGEST_TEXT:
        return {name: kept}
    return {name: kept[:LONGEST_TEXT], mark: length}
