"""Find the signatures that apply to a call: the callable's own, and that of the function to which it passes calls on.

``inspect.signature`` shows the innermost function of a chain of ``functools.wraps``. Python calls the outermost one:
a wrapper that supplies a session takes one argument less than the function that it wraps, and a wrapper with named
parameters may take entirely different ones.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from inspect import Parameter, Signature
from types import FunctionType, MethodType
from typing import Any, cast

import msgspec

from asyncjobs.core.codec.adapted import find_mark
from asyncjobs.core.codec.hints import MOST_LAYERS, own_annotations
from asyncjobs.core.codec.names import attribute, seems

_VARIABLE = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


def _any_function() -> None: ...


_DISPATCHER = functools.singledispatch(_any_function).__code__  # type: ignore[attr-defined] - it is a function
"""The code of every function that ``functools.singledispatch`` makes."""


class Passed(msgspec.Struct, frozen=True):
    """The signature of the function to which a wrapper passes calls on; a call may fit it or not.

    ``own_options`` are keywords that the wrapper keeps for itself.
    """

    signature: Signature
    own_options: frozenset[str] = frozenset()

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> inspect.BoundArguments | None:
        """Bind a call as the wrapped function receives it; None if it does not fit there."""
        try:
            return self.signature.bind(
                *args, **{name: value for name, value in kwargs.items() if name not in self.own_options}
            )
        except TypeError:
            return None


class Callee(msgspec.Struct, frozen=True):
    """The signatures and annotations that apply to calls of one callable.

    Python checks the call against ``own``, which is None if it knows no signature. ``target`` is the callable whose
    annotations count; if that is not the callable itself, the calls that fit ``passed`` reach it.

    ``borrowed``: the annotations of ``target`` are those of a function that it wraps, copied by ``functools.wraps``.
    ``dispatches``: ``target`` is made by ``functools.singledispatch`` (see ``chosen``).
    """

    own: Signature | None
    target: Callable[..., Any]
    passed: Passed | None = None
    borrowed: bool = False
    dispatches: bool = False

    @property
    def signature(self) -> Signature | None:
        """Return the signature by which a call is bound, if it fits."""
        return self.own if self.passed is None else self.passed.signature


def find_callee(func: Callable[..., Any], depth: int = 0) -> Callee:
    """Find what applies to calls of ``func``. The result may refer to ``func``, so no cache by ``func`` may keep it."""
    mark = find_mark(func)
    if mark is not None:
        return Callee(mark.signature, func)
    own = _own_signature(func)
    if _dispatcher(func) is not None:
        return Callee(own, func, dispatches=True)
    inner = wrapped_by(func) if depth < MOST_LAYERS else None
    declared = _declared_signature(func, inner, own)
    if declared is not None and own is not None and _passes_on(own, declared):
        return Callee(own, func, _passed(own, declared), borrowed=inner is not None)
    if inner is None:
        return Callee(own, _annotated(func))
    deeper = find_callee(inner, depth + 1)
    if own is None:  # functools.lru_cache and the like pass every call on unchanged
        return deeper
    shown = deeper.signature
    if shown is not None and _passes_on(own, shown):
        return Callee(own, deeper.target, _passed(own, shown), deeper.borrowed, deeper.dispatches)
    target = _annotated(func)
    return Callee(own, target, borrowed=borrows_annotations(target))


def wrapped_by(func: Any) -> Callable[..., Any] | None:
    """Return the callable that ``func`` wraps, with the same arguments bound to it; None if it wraps none."""
    inner: Any
    if seems(func, functools.partial):
        inner = wrapped_by(func.func)
        return None if inner is None else functools.partial(inner, *func.args, **func.keywords)
    if seems(func, MethodType):
        inner = wrapped_by(func.__func__)
        return None if inner is None else MethodType(inner, func.__self__)
    if seems(func, type):
        return None
    # Not getattr: lazy proxies and mocks have every attribute.
    inner = _attributes(func).get("__wrapped__")
    if inner is None and not seems(func, FunctionType):
        return wrapped_by(call) if (call := _call_method(func)) is not None else None
    return inner if callable(inner) else None


def chosen(func: Any, args: tuple[Any, ...]) -> Callable[..., Any] | None:
    """Return the implementation that ``functools.singledispatch`` picks for a call with these positional arguments.

    None if there is no argument to choose by; such a call fails.
    """
    inner: Callable[..., Any] | None
    if seems(func, functools.partial):
        inner = chosen(func.func, func.args + args)
        return None if inner is None else functools.partial(inner, *func.args, **func.keywords)
    if seems(func, MethodType):
        inner = chosen(func.__func__, (func.__self__, *args))
        return None if inner is None else MethodType(inner, func.__self__)
    return func.dispatch(attribute(args[0], "__class__") or type(args[0])) if args else None


def implementations(func: Any) -> dict[Any, Callable[..., Any]]:
    """Return what ``functools.singledispatch`` chooses from, by the class of the first argument."""
    dispatcher = _dispatcher(func)
    return {} if dispatcher is None else dict(dispatcher.registry)


def dispatches_on_first(func: Any) -> bool:
    """Return whether the argument by which ``functools.singledispatch`` chooses is the first of the call itself."""
    if seems(func, functools.partial):
        return not func.args and dispatches_on_first(func.func)
    return not seems(func, MethodType)


def borrows_annotations(func: Callable[..., Any]) -> bool:
    """Return whether the annotations of ``func`` are those of a function that it wraps, and not its own.

    Those of a dispatcher are its own: it returns what the chosen implementation returns.
    """
    inner: Any = wrapped_by(func)
    if inner is None or _dispatcher(func) is not None:
        return False
    own = own_annotations(func)
    return bool(own) and own == own_annotations(inner)


def _dispatcher(func: Any) -> Any:
    while seems(func, (functools.partial, MethodType)):
        func = func.__func__ if seems(func, MethodType) else func.func
    return func if seems(func, FunctionType) and func.__code__ is _DISPATCHER else None


def _own_signature(func: Any) -> Signature | None:
    try:
        return inspect.signature(_bare(func), follow_wrapped=False)
    except Exception:  # TypeError, ValueError; border: and anything that the callable's own code raises
        return None


def _bare(func: Any) -> Callable[..., Any]:
    """Return ``func`` without a ``__signature__``, which ``functools.wraps`` copies and any decorator may set."""
    if seems(func, functools.partial):
        return functools.partial(_bare(func.func), *func.args, **func.keywords)
    if seems(func, MethodType):
        return MethodType(_bare(func.__func__), func.__self__)
    if seems(func, FunctionType):
        if "__signature__" not in func.__dict__:
            return func
        bare = FunctionType(func.__code__, func.__globals__, func.__name__, func.__defaults__, func.__closure__)
        bare.__kwdefaults__ = func.__kwdefaults__
        return bare
    call = _call_method(func)
    return func if call is None else _bare(call)


def _annotated(func: Any) -> Callable[..., Any]:
    """Return what carries the annotations of ``func`` itself: for a callable object, its ``__call__``."""
    call = _call_method(func)
    return func if call is None else call


def _call_method(func: object) -> Callable[..., Any] | None:
    """Return the bound ``__call__`` of an object whose class is written in Python; None for any other."""
    if seems(func, (type, FunctionType, MethodType, functools.partial)):
        return None
    call: Any = inspect.getattr_static(type(func), "__call__", None)
    return call.__get__(func) if isinstance(call, (FunctionType, staticmethod, classmethod)) else None


def _attributes(func: Any) -> dict[str, Any]:
    try:
        found: Any = object.__getattribute__(func, "__dict__")
    except Exception:  # AttributeError; border: __dict__ may be a property of its class
        return {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _declared_signature(func: Any, inner: Any, own: Signature | None) -> Signature | None:
    """Return a ``__signature__`` that a decorator set on ``func`` and did not copy from ``inner``.

    For a class, return the signature that it shows if that differs from its own (a wrapped constructor).
    """
    if seems(func, type):
        try:
            shown = inspect.signature(func)
        except Exception:  # border: as above
            return None
        return None if shown == own else shown
    declared = _attributes(func).get("__signature__")
    if not isinstance(declared, Signature) or _attributes(inner).get("__signature__") is declared:
        return None
    return declared


def _passes_on(own: Signature, shown: Signature) -> bool:
    """Return whether a wrapper with the signature ``own`` keeps its arguments at their places in ``shown``.

    Its ``*args`` or ``**kwargs`` take what it does not name; what it names has the same name and place there.
    """
    parameters = list(own.parameters.values())
    if not any(parameter.kind in _VARIABLE for parameter in parameters):
        return False
    theirs = list(shown.parameters)
    return all(
        theirs[index : index + 1] == [parameter.name]
        for index, parameter in enumerate(parameters)
        if parameter.kind <= Parameter.POSITIONAL_OR_KEYWORD
    )


def _passed(own: Signature, shown: Signature) -> Passed:
    options = (p.name for p in own.parameters.values() if p.kind is Parameter.KEYWORD_ONLY)
    return Passed(shown, frozenset(options) - shown.parameters.keys())
