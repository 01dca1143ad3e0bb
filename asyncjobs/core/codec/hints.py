"""Annotations of functions and classes, resolved as far as they can be."""

from __future__ import annotations

import functools
import inspect
import sys
import typing
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, cast

from asyncjobs.core.codec.names import attribute, seems


def callable_hints(func: Callable[..., Any]) -> dict[str, Any]:
    """Annotations by parameter name, and ``"return"``, of what a call of ``func`` runs. A class: of its constructor."""
    inner = innermost(func)
    if seems(inner, type):
        hints = class_hints(inner)  # what a generated constructor takes are the fields
        for body in (inner.__new__, inner.__init__):
            hints |= _resolved(body, _namespace(body))
        return hints
    if attribute(inner, "__annotations__") is None:
        inner = type(inner).__call__
    return _resolved(inner, _namespace(inner))


def own_annotations(func: Any) -> dict[str, Any]:
    """The annotations of a function as they are written. A lazy proxy has every attribute, also this."""
    found = attribute(func, "__annotations__")
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _namespace(body: Any) -> Mapping[str, Any]:
    try:
        found: Any = inspect.unwrap(body).__globals__
    except Exception:  # AttributeError, a chain without an end; border: a callable may have a __getattr__ of its own
        return {}
    return cast("Mapping[str, Any]", found) if isinstance(found, dict) else {}


def innermost(func: Callable[..., Any]) -> Callable[..., Any]:
    """``func`` without the partials around it."""
    while seems(func, functools.partial):
        func = func.func
    return func


def class_hints(cls: type) -> dict[str, Any]:
    """Annotations of the attributes of a class and its bases, by name."""
    try:
        return typing.get_type_hints(cls, include_extras=True)
    except Exception:  # border: annotations are expressions, and evaluating one may raise anything
        hints: dict[str, Any] = {}
        for base in reversed(cls.__mro__):
            hints |= _one_by_one(base, vars(sys.modules.get(base.__module__, typing)), dict(vars(base)))
        return hints


def _resolved(body: Any, namespace: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(body, include_extras=True)
    except Exception:  # border: as above
        return _one_by_one(body, namespace, {})


def _one_by_one(annotated: Any, global_names: Mapping[str, Any], local_names: Mapping[str, Any]) -> dict[str, Any]:
    """Each annotation on its own, so that one under ``if TYPE_CHECKING:`` does not hide the others."""
    hints: dict[str, Any] = {}
    for name, annotation in own_annotations(annotated).items():
        holder = SimpleNamespace(__annotations__={name: annotation})
        try:
            hints |= typing.get_type_hints(holder, dict(global_names), dict(local_names), include_extras=True)
        except Exception:  # border: as above
            continue
    return hints
