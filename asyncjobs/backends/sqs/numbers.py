"""Give jobs and workers their numbers, by which they are ordered."""

from __future__ import annotations

import os
import threading

_IN_A_MICROSECOND = 1000


class Numbers:
    """Numbers of a process: µs since the epoch × 1,000, and a part of its own, always growing.

    Two processes give the same number only within the same microsecond, and rarely then.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0
        self._own = int.from_bytes(os.urandom(2), "big") % _IN_A_MICROSECOND

    def take(self, count: int, now: int) -> list[int]:
        """Return so many numbers, each larger than all that were given before."""
        with self._lock:
            first = max(self._last + 1, now * _IN_A_MICROSECOND + self._own)
            self._last = first + count - 1
        return list(range(first, first + count))


_of_tables: dict[str, Numbers] = {}


def numbers_of(table: str) -> Numbers:
    """Return the numbers that this process gives in a table: all stores share them that it has open there."""
    return _of_tables.setdefault(table, Numbers())
