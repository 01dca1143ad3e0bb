"""Insert the rows of submitted jobs: most have defaults in half of their columns, which are then left out."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import cache
from operator import add
from typing import Any

from asyncjobs.backends.sqlite.bulk import LARGE, bulk, write_value
from asyncjobs.backends.sqlite.moments import Clocks
from asyncjobs.backends.sqlite.payloads import SMALL
from asyncjobs.backends.sqlite.rows import STATUS_CODE
from asyncjobs.core.plan import Record
from asyncjobs.core.requests import NewJob
from asyncjobs.core.retry import encode_policy
from asyncjobs.models import JobStatus, WaitsFor

_PENDING, _IN_PROGRESS = STATUS_CODE[JobStatus.PENDING], STATUS_CODE[JobStatus.IN_PROGRESS]
_WORKER = int(WaitsFor.WORKER)

Extras = tuple[bytes | None, str | None]
"""The encoded policy for retries and the group of a job: most have neither."""

LaneNumbers = dict[tuple[str, str, str | None], int]
"""The number of each (queue, function, owner)."""

# sqlite3 searches an adapter for each NULL that it binds, so what all of the rows leave NULL is not bound.
_PLAIN = (
    "n",
    "id",
    "lane",
    "status",
    "waits_for",
    "priority",
    "attempt",
    "max_interruptions",
    "retry",
    "open",
    "worker",
    "started_at",
    "seq",
    "grp",
    "local",
    "created_at",
    "injects",
    "call",
)
"""The columns of ``_plain_row``."""
_OTHERS = (
    "isolation",
    "metadata",
    "run_at",
    "due",
    "boot",
    "failures",
    "interruptions",
    "require",
    "met",
    "limit_key",
    "cancel_requested",
    "finished_at",
    "because",
    "parent",
    "timeout",
    "role",
)
"""The columns of ``_other_columns``, which are NULL or 0 in the row of a plain job."""
_EXTRAS = ("retry", "grp")
_NO_EXTRAS: Extras = (None, None)
_NEW = ("n", "id", "lane", "priority", "max_interruptions", "local", "created_at", "injects", "call")
"""The columns of a plain job that come from its submission. All that are neither here nor in its state are as the
schema has them by default."""
_INSERT_PLAIN = f"INSERT INTO jobs({', '.join(_PLAIN)})"
_INSERT = f"INSERT INTO jobs({', '.join((*_PLAIN, *_OTHERS))})"


def insert_jobs(connection: sqlite3.Connection, records: Sequence[Record], lanes: LaneNumbers, clocks: Clocks) -> None:
    """Insert the rows of these jobs, with their calls."""
    plain = [_plain_row(record, lanes) for record in records if _is_plain(record)]
    if plain:
        bulk(connection, _INSERT_PLAIN, "", len(_PLAIN), plain)
    if len(plain) < len(records):
        _insert_others(connection, [record for record in records if not _is_plain(record)], lanes, clocks)


def is_plain(job: NewJob) -> bool:
    """Return whether a job that waits for nothing but a worker is stored by ``insert_ready`` or ``insert_started``."""
    return job.timeout is None and job.metadata is None and job.isolation == "thread" and len(job.call) <= SMALL


def insert_ready(connection: sqlite3.Connection, jobs: Sequence[tuple[int, NewJob, int]], now: int) -> None:
    """Insert plain jobs, each with its number and that of its lane."""
    _insert_new(connection, jobs, now, {"status": _PENDING, "waits_for": _WORKER, "seq": 1})


def insert_started(
    connection: sqlite3.Connection, jobs: Sequence[tuple[int, NewJob, int]], worker: int, now: int
) -> None:
    """Insert plain jobs as the first attempts of this worker."""
    state = {"status": _IN_PROGRESS, "attempt": 1, "worker": worker, "started_at": now, "seq": 2}
    _insert_new(connection, jobs, now, state)


def _insert_new(
    connection: sqlite3.Connection, jobs: Sequence[tuple[int, NewJob, int]], now: int, state: dict[str, int]
) -> None:
    columns, values = (*_NEW, *state), tuple(state.values())
    rows: list[tuple[Any, ...]] = [
        (
            n,
            job.id,
            lane,
            job.priority,
            job.max_interruptions,
            int(job.owner is not None),
            now,
            int(job.injects),
            job.call,
            *values,
        )
        for n, job, lane in jobs
    ]
    extras: list[Extras] = [(encode_policy(job.retry), job.group) for _, job, _ in jobs]
    if extras.count(_NO_EXTRAS) < len(extras):
        columns, rows = (*columns, *_EXTRAS), list(map(add, rows, extras))
    bulk(connection, _head(columns), "", len(columns), rows)


@cache
def _head(columns: tuple[str, ...]) -> str:
    return f"INSERT INTO jobs({', '.join(columns)})"


def _is_plain(record: Record) -> bool:
    job = record.job
    return (
        record.parent is None
        and record.timeout is None
        and record.metadata is None
        and record.isolation == "thread"
        and job.run_at is None
        and job.require is None
        and job.limit is None
        and job.because is None
        and job.finished_at is None
        and job.role is None
        and not (job.failures or job.interruptions or job.met or job.cancel_requested)
        and len(record.call) <= SMALL
    )


def _plain_row(record: Record, lanes: LaneNumbers) -> tuple[Any, ...]:
    job = record.job
    return (
        job.n,
        job.id,
        lanes[record.queue, record.function, record.owner],
        STATUS_CODE[job.status],
        job.waits_for,
        job.priority,
        job.attempt,
        job.max_interruptions,
        encode_policy(job.retry),
        job.open,
        job.worker,
        job.started_at,
        job.seq,
        job.group,
        record.owner is not None,
        record.created_at,
        record.injects,
        record.call,
    )


def _insert_others(
    connection: sqlite3.Connection, records: Sequence[Record], lanes: LaneNumbers, clocks: Clocks
) -> None:
    rows: list[tuple[Any, ...]] = []
    beside: list[Record] = []
    for record in records:
        row = _plain_row(record, lanes)
        isolation, metadata = _isolation(record), _metadata(record)
        if len(record.call) + len(record.metadata or b"") > SMALL:
            beside.append(record)
            row, isolation, metadata = (*row[:-2], None, None), None, None
        rows.append((*row, isolation, metadata, *_other_columns(record, clocks)))
    bulk(connection, _INSERT, "", len(_PLAIN) + len(_OTHERS), rows)
    if beside:
        _insert_calls(connection, beside)


def _other_columns(record: Record, clocks: Clocks) -> tuple[Any, ...]:
    job = record.job
    return (
        job.run_at,
        *clocks.to_columns(job.run_at, lasts=job.lasts),
        job.failures,
        job.interruptions,
        job.require,
        job.met,
        job.limit,
        job.cancel_requested,
        job.finished_at,
        job.because,
        record.parent,
        record.timeout,
        job.role,
    )


def _insert_calls(connection: sqlite3.Connection, records: Sequence[Record]) -> None:
    calls = [
        (
            record.job.n,
            record.call if len(record.call) <= LARGE else b"",
            record.injects,
            _isolation(record),
            _metadata(record),
        )
        for record in records
    ]
    bulk(connection, "INSERT INTO calls_apart(n, call, injects, isolation, metadata)", "", 5, calls)
    for record in records:
        if len(record.call) > LARGE:
            write_value(connection, "calls_apart", "call", record.job.n, record.call)


def _isolation(record: Record) -> str | None:
    return None if record.isolation == "thread" else record.isolation


def _metadata(record: Record) -> str | None:
    return None if record.metadata is None else record.metadata.decode()
