"""Keep what is too large for a row in items of its own: arguments, results, in parts that an item can hold."""

from __future__ import annotations

from collections.abc import Sequence

from asyncjobs.backends.sqs.rows import Row, StoredValue
from asyncjobs.backends.sqs.table import Item, Key, Table

IN_ROW = 250
"""Bytes of a result that stand in the row: each later write of the row costs them again."""
CALL_IN_ROW = 400
"""Bytes of a call that stand in the row: one that is larger would be paid with every write of the row."""
_PART = 350_000


def chunks(value: bytes) -> list[bytes]:
    """Cut a value into parts that fit into an item."""
    return [value[start : start + _PART] for start in range(0, max(1, len(value)), _PART)]


def named(name: str, value: bytes) -> StoredValue:
    """Return how a row names a value that is stored apart."""
    return StoredValue(name, len(chunks(value)), len(value))


def call_items(partition: str, parts: Sequence[bytes]) -> list[tuple[Key, Item]]:
    """Return the items of a call that is stored apart. A call never changes, so they need no name."""
    return [((partition, f"P#{place:04d}"), {"b": part}) for place, part in enumerate(parts)]


async def read_call(table: Table, row: Row) -> bytes | None:
    """Read a call that is stored apart; None if a part of it is missing."""
    return await _join(table, [(row.partition, f"P#{place:04d}") for place in range(row.fixed.call_parts)])


def value_keys(partition: str, stored: StoredValue) -> list[Key]:
    """Return the keys of the parts of a value."""
    return [(partition, f"V#{stored.name}#{place:04d}") for place in range(stored.parts)]


async def store_value(table: Table, partition: str, stored: StoredValue, value: bytes) -> None:
    """Write a value under its name, which no row knows yet."""
    items = zip(value_keys(partition, stored), chunks(value), strict=True)
    await table.put_many([{"pk": pk, "sk": sk, "b": part} for (pk, sk), part in items])


async def read_value(table: Table, row: Row) -> bytes | None:
    """Read the result of a job; None without one."""
    if row.value_at is None:
        return row.value
    return await read_stored(table, row.partition, row.value_at)


async def read_stored(table: Table, partition: str, stored: StoredValue) -> bytes | None:
    """Read a value that is stored apart; None if a part of it is missing."""
    return await _join(table, value_keys(partition, stored))


async def read_values(table: Table, found: Sequence[Row]) -> dict[str, bytes | None]:
    """Read the results of jobs, by id: the small ones together, a large one by calls of its own."""
    apart = {row.id: value_keys(row.partition, row.value_at) for row in found if row.value_at is not None}
    single = {job_id: wanted[0] for job_id, wanted in apart.items() if len(wanted) == 1}
    items = await table.get(list(single.values())) if single else {}
    values: dict[str, bytes | None] = {row.id: row.value for row in found if row.value_at is None}
    values |= {job_id: items[key]["b"] if key in items else None for job_id, key in single.items()}
    for job_id, wanted in apart.items():
        if job_id not in single:
            values[job_id] = await _join(table, wanted)
    return values


async def _join(table: Table, wanted: Sequence[Key]) -> bytes | None:
    items = await table.get(wanted)
    parts = [items[key]["b"] for key in wanted if key in items]
    return b"".join(parts) if len(parts) == len(wanted) else None
