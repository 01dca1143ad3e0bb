"""Take numbers of jobs and positions of events: those that follow the highest one that there is, or ever was.

No row counts them. Within a transaction the tables themselves say which number is the last one, and a mark says up to
where rows were deleted: only who deletes writes it. A writing connection remembers the last number that it took
(``ConnectionCache.last``), so between two commits of others it is not even read.
"""

from __future__ import annotations

import sqlite3
from typing import Literal

from asyncjobs.backends.sqlite.connection_cache import ConnectionCache

Kind = Literal["job", "event"]


def _last(kind: Kind, table: str, column: str) -> str:
    # A mark that cannot be read counts as 0.
    return (
        f"max(ifnull((SELECT m.value + 0 FROM marks m WHERE m.name = '{kind}'), 0), "
        f"ifnull((SELECT max(t.{column}) FROM {table} t), 0))"
    )


LAST_JOB = _last("job", "jobs", "n")
"""SQL: the highest number that a job has or had."""
LAST_EVENT = _last("event", "events", "position")
"""SQL: the highest position that an event has or had, the end of the log."""
_LAST: dict[Kind, str] = {"job": LAST_JOB, "event": LAST_EVENT}


def reserve(connection: sqlite3.Connection, cache: ConnectionCache, kind: Kind, count: int) -> int:
    """Take ``count`` numbers, and return the one before the first."""
    last = cache.last.get(kind)
    if last is None:
        last = connection.execute(f"SELECT {_LAST[kind]}").fetchone()[0]
    cache.last[kind] = last + count
    return last


def keep_mark(connection: sqlite3.Connection, kind: Kind) -> None:
    """Keep the numbers there are now from being taken a second time. Call this before rows are deleted."""
    connection.execute(
        f"INSERT INTO marks(name, value) VALUES (?, {_LAST[kind]}) "
        "ON CONFLICT(name) DO UPDATE SET value = excluded.value",
        (kind,),
    )
