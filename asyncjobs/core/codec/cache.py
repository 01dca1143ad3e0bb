"""Cache values that were computed about an object while that very object lives."""

from __future__ import annotations

import weakref
from typing import Any, Generic, TypeVar

V = TypeVar("V")


class IdentityCache(Generic[V]):
    """A bounded map from objects to values, by identity.

    A ``WeakKeyDictionary`` would use the key's own ``__hash__`` and ``__eq__``, which a callable object may define in
    any way (or not at all), and is twice as slow. Objects that cannot be weakly referenced are simply not kept.
    An entry is removed with its object; when ``limit`` is reached, the cache is cleared.
    """

    __slots__ = ("_entries", "_limit")

    def __init__(self, limit: int = 4096) -> None:
        self._entries: dict[int, tuple[weakref.ref[Any], V]] = {}
        self._limit = limit

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: object) -> V | None:
        """Return the value kept for this very object, or None."""
        entry = self._entries.get(id(key))
        # Compare the object, too: an id may be reused after its object is gone.
        return entry[1] if entry is not None and entry[0]() is key else None

    def put(self, key: object, value: V) -> None:
        """Keep ``value`` while ``key`` lives, if ``key`` can be weakly referenced."""
        entries, number = self._entries, id(key)

        def forget(_: weakref.ref[Any]) -> None:
            # Runs before the memory, and with it the id, can belong to another object.
            entries.pop(number, None)

        try:
            reference = weakref.ref(key, forget)
        except TypeError:
            return
        if len(entries) >= self._limit:
            # All, and not the oldest: this is atomic between threads, and entries in use are soon added again.
            entries.clear()
        entries[number] = (reference, value)
