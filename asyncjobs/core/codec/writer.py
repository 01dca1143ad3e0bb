"""Walk through a value and turn it into what msgspec encodes natively, with the extension types of ``wire``."""

from __future__ import annotations

import datetime as dt
import functools
import pathlib
import struct
import sys
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from enum import Enum
from typing import Any, cast
from uuid import UUID

import msgspec
from msgspec.msgpack import Ext

from asyncjobs.core.codec import wire
from asyncjobs.core.codec.families import record_type
from asyncjobs.core.codec.models import ModelRecord
from asyncjobs.core.codec.names import class_name, class_of, defining_class, kind_of, type_name, with_article
from asyncjobs.core.codec.records import RecordType, is_named_tuple
from asyncjobs.core.codec.refusals import PLAIN_BASES, Refusal, describe_refusal, key_step
from asyncjobs.core.codec.stored import JsonObject, SentDict
from asyncjobs.models import Handle

encode = msgspec.msgpack.Encoder().encode

ATOMS: frozenset[type] = frozenset({type(None), bool, int, float, str, bytes})
"""Values of exactly these types go to msgspec as they are."""

CAREFUL_ATOMS: frozenset[type] = ATOMS - {int, str}
"""msgspec can still refuse an int (by its range) and a str (by lone surrogates), so a careful walk checks each."""

A_RESULT = "a result"
_ENCODING = (OverflowError, UnicodeEncodeError)  # they call for a careful walk; the second is a ValueError
_MICROSECOND = dt.timedelta(microseconds=1)


class Writer:
    """One walk through a call or a value.

    With ``exact``, dicts are marked as dicts, for annotations that leave open whether one could be a record.
    """

    __slots__ = ("atoms", "exact", "handle_type", "handles", "hashed", "open", "place", "records")

    def __init__(
        self, atoms: frozenset[type], handle_type: type | None, place: str | None = None, *, exact: bool = False
    ) -> None:
        self.atoms = atoms
        self.handle_type = handle_type
        self.handles: dict[str, None] = {}  # an ordered set
        self.open: set[int] = set()  # the containers around the current value, to find cycles and to count levels
        self.exact = exact
        self.records = 0  # how many were written
        self.place: str | None = place  # where handles are not replaced; None where they are
        self.hashed = False  # inside a set or a dict key, where values must be hashable when they are restored

    def write(self, value: Any) -> Any:
        """Return what msgspec encodes natively for a value.

        :raises Refusal: the value cannot be stored.
        """
        cls: type = type(value)  # pyright: ignore[reportUnknownVariableType] - whatever a caller hands over
        if cls in self.atoms:
            return value
        write = _EXACT.get(cls)
        if write is None:
            if self.handle_type is not None and issubclass(cls, self.handle_type):
                return self.write_handle(value)
            if self.handle_type is None and issubclass(cls, Handle):
                return self.write(str.__str__(value))  # a job that returns a handle returns a job's id (ADR 19)
            write = _get_writer(cls)
            if write is None:
                raise describe_refusal(value)
        return write(self, value)

    def enter(self, container: object) -> None:
        """Begin a container; refuse one that is too deep or inside itself."""
        self.check_depth()
        if id(container) in self.open:
            raise Refusal("inside itself, and a circular structure cannot be stored")
        self.open.add(id(container))

    def check_depth(self) -> None:
        """Refuse a container that is nested too deeply."""
        if len(self.open) >= wire.MAX_DEPTH:
            raise Refusal(
                f"nested deeper than {wire.MAX_DEPTH} levels",
                "store it in a flatter form, or in a file and pass the path",
            )

    def leave(self, container: object) -> None:
        """End a container."""
        self.open.discard(id(container))

    def items(self, values: Iterable[Any]) -> list[Any]:
        """Write the items of a series."""
        out: list[Any] = []
        atoms, write = self.atoms, self.write
        try:
            for value in values:
                out.append(value if type(value) in atoms else write(value))  # noqa: PERF401 - len(out) is the index
        except Refusal as refusal:
            refusal.steps.append(f"[{len(out)}]")
            raise
        return out

    def refuse_unhashable(self, value: object) -> None:
        """Refuse a value in a set or a dict key that would be restored as an unhashable one."""
        what = kind_of(value)
        raise Refusal(f"{what} in {self.place}, and would be restored as an unhashable value", "use a list")

    # -- what is in JSON

    def write_int(self, value: int) -> Any:
        """Write an int, beyond 64 bits as an extension."""
        if wire.INT_MIN <= value <= wire.INT_MAX:
            return value
        return Ext(wire.BIG_INT, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))

    def write_str(self, value: str) -> str:
        """Check a text for lone surrogates."""
        try:
            value.encode()
        except UnicodeEncodeError as error:
            hint = "pass it as bytes, or clean it: text.encode('utf-8', 'replace').decode()"
            raise Refusal(f"a string with a lone surrogate at index {error.start}", hint) from None
        return value

    def write_list(self, value: list[Any]) -> Any:
        """Write a list; one of plain values is not copied."""
        if self.hashed:
            self.refuse_unhashable(value)
        self.check_depth()
        if self.atoms.issuperset(map(type, value)):
            return value
        self.enter(value)
        out = self.items(value)
        self.leave(value)
        return out

    def write_dict(self, value: dict[Any, Any]) -> Any:
        """Write a dict, as an extension if its keys are not plain or dicts are marked."""
        if self.hashed:
            self.refuse_unhashable(value)
        self.check_depth()
        atoms = self.atoms
        exact = self.exact and type(value) is not JsonObject
        plain_keys = atoms.issuperset(map(type, value))
        if plain_keys and not exact and atoms.issuperset(map(type, value.values())):
            return value if type(value) is dict else dict(value)
        self.enter(value)
        keys: list[Any] = list(value) if plain_keys else [self.hashable(key, "a dict key") for key in value]
        out: list[Any] = []
        for key, item in value.items():
            try:
                out.append(item if type(item) in atoms else self.write(item))
            except Refusal as refusal:
                refusal.steps.append(key_step(key))
                raise
        self.leave(value)
        if not exact and (plain_keys or ATOMS.issuperset(map(type, keys))):
            return dict(zip(keys, out, strict=True))
        return Ext(wire.DICT, encode([part for pair in zip(keys, out, strict=True) for part in pair]))

    def hashable(self, value: Any, place: str) -> Any:
        """Write a value that must be restored as a hashable one; ``place`` is for the message."""
        before = self.place, self.hashed
        self.place, self.hashed = place, True
        try:
            written = self.write(value)
        except Refusal as refusal:
            refusal.steps.append("{key}" if place == "a dict key" else "{item}")
            raise
        self.place, self.hashed = before
        return written

    # -- other containers

    def write_tuple(self, value: tuple[Any, ...]) -> Ext:
        """Write a plain tuple."""
        self.check_depth()
        if self.atoms.issuperset(map(type, value)):
            return Ext(wire.TUPLE, encode(value))
        self.enter(value)
        items = self.items(value)
        self.leave(value)
        return Ext(wire.TUPLE, encode(items))

    def write_named_tuple(self, value: tuple[Any, ...]) -> Ext:
        """Write a named tuple with the name of its class; refuse further attributes."""
        self.enter(value)
        if getattr(value, "__dict__", None):
            raise Refusal(f"{kind_of(value)} with attributes besides its items", "pass a dataclass, or only the items")
        items = self.items(value)
        self.leave(value)
        return Ext(wire.NAMED_TUPLE, encode([*_findable(type(value)), *items]))

    def write_set(self, value: set[Any]) -> Ext:
        """Write a set."""
        if self.hashed:
            self.refuse_unhashable(value)
        return Ext(wire.SET, self.sorted_items(value, "a set"))

    def write_frozenset(self, value: frozenset[Any]) -> Ext:
        """Write a frozenset."""
        return Ext(wire.FROZENSET, self.sorted_items(value, "a frozenset"))

    def sorted_items(self, value: Iterable[Any], place: str) -> bytes:
        """Encode the items of a set in the order of their bytes."""
        self.enter(value)
        # The order of a set differs from process to process, that of the encoded items does not.
        items = sorted(encode(self.hashable(item, place)) for item in value)
        self.leave(value)
        return encode(list(map(msgspec.Raw, items)))

    def write_record(self, value: Any) -> Ext:
        """Write a record: its class, its fields and its other state, after checking that it can be restored."""
        record = cast("RecordType", record_type(class_of(value)))
        if self.hashed:
            self.refuse_unhashable(value)
        self.enter(value)
        self.records += 1
        before, self.place = self.place, f"a field of {kind_of(value)}"
        try:
            fields, more = record.state(value)
            if isinstance(record, ModelRecord):
                out = self.model_fields(record, value, fields, more)
            else:
                out = self.fields(fields)
                record.verify(value, fields, more)
        except _ENCODING:
            raise
        except ValueError as error:
            raise Refusal(f"{kind_of(value)} {error}", record.hint(value, self.is_stored)) from None
        parts: list[Any] = [*record.key, out]
        if more:
            parts.append(self.fields(more))
        self.place = before
        self.leave(value)
        return Ext(wire.RECORD, encode(parts))

    def fields(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Write the fields of a record."""
        atoms = self.atoms
        if atoms.issuperset(map(type, fields.values())):
            return dict(fields)
        out: dict[str, Any] = {}
        for name, item in fields.items():
            try:
                out[name] = item if type(item) in atoms else self.write(item)
            except Refusal as refusal:
                refusal.steps.append(f".{name}")
                raise
        return out

    def model_fields(
        self, record: ModelRecord, model: Any, fields: Mapping[str, Any], more: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Write the fields of a pydantic model, after checking that they make an equal one.

        A field that cannot be stored is written in its form in the model's JSON, if it can be restored from that.
        """
        out: dict[str, Any] = {}
        again = dict(fields)
        refused: dict[str, Refusal] = {}
        for name, item in fields.items():
            before = set(self.open), self.place, self.records
            try:
                out[name] = self.write(item)
            except Refusal as refusal:
                refusal.steps.append(f".{name}")
                self.open, self.place, self.records = before
                self.hashed = False
                try:
                    again[name] = record.as_json(model, name)
                    out[name] = self.write(again[name])
                except (ValueError, Refusal):
                    raise refusal from None
                refused[name] = refusal
        lost = record.lost(model, fields, again, more, refused)
        if lost is not None:
            refused[lost].hint = refused[lost].hint or record.hint(model, self.is_stored)
            raise refused[lost]
        record.verify(model, again, more)
        return out

    def is_stored(self, value: Any) -> bool:
        """Return whether a value, which a hint would suggest in place of this one, can be stored."""
        try:
            Writer(CAREFUL_ATOMS, self.handle_type, self.place).write(value)
        except (Refusal, RecursionError):
            return False
        return True

    def write_enum(self, value: Enum) -> Ext:
        """Write an enum member with its class, its name and its value."""
        cls = type(value)
        self.enter(value)
        try:
            plain = self.write(value._value_)  # `value` can be overridden
        except Refusal as refusal:
            refusal.steps.append(".value")
            raise
        self.leave(value)
        # A combination of flags has no name of its own.
        name = value.name if cls._member_map_.get(value._name_) is value else None
        return Ext(wire.ENUM, encode([*_findable(cls), name, plain]))

    def write_handle(self, value: str) -> Ext:
        """Write the placeholder of a job's result; refuse it where it would not be replaced."""
        if self.place is not None:
            hint = "pass it as a separate argument, or in a list, a tuple or a dict value"
            if self.place == A_RESULT:
                hint = "await it and return the result, or return its id: str(handle)"
            raise Refusal(f"a job handle in {self.place}, where it is not replaced by the job's result", hint)
        job_id = self.write_str(str.__str__(value))
        self.handles[job_id] = None
        return Ext(wire.HANDLE, job_id.encode())

    # -- scalars

    def write_bytearray(self, value: bytearray) -> Ext:
        """Write a bytearray."""
        if self.hashed:
            self.refuse_unhashable(value)
        return Ext(wire.BYTEARRAY, bytes(value))

    def write_datetime(self, value: dt.datetime) -> Ext:
        """Write a datetime with its fold and its zone."""
        parts = [value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond]
        return Ext(wire.DATETIME, encode([*parts, value.fold, _zone(value)]))

    def write_time(self, value: dt.time) -> Ext:
        """Write a time with its fold and its zone."""
        parts = [value.hour, value.minute, value.second, value.microsecond]
        return Ext(wire.TIME, encode([*parts, value.fold, _zone(value)]))

    def write_path(self, value: pathlib.PurePath) -> Ext:
        """Write a path with its flavour."""
        flavour = b"W" if isinstance(value, pathlib.PureWindowsPath) else b"P"
        if isinstance(value, pathlib.Path):
            flavour = flavour.lower()
        try:
            # File names that are not UTF-8 are surrogates in a str.
            return Ext(wire.PATH, flavour + str(value).encode("utf-8", "surrogateescape"))
        except UnicodeEncodeError:
            raise Refusal("a path with characters that no file name can have") from None


def _zone(value: dt.datetime | dt.time) -> int | list[Any] | None:
    delta = value.utcoffset()
    offset = None if delta is None else delta // _MICROSECOND
    zones = sys.modules.get("zoneinfo")  # loaded if any zone was made: importing it takes 200 kB
    zone: Any = cast("Any", value.tzinfo)
    key = None if zones is None or not isinstance(zone, zones.ZoneInfo) else zone.key
    return offset if key is None else [key, offset]


@functools.lru_cache(maxsize=1024)
def _findable(cls: type) -> tuple[str, str]:
    """Return the name of an enum or a NamedTuple class, after checking that it leads back to the class."""
    if defining_class(cls) is not cls:
        what = f"{with_article(type_name(cls))}, whose class another process could not find again"
        raise Refusal(what, "define the class at module level, under its own name")
    return class_name(cls)


_Write = Callable[[Writer, Any], Any]

# Plain types are looked up here only by a careful walk.
_EXACT: dict[type, _Write] = {
    int: Writer.write_int,
    str: Writer.write_str,
    list: Writer.write_list,
    **dict.fromkeys((dict, SentDict, JsonObject), Writer.write_dict),
    tuple: Writer.write_tuple,
    set: Writer.write_set,
    frozenset: Writer.write_frozenset,
    bytearray: Writer.write_bytearray,
    dt.datetime: Writer.write_datetime,
    dt.date: lambda _, value: Ext(wire.DATE, encode([value.year, value.month, value.day])),
    dt.time: Writer.write_time,
    dt.timedelta: lambda _, value: Ext(wire.TIMEDELTA, encode([value.days, value.seconds, value.microseconds])),
    **dict.fromkeys(
        (pathlib.PosixPath, pathlib.PurePosixPath, pathlib.WindowsPath, pathlib.PureWindowsPath), Writer.write_path
    ),
    Decimal: lambda _, value: Ext(wire.DECIMAL, str(value).encode("ascii")),
    UUID: lambda _, value: Ext(wire.UUID_, value.bytes),
    complex: lambda _, value: Ext(wire.COMPLEX, struct.pack(">dd", value.real, value.imag)),
    range: lambda writer, value: Ext(
        wire.RANGE, encode([*map(writer.write_int, (value.start, value.stop, value.step))])
    ),
}


def is_stored_type(cls: type) -> bool:
    """Return whether values of a class are stored as themselves, and not as records."""
    return issubclass(cls, (Enum, *PLAIN_BASES))


@functools.lru_cache(maxsize=1024)
def _get_writer(cls: type) -> _Write | None:
    """Return how instances of a class that is not in ``_EXACT`` are written; None if they cannot be."""
    if issubclass(cls, Enum):
        return cast("_Write", Writer.write_enum)
    if record_type(cls) is not None:  # pyright: ignore[reportUnknownArgumentType] - whatever a caller hands over
        return Writer.write_record
    return Writer.write_named_tuple if is_named_tuple(cls) else None
