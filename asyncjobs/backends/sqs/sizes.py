"""Keep items within what DynamoDB takes, and say what is too large before anything is stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asyncjobs.backends.sqs.errors import TOO_BIG
from asyncjobs.backends.sqs.rows import Row
from asyncjobs.backends.sqs.table import size_of
from asyncjobs.core.requests import NewJob
from asyncjobs.core.retry import encode_policy
from asyncjobs.exceptions import BackendError
from asyncjobs.plurals import counted

LARGEST_ITEM = 400 << 10
"""Bytes of an item, with the names of its attributes."""
_ROOM = 24 << 10
"""Bytes by which a row may grow after its submission: its worker, its last events and progress, how it ended, the
reason for which a gate is rejected."""
LARGEST_ROW = LARGEST_ITEM - _ROOM
"""Bytes of a row when it is submitted: every later change of it has room then."""

MOST_DEPENDENCIES = 5000
"""Of one job: their states stand in its row, and settling them one by one costs as many writes of that."""


def item_size(item: Mapping[str, Any]) -> int:
    """Return the bytes of an item, by the rules of DynamoDB."""
    return sum(len(name.encode()) + _size(value) for name, value in item.items())


def _size(value: Any) -> int:
    match value:
        case bool():
            return 1
        case str():
            return len(value.encode())
        case bytes():
            return len(value)
        case int():
            digits = str(abs(value)).strip("0") or "0"
            return 1 + (len(digits) + 1) // 2 + (value < 0)
        case list() | tuple():
            elements: list[Any] = [*value]
            return 3 + sum(1 + _size(element) for element in elements)
        case dict():
            return 3 + item_size(value) + len(value)  # pyright: ignore[reportUnknownArgumentType] - any attributes
        case _:
            raise TypeError(f"no attribute holds a {type(value).__name__}")


def check_row(row: Row, item: Mapping[str, Any]) -> None:
    """Make sure that a new row fits into the table, now and whatever becomes of it.

    :param item: its attributes.
    :raises BackendError: it does not; the error names what is large of it.
    """
    if size_of(item) <= LARGEST_ROW // 2:  # which is quick, and leaves out the names
        return
    size = item_size(item)
    if size <= LARGEST_ROW:
        return
    parts = {
        "metadata": len(row.fixed.metadata or b""),
        "retry policy": len(encode_policy(row.state.retry) or b""),
        "list of dependencies": _size(row.edges),
    }
    name = max(parts, key=lambda name: parts[name])
    error = BackendError(
        f"job {row.id!r} is too large: its {name} has {counted(parts[name], 'byte')}, all of its row {size:,}; "
        f"the DynamoDB table takes {LARGEST_ROW:,}",
        hint="pass large data as arguments, or store them elsewhere and pass where they are",
    )
    error.code = TOO_BIG
    raise error


def check_dependencies(job: NewJob) -> None:
    """Make sure that a job does not depend on more jobs than the row of one can name.

    :raises BackendError: it does; nothing was read or stored.
    """
    count = len({dependency.parent_id for dependency in job.dependencies})
    if count <= MOST_DEPENDENCIES:
        return
    error = BackendError(
        f"job {job.id!r} depends on {counted(count, 'job')}; the SQS store takes {MOST_DEPENDENCIES:,}, "
        "and nothing was stored",
        hint="let jobs in between depend on some of them each, and this one on those",
    )
    error.code = TOO_BIG
    raise error
