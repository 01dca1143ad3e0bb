"""From an annotation to a function that puts records in place of dicts, or to None where there is nothing to do."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

from asyncjobs.core.codec.hints import class_hints
from asyncjobs.core.codec.names import kind_of, type_name, with_article
from asyncjobs.core.codec.records import RecordField, is_named_tuple, record_fields

Rebuild = Callable[[Any], Any]
"""Gives the value with records in place of dicts; raises Mismatch. None stays None, an instance stays itself."""

_TypeVars = Mapping[Any, Any]
_NO_TYPE_VARS: _TypeVars = {}
_UNIONS = (typing.Union, types.UnionType)
# What wraps an annotation without changing what values it has.
_WRAPPERS = frozenset({"Annotated", "Required", "NotRequired", "ReadOnly", "Final", "ClassVar"})


class Mismatch(Exception):  # noqa: N818 - a signal inside this package, never an error that leaves it
    """A value does not fit its annotation. Every container on the way out adds its step to ``steps``."""

    def __init__(self, problem: str, expected: str) -> None:
        super().__init__(problem, expected)
        self.problem = problem
        self.expected = expected
        self.steps: list[str] = []


def rebuild_of(annotation: Any, type_vars: _TypeVars = _NO_TYPE_VARS) -> Rebuild | None:
    """How values of ``annotation`` are rebuilt; None if it names no record class anywhere."""
    if not _holds_record(annotation, type_vars, set()):
        return None
    annotation = _bare(annotation, type_vars)
    origin: Any = typing.get_origin(annotation) or annotation
    arguments = typing.get_args(annotation)
    if origin in _UNIONS:
        return _Union(arguments, type_vars)
    if record_fields(origin) is not None:
        if not arguments:
            return _plain_record(origin)
        return _Record(origin, dict(zip(getattr(origin, "__parameters__", ()), arguments, strict=False)))
    if typing.is_typeddict(origin):
        return _Shape(origin, {name: rebuild_of(hint, type_vars) for name, hint in class_hints(origin).items()})
    if is_named_tuple(origin):
        hints = class_hints(origin)
        return _NamedTuple(origin, [rebuild_of(hints.get(name), type_vars) for name in origin._fields])
    if issubclass(origin, Mapping):
        return _Values(rebuild_of(arguments[-1], type_vars))
    if origin is tuple and arguments[-1] is not Ellipsis:
        return _Fixed([rebuild_of(argument, type_vars) for argument in arguments])
    return _Items(rebuild_of(arguments[0], type_vars), with_article(origin.__name__.lower()))


def _bare(annotation: Any, type_vars: _TypeVars) -> Any:
    """``annotation`` without aliases and wrappers; a type variable as what it stands for, or its bound."""
    while True:
        origin = typing.get_origin(annotation)
        if isinstance(annotation, typing.TypeVar):
            annotation = type_vars.get(annotation, annotation.__bound__)
        elif isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        elif isinstance(annotation, dataclasses.InitVar):
            annotation = cast("Any", annotation).type
        elif type(annotation).__name__ == "TypeAliasType":  # `type X = …`, from Python 3.12
            annotation = annotation.__value__
        elif origin is not None and getattr(origin, "__name__", getattr(origin, "_name", None)) in _WRAPPERS:
            annotation = typing.get_args(annotation)[0]
        else:
            return annotation


def _parts(annotation: Any) -> Iterable[Any]:
    """The annotations of what a value of this (bare) annotation holds, as far as we look into it."""
    origin: Any = typing.get_origin(annotation) or annotation
    if origin in _UNIONS:
        return typing.get_args(annotation)
    if not isinstance(origin, type):
        return ()
    if typing.is_typeddict(origin) or is_named_tuple(origin):
        return class_hints(origin).values()
    arguments = typing.get_args(annotation)
    if issubclass(origin, Mapping):
        return arguments[-1:]
    # type[X] and Callable[[X], Y] are not containers of an X.
    return arguments if issubclass(origin, Iterable) and not issubclass(origin, Iterator) else ()


def _holds_record(annotation: Any, type_vars: _TypeVars, seen: set[int]) -> bool:
    bare = _bare(annotation, type_vars)
    if id(bare) in seen:  # a TypedDict that holds itself
        return False
    seen.add(id(bare))
    origin: Any = typing.get_origin(bare) or bare
    if isinstance(origin, type) and record_fields(origin) is not None:
        return True
    return any(_holds_record(part, type_vars, seen) for part in _parts(bare))


def _is(value: object, expected: str) -> Mismatch:
    return Mismatch(f"is {kind_of(value)}", expected)


def _at(step: str, rebuild: Rebuild | None, value: Any) -> Any:
    if rebuild is None:
        return value
    try:
        return rebuild(value)
    except Mismatch as mismatch:
        mismatch.steps.append(step)
        raise


class _Record:
    """A record class. Its fields are looked at on first use: it may hold itself."""

    def __init__(self, cls: type, type_vars: _TypeVars = _NO_TYPE_VARS) -> None:
        self.cls = cls
        self.type_vars = type_vars

    @functools.cached_property
    def fields(self) -> dict[str, tuple[RecordField, Rebuild | None]]:
        hints = class_hints(self.cls)
        fields = cast("tuple[RecordField, ...]", record_fields(self.cls))
        return {field.name: (field, rebuild_of(hints.get(field.name), self.type_vars)) for field in fields}

    @property
    def expected(self) -> str:
        return f"{type_name(self.cls)}({', '.join(self.fields)})"

    def fits(self, keys: Iterable[Any]) -> bool:
        """Whether a dict with these keys can be one of this class."""
        given = set(keys)
        return given <= self.fields.keys() and all(
            name in given for name, (field, _) in self.fields.items() if field.required
        )

    def __call__(self, value: Any) -> Any:
        if value is None or isinstance(value, self.cls):
            return value
        if type(value) is not dict:
            raise _is(value, self.expected)
        given = cast("dict[Any, Any]", value)
        if not self.fits(given):
            raise Mismatch(f"has the fields ({', '.join(map(str, given))})", self.expected)
        values: dict[str, Any] = {}
        for name, item in given.items():
            field, rebuild = self.fields[name]
            values[field.parameter] = _at(f".{name}", rebuild, item)
        try:
            return self.cls(**values)
        except Exception as error:  # border: the constructor is the user's code
            problem = f"was refused by its class ({type(error).__name__}: {error})"
            raise Mismatch(problem, self.expected) from error


@functools.lru_cache(maxsize=1024)
def _plain_record(cls: type) -> _Record:
    # Kept, so that a class that holds itself is looked at once and not once for each level of a value.
    return _Record(cls)


class _Items(NamedTuple):
    """list[X], Sequence[X], tuple[X, …] and so on. What the value is, it stays."""

    item: Rebuild | None
    expected: str

    def __call__(self, value: Any) -> Any:
        if value is None:
            return None
        if type(value) not in (list, tuple, set, frozenset):
            raise _is(value, self.expected)
        return type(value)([_at(f"[{index}]", self.item, item) for index, item in enumerate(value)])


class _Fixed(NamedTuple):
    """tuple[X, Y]."""

    items: Sequence[Rebuild | None]

    def __call__(self, value: Any) -> Any:
        if value is None:
            return None
        if type(value) not in (list, tuple):
            raise _is(value, f"a tuple of {len(self.items)}")
        if len(value) != len(self.items):
            raise Mismatch(f"has {len(value)} items", f"a tuple of {len(self.items)}")
        return type(value)(_rebuilt_items(self.items, value))


class _NamedTuple(NamedTuple):
    """A NamedTuple class; from the plain tuple too that it is where the class was not loaded."""

    cls: Any
    items: Sequence[Rebuild | None]

    def __call__(self, value: Any) -> Any:
        if value is None:
            return None
        if type(value) not in (tuple, self.cls) or len(value) != len(self.items):
            raise _is(value, f"{type_name(self.cls)}({', '.join(self.cls._fields)})")
        return self.cls._make(_rebuilt_items(self.items, value))


def _rebuilt_items(items: Sequence[Rebuild | None], values: Iterable[Any]) -> Iterator[Any]:
    return (_at(f"[{i}]", rebuild, value) for i, (rebuild, value) in enumerate(zip(items, values, strict=True)))


class _Values(NamedTuple):
    """dict[K, X], Mapping[K, X]."""

    item: Rebuild | None

    def __call__(self, value: Any) -> Any:
        if value is None:
            return None
        if type(value) is not dict:
            raise _is(value, "a dict")
        return {key: _at(f"[{key!r}]", self.item, item) for key, item in cast("dict[Any, Any]", value).items()}


class _Shape(NamedTuple):
    """A TypedDict. Keys that it does not name are left as they are."""

    cls: type
    items: Mapping[str, Rebuild | None]

    def __call__(self, value: Any) -> Any:
        if value is None:
            return None
        if type(value) is not dict:
            raise _is(value, f"a dict like {type_name(self.cls)}")
        given = cast("dict[Any, Any]", value)
        return {key: _at(f"[{key!r}]", self.items.get(key), item) for key, item in given.items()}


class _Union:
    """X | Y. A dict becomes the first record that has its fields; what no record takes goes to the other types."""

    def __init__(self, options: Iterable[Any], type_vars: _TypeVars) -> None:
        self.options = [_bare(option, type_vars) for option in options]
        rebuilds = [(option, rebuild_of(option, type_vars)) for option in self.options]
        records = [rebuild for _, rebuild in rebuilds if isinstance(rebuild, _Record)]
        others = [rebuild for _, rebuild in rebuilds if rebuild is not None and not isinstance(rebuild, _Record)]
        self.rebuilds: list[Rebuild] = [*records, *others]
        self.plain = [option for option, rebuild in rebuilds if rebuild is None]

    def __call__(self, value: Any) -> Any:
        if value is None:
            return None
        deepest: Mismatch | None = None
        for rebuild in self.rebuilds:
            try:
                return rebuild(value)
            except Mismatch as mismatch:  # the next may fit
                if deepest is None or len(mismatch.steps) > len(deepest.steps):
                    deepest = mismatch
        if any(_accepts(option, value) for option in self.plain):
            return value
        # The one that came furthest is what was meant; when none came anywhere, all are named.
        if deepest is not None and (deepest.steps or len(self.rebuilds) == 1):
            raise deepest
        raise _is(value, " | ".join(_spelled(option) for option in self.options))


def _accepts(option: Any, value: object) -> bool:
    """Whether a type of a union that holds no record may be what ``value`` is. In doubt it may."""
    origin: Any = typing.get_origin(option) or option
    if not isinstance(origin, type):
        return True
    try:
        return isinstance(value, (origin, int) if origin is float else origin)
    except TypeError:  # a Protocol that is not runtime_checkable
        return True


def _spelled(option: Any) -> str:
    return type_name(option) if isinstance(option, type) else str(option)
