"""Cache the lanes of a writing connection between transactions."""

from __future__ import annotations

import sqlite3
from typing import cast

from msgspec import Struct

from asyncjobs.backends.unreadable import Shape, mark
from asyncjobs.core.lanes import Lane


class LaneRow(Struct, frozen=True, gc=False):
    """A stored lane with its number, and the mark if it cannot be read."""

    n: int
    lane: Lane
    unreadable: str | None = None


_SHAPE = Shape(("n", (int,), 0), ("queue", (str,), ""), ("function", (str,), ""), ("owner", (str, type(None)), None))


class Lanes:
    """A cache of lanes, which never change once stored. New ones are kept only if their transaction commits."""

    def __init__(self) -> None:
        self._by_name: dict[Lane, LaneRow] = {}
        self._by_number: dict[int, LaneRow] = {}
        self._new: list[LaneRow] = []

    def number(self, connection: sqlite3.Connection, queue: str, function: str, owner: str | None) -> int:
        """Return the lane's number, and store the lane first if it is new."""
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

    def known(self, queue: str, function: str, owner: str | None) -> LaneRow | None:
        """Return the lane if it is known."""
        return self._by_name.get(cast("Lane", (queue, function, owner)))

    def get(self, connection: sqlite3.Connection, n: int) -> LaneRow:
        """Return the lane with this number."""
        known = self._by_number.get(n)
        if known is not None:
            return known
        row = connection.execute("SELECT n, queue, function, owner FROM lanes WHERE n = ?", (n,)).fetchone()
        if row is None or not _SHAPE.fits(row):
            # Not cached, because it may be repaired. A claim from it fails its jobs.
            return LaneRow(n, Lane("?", "?", None), mark(["function"]))
        return self._add(LaneRow(row[0], Lane(*row[1:])))

    def _add(self, row: LaneRow) -> LaneRow:
        self._by_name[row.lane] = row
        self._by_number[row.n] = row
        self._new.append(row)
        return row

    def keep(self) -> None:
        """Keep the new lanes: the transaction committed."""
        self._new.clear()

    def rollback(self) -> None:
        """Forget the new lanes: the transaction did not commit."""
        for row in self._new:
            del self._by_name[row.lane]
            del self._by_number[row.n]
        self._new.clear()
