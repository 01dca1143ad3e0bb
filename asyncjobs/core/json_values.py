"""Convert values to JSON without losing any of them.

A value that JSON has no form for becomes text. That rule alone would lose two things, so they are special:

- An integer with more digits than JSON readers accept (Python's refuses more than 4,300) becomes hexadecimal text,
  ``"0x…"``, which ``int(text, 0)`` and ``BigInt(text)`` read.
- A key that is not text becomes text. If two keys of a dict would be equal then, the one that was not text names its
  type: ``{"1": …, "int 1": …}``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, cast

from msgspec import Struct, to_builtins

_LONGEST_REPR = 2048
_MOST_BITS = 14_284
"""Size of the largest number that is written as one: it has at most 4,300 digits."""
NO_SURROGATES = "send both halves of the pair, or the character itself; bytes go as base64"
_AS_THEY_ARE: frozenset[type] = frozenset({type(None), bool, str, float})


def json_value(value: Any) -> Any:
    """Return a value that consists of JSON types alone. A dict stays a dict, a record becomes one."""
    kind = cast("type[Any]", type(value))
    if kind in _AS_THEY_ARE:
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        number = int(value)
        return number if number.bit_length() <= _MOST_BITS else f"{number:#x}"
    if kind is dict or isinstance(value, Mapping):
        return _object(cast("Mapping[Any, Any]", value))
    if isinstance(value, (list, tuple, set, frozenset)):
        return [json_value(inner) for inner in cast("Iterable[Any]", value)]
    of_record = _fields(value)
    if of_record is not None:
        return _object(of_record)
    try:
        plain = to_builtins(value, builtin_types=(), str_keys=True, enc_hook=_as_text)
    except Exception:  # border: the value's own class, such as an enum's own ``value``
        return _as_text(value)
    return plain if type(plain) in _AS_THEY_ARE else json_value(plain)


def is_json_object(fields: Mapping[Any, Any]) -> bool:
    """Return True if a dict is JSON as it is. Only flat dicts of common types are recognised."""
    return all(
        type(key) is str and (type(value) in _AS_THEY_ARE or (type(value) is int and value.bit_length() <= 64))
        for key, value in fields.items()
    )


def find_lone_surrogate(text: str | bytes) -> list[str | int] | None:
    r"""Find half of a surrogate pair, as in ``"\ud83d"``, in JSON that msgspec refused.

    :returns: the path to it; a name that contains it is spelled in ASCII after the path of its object. None if there is
        none: then msgspec had another reason.
    """
    from json import loads  # deferred: it takes 100 kB, and is only for what msgspec refused

    try:
        value = loads(text, parse_int=str, parse_float=str)  # it accepts halves of pairs
    except (ValueError, RecursionError):
        return None
    return _lone_surrogate(value)


def _lone_surrogate(value: object) -> list[str | int] | None:
    todo: list[tuple[list[str | int], object]] = [([], value)]
    while todo:
        where, value = todo.pop()
        if isinstance(value, str):
            if not _is_text(value):
                return where
        elif isinstance(value, list):
            items = list(enumerate(cast("list[object]", value)))
            todo += [([*where, index], item) for index, item in reversed(items)]
        elif isinstance(value, dict):
            named = cast("dict[str, object]", value)
            for name in named:
                if not _is_text(name):
                    return [*where, name.encode("ascii", "backslashreplace").decode()]
            todo += [([*where, name], item) for name, item in reversed(named.items())]
    return None


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _fields(value: Any) -> dict[str, Any] | None:
    """Return the fields of a record (dataclass, Struct, attrs class, pydantic model); None if it is not one."""
    kind = cast("Any", type(value))
    if isinstance(value, Struct):
        return {
            name: getattr(value, field)
            for field, name in zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True)
        }
    if is_dataclass(kind):
        return {field.name: getattr(value, field.name) for field in fields(value) if hasattr(value, field.name)}
    listed = getattr(kind, "__attrs_attrs__", None)
    if listed is not None:
        return {field.name: getattr(value, field.name) for field in listed if hasattr(value, field.name)}
    names = getattr(kind, "model_fields", None)  # pydantic's, which is no dependency
    if isinstance(names, Mapping):
        return {name: getattr(value, name) for name in cast("Mapping[str, Any]", names)}
    return None


def _object(fields: Mapping[Any, Any]) -> dict[str, Any]:
    if all(type(key) is str for key in fields):
        return {key: json_value(inner) for key, inner in fields.items()}
    found: dict[str, Any] = {}
    names = {key for key in fields if isinstance(key, str)}
    for key, inner in fields.items():
        name = key if isinstance(key, str) else _key(key)
        if not isinstance(key, str):
            while name in names:
                name = f"{type(key).__name__} {name}"
            names.add(name)
        found[str(name)] = json_value(inner)
    return found


def _key(key: Any) -> str:
    plain: object = json_value(key)
    if isinstance(plain, str):
        return plain
    try:
        return str(plain) if isinstance(plain, (int, float)) else str(key)
    except ValueError:  # a large number in a tuple
        return str(plain)


def _as_text(value: Any) -> str:
    try:
        text = repr(value)[:_LONGEST_REPR] if isinstance(value, BaseException) else str(value)
    except Exception:  # border: the value's own class
        text = f"<{type(value).__name__}>"
    # JSON has no lone surrogates, but the text of a path has them if its name is not UTF-8.
    return text.encode("utf-8", "backslashreplace").decode()
