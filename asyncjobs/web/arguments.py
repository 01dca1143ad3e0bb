"""Decide what may be shown of the arguments of a job, over HTTP and by commands."""

from __future__ import annotations

import inspect
from typing import Any, cast

from asyncjobs.core.codec import resolve_callable
from asyncjobs.web.settings import Redact


def redact_arguments(redact: Redact, function: str, args: list[Any], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    """Return what may be shown of arguments in their JSON form.

    A call is stored as it was made, so an argument that was given by position has no name there. If the function is
    loaded in this process, ``redact`` gets such arguments under the names of its parameters as well.
    """
    shown, of_kwargs = redact("arguments", args), redact("arguments", kwargs)
    if not isinstance(shown, list):
        return shown, of_kwargs
    listed = cast("list[Any]", shown)
    names = _names(function) if listed and len(listed) == len(args) else []
    if not names:
        return listed, of_kwargs
    named = dict(zip(names, listed, strict=False))
    of_named = redact("arguments", named)
    fields = cast("dict[str, Any]", of_named) if isinstance(of_named, dict) else {}
    if list(fields) != list(named):
        return cast("Any", of_named), of_kwargs
    return [*fields.values(), *listed[len(named) :]], of_kwargs


def _names(function: str) -> list[str]:
    """Return the names of the parameters that take arguments by position; none if the function is not loaded here."""
    try:
        parameters = inspect.signature(resolve_callable(function)).parameters.values()
    except Exception:  # border: not loaded, without a signature, or a lazy proxy, which may raise anything
        return []
    by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [parameter.name for parameter in parameters if parameter.kind in by_position]
