"""Write the decisions of a ``core.plan.Plan`` inside an open transaction: of changed rows, what changes."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import cache
from itertools import product
from operator import add, attrgetter
from typing import Any

from asyncjobs.backends.sqlite.bulk import LARGE, bulk, parts, write_value
from asyncjobs.backends.sqlite.moments import Clocks
from asyncjobs.backends.sqlite.rows import INSERTED_COLUMNS, STATUS_CODE
from asyncjobs.core.plan import Record, Writes
from asyncjobs.core.retry import encode_policy
from asyncjobs.core.state import EndedAttempt, JobState, NewEvent


def write(
    connection: sqlite3.Connection,
    writes: Writes,
    lanes: dict[tuple[str, str, str | None], int],
    clocks: Clocks,
    stored: dict[int, JobState],
) -> None:
    """Write the decisions of a plan.

    :param lanes: the number of each (queue, function, owner).
    :param stored: rows as they are stored, by number; the changed ones are entered.
    """
    if writes.inserted:
        _insert_jobs(connection, writes.inserted, lanes, clocks)
    if writes.new_edges:
        rows = [(e.parent, e.child, e.optional, int(e.state)) for e in writes.new_edges]
        bulk(connection, "INSERT INTO edges(parent, child, optional, state)", "", 4, rows)
    if writes.changed:
        _update_jobs(connection, writes.changed, clocks, stored)
        stored.update((job.n, job) for job in writes.changed)
    if writes.changed_edges:
        bulk(
            connection,
            "UPDATE edges SET state = v.column3 FROM (",
            ") v WHERE edges.parent = v.column1 AND edges.child = v.column2",
            3,
            [(e.parent, e.child, int(e.state)) for e in writes.changed_edges],
        )
    if writes.attempts:
        bulk(
            connection,
            "INSERT OR REPLACE INTO attempts"
            "(job, attempt, worker, started_at, finished_at, kind, error_type, message, traceback)",
            "",
            9,
            [_attempt_row(n, attempt) for n, attempt in writes.attempts],
        )
    if writes.values:
        _insert_results(connection, writes.values)
    for key in dict.fromkeys((*writes.capacities, *writes.in_progress)):
        connection.execute(
            "INSERT INTO limits(key, capacity, in_progress) VALUES (?, ifnull(?, 1), ?) ON CONFLICT(key) "
            "DO UPDATE SET capacity = ifnull(?, capacity), in_progress = in_progress + excluded.in_progress",
            (key, capacity := writes.capacities.get(key), writes.in_progress.get(key, 0), capacity),
        )


_INSERT = f"INSERT INTO jobs({INSERTED_COLUMNS}, lane, parent, timeout, local, created_at"
# Few jobs are gates, or end a duration. For the others these columns are left out, because sqlite3 searches an adapter
# for each NULL that it binds.
_INSERTS = {
    (False, False): (f"{_INSERT})", 27),
    (False, True): (f"{_INSERT}, role)", 28),
    (True, False): (f"{_INSERT}, due, boot)", 29),
    (True, True): (f"{_INSERT}, due, boot, role)", 30),
}
"""The head of the statement and its number of columns, by whether a row ends a duration and whether one is a gate."""
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
)
"""The columns of ``_changed_row`` behind the first."""
_UPDATE_HEAD = f"UPDATE jobs SET {', '.join(f'{name} = v.column{i}' for i, name in enumerate(_CHANGING, start=2))}"


def _update_head(lasts: bool, retried: bool, special: bool) -> tuple[str, int]:
    columns = 15
    parts = [_UPDATE_HEAD] if lasts else [_UPDATE_HEAD, "due = NULL, boot = NULL"]
    for written, (one, two) in (
        (lasts, ("due", "boot")),
        (retried, ("generation", "steps_from")),
        (special, ("role", "parked")),
    ):
        if written:
            parts.append(f"{one} = v.column{columns + 1}, {two} = v.column{columns + 2}")
            columns += 2
    return f"{', '.join(parts)} FROM (", columns


# Few jobs are ever retried by hand, and few are gates or have asked: for the others, these columns are not written.
_HEADS = {flags: _update_head(*flags) for flags in product((False, True), repeat=3)}
"""The head of the statement and its number of columns, by whether a row ends a duration, was retried, has a role."""
_UPDATE_TAIL = ") v WHERE jobs.n = v.column1"
_GENERATION = attrgetter("generation")
_NEW_LASTS = attrgetter("job.lasts")
_NEW_ROLE = attrgetter("job.role")
_LASTS = attrgetter("lasts")
_ROLE = attrgetter("role")


def _insert_results(connection: sqlite3.Connection, values: Sequence[tuple[int, bytes]]) -> None:
    rows = [(n, value if len(value) <= LARGE else b"") for n, value in values]
    bulk(connection, "INSERT OR REPLACE INTO results(n, value)", "", 2, rows)
    for n, value in values:
        if len(value) > LARGE:
            write_value(connection, "results", "value", n, value)


def _insert_jobs(
    connection: sqlite3.Connection,
    records: Sequence[Record],
    lanes: dict[tuple[str, str, str | None], int],
    clocks: Clocks,
) -> None:
    rows = [_job_row(record, lanes) for record in records]
    lasts, special = any(map(_NEW_LASTS, records)), any(map(_NEW_ROLE, records))
    if lasts:
        moments = [clocks.to_columns(record.job.run_at, lasts=record.job.lasts) for record in records]
        rows = list(map(add, rows, moments))
    if special:
        rows = list(map(add, rows, ((record.job.role,) for record in records)))
    head, columns = _INSERTS[lasts, special]
    bulk(connection, head, "", columns, rows)
    calls = [
        (
            record.job.n,
            record.call if len(record.call) <= LARGE else b"",
            record.injects,
            None if record.isolation == "thread" else record.isolation,
            None if record.metadata is None else record.metadata.decode(),
        )
        for record in records
    ]
    bulk(connection, "INSERT INTO calls(n, call, injects, isolation, metadata)", "", 5, calls)
    for record in records:
        if len(record.call) > LARGE:
            write_value(connection, "calls", "call", record.job.n, record.call)


def _update_jobs(
    connection: sqlite3.Connection, jobs: Sequence[JobState], clocks: Clocks, stored: dict[int, JobState]
) -> None:
    """Write what changed: rows that change alike by one statement, the others by one for all columns."""
    alike: dict[tuple[tuple[int, Any], ...], list[int]] = {}
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
    for change, of_a_kind in alike.items():
        if change:
            _update_alike(connection, change, of_a_kind)
    if others:
        _update_whole(connection, others, clocks)


_MOST_KINDS = 8
"""Statements above which rows that change like few others are written together …"""
_FEW = 8
"""… if so many do not change alike."""


def _difference(before: JobState, job: JobState) -> tuple[tuple[int, Any], ...]:
    """Return the columns that change, by their place in ``_CHANGING``, with their new values."""
    pairs = zip(_changed_row(before), _changed_row(job), strict=True)
    return tuple((i - 1, new) for i, (old, new) in enumerate(pairs) if old != new)


@cache
def _set(columns: tuple[int, ...], rows: int) -> str:
    return f"UPDATE jobs SET {', '.join(f'{_CHANGING[i]} = ?' for i in columns)} WHERE n IN ({', '.join('?' * rows)})"


def _update_alike(connection: sqlite3.Connection, change: tuple[tuple[int, Any], ...], numbers: Sequence[int]) -> None:
    columns = tuple(i for i, _ in change)
    values = [value for _, value in change]
    for part in parts(numbers):
        connection.execute(_set(columns, len(part)), (*values, *part))


def _update_whole(connection: sqlite3.Connection, jobs: Sequence[JobState], clocks: Clocks) -> None:
    rows = list(map(_changed_row, jobs))
    lasts, retried, special = any(map(_LASTS, jobs)), any(map(_GENERATION, jobs)), any(map(_ROLE, jobs))
    if lasts:
        rows = list(map(add, rows, (clocks.to_columns(job.run_at, lasts=job.lasts) for job in jobs)))
    if retried:
        rows = list(map(add, rows, ((job.generation, job.steps_from) for job in jobs)))
    if special:
        rows = list(map(add, rows, ((job.role, job.parked) for job in jobs)))
    head, columns = _HEADS[lasts, retried, special]
    bulk(connection, head, _UPDATE_TAIL, columns, rows)


def _changed_row(job: JobState) -> tuple[Any, ...]:
    return (
        job.n,
        STATUS_CODE[job.status],
        job.waits_for,
        job.run_at,
        job.attempt,
        job.failures,
        job.interruptions,
        job.open,
        job.met,
        job.cancel_requested,
        job.worker,
        job.started_at,
        job.finished_at,
        job.because,
        job.seq,
    )


def _job_row(record: Record, lanes: dict[tuple[str, str, str | None], int]) -> tuple[Any, ...]:
    job = record.job
    return (
        job.n,
        job.id,
        STATUS_CODE[job.status],
        job.waits_for,
        job.priority,
        job.run_at,
        job.attempt,
        job.failures,
        job.interruptions,
        job.max_interruptions,
        encode_policy(job.retry),
        job.require,
        job.open,
        job.met,
        job.limit,
        job.cancel_requested,
        job.worker,
        job.started_at,
        job.finished_at,
        job.because,
        job.seq,
        job.group,
        lanes[record.queue, record.function, record.owner],
        record.parent,
        record.timeout,
        record.owner is not None,
        record.created_at,
    )


def _attempt_row(n: int, ended: EndedAttempt) -> tuple[Any, ...]:
    error = ended.error
    return (
        n,
        ended.attempt,
        ended.worker,
        ended.started_at,
        ended.finished_at,
        ended.kind.value,
        error.error_type if error else None,
        error.message if error else None,
        error.traceback_text if error else None,
    )


def write_events(
    connection: sqlite3.Connection,
    events: Sequence[tuple[int, NewEvent]],
    groups: Sequence[str | None],
    data: Sequence[bytes | None],
    position: int,
) -> None:
    """Append events after ``position``, in order."""
    rows = [
        (
            position + i,
            n,
            event.seq,
            event.type,
            event.at,
            event.attempt,
            None if event.status is None else STATUS_CODE[event.status],
            group,
            encoded,
        )
        for i, ((n, event), group, encoded) in enumerate(zip(events, groups, data, strict=True), start=1)
    ]
    bulk(connection, "INSERT INTO events(position, job, seq, type, at, attempt, status, grp, data)", "", 9, rows)
