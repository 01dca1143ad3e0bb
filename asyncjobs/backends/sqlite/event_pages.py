"""Read pages of the event log. A cursor is a position of the log, and positions have no gaps but those of pruning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from asyncjobs.backends.sqlite.numbers import LAST_EVENT
from asyncjobs.backends.sqlite.rows import INT, MAYBE_BLOB, MAYBE_INT, MAYBE_TEXT, STATUS_OF, TEXT
from asyncjobs.backends.unreadable import Reader, Shape, marked_data, read_event_data
from asyncjobs.clock import to_datetime
from asyncjobs.exceptions import ConfigurationError
from asyncjobs.models import EventPage, JobEvent

_LARGEST = 2**63 - 1


def position(cursor: object) -> int:
    """Return the position that a cursor stands for; None is the beginning.

    :raises ConfigurationError: it is not a cursor.
    """
    if cursor is None:
        return 0
    # isascii: "²" is a digit to isdigit() but not to int().
    if isinstance(cursor, str) and cursor.isascii() and cursor.isdigit() and len(cursor) <= 19:
        number = int(cursor)
        if number <= _LARGEST:
            return number
    raise _no_cursor(cursor)


def _no_cursor(cursor: object) -> ConfigurationError:
    return ConfigurationError(
        "after",
        cursor,
        problem=f"{cursor!r} is not a cursor of this store's event log",
        hint="pass the cursor of an event or a page, or None to begin at the first event",
    )


def page_statement(after: int, limit: int, job_id: str | None, group: str | None) -> tuple[str, list[Any]]:
    """Return the statement and its parameters; it reads one event more than ``limit`` if there is one.

    Its first columns are the end of the log in the same snapshot, and the highest position that was pruned, in a row of
    their own if no event matches. So the cursor can move on past what the filters left out, and skips nothing that is
    committed later. Events of a removed job that are not deleted yet are left out, too.
    """
    params: list[Any]
    if job_id is not None:
        # Walk by (job, seq), in which the position rises as well. The event at the cursor, if it is this job's, has the
        # seq to continue from. The unary plus keeps SQLite from walking the log itself.
        where = (
            "e.job = (SELECT i.n FROM jobs i WHERE i.id = ?) AND e.seq > ifnull((SELECT b.seq FROM events b "
            "WHERE b.position = ? AND b.job = (SELECT i.n FROM jobs i WHERE i.id = ?)), 0) AND +e.position > ?"
        )
        params = [job_id, after, job_id, after]
        order = "e.seq"
        if group is not None:
            where += " AND +e.grp = ?"
            params.append(group)
    elif group is not None:
        where, params, order = "e.grp = ? AND e.position > ?", [group, after], "e.position"
    else:
        where, params, order = "e.position > ?", [after], "e.position"
    return (
        f"""
SELECT {LAST_EVENT}, (SELECT m.value FROM marks m WHERE m.name = 'pruned'),
  p.position, p.id, p.seq, p.type, p.at, p.attempt, p.status, p.grp, p.data
FROM (SELECT 1)
LEFT JOIN (
  SELECT e.position, j.id, e.seq, e.type, e.at, e.attempt, e.status, e.grp, e.data
  FROM events e CROSS JOIN jobs j ON j.n = e.job WHERE {where} ORDER BY {order} LIMIT ?
) p
ORDER BY p.position""",
        [*params, limit + 1],
    )


def page_from_rows(rows: Sequence[tuple[Any, ...]], after: int, limit: int, *, resumed: bool) -> EventPage:
    """Make a page of the rows of ``page_statement``.

    :param resumed: False if the caller began at the start of the log.
    :raises ConfigurationError: ``after`` lies beyond the end of the log, so it is a cursor of another store.
    """
    end_of_log: int = rows[0][0]
    pruned: int | None = rows[0][1]
    if after > end_of_log:
        raise _no_cursor(str(after))
    events = [_event(row) for row in rows[:limit] if row[2] is not None]
    lost = resumed and after < (pruned or 0)
    if len(rows) > limit:
        return EventPage(events, events[-1].cursor, end=False, lost=lost)
    return EventPage(events, str(end_of_log), end=True, lost=lost)


def _event(row: tuple[Any, ...]) -> JobEvent:
    fields = row[2:]
    if _SHAPE.fits(fields):
        try:
            return _read(fields)
        except Exception:  # border: the row may hold anything; the fault is found again below, with its name
            pass
    values, problems = _SHAPE.mend(fields, _READERS)
    return replace(_read(values), data=marked_data(problems))


def _read(fields: Sequence[Any]) -> JobEvent:
    at_position, job_id, seq, kind, at, attempt, status, group, data = fields
    return JobEvent(
        str(at_position),
        job_id,
        seq,
        kind,
        to_datetime(at),
        attempt,
        None if status is None else STATUS_OF[status],
        group,
        {} if data is None else read_event_data(data),
    )


_SHAPE = Shape(
    ("position", INT, 0),
    ("job", TEXT, "?"),
    ("seq", INT, 0),
    ("type", TEXT, "?"),
    ("at", INT, 0),
    ("attempt", INT, 0),
    ("status", MAYBE_INT, None),
    ("group", MAYBE_TEXT, None),
    ("event data", MAYBE_BLOB, None),
)
_READERS: tuple[Reader, ...] = (
    (4, to_datetime, 0),
    (6, STATUS_OF.__getitem__, None),
    (8, read_event_data, None),
)
