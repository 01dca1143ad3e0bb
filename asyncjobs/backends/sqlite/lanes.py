"""What a writing connection may remember between transactions, and the counters it draws from inside one."""

from __future__ import annotations

import sqlite3

from msgspec import Struct

from asyncjobs.backends.unreadable import Shape, mark
from asyncjobs.core.lanes import Lane


class LaneRow(Struct, frozen=True):
    """A lane as it is stored: with its number, and what of it cannot be read."""

    n: int
    lane: Lane
    unreadable: str | None = None


_SHAPE = Shape(("n", (int,), 0), ("queue", (str,), ""), ("function", (str,), ""), ("owner", (str, type(None)), None))


class Lanes:
    """Lanes never change once they are stored, so they are kept; new ones only when their transaction committed."""

    def __init__(self) -> None:
        self._by_name: dict[Lane, LaneRow] = {}
        self._by_number: dict[int, LaneRow] = {}
        self._new: list[LaneRow] = []

    def number(self, connection: sqlite3.Connection, queue: str, function: str, owner: str | None) -> int:
        """The lane's number; it is stored when it is new."""
        lane = Lane(queue, function, owner)
        known = self._by_name.get(lane)
        if known is not None:
            return known.n
        row = connection.execute(
            "SELECT n FROM lanes WHERE queue = ? AND function = ? AND ifnull(owner, '') = ifnull(?, '')",
            lane,
        ).fetchone()
        if row is None:
            row = connection.execute(
                "INSERT INTO lanes(queue, function, owner) VALUES (?, ?, ?) RETURNING n", lane
            ).fetchone()
        return self._add(LaneRow(row[0], lane)).n

    def get(self, connection: sqlite3.Connection, n: int) -> LaneRow:
        """The lane with this number."""
        known = self._by_number.get(n)
        if known is not None:
            return known
        row = connection.execute("SELECT n, queue, function, owner FROM lanes WHERE n = ?", (n,)).fetchone()
        if row is None or not _SHAPE.fits(row):
            # Not kept: it may be mended. Whoever claims from it first fails its jobs.
            return LaneRow(n, Lane("?", "?", None), mark(["function"]))
        return self._add(LaneRow(row[0], Lane(*row[1:])))

    def _add(self, row: LaneRow) -> LaneRow:
        self._by_name[row.lane] = row
        self._by_number[row.n] = row
        self._new.append(row)
        return row

    def keep(self) -> None:
        """The transaction committed."""
        self._new.clear()

    def rollback(self) -> None:
        """The transaction did not commit: forget what it may have stored."""
        for row in self._new:
            del self._by_name[row.lane]
            del self._by_number[row.n]
        self._new.clear()

    # -- counters

    def reserve(self, connection: sqlite3.Connection, counter: str, count: int) -> int:
        """Take ``count`` numbers; returns the one before the first."""
        row = connection.execute(
            "UPDATE counters SET value = value + ? WHERE name = ? RETURNING value - ?", (count, counter, count)
        ).fetchone()
        return row[0]
