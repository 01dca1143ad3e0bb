"""Compile annotations into callables that rebuild their values."""

from __future__ import annotations

import functools
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from asyncjobs.core.codec.containers import Fixed, Items, Later, NamedTuples, Shape, Union, Values
from asyncjobs.core.codec.families import record_type
from asyncjobs.core.codec.hints import class_hints
from asyncjobs.core.codec.mismatches import Rebuild
from asyncjobs.core.codec.names import type_name, with_article
from asyncjobs.core.codec.nodes import Family
from asyncjobs.core.codec.parts import (
    bare_annotation,
    holds_family,
    is_alias,
    is_family,
    is_shape,
    is_union,
    union_options,
)
from asyncjobs.core.codec.type_variables import NO_TYPE_VARS, TypeVars, inherited, of_class


def compile_rebuild(annotation: Any, type_vars: TypeVars = NO_TYPE_VARS, *, exact: bool = False) -> Rebuild | None:
    """Compile an annotation; None if it names no class of records anywhere.

    With ``exact``, a dict that was sent as a dict never becomes a record.
    """
    if not holds_family(annotation, type_vars):
        return None
    return _compile(bare_annotation(annotation, type_vars), type_vars, exact)


def _compile(annotation: Any, type_vars: TypeVars, exact: bool) -> Rebuild:
    """Compile a bare annotation that names a record; its parts when they are first used."""
    origin: Any = typing.get_origin(annotation) or annotation
    arguments = typing.get_args(annotation)
    inner = functools.partial(_part, type_vars=type_vars, exact=exact)
    if is_union(annotation):
        return _union(annotation, type_vars, exact=exact)
    if is_family(origin):
        return _get_family(origin, exact, of_class(annotation, type_vars)) if arguments else _family(origin, exact)
    if is_shape(origin):
        return _shape(annotation, of_class(annotation, type_vars), exact)
    if issubclass(origin, Mapping):
        return Values(inner(arguments[-1]))
    if origin is tuple and arguments[-1] is not Ellipsis:
        return Fixed([inner(argument) for argument in arguments])
    return Items(inner(arguments[0]), with_article(origin.__name__.lower()))


def _part(annotation: Any, type_vars: TypeVars, exact: bool) -> Rebuild | None:
    """Return the rebuild of a part, which may be recursive; None if it names no record."""
    if not holds_family(annotation, type_vars):
        return None
    if is_alias(annotation) and typing.get_origin(annotation) is None:
        return _named(annotation, exact)
    bare = bare_annotation(annotation, type_vars)
    if is_shape(bare):
        return _named(bare, exact)
    if is_family(typing.get_origin(bare) or bare):
        return _compile(bare, type_vars, exact)  # compiles its fields when they are first used
    return Later(functools.partial(_compile, bare, type_vars, exact))


@functools.lru_cache(maxsize=1024)
def _named(annotation: Any, exact: bool) -> Rebuild:
    # Cached, so that a recursive annotation is compiled once and not once for each level of a value.
    return Later(functools.partial(_compile, bare_annotation(annotation), NO_TYPE_VARS, exact))


def _shape(annotation: Any, type_vars: TypeVars, exact: bool) -> Rebuild:
    cls: Any = typing.get_origin(annotation) or annotation
    hints = class_hints(cls)
    if typing.is_typeddict(cls):
        return Shape(cls, {name: _part(hint, type_vars, exact) for name, hint in hints.items()})
    return NamedTuples(cls, [_part(hints.get(name), type_vars, exact) for name in cls._fields])


def _union(union: Any, type_vars: TypeVars, *, exact: bool) -> Union:
    options = union_options(union, type_vars)
    closely = [_option(option, type_vars, exact=True) for option in options]
    loosely = [] if exact else [_option(option, type_vars, exact=False) for option in options]
    return Union(
        _records_first(closely),
        _records_first(loosely),
        [option for option, rebuild in zip(options, closely, strict=True) if rebuild is None],
        " | ".join(map(_spelled, options)),
    )


def _option(bare: Any, type_vars: TypeVars, *, exact: bool) -> Rebuild | None:
    return _part(bare, type_vars, exact) if is_shape(bare) else compile_rebuild(bare, type_vars, exact=exact)


def _records_first(rebuilds: Iterable[Rebuild | None]) -> list[Rebuild]:
    found = [rebuild for rebuild in rebuilds if rebuild is not None]
    return sorted(found, key=lambda rebuild: not isinstance(rebuild, Family))


@functools.lru_cache(maxsize=1024)
def _family(cls: type, exact: bool) -> Family:
    # Cached, as above.
    return _get_family(cls, exact, NO_TYPE_VARS)


def _get_family(cls: type, exact: bool, type_vars: TypeVars) -> Family:
    def fields_of(member: type) -> Mapping[str, Rebuild | None]:
        record = record_type(member)
        assert record is not None
        variables = inherited(member, cls, type_vars)
        hints = record.hints
        names = (*record.parameters, *record.others)
        return {name: compile_rebuild(hints.get(name), variables, exact=exact) for name in names}

    return Family(cls, fields_of, exact=exact)


def _spelled(option: Any) -> str:
    return type_name(option) if isinstance(option, type) else str(option)
