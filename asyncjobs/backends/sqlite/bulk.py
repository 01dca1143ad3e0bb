"""Write many rows with few statements, and large values without holding the GIL."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import chain
from typing import Any, TypeVar

T = TypeVar("T")

_CHUNK = 256
"""The most rows of a statement."""
_EXACT = 32
"""Up to here a statement has just as many rows as there are. Above, row counts are powers of two, so that a few
statements serve every number."""
LARGE = 1 << 20
"""Bytes above which a value is written in parts …"""
_PART = 1 << 18
"""… of this size."""


@cache
def _statement(head: str, tail: str, columns: int, rows: int) -> str:
    # Cached: the text is long, and sqlite3's statement cache finds the same object without hashing it again.
    row = f"({','.join('?' * columns)})"
    return f"{head} VALUES {','.join([row] * rows)} {tail}"


def parts(rows: Sequence[T]) -> Iterable[Sequence[T]]:
    """Split rows for statements of ``_EXACT`` or fewer, or of a power of two."""
    return (rows,) if 0 < len(rows) <= _EXACT else _many_parts(rows)


def _many_parts(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    start = 0
    left = len(rows)
    while left:
        size = left if left <= _EXACT else min(_CHUNK, 1 << (left.bit_length() - 1))
        yield rows if size == len(rows) else rows[start : start + size]
        start += size
        left -= size


def bulk(connection: sqlite3.Connection, head: str, tail: str, columns: int, rows: Sequence[tuple[Any, ...]]) -> None:
    """Run ``head VALUES (…),(…) tail`` over all rows with few, large statements: each call releases the GIL once."""
    for part in parts(rows):
        values = part[0] if len(part) == 1 else tuple(chain.from_iterable(part))
        connection.execute(_statement(head, tail, columns, len(part)), values)


def write_value(connection: sqlite3.Connection, table: str, column: str, n: int, value: bytes) -> None:
    """Write a large value into row ``n``, part by part.

    A thread that binds a value copies it while it holds the GIL, 1 ms for each MiB, which stalls the event loop.
    """
    connection.execute(f"UPDATE {table} SET {column} = zeroblob(?) WHERE n = ?", (len(value), n))
    parts = memoryview(value)
    with connection.blobopen(table, column, n) as blob:
        for start in range(0, len(parts), _PART):
            blob.write(parts[start : start + _PART])
