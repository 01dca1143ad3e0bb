"""Walk over entries of jobs in the order of submission, merged from the places where they stand."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from asyncjobs.backends.sqs import keys
from asyncjobs.backends.sqs.concurrent import at_once
from asyncjobs.backends.sqs.loading import existing
from asyncjobs.backends.sqs.rows import Row
from asyncjobs.backends.sqs.table import LIST, Item, Key, Page, Table

ROWS_AT_ONCE = 50
"""Rows that are read in one call: more would keep the event loop busy for too long."""
_PAGE = 100
"""Entries that are read from one place at a time."""


class Entry(Struct, frozen=True, order=True):
    """Where a job may be found: its number, and the key of its row."""

    n: int
    key: Key


class Source(Struct, frozen=True):
    """A place where entries stand in the order of submission.

    Without a ``prefix`` it is a partition of the list. With one, it is the part of a partition of the table whose sort
    keys have the number of a job behind it.
    """

    partition: str
    prefix: str | None = None

    async def page(
        self, table: Table, after: int | None, newest: bool, start: Mapping[str, Any] | None, limit: int = _PAGE
    ) -> Page:
        """Read the entries behind a number."""
        low, high = (None, after) if newest else (after, None)
        if self.prefix is None:
            return await table.query(
                self.partition, index=LIST, after=low, before=high, start=start, limit=limit, forward=not newest
            )
        return await table.query(
            self.partition,
            after=self.prefix if low is None else self.prefix + keys.number(low + 1),
            before=f"{self.prefix}:" if high is None else self.prefix + keys.number(high),  # behind every digit
            start=start,
            limit=limit,
            forward=not newest,
        )

    def entry(self, item: Item) -> Entry:
        """Return what an item of this place says."""
        key = (item["pk"], item["sk"]) if self.prefix is None else keys.row(item["id"])
        return Entry(int(item["n"]), key)


class _Reader:
    """One place, as far as it was read."""

    def __init__(self, source: Source | None, entries: Sequence[Entry] = ()) -> None:
        self._source = source
        self._start: Mapping[str, Any] | None = None
        self.entries = deque(entries)
        self.ended = source is None

    async def fill(self, table: Table, after: int | None, newest: bool) -> None:
        assert self._source is not None
        while not self.entries and not self.ended:
            page = await self._source.page(table, after, newest, self._start)
            self.entries.extend(map(self._source.entry, page.items))
            self._start = page.next
            self.ended = page.next is None


class Walk:
    """A walk over places, behind a number, from the oldest or from the newest job on.

    :param own: entries that must be among them, whatever the places say: an index lags behind.
    """

    def __init__(
        self, table: Table, sources: Sequence[Source], own: Sequence[Entry] = (), *, after: int | None, newest: bool
    ) -> None:
        self._table = table
        self._after = after
        self._newest = newest
        ahead = [entry for entry in own if after is None or (entry.n < after if newest else entry.n > after)]
        self._readers = [*map(_Reader, sources), _Reader(None, sorted(ahead, reverse=newest))]
        self._last: Entry | None = None

    async def take(self, count: int) -> list[Entry]:
        """Return the next entries, each job once; fewer than asked for: this was the end."""
        found: list[Entry] = []
        while len(found) < count:
            await self._fill()
            filled = [reader for reader in self._readers if reader.entries]
            if not filled:
                break
            choose = max if self._newest else min
            entry = choose(filled, key=lambda reader: reader.entries[0]).entries.popleft()
            if entry != self._last:
                found.append(entry)
                self._last = entry
        return found

    async def _fill(self) -> None:
        empty = [reader for reader in self._readers if not reader.entries and not reader.ended]
        if empty:
            await at_once(lambda reader: reader.fill(self._table, self._after, self._newest), empty)


async def read_entries(table: Table, entries: Sequence[Entry]) -> list[Row]:
    """Read the rows that entries lead to; those that are gone, or are rows of other jobs by now, are left out."""
    found = await existing(table, await table.get([entry.key for entry in entries]))
    rows = ((entry, found.get(entry.key)) for entry in entries)
    return [row for entry, row in rows if row is not None and row.n == entry.n]


def entry_of(row: Row) -> Entry:
    """Return the entry that leads to a row."""
    return Entry(row.n, keys.row(row.id))
