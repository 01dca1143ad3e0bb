"""Keep what is too large for a row in items of its own, in parts that an item can hold; what is larger yet in S3.

Such a value belongs to a job: its items stand in the partition of that. One in S3 has a single item, which names the
object.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from secrets import token_hex

from msgspec import Struct

from asyncjobs.backends.sqs.errors import TOO_BIG
from asyncjobs.backends.sqs.rows import IN_TABLE, Row, StoredValue, read_entry
from asyncjobs.backends.sqs.table import Item, Key, Table, Update
from asyncjobs.exceptions import BackendError
from asyncjobs.plurals import counted

IN_ROW = 250
"""Bytes of a result that stand in the row: each later write of the row costs them again."""
CALL_IN_ROW = 400
"""Bytes of a call that stand in the row: one that is larger would be paid with every write of the row."""
VALUE = "V#"
"""What the sort keys of values begin with that get a name of their own. A call never changes, so it needs none."""
OBJECT = "obj"
"""The attribute of an item by which it names an object in S3, where others have the value."""
_CALL = "P"
_PART = 350_000


def chunks(value: bytes) -> list[bytes]:
    """Cut a value into parts that fit into an item."""
    return [value[start : start + _PART] for start in range(0, max(1, len(value)), _PART)]


class Apart(Struct, frozen=True):
    """A value that is stored in a partition before the row that names it is written.

    ``name`` is what the sort keys of its items begin with.
    """

    partition: str
    name: str
    value: bytes

    @property
    def parts(self) -> int:
        """The number of its items."""
        return 1 if self.in_bucket else len(chunks(self.value))

    @property
    def in_bucket(self) -> bool:
        """Whether it is too large for the table."""
        return len(self.value) > IN_TABLE

    @property
    def keys(self) -> list[Key]:
        """The keys of its items."""
        return _keys(self.partition, self.name, self.parts)

    @property
    def stored(self) -> StoredValue:
        """How a row names it."""
        return StoredValue(self.name.removeprefix(VALUE), self.parts, len(self.value))

    def updates(self) -> list[Update]:
        """Return its items, for a transaction. One in S3 has none that could be written so."""
        parts = zip(self.keys, chunks(self.value), strict=True)
        return [Update(key, new=True, replace=True, set={"b": part}) for key, part in parts]


def apart(partition: str, value: bytes) -> Apart:
    """Return a value to be stored, under a new name."""
    return Apart(partition, VALUE + token_hex(6), value)


def call_apart(partition: str, call: bytes) -> Apart:
    """Return a call to be stored."""
    return Apart(partition, _CALL, call)


def value_keys(partition: str, stored: StoredValue) -> list[Key]:
    """Return the keys of the parts of a value."""
    return _keys(partition, VALUE + stored.name, stored.parts)


def _keys(partition: str, name: str, parts: int) -> list[Key]:
    return [(partition, f"{name}#{place:04d}") for place in range(parts)]


# -- writing


def check(table: Table, value: bytes) -> None:
    """Make sure that a value can be stored, before anything of what it belongs to is.

    :raises BackendError: it is too large for the table, and no bucket is named.
    """
    if len(value) > IN_TABLE and not table.bucket.named:
        raise too_big(len(value))


def too_big(size: int) -> BackendError:
    """Return the error about a value that is too large for the table, where no bucket is named."""
    error = BackendError(
        f"a value has {counted(size, 'byte')}; the DynamoDB table takes {IN_TABLE:,}",
        hint="name an S3 bucket for larger values: SQSConfig(bucket=…)",
    )
    error.code = TOO_BIG
    return error


async def store(table: Table, value: Apart) -> None:
    """Write a value, which no row knows yet."""
    check(table, value.value)
    if not value.in_bucket:
        parts = zip(value.keys, chunks(value.value), strict=True)
        await table.put_many([{"pk": pk, "sk": sk, "b": part} for (pk, sk), part in parts])
        return
    ((pk, sk),) = value.keys
    place = table.bucket.place(value.partition, value.name.removeprefix(VALUE))
    await table.put_many([{"pk": pk, "sk": sk, OBJECT: place}])
    await table.bucket.put(place, value.value)


# -- reading


async def read_call(table: Table, row: Row) -> bytes | None:
    """Read a call that is stored apart; None if a part of it is missing."""
    return await _join(table, _keys(row.partition, _CALL, row.fixed.call_parts))


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
    for job_id, wanted in apart.items():
        if job_id not in single:
            values[job_id] = await _join(table, wanted)
        else:
            values[job_id] = await _content(table, items.get(wanted[0]))
    return values


async def _join(table: Table, wanted: Sequence[Key]) -> bytes | None:
    items = await table.get(wanted)
    if len(wanted) == 1:
        return await _content(table, items.get(wanted[0]))
    parts = [items[key]["b"] for key in wanted if key in items]
    return b"".join(parts) if len(parts) == len(wanted) else None


async def _content(table: Table, item: Item | None) -> bytes | None:
    """Return the value of which this is the only item."""
    if item is None or OBJECT not in item:
        return None if item is None else item["b"]
    return await table.bucket.get(item[OBJECT])


# -- deleting


async def drop(table: Table, partition: str, values: Sequence[StoredValue]) -> None:
    """Delete values of a job that nothing names any more. An object that cannot be deleted goes with the job."""
    large = [key for stored in values if stored.in_bucket for key in value_keys(partition, stored)]
    if large:
        await discard(table, list((await table.get(large)).values()))
    await table.delete_many([key for stored in values if not stored.in_bucket for key in value_keys(partition, stored)])


async def discard(table: Table, items: Sequence[Item]) -> bool:
    """Delete items, with the objects that they name; return False if some stay, since S3 cannot be reached."""
    places = [item[OBJECT] for item in items if OBJECT in item]
    gone = not places or await table.bucket.delete(places)
    await table.delete_many([(item["pk"], item["sk"]) for item in items if gone or OBJECT not in item])
    return gone


def named_by(row: Row) -> Iterator[StoredValue]:
    """Return where the values stand that a row names: its result, and the data of its events."""
    if row.value_at is not None:
        yield row.value_at
    for packed in row.log:
        try:
            entry = read_entry(packed)
        except Exception:  # border: whatever is stored there names nothing that can be found
            continue
        if entry.data_at is not None:
            yield entry.data_at
