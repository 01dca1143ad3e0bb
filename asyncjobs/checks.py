"""Check what callers pass: refuse unknown names with the nearest known one, and read collections safely."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Collection, Generator, Iterable, Mapping
from contextlib import contextmanager
from functools import wraps
from inspect import Parameter
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeGuard, TypeVar, cast

from msgspec import Struct

from asyncjobs.error_texts import shown
from asyncjobs.exceptions import ConfigurationError, JobProcessorError
from asyncjobs.spellings import FormerAttributes, nearest

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


def is_a(value: object, kind: type[T]) -> TypeGuard[T]:
    """Return whether a value is of a class, by its real type: the ``__class__`` of a lazy proxy runs code."""
    return issubclass(type(value), kind)


def encodable(text: str) -> bool:
    """Return whether a text can be stored at all: one with lone surrogates cannot."""
    try:
        str.encode(text)
    except UnicodeEncodeError:
        return False
    return True


def is_awaitable(value: object) -> bool:
    """Return whether a function's return value must be awaited; a handle, which is a string, is a plain value.

    The type decides, not ``__class__``: reading that of a lazy proxy raises.
    """
    try:
        return issubclass(type(value), Awaitable) and not issubclass(type(value), str)
    except Exception:  # border: a metaclass may raise, too
        return False


def refuse_unknown(owner: str, given: Mapping[str, Any], known: Collection[str], *, what: str = "setting") -> None:
    """Refuse unknown names.

    :raises ConfigurationError: a name is unknown; the hint suggests the nearest known one.
    """
    for name, value in given.items():
        if name not in known:
            near = nearest(name, known)
            article = "an" if what[0] in "aeiou" else "a"
            raise ConfigurationError(
                f"{owner}.{name}",
                value,
                problem=f"{owner}.{name} is not {article} {what}",
                hint=f"did you mean {near!r}?" if near else f"known {what}s: {', '.join(known) or 'none'}",
            )


class CheckedArguments(FormerAttributes):
    """The base of classes whose constructors refuse unknown keywords and suggest the nearest known one."""

    _settings: ClassVar[tuple[tuple[str, type], ...]] = ()
    """Parameters that take a settings object, with its class."""

    def __new__(cls, *args: Any, **arguments: Any) -> Self:
        """Check the names of the arguments."""
        if arguments:
            refuse_unknown_arguments(cls, arguments, inside=dict(cls._settings))
        return super().__new__(cls)


def refuse_unknown_arguments(cls: type, given: Mapping[str, Any], *, inside: Mapping[str, type] | None = None) -> None:
    """Refuse keywords that the constructor of a class does not take.

    :param inside: parameters that take a settings object, with its class: the hint points there for its fields.
    :raises ConfigurationError: a keyword is unknown; the hint suggests the nearest known one.
    """
    constructor: Callable[..., Any] = cls.__init__
    parameters = list(inspect.signature(constructor).parameters.values())[1:]
    if any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters):
        return
    # Name the class that users know if this is a private subclass of it.
    name = getattr(cls, "_known_as", None) or next(base.__name__ for base in cls.__mro__ if base.__name__[0] != "_")
    known = [parameter.name for parameter in parameters]
    for argument, value in given.items():
        if argument in known:
            continue
        for parameter, settings in (inside or {}).items():
            fields = list(inspect.signature(settings).parameters)
            near = argument if argument in fields else None if nearest(argument, known) else nearest(argument, fields)
            if near is not None:
                problem, hint = f"{name}.{argument} is not a parameter", f"{parameter}={settings.__name__}({near}=…)"
                raise ConfigurationError(f"{name}.{argument}", value, problem=problem, hint=hint)
    refuse_unknown(name, given, known, what="parameter")


def checked_keywords(func: F) -> F:
    """Make a function refuse unknown keywords and suggest the nearest known one, instead of a bare TypeError."""
    by_name = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    known = [name for name, one in inspect.signature(func).parameters.items() if one.kind in by_name]

    @wraps(func)
    def call(*args: Any, **arguments: Any) -> Any:
        for name in arguments:
            if name not in known:
                refuse_unknown(func.__name__, arguments, known, what="parameter")
        return func(*args, **arguments)

    return cast("F", call)


def listed(field: str, given: object, allowed: str, *, hint: str | None = None) -> list[Any]:
    """Return the items of a collection as a new list. A single string is refused, although it is iterable.

    :raises ConfigurationError: ``given`` is not a collection, or iterating over it raises.
    """
    if is_a(given, str) or not issubclass(type(given), Iterable):
        hint = hint or f"give a list, even for one item: {field}=[…]"
        raise ConfigurationError(field, given, allowed=allowed, hint=hint)
    with reading(field, given):
        return list(iter(cast("Iterable[Any]", given)))  # iter: list() alone would call __len__


def name_text(value: object) -> str:
    """Return a name or an id as a plain string: the id of a handle, the value of a ``(str, Enum)`` member."""
    return str.__str__(value) if isinstance(value, str) else str(value)


def checked_texts(field: str, given: object, allowed: str) -> list[str] | None:
    """Return one string or several as a list of plain strings, or None for None.

    :raises ConfigurationError: one of them is not a string.
    """
    if given is None:
        return None
    # A single string is one item, not a sequence of characters.
    several = [given] if is_a(given, str) else listed(field, given, allowed)
    if not all(is_a(one, str) for one in several):
        raise ConfigurationError(field, given, allowed=allowed)
    return [name_text(one) for one in several]


def checked_dict(field: str, given: object, allowed: str) -> dict[Any, Any]:
    """Return a mapping as a new dict.

    :raises ConfigurationError: as ``listed``.
    """
    if not issubclass(type(given), Mapping):
        raise ConfigurationError(field, given, allowed=allowed)
    with reading(field, given):
        return dict(cast("Mapping[Any, Any]", given).items())


@contextmanager
def reading(field: str, given: object) -> Generator[None, None, None]:
    """Guard code that reads a caller's object, whose methods may raise anything.

    :raises ConfigurationError: the object raised an error.
    """
    try:
        yield
    except JobProcessorError:
        raise
    except Exception as error:  # border: the object's own code may raise anything
        problem = f"{field} cannot be read: {shown(given)} raised {shown(error)}"
        hint = "pass a plain list, dict or number of what is in it"
        raise ConfigurationError(field, given, problem=problem, hint=hint) from error


_make = type(Struct).__call__


class _Checked(type(Struct)):
    if not TYPE_CHECKING:  # type checkers know the fields

        def __call__(cls, *args: Any, **fields: Any) -> Any:
            try:
                return _make(cls, *args, **fields)  # not super(): it costs as much as making the object
            except TypeError:
                _refuse_fields(cls, args, fields)
                raise


def _refuse_fields(cls: Any, args: tuple[Any, ...], fields: Mapping[str, Any]) -> None:
    names: tuple[str, ...] = cls.__struct_fields__
    refuse_unknown(cls.__name__, fields, names, what="field")
    most = len(cls.__match_args__)
    if len(args) > most:
        problem = f"{cls.__name__} takes its fields by name" + (f" after the first {most}" if most else "")
        raise ConfigurationError(cls.__name__, args[most], problem=problem, hint=f"{cls.__name__}({names[0]}=…)")
    required = names[: len(names) - len(cls.__struct_defaults__)]
    for name in required[len(args) :]:
        if name not in fields:
            raise ConfigurationError(f"{cls.__name__}.{name}", problem=f"{cls.__name__} needs {name}=")


class CheckedStruct(Struct, frozen=True, metaclass=_Checked):
    """A Struct that users construct, with checked field names. Decoding and ``replace`` cost nothing more."""


def refuse_other_fields(value: Struct, cls: type[Struct], hint: str) -> None:
    """Refuse the fields that a subclass of ``cls`` adds, where only those of ``cls`` are read.

    :raises ConfigurationError: ``value`` has such a field.
    """
    if type(value) is cls:
        return
    for name in value.__struct_fields__:
        if name not in cls.__struct_fields__:
            field = f"{type(value).__name__}.{name}"
            problem = f"{field} is not a field of {cls.__name__} and would be ignored"
            raise ConfigurationError(field, getattr(value, name), problem=problem, hint=hint)
