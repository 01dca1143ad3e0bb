"""Choose the jobs of a claim from those that a group submits and those that are stored, if all of them are plain."""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Iterator, Sequence
from itertools import islice
from types import NoneType
from typing import Any, Literal

from msgspec import Struct, json

from asyncjobs.backends.base import ClaimRequest, NewJob
from asyncjobs.backends.sqlite.claims import is_alive, none_delayed, ready_lanes, stored_places
from asyncjobs.backends.sqlite.connection_cache import ConnectionCache
from asyncjobs.backends.sqlite.ids import worker_number
from asyncjobs.backends.sqlite.lanes import LaneRow, Lanes
from asyncjobs.backends.sqlite.payloads import CALL, INJECTS, ISOLATION, JOIN_CALL
from asyncjobs.backends.sqlite.plain_dependents import Dependent, NotPlainError
from asyncjobs.backends.sqlite.rows import STATUS_CODE
from asyncjobs.backends.unreadable import Shape
from asyncjobs.core import lifecycle
from asyncjobs.core.lanes import split_lanes
from asyncjobs.core.plain_jobs import first_attempt
from asyncjobs.core.retry import decode_policy
from asyncjobs.core.state import JobState, Stale
from asyncjobs.models import Isolation, JobStatus

# The last column says whether the job has done nothing yet, and has no part in anything but its dependencies.
_COLUMNS = f"""
  j.priority, j.n, j.id, j.max_interruptions, j.retry, j.require, j.open, j.met, j.grp, j.timeout, {INJECTS},
  {ISOLATION}, {CALL}, EXISTS (SELECT 1 FROM edges e WHERE e.parent = j.n),
  j.status = {STATUS_CODE[JobStatus.PENDING]} AND j.seq = 1 AND j.attempt = 0 AND j.failures = 0
  AND j.interruptions = 0 AND j.cancel_requested = 0 AND j.generation = 0 AND j.steps_from = 0 AND j.run_at IS NULL
  AND j.due IS NULL AND j.boot IS NULL AND j.limit_key IS NULL AND j.worker IS NULL AND j.started_at IS NULL
  AND j.finished_at IS NULL AND j.because IS NULL AND j.role IS NULL AND j.parked IS NULL"""
_FIRST_OF_LANE = f"""
SELECT {_COLUMNS}
FROM jobs j {JOIN_CALL} WHERE j.lane = ? AND j.waits_for = 0 ORDER BY j.priority DESC, j.n LIMIT ?"""
_ROWS = f"SELECT {_COLUMNS} FROM json_each(?) i CROSS JOIN jobs j ON j.n = i.value {JOIN_CALL}"
_INT, _MAYBE_INT, _MAYBE_TEXT = (int,), (int, type(None)), (str, type(None))
_SHAPE = Shape(
    ("priority", _INT, 0),
    ("n", _INT, 0),
    ("id", (str,), ""),
    ("max_interruptions", _INT, 1),
    ("retry policy", (bytes, type(None)), None),
    ("require", _MAYBE_INT, None),
    ("open", _INT, 0),
    ("met", _INT, 0),
    ("group", _MAYBE_TEXT, None),
    ("timeout", (float, type(None)), None),
    ("injects", _INT, 0),
    ("isolation", _MAYBE_TEXT, None),
    ("call", (bytes,), b""),
    ("edges", _INT, 0),
    ("plain", _INT, 0),
)

_Place = tuple[int, int, "NewJob | Dependent | tuple[Any, ...] | None", LaneRow]
"""Negative priority, number, what is submitted, waited for others, or is stored (None: not read yet), and the lane."""


class Started(Struct, frozen=True, gc=False):
    """A job that is started, as it will be, and what else its attempt needs.

    ``of`` says whether it is submitted in the same group, has waited for others until now, or was ready before.
    """

    job: JobState
    lane: LaneRow
    call: bytes
    injects: bool
    timeout: float | None
    isolation: Isolation
    childless: bool
    of: Literal["new", "dependent", "ready"]


def choose(
    connection: sqlite3.Connection,
    lanes: Lanes,
    cache: ConnectionCache,
    submitted: Sequence[tuple[int, NewJob, LaneRow]],
    released: Sequence[Dependent],
    claim: ClaimRequest,
    now: int,
    most_rows: int | None,
) -> tuple[Sequence[Started], tuple[str, ...]]:
    """Return the first jobs that a worker may run, started, and the functions that it must look up.

    :param submitted: jobs of the same group, each with its number and its lane.
    :param released: jobs that waited for others, and become ready by the same group.
    :param most_rows: rows that it may read. Default: no bound.
    :raises NotPlainError: something is not known to be plain.
    """
    worker = worker_number(claim.worker)
    if not none_delayed(connection, cache) or not is_alive(connection, cache, worker):
        raise NotPlainError
    ready = ready_lanes(connection, cache)
    rows = {n: lanes.get(connection, n) for n in ready}
    of_released = [(job, lanes.get(connection, job.lane)) for job in released]
    for row in (*(row for _, _, row in submitted), *(row for _, row in of_released)):
        rows[row.n] = row
    if any(row.unreadable is not None for row in rows.values()):
        raise NotPlainError
    chosen, unknown = split_lanes(
        ((n, row.lane) for n, row in rows.items()),
        worker=claim.worker,
        queues=claim.queues,
        functions=claim.functions,
        refused=claim.refused,
    )
    if claim.limit <= 0 or not chosen:
        return (), unknown
    fresh: list[_Place] = [(-job.priority, n, job, row) for n, job, row in submitted if row.n in chosen]
    fresh += [(-one.job.priority, one.job.n, one, row) for one, row in of_released if row.n in chosen]
    if len(fresh) > 1:
        fresh = heapq.nsmallest(claim.limit, fresh)
    stored = [rows[n] for n in chosen if n in ready]
    if not stored:
        return [_start(n, job, lane, worker, now) for _, n, job, lane in fresh], unknown
    if len(stored) == 1:
        places = heapq.merge(_first_of_lane(connection, cache, stored[0], claim.limit, most_rows), fresh)
    else:
        page = max(2, claim.limit // 4)
        places = heapq.merge(*(_places(connection, cache, row, claim.limit, page) for row in stored), fresh)
    first = list(islice(places, claim.limit))
    read = _read(connection, [n for _, n, job, _ in first if job is None], most_rows)
    return [_start(n, read[n] if job is None else job, lane, worker, now) for _, n, job, lane in first], unknown


def _first_of_lane(
    connection: sqlite3.Connection, cache: ConnectionCache, lane: LaneRow, limit: int, most_rows: int | None
) -> list[_Place]:
    """Read the first stored ready jobs of the only lane that has any."""
    rows = connection.execute(
        _FIRST_OF_LANE, (lane.n, limit if most_rows is None else min(limit, most_rows + 1))
    ).fetchall()
    if not rows and cache.ready is not None:
        del cache.ready[lane.n]
    return [(-row[0], row[1], row, lane) for row in _checked(rows, most_rows)]


def _places(
    connection: sqlite3.Connection, cache: ConnectionCache, lane: LaneRow, limit: int, page: int
) -> Iterator[_Place]:
    """Yield stored ready jobs of one of several lanes. Only those that are taken are read: the others may be large."""
    for first, n in stored_places(connection, cache, lane.n, limit, page):
        yield first, n, None, lane


def _read(connection: sqlite3.Connection, numbers: list[int], most_rows: int | None) -> dict[int, tuple[Any, ...]]:
    """Read stored jobs, by number."""
    if not numbers:
        return {}
    if most_rows is not None and len(numbers) > most_rows:
        raise NotPlainError
    rows = connection.execute(_ROWS, (json.encode(numbers).decode(),)).fetchall()
    if len(rows) < len(numbers):  # a damaged index may lead nowhere
        raise NotPlainError
    return {row[1]: row for row in _checked(rows, most_rows)}


def _checked(rows: list[tuple[Any, ...]], most_rows: int | None) -> list[tuple[Any, ...]]:
    if most_rows is not None and len(rows) > most_rows:
        raise NotPlainError
    for row in rows:
        if tuple(map(type, row)) not in _SHAPE.sound and not _SHAPE.fits(row):
            raise NotPlainError
    return rows


def _start(n: int, job: NewJob | Dependent | tuple[Any, ...] | None, lane: LaneRow, worker: int, now: int) -> Started:
    if isinstance(job, NewJob):
        row = first_attempt(n, job, worker, now)
        return Started(row, lane, job.call, job.injects, job.timeout, job.isolation, True, "new")
    if isinstance(job, Dependent):
        return _start_dependent(job, lane, worker, now)
    if job is None or not job[-1]:
        raise NotPlainError
    try:
        retry = decode_policy(job[4])
    except Exception as error:  # border: any stored value
        raise NotPlainError from error
    row = JobState(
        n=n,
        id=job[2],
        status=JobStatus.IN_PROGRESS,
        waits_for=None,
        priority=job[0],
        attempt=1,
        max_interruptions=job[3],
        retry=retry,
        require=job[5],
        open=job[6],
        met=job[7],
        worker=worker,
        started_at=now,
        seq=2,
        group=job[8],
    )
    return Started(row, lane, job[12], job[10] == 1, job[9], job[11] or "thread", not job[13], "ready")


def _start_dependent(dependent: Dependent, lane: LaneRow, worker: int, now: int) -> Started:
    change = lifecycle.start(dependent.job, worker, now)
    _, timeout, injects, isolation, call = dependent.call
    if isinstance(change, Stale) or type(call) is not bytes or type(timeout) not in (float, NoneType):
        raise NotPlainError
    return Started(change.job, lane, call, injects == 1, timeout, isolation or "thread", False, "dependent")
