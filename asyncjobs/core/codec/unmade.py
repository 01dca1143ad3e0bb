"""Refuse enum members and NamedTuples that the class named by the annotation can no longer make.

A later deploy may have removed a member or a field. Without an annotation, such a value is restored as a plain value;
where the annotation names the class, the function expects its instances. Values are searched only if reading found one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from typing import Any, cast

from asyncjobs.core.codec.annotations import annotation_of_result, get_plan, owner_of
from asyncjobs.core.codec.decoding import Reader, Unmade, read_call, read_value
from asyncjobs.core.codec.hints import callable_hints
from asyncjobs.core.codec.layers import find_callee
from asyncjobs.core.codec.names import class_of, is_named, type_name
from asyncjobs.core.codec.parts import iter_parts
from asyncjobs.core.codec.records import is_named_tuple
from asyncjobs.core.codec.refusals import key_step
from asyncjobs.core.codec.stored import StoredRecord
from asyncjobs.exceptions import ConversionError


def refuse_unmade_arguments(data: bytes, func: Callable[..., Any]) -> None:
    """Refuse what the annotations of the parameters of ``func`` name and their classes cannot make.

    :raises ConversionError: there is one; it names the parameter, the path and what the class has.
    """
    plan = get_plan(func)
    args, kwargs = read_call(data, Reader(lambda _: None, raw=True, keep_unmade=True))
    if plan.chooses or plan.lenient or (plan.passed is not None and plan.passed.bind(args, kwargs) is None):
        return
    hints = callable_hints(find_callee(func).target)
    places = [(plan.at(index).name, value) for index, value in enumerate(args)]
    places += [(plan.of(name).name, value) for name, value in kwargs.items()]
    for name, value in places:
        _refuse(hints.get(name), value, f"$.{name}", owner_of(func, name))


def refuse_unmade_result(data: bytes, func: Callable[..., Any]) -> None:
    """Refuse what the return annotation of ``func`` names and its class cannot make.

    :raises ConversionError: there is one; it names the path and what the class has.
    """
    value = read_value(data, Reader(None, raw=True, keep_unmade=True))
    _refuse(annotation_of_result(func), value, "$", owner_of(func, None))


def _refuse(annotation: Any, value: Any, where: str, owner: str) -> None:
    if annotation is None:
        return
    named = (part for part, _ in iter_parts(annotation) if isinstance(part, type))
    classes: list[Any] = [part for part in named if issubclass(part, Enum) or is_named_tuple(part)]
    for path, unmade in _find(value, where):
        for cls in classes:
            if is_named(cls, unmade.module, unmade.qualname) and (expected := _lacking(cls, unmade)) is not None:
                raise ConversionError(path, f"is {unmade.label}, which the class does not have", expected, owner)


def _lacking(cls: Any, unmade: Unmade) -> str | None:
    """Return what the class has instead; None if it could make the value, had it been loaded under its name."""
    if issubclass(cls, Enum):
        if unmade.member in cls.__members__:
            return None
        return f"{type_name(cls)} ({', '.join(cls.__members__)})"
    if not is_named_tuple(cls) or len(unmade.value) == len(cls._fields):
        return None
    return f"{type_name(cls)}({', '.join(cls._fields)})"


def _find(value: Any, where: str) -> Iterator[tuple[str, Unmade]]:
    cls = class_of(value)
    inner: Iterable[tuple[str, Any]] = ()
    if cls is Unmade:
        yield where, value
        inner = (("", item) for item in cast("tuple[Any, ...]", value.value)) if type(value.value) is tuple else ()
    elif cls is StoredRecord:
        inner = ((f".{name}", item) for part in (value.fields, value.more) for name, item in part.items())
    elif issubclass(cls, Mapping):
        fields = cast("Mapping[Any, Any]", value).items()
        inner = ((key_step(key), item) for key, item in fields)
        inner = (*(("{key}", key) for key, _ in fields), *inner)
    elif issubclass(cls, (list, tuple)):
        inner = ((f"[{index}]", item) for index, item in enumerate(value))
    elif issubclass(cls, (set, frozenset)):
        inner = (("{item}", item) for item in value)
    for step, item in inner:
        yield from _find(item, where + step)
