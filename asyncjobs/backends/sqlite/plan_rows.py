"""Read the rows of an open transaction for a ``core.plan.Plan``, and write the decisions of the plan."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import product
from operator import add, attrgetter
from typing import Any

from msgspec import json
from msgspec.structs import replace

from asyncjobs.backends.sqlite import gates
from asyncjobs.backends.sqlite.bulk import LARGE, bulk, parts, write_value
from asyncjobs.backends.sqlite.connection_cache import ConnectionCache
from asyncjobs.backends.sqlite.moments import Clocks
from asyncjobs.backends.sqlite.operations import INLINE_BYTES
from asyncjobs.backends.sqlite.rows import INSERTED_COLUMNS, STATE_COLUMNS, STATUS_CODE, UNREADABLE_SEQ, state_from_row
from asyncjobs.core.plan import Record, Writes
from asyncjobs.core.retry import encode_policy
from asyncjobs.core.state import EdgeRow, EndedAttempt, GateState, JobState, NewEvent, Role
from asyncjobs.models import EdgeState

_EDGE_STATES = {int(state): state for state in EdgeState}
_JOBS = f"SELECT {STATE_COLUMNS}, lane FROM jobs WHERE n IN (SELECT value FROM json_each(?))"
_ONE_JOB = f"SELECT {STATE_COLUMNS}, lane FROM jobs WHERE n = ?"
_ANY = 1 << 31


class TooManyRowsError(Exception):
    """A transaction would read more rows than its caller allows."""


class Rows:
    """``core.plan.View`` on a connection inside BEGIN IMMEDIATE.

    :param cache: what need not be read.
    :param most: rows that may be read; more raise ``TooManyRowsError``. Most rows that are read are changed and
        written, so this bounds the transaction before it has cost much. Default: no bound.
    """

    def __init__(
        self, connection: sqlite3.Connection, clocks: Clocks, cache: ConnectionCache, most: int | None = None
    ) -> None:
        self._execute = connection.execute
        self._clocks = clocks
        self._cache = cache
        self.lanes: dict[int, int] = {}
        """The lane of each job that was read, by number."""
        self.stored: dict[int, JobState] = {}
        """Each job that was read or written, as it is stored now."""
        self._left = sys.maxsize if most is None else most

    def _all(self, cursor: sqlite3.Cursor) -> list[Any]:
        rows = cursor.fetchmany(self._left + 1) if self._left < _ANY else cursor.fetchall()
        self._left -= len(rows)
        if self._left < 0:
            raise TooManyRowsError
        return rows

    def jobs(self, numbers: Sequence[int]) -> Iterable[JobState]:
        """Read rows; unreadable columns have stand-ins."""
        running = self._cache.running
        known = [running[n] for n in numbers if n in running] if running else []
        if len(known) < len(numbers):
            jobs = self._read(numbers if not known else [n for n in numbers if n not in running])
        else:
            jobs = []
        for row in known:
            self.lanes[row.job.n] = row.lane
            jobs.append(row.job)
        self.stored.update((job.n, job) for job in jobs)
        return jobs

    def _read(self, numbers: Sequence[int]) -> list[JobState]:
        if len(numbers) == 1:
            rows = self._all(self._execute(_ONE_JOB, (numbers[0],)))
        else:
            rows = self._all(self._execute(_JOBS, (json.encode(numbers).decode(),)))
        clocks = self._clocks
        self.lanes.update((row[0], row[-1]) for row in rows)
        jobs = [state_from_row(row[:-1], clocks) for row in rows]
        return [job if job.unreadable is None else self._mended(job) for job in jobs]

    def _mended(self, job: JobState) -> JobState:
        """Return the job, completed from other tables: the number of its last event, from which further ones continue,
        and its role, if it is a gate."""
        if job.seq == UNREADABLE_SEQ:
            last = self._execute("SELECT ifnull(max(seq), 0) FROM events WHERE job = ?", (job.n,)).fetchone()[0]
            job = replace(job, seq=last)
        if job.role is Role.ASKER and self._execute("SELECT 1 FROM gates WHERE n = ?", (job.n,)).fetchone():
            job = replace(job, role=Role.GATE)
        return job

    def numbers(self, ids: Sequence[str]) -> dict[str, int]:
        """Look up ids by their index."""
        if len(ids) == 1:
            rows = self._execute("SELECT id, n FROM jobs WHERE id = ?", (ids[0],)).fetchall()
        else:
            rows = self._execute(
                "SELECT id, n FROM jobs WHERE id IN (SELECT value FROM json_each(?))",
                (json.encode(list(map(str.__str__, ids))).decode(),),
            ).fetchall()
        return {row[0]: row[1] for row in rows}

    def edges_from(self, parents: Sequence[int]) -> Iterable[EdgeRow]:
        """Read edges by the index on the parent."""
        childless = self._cache.childless
        if childless:
            parents = [n for n in parents if n not in childless]
        if not parents:
            return ()
        return self._edges(
            "SELECT e.parent, e.child, e.optional, e.state FROM json_each(?) j "
            "CROSS JOIN edges e ON e.parent = j.value ORDER BY j.key, e.child",
            parents,
        )

    def edges_to(self, children: Sequence[int]) -> Iterable[EdgeRow]:
        """Read edges by the index on the child."""
        return self._edges(
            "SELECT e.parent, e.child, e.optional, e.state FROM json_each(?) j "
            "CROSS JOIN edges e ON e.child = j.value ORDER BY j.key, e.parent",
            children,
        )

    def _edges(self, sql: str, numbers: Sequence[int]) -> Iterator[EdgeRow]:
        parent: int
        child: int
        optional: int
        state: int
        for parent, child, optional, state in self._all(self._execute(sql, (json.encode(numbers).decode(),))):
            # An unreadable state counts as open: the edge is settled when its parent ends.
            yield EdgeRow(parent, child, optional == 1, _EDGE_STATES.get(state, EdgeState.OPEN))

    def children(self, parents: Sequence[int]) -> Sequence[int]:
        """Read the jobs that were submitted from inside these, by number."""
        rows = self._all(
            self._execute(
                "SELECT n FROM jobs WHERE parent IN (SELECT value FROM json_each(?)) AND parent IS NOT NULL ORDER BY n",
                (json.encode(parents).decode(),),
            )
        )
        return [row[0] for row in rows]

    def gates(self, numbers: Sequence[int]) -> Iterable[GateState]:
        """Read gates; what is unreadable has stand-ins."""
        rows = self._all(self._execute(gates.STATES, (json.encode(numbers).decode(),)))
        return map(gates.state_from_row, rows)

    def open_gates(self, askers: Sequence[int]) -> Sequence[int]:
        """Read open gates by the index on the job that asked."""
        rows = self._all(self._execute(gates.OPEN, (json.encode(askers).decode(),)))
        return [row[0] for row in rows]

    def call(self, n: int) -> bytes | None:
        """Read a call."""
        return self._value("call", "calls", n)

    def result(self, n: int) -> bytes | None:
        """Read a result."""
        return self._value("value", "results", n)

    def _value(self, column: str, table: str, n: int) -> bytes | None:
        """Read a value. Where rows are bounded, so are its bytes."""
        small = (
            f"SELECT length({column}), CASE WHEN length({column}) <= {INLINE_BYTES} THEN {column} END "
            f"FROM {table} WHERE n = ?"
        )
        for size, value in self._all(self._execute(small, (n,))):
            if size is not None and size > INLINE_BYTES:
                if self._left < _ANY:
                    raise TooManyRowsError
                (value,) = self._execute(f"SELECT {column} FROM {table} WHERE n = ?", (n,)).fetchone()
            return value if type(value) is bytes else None
        return None


def write(
    connection: sqlite3.Connection,
    writes: Writes,
    lanes: dict[tuple[str, str, str | None], int],
    clocks: Clocks,
    stored: dict[int, JobState],
) -> None:
    """Write the decisions of a plan.

    :param lanes: the number of each (queue, function, owner).
    :param stored: the rows as they are stored, by number; the written ones are entered.
    """
    if writes.inserted:
        _insert_jobs(connection, writes.inserted, lanes, clocks)
        stored.update((record.job.n, record.job) for record in writes.inserted)
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
_UPDATE_HEAD = (
    "UPDATE jobs SET status = v.column2, waits_for = v.column3, run_at = v.column4, attempt = v.column5, "
    "failures = v.column6, interruptions = v.column7, open = v.column8, met = v.column9, "
    "cancel_requested = v.column10, worker = v.column11, started_at = v.column12, finished_at = v.column13, "
    "because = v.column14, seq = v.column15"
)


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
