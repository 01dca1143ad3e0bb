"""A job as it is sent: the arguments as JSON, with handles in it as ``{"$job": id}``."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, cast
from unicodedata import category

from msgspec import to_builtins

from asyncjobs.core.json_values import json_value
from asyncjobs.exceptions import ConfigurationError, NotSerializableError
from asyncjobs.models import Handle

_LONGEST_NAME = 512
_NOT_IN_NAMES = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Control characters, halves of surrogate pairs, separators of lines and paragraphs."""
_DEEPEST = 100
"""The server allows less; this is what ends a list that holds itself."""
_AS_A_HANDLE = "pass the handle as an argument of its own, or in a list, a tuple or a dict value"


def new_id() -> str:
    """A fresh job id, sortable by time as those that are made in process."""
    return f"{time.time_ns() // 1000:014x}{secrets.token_hex(8)}"


def checked_name(field: str, value: object) -> str:
    """An id or a group that can be part of a URL."""
    if (
        not isinstance(value, str)
        or not 0 < len(value) <= _LONGEST_NAME
        or any(category(character) in _NOT_IN_NAMES for character in value)
    ):
        raise ConfigurationError(field, value, allowed=f"1 to {_LONGEST_NAME} characters without control characters")
    return str(value)


def submission(func: object, args: tuple[Any, ...], options: Mapping[str, Any], kwargs: dict[str, Any]) -> Any:
    """The body of ``POST v1/jobs``.

    :param options: those of the job; what is None is not sent.
    :raises ConfigurationError: an option cannot work. NotSerializableError: an argument has no form in JSON.
    """
    if not isinstance(func, str) or not func:
        module, name = getattr(func, "__module__", ""), getattr(func, "__qualname__", "")
        hint = f"{f'{module}:{name}'!r}, if that is its name at the server" if name else None
        raise ConfigurationError("func", func, allowed='the name of a registered function, "pkg.mod:fn"', hint=hint)
    all_args, all_kwargs = _arguments(args, kwargs)
    body: dict[str, Any] = {
        "function": func,
        "args": _sendable("$.args", all_args),
        "kwargs": _sendable("$.kwargs", all_kwargs),
        **{name: _option(name, value) for name, value in options.items() if value is not None},
    }
    return body


def _option(name: str, value: Any) -> Any:
    """What it may be is for the server to say, as long as it can be said to it."""
    if name == "metadata":
        return _sendable("$.metadata", value, handles=False)
    if name == "run_at" and (not isinstance(value, datetime) or value.tzinfo is None):
        raise ConfigurationError(
            name, value, allowed="an aware datetime", hint="datetime.now(UTC) + …, or value.astimezone()"
        )
    if isinstance(value, timedelta):
        return value.total_seconds()
    try:
        return _sendable(name, value)
    except NotSerializableError as error:
        raise ConfigurationError(name, value, problem=str(error.args[0])) from None


def ids_of(field: str, value: Any) -> list[str]:
    """One id or handle, or several."""
    if isinstance(value, str):
        value = (value,)
    if not isinstance(value, Iterable):
        raise ConfigurationError(field, value, allowed="an id, a handle, or a list of these")
    return [checked_name(field, entry) for entry in cast("Iterable[object]", value)]


def _arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """``args=`` and ``kwargs=`` are the way out for a function with parameters named like options."""
    all_args: Sequence[Any] = args
    all_kwargs: Mapping[str, Any] = {name: value for name, value in kwargs.items() if name not in ("args", "kwargs")}
    if "args" in kwargs:
        given = kwargs["args"]
        if args or not isinstance(given, (list, tuple)):
            raise ConfigurationError("args", given, allowed="a tuple of all positional arguments, given only here")
        all_args = cast("Sequence[Any]", given)
    if "kwargs" in kwargs:
        given = kwargs["kwargs"]
        if all_kwargs or not isinstance(given, Mapping):
            raise ConfigurationError("kwargs", given, allowed="a dict of all keyword arguments, given only here")
        all_kwargs = cast("Mapping[str, Any]", given)
    return all_args, all_kwargs


def _sendable(where: str, value: Any, *, handles: bool = True, depth: int = 0) -> Any:
    if depth > _DEEPEST:
        raise NotSerializableError(where, f"nested more than {_DEEPEST} deep")
    if isinstance(value, Handle):
        if handles and value.optional:
            raise NotSerializableError(where, "an optional dependency, which has no form over HTTP", hint=_AS_A_HANDLE)
        return {"$job": str.__str__(value)} if handles else str.__str__(value)
    if isinstance(value, (list, tuple)):
        entries = cast("Sequence[Any]", value)
        return [_sendable(f"{where}[{i}]", entry, handles=handles, depth=depth + 1) for i, entry in enumerate(entries)]
    if isinstance(value, Mapping):
        fields = cast("Mapping[Any, Any]", value)
        for name in fields:
            if not isinstance(name, str):
                raise NotSerializableError(where, f"keyed by {name!r}, which is not a string")
            if handles and isinstance(name, Handle):
                raise NotSerializableError(f"{where}{{key}}", "a job handle in a dict key", hint=_AS_A_HANDLE)
        if handles and len(fields) == 1 and "$job" in fields:
            raise NotSerializableError(
                where, "a dict with nothing but '$job' in it", hint="client.handle(job_id) stands for a job's result"
            )
        return {
            str(name): _sendable(f"{where}.{name}", inner, handles=handles, depth=depth + 1)
            for name, inner in fields.items()
        }
    if isinstance(value, int) and json_value(value) != value:
        problem = "a whole number of more digits than JSON readers take"
        raise NotSerializableError(where, problem, hint="pass it as text")
    if isinstance(value, float) and not math.isfinite(value):
        raise NotSerializableError(where, f"{value}, which JSON does not have")
    if handles:
        _refuse_handles(where, value)
    try:
        plain = to_builtins(value, str_keys=True)
        if isinstance(plain, str):
            plain.encode()
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        hint = "over HTTP, arguments are what JSON has; handles may stand in lists, tuples and dicts"
        raise NotSerializableError(where, f"a {type(value).__name__} ({error})", hint=hint) from error
    # What a dataclass or a set is made of may have no form either.
    return plain if plain is value else _sendable(where, plain, handles=False, depth=depth + 1)


def _refuse_handles(where: str, value: Any, depth: int = 0) -> None:
    """A handle in a set or in a field of a record would arrive as a text.

    :raises NotSerializableError: there is one, with its path.
    """
    inner: Iterable[tuple[str, Any]]
    if isinstance(value, Handle):
        raise NotSerializableError(
            where, "a job handle where it is not replaced by the job's result", hint=_AS_A_HANDLE
        )
    if depth > _DEEPEST or isinstance(value, (str, bytes, int, float)):
        return
    if isinstance(value, (set, frozenset)):
        inner = (("{item}", item) for item in cast("Iterable[Any]", value))
    elif isinstance(value, (list, tuple)):
        inner = ((f"[{i}]", item) for i, item in enumerate(cast("Sequence[Any]", value)))
    elif isinstance(value, Mapping):
        fields = cast("Mapping[Any, Any]", value)
        inner = (("{key}", name) for name in fields)
        inner = (*inner, *((f".{name}", item) for name, item in fields.items()))
    else:
        names: Any = getattr(value, "__struct_fields__", None) or getattr(value, "__dict__", ())
        inner = ((f".{name}", getattr(value, name, None)) for name in names)
    for step, item in inner:
        _refuse_handles(where + step, item, depth + 1)
