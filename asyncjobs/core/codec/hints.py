"""Resolve the annotations of functions and classes as far as possible."""

from __future__ import annotations

import functools
import sys
import typing
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, cast

from asyncjobs.core.codec.names import attribute, seems

MOST_LAYERS = 64
"""The longest chain of wrappers; a longer one is taken to be circular."""


def callable_hints(func: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations, by parameter name and ``"return"``, of what a call of ``func`` runs.

    Those of a class are the annotations of its constructor.
    """
    inner = innermost(func)
    if seems(inner, type):
        hints = class_hints(inner)  # the parameters of a generated constructor are the fields
        return hints | _resolved(inner.__new__) | _resolved(inner.__init__)
    return _resolved(inner if _is_annotated(inner) else type(inner).__call__)


def _is_annotated(func: Any) -> bool:
    """Return whether a callable has annotations of its own.

    Those of its class, which an instance shows, are about the attributes of the class.
    """
    found = attribute(func, "__annotations__")
    bases: tuple[type, ...] = attribute(cast("object", type(func)), "__mro__") or ()
    return isinstance(found, dict) and all(found is not vars(base).get("__annotations__") for base in bases)


def own_annotations(func: Any) -> dict[str, Any]:
    """Return the annotations of a function as they are written; {} for a lazy proxy, which has every attribute."""
    found = attribute(func, "__annotations__")
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _global_names(body: Any) -> dict[str, Any]:
    """Return the names that the annotations of a function can use: those of the innermost one that it wraps."""
    for _ in range(MOST_LAYERS):  # inspect.unwrap and typing.get_type_hints refuse a circle, or never end
        inner = attribute(body, "__wrapped__")
        if inner is None:
            break
        body = inner
    found = attribute(body, "__globals__")
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def innermost(func: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``func`` without the partials around it."""
    while seems(func, functools.partial):
        func = func.func
    return func


def class_hints(cls: type) -> dict[str, Any]:
    """Return the annotations of the attributes of a class and its bases, by name."""
    try:
        return typing.get_type_hints(cls, include_extras=True)
    except Exception:  # border: annotations are expressions, and evaluating one may raise anything
        hints: dict[str, Any] = {}
        for base in reversed(cls.__mro__):
            hints |= _one_by_one(base, vars(sys.modules.get(base.__module__, typing)), dict(vars(base)))
        return hints


def _resolved(body: Any) -> dict[str, Any]:
    names = _global_names(body)
    try:
        return typing.get_type_hints(body, names, include_extras=True)
    except Exception:  # border: as above
        return _one_by_one(body, names, {})


def _one_by_one(annotated: Any, global_names: Mapping[str, Any], local_names: Mapping[str, Any]) -> dict[str, Any]:
    """Resolve each annotation on its own, so that one under ``if TYPE_CHECKING:`` does not hide the others."""
    hints: dict[str, Any] = {}
    names = _type_parameters(annotated) | dict(local_names)
    for name, annotation in own_annotations(annotated).items():
        holder = SimpleNamespace(__annotations__={name: annotation})
        try:
            hints |= typing.get_type_hints(holder, dict(global_names), names, include_extras=True)
        except Exception:  # border: as above
            continue
    return hints


def _type_parameters(annotated: Any) -> dict[str, Any]:
    """Return those of ``class Box[T]``, which ``typing.get_type_hints`` does not know before Python 3.12.4."""
    found = attribute(annotated, "__type_params__")
    parameters = cast("tuple[Any, ...]", found) if isinstance(found, tuple) else ()
    return {parameter.__name__: parameter for parameter in parameters}
