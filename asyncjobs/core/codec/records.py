"""Records: classes that are stored as the dict of their fields (dataclasses, msgspec Structs, attrs classes)."""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from typing import Any, cast

import msgspec


class RecordField(msgspec.Struct, frozen=True):
    """A field that the constructor takes: its attribute, its name as a parameter, whether it is required."""

    name: str
    parameter: str
    required: bool


@lru_cache(maxsize=1024)
def record_fields(cls: type) -> tuple[RecordField, ...] | None:
    """The fields of a record class that its constructor takes, in order; None if ``cls`` is not a record class.

    Fields with ``init=False`` are left out: the class makes them itself.
    """
    if dataclasses.is_dataclass(cls):
        return tuple(
            RecordField(
                field.name,
                field.name,
                field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING,
            )
            for field in dataclasses.fields(cls)
            if field.init
        )
    if issubclass(cls, msgspec.Struct):
        # Not msgspec.structs.fields: that resolves annotations, which need not be possible here.
        names, defaults = cls.__struct_fields__, cls.__struct_defaults__
        padded = (msgspec.NODEFAULT,) * (len(names) - len(defaults)) + defaults
        return tuple(
            RecordField(name, name, default is msgspec.NODEFAULT) for name, default in zip(names, padded, strict=True)
        )
    # Read from the class, so that attrs need not be installed or imported.
    attributes: Any = getattr(cast("Any", cls), "__attrs_attrs__", None)
    if attributes is None:
        return None
    return tuple(
        # "No default" is a sentinel of attrs, recognised by the name of its class.
        RecordField(attribute.name, attribute.alias, type(attribute.default).__name__ == "_Nothing")
        for attribute in attributes
        if attribute.init
    )


def is_named_tuple(cls: Any) -> bool:
    """Whether ``cls`` is a class made by NamedTuple or namedtuple."""
    return (
        isinstance(cls, type)
        and issubclass(cls, tuple)
        and isinstance(getattr(cast("Any", cls), "_fields", None), tuple)
    )
