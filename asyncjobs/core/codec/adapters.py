"""Run what a factory makes, through an adapter: ``demo+shop.models:make`` is stored for ``make`` of ``shop.models``.

Whether the factory may run is decided by its own name, as for every function. The adapter comes from a closed table, so
neither a stored name nor an argument of a job chooses code that was not allowed (ADR 31).
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from inspect import Parameter, Signature
from types import FunctionType, MappingProxyType
from typing import Any

from asyncjobs.core.codec.adapted import MARK, Mark, find_mark
from asyncjobs.core.codec.hints import callable_hints
from asyncjobs.core.codec.layers import find_callee
from asyncjobs.core.codec.names import JOB_OPTIONS, attribute, split_name
from asyncjobs.exceptions import ConfigurationError, SubmissionError

ADAPTERS: Mapping[str, str] = MappingProxyType(
    {
        "crew": "asyncjobs.integrations.crewai.crew_adapter",
        "demo": "asyncjobs.testing.demo_adapter",
        "flow": "asyncjobs.integrations.crewai.flow_adapter",
    }
)
"""The module of each adapter, by the name with which stored names begin. It is imported when a job needs it.

It has a plain function ``adapt(factory)``, which returns the body of a job: a function that takes the arguments of the
factory, and its own ones by keyword only. What it may have besides, for a foreign library:

``LIBRARY``: its name, to be imported before the first job that needs it. ``check()``: raises ImportError or
ConfigurationError if this process cannot run such jobs. ``HEEDS_STOP = True``: bodies end when their job is to stop.
"""
_LIBRARY, _CHECK, _HEEDS_STOP = "LIBRARY", "check", "HEEDS_STOP"


def find_library(adapter: str) -> str | None:
    """Return the library that an adapter needs; None for none."""
    return getattr(importlib.import_module(ADAPTERS[adapter]), _LIBRARY, None)


def check_runnable(adapter: str) -> None:
    """Make sure that this process can run what an adapter makes.

    :raises ImportError: what it needs is not installed. ConfigurationError: in another version than it needs.
    """
    check: Callable[[], None] | None = getattr(importlib.import_module(ADAPTERS[adapter]), _CHECK, None)
    if check is not None:
        check()


def find_problem(name: str) -> str | None:
    """Return why a stored name with an adapter can run nowhere here; None if its adapter is known."""
    adapter, factory = split_name(name)
    if adapter is None or (adapter in ADAPTERS and split_name(factory)[0] is None):
        return None
    if adapter in ADAPTERS:
        return f"a stored name has one adapter, not several: {name!r}"
    known = ", ".join(sorted(ADAPTERS))
    return f"this version of asyncjobs has no adapter {adapter!r} (it has {known}); a newer worker may have it"


def adapt(adapter: str, factory: Callable[..., Any]) -> Callable[..., Any]:
    """Return the body of a job that calls a factory and runs what it makes.

    :param adapter: one of ``ADAPTERS``.
    :raises SubmissionError: the factory does not return what it makes, or has a parameter that the adapter takes.
    :raises ImportError: what the adapter needs is not installed.
    """
    _check_factory(factory)
    module = importlib.import_module(ADAPTERS[adapter])
    body: FunctionType = module.adapt(factory)
    own = [p for p in inspect.signature(body).parameters.values() if p.kind is Parameter.KEYWORD_ONLY]
    mark = Mark(adapter, factory, body, _joined(adapter, factory, own), getattr(module, _HEEDS_STOP, False))
    body.__annotations__ = _annotations(factory, callable_hints(body), own)
    for field in ("__module__", "__name__", "__qualname__", "__doc__", JOB_OPTIONS):
        value = attribute(factory, field)
        if value is not None:
            setattr(body, field, value)
    setattr(body, MARK, mark)
    return body


def adapt_named(adapter: str, name: str) -> Callable[..., Any]:
    """Return what stands for the body of a job of a factory that this process knows by its stored name alone.

    It can be submitted, and not be called: any arguments fit it.
    """
    module = importlib.import_module(ADAPTERS[adapter])

    def factory(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError(f"{name} is known by its name alone here")

    body: FunctionType = module.adapt(factory)
    heeds_stop = getattr(module, _HEEDS_STOP, False)
    setattr(body, MARK, Mark(adapter, factory, body, None, heeds_stop, named=name))
    return body


def can_run(func: Callable[..., Any]) -> bool:
    """Return whether this process may run a callable that was submitted here.

    False for what an adapter made of a factory that is known by its name alone, or without what the adapter needs.
    """
    mark = find_mark(func)
    if mark is None:
        return True
    try:
        check_runnable(mark.adapter)
    except (ImportError, ConfigurationError):
        return False
    return mark.named is None


def _annotations(factory: Callable[..., Any], ours: Mapping[str, Any], own: list[Parameter]) -> dict[str, Any]:
    """Return the annotations of the factory's parameters, and ours of the result: its product is not returned."""
    own_names = {"return", *(parameter.name for parameter in own)}
    theirs = callable_hints(find_callee(factory).target)
    return {name: hint for name, hint in theirs.items() if name != "return"} | {
        name: hint for name, hint in ours.items() if name in own_names
    }


def _check_factory(factory: Callable[..., Any]) -> None:
    kinds = {
        inspect.iscoroutinefunction: "an async def function",
        inspect.isgeneratorfunction: "a generator function",
        inspect.isasyncgenfunction: "an async generator function",
    }
    what = next((what for is_of_kind, what in kinds.items() if is_of_kind(factory)), None)
    if find_mark(factory) is not None:
        what = "adapted already"
    if what is not None:
        raise SubmissionError(
            f"{_label(factory)} is {what}, and an adapter calls a plain function or a class",
            hint="give a function that returns what is to be run",
        )


def _joined(adapter: str, factory: Callable[..., Any], own: list[Parameter]) -> Signature | None:
    """Return the parameters of the factory together with those of the adapter."""
    shown = find_callee(factory).signature
    if shown is None:
        return None
    theirs = list(shown.parameters.values())
    for parameter in own:
        if parameter.name in shown.parameters:
            raise SubmissionError(
                f"{_label(factory)} has a parameter {parameter.name!r}, which the adapter {adapter!r} takes for itself",
                hint="rename the parameter",
            )
    last = len(theirs) - (bool(theirs) and theirs[-1].kind is Parameter.VAR_KEYWORD)
    return Signature([*theirs[:last], *own, *theirs[last:]])


def _label(factory: Callable[..., Any]) -> str:
    return f"{attribute(factory, '__qualname__') or type(factory).__qualname__}()"
