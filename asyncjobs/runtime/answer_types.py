"""Describe the answers of a gate by a type: its JSON Schema, how a value is checked, and how it is read back.

An answer is stored as plain values (what JSON has), so that people, programs and other languages can give it.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import (
    Annotated,
    Any,
    ClassVar,
    Literal,
    NotRequired,
    Required,
    TypeGuard,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)
from uuid import UUID

import msgspec

from asyncjobs.core import plain
from asyncjobs.core.codec import ConversionError, decode_value
from asyncjobs.error_texts import shown
from asyncjobs.exceptions import ConfigurationError

_PLAIN = frozenset({bool, int, float, str, type(None), Any})
_CONTAINERS = frozenset({list, dict})
_FIELD_MARKS = frozenset({Required, NotRequired})
_MADE_OF_OTHERS = frozenset({list, dict, Union, types.UnionType})
_NOT_PLAIN = (bytes, bytearray, memoryview, datetime, date, time, timedelta, UUID, Decimal, set, frozenset)
"""Types that msgspec would convert to strings and lists. They are left unconverted, and so are refused."""
_ALLOWED = "bool, int, float, str, None, Literal, list, dict, unions, and records of these"


class AnswerType:
    """A type of answers that this process knows."""

    def __init__(self, answer_type: Any) -> None:
        """Check the type.

        :raises ConfigurationError: an answer cannot be of this type.
        """
        self.type = answer_type
        self._is_model = _is_model(answer_type)
        try:
            _check(answer_type, set())
            self.schema: dict[str, Any] = (
                answer_type.model_json_schema() if self._is_model else msgspec.json.schema(answer_type)
            )
            _close(self.schema)
        except ConfigurationError:
            raise
        except Exception as error:  # border: unresolvable hints, and any error that a class of the program raises
            problem = f"answer_type has no JSON Schema: {type(error).__name__}: {error}"
            raise ConfigurationError("answer_type", answer_type, problem=problem) from error

    def fit(self, value: Any) -> Any:
        """Return the stored form of an answer: plain values.

        :raises ConfigurationError: it is not of the type.
        """
        try:
            given = self._plain(value)
            fitting = self._plain(self._convert(given))
        except Exception as error:  # border: the checks of a class of the program may raise anything
            raise misfit(value, *_explain(error)) from error
        lost = _find_lost(given, fitting, "")
        if lost is not None:
            raise misfit(value, "there is no such field", lost)
        return plain.json_copy(fitting, "$.value")

    def read(self, data: bytes) -> Any:
        """Read a stored answer as an instance of the type.

        :raises ConversionError: the type has changed, and the stored answer no longer fits it.
        """
        return self.convert(decode_value(data))

    def convert(self, value: Any) -> Any:
        """Return an answer as an instance of the type, from its plain values.

        :raises ConversionError: as ``read``.
        """
        try:
            return self._convert(value)
        except Exception as error:  # border: as above
            raise ConversionError("$", str(error), shown(self.type), "the stored answer") from error

    def _convert(self, value: Any) -> Any:
        if self._is_model:  # as from JSON, and without turning "5" into 5
            return self.type.model_validate_json(msgspec.json.encode(value), strict=True)
        return msgspec.convert(value, self.type)

    def _plain(self, value: Any) -> Any:
        if _is_model(type(value)):
            return value.model_dump(mode="json", by_alias=True)
        return msgspec.to_builtins(value, builtin_types=_NOT_PLAIN)


ReadBy = Callable[..., Any] | AnswerType
"""The object that restores a result: the function with its return annotation, or the type of an answer."""


def misfit(value: object, problem: str, path: str = "") -> ConfigurationError:
    """Return the error for an answer that its gate does not accept; ``path`` is the place of the mistake."""
    where = f"value{path}"
    return ConfigurationError(where, value, problem=f"{where} is not a valid answer to this question: {problem}")


def _explain(error: Exception) -> tuple[str, str]:
    """Return the mistake in an answer, and its path if the error has one."""
    found: Any = getattr(error, "errors", None)
    if callable(found):  # of pydantic: each with its place
        first: Any = cast("Any", found())[0]
        return first["msg"], "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in first["loc"])
    problem, _, path = str(error).partition(" - at `$")
    return problem, path.removesuffix("`")


def _close(schema: Any) -> None:
    """Forbid unknown fields of records: a field that would not be restored is refused, not dropped."""
    if isinstance(schema, list):
        for part in cast("list[Any]", schema):
            _close(part)
    elif isinstance(schema, dict):
        fields = cast("dict[str, Any]", schema)
        if "properties" in fields:
            fields.setdefault("additionalProperties", False)
        for part in fields.values():
            _close(part)


def _find_lost(given: Any, kept: Any, path: str) -> str | None:
    """Return the path to a field of an answer that its type does not have, None without one."""
    if isinstance(given, dict) and isinstance(kept, dict):
        fields = cast("dict[str, Any]", kept)
        for name, value in cast("dict[str, Any]", given).items():
            found = f"{path}.{name}" if name not in fields else _find_lost(value, fields[name], f"{path}.{name}")
            if found is not None:
                return found
    elif isinstance(given, list) and isinstance(kept, list):
        for i, (value, other) in enumerate(zip(cast("list[Any]", given), cast("list[Any]", kept), strict=False)):
            if (found := _find_lost(value, other, f"{path}[{i}]")) is not None:
                return found
    return None


def _is_model(kind: Any) -> bool:
    """Return whether this is a class of pydantic models, by its attributes."""
    return isinstance(kind, type) and hasattr(kind, "model_validate") and hasattr(kind, "model_json_schema")


def _check(kind: Any, seen: set[Any]) -> None:
    """Refuse a type that plain values cannot represent, or that has such a part."""
    if kind is None or kind in _PLAIN or kind in _CONTAINERS or kind in seen:
        return
    parts = _parts(kind)
    if parts is None:
        raise ConfigurationError("answer_type", kind, allowed=_ALLOWED)
    seen.add(kind)
    for part in parts:
        _check(part, seen)


def _parts(kind: Any) -> Iterable[Any] | None:
    """Return the types that a type is made of, None for one that answers cannot have."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:  # other marks, such as those of pydantic, would be ignored outside of its models
        return arguments[:1] if all(isinstance(mark, msgspec.Meta) for mark in arguments[1:]) else None
    if origin in _FIELD_MARKS:
        return arguments
    if origin is dict and arguments[0] is not str:
        return None  # JSON has only string keys
    if origin is Literal:
        return () if all(type(value) in _PLAIN for value in arguments) else None
    if origin in _MADE_OF_OTHERS:
        return arguments
    return _fields(kind) if origin is None and _is_record(kind) else None


def _is_record(kind: Any) -> TypeGuard[type]:
    if not issubclass(type(kind), type):
        return False
    if _is_model(kind) or is_typeddict(kind) or dataclasses.is_dataclass(kind):
        return True
    return issubclass(kind, msgspec.Struct) or hasattr(kind, "__attrs_attrs__")


def _fields(kind: type) -> Iterator[Any]:
    hints = get_type_hints(kind, include_extras=True)
    names: Any = getattr(kind, "model_fields", None) if _is_model(kind) else hints
    for name in cast("Mapping[str, Any]", names):
        hint = hints[name]
        if get_origin(hint) is not ClassVar:
            yield hint
