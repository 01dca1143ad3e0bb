"""Turn what CrewAI's events hold into plain values of a bounded size."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, cast

from asyncjobs.runtime.event_data import capped, printable

LONGEST_TEXT = 16_000
"""Characters of a text in an event; what is longer is cut, and ``…_length`` has its length."""
LONGEST_NAME = 200
_DEEPEST = 8
_MOST_ITEMS = 200


def is_internal(source: object) -> bool:
    """Return whether what emits an event is a flow of CrewAI's own: the executor of an agent is one."""
    marked: Any = getattr(type(source), "is_crewai_internal", None)
    if marked is None:  # a version without the mark: its own flows are those that it defines where no base of flows is
        module = type(source).__module__
        return module.startswith("crewai.") and not module.startswith("crewai.flow.")
    return marked is True


def text_field(name: str, value: object, longest: int = LONGEST_TEXT) -> dict[str, Any]:
    """Return a text as a field; with its length if it was cut."""
    text = as_text(value)
    if len(text) <= longest:
        return {name: printable(text)}
    return {name: printable(text[:longest]), f"{name}_length": len(text)}


def as_text(value: object) -> str:
    """Return any object as text."""
    if isinstance(value, str):
        return str.__str__(value)
    return capped("text", _str(value))["text"]


def name_of(value: object) -> str | None:
    """Return the name of a role or task, which may be its whole description; None for none."""
    return None if value is None else printable(as_text(value).strip()[:LONGEST_NAME])


def as_plain(value: Any, depth: int = 0) -> Any:
    """Return a copy made of plain values: models and objects as dicts or texts, long texts cut."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        return printable(value[:LONGEST_TEXT])
    if depth >= _DEEPEST:
        return printable(_str(value)[:LONGEST_NAME])
    if is_model(value):
        value = _dumped(value)
    if isinstance(value, Mapping):
        items = list(cast("Mapping[Any, Any]", value).items())[:_MOST_ITEMS]
        return {printable(as_text(name)[:LONGEST_NAME]): as_plain(item, depth + 1) for name, item in items}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [as_plain(item, depth + 1) for item in list(cast("list[Any]", value))[:_MOST_ITEMS]]
    if isinstance(value, date):
        return value.isoformat()
    return printable(_str(value)[:LONGEST_TEXT])


def as_content(value: Any) -> Any:
    """Return an object that is no plain value as one, whole: a model or mapping as a dict, any other as text."""
    if is_model(value):
        return _dumped(value)
    if isinstance(value, Mapping):
        return dict(cast("Mapping[Any, Any]", value))
    if isinstance(value, (set, frozenset)):
        return sorted(cast("set[Any]", value), key=_str)
    return value.isoformat() if isinstance(value, date) else _str(value)


def is_model(value: object) -> bool:
    """Return whether this is a model of pydantic's."""
    return hasattr(type(value), "model_dump") and not isinstance(value, type)


def _dumped(value: Any) -> Any:
    try:
        return value.model_dump(mode="json")
    except Exception:  # border: serializers are the user's code
        return _str(value)


def _str(value: object) -> str:
    try:
        return str(value)
    except Exception:  # border: the user's code
        return f"<{type(value).__qualname__} that cannot be printed>"
