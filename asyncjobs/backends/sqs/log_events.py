"""Read the events that a page of the log names: they stand in the rows of their jobs, or in chunks of events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from asyncjobs.backends.sqs import keys, payloads, rows
from asyncjobs.backends.sqs.loading import read_rows
from asyncjobs.backends.sqs.log_pages import Place
from asyncjobs.backends.sqs.rows import Entry, Row
from asyncjobs.backends.sqs.table import Item, Table
from asyncjobs.backends.unreadable import event_data, marked_data, problem
from asyncjobs.clock import to_datetime
from asyncjobs.models import JobEvent, JobStatus

_ROWS = 50
_KEPT = 8_000_000
"""Bytes of chunks that are kept while a page is read."""


class EventReader:
    """Reads events. What it has read of rows is kept, so each call of the log has one of its own."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._rows: dict[str, Row | None] = {}
        self._chunks: dict[str, dict[int, bytes]] = {}
        self._kept = 0
        self._size = 0

    async def read(self, places: Sequence[Place]) -> list[JobEvent]:
        """Return the events at these places, without those of jobs that were removed."""
        await self._read_rows({place.id for place in places})
        wanted: dict[str, list[int]] = {}
        for place in places:
            if self._row(place) is not None:
                wanted.setdefault(place.id, []).append(place.seq)
        found: dict[str, dict[int, bytes]] = {}
        for job_id, seqs in wanted.items():
            found[job_id] = await self._packed(job_id, seqs)
        events: list[JobEvent] = []
        for place in places:
            row = self._row(place)
            if row is not None:
                events.append(await self._shown(place, row, found[place.id].get(place.seq)))
        return events

    def take_size(self) -> int:
        """Return how many bytes of data were read since this was last asked."""
        size, self._size = self._size, 0
        return size

    def _row(self, place: Place) -> Row | None:
        row = self._rows[place.id]
        return row if row is not None and row.n == place.n else None

    async def _read_rows(self, ids: set[str]) -> None:
        left = [job_id for job_id in ids if job_id not in self._rows]
        for start in range(0, len(left), _ROWS):
            self._rows |= await read_rows(self._table, left[start : start + _ROWS])

    async def _packed(self, job_id: str, seqs: Sequence[int]) -> dict[int, bytes]:
        """Return these events of a job as they are stored; none if it was removed meanwhile."""
        row = self._rows[job_id]
        assert row is not None, "it was found"
        found = _in_row(row)
        lacking = [seq for seq in seqs if seq not in found]
        if not lacking:
            return found
        found |= await self._in_chunks(row.partition, lacking[0], lacking[-1])
        if any(seq not in found for seq in seqs):
            now = (await read_rows(self._table, [job_id]))[job_id]
            self._rows[job_id] = now if now is not None and now.n == row.n else None
        return found

    async def _in_chunks(self, partition: str, first: int, last: int) -> dict[int, bytes]:
        kept = self._chunks.get(partition, {})
        if first in kept and last in kept:
            return kept
        found: dict[int, bytes] = {}
        page = await self._table.query(partition, before=keys.chunk(first + 1), limit=1, forward=False)
        start = next((item["sk"] for item in page.items if item["sk"].startswith(keys.EVENTS)), keys.chunk(first))
        for item in page.items:
            if item["sk"] == start:
                found |= _in_chunk(item)
        following = None
        while last not in found:
            page = await self._table.query(partition, after=start, before=keys.chunk(last + 1), start=following)
            for item in page.items:
                found |= _in_chunk(item)
            following = page.next
            if following is None:
                break
        self._keep(partition, found)
        return found

    def _keep(self, partition: str, found: dict[int, bytes]) -> None:
        self._kept += sum(map(len, found.values()))
        if self._kept > _KEPT:
            self._chunks.clear()
            self._kept = 0
        self._chunks[partition] = found

    async def _shown(self, place: Place, row: Row, packed: bytes | None) -> JobEvent:
        """Return an event; one that cannot be read has stand-ins and a mark, so that the log has no hole."""
        try:
            entry = _read(packed)
        except Exception as error:  # border: whatever is stored there
            data = marked_data([problem("event", error)])
            return JobEvent(str(place.cursor), row.id, place.seq, "?", to_datetime(0), 0, None, row.state.group, data)
        return JobEvent(
            str(place.cursor),
            row.id,
            place.seq,
            entry.type,
            to_datetime(entry.at),
            entry.attempt,
            None if entry.status is None else JobStatus(entry.status),
            row.state.group,
            await self._data(row, entry),
        )

    async def _data(self, row: Row, entry: Entry) -> dict[str, Any]:
        data = entry.data
        if entry.data_at is not None:
            data = await payloads.read_stored(self._table, row.partition, entry.data_at)
            if data is None:
                return marked_data([problem("event data", LookupError("a part is missing"))])
        self._size += len(data or b"")
        return event_data(data)


def _read(packed: bytes | None) -> Entry:
    if packed is None:
        raise LookupError("it is missing")
    entry = rows.read_entry(packed)
    to_datetime(entry.at)
    if entry.status is not None:
        JobStatus(entry.status)
    return entry


def _in_row(row: Row) -> dict[int, bytes]:
    """Return the events of a row by their numbers."""
    found: dict[int, bytes] = {}
    for packed in row.log:
        try:
            found[rows.read_entry(packed).seq] = packed
        except Exception:  # border: it is missed, and marked, where the log names it
            continue
    return found


def _in_chunk(item: Item) -> dict[int, bytes]:
    """Return the events of a chunk, which stand one after the other."""
    packed: list[bytes] = item["ev"]
    return dict(enumerate(packed, start=int(item["sk"].removeprefix(keys.EVENTS))))
