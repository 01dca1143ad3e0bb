"""Rebuild the containers of records: sequences, tuples, dicts, TypedDicts and unions."""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

from asyncjobs.core.codec.families import record_type
from asyncjobs.core.codec.mismatches import Look, Mismatch, Rebuild, check_at, find_stray, rebuild_at, unlike
from asyncjobs.core.codec.names import class_of, type_name
from asyncjobs.core.codec.stored import SentDict, StoredRecord, count_stored, plain
from asyncjobs.plurals import counted

_DICTS: frozenset[type] = frozenset({dict, SentDict})
_SERIES: frozenset[type] = frozenset({list, tuple, set, frozenset})


class Later:
    """A rebuild that is compiled on first use, because its annotation may be recursive."""

    def __init__(self, compiled: Callable[[], Rebuild]) -> None:
        self._compiled = compiled

    @functools.cached_property
    def _rebuild(self) -> Rebuild:
        return self._compiled()

    def __call__(self, value: Any) -> Any:
        """Rebuild the value."""
        return self._rebuild(value)

    def check(self, value: Any, look: Look) -> int:
        """Check the value."""
        return self._rebuild.check(value, look)


class Items(NamedTuple):
    """The rebuild of list[X], Sequence[X], tuple[X, …] and so on. A value keeps its own type."""

    item: Rebuild | None
    expected: str

    def __call__(self, value: Any) -> Any:
        """Rebuild every item."""
        if value is None:
            return None
        cls = class_of(value)
        if cls not in _SERIES and not issubclass(cls, tuple):
            raise unlike(value, self.expected)
        items = [rebuild_at(f"[{index}]", self.item, item) for index, item in enumerate(value)]
        if cls is list:
            return items
        return _tuple(cls, items) if issubclass(cls, tuple) else cls(items)

    def check(self, value: Any, look: Look) -> int:
        """Check every item, and that the value is a sequence or a set at all."""
        if value is None or isinstance(value, look.handles):
            return 0
        if not issubclass(class_of(value), (list, tuple, set, frozenset)):
            raise unlike(value, self.expected)
        items = cast("Iterable[Any]", value)
        return sum(check_at(f"[{index}]", self.item, item, look) for index, item in enumerate(items))


class Fixed(NamedTuple):
    """The rebuild of tuple[X, Y]."""

    items: Sequence[Rebuild | None]

    def __call__(self, value: Any) -> Any:
        """Rebuild each item by its place."""
        if value is None:
            return None
        cls = class_of(value)
        self._fit(value)
        items = list(_rebuilt_items(self.items, value))
        return items if cls is list else _tuple(cls, items)

    def check(self, value: Any, look: Look) -> int:
        """Check every item, and their number."""
        if value is None or isinstance(value, look.handles):
            return 0
        self._fit(value)
        return _checked_items(self.items, value, look)

    def _fit(self, value: Any) -> None:
        if not issubclass(class_of(value), (list, tuple)):
            raise unlike(value, f"a tuple of {len(self.items)}")
        length = len(value)
        if length != len(self.items):
            raise Mismatch(f"has {counted(length, 'item')}", f"a tuple of {len(self.items)}")


class NamedTuples(NamedTuple):
    """The rebuild of a NamedTuple class, also from the plain tuple that is read if the class is not loaded."""

    cls: Any
    items: Sequence[Rebuild | None]

    def __call__(self, value: Any) -> Any:
        """Rebuild each item by its place, and make a plain tuple one of this class."""
        if value is None:
            return None
        self._fit(value)
        # Not cls(…) or cls._make(…), which may be the class's own code.
        cls = class_of(value)
        return _tuple(self.cls if cls is tuple else cls, _rebuilt_items(self.items, value))

    def check(self, value: Any, look: Look) -> int:
        """Check every item, and that the value is of this class."""
        if value is None or isinstance(value, look.handles):
            return 0
        self._fit(value)
        return _checked_items(self.items, value, look)

    def _fit(self, value: Any) -> None:
        cls = class_of(value)
        fits = cls is tuple or issubclass(cls, self.cls)
        if not fits or len(value) != len(self.items):
            raise unlike(value, f"{type_name(self.cls)}({', '.join(self.cls._fields)})")


def _tuple(cls: Any, items: Iterable[Any]) -> Any:
    made: Any = tuple.__new__(cls, items)
    return made


def _is_dict(value: Any) -> bool:
    return issubclass(class_of(value), dict) and record_type(class_of(value)) is None


def _rebuilt_items(items: Sequence[Rebuild | None], values: Iterable[Any]) -> Iterator[Any]:
    return (rebuild_at(f"[{i}]", rebuild, value) for i, (rebuild, value) in enumerate(zip(items, values, strict=True)))


def _checked_items(items: Sequence[Rebuild | None], values: Iterable[Any], look: Look) -> int:
    pairs = enumerate(zip(items, values, strict=True))
    return sum(check_at(f"[{i}]", rebuild, value, look) for i, (rebuild, value) in pairs)


class Values(NamedTuple):
    """The rebuild of dict[K, X] and Mapping[K, X]."""

    item: Rebuild | None

    def __call__(self, value: Any) -> Any:
        """Rebuild every value of the dict."""
        if value is None:
            return None
        if type(value) not in _DICTS:
            raise unlike(value, "a dict")
        return {key: rebuild_at(f"[{key!r}]", self.item, item) for key, item in cast("dict[Any, Any]", value).items()}

    def check(self, value: Any, look: Look) -> int:
        """Check every value of the dict."""
        if value is None or isinstance(value, look.handles):
            return 0
        if not _is_dict(value):
            raise unlike(value, "a dict")
        items = cast("dict[Any, Any]", value).items()
        return sum(check_at(f"[{key!r}]", self.item, item, look) for key, item in items)


class Shape(NamedTuple):
    """The rebuild of a TypedDict. Keys that it does not name are left as they are."""

    cls: type
    items: Mapping[str, Rebuild | None]

    def __call__(self, value: Any) -> Any:
        """Rebuild every value of the dict by its key."""
        if value is None:
            return None
        if type(value) not in _DICTS:
            raise unlike(value, f"a dict like {type_name(self.cls)}")
        given = cast("dict[Any, Any]", value)
        return {key: rebuild_at(f"[{key!r}]", self.items.get(key), item) for key, item in given.items()}

    def check(self, value: Any, look: Look) -> int:
        """Check every value of the dict by its key."""
        if value is None or isinstance(value, look.handles):
            return 0
        if not _is_dict(value):
            raise unlike(value, f"a dict like {type_name(self.cls)}")
        given = cast("dict[Any, Any]", value)
        return sum(check_at(f"[{key!r}]", self.items.get(key), item, look) for key, item in given.items())


class Union:
    """The rebuild of X | Y.

    A stored record belongs to its class. A dict that came without one (JSON, earlier versions) becomes the first record
    that has its fields; a value that fits no record goes to the other types. Of types that fit equally (``Box[int] |
    Box[Page]``), the first one wins that names every record inside, as when the value was checked. A dict that was sent
    as a dict stays one if any type accepts dicts; only if none does, a record may take it.
    """

    def __init__(
        self, closely: Sequence[Rebuild], loosely: Sequence[Rebuild], others: Sequence[Any], expected: str
    ) -> None:
        self._closely = closely
        self._loosely = loosely
        self._others = others
        self._expected = expected

    def __call__(self, value: Any) -> Any:
        """Rebuild the value by the first type that accepts it, and names every record inside if several do."""
        if value is None:
            return None
        if len(self._closely) > 1 and (records := count_stored(value)) > 1:
            for rebuild in self._closely:
                try:
                    made = rebuild(value)
                    if rebuild.check(made, Look()) >= records:
                        return made
                except (Mismatch, ValueError):  # the next may fit
                    continue
        return self._first(value, lambda rebuild: rebuild(value), lambda: plain(value))

    def check(self, value: Any, look: Look) -> int:
        """Check the value by the first type that accepts it."""
        if value is None or isinstance(value, look.handles):
            return 0

        def other() -> int:
            if record_type(class_of(value)) is not None or look.strays:
                find_stray(value, self._expected)
            return 0

        return cast("int", self._first(value, lambda rebuild: rebuild.check(value, look), other))

    def _first(self, value: Any, take: Callable[[Rebuild], Any], other: Callable[[], Any]) -> Any:
        deepest: Mismatch | None = None
        for rebuilds, others in ((self._closely, self._others), (self._loosely, ())):
            for rebuild in rebuilds:
                try:
                    return take(rebuild)
                except Mismatch as mismatch:  # the next may fit
                    if deepest is None or len(mismatch.steps) > len(deepest.steps):
                        deepest = mismatch
            if any(_accepts(option, value) for option in others):
                return other()
        # The type that fitted most deeply was probably meant. If none fitted at all, name all of them.
        if deepest is not None and (deepest.steps or len(self._closely) == 1):
            raise deepest
        raise unlike(value, self._expected)


def _accepts(option: Any, value: object) -> bool:
    """Return whether ``value`` may be of a type of a union that holds no record; True in doubt."""
    origin: Any = typing.get_origin(option) or option
    if origin is Any or origin is object or not isinstance(origin, type):
        return True
    if isinstance(value, StoredRecord):
        return False
    try:
        return isinstance(value, (origin, int) if origin is float else origin)
    except TypeError:  # a Protocol that is not runtime_checkable
        return True
