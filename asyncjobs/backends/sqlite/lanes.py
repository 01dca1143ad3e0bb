"""What a writing connection may remember between transactions, and the counters it draws from inside one."""

from __future__ import annotations

import sqlite3

from msgspec import Struct

from asyncjobs.backends.unreadable import Shape, mark


class Lane(Struct, frozen=True):
    """A function, in a queue, for an owner (None: anybody): what a worker may or may not take as a whole."""

    n: int
    queue: str
    function: str
    owner: str | None
    unreadable: str | None = None


_SHAPE = Shape(("n", (int,), 0), ("queue", (str,), ""), ("function", (str,), ""), ("owner", (str, type(None)), None))


class Lanes:
    """Lanes never change once they are stored, so they are kept; new ones only when their transaction committed."""

    def __init__(self) -> None:
        self._by_name: dict[tuple[str, str, str | None], Lane] = {}
        self._by_number: dict[int, Lane] = {}
        self._new: list[Lane] = []

    def number(self, connection: sqlite3.Connection, queue: str, function: str, owner: str | None) -> int:
        """The lane's number; it is stored when it is new."""
        known = self._by_name.get((queue, function, owner))
        if known is not None:
            return known.n
        row = connection.execute(
            "SELECT n FROM lanes WHERE queue = ? AND function = ? AND ifnull(owner, '') = ifnull(?, '')",
            (queue, function, owner),
        ).fetchone()
        if row is None:
            row = connection.execute(
                "INSERT INTO lanes(queue, function, owner) VALUES (?, ?, ?) RETURNING n", (queue, function, owner)
            ).fetchone()
        return self._add(Lane(row[0], queue, function, owner)).n

    def get(self, connection: sqlite3.Connection, n: int) -> Lane:
        """The lane with this number."""
        known = self._by_number.get(n)
        if known is not None:
            return known
        row = connection.execute("SELECT n, queue, function, owner FROM lanes WHERE n = ?", (n,)).fetchone()
        if row is None or not _SHAPE.fits(row):
            # Not kept: it may be mended. Whoever claims from it first fails its jobs.
            return Lane(n, "?", "?", None, mark(["function"]))
        return self._add(Lane(*row))

    def _add(self, lane: Lane) -> Lane:
        self._by_name[lane.queue, lane.function, lane.owner] = lane
        self._by_number[lane.n] = lane
        self._new.append(lane)
        return lane

    def keep(self) -> None:
        """The transaction committed."""
        self._new.clear()

    def rollback(self) -> None:
        """The transaction did not commit: forget what it may have stored."""
        for lane in self._new:
            del self._by_name[lane.queue, lane.function, lane.owner]
            del self._by_number[lane.n]
        self._new.clear()

    # -- counters

    def reserve(self, connection: sqlite3.Connection, counter: str, count: int) -> int:
        """Take ``count`` numbers; returns the one before the first."""
        row = connection.execute(
            "UPDATE counters SET value = value + ? WHERE name = ? RETURNING value - ?", (count, counter, count)
        ).fetchone()
        return row[0]
