"""Bind a job's arguments to the callee's signature at submit, so that a mistake is found there and not in a worker."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from inspect import Parameter, Signature
from typing import Any

import msgspec

from asyncjobs.core.codec.cache import IdentityCache
from asyncjobs.core.codec.layers import Callee, chosen, find_callee
from asyncjobs.core.codec.names import attribute, seems
from asyncjobs.exceptions import SubmissionError
from asyncjobs.plurals import counted
from asyncjobs.requests import JobRequest
from asyncjobs.spellings import nearest

RESERVED: frozenset[str] = frozenset({*JobRequest.__struct_fields__, "key"}) - {"func"}
"""Keyword arguments of ``submit_job`` that are options of the job, not arguments of its function."""


_Args = tuple[Any, ...]
_Kwargs = Mapping[str, Any]
_Types = tuple[type, ...]
_Bound = tuple[_Args, _Kwargs]


class _Binder(msgspec.Struct, frozen=True):
    """The facts known about one callee, without a reference to it.

    ``names`` are its parameters if all are plain (positional or keyword), ``required`` of them without default;
    None if there are others, which ``Signature.bind`` sorts out. ``reserved`` is the first with a reserved name.
    ``known`` is False if Python knows no signature (some builtins). ``alone`` is its signature if that alone decides
    how a call is bound; it lacks annotations and defaults, which may refer to the callee.
    """

    names: tuple[str, ...] | None
    required: int
    reserved: str | None
    known: bool = True
    alone: Signature | None = None


_binders: IdentityCache[_Binder] = IdentityCache()


def bind_arguments(func: Callable[..., Any], args: _Args, kwargs: _Kwargs, unknown: _Types = ()) -> _Bound:
    """Return the arguments as they are stored: by position as far as possible, the rest by name.

    So the same call has one form, however it was written: ``f(1, b=2)`` and ``f(1, 2)`` give ``((1, 2), {})``.
    Defaults are not filled in. A call of a callable without a signature is not checked. What a wrapper takes by
    ``*args`` or ``**kwargs`` is bound by the function that it wraps if it fits there; if not, it stays as written.

    :param unknown: classes of placeholders for later values, whose types cannot choose an implementation yet.
    :raises SubmissionError: the call does not fit; it names the parameter and the callee.
    """
    binder = _binders.get(func) or _binder(func)
    names = binder.names
    if names is not None:
        given = len(args)
        if not kwargs:
            if binder.required <= given <= len(names):
                return args, kwargs
        elif given + len(kwargs) == len(names):
            try:
                return args + tuple([kwargs[name] for name in names[given:]]), {}
            except KeyError:
                pass  # a wrong name, or one given twice: found below
    if not binder.known:
        if seems(func, functools.partial):  # a partial that does not fit has no signature: check its own arguments
            bind_arguments(func.func, func.args + args, {**func.keywords, **kwargs}, unknown)
        return args, kwargs
    bound = None if binder.alone is None else _bound_alone(binder.alone, args, kwargs)
    return bound or _bound(func, find_callee(func), args, kwargs, unknown)


def _bound_alone(signature: Signature, args: _Args, kwargs: _Kwargs) -> _Bound | None:
    """Bind a call by a signature that nothing else decides; None if it does not fit, which ``_bound`` explains."""
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError:
        return None
    return bound.args, bound.kwargs


def _bound(func: Callable[..., Any], callee: Callee, args: _Args, kwargs: _Kwargs, unknown: _Types) -> _Bound:
    if callee.own is None:
        return args, kwargs
    try:
        own = callee.own.bind(*args, **kwargs)
    except TypeError as error:
        raise _mistake(func, callee.own, args, kwargs, error) from None
    if callee.dispatches:
        return _bound_by_choice(func, callee, args, kwargs, unknown)
    if callee.passed is not None:
        there = callee.passed.bind(args, kwargs)
        if there is not None:
            kept = {name: kwargs[name] for name in callee.passed.own_options if name in kwargs}
            form = there.args, {**there.kwargs, **kept}
            if _takes(callee, *form):
                return form
    return own.args, own.kwargs


def _bound_by_choice(func: Callable[..., Any], callee: Callee, args: _Args, kwargs: _Kwargs, unknown: _Types) -> _Bound:
    """Bind a call by the implementation that ``functools.singledispatch`` picks for it."""
    if args and isinstance(args[0], unknown):
        return args, kwargs
    implementation = chosen(callee.target, args)
    exact = callee.passed is None
    if implementation is None:
        if not exact:
            return args, kwargs
        raise SubmissionError(
            f"{_label(func)} needs its first argument by position: its class decides which implementation runs",
            hint="functools.singledispatch takes it in no other way",
        )
    try:
        form = _bound(func, find_callee(implementation), args, kwargs, unknown)
    except SubmissionError:
        if exact:
            raise
        return args, kwargs
    return form if exact or _takes(callee, *form) else (args, kwargs)


def _takes(callee: Callee, args: _Args, kwargs: _Kwargs) -> bool:
    """Return whether the callee itself accepts this form: a wrapper may lack ``*args`` or ``**kwargs``."""
    assert callee.own is not None
    try:
        callee.own.bind(*args, **kwargs)
    except TypeError:
        return False
    return True


def refuse_reserved_parameters(func: Callable[..., Any]) -> None:
    """Raise SubmissionError if ``func`` has a parameter with the name of an option of ``submit_job``.

    A caller must skip it if the arguments came through ``args=`` and ``kwargs=``, which is the way around it.
    """
    binder = _binders.get(func) or _binder(func)
    if binder.reserved is not None:
        name = binder.reserved
        raise SubmissionError(
            f"{_label(func)} has a parameter {name!r}, which is also an option of submit_job",
            hint=f"pass its arguments as such: args=(…), kwargs={{{name!r}: …}}; or rename the parameter",
        )


def _binder(func: Callable[..., Any]) -> _Binder:
    callee = find_callee(func)
    if callee.own is None:
        binder = _Binder(None, 0, None, known=False)
    else:
        shown = callee.signature or callee.own
        parameters = shown.parameters.values()
        plain = all(parameter.kind is Parameter.POSITIONAL_OR_KEYWORD for parameter in parameters)
        binder = _Binder(
            # A wrapper that takes anything takes the plain form of what it wraps.
            tuple(shown.parameters) if plain and (callee.passed is None or _takes_anything(callee.own)) else None,
            sum(parameter.default is Parameter.empty for parameter in parameters),
            # *args and **kwargs, and a parameter that is positional only, are never given by their name.
            next(
                (p.name for p in (*callee.own.parameters.values(), *parameters) if p.name in RESERVED and _by_name(p)),
                None,
            ),
            alone=None if callee.dispatches or callee.passed is not None else _bare(callee.own),
        )
    _binders.put(func, binder)
    return binder


def _bare(signature: Signature) -> Signature:
    """Return a signature that binds as this one does, and refers to nothing of the program's."""
    empty = Parameter.empty
    return Signature(
        [
            p.replace(annotation=empty, default=empty if p.default is empty else None)
            for p in signature.parameters.values()
        ]
    )


def _takes_anything(own: Signature) -> bool:
    kinds = [parameter.kind for parameter in own.parameters.values()]
    return kinds == [Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD]


def _by_name(parameter: Parameter) -> bool:
    return parameter.kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)


def _mistake(
    func: Callable[..., Any], signature: Signature, args: _Args, kwargs: _Kwargs, error: TypeError
) -> SubmissionError:
    """Return the error for a call that ``Signature.bind`` refused, naming the callee and the parameter."""
    label = _label(func)
    parameters = signature.parameters
    kinds = {parameter.kind for parameter in parameters.values()}
    positional = [p.name for p in parameters.values() if p.kind <= Parameter.POSITIONAL_OR_KEYWORD]
    named = [p.name for p in parameters.values() if _by_name(p)]
    hint = f"its signature is {attribute(func, '__name__') or ''}{_shortened(str(signature))}"

    unknown = next((name for name in kwargs if name not in named), None)
    if unknown is not None and Parameter.VAR_KEYWORD not in kinds:
        if unknown in positional:
            return SubmissionError(f"{label} takes {unknown!r} by position only", hint=hint)
        near = nearest(str(unknown), [*named, *sorted(RESERVED)])
        if near is not None:
            hint = f"did you mean {'the option ' if near not in named else ''}{near!r}?"
        return SubmissionError(f"{label} has no parameter {unknown!r}", hint=hint)
    if len(args) > len(positional) and Parameter.VAR_POSITIONAL not in kinds:
        most = f"at most {counted(len(positional), 'argument')} by position"
        given = counted(len(args), "was", "were")
        return SubmissionError(f"{label} takes {most}, and {given} given", hint=hint)
    twice = next((name for name in positional[: len(args)] if name in kwargs and name in named), None)
    if twice is not None:
        return SubmissionError(f"{label} got {twice!r} twice, by position and by name", hint=hint)
    missing = [
        p.name
        for p in parameters.values()
        if p.default is Parameter.empty
        and p.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
        and p.name not in positional[: len(args)]
        and not (p.name in kwargs and _by_name(p))
    ]
    if missing:
        names = ", ".join(map(repr, missing))
        return SubmissionError(f"{label} is missing the argument{'' if len(missing) == 1 else 's'} {names}", hint=hint)
    return SubmissionError(f"{label} cannot be called with these arguments: {error}", hint=hint)


def _label(func: Callable[..., Any]) -> str:
    return f"{attribute(func, '__qualname__') or type(func).__qualname__}()"


def _shortened(text: str, limit: int = 200) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
