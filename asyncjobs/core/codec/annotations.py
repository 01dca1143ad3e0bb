"""Records come back by annotation: the dict that a dataclass, Struct or attrs instance was stored as becomes one again.

Only these are touched. Every other type comes back as it was without help, so there is no coercion: a parameter whose
annotation names no record keeps its value, and so does a field. ``msgspec.convert`` is not used for it, because it
refuses annotations that are common here (``str | Path``, enums of mixed values, two dataclasses in a union, fields with
``init=False``) and would change values that are right already.
"""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Iterable, Mapping
from inspect import Parameter
from typing import Any

from asyncjobs.core.codec.cache import IdentityCache
from asyncjobs.core.codec.hints import callable_hints, innermost
from asyncjobs.core.codec.layers import (
    Passed,
    borrows_annotations,
    callee_of,
    chosen,
    dispatches_on_first,
    implementations,
)
from asyncjobs.core.codec.rebuild import Mismatch, Rebuild, rebuild_of
from asyncjobs.exceptions import ConversionError


class _Plan(typing.NamedTuple):
    """The parameters of one callee that hold records. All are None or empty for most callees.

    ``named`` has every parameter that can be given by name, with None for those that hold none: these are not others.
    ``passed``: they are those of a function behind a wrapper, which the call may not fit. ``lenient``: they are
    annotated by such a function alone, so what does not fit its annotation is left as it is.
    """

    positional: tuple[tuple[int, str, Rebuild], ...]
    rest: tuple[int, str, Rebuild] | None  # *args: from which index
    named: Mapping[str, Rebuild | None]
    others: Rebuild | None  # **kwargs
    passed: Passed | None = None
    lenient: bool = False


_NOTHING = _Plan((), None, {}, None)
_CHOOSES = _Plan((), None, {}, None)
"""``functools.singledispatch``: each call has the plan of the implementation that it takes."""
_plans: IdentityCache[_Plan] = IdentityCache()
_results: IdentityCache[tuple[Rebuild | None, bool]] = IdentityCache()


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
    if plan is _CHOOSES:
        return _convert_by_choice(func, args, kwargs)
    if plan.passed is not None and plan.passed.bind(args, kwargs) is None:
        return args, kwargs  # a call that the wrapper makes into another one
    if plan.lenient:
        try:
            return _converted(func, plan, args, kwargs)
        except ConversionError:
            return args, kwargs
    return _converted(func, plan, args, kwargs)


def _converted(
    func: Callable[..., Any], plan: _Plan, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
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
        known = _result_rebuild(func), borrows_annotations(func)
        _results.put(func, known)
    rebuild, lenient = known
    if rebuild is None:
        return value
    try:
        return _rebuilt(func, rebuild, value, None)
    except ConversionError:
        if lenient:  # the wrapper has made something else of what the annotated function returned
            return value
        raise


def result_stand_in(func: Callable[..., Any], *, local: bool) -> Callable[..., Any] | None:
    """A callable by which ``convert_result`` does what it does by ``func``, without what ``func`` holds.

    Handles are kept for as long as a program likes, and the arguments of partials, the variables of closures and the
    defaults of lambdas may be large. None: nothing is converted.

    :param local: ``func`` itself is to be let go, too, once its job is over.
    """
    inner = innermost(func)
    if not local or isinstance(inner, type):
        return inner
    hints: Mapping[str, Any] = getattr(inner, "__annotations__", None) or {}
    if not hints and not inspect.isroutine(inner):
        hints = getattr(getattr(inner, "__call__", None), "__annotations__", None) or {}  # noqa: B004 - its annotations
    if "return" not in hints:
        return None
    annotations = {"return": callable_hints(inner).get("return")}
    stand_in = _without_body(annotations)
    if borrows_annotations(inner):
        functools.update_wrapper(stand_in, _without_body(annotations))
    name: Any = getattr(inner, "__qualname__", type(inner).__qualname__)
    stand_in.__qualname__ = name
    return stand_in


def _without_body(annotations: dict[str, Any]) -> Callable[..., Any]:
    def stand_in() -> None: ...

    stand_in.__annotations__ = annotations
    return stand_in


def _rebuilt(func: Callable[..., Any], rebuild: Rebuild, value: Any, name: str | None, step: str = "") -> Any:
    try:
        return rebuild(value)
    except Mismatch as mismatch:
        root = "$" if name is None else f"$.{name}{step}"
        label = getattr(func, "__qualname__", type(func).__qualname__)
        owner = f"result of {label}()" if name is None else f"argument {name!r} of {label}()"
        where = root + "".join(reversed(mismatch.steps))
        raise ConversionError(where, mismatch.problem, mismatch.expected, owner) from mismatch.__cause__


def _convert_by_choice(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """Rebuild the first argument as one of the classes that have an implementation, the others as that one has them."""
    callee = callee_of(func)
    if args and dispatches_on_first(callee.target):
        rebuild = rebuild_of(_union(cls for cls in implementations(callee.target) if cls is not object))
        if rebuild is not None:
            try:
                args = (_rebuilt(func, rebuild, args[0], "the first"), *args[1:])
            except ConversionError:
                pass  # it is of none of these classes: the implementation for any object takes it
    implementation = chosen(callee.target, args)
    return (args, kwargs) if implementation is None else convert_arguments(implementation, args, kwargs)


def _union(options: Iterable[Any]) -> Any:
    listed = tuple(options)
    return typing.Union[listed] if listed else None  # noqa: UP007 - of classes that are known only now


def _plan(func: Callable[..., Any]) -> _Plan:
    callee = callee_of(func)
    if callee.dispatches:
        return _CHOOSES
    parameters = [] if callee.signature is None else list(callee.signature.parameters.values())
    hints = callable_hints(callee.target)
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
    return _Plan(tuple(positional), rest, named, others, callee.passed, callee.borrowed)


def _result_rebuild(func: Callable[..., Any]) -> Rebuild | None:
    inner = innermost(func)
    callee = callee_of(inner)
    if callee.dispatches:
        returns = [
            callable_hints(implementation).get("return") for implementation in implementations(callee.target).values()
        ]
        return rebuild_of(_union(returns)) if all(hint is not None for hint in returns) else None
    return rebuild_of(inner if isinstance(inner, type) else callable_hints(inner).get("return"))
