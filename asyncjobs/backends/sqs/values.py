"""Translate plain values to the typed attribute values of DynamoDB and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def attribute(value: Any) -> dict[str, Any]:
    """Return the attribute value of a text, int, bytes, bool, list or dict."""
    match value:
        case bool():
            return {"BOOL": value}
        case str():
            return {"S": str.__str__(value)}
        case int():
            return {"N": str(int(value))}
        case bytes():
            return {"B": value}
        case list() | tuple():
            elements: list[Any] = [*value]
            return {"L": [attribute(element) for element in elements]}
        case dict():
            return {"M": item(value)}  # pyright: ignore[reportUnknownArgumentType] - any attributes
        case _:
            raise TypeError(f"no attribute holds a {type(value).__name__}")


def item(values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return an item as DynamoDB takes it. What is None is left out."""
    return {name: attribute(value) for name, value in values.items() if value is not None}


def plain(value: Mapping[str, Any]) -> Any:
    """Return the plain value of an attribute value."""
    ((kind, content),) = value.items()
    match kind:
        case "N":
            return int(content)
        case "B":
            return bytes(content)
        case "L":
            return [plain(element) for element in content]
        case "M":
            return plain_item(content)
        case _:
            return content


def plain_item(stored: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return an item of DynamoDB by its plain values."""
    return {name: plain(value) for name, value in stored.items()}
