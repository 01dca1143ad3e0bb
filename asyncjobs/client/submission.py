"""Encode a job for HTTP: the arguments as JSON, with handles in them as ``{"$job": id}``.

What JSON does not have (datetime, UUID, Decimal, bytes, …) is sent as ``{"$msgpack": …}``, so that it arrives as it is.
"""

from __future__ import annotations

import math
import secrets
import time
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from datetime import time as time_of_day
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any, cast
from unicodedata import category
from uuid import UUID

from msgspec import json, to_builtins

from asyncjobs.core.codec import RESERVED, decode_value, encode_value, record_fields
from asyncjobs.core.codec.names import class_of
from asyncjobs.core.json_values import json_value
from asyncjobs.core.mains import NOT_BY_SCRIPT, is_of_a_script
from asyncjobs.core.requests import Question
from asyncjobs.exceptions import ConfigurationError, NotSerializableError
from asyncjobs.models import Handle

_LONGEST_NAME = 512
_NOT_IN_NAMES = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode categories: control characters, surrogates, separators of lines and paragraphs."""
_DEEPEST = 100
"""Deepest nesting. The server allows less; this limit ends the walk through a circular list."""
_AS_STORED = (
    bytes, bytearray, date, time_of_day, timedelta, Decimal, UUID, complex, PurePath, set, frozenset, range, Enum
)  # fmt: skip
"""Types that JSON does not have; their values are sent as they are stored."""
_PLAIN = (str, int, float, list, dict)
"""Types that JSON has. An instance of a subclass would be restored as the base class."""
_MARKS = frozenset({"$job", "$msgpack", "$tuple"})
_OF_FUNCTIONS = frozenset({"limit", "retry", "isolation", "max_interruptions"})
"""Options that only the definition of a function has, over HTTP."""
_AS_A_HANDLE = "pass the handle as a separate argument, or in a list, a tuple or a dict value"


def new_id() -> str:
    """Return a new job id, sortable by time like the ids made in process."""
    return f"{time.time_ns() // 1000:014x}{secrets.token_hex(8)}"


def checked_name(field: str, value: object) -> str:
    """Return an id or a group that can be part of a URL.

    :raises ConfigurationError: it cannot.
    """
    if (
        not isinstance(value, str)
        or not 0 < len(value) <= _LONGEST_NAME
        or any(category(character) in _NOT_IN_NAMES for character in value)
    ):
        raise ConfigurationError(field, value, allowed=f"1 to {_LONGEST_NAME} characters without control characters")
    return str.__str__(value)


def submission(func: object, args: tuple[Any, ...], options: Mapping[str, Any], kwargs: dict[str, Any]) -> Any:
    """Return the body of ``POST v1/jobs``.

    :param options: options of the job; those that are None are not sent.
    :raises ConfigurationError: an option cannot work. NotSerializableError: an argument has no form in JSON.
    """
    if not isinstance(func, str) or not func:
        raise _no_name(func)
    all_args, all_kwargs = _arguments(args, kwargs)
    body: dict[str, Any] = {
        "function": func,
        "args": _sendable("$.args", list(all_args), typed=True),
        "kwargs": {
            name: _sendable(f"$.kwargs.{name}", value, typed=True)
            for name, value in _with_text_names(all_kwargs).items()
        },
        **{name: _option(name, value) for name, value in options.items() if value is not None},
    }
    return body


def gate_submission(question: Question, timeout: float | None, options: Mapping[str, Any]) -> Any:
    """Return the body of ``POST v1/jobs`` for a gate.

    :param question: already checked, like ``timeout``, which is in seconds; ``options``: as for ``submission``.
    """
    asked = {
        "question": question.question,
        "choices": None if question.choices is None else list(question.choices),
        "schema": question.schema,
        "reject_on": list(question.reject_on) or None,
        "timeout": timeout,
    }
    gate = {name: value for name, value in asked.items() if value is not None}
    if question.default is not None:
        gate["default"] = decode_value(question.default)
    return {"gate": gate, **{name: _option(name, value) for name, value in options.items() if value is not None}}


def _no_name(func: object) -> ConfigurationError:
    """Return the error for a function object: the server finds functions by name only."""
    allowed = 'the name of a registered function, "pkg.mod:fn"'
    name = f"{getattr(func, '__module__', '')}:{getattr(func, '__qualname__', '')}"
    hint = None
    if is_of_a_script(name):
        hint = NOT_BY_SCRIPT
    elif "<" in name:  # <locals>, <lambda>
        hint = "move it to the top level of a module that the server imports and registers, and pass its name"
    elif not name.endswith(":"):
        hint = f"{name!r}, if the server registered it under that name"
    return ConfigurationError("func", func, allowed=allowed, hint=hint)


def _option(name: str, value: Any) -> Any:
    """Return the JSON form of an option; the server checks its value.

    :raises ConfigurationError: it cannot be sent.
    """
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


def checked_ids(field: str, value: Any) -> list[str]:
    """Return a list of one id or handle, or of several.

    :raises ConfigurationError: one of them is not an id.
    """
    if isinstance(value, str):
        value = (value,)
    if not isinstance(value, Iterable):
        raise ConfigurationError(field, value, allowed="an id, a handle, or a list of these")
    return [checked_name(field, entry) for entry in cast("Iterable[object]", value)]


def render_metadata(wanted: Mapping[str, Any]) -> str:
    """Return the metadata of a query, as a parameter of a URL.

    :raises NotSerializableError: they have no form in JSON.
    """
    return json.encode(_sendable("$.metadata", wanted, handles=False)).decode()


def _arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """Return all arguments, including those in ``args=`` and ``kwargs=`` (for parameters named like options)."""
    for name in RESERVED.intersection(kwargs) - {"args", "kwargs"}:
        raise ConfigurationError(
            name,
            kwargs[name],
            problem=f"{name}= is not an option over HTTP",
            hint=f"{_instead_of(name)}; for a parameter of that name, pass args=(…), kwargs={{{name!r}: …}}",
        )
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


def _instead_of(option: str) -> str:
    if option in _OF_FUNCTIONS:
        return f"remove it, and set it where the server defines the function: @job({option}=…)"
    if option == "if_exists":
        return "remove it: submitting a known job_id with the same arguments returns that job"
    return "remove it"


def _with_text_names(kwargs: Mapping[Any, Any]) -> dict[str, Any]:
    for name in kwargs:
        if not isinstance(name, str):
            raise NotSerializableError("$.kwargs", f"keyed by {name!r}, which is not a string")
    return {str.__str__(name): value for name, value in kwargs.items()}


def _sendable(where: str, value: Any, *, handles: bool = True, typed: bool = False, depth: int = 0) -> Any:
    """Return the JSON form of a value. The cases, in this order: a handle; a subclass of a type that JSON has;
    a list or tuple; a mapping; a record, a value that is sent as it is stored, or a plain one.

    :param handles: whether a handle stands for a result here.
    :param typed: whether types that JSON does not have are kept.
    :raises NotSerializableError: the value cannot be sent, with its path.
    """
    if depth > _DEEPEST:
        raise NotSerializableError(where, f"nested more than {_DEEPEST} deep")
    if isinstance(value, Handle):
        return _sendable_handle(where, value, handles=handles)
    if typed and _is_subclass(value):
        if handles:
            _refuse_handles(where, value)
        return _as_stored(where, value)  # a NamedTuple or an enum; else it raises
    if isinstance(value, (list, tuple)):
        items = [
            _sendable(f"{where}[{i}]", entry, handles=handles, typed=typed, depth=depth + 1)
            for i, entry in enumerate(cast("Sequence[Any]", value))
        ]
        return {"$tuple": items} if typed and isinstance(value, tuple) else items
    if isinstance(value, Mapping):
        fields = cast("Mapping[Any, Any]", value)
        _check_names(where, fields, handles=handles, typed=typed)
        return {
            str.__str__(name): _sendable(f"{where}.{name}", inner, handles=handles, typed=typed, depth=depth + 1)
            for name, inner in fields.items()
        }
    return _sendable_other(where, value, handles=handles, typed=typed, depth=depth)


def _sendable_handle(where: str, handle: Handle, *, handles: bool) -> Any:
    if not handles:
        return str.__str__(handle)
    if handle.optional:
        raise NotSerializableError(where, "an optional dependency, not supported over HTTP", hint=_AS_A_HANDLE)
    return {"$job": str.__str__(handle)}


def _as_stored(where: str, value: Any) -> dict[str, str]:
    return {"$msgpack": b64encode(encode_value(value, where)).decode()}


def _check_names(where: str, fields: Mapping[Any, Any], *, handles: bool, typed: bool) -> None:
    """Check that a mapping can be a JSON object that the server does not take for a handle or a marked value.

    :raises NotSerializableError: it cannot.
    """
    if typed and class_of(fields) is not dict:
        encode_value(fields, where)  # raises: it would arrive as a dict
    for name in fields:
        if not isinstance(name, str):
            hint = "pass list(value.items()), and make the dict from it in the job"
            raise NotSerializableError(where, f"keyed by {name!r}, which is not a string", hint=hint)
        if handles and isinstance(name, Handle):
            raise NotSerializableError(f"{where}{{key}}", "a job handle in a dict key", hint=_AS_A_HANDLE)
    if handles and len(fields) == 1 and "$job" in fields:
        hint = "client.handle(job_id) stands for a job's result"
        raise NotSerializableError(where, "a dict with nothing but '$job' in it", hint=hint)
    if typed and len(fields) == 1 and not _MARKS.isdisjoint(fields):
        raise NotSerializableError(where, f"a dict with nothing but {next(iter(fields))!r} in it, a reserved name")


def _sendable_other(where: str, value: Any, *, handles: bool, typed: bool, depth: int) -> Any:
    """Return a value that is neither a handle nor a collection."""
    _check_number(where, value)
    if handles:
        _refuse_handles(where, value)
    if typed and isinstance(value, _AS_STORED):
        return _as_stored(where, value)
    if typed and (fields := _fields(where, value)) is not None:
        # By attribute, not by msgspec.to_builtins: tuples and Decimals in the fields keep their types.
        return {
            name: _sendable(f"{where}.{name}", inner, handles=False, typed=True, depth=depth + 1)
            for name, inner in fields.items()
        }
    try:
        plain = to_builtins(value, str_keys=True)
        if isinstance(plain, str):
            plain.encode()
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        hint = "over HTTP, arguments must be JSON values; handles may be inside lists, tuples and dicts"
        raise NotSerializableError(where, f"a {type(value).__name__} ({error})", hint=hint) from error
    # The contents of a dataclass or a set may have no JSON form either.
    return plain if plain is value else _sendable(where, plain, handles=False, typed=typed, depth=depth + 1)


def _fields(where: str, value: Any) -> Mapping[str, Any] | None:
    try:
        return record_fields(value)
    except ValueError as error:
        hint = "pass what the job needs from it, as separate arguments or in a dict"
        raise NotSerializableError(where, f"a {type(value).__name__} ({error})", hint=hint) from error


def _check_number(where: str, value: Any) -> None:
    if isinstance(value, int) and json_value(value) != value:
        problem = "an integer with more digits than JSON readers accept"
        raise NotSerializableError(
            where, problem, hint="pass hex(value), and make the int from it in the job: int(text, 16)"
        )
    if isinstance(value, float) and not math.isfinite(value):
        hint = "pass str(value), and make the float from it in the job: float(text)"
        raise NotSerializableError(where, f"{value}, which JSON does not have", hint=hint)


def _is_subclass(value: object) -> bool:
    """Return whether a value is of a subclass of a type that JSON has, or of tuple."""
    bases = (*_PLAIN, tuple)
    return type(value) not in (bool, *bases) and isinstance(value, bases)


def _refuse_handles(where: str, value: Any, depth: int = 0) -> None:
    """Refuse handles in sets and in fields of records, where they would be sent as strings.

    :raises NotSerializableError: there is one, with its path.
    """
    inner: Iterable[tuple[str, Any]]
    if isinstance(value, Handle):
        raise NotSerializableError(
            where, "a job handle where it is not replaced by the job's result", hint=_AS_A_HANDLE
        )
    if depth > _DEEPEST or isinstance(value, (str, int, float)):
        return
    if isinstance(value, _AS_STORED) and not isinstance(value, (set, frozenset)):
        return  # an enum member refers to its whole class
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
