"""Find out which kind of record a class is, if any."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, cast

import msgspec

from asyncjobs.core.codec.attributes import attrs_record, dataclass_record
from asyncjobs.core.codec.models import ModelRecord, is_model
from asyncjobs.core.codec.names import class_of
from asyncjobs.core.codec.records import RecordType
from asyncjobs.core.codec.structs import StructRecord


@lru_cache(maxsize=1024)
def record_type(cls: type) -> RecordType | None:
    """Describe a record class; None if ``cls`` is not one."""
    if dataclasses.is_dataclass(cls):
        return dataclass_record(cls)
    if issubclass(cls, msgspec.Struct):
        return None if cls is msgspec.Struct else StructRecord(cls)
    attributes: Any = getattr(cast("Any", cls), "__attrs_attrs__", None)
    if attributes is not None:
        return attrs_record(cast("type", cls), attributes)
    return ModelRecord(cls) if is_model(cls) else None


def record_fields(value: object) -> Mapping[str, Any] | None:
    """Return the fields of a record that its constructor takes, by the names it takes; None for any other value.

    :raises ValueError: the record has a state that cannot be stored.
    """
    record = record_type(class_of(value))
    if record is None:
        return None
    return record.given_fields(value) if isinstance(record, ModelRecord) else record.state(value)[0]
