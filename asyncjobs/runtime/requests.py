"""Make a request from the keywords of a call: arguments of the callee, and options of the job."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NoReturn

from msgspec import Struct

from asyncjobs.checks import checked_dict, listed
from asyncjobs.exceptions import ConfigurationError
from asyncjobs.requests import JobRequest
from asyncjobs.spellings import nearest

_ONE_ARGUMENT = "args=(value,)"
_FIELDS = frozenset(JobRequest.__struct_fields__) - {"func", "args", "kwargs"}
_new_request: Callable[..., JobRequest] = partial(type(Struct).__call__, JobRequest)
"""``JobRequest`` without the check of field names, which are correct here."""


def build_request(func: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> JobRequest:
    """Return the request of a call, whose keywords are options and arguments of the callee."""
    if not options:
        return _new_request(func=func, args=args)
    fields = {name: value for name, value in options.items() if name in _FIELDS}
    kwargs = {name: value for name, value in options.items() if name not in _FIELDS}
    if "args" in kwargs:
        given = kwargs.pop("args")
        allowed = "a tuple of all positional arguments, given only here"
        if args:
            raise ConfigurationError("args", given, allowed=allowed)
        args = checked_tuple("args", given, allowed, _ONE_ARGUMENT)
    if "kwargs" in kwargs:
        given = kwargs.pop("kwargs")
        allowed = "a dict of all keyword arguments, given only here"
        if kwargs:
            _refuse_beside_kwargs(kwargs)
        kwargs = checked_dict("kwargs", given, allowed)
    return _new_request(func=func, args=args, kwargs=kwargs, **fields)


def checked_arguments(request: JobRequest) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """Return the arguments of a request; refuse anything but a sequence and a dict."""
    args: Any = request.args
    kwargs: Any = request.kwargs
    if (type(args), type(kwargs)) == (tuple, dict):
        return args, kwargs
    args = checked_tuple("args", args, "a tuple of all positional arguments", _ONE_ARGUMENT)
    return args, checked_dict("kwargs", kwargs, "a dict of all keyword arguments")


def checked_tuple(field: str, given: object, allowed: str, hint: str | None = None) -> tuple[Any, ...]:
    """Return a list or tuple as a tuple; refuse anything else."""
    if not issubclass(type(given), (list, tuple)):
        raise ConfigurationError(field, given, allowed=allowed, hint=hint)
    return tuple(listed(field, given, allowed))


def _refuse_beside_kwargs(others: Mapping[str, Any]) -> NoReturn:
    """Refuse an unknown keyword beside ``kwargs=``: that holds all of the callee's, so others must be options."""
    name, value = next(iter(others.items()))
    near = nearest(name, _FIELDS)
    raise ConfigurationError(
        name,
        value,
        problem=f"{name} is not an option, and kwargs= has all keyword arguments of the function",
        hint=f"did you mean {near!r}?" if near else f"put it into kwargs={{{name!r}: …}}",
    )
