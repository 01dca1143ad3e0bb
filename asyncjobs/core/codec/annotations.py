"""Records come back by annotation: the dict that a dataclass, Struct or attrs instance was stored as becomes one again.

Only these are touched. Every other type comes back as it was without help, so there is no coercion: a parameter whose
annotation names no record keeps its value, and so does a field. ``msgspec.convert`` is not used for it, because it
refuses annotations that are common here (``str | Path``, enums of mixed values, two dataclasses in a union, fields with
``init=False``) and would change values that are right already.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from inspect import Parameter
from typing import Any

from asyncjobs.core.codec.cache import IdentityCache
from asyncjobs.core.codec.hints import callable_hints, innermost
from asyncjobs.core.codec.rebuild import Mismatch, Rebuild, rebuild_of


class ConversionError(TypeError):
    """A stored value does not fit the annotation by which it is to come back.

    ``where`` is the path to it (``$.points[2]``, after the parameter, or ``$`` for the result), ``expected`` the type
    that was wanted there.
    """

    def __init__(self, where: str, problem: str, expected: str, owner: str) -> None:
        super().__init__(f"{owner}: {where} {problem}; expected {expected}")
        self.where = where
        self.expected = expected


class _Plan(typing.NamedTuple):
    """The parameters of one callee that hold records. All are None or empty for most callees.

    ``named`` has every parameter that can be given by name, with None for those that hold none: these are not others.
    """

    positional: tuple[tuple[int, str, Rebuild], ...]
    rest: tuple[int, str, Rebuild] | None  # *args: from which index
    named: Mapping[str, Rebuild | None]
    others: Rebuild | None  # **kwargs


_NOTHING = _Plan((), None, {}, None)
_plans: IdentityCache[_Plan] = IdentityCache()
_results: IdentityCache[tuple[Rebuild | None]] = IdentityCache()


def convert_arguments(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """The arguments with records in place of dicts, where ``func``'s annotations name record classes.

    None, and what is an instance already, stays. Annotations that cannot be resolved leave their value as it is.
    Raises ConversionError naming the parameter, the path and the expected type.
    """
    plan = _plans.get(func)
    if plan is None:
        plan = _plan(func)
        _plans.put(func, plan)
    if plan is _NOTHING:
        return args, kwargs
    values = list(args)
    for index, name, rebuild in plan.positional:
        if index < len(values):
            values[index] = _rebuilt(func, rebuild, values[index], name)
    if plan.rest is not None:
        start, name, rebuild = plan.rest
        for index in range(start, len(values)):
            values[index] = _rebuilt(func, rebuild, values[index], name, f"[{index - start}]")
    named = {
        name: value if (rebuild := plan.named.get(name, plan.others)) is None else _rebuilt(func, rebuild, value, name)
        for name, value in kwargs.items()
    }
    return tuple(values), named


def convert_result(func: Callable[..., Any], value: Any) -> Any:
    """``value`` with records in place of dicts, by ``func``'s return annotation; a class returns itself.

    Raises ConversionError naming the path and the expected type.
    """
    known = _results.get(func)
    if known is None:
        known = (_result_rebuild(func),)
        _results.put(func, known)
    rebuild = known[0]
    return value if rebuild is None else _rebuilt(func, rebuild, value, None)


def _rebuilt(func: Callable[..., Any], rebuild: Rebuild, value: Any, name: str | None, step: str = "") -> Any:
    try:
        return rebuild(value)
    except Mismatch as mismatch:
        root = "$" if name is None else f"$.{name}{step}"
        label = getattr(func, "__qualname__", type(func).__qualname__)
        owner = f"result of {label}()" if name is None else f"argument {name!r} of {label}()"
        where = root + "".join(reversed(mismatch.steps))
        raise ConversionError(where, mismatch.problem, mismatch.expected, owner) from mismatch.__cause__


def _plan(func: Callable[..., Any]) -> _Plan:
    try:
        parameters = list(inspect.signature(func).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    hints = callable_hints(func)
    positional: list[tuple[int, str, Rebuild]] = []
    rest: tuple[int, str, Rebuild] | None = None
    named: dict[str, Rebuild | None] = {}
    others: Rebuild | None = None
    for index, parameter in enumerate(parameters):
        rebuild = rebuild_of(hints.get(parameter.name))
        if parameter.kind is Parameter.VAR_KEYWORD:
            others = rebuild
        elif parameter.kind is Parameter.VAR_POSITIONAL:
            rest = None if rebuild is None else (index, parameter.name, rebuild)
        else:
            if parameter.kind is not Parameter.POSITIONAL_ONLY:
                named[parameter.name] = rebuild
            if parameter.kind is not Parameter.KEYWORD_ONLY and rebuild is not None:
                positional.append((index, parameter.name, rebuild))
    if not positional and rest is None and others is None and not any(named.values()):
        return _NOTHING
    return _Plan(tuple(positional), rest, named, others)


def _result_rebuild(func: Callable[..., Any]) -> Rebuild | None:
    inner = innermost(func)
    return rebuild_of(inner if isinstance(inner, type) else callable_hints(inner).get("return"))
