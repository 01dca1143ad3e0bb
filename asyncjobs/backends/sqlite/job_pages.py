"""Translate a ``JobQuery`` into SQL that selects the job numbers of a page.

Pages go by number, so that they stay right while jobs come and go. One of the given fields leads (ids, else parent,
else group, else status): its index finds the jobs, which the other fields only filter. Jobs that wait for an answer
have indexes of their own, by parent, by group, and alone. Without a leading field, the jobs are walked in order of
submission until the page is full.

Metadata have no index, and comparing those of a job costs about 40 times as much as another filter. So a page of a
query with metadata examines ``LOOKED_AT`` of the jobs that the leading field finds, and may be short (ADR 42). A first
statement returns the number of the last of them, by the index alone; up to that number, a second one reads the page.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from asyncjobs.backends.sqlite import metadata_match
from asyncjobs.backends.sqlite.ids import worker_number
from asyncjobs.backends.sqlite.job_rows import select_jobs
from asyncjobs.backends.sqlite.rows import STATUS_CODE, STATUSES
from asyncjobs.checks import encodable
from asyncjobs.clock import from_datetime
from asyncjobs.exceptions import ConfigurationError
from asyncjobs.models import JobStatus, WaitsFor
from asyncjobs.requests import JobQuery

LOOKED_AT = 10_000
"""The most jobs whose metadata a page examines: it then ends early, with a cursor."""
_LARGEST = 2**63 - 1
_WAITS = f"j.waits_for = {int(WaitsFor.ANSWER)}"

Terms = list[tuple[str, tuple[Any, ...]]]
"""Conditions with their parameters, joined by AND."""


def page_statement(query: JobQuery, until: int | None = None) -> tuple[str, list[Any]]:
    """Return the statement and its parameters; it reads one row more than ``query.limit`` if there is a next page.

    :param until: the last number to examine. Default: the last one that there is.
    :raises ConfigurationError: a field of the query has an impossible value.
    """
    filters = _filters(query)
    if until is not None:
        filters = [(f"j.n {'<=' if query.order == 'oldest' else '>='} ?", (until,)), *filters]
    source, params = _numbers(query, filters, query.limit + 1)
    return select_jobs(source, f"j.n {_direction(query)}"), params


def last_examined_statement(query: JobQuery) -> tuple[str, list[Any]] | None:
    """Return the statement for the number of the last job that a page may examine: NULL if it may examine all.

    :returns: also its parameters; None for a query whose pages are never short.
    :raises ConfigurationError: as ``page_statement``.
    """
    if not query.metadata or query.ids is not None:
        return None
    source, params = _numbers(query, [], LOOKED_AT)
    last = "max" if query.order == "oldest" else "min"
    return f"SELECT CASE WHEN count(*) = {LOOKED_AT} THEN {last}(n) END FROM ({source})", params


def _numbers(query: JobQuery, filters: Terms, most: int) -> tuple[str, list[Any]]:
    """Return the query for the first numbers that the leading field finds and the filters let through, in order."""
    direction, beyond = _direction(query), ">" if query.order == "oldest" else "<"
    start = (0 if beyond == ">" else _LARGEST) if query.cursor is None else _cursor(query.cursor)
    params: list[Any] = []
    arms: list[str] = []
    for lead in _arms(query, beyond, start):
        terms = [*lead, *filters]
        condition = " AND ".join(text for text, _ in terms)
        arms.append(f"SELECT j.n FROM jobs j{_index(query)} WHERE {condition} ORDER BY j.n {direction} LIMIT ?")
        for _, values in terms:
            params.extend(values)
        params.append(most)
    if len(arms) == 1:
        return arms[0], params
    parts = " UNION ALL ".join(f"SELECT n FROM ({arm})" for arm in arms)
    return f"SELECT n FROM ({parts}) ORDER BY n {direction} LIMIT ?", [*params, most]


def _direction(query: JobQuery) -> str:
    if query.order not in ("oldest", "newest"):
        raise ConfigurationError("JobQuery.order", query.order, allowed="'oldest' or 'newest'")
    return "ASC" if query.order == "oldest" else "DESC"


def _index(query: JobQuery) -> str:
    """Name the index to use where several would serve, one of which has only jobs that wait for an answer."""
    if query.waits_for is None or query.ids is not None:
        return ""
    if query.parent_id is not None:
        return " INDEXED BY jobs_answer_parent"
    return " INDEXED BY jobs_answer" if query.group is None else " INDEXED BY jobs_answer_group"


def _cursor(cursor: object) -> int:
    # isascii: "²" is a digit to isdigit() but not to int().
    if isinstance(cursor, str) and cursor.isascii() and cursor.isdigit() and len(cursor) <= 19:
        number = int(cursor)
        if number <= _LARGEST:
            return number
    raise ConfigurationError(
        "JobQuery.cursor",
        cursor,
        problem=f"JobQuery.cursor {cursor!r} is not a cursor of a page of jobs",
        hint="pass the 'next' of the page before, with the same query",
    )


def _arms(query: JobQuery, beyond: str, start: int) -> list[Terms]:
    """Return the parts that together select by the leading field, each in order of n through an index if possible."""
    statuses = _statuses(query.status)
    after = (f"j.n {beyond} ?", (start,))
    # A unary plus keeps SQLite from using the index of a column: the leading one is chosen here.
    after_filter = (f"+j.n {beyond} ?", (start,))
    by_status = [] if statuses is None else [(f"+j.status IN ({', '.join(map(str, statuses))})", ())]
    by_group = [] if query.group is None else [("+j.grp = ?", (query.group,))]
    by_parent = (
        [] if query.parent_id is None else [("j.parent = (SELECT i.n FROM jobs i WHERE i.id = ?)", (query.parent_id,))]
    )
    if query.ids is not None:
        ids = ("j.id IN (SELECT k.value FROM json_each(?) k)", (ids_as_json(query.ids),))
        as_filter = [(f"+{text}", values) for text, values in by_parent]
        waits = [] if query.waits_for is None else [(f"+{_WAITS}", ())]
        return [[ids, after_filter, *as_filter, *waits, *by_group, *by_status]]
    if query.waits_for is not None:
        lead = [*by_parent, *by_group] if by_parent or query.group is None else [("j.grp = ?", (query.group,))]
        return [[(_WAITS, ()), *lead, after, *by_status]]
    if query.parent_id is not None:
        return [[*by_parent, after, *by_group, *by_status]]
    # Two indexes go by (group, status, n) and (status, n): one ordered part for each status, instead of sorting all.
    if query.group is not None:
        in_group = ("j.grp = ?", (query.group,))
        codes = range(len(STATUSES)) if statuses is None else statuses
        return [[in_group, (f"j.status = {code}", ()), after] for code in codes]
    if statuses is not None:
        return [[(f"j.status = {code}", ()), after] for code in statuses]
    return [[after]]


def _statuses(status: JobStatus | Sequence[JobStatus] | None) -> list[int] | None:
    if status is None:
        return None
    given = [status] if isinstance(status, str) else list(status)
    try:
        # No job has the code -1: an empty list of statuses matches nothing.
        return sorted({STATUS_CODE[JobStatus(entry)] for entry in given}) or [-1]
    except ValueError:
        raise ConfigurationError("JobQuery.status", status, allowed=", ".join(STATUSES)) from None


def _filters(query: JobQuery) -> Terms:
    terms: Terms = []
    lanes: Terms = []
    if query.queue is not None:
        lanes.append(("l.queue = ?", (query.queue,)))
    if query.function is not None:
        lanes.append(("l.function = ?", (query.function,)))
    if lanes:
        condition = " AND ".join(text for text, _ in lanes)
        values = tuple(value for _, part in lanes for value in part)
        terms.append((f"+j.lane IN (SELECT l.n FROM lanes l WHERE {condition})", values))
    if query.worker_id is not None:
        terms.append(("+j.worker = ?", (worker_number(query.worker_id),)))
    if query.created_after is not None:
        terms.append(("j.created_at > ?", (_moment("created_after", query.created_after),)))
    if query.created_before is not None:
        terms.append(("j.created_at < ?", (_moment("created_before", query.created_before),)))
    if query.metadata:
        terms.append((metadata_match.CONDITION, (metadata_match.encode(query.metadata),)))
    return terms


def _moment(field: str, moment: object) -> int:
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise ConfigurationError(
            f"JobQuery.{field}", moment, allowed="a datetime with a time zone", hint="datetime.now(UTC), for example"
        )
    return from_datetime(moment)


def ids_as_json(ids: Sequence[str]) -> str:
    """Encode ids for ``json_each``, without strings that cannot be stored ids (lone surrogates, NUL)."""
    try:
        return msgspec.json.encode([str.__str__(job_id) for job_id in ids if "\0" not in job_id]).decode()
    except UnicodeEncodeError:
        return ids_as_json([job_id for job_id in ids if encodable(job_id)])
