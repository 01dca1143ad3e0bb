"""Update the rows of jobs with what a plan has changed, and store results: in the row, if they are small."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import chain, product
from operator import add, attrgetter
from typing import Any

from asyncjobs.backends.sqlite.bulk import LARGE, bulk, parts, write_value
from asyncjobs.backends.sqlite.moments import Clocks
from asyncjobs.backends.sqlite.payloads import SMALL
from asyncjobs.backends.sqlite.rows import STATUS_CODE
from asyncjobs.core.state import JobState

_CHANGING = (
    "status",
    "waits_for",
    "run_at",
    "attempt",
    "failures",
    "interruptions",
    "open",
    "met",
    "cancel_requested",
    "worker",
    "started_at",
    "finished_at",
    "because",
    "seq",
    "result",
)
"""The columns of ``_changed_row`` behind the first, and the result."""
_RESULT = _CHANGING.index("result")
_STATUS = _CHANGING.index("status")
_VALUES = attrgetter(*_CHANGING[:-1])
_UPDATE_HEAD = f"UPDATE jobs SET {', '.join(f'{name} = v.column{i}' for i, name in enumerate(_CHANGING[:-1], start=2))}"


def _update_head(lasts: bool, retried: bool, special: bool) -> tuple[str, int]:
    count = 15
    parts = [_UPDATE_HEAD] if lasts else [_UPDATE_HEAD, "due = NULL, boot = NULL"]
    for written, (one, two) in (
        (lasts, ("due", "boot")),
        (retried, ("generation", "steps_from")),
        (special, ("role", "parked")),
    ):
        if written:
            parts.append(f"{one} = v.column{count + 1}, {two} = v.column{count + 2}")
            count += 2
    return f"{', '.join(parts)} FROM (", count


# Few jobs are ever retried by hand, and few are gates or have asked: for the others, these columns are not written.
_HEADS = {flags: _update_head(*flags) for flags in product((False, True), repeat=3)}
"""The head of the statement and its number of columns, by whether a row ends a duration, was retried, has a role."""
_UPDATE_TAIL = ") v WHERE jobs.n = v.column1"
_GENERATION = attrgetter("generation")
_LASTS = attrgetter("lasts")
_ROLE = attrgetter("role")
_MOST_KINDS = 8
"""Statements above which rows that change like few others are written together …"""
_FEW = 8
"""… if so many do not change alike."""

Change = tuple[tuple[int, Any], ...]
"""Columns by their place in ``_CHANGING``, in this order, with their new values."""


def columns(*names: str) -> tuple[int, ...]:
    """Return the places of these columns, which are given in their order."""
    return tuple(map(_CHANGING.index, names))


def update_jobs(
    connection: sqlite3.Connection,
    jobs: Sequence[JobState],
    results: Sequence[tuple[int, bytes]],
    clocks: Clocks,
    stored: Mapping[int, JobState],
) -> None:
    """Write what changed: rows that change alike by one statement, the others by one for all columns.

    :param results: of which jobs (by number) with which value. A job that ends is written once, with its result.
    :param stored: rows as they are stored, by number.
    """
    small = {n: value for n, value in results if len(value) <= SMALL}
    alike, others = _sorted_out(jobs, stored)
    for change, of_a_kind in alike.items():
        if change:
            changing, values = zip(*change, strict=True)
            update_alike(connection, changing, values, of_a_kind, [small.pop(n, None) for n in of_a_kind])
    if others:
        _update_whole(connection, others, clocks)
    if small:
        bulk(connection, "UPDATE jobs SET result = v.column2 FROM (", _UPDATE_TAIL, 2, list(small.items()))
    large = [(n, value) for n, value in results if len(value) > SMALL]
    if large:
        _insert_results(connection, large)


def _sorted_out(
    jobs: Sequence[JobState], stored: Mapping[int, JobState]
) -> tuple[dict[Change, list[int]], list[JobState]]:
    """Return the numbers of rows that change alike, by their change, and the rows to write as a whole."""
    alike: dict[Change, list[int]] = {}
    others: list[JobState] = []
    for job in jobs:
        before = stored.get(job.n)
        if before is None or before.unreadable is not None or job.lasts or before.lasts or job.role or job.generation:
            others.append(job)  # also a row that cannot be read: all of it is written
        else:
            alike.setdefault(_difference(before, job), []).append(job.n)
    if len(alike) > _MOST_KINDS:
        numbers = {n for of_a_kind in alike.values() if len(of_a_kind) < _FEW for n in of_a_kind}
        alike = {change: of_a_kind for change, of_a_kind in alike.items() if len(of_a_kind) >= _FEW}
        others += [job for job in jobs if job.n in numbers]
    return alike, others


def _difference(before: JobState, job: JobState) -> Change:
    old, new = _VALUES(before), _VALUES(job)
    change = [(i, value) for i, value in enumerate(new) if value != old[i]]
    if change and change[0][0] == _STATUS:
        change[0] = _STATUS, STATUS_CODE[job.status]
    return tuple(change)


def update_alike(
    connection: sqlite3.Connection,
    changing: tuple[int, ...],
    values: tuple[Any, ...],
    numbers: Sequence[int],
    results: Sequence[bytes | None],
) -> None:
    """Set these columns of the rows of some jobs to the same values, as they are stored.

    :param changing: the columns: see ``columns``.
    :param results: for each job its result, at most ``SMALL``; None leaves what there is.
    """
    distinct = set(results)
    if len(distinct) > 1:
        _update_with_results(connection, changing, values, numbers, results)
        return
    if None not in distinct:
        changing, values = (*changing, _RESULT), (*values, results[0])
    for part in parts(numbers):
        connection.execute(_set(changing, len(part)), (*values, *part))


@cache
def _set(changing: tuple[int, ...], rows: int) -> str:
    return f"UPDATE jobs SET {', '.join(f'{_CHANGING[i]} = ?' for i in changing)} WHERE n IN ({', '.join('?' * rows)})"


def _update_with_results(
    connection: sqlite3.Connection,
    changing: tuple[int, ...],
    values: tuple[Any, ...],
    numbers: Sequence[int],
    results: Sequence[bytes | None],
) -> None:
    for part in parts(list(zip(numbers, results, strict=True))):
        connection.execute(_set_with_results(changing, len(part)), (*values, *chain.from_iterable(part)))


@cache
def _set_with_results(changing: tuple[int, ...], rows: int) -> str:
    written = ", ".join(f"{_CHANGING[i]} = ?" for i in changing)
    return (
        f"UPDATE jobs SET {written}, result = ifnull(v.column2, result) "
        f"FROM (VALUES {', '.join(['(?, ?)'] * rows)}{_UPDATE_TAIL}"
    )


def _update_whole(connection: sqlite3.Connection, jobs: Sequence[JobState], clocks: Clocks) -> None:
    rows = list(map(_changed_row, jobs))
    lasts, retried, special = any(map(_LASTS, jobs)), any(map(_GENERATION, jobs)), any(map(_ROLE, jobs))
    if lasts:
        rows = list(map(add, rows, (clocks.to_columns(job.run_at, lasts=job.lasts) for job in jobs)))
    if retried:
        rows = list(map(add, rows, ((job.generation, job.steps_from) for job in jobs)))
    if special:
        rows = list(map(add, rows, ((job.role, job.parked) for job in jobs)))
    head, count = _HEADS[lasts, retried, special]
    bulk(connection, head, _UPDATE_TAIL, count, rows)


def _changed_row(job: JobState) -> tuple[Any, ...]:
    status, *others = _VALUES(job)
    return (job.n, STATUS_CODE[status], *others)


def _insert_results(connection: sqlite3.Connection, values: Sequence[tuple[int, bytes]]) -> None:
    rows = [(n, value if len(value) <= LARGE else b"") for n, value in values]
    bulk(connection, "INSERT OR REPLACE INTO results_apart(n, value)", "", 2, rows)
    for n, value in values:
        if len(value) > LARGE:
            write_value(connection, "results_apart", "value", n, value)
    # A question that is asked again may have a small answer in its row, which would be read instead.
    for part in parts([n for n, _ in values]):
        connection.execute(_forget_small(len(part)), part)


@cache
def _forget_small(rows: int) -> str:
    return f"UPDATE jobs SET result = NULL WHERE n IN ({', '.join('?' * rows)}) AND result IS NOT NULL"
