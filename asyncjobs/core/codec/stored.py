"""Represent stored values before their annotations are applied, and turn them into plain ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import msgspec

from asyncjobs.core.codec.names import class_of

_PLAIN: frozenset[type] = frozenset({type(None), bool, int, float, str, bytes})


class StoredRecord(msgspec.Struct, frozen=True):
    """A record as it was stored: the name of its class, its fields, and the rest of its state.

    The name is only compared with classes that an annotation expects. It never leads to an import.
    """

    module: str
    qualname: str
    fields: dict[str, Any]
    more: dict[str, Any]


class SentDict(dict[Any, Any]):
    """A dict that was sent as a dict, for an annotation that leaves open whether it could be a record."""


class JsonObject(dict[str, Any]):
    """An object that came as JSON, which has no records: a dict or a record, as the annotation decides."""


def plain(value: Any) -> Any:
    """Return the value with plain dicts in place of the records and marked dicts that no annotation used."""
    cls = class_of(value)
    if cls is dict or cls is SentDict:
        return dict(_with_values(value, plain))
    if cls is StoredRecord:
        return plain(value.fields)
    return _with_items(value, plain)


def sent(value: Any) -> Any:
    """Return the value with its dicts marked as sent: a result never came as JSON."""
    cls = class_of(value)
    if cls is dict or cls is SentDict:
        return SentDict(_with_values(value, sent))
    if cls is StoredRecord:
        parts = [_with_values(part, sent) for part in (value.fields, value.more)]
        return StoredRecord(value.module, value.qualname, *parts)
    return _with_items(value, sent)


def _with_items(value: Any, change: Callable[[Any], Any]) -> Any:
    """Return a list or a tuple with its items changed, and any other value as it is.

    The items of sets are hashable, so there is no record and no dict among them.
    """
    cls = class_of(value)
    if cls is not list and not issubclass(cls, tuple):
        return value
    items = cast("Sequence[Any]", value)
    if _PLAIN.issuperset(map(type, items)):
        return items
    changed = map(change, items)
    return list(changed) if cls is list else tuple.__new__(cast("type[tuple[Any, ...]]", cls), changed)


def _with_values(items: dict[Any, Any], change: Callable[[Any], Any]) -> dict[Any, Any]:
    if _PLAIN.issuperset(map(type, items.values())):
        return items
    return {key: change(item) for key, item in items.items()}


def from_json(value: Any) -> Any:
    """Mark the objects in decoded JSON as such, for the arguments of a call that came as JSON."""
    if isinstance(value, list):
        return [from_json(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        return JsonObject({name: from_json(item) for name, item in cast("dict[str, Any]", value).items()})
    return value


def count_stored(value: Any) -> int:
    """Return how many records there are in a stored value."""
    if type(value) is StoredRecord:
        return 1 + count_stored(value.fields) + count_stored(value.more)
    if isinstance(value, dict):
        return sum(map(count_stored, cast("dict[Any, Any]", value).values()))
    if isinstance(value, (list, tuple)):
        return sum(map(count_stored, cast("Sequence[Any]", value)))
    return 0
