"""Parse a command-line argument as an answer that the schema of a gate accepts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from msgspec import json

from asyncjobs.cli.failures import USAGE, Failure

_DEEPEST = 20
"""Nested schemas that are examined: references may form a cycle."""
_TYPES: dict[type, frozenset[str]] = {
    str: frozenset({"string"}),
    bool: frozenset({"boolean"}),
    int: frozenset({"integer", "number"}),
    float: frozenset({"number"}),
    type(None): frozenset({"null"}),
}


def parse_value(text: str, schema: Mapping[str, Any]) -> Any:
    """Parse a text as an answer: the text itself if the schema accepts texts, else the number or word in it.

    :raises Failure: the schema accepts neither, or does not name a type.
    """
    for value in (text, *_scalars(text)):
        if _takes(schema, schema, value, 0):
            return value
    raise Failure(
        f"this gate does not accept the VALUE {text!r}; it accepts: {json.encode(schema).decode()[:500]}",
        exit_code=USAGE,
        hint="give the answer as JSON: --json VALUE",
    )


def _scalars(text: str) -> Iterator[Any]:
    try:
        value = json.decode(text)
    except (ValueError, RecursionError):  # the latter: nested too deep to be read
        return
    if type(value) in _TYPES and not isinstance(value, str):
        yield value


def _takes(schema: Any, root: Mapping[str, Any], value: Any, depth: int) -> bool:
    """Return whether a schema accepts values of this type, or this very value where it lists values."""
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return False
    parts = cast("dict[str, Any]", schema)
    if "enum" in parts or "const" in parts:
        listed = parts.get("enum", [parts.get("const")])
        return any(type(one) is type(value) and one == value for one in listed)
    if "$ref" in parts:
        return _takes(_find(root, parts["$ref"]), root, value, depth + 1)
    for several in ("anyOf", "oneOf"):
        if several in parts:
            return any(_takes(one, root, value, depth + 1) for one in parts[several])
    types = parts.get("type", ())
    return not _TYPES[type(value)].isdisjoint([types] if isinstance(types, str) else types)


def _find(root: Mapping[str, Any], reference: object) -> Any:
    found: Any = root
    for name in str(reference).removeprefix("#/").split("/"):
        found = cast("dict[str, Any]", found).get(name) if isinstance(found, dict) else None
    return found
