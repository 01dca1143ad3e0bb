"""What brings the values of one annotation back, and makes sure beforehand that it will."""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, cast

from asyncjobs.core.codec.families import record_type
from asyncjobs.core.codec.models import ModelRecord
from asyncjobs.core.codec.names import class_of, is_named, kind_of, type_name, with_article
from asyncjobs.core.codec.records import RecordMismatchError, RecordType
from asyncjobs.core.codec.refusals import key_step
from asyncjobs.core.codec.stored import JsonObject, SentDict, StoredRecord, plain

_ATOMS: frozenset[type] = frozenset({type(None), bool, int, float, str, bytes})
_DICTS: frozenset[type] = frozenset({dict, SentDict})
_SERIES: frozenset[type] = frozenset({list, tuple, set, frozenset})


class Mismatch(Exception):  # noqa: N818 - a signal inside this package, never an error that leaves it
    """A value does not fit its annotation. Every container on the way out adds its step to ``steps``."""

    def __init__(self, problem: str, expected: str) -> None:
        super().__init__(problem, expected)
        self.problem = problem
        self.expected = expected
        self.steps: list[str] = []


class Look(NamedTuple):
    """A look at a value before it is stored.

    ``handles`` are what the results of jobs take the place of. With ``strays``, a record that no annotation names is a
    Mismatch of its own; without, it is missing in the count.
    """

    handles: tuple[type, ...] = ()
    strays: bool = False


class Rebuild(Protocol):
    """What brings the values of one annotation back. None stays None, an instance stays itself."""

    def __call__(self, value: Any) -> Any:
        """The value with records in place of what they were stored as. Raises Mismatch."""
        ...

    def check(self, value: Any, look: Look) -> int:
        """Make sure that a value, once it is stored, will come back.

        Returns how many records it has in it that the annotation names. Raises Mismatch.
        """
        ...


def holds_record(value: Any) -> bool:
    """Whether there is a record in a value, before it is stored or after."""
    if isinstance(value, dict):
        return any(map(holds_record, cast("dict[Any, Any]", value).values()))
    if isinstance(value, (list, tuple)):
        return any(map(holds_record, cast("Sequence[Any]", value)))
    return type(value) is StoredRecord or record_type(class_of(value)) is not None


def count_stored(value: Any) -> int:
    """Return how many records there are in a stored value."""
    if type(value) is StoredRecord:
        return 1 + count_stored(value.fields) + count_stored(value.more)
    if isinstance(value, dict):
        return sum(map(count_stored, cast("dict[Any, Any]", value).values()))
    if isinstance(value, (list, tuple)):
        return sum(map(count_stored, cast("Sequence[Any]", value)))
    return 0


def find_stray(value: Any, expected: str = "a class of its annotation") -> None:
    """Raise Mismatch for the first record in a value."""
    if type(value) in _ATOMS:
        return
    if record_type(class_of(value)) is not None:
        raise _is(value, expected)
    if isinstance(value, dict):
        for key, item in cast("dict[Any, Any]", value).items():
            _stepping(key_step(key), find_stray, item, expected)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(cast("Sequence[Any]", value)):
            _stepping(f"[{index}]", find_stray, item, expected)


def _stepping(step: str, function: Callable[..., Any], *args: Any) -> Any:
    try:
        return function(*args)
    except Mismatch as mismatch:
        mismatch.steps.append(step)
        raise


def _is(value: object, expected: str) -> Mismatch:
    if isinstance(value, StoredRecord):
        return Mismatch(f"is {with_article(f'{value.module}.{value.qualname}')}", expected)
    return Mismatch(f"is {kind_of(dict(value) if type(value) is SentDict else value)}", expected)


def _at(step: str, rebuild: Rebuild | None, value: Any) -> Any:
    if rebuild is None:
        return value if type(value) in _ATOMS else plain(value)
    return _stepping(step, rebuild, value)


def _check_at(step: str, rebuild: Rebuild | None, value: Any, look: Look) -> int:
    if rebuild is not None:
        return cast("int", _stepping(step, rebuild.check, value, look))
    if look.strays:
        _stepping(step, find_stray, value)
    return 0


class Member:
    """One class of records where it is expected: how its fields are brought back."""

    def __init__(self, record: RecordType, rebuilds: Callable[[type], Mapping[str, Rebuild | None]]) -> None:
        self.record = record
        self._rebuilds = rebuilds

    @functools.cached_property
    def rebuilds(self) -> Mapping[str, Rebuild | None]:
        """By field. Looked at on first use: a class may hold itself."""
        return self._rebuilds(self.record.cls)

    @functools.cached_property
    def deep(self) -> Sequence[tuple[str, Rebuild]]:
        """The fields that may have records in them."""
        stored = self.record.fields.keys() | self.record.others.keys()
        return [(name, rebuild) for name, rebuild in self.rebuilds.items() if rebuild is not None and name in stored]

    @functools.cached_property
    def expected(self) -> str:
        """For messages."""
        return repr(self.record)

    def restore(self, stored: StoredRecord) -> Any:
        """The instance that was stored."""
        return self._made(lambda: self.record.make(self._items(stored.fields), self._items(stored.more)))

    def construct(self, given: Mapping[Any, Any]) -> Any:
        """An instance by the constructor, of a dict of its fields."""
        self._made(lambda: self.record.check_names(given))
        items = {name: plain(item) for name, item in given.items()} if self._converts(given) else self._items(given)
        return self._made(lambda: self.record.construct(items))

    def _converts(self, given: Mapping[Any, Any]) -> bool:
        # A model reads JSON in its own way, deeply. Records among it are for us.
        return isinstance(self.record, ModelRecord) and not any(map(holds_record, given.values()))

    def _items(self, given: Mapping[Any, Any]) -> dict[Any, Any]:
        rebuilds = self.rebuilds
        return {name: _at(f".{name}", rebuilds.get(name), item) for name, item in given.items()}

    def _made(self, make: Callable[[], Any]) -> Any:
        try:
            return make()
        except RecordMismatchError as error:
            raise Mismatch(str(error), self.expected) from error.__cause__

    def check(self, value: Any, look: Look) -> int:
        """For an instance."""
        if not self.deep and not look.strays:
            return 1
        rebuilds = self.rebuilds
        state = [item for part in self.record.state(value) for item in part.items()]
        return 1 + sum(_check_at(f".{name}", rebuilds.get(name), item, look) for name, item in state)

    def check_dict(self, given: Mapping[Any, Any], look: Look, *, names: bool) -> int:
        """For a dict that will become an instance. What its class makes of it is known when it is made; with ``names``,
        whether it has the fields is known now."""
        if names:
            self._made(lambda: self.record.check_names(given))
        if self._converts(given):
            return 0
        return sum(_check_at(f".{name}", self.rebuilds.get(name), item, look) for name, item in given.items())


class Family:
    """A class, and those below it that are imported already. A stored record is one of these, by its class's name."""

    def __init__(self, cls: type, rebuilds: Callable[[type], Mapping[str, Rebuild | None]], *, exact: bool) -> None:
        self.cls = cls
        self.exact = exact
        self._rebuilds = rebuilds
        record = record_type(cls)
        self.own = None if record is None else Member(record, rebuilds)
        self._named: dict[tuple[str, str], Member] = {}
        if self.own is not None:
            self._named[self.own.record.key] = self.own

    @property
    def expected(self) -> str:
        """For messages."""
        return type_name(self.cls) if self.own is None else self.own.expected

    def find(self, module: str, qualname: str) -> Member | None:
        """The class of a stored name, found among those that are expected here. Nothing is imported or looked up."""
        member = self._named.get((module, qualname))
        if member is None:
            cls = self._search(module, qualname)
            record = None if cls is None else record_type(cls)
            if record is None:
                return None
            own = self.own is not None and record is self.own.record
            member = self._named[module, qualname] = cast("Member", self.own) if own else Member(record, self._rebuilds)
        return member

    def _search(self, module: str, qualname: str) -> type | None:
        seen = {self.cls}
        level = [self.cls]
        while level:
            for cls in level:
                if is_named(cls, module, qualname):
                    return cls
            level = list(dict.fromkeys(sub for cls in level for sub in type.__subclasses__(cls) if sub not in seen))
            seen.update(level)
        return None

    def __call__(self, value: Any) -> Any:
        cls = class_of(value)
        if cls is StoredRecord:
            member = self.find(value.module, value.qualname)
            if member is None:
                raise _is(value, self.expected)
            return member.restore(value)
        if value is None or isinstance(value, self.cls):
            return value
        if self.own is None:
            return plain(value)
        if cls is dict or (cls is SentDict and not self.exact):
            return self.own.construct(value)
        raise _is(value, self.expected)

    def check(self, value: Any, look: Look) -> int:
        if value is None or isinstance(value, look.handles):
            return 0
        cls = class_of(value)
        record = record_type(cls)
        if record is not None:
            member = self.own if self.own is not None and record is self.own.record else self.find(*record.key)
            if member is None or member.record is not record:
                raise _is(value, self.expected)
            return member.check(value, look)
        if self.own is None:
            return 0
        if not issubclass(cls, dict) or (self.exact and cls is not JsonObject):
            raise _is(value, self.expected)
        return self.own.check_dict(cast("dict[Any, Any]", value), look, names=self.exact)


class Items(NamedTuple):
    """list[X], Sequence[X], tuple[X, …] and so on. What the value is, it stays."""

    item: Rebuild | None
    expected: str

    def __call__(self, value: Any) -> Any:
        if value is None:
            return None
        cls = class_of(value)
        if cls not in _SERIES and not issubclass(cls, tuple):
            raise _is(value, self.expected)
        items = [_at(f"[{index}]", self.item, item) for index, item in enumerate(value)]
        if cls is list:
            return items
        return _tuple(cls, items) if issubclass(cls, tuple) else cls(items)

    def check(self, value: Any, look: Look) -> int:
        if value is None or isinstance(value, look.handles):
            return 0
        if not issubclass(class_of(value), (list, tuple, set, frozenset)):
            raise _is(value, self.expected)
        items = cast("Iterable[Any]", value)
        return sum(_check_at(f"[{index}]", self.item, item, look) for index, item in enumerate(items))


class Fixed(NamedTuple):
    """tuple[X, Y]."""

    items: Sequence[Rebuild | None]

    def __call__(self, value: Any) -> Any:
        if value is None:
            return None
        cls = class_of(value)
        self._fit(value)
        items = list(_rebuilt_items(self.items, value))
        return items if cls is list else _tuple(cls, items)

    def check(self, value: Any, look: Look) -> int:
        if value is None or isinstance(value, look.handles):
            return 0
        self._fit(value)
        return _checked_items(self.items, value, look)

    def _fit(self, value: Any) -> None:
        if not issubclass(class_of(value), (list, tuple)):
            raise _is(value, f"a tuple of {len(self.items)}")
        length = len(value)
        if length != len(self.items):
            raise Mismatch(f"has {length} items", f"a tuple of {len(self.items)}")


class NamedTuples(NamedTuple):
    """A NamedTuple class; from the plain tuple too that it is where the class was not loaded."""

    cls: Any
    items: Sequence[Rebuild | None]

    def __call__(self, value: Any) -> Any:
        if value is None:
            return None
        self._fit(value)
        # Not cls(…) or cls._make(…), which may be the class's own code.
        cls = class_of(value)
        return _tuple(self.cls if cls is tuple else cls, _rebuilt_items(self.items, value))

    def check(self, value: Any, look: Look) -> int:
        if value is None or isinstance(value, look.handles):
            return 0
        self._fit(value)
        return _checked_items(self.items, value, look)

    def _fit(self, value: Any) -> None:
        cls = class_of(value)
        fits = cls is tuple or issubclass(cls, self.cls)
        if not fits or len(value) != len(self.items):
            raise _is(value, f"{type_name(self.cls)}({', '.join(self.cls._fields)})")


def _tuple(cls: Any, items: Iterable[Any]) -> Any:
    made: Any = tuple.__new__(cls, items)
    return made


def _is_dict(value: Any) -> bool:
    return issubclass(class_of(value), dict) and record_type(class_of(value)) is None


def _rebuilt_items(items: Sequence[Rebuild | None], values: Iterable[Any]) -> Iterator[Any]:
    return (_at(f"[{i}]", rebuild, value) for i, (rebuild, value) in enumerate(zip(items, values, strict=True)))


def _checked_items(items: Sequence[Rebuild | None], values: Iterable[Any], look: Look) -> int:
    pairs = enumerate(zip(items, values, strict=True))
    return sum(_check_at(f"[{i}]", rebuild, value, look) for i, (rebuild, value) in pairs)


class Values(NamedTuple):
    """dict[K, X], Mapping[K, X]."""

    item: Rebuild | None

    def __call__(self, value: Any) -> Any:
        if value is None:
            return None
        if type(value) not in _DICTS:
            raise _is(value, "a dict")
        return {key: _at(f"[{key!r}]", self.item, item) for key, item in cast("dict[Any, Any]", value).items()}

    def check(self, value: Any, look: Look) -> int:
        if value is None or isinstance(value, look.handles):
            return 0
        if not _is_dict(value):
            raise _is(value, "a dict")
        items = cast("dict[Any, Any]", value).items()
        return sum(_check_at(f"[{key!r}]", self.item, item, look) for key, item in items)


class Shape(NamedTuple):
    """A TypedDict. Keys that it does not name are left as they are."""

    cls: type
    items: Mapping[str, Rebuild | None]

    def __call__(self, value: Any) -> Any:
        if value is None:
            return None
        if type(value) not in _DICTS:
            raise _is(value, f"a dict like {type_name(self.cls)}")
        given = cast("dict[Any, Any]", value)
        return {key: _at(f"[{key!r}]", self.items.get(key), item) for key, item in given.items()}

    def check(self, value: Any, look: Look) -> int:
        if value is None or isinstance(value, look.handles):
            return 0
        if not _is_dict(value):
            raise _is(value, f"a dict like {type_name(self.cls)}")
        given = cast("dict[Any, Any]", value)
        return sum(_check_at(f"[{key!r}]", self.items.get(key), item, look) for key, item in given.items())


class Union:
    """X | Y.

    A stored record is what its class says. A dict that came without one (JSON, earlier versions) becomes the first
    record that has its fields; what no record takes goes to the other types. Of types that fit alike (``Box[int] |
    Box[Page]``), the first is taken that names every record inside, as it was when the value was checked. A dict that
    was sent as a dict stays one if any type takes dicts; only if none does, a record may take it.
    """

    def __init__(
        self, closely: Sequence[Rebuild], loosely: Sequence[Rebuild], others: Sequence[Any], expected: str
    ) -> None:
        self._closely = closely
        self._loosely = loosely
        self._others = others
        self._expected = expected

    def __call__(self, value: Any) -> Any:
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
        # The one that came furthest is what was meant; when none came anywhere, all are named.
        if deepest is not None and (deepest.steps or len(self._closely) == 1):
            raise deepest
        raise _is(value, self._expected)


def _accepts(option: Any, value: object) -> bool:
    """Whether a type of a union that holds no record may be what ``value`` is. In doubt it may."""
    origin: Any = typing.get_origin(option) or option
    if origin is Any or origin is object or not isinstance(origin, type):
        return True
    if isinstance(value, StoredRecord):
        return False
    try:
        return isinstance(value, (origin, int) if origin is float else origin)
    except TypeError:  # a Protocol that is not runtime_checkable
        return True
