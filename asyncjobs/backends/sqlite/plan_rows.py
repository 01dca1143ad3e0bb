"""Read the rows of an open transaction for a ``core.plan.Plan``. ``plan_writes`` writes what it decides."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from msgspec import json
from msgspec.structs import replace

from asyncjobs.backends.sqlite import gates
from asyncjobs.backends.sqlite.connection_cache import ConnectionCache
from asyncjobs.backends.sqlite.moments import Clocks
from asyncjobs.backends.sqlite.operations import INLINE_BYTES
from asyncjobs.backends.sqlite.payloads import CALL, JOIN_CALL, JOIN_RESULT, RESULT
from asyncjobs.backends.sqlite.rows import STATE_COLUMNS, UNREADABLE_SEQ, state_from_row
from asyncjobs.core.state import EdgeRow, GateState, JobState, Role
from asyncjobs.models import EdgeState

_EDGE_STATES = {int(state): state for state in EdgeState}
_COLUMNS = f"{STATE_COLUMNS}, lane, timeout, injects, isolation, call"
_STATE = slice(0, -5)
_CALL = slice(-5, None)
_JOBS = f"SELECT {_COLUMNS} FROM jobs WHERE n IN (SELECT value FROM json_each(?))"
_ONE_JOB = f"SELECT {_COLUMNS} FROM jobs WHERE n = ?"
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
        self.calls: dict[int, tuple[Any, ...]] = {}
        """What an attempt of each job that was read needs, by number: lane, timeout, injects, isolation, call. The last
        three are NULL if the call is not in the row of the job."""
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
        for row in rows:
            call = self.calls[row[0]] = row[_CALL]
            self.lanes[row[0]] = call[0]
        jobs = [state_from_row(row[_STATE], clocks) for row in rows]
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
        return self._value(CALL, JOIN_CALL, n)

    def result(self, n: int) -> bytes | None:
        """Read a result."""
        return self._value(RESULT, JOIN_RESULT, n)

    def _value(self, expression: str, join: str, n: int) -> bytes | None:
        """Read a value. Where rows are bounded, so are its bytes."""
        source = f"FROM jobs j {join} WHERE j.n = ?"
        small = f"CASE WHEN length({expression}) <= {INLINE_BYTES} THEN {expression} END"
        for size, value in self._all(self._execute(f"SELECT length({expression}), {small} {source}", (n,))):
            if size is not None and size > INLINE_BYTES:
                if self._left < _ANY:
                    raise TooManyRowsError
                (value,) = self._execute(f"SELECT {expression} {source}", (n,)).fetchone()
            return value if type(value) is bytes else None
        return None
