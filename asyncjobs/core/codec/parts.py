"""Take annotations apart, including recursive ones.

A TypedDict, a NamedTuple, a record or an alias may contain itself, and a generic one ever larger forms of itself
(``type Nest[T] = T | list[Nest[list[T]]]``). So nothing here recurses: pending annotations are queued, none is visited
twice, and the number and depth of growing forms are limited.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeGuard, cast

from asyncjobs.core.codec.families import record_type
from asyncjobs.core.codec.hints import MOST_LAYERS, class_hints
from asyncjobs.core.codec.records import is_named_tuple
from asyncjobs.core.codec.type_variables import NO_TYPE_VARS, TypeVars, bound_in, filled, of_class
from asyncjobs.core.codec.writer import is_stored_type

_UNIONS = (typing.Union, types.UnionType)
# Forms around an annotation that leave its values as they are.
_WRAPPERS = frozenset({"Annotated", "Required", "NotRequired", "ReadOnly", "Final", "ClassVar"})
_MOST_FORMS = 256
_DEEPEST_FORM = 12
"""The most forms of generic classes and aliases in one annotation, and their deepest nesting of brackets. An annotation
with more is taken to grow without end."""


def bare_annotation(annotation: Any, type_vars: TypeVars = NO_TYPE_VARS) -> Any:
    """Return ``annotation`` without aliases and wrappers; a type variable as what it stands for, or its bound.

    None for an alias that stands only for itself, or cannot be evaluated.
    """
    for _ in range(MOST_LAYERS):
        inner = _unwrapped(annotation, type_vars)
        if inner is annotation:
            return None if is_alias(annotation) else annotation
        annotation = inner
    return None


def _unwrapped(annotation: Any, type_vars: TypeVars) -> Any:
    origin = typing.get_origin(annotation)
    if isinstance(annotation, typing.TypeVar):
        if annotation not in type_vars and annotation.__constraints__:
            return typing.Union[annotation.__constraints__]  # noqa: UP007 - of a tuple
        return type_vars.get(annotation, annotation.__bound__)
    if isinstance(annotation, typing.NewType):
        return annotation.__supertype__
    if isinstance(annotation, dataclasses.InitVar):
        return cast("Any", annotation).type
    if is_alias(annotation):
        return _meaning(annotation, type_vars)
    if origin is not None and getattr(origin, "__name__", getattr(origin, "_name", None)) in _WRAPPERS:
        return typing.get_args(annotation)[0]
    return annotation


def is_alias(annotation: Any) -> bool:
    """Return whether this is a ``type X = …`` (from Python 3.12), or an ``X[int]`` of a generic one."""
    return type(typing.get_origin(annotation) or annotation).__name__ == "TypeAliasType"


def _meaning(alias: Any, type_vars: TypeVars) -> Any:
    origin: Any = typing.get_origin(alias)
    try:
        if origin is None:
            return alias.__value__
        meant = (filled(argument, type_vars) for argument in typing.get_args(alias))
        return filled(origin.__value__, dict(zip(origin.__type_params__, meant, strict=False)))
    except Exception:  # border: an expression that is evaluated now, and may raise anything
        return None


def is_union(annotation: Any) -> bool:
    """Return whether a bare annotation is ``X | Y``."""
    return typing.get_origin(annotation) in _UNIONS


def union_options(union: Any, type_vars: TypeVars = NO_TYPE_VARS) -> list[Any]:
    """Return the (bare) options of a union in their order, also of unions that its aliases stand for."""
    found: list[Any] = []
    seen = _Seen()
    queue = deque(typing.get_args(union))
    while queue:
        annotation = queue.popleft()
        bare = bare_annotation(annotation, type_vars)
        if not seen.adds(annotation, bare, type_vars):
            continue
        if is_union(bare):
            queue.extendleft(reversed(typing.get_args(bare)))
        else:
            found.append(bare)
    return found


def is_free(annotation: Any) -> bool:
    """Return whether an annotation (None for none) leaves the type open, and with it whether there is a record."""
    bare = bare_annotation(annotation)
    options = union_options(bare) if is_union(bare) else [bare]
    return not options or any(map(_is_open, options))


def _is_open(bare: Any) -> bool:
    return bare is None or bare is Any or bare is object or isinstance(bare, (str, typing.TypeVar, typing.ForwardRef))


class _Seen:
    """The annotations that were visited, each with what its type variables stand for."""

    def __init__(self) -> None:
        self._equal: set[Any] = set()
        self._same: dict[int, Any] = {}  # unhashable ones, kept alive so that their ids are not reused
        self._forms = 0

    def adds(self, annotation: Any, bare: Any, type_vars: TypeVars) -> bool:
        """Add a bare annotation; return False if it was visited before, or exceeds the limits of generic forms."""
        bound = bound_in(bare, type_vars)
        try:
            if (bare, bound) in self._equal:
                return False
            self._equal.add((bare, bound))
        except TypeError:
            if id(bare) in self._same:
                return False
            self._same[id(bare)] = bare
        meant = [value for _, value in bound]
        if is_alias(typing.get_origin(annotation)):
            meant += typing.get_args(annotation)
        self._forms += bool(meant)
        return self._forms <= _MOST_FORMS and all(_depth(value) <= _DEEPEST_FORM for value in meant)


def _depth(annotation: Any) -> int:
    return 1 + max(map(_depth, typing.get_args(annotation)), default=0)


def is_shape(cls: Any) -> TypeGuard[type]:
    """Return whether a class is a TypedDict or a NamedTuple, which are rebuilt by name or place."""
    return typing.is_typeddict(cls) or is_named_tuple(cls)


def _parts_of(annotation: Any) -> Iterable[Any]:
    """Return the annotations of the parts of a value of this (bare) annotation, as far as they are rebuilt."""
    origin: Any = typing.get_origin(annotation) or annotation
    if is_union(annotation):
        return typing.get_args(annotation)
    if not isinstance(origin, type):
        return ()
    if is_shape(origin):
        return class_hints(origin).values()
    arguments = typing.get_args(annotation)
    if issubclass(origin, Mapping):
        return arguments[-1:]
    # type[X] and Callable[[X], Y] are not containers of an X.
    return arguments if issubclass(origin, Iterable) and not issubclass(origin, Iterator) else ()


def iter_parts(
    annotation: Any, type_vars: TypeVars = NO_TYPE_VARS, *, into_records: bool = True
) -> Iterator[tuple[Any, TypeVars]]:
    """Yield every (bare) annotation within this one, with its type variables.

    :param into_records: also those of the fields of records, of the classes named and their subclasses.
    """
    seen = _Seen()
    queue = deque([(annotation, type_vars)])
    while queue:
        annotation, variables = queue.popleft()
        bare = bare_annotation(annotation, variables)
        if not seen.adds(annotation, bare, variables):
            continue
        yield bare, variables
        origin: Any = typing.get_origin(bare) or bare
        within = of_class(bare, variables) if is_shape(origin) else variables
        queue.extend((part, within) for part in _parts_of(bare))
        if into_records and is_family(origin):
            within = of_class(bare, variables)
            queue.extend((hint, within) for hint in _hints_of_records(origin))


def _hints_of_records(cls: type) -> Iterator[Any]:
    for member in (cls, *_subclasses(cls)):
        record = record_type(member)
        yield from record.hints.values() if record is not None else ()


def _subclasses(cls: type) -> Iterator[type]:
    seen: set[type] = set()
    level = [cls]
    while level:
        level = [sub for base in level for sub in type.__subclasses__(base) if sub not in seen]
        seen.update(level)
        yield from level


def holds_family(annotation: Any, type_vars: TypeVars = NO_TYPE_VARS) -> bool:
    """Return whether it names a class of records anywhere, other than in a record."""
    return any(
        is_family(typing.get_origin(bare) or bare) for bare, _ in iter_parts(annotation, type_vars, into_records=False)
    )


def has_choice(annotation: Any) -> bool:
    """Return whether it has a union of more than a record and None, so that dicts and records must be distinguished."""
    return any(
        is_union(part)
        and sum(option is not type(None) for option in typing.get_args(part)) > 1
        and holds_family(part, variables)
        for part, variables in iter_parts(annotation)
    )


def is_family(cls: Any) -> bool:
    """Return whether values of a class may be records, of its own or of its subclasses."""
    if not isinstance(cls, type) or typing.is_typeddict(cls):
        return False
    if record_type(cls) is not None:
        return True
    if is_stored_type(cls) or cls.__module__ in _NEVER or getattr(cls, "_is_protocol", False):
        return False
    return not issubclass(cls, (Iterable, types.FunctionType))


# Classes of these are not bases of a program's records.
_NEVER = frozenset({"builtins", "typing", "types", "collections.abc", "contextlib", "enum", "abc", "numbers"})
