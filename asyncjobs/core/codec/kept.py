"""Refuse kept values of a class that the annotation does not name: they would be restored as plain data.

Results of jobs are read leniently: the process that awaits one may run another version of the program. A step is read
by the function that returned it, perhaps of a later deploy, which would continue with a dict where it expects an int.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, cast

from asyncjobs.core.codec.annotations import annotation_of_result, get_result_plan, owner_of
from asyncjobs.core.codec.decoding import Reader, Unmade, read_value
from asyncjobs.core.codec.mismatches import Mismatch, stepping, unlike
from asyncjobs.core.codec.names import class_of, is_named, type_name
from asyncjobs.core.codec.parts import bare_annotation, is_family, is_free, is_union, union_options
from asyncjobs.core.codec.records import is_named_tuple
from asyncjobs.core.codec.refusals import key_step
from asyncjobs.core.codec.stored import StoredRecord
from asyncjobs.exceptions import ConversionError

_CONTAINERS = frozenset([*range(0x80, 0xA0), 0xC7, 0xC8, 0xC9, *range(0xD4, 0xD9), *range(0xDC, 0xE0)])
"""First bytes of maps, arrays and extensions: only these may have a class."""


def refuse_misfit(data: bytes, func: Callable[..., Any]) -> None:
    """Refuse a record, an enum member or a NamedTuple where the return annotation of ``func`` names another class.

    Plain values are not compared with their annotation, and inside of a record its class decides.

    :raises ConversionError: there is one; it names the path and what was expected.
    """
    if data[:1] and data[0] not in _CONTAINERS:
        return
    annotation = annotation_of_result(func)
    if is_free(annotation) or get_result_plan(func).lenient:  # a wrapper may have changed what was returned
        return
    try:
        _check(annotation, read_value(data, Reader(None, raw=True, keep_unmade=True)))
    except Mismatch as mismatch:
        where = "$" + "".join(reversed(mismatch.steps))
        raise ConversionError(where, mismatch.problem, mismatch.expected, owner_of(func, None)) from None


def _check(annotation: Any, value: Any) -> None:
    bare = bare_annotation(annotation)
    origin: Any = typing.get_origin(bare) or bare
    arguments = typing.get_args(bare)
    if is_free(bare):
        return
    if is_union(bare):
        _check_any(union_options(bare), value)
    elif has_class(value):
        if isinstance(origin, type) and not _takes(origin, value):
            raise _mismatch(origin, value)
    else:
        for step, argument, item in _items(origin, arguments, value):
            stepping(step, _check, argument, item)


def _check_any(options: Sequence[Any], value: Any) -> None:
    """Raise the Mismatch of the last option if no option takes the value."""
    *others, last = options
    for option in others:
        try:
            _check(option, value)
        except Mismatch:
            continue
        return
    _check(last, value)


def has_class(value: Any) -> bool:
    """Return whether a value was stored with the name of its class."""
    cls = class_of(value)
    return cls in (StoredRecord, Unmade) or issubclass(cls, Enum) or is_named_tuple(cls)


def _takes(cls: Any, value: Any) -> bool:
    if getattr(cls, "_is_protocol", False):
        return True
    if type(value) is StoredRecord:
        return is_family(cls)  # the record itself is later compared with the classes of the family
    if type(value) is Unmade:
        return is_named(cls, value.module, value.qualname)  # as above
    return isinstance(value, cls)


def _mismatch(cls: Any, value: Any) -> Mismatch:
    expected = "None" if cls is type(None) else type_name(cls)
    if type(value) is Unmade:
        return Mismatch(f"is {value.label}", expected)
    if isinstance(value, Enum):
        return Mismatch(f"is {type_name(type(value))}.{value.name}", expected)
    return unlike(value, expected)


def _items(origin: Any, arguments: tuple[Any, ...], value: Any) -> list[tuple[str, Any, Any]]:
    """Return the items of a container that have annotations: the step to each, its annotation, itself."""
    if not arguments or not isinstance(origin, type):
        return []
    if isinstance(value, Mapping):
        fields = cast("Mapping[Any, Any]", value).items()
        return [(key_step(key), arguments[-1], item) for key, item in fields] if issubclass(origin, Mapping) else []
    if not isinstance(value, (list, tuple, set, frozenset)) or issubclass(origin, Mapping):
        return []
    items = list(cast("list[Any]", value))
    if origin is tuple and arguments[-1] is not Ellipsis:
        each = list(arguments) if len(arguments) == len(items) else []
        return [(f"[{index}]", argument, item) for index, (argument, item) in enumerate(zip(each, items, strict=False))]
    return [(f"[{index}]", arguments[0], item) for index, item in enumerate(items)]
