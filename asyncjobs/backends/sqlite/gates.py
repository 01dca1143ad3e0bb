"""Read and write the table ``gates``: what gates have beside their hot rows, as ``core.state.GateState``.

Only the hot row has the deadline of a gate (``run_at``), and whether it is open (``waits_for = 4``). Its question is
stored as its call. If a row of ``gates`` is damaged or lost, the hot row still has what matters: asker and timeout.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from msgspec import json
from msgspec.structs import astuple, replace

from asyncjobs.backends.gate_store import DUE_AT_ONCE
from asyncjobs.backends.sqlite.bulk import bulk
from asyncjobs.backends.sqlite.rows import INT, MAYBE_INT, MAYBE_TEXT
from asyncjobs.backends.unreadable import Shape, mark, unreadable_job
from asyncjobs.core.state import SECOND, GateState

_LAST = 253_402_300_799_999_999
"""The last moment that can be shown, in the year 9999."""
_LONGEST = 200_000_000_000_000_000
"""µs of the longest timeout that is accepted from a row, so that its end can be shown."""
NO_DEADLINE = unreadable_job(mark(["deadline"]))
"""The reason for failing an open gate whose deadline cannot be read: it would wait forever."""

STATES = """
SELECT j.parent, j.timeout, j.n, g.timeout, g.asker, g.generation, g.opened_at, g.answered_at, g.answered_by, g.reason
FROM json_each(?) k CROSS JOIN jobs j ON j.n = k.value LEFT JOIN gates g ON g.n = j.n
WHERE g.n IS NOT NULL OR j.role = 1"""
OPEN = """
SELECT j.n FROM json_each(?) k CROSS JOIN jobs j INDEXED BY jobs_answer_parent ON j.parent = k.value
LEFT JOIN gates g ON g.n = j.n
WHERE j.waits_for = 4 AND (g.asker IS NOT NULL OR (g.n IS NULL AND j.role = 1)) ORDER BY j.n"""
# Text, which cannot be read, is greater than every number. A parked job waits for an answer, too, but has no deadline.
_SOME = (
    "SELECT n FROM jobs INDEXED BY jobs_deadline "
    f"WHERE waits_for = 4 AND parked IS NULL AND run_at {{}} LIMIT {DUE_AT_ONCE}"
)
DUE = f"""
SELECT n FROM ({_SOME.format("BETWEEN 0 AND ? ORDER BY run_at, n")})
UNION ALL SELECT n FROM ({_SOME.format(f"> {_LAST}")})
UNION ALL SELECT n FROM ({_SOME.format("< 0")}) LIMIT {DUE_AT_ONCE}"""
_NAMED = "SELECT j.id, j.n, j.created_at FROM json_each(?) k CROSS JOIN jobs j ON j.id = k.value"
_WRITE = "INSERT OR REPLACE INTO gates(n, timeout, asker, generation, opened_at, answered_at, answered_by, reason)"

_SHAPE = Shape(
    ("n", INT, 0),
    ("timeout", MAYBE_INT, None),
    ("asker", MAYBE_INT, None),
    ("generation", INT, 0),
    ("opened_at", MAYBE_INT, None),
    ("answered_at", MAYBE_INT, None),
    ("answered_by", MAYBE_TEXT, "?"),
    ("reason", MAYBE_TEXT, "?"),
)


def state_from_row(row: Sequence[Any]) -> GateState:
    """Make a state of a row of ``STATES``; what cannot be read has stand-ins."""
    parent, seconds, *columns = row
    _, timeout, asker, generation, _, answered_at, *_ = columns
    if _SHAPE.fits(columns) and _is_timeout(timeout) and (answered_at is None or is_moment(answered_at)):
        return GateState(*columns)
    values, _ = _SHAPE.mend(columns, ())
    lost = generation is None
    if lost or not isinstance(asker, int | None):
        asker = parent if isinstance(parent, int) else None
    if lost or not _is_timeout(timeout):
        timeout = _timeout(seconds)
    answered_at = answered_at if is_moment(answered_at) else None
    return replace(GateState(*values), timeout=timeout, asker=asker, answered_at=answered_at)


def is_moment(value: object) -> bool:
    """Return whether this is a moment that can be shown."""
    return isinstance(value, int) and 0 <= value <= _LAST


def _is_timeout(value: object) -> bool:
    return value is None or (isinstance(value, int) and 0 <= value <= _LONGEST)


def _timeout(seconds: object) -> int | None:
    """Return the timeout that the job's own row has; none at all if it cannot be read either."""
    if seconds is None:
        return None
    return round(seconds * SECOND) if isinstance(seconds, float) and 0 < seconds <= _LONGEST / SECOND else 0


def find(connection: sqlite3.Connection, ids: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Look up the number of each id, and when its job was submitted (0 if that cannot be read, as users see it)."""
    rows = connection.execute(_NAMED, (json.encode(list(map(str.__str__, ids))).decode(),)).fetchall()
    return {job_id: (n, created_at if is_moment(created_at) else 0) for job_id, n, created_at in rows}


def write(connection: sqlite3.Connection, gates: Sequence[GateState]) -> None:
    """Write what gates have beside their rows."""
    bulk(connection, _WRITE, "", 8, list(map(astuple, gates)))
