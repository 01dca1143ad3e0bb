"""Decode values from a file that may be damaged or hostile.

The bytes never choose code to run: enums and named tuples are restored only as classes that are loaded already (see
``names.loaded_class``), else as their plain values. Any fault in the bytes is a CorruptValueError.
"""

from __future__ import annotations

import datetime as dt
import os
import pathlib
import struct
from collections.abc import Callable
from decimal import Decimal
from enum import Enum
from typing import Any, cast
from uuid import UUID

import msgspec
from msgspec import msgpack

from asyncjobs.core.codec import wire
from asyncjobs.core.codec.names import loaded_class
from asyncjobs.core.codec.records import is_named_tuple
from asyncjobs.core.codec.stored import SentDict, StoredRecord
from asyncjobs.exceptions import CorruptValueError
from asyncjobs.plurals import counted

FAILURES = (msgspec.MsgspecError, ValueError, TypeError, LookupError, ArithmeticError, RecursionError, struct.error)
"""Errors of msgspec and the constructors below for bytes that ``encoding`` did not write. UnicodeDecodeError is a
ValueError, OverflowError and decimal's errors are ArithmeticErrors."""
# Containers, and a datetime or the like in the innermost one.
_MAX_DEPTH = wire.MAX_DEPTH + 1
_NAMES: frozenset[type] = frozenset({str})
NOT_PLAIN: Any = object()
_NO_CALL = "stored arguments are not a pair of a list and a dict with names"


def decode_call(data: bytes, resolve: Callable[[str], Any] | None = None) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Decode the arguments of a call. Records become plain dicts.

    :param resolve: returns the value that replaces the handle of a job id; its errors are passed on. Default: the id
        itself, as a plain str for display.
    :raises CorruptValueError: the bytes are damaged.
    """
    return _call(_decoded(data, Reader(resolve or str)))


def _not_plain(code: int, data: memoryview) -> Any:
    raise ValueError(code)


# Made once: a decoder that is made for each value costs more than to decode a small one.
_plain_call: msgpack.Decoder[tuple[list[Any], dict[str, Any]]] = msgpack.Decoder(
    tuple[list[Any], dict[str, Any]], ext_hook=_not_plain
)
_plain_value: msgpack.Decoder[Any] = msgpack.Decoder(ext_hook=_not_plain)


def read_plain_call(data: bytes) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """Decode the arguments of a call that have no extensions. Return None for others, and for damaged ones."""
    try:
        args, kwargs = _plain_call.decode(data)
    except FAILURES:
        return None
    return tuple(args), kwargs


def read_call(data: bytes, reader: Reader) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Decode the arguments of a call with a reader."""
    return _call(_decoded(data, reader))


def read_plain_value(data: bytes) -> Any:
    """Decode a value that has no extensions. Return ``NOT_PLAIN`` for others, and for damaged ones."""
    try:
        return _plain_value.decode(data)
    except FAILURES:
        return NOT_PLAIN


def read_value(data: bytes, reader: Reader) -> Any:
    """Decode a value with a reader."""
    return _decoded(data, reader)


def _call(call: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    args: Any
    kwargs: Any
    try:
        args, kwargs = call
    except (TypeError, ValueError):
        raise CorruptValueError(_NO_CALL) from None
    if (type(args), type(kwargs)) != (list, dict) or not _NAMES.issuperset(map(type, kwargs)):
        raise CorruptValueError(_NO_CALL)
    return tuple(args), kwargs


def decode_value(data: bytes) -> Any:
    """Decode a result or the data of an event, with records as plain dicts.

    :raises CorruptValueError: the bytes are damaged.
    """
    return _decoded(data, Reader(None))


def _decoded(data: bytes, reader: Reader) -> Any:
    try:
        return msgpack.decode(data, ext_hook=reader.read)
    except CorruptValueError:
        raise
    except FAILURES as error:
        if error is reader.failure:  # not the bytes: the parent's result could not be read
            raise
        raise CorruptValueError(f"stored value cannot be read: {error}") from error


class Unmade:
    """An enum member or a NamedTuple that its class does not make, or whose class is not loaded."""

    __slots__ = ("member", "module", "qualname", "value")

    def __init__(self, module: str, qualname: str, value: Any, member: Any = None) -> None:
        self.module = module
        self.qualname = qualname
        self.value = value
        self.member = member

    @property
    def label(self) -> str:
        """Return what it is, for messages."""
        name = f"{self.module}.{self.qualname}"
        return f"a {name} of {counted(len(self.value), 'field')}" if self.member is None else f"{name}.{self.member}"


class Reader:
    """The state of reading one value: its depth, what replaces handles, and the error that replacing one raised.

    ``unmade`` is True once an enum member or a NamedTuple could not be made by its class: it becomes its plain value,
    or with ``keep_unmade`` an Unmade. With ``raw``, records stay StoredRecords and marked dicts SentDicts, for the
    annotations that are applied next; ``marked`` is then True if there are any.
    """

    __slots__ = ("depth", "failure", "keep_unmade", "marked", "raw", "resolve", "unmade")

    def __init__(self, resolve: Callable[[str], Any] | None, *, raw: bool = False, keep_unmade: bool = False) -> None:
        self.resolve = resolve
        self.raw = raw
        self.keep_unmade = keep_unmade
        self.unmade = False
        self.marked = False
        self.depth = 0
        self.failure: BaseException | None = None

    def read(self, code: int, data: memoryview) -> Any:
        """Return the value of one extension; called by msgspec."""
        from_array = _FROM_ARRAY.get(code)
        if from_array is None:
            if code == wire.HANDLE:
                return self.handle(str(data, "utf-8"))
            from_bytes = _FROM_BYTES.get(code)
            if from_bytes is None:
                raise CorruptValueError(f"stored value has the unknown extension type {code}")
            return from_bytes(bytes(data))
        # Counted, because a process may have raised Python's recursion limit above what its stack holds.
        if self.depth >= _MAX_DEPTH:
            raise CorruptValueError(f"stored value is nested deeper than {wire.MAX_DEPTH} levels")
        self.depth += 1
        parts = msgpack.decode(data, ext_hook=self.read)
        self.depth -= 1
        if type(parts) is not list:
            raise CorruptValueError("stored value has an extension that is not an array")
        if self.raw and (code == wire.RECORD or code == wire.DICT):
            self.marked = True
            return (_stored_record if code == wire.RECORD else _sent_dict)(cast("list[Any]", parts))
        value = from_array(cast("list[Any]", parts))
        if type(value) is Unmade:
            self.unmade = True
            return value if self.keep_unmade else value.value
        return value

    def handle(self, job_id: str) -> Any:
        """Return what replaces the handle of a job."""
        if self.resolve is None:
            raise CorruptValueError("stored result has a job handle in it")
        try:
            return self.resolve(job_id)
        except BaseException as error:
            self.failure = error
            raise


def _dict(parts: list[Any]) -> dict[Any, Any]:
    pairs = iter(parts)
    return dict(zip(pairs, pairs, strict=True))


def _sent_dict(parts: list[Any]) -> SentDict:
    return SentDict(_dict(parts))


def _record(parts: list[Any]) -> dict[str, Any]:
    return _stored_record(parts).fields


def _stored_record(parts: list[Any]) -> StoredRecord:
    module, qualname, *states = parts
    if type(module) is not str or type(qualname) is not str or not 1 <= len(states) <= 2:
        raise CorruptValueError("stored value has a record without a class")
    if not all(type(state) is dict and _NAMES.issuperset(map(type, state)) for state in states):
        raise CorruptValueError("stored value has a record without fields")
    return StoredRecord(module, qualname, states[0], states[1] if len(states) > 1 else {})


def _named_tuple(parts: list[Any]) -> Any:
    module, qualname, *items = parts
    cls: Any = _loaded(module, qualname)
    if not is_named_tuple(cls):
        return Unmade(module, qualname, tuple(items))
    if len(cls._fields) != len(items):
        added = cls._fields[len(items) :]
        if not added or not all(name in cls._field_defaults for name in added):
            return Unmade(module, qualname, tuple(items))
        items += [cls._field_defaults[name] for name in added]  # fields that were added to the class since
    # Not cls(…), which may be the class's own code.
    return tuple.__new__(cls, items)


def _enum(parts: list[Any]) -> Any:
    module, qualname, name, value = parts
    cls: Any = _loaded(module, qualname)
    if not isinstance(cls, type) or not issubclass(cls, Enum) or not cls._member_map_:
        return Unmade(module, qualname, value, str(name))
    member = cls._member_map_.get(name)
    if member is not None:
        return member
    try:
        return cls(value)  # a combination of flags, or a member that was renamed since
    except Exception:  # border: _missing_ is the class's own code
        return Unmade(module, qualname, value, str(name))


def _loaded(module: Any, qualname: Any) -> type | None:
    if type(module) is not str or type(qualname) is not str:
        raise CorruptValueError("stored value has the name of a class that is not a string")
    return loaded_class(module, qualname)


def _ints(parts: list[Any]) -> list[int]:
    # Types are checked because some of the constructors also accept the bytes of a pickle.
    if any(type(part) is not int for part in parts):
        raise CorruptValueError("stored value has an extension that should hold ints")
    return parts


def _datetime(parts: list[Any]) -> dt.datetime:
    return dt.datetime.combine(dt.date(*_ints(parts[:3])), _time(parts[3:]))


def _time(parts: list[Any]) -> dt.time:
    *clock, fold, zone = parts
    return dt.time(*_ints(clock), fold=fold, tzinfo=_zone(zone))


def _zone(zone: Any) -> dt.tzinfo | None:
    if type(zone) is list:
        key, offset = cast("list[Any]", zone)
        if type(key) is not str:
            raise CorruptValueError("stored value has a time zone whose name is not a string")
        from zoneinfo import ZoneInfo  # deferred: with what it needs, it takes 200 kB

        try:
            return ZoneInfo(key)
        except (*FAILURES, OSError):  # not in this machine's database: the offset keeps the moment right
            zone = offset
    if zone is None:
        return None
    return dt.timezone(dt.timedelta(microseconds=zone)) if zone else dt.UTC


# A concrete path of another operating system is restored as a pure one.
_PATHS: dict[bytes, Callable[[str], pathlib.PurePath]] = {
    b"P": pathlib.PurePosixPath,
    b"W": pathlib.PureWindowsPath,
    b"p": pathlib.PurePosixPath if os.name == "nt" else pathlib.Path,
    b"w": pathlib.Path if os.name == "nt" else pathlib.PureWindowsPath,
}


def _path(data: bytes) -> pathlib.PurePath:
    return _PATHS[data[:1]](data[1:].decode("utf-8", "surrogateescape"))


_FROM_ARRAY: dict[int, Callable[[list[Any]], Any]] = {
    wire.TUPLE: tuple,
    wire.NAMED_TUPLE: _named_tuple,
    wire.SET: set,
    wire.FROZENSET: frozenset,
    wire.DICT: _dict,
    wire.DATETIME: _datetime,
    wire.DATE: lambda parts: dt.date(*_ints(parts)),
    wire.TIME: _time,
    wire.TIMEDELTA: lambda parts: dt.timedelta(*_ints(parts)),
    wire.ENUM: _enum,
    wire.RANGE: lambda parts: range(*_ints(parts)),
    wire.RECORD: _record,
}
_FROM_BYTES: dict[int, Callable[[bytes], Any]] = {
    wire.BYTEARRAY: bytearray,
    wire.BIG_INT: lambda data: int.from_bytes(data, "big", signed=True),
    wire.COMPLEX: lambda data: complex(*struct.unpack(">dd", data)),
    wire.DECIMAL: lambda data: Decimal(data.decode("ascii")),
    wire.UUID_: lambda data: UUID(bytes=data),
    wire.PATH: _path,
}
