"""What a stored value is before its annotation was applied, where that is more than the value itself."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from asyncjobs.core.codec.names import class_of

_PLAIN: frozenset[type] = frozenset({type(None), bool, int, float, str, bytes})


class StoredRecord(msgspec.Struct, frozen=True):
    """A record as it was stored: the name of its class, its fields, and the rest of its state.

    The name is for comparing it with classes that an annotation expects. It is never looked up.
    """

    module: str
    qualname: str
    fields: dict[str, Any]
    more: dict[str, Any]


class SentDict(dict[Any, Any]):
    """A dict that was sent as a dict, where an annotation leaves open whether it could be a record."""


class JsonObject(dict[str, Any]):
    """An object that came as JSON, which has no records: a dict or a record, as an annotation has it."""


def plain(value: Any) -> Any:
    """The value with plain dicts in place of the records and marked dicts that no annotation took."""
    cls = class_of(value)
    if cls in _PLAIN:
        return value
    if cls is list:
        items = cast("list[Any]", value)
        return items if _PLAIN.issuperset(map(type, items)) else [plain(item) for item in items]
    if cls is dict or cls is SentDict:
        fields = cast("dict[Any, Any]", value)
        if cls is dict and _PLAIN.issuperset(map(type, fields.values())):
            return fields
        return {key: plain(item) for key, item in fields.items()}
    if cls is StoredRecord:
        return plain(value.fields)
    if isinstance(value, tuple):
        items = cast("tuple[Any, ...]", value)
        if _PLAIN.issuperset(map(type, items)):
            return items
        return tuple.__new__(cast("type[tuple[Any, ...]]", cls), [plain(item) for item in items])
    return value  # what is in sets and keys must be hashable: no record, and no dict


def sent(value: Any) -> Any:
    """The value with its dicts marked as such: a result, which no JSON stands for."""
    cls = class_of(value)
    if cls in _PLAIN:
        return value
    if cls is list:
        items = cast("list[Any]", value)
        return items if _PLAIN.issuperset(map(type, items)) else [sent(item) for item in items]
    if cls is dict or cls is SentDict:
        return SentDict({key: sent(item) for key, item in cast("dict[Any, Any]", value).items()})
    if cls is StoredRecord:
        return StoredRecord(
            value.module,
            value.qualname,
            *({k: sent(v) for k, v in part.items()} for part in (value.fields, value.more)),
        )
    if isinstance(value, tuple):
        items = cast("tuple[Any, ...]", value)
        return tuple.__new__(cast("type[tuple[Any, ...]]", cls), [sent(item) for item in items])
    return value


def from_json(value: Any) -> Any:
    """Decoded JSON, with its objects marked as such. For arguments of a call that came as JSON."""
    if isinstance(value, list):
        return [from_json(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        return JsonObject({name: from_json(item) for name, item in cast("dict[str, Any]", value).items()})
    return value
