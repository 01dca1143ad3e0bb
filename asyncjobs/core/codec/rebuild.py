"""Compile annotations into what rebuilds their values."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from asyncjobs.core.codec.containers import Fixed, Items, NamedTuples, Shape, Union, Values
from asyncjobs.core.codec.families import record_type
from asyncjobs.core.codec.hints import class_hints
from asyncjobs.core.codec.mismatches import Mismatch, Rebuild
from asyncjobs.core.codec.names import type_name, with_article
from asyncjobs.core.codec.nodes import Family
from asyncjobs.core.codec.records import is_named_tuple
from asyncjobs.core.codec.writer import is_stored_type

__all__ = [
    "Mismatch",
    "Rebuild",
    "bare_annotation",
    "compile_rebuild",
    "has_choice",
    "is_family",
    "is_free",
    "iter_annotations",
]

_TypeVars = Mapping[Any, Any]
_NO_TYPE_VARS: _TypeVars = {}
_UNIONS = (typing.Union, types.UnionType)
# Forms around an annotation that leave its values as they are.
_WRAPPERS = frozenset({"Annotated", "Required", "NotRequired", "ReadOnly", "Final", "ClassVar"})


def compile_rebuild(annotation: Any, type_vars: _TypeVars = _NO_TYPE_VARS, *, exact: bool = False) -> Rebuild | None:
    """Compile an annotation; None if it names no class of records anywhere.

    With ``exact``, a dict that was sent as a dict never becomes a record.
    """
    if not _holds_record(annotation, type_vars, {}):
        return None
    annotation = bare_annotation(annotation, type_vars)
    origin: Any = typing.get_origin(annotation) or annotation
    arguments = typing.get_args(annotation)
    inner = functools.partial(compile_rebuild, type_vars=type_vars, exact=exact)
    if origin in _UNIONS:
        return _union(arguments, type_vars, exact=exact)
    if is_family(origin):
        return (
            _family(origin, exact) if not arguments else _get_family(origin, exact, _arguments(annotation, type_vars))
        )
    if typing.is_typeddict(origin):
        return Shape(origin, {name: inner(hint) for name, hint in class_hints(origin).items()})
    if is_named_tuple(origin):
        hints = class_hints(origin)
        return NamedTuples(origin, [inner(hints.get(name)) for name in origin._fields])
    if issubclass(origin, Mapping):
        return Values(inner(arguments[-1]))
    if origin is tuple and arguments[-1] is not Ellipsis:
        return Fixed([inner(argument) for argument in arguments])
    return Items(inner(arguments[0]), with_article(origin.__name__.lower()))


def has_choice(annotation: Any, type_vars: _TypeVars = _NO_TYPE_VARS) -> bool:
    """Return whether it has a union of more than a record and None, so that dicts and records must be distinguished."""
    return any(
        typing.get_origin(part) in _UNIONS
        and sum(option is not type(None) for option in typing.get_args(part)) > 1
        and _holds_record(part, variables, {})
        for part, variables in _all_parts(annotation, type_vars, {})
    )


def iter_annotations(annotation: Any) -> Iterator[Any]:
    """Yield every (bare) annotation within this one, also of the fields of records."""
    return (part for part, _ in _all_parts(annotation, _NO_TYPE_VARS, {}))


def is_free(annotation: Any) -> bool:
    """Return whether an annotation (None for none) leaves the type open, and with it whether there is a record."""
    bare = bare_annotation(annotation, _NO_TYPE_VARS)
    if bare is None or bare is Any or bare is object or isinstance(bare, (str, typing.TypeVar, typing.ForwardRef)):
        return True
    return typing.get_origin(bare) in _UNIONS and any(map(is_free, typing.get_args(bare)))


def bare_annotation(annotation: Any, type_vars: _TypeVars = _NO_TYPE_VARS) -> Any:
    """Return ``annotation`` without aliases and wrappers; a type variable as what it stands for, or its bound."""
    while True:
        origin = typing.get_origin(annotation)
        if isinstance(annotation, typing.TypeVar):
            if annotation not in type_vars and annotation.__constraints__:
                return typing.Union[annotation.__constraints__]  # noqa: UP007 - of a tuple
            annotation = type_vars.get(annotation, annotation.__bound__)
        elif isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        elif isinstance(annotation, dataclasses.InitVar):
            annotation = cast("Any", annotation).type
        elif type(annotation).__name__ == "TypeAliasType":  # `type X = …`, from Python 3.12
            annotation = annotation.__value__
        elif origin is not None and getattr(origin, "__name__", getattr(origin, "_name", None)) in _WRAPPERS:
            annotation = typing.get_args(annotation)[0]
        else:
            return annotation


def _parts(annotation: Any) -> Iterable[Any]:
    """Return the annotations of the parts of a value of this (bare) annotation, as far as they are rebuilt."""
    origin: Any = typing.get_origin(annotation) or annotation
    if origin in _UNIONS:
        return typing.get_args(annotation)
    if not isinstance(origin, type):
        return ()
    if typing.is_typeddict(origin) or is_named_tuple(origin):
        return class_hints(origin).values()
    arguments = typing.get_args(annotation)
    if issubclass(origin, Mapping):
        return arguments[-1:]
    # type[X] and Callable[[X], Y] are not containers of an X.
    return arguments if issubclass(origin, Iterable) and not issubclass(origin, Iterator) else ()


def _holds_record(annotation: Any, type_vars: _TypeVars, seen: dict[int, Any]) -> bool:
    bare = bare_annotation(annotation, type_vars)
    if id(bare) in seen:  # a TypedDict that holds itself
        return False
    seen[id(bare)] = bare  # kept, so that its id is not another's
    if is_family(typing.get_origin(bare) or bare):
        return True
    return any(_holds_record(part, type_vars, seen) for part in _parts(bare))


def _all_parts(annotation: Any, type_vars: _TypeVars, seen: dict[int, Any]) -> Iterator[tuple[Any, _TypeVars]]:
    """Yield every (bare) annotation within this one, also of the fields of records, with its type variables."""
    bare = bare_annotation(annotation, type_vars)
    if id(bare) in seen:
        return
    seen[id(bare)] = bare
    yield bare, type_vars
    for part in _parts(bare):
        yield from _all_parts(part, type_vars, seen)
    origin: Any = typing.get_origin(bare) or bare
    if is_family(origin):
        of_type = _arguments(bare, type_vars)
        for cls in (origin, *_subclasses(origin)):
            record = record_type(cls)
            for hint in record.hints.values() if record is not None else ():
                yield from _all_parts(hint, of_type, seen)


def _subclasses(cls: type) -> Iterator[type]:
    seen: set[type] = set()
    level = [cls]
    while level:
        level = [sub for base in level for sub in type.__subclasses__(base) if sub not in seen]
        seen.update(level)
        yield from level


def is_family(cls: Any) -> bool:
    """Return whether values of a class may be records, of its own or of its subclasses."""
    if not isinstance(cls, type) or typing.is_typeddict(cls):
        return False
    if record_type(cls) is not None:
        return True
    if is_stored_type(cls) or cls.__module__ in _NEVER or getattr(cls, "_is_protocol", False):
        return False
    return not issubclass(cls, (Iterable, types.FunctionType))


# Classes of these are not bases of a program's records.
_NEVER = frozenset({"builtins", "typing", "types", "collections.abc", "contextlib", "enum", "abc", "numbers"})


def _union(options: Sequence[Any], type_vars: _TypeVars, *, exact: bool) -> Union:
    bare = [bare_annotation(option, type_vars) for option in options]
    closely = [compile_rebuild(option, type_vars, exact=True) for option in bare]
    loosely = [] if exact else [compile_rebuild(option, type_vars) for option in bare]
    return Union(
        _records_first(closely),
        _records_first(loosely),
        [option for option, rebuild in zip(bare, closely, strict=True) if rebuild is None],
        " | ".join(map(_spelled, bare)),
    )


def _records_first(rebuilds: Iterable[Rebuild | None]) -> list[Rebuild]:
    found = [rebuild for rebuild in rebuilds if rebuild is not None]
    return sorted(found, key=lambda rebuild: not isinstance(rebuild, Family))


@functools.lru_cache(maxsize=1024)
def _family(cls: type, exact: bool) -> Family:
    # Cached, so that a class that holds itself is compiled once and not once for each level of a value.
    return _get_family(cls, exact, _NO_TYPE_VARS)


def _get_family(cls: type, exact: bool, type_vars: _TypeVars) -> Family:
    def fields_of(member: type) -> Mapping[str, Rebuild | None]:
        record = record_type(member)
        assert record is not None
        variables = _inherited(member, cls, type_vars)
        hints = record.hints
        names = (*record.parameters, *record.others)
        return {name: compile_rebuild(hints.get(name), variables, exact=exact) for name in names}

    return Family(cls, fields_of, exact=exact)


def _arguments(alias: Any, type_vars: _TypeVars) -> _TypeVars:
    """Return what the type variables of a generic class stand for in ``Box[int]``, and in its bases."""
    origin: Any = typing.get_origin(alias)
    if origin is None:
        return _of_bases(alias, {}) if isinstance(alias, type) else {}
    arguments = [_filled(argument, type_vars) for argument in typing.get_args(alias)]
    return _of_bases(origin, dict(zip(getattr(origin, "__parameters__", ()), arguments, strict=False)))


def _of_bases(cls: type, own: dict[Any, Any]) -> dict[Any, Any]:
    found = dict(own)
    for base in vars(cls).get("__orig_bases__", ()):
        origin: Any = typing.get_origin(base)
        if isinstance(origin, type) and origin not in (typing.Generic, typing.Protocol):
            arguments = [_filled(argument, own) for argument in typing.get_args(base)]
            below = dict(zip(getattr(origin, "__parameters__", ()), arguments, strict=False))
            found = {**_of_bases(origin, below), **found}
    for base in cls.__bases__:
        if "__orig_bases__" not in vars(cls):
            found = {**_of_bases(base, {}), **found}
    return found


def _inherited(member: type, base: type, type_vars: _TypeVars) -> _TypeVars:
    """Return the type variables of a subclass, given those of the annotation's class."""
    if member is base:
        return type_vars or _of_bases(member, {})
    # A parameter that the subclass passes to the base stands for the same as the base's.
    seen = _of_bases(member, {})
    handed = {
        seen[variable]: meant for variable, meant in type_vars.items() if isinstance(seen.get(variable), typing.TypeVar)
    }
    return {**_of_bases(member, handed), **type_vars, **handed}


def _filled(annotation: Any, type_vars: _TypeVars) -> Any:
    """Return ``annotation`` with type variables replaced by what they stand for."""
    if isinstance(annotation, typing.TypeVar):
        return type_vars.get(annotation, annotation)
    parameters: tuple[Any, ...] = getattr(annotation, "__parameters__", ())
    if not parameters or isinstance(annotation, type) or not any(p in type_vars for p in parameters):
        return annotation
    return annotation[tuple(type_vars.get(parameter, parameter) for parameter in parameters)]


def _spelled(option: Any) -> str:
    return type_name(option) if isinstance(option, type) else str(option)
