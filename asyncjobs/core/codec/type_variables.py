"""Work out what the type variables of generic classes and aliases stand for."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Any

TypeVars = Mapping[Any, Any]
"""The types that type variables stand for."""
NO_TYPE_VARS: TypeVars = {}


def bound_in(annotation: Any, type_vars: TypeVars) -> tuple[tuple[Any, Any], ...]:
    """Return what the type variables in an annotation stand for, as far as that is known."""
    parameters: tuple[Any, ...] = getattr(annotation, "__parameters__", ())
    return tuple((parameter, type_vars[parameter]) for parameter in parameters if parameter in type_vars)


def of_class(alias: Any, type_vars: TypeVars) -> TypeVars:
    """Return what the type variables of a generic class stand for in ``Box[int]``, and in its bases."""
    origin: Any = typing.get_origin(alias)
    if origin is None:
        return _of_bases(alias, {}) if isinstance(alias, type) else {}
    arguments = [filled(argument, type_vars) for argument in typing.get_args(alias)]
    return _of_bases(origin, dict(zip(getattr(origin, "__parameters__", ()), arguments, strict=False)))


def _of_bases(cls: type, own: dict[Any, Any]) -> dict[Any, Any]:
    found = dict(own)
    for base in vars(cls).get("__orig_bases__", ()):
        origin: Any = typing.get_origin(base)
        if isinstance(origin, type) and origin not in (typing.Generic, typing.Protocol):
            arguments = [filled(argument, own) for argument in typing.get_args(base)]
            below = dict(zip(getattr(origin, "__parameters__", ()), arguments, strict=False))
            found = {**_of_bases(origin, below), **found}
    for base in cls.__bases__:
        if "__orig_bases__" not in vars(cls):
            found = {**_of_bases(base, {}), **found}
    return found


def inherited(member: type, base: type, type_vars: TypeVars) -> TypeVars:
    """Return the type variables of a subclass, given those of the annotation's class."""
    if member is base:
        return type_vars or _of_bases(member, {})
    # A type parameter that the subclass passes to its base stands for the same type as that of the base.
    seen = _of_bases(member, {})
    handed = {
        seen[variable]: meant for variable, meant in type_vars.items() if isinstance(seen.get(variable), typing.TypeVar)
    }
    return {**_of_bases(member, handed), **type_vars, **handed}


def filled(annotation: Any, type_vars: TypeVars) -> Any:
    """Return ``annotation`` with type variables replaced by what they stand for."""
    if isinstance(annotation, typing.TypeVar):
        return type_vars.get(annotation, annotation)
    parameters: tuple[Any, ...] = getattr(annotation, "__parameters__", ())
    if not parameters or isinstance(annotation, type) or not any(p in type_vars for p in parameters):
        return annotation
    return annotation[tuple(type_vars.get(parameter, parameter) for parameter in parameters)]
