"""Write events: into the row of their job as long as they are few, else into chunks beside it.

The chunks are written with the row. Data that are large, or too much for one transaction together, are written before,
under a name that only the event knows.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import msgpack, structs

from asyncjobs.backends.sqs import keys, payloads, rows
from asyncjobs.backends.sqs.rows import Row, StoredValue
from asyncjobs.backends.sqs.table import Update
from asyncjobs.core.state import NewEvent
from asyncjobs.models import EventType

_IN_ROW = 500
"""Bytes of events that a row has at most: each of its writes costs by its size."""
_CHUNK = 300_000
"""Bytes of events in an item of their own."""
_LARGE = 60_000
"""Bytes of data that stand apart from their event."""
_TOGETHER = 1_500_000
"""Bytes of data of one write, beyond which the rest of them stands apart."""
_PROGRESS = 2000
"""Bytes of a report of progress that a row keeps; of a larger one it keeps the numbers, and cuts the message."""


def with_events(row: Row, events: Sequence[NewEvent]) -> tuple[Row, tuple[Update, ...], tuple[payloads.Apart, ...]]:
    """Return a row with more events; the writes of chunks of them, if they are too many; and what is written before."""
    if not events:
        return row, (), ()
    packed: list[bytes] = []
    before: list[payloads.Apart] = []
    together = 0
    for event in events:
        data: bytes | StoredValue | None = None if not event.data else msgpack.encode(event.data)
        if event.type == EventType.PROGRESS:
            row = structs.replace(row, progress=msgpack.encode((event.attempt, _brief(event, data))))
        if data is not None and len(data) > min(_LARGE, max(0, _TOGETHER - together)):
            before.append(payloads.apart(row.partition, data))
            data = before[-1].stored
        else:
            together += len(data or b"")
        packed.append(rows.pack_event(event, data))
    if sum(map(len, (*row.log, *packed))) <= _IN_ROW:
        return structs.replace(row, log=(*row.log, *packed)), (), tuple(before)
    chunks = [
        Update((row.partition, keys.chunk(first)), new=True, set={"ev": part})
        for first, part in _parts(packed, events[0].seq)
    ]
    return row, tuple(chunks), tuple(before)


def _brief(event: NewEvent, data: bytes | None) -> bytes | None:
    """Return the data of a report of progress as the row keeps them."""
    if data is None or len(data) <= _PROGRESS or event.data is None:
        return data
    kept = {name: event.data[name] for name in ("done", "total") if isinstance(event.data.get(name), (int, float))}
    message = event.data.get("message")
    return msgpack.encode(kept | {"message": message[: _PROGRESS // 4]} if isinstance(message, str) else kept)


def _parts(packed: Sequence[bytes], seq: int) -> list[tuple[int, list[bytes]]]:
    parts: list[tuple[int, list[bytes]]] = []
    size = _CHUNK
    for entry in packed:
        if size + len(entry) > _CHUNK:
            parts.append((seq, []))
            size = 0
        parts[-1][1].append(entry)
        size += len(entry)
        seq += 1
    return parts
