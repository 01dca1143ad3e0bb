"""Rebuild the records of one annotation, and check before storing that they will be restored."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from asyncjobs.core.codec.families import record_type
from asyncjobs.core.codec.mismatches import Look, Mismatch, Rebuild, check_at, holds_record, rebuild_at, unlike
from asyncjobs.core.codec.models import ModelRecord
from asyncjobs.core.codec.names import class_of, is_named, type_name
from asyncjobs.core.codec.records import RecordMismatchError, RecordType
from asyncjobs.core.codec.stored import JsonObject, SentDict, StoredRecord, plain


class Member:
    """One class of records where it is expected, with the rebuilds of its fields."""

    def __init__(self, record: RecordType, rebuilds: Callable[[type], Mapping[str, Rebuild | None]]) -> None:
        self.record = record
        self._rebuilds = rebuilds

    @functools.cached_property
    def rebuilds(self) -> Mapping[str, Rebuild | None]:
        """Return the rebuilds by field. Compiled on first use, because a class may contain itself."""
        return self._rebuilds(self.record.cls)

    @functools.cached_property
    def deep(self) -> Sequence[tuple[str, Rebuild]]:
        """Return the fields that may have records in them."""
        stored = self.record.fields.keys() | self.record.others.keys()
        return [(name, rebuild) for name, rebuild in self.rebuilds.items() if rebuild is not None and name in stored]

    @functools.cached_property
    def expected(self) -> str:
        """Return the class and its fields, for messages."""
        return repr(self.record)

    def restore(self, stored: StoredRecord) -> Any:
        """Rebuild the instance that was stored."""
        return self._made(lambda: self.record.make(self._items(stored.fields), self._items(stored.more)))

    def construct(self, given: Mapping[Any, Any]) -> Any:
        """Call the constructor with a dict of fields."""
        self._made(lambda: self.record.check_names(given))
        items = {name: plain(item) for name, item in given.items()} if self._converts(given) else self._items(given)
        return self._made(lambda: self.record.construct(items))

    def _converts(self, given: Mapping[Any, Any]) -> bool:
        # A model reads JSON by its own rules, at every level. Records within are rebuilt here.
        return isinstance(self.record, ModelRecord) and not any(map(holds_record, given.values()))

    def _items(self, given: Mapping[Any, Any]) -> dict[Any, Any]:
        rebuilds = self.rebuilds
        return {name: rebuild_at(f".{name}", rebuilds.get(name), item) for name, item in given.items()}

    def _made(self, make: Callable[[], Any]) -> Any:
        try:
            return make()
        except RecordMismatchError as error:
            raise Mismatch(str(error), self.expected) from error.__cause__

    def check(self, value: Any, look: Look) -> int:
        """Check an instance, and count its records."""
        if not self.deep and not look.strays:
            return 1
        rebuilds = self.rebuilds
        state = [item for part in self.record.state(value) for item in part.items()]
        return 1 + sum(check_at(f".{name}", rebuilds.get(name), item, look) for name, item in state)

    def check_dict(self, given: Mapping[Any, Any], look: Look, *, names: bool) -> int:
        """Check a dict that will become an instance, and count its records.

        :param names: check now whether it has the fields. All else is up to the class when the instance is made.
        """
        if names:
            self._made(lambda: self.record.check_names(given))
        if self._converts(given):
            return 0
        return sum(check_at(f".{name}", self.rebuilds.get(name), item, look) for name, item in given.items())


class Family:
    """A class and its loaded subclasses. A stored record is one of these, by the name of its class."""

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
        """Return the class, for messages."""
        return type_name(self.cls) if self.own is None else self.own.expected

    def find(self, module: str, qualname: str) -> Member | None:
        """Find the class of a stored name among those that are expected here. Nothing is imported."""
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
        """Rebuild a stored record of the family, or make an instance of a dict; leave instances as they are."""
        cls = class_of(value)
        if cls is StoredRecord:
            member = self.find(value.module, value.qualname)
            if member is None:
                raise unlike(value, self.expected)
            return member.restore(value)
        if value is None or isinstance(value, self.cls):
            return value
        if self.own is None:
            return plain(value)
        if cls is dict or (cls is SentDict and not self.exact):
            return self.own.construct(value)
        raise unlike(value, self.expected)

    def check(self, value: Any, look: Look) -> int:
        """Check an instance of the family, or a dict that will become one."""
        if value is None or isinstance(value, look.handles):
            return 0
        cls = class_of(value)
        record = record_type(cls)
        if record is not None:
            member = self.own if self.own is not None and record is self.own.record else self.find(*record.key)
            if member is None or member.record is not record:
                raise unlike(value, self.expected)
            return member.check(value, look)
        if self.own is None:
            return 0
        if not issubclass(cls, dict) or (self.exact and cls is not JsonObject):
            raise unlike(value, self.expected)
        if look.dicts is not None:
            look.dicts.append(value)
        return self.own.check_dict(cast("dict[Any, Any]", value), look, names=self.exact)
