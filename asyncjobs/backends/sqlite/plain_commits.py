"""Commit a group of plain operations without a plan: the short way of ``commit``, which stores and answers the same.

Most groups of most programs hold submissions of jobs that wait for nothing but a worker, successes on which at most
other plain jobs depend, and one claim. Nothing is left to decide for these but what ``core.plain_jobs`` and
``core.edges`` say, so rows are made directly. A group with anything else takes the long way, all of it: that is known
before anything is written.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from asyncjobs.backends.base import AttemptEnd, AttemptRef, ClaimedJob, ClaimRequest, ClaimResult, Finished, NewJob
from asyncjobs.backends.committed_events import NO_EVENTS, CommittedEvents
from asyncjobs.backends.sqlite import numbers
from asyncjobs.backends.sqlite import operations as ops
from asyncjobs.backends.sqlite.connection_cache import ConnectionCache
from asyncjobs.backends.sqlite.event_rows import Subject, append_events
from asyncjobs.backends.sqlite.ids import worker_number
from asyncjobs.backends.sqlite.job_inserts import insert_ready, insert_started, is_plain
from asyncjobs.backends.sqlite.job_updates import columns, update_alike, update_jobs
from asyncjobs.backends.sqlite.lanes import LaneRow, Lanes
from asyncjobs.backends.sqlite.moments import Clocks
from asyncjobs.backends.sqlite.payloads import SMALL
from asyncjobs.backends.sqlite.plain_claims import Started, choose
from asyncjobs.backends.sqlite.plain_dependents import NOTHING, NotPlainError, Settlement, settle
from asyncjobs.backends.sqlite.plan_rows import Rows
from asyncjobs.backends.sqlite.plan_writes import update_edges
from asyncjobs.backends.sqlite.rows import STATUS_CODE
from asyncjobs.core.plain_jobs import are_plain, completed, completes, is_success, started, submitted
from asyncjobs.core.state import JobState, NewEvent
from asyncjobs.models import JobStatus

_COMPLETES = columns("status", "finished_at", "seq")
_STARTS = columns("status", "waits_for", "attempt", "worker", "started_at", "seq")
_COMPLETED, _IN_PROGRESS = STATUS_CODE[JobStatus.COMPLETED], STATUS_CODE[JobStatus.IN_PROGRESS]

Submitted = tuple[int, NewJob, LaneRow]
"""A job to insert, with its number and its lane."""


class _Group:
    """What a group of operations wants, all of it plain.

    :param rows: reads the attempts that the connection does not remember.
    :raises NotPlainError: not all of it is.
    """

    def __init__(self, operations: Sequence[ops.Operation], lanes: Lanes, rows: Rows) -> None:
        self.new: Sequence[NewJob] = ()
        self.lanes: list[LaneRow] = []
        """The lane of each new job."""
        self.ends: list[tuple[JobState, AttemptEnd]] = []
        """Rows of jobs in progress, each with the end of its attempt."""
        self.claim: ClaimRequest | None = None
        ends: list[AttemptEnd] = []
        new: list[NewJob] = []
        for operation in operations:
            if isinstance(operation, ops.Enqueue):
                if operation.parent is not None or not are_plain(operation.jobs):
                    raise NotPlainError
                new += operation.jobs
            elif isinstance(operation, ops.Finish):
                ends += operation.ends
                self._add_claim(operation.claim)
            elif isinstance(operation, ops.Dequeue):
                self._add_claim(operation.claim)
            else:
                raise NotPlainError
        if new:
            self._add_jobs(new, lanes)
        if ends:
            self._add_ends(ends, rows)

    def _add_jobs(self, jobs: Sequence[NewJob], lanes: Lanes) -> None:
        if len(jobs) > 1 and len({job.id for job in jobs}) < len(jobs):
            raise NotPlainError
        for job in jobs:
            lane = lanes.known(job.queue, job.function, job.owner)
            if lane is None or not is_plain(job):
                raise NotPlainError
            self.lanes.append(lane)
        self.new = jobs

    def _add_ends(self, ends: Sequence[AttemptEnd], rows: Rows) -> None:
        for end in ends:
            if not is_success(end) or len(end.outcome.value or b"") > SMALL:
                raise NotPlainError
        numbers = [end.attempt.ref for end in ends]
        if len(numbers) > 1 and len(set(numbers)) < len(numbers):  # the second would be stale
            raise NotPlainError
        stored = {job.n: job for job in rows.jobs(numbers)}
        for end in ends:
            job = stored.get(end.attempt.ref)
            if job is None or not completes(job, worker_number(end.attempt.worker), end):
                raise NotPlainError
            self.ends.append((job, end))

    def _add_claim(self, claim: ClaimRequest | None) -> None:
        if claim is not None:
            if self.claim is not None:
                raise NotPlainError
            self.claim = claim


def commit_plainly(
    connection: sqlite3.Connection,
    operations: Sequence[ops.Operation],
    lanes: Lanes,
    cache: ConnectionCache,
    clocks: Clocks,
    most_rows: int | None,
) -> tuple[list[Any], CommittedEvents] | None:
    """Store a group inside an open transaction; return the answer of each operation, and the events.

    :param most_rows: rows that it may read. Default: no bound.
    :returns: None if the group takes the long way: nothing was written.
    """
    now = clocks.now
    starts: Sequence[Started] = ()
    unknown: tuple[str, ...] = ()
    settled = NOTHING
    try:
        rows = Rows(connection, clocks, cache, most_rows)
        group = _Group(operations, lanes, rows)
        claim = group.claim
        jobs = _numbered(connection, group, cache) if group.new else ()
        parents = [job for job, _ in group.ends if job.n not in cache.childless]
        if parents:
            settled = settle(rows, parents, now)
        if claim is not None:
            released = [one for one in settled.dependents.values() if one.ready]
            starts, unknown = choose(connection, lanes, cache, jobs, released, claim, now, most_rows)
    except NotPlainError:
        return None
    _complete(connection, group.ends, cache, now)
    _insert(connection, jobs, starts, cache, now)
    if settled.edges:
        _release(connection, settled, starts, cache, clocks)
    _start(connection, starts, cache, now)
    events = _append_events(connection, group.ends, jobs, starts, cache, now)
    claimed = ClaimResult(
        [_claimed(start, claim.worker) for start in starts] if claim is not None and starts else (), None, unknown
    )
    return [_answer(operation, claimed) for operation in operations], events


def _numbered(connection: sqlite3.Connection, group: _Group, cache: ConnectionCache) -> list[Submitted]:
    """Return the new jobs with the numbers that they get; none is taken yet."""
    last = numbers.reserve(connection, cache, "job", 0)
    return [(n, job, lane) for n, (job, lane) in enumerate(zip(group.new, group.lanes, strict=True), start=last + 1)]


def _complete(
    connection: sqlite3.Connection, ends: Sequence[tuple[JobState, AttemptEnd]], cache: ConnectionCache, now: int
) -> None:
    alike: dict[int, tuple[list[int], list[bytes | None]]] = {}
    for job, end in ends:
        n, seq = job.n, job.seq + 1
        of_a_kind = alike.get(seq)
        if of_a_kind is None:
            of_a_kind = alike[seq] = [], []
        of_a_kind[0].append(n)
        of_a_kind[1].append(end.outcome.value)
        cache.running.pop(n, None)
        cache.childless.discard(n)
    for seq, (changed, results) in alike.items():
        update_alike(connection, _COMPLETES, (_COMPLETED, now, seq), changed, results)


def _release(
    connection: sqlite3.Connection,
    settled: Settlement,
    starts: Sequence[Started],
    cache: ConnectionCache,
    clocks: Clocks,
) -> None:
    dependents = settled.dependents
    started = {start.job.n: start.job for start in starts}
    changed = [started.get(n, one.job) for n, one in dependents.items()]
    update_jobs(connection, changed, (), clocks, {n: one.before for n, one in dependents.items()})
    update_edges(connection, settled.edges)
    if cache.ready is not None:
        cache.ready.update({one.lane: None for n, one in dependents.items() if one.ready and n not in started})


def _insert(
    connection: sqlite3.Connection,
    jobs: Sequence[Submitted],
    starts: Sequence[Started],
    cache: ConnectionCache,
    now: int,
) -> None:
    if not jobs:
        return
    cache.last["job"] = jobs[-1][0]
    at_once = {start.job.n for start in starts if start.of == "new"}
    fresh = [(n, job, lane.n) for n, job, lane in jobs if n in at_once]
    if fresh:
        insert_started(connection, fresh, starts[0].job.worker or 0, now)
    if len(fresh) == len(jobs):
        return
    ready = [(n, job, lane.n) for n, job, lane in jobs if n not in at_once]
    insert_ready(connection, ready, now)
    if cache.ready is not None:
        cache.ready.update(dict.fromkeys(lane for _, _, lane in ready))


def _start(connection: sqlite3.Connection, starts: Sequence[Started], cache: ConnectionCache, now: int) -> None:
    stored = [start.job.n for start in starts if start.of == "ready"]
    if stored:
        values = (_IN_PROGRESS, None, 1, starts[0].job.worker, now, 2)
        update_alike(connection, _STARTS, values, stored, [None] * len(stored))
    for start in starts:
        cache.add_running(start.job, start.lane.n, childless=start.childless)


def _append_events(
    connection: sqlite3.Connection,
    ends: Sequence[tuple[JobState, AttemptEnd]],
    jobs: Sequence[Submitted],
    starts: Sequence[Started],
    cache: ConnectionCache,
    now: int,
) -> CommittedEvents:
    events: list[tuple[int, NewEvent]] = [(job.n, completed(job, now)) for job, _ in ends]
    of: list[Subject] = [job for job, _ in ends]
    if jobs:
        event = submitted(now)
        events += [(n, event) for n, _, _ in jobs]
        of += [job for _, job, _ in jobs]
    if starts:
        event = started(now)
        events += [(start.job.n, event) for start in starts]
        of += [start.job for start in starts]
    if not events:
        return NO_EVENTS
    last = numbers.reserve(connection, cache, "event", len(events))
    return append_events(connection, events, of, last)


def _claimed(start: Started, worker: str) -> ClaimedJob:
    job = start.job
    return ClaimedJob(
        AttemptRef(job.id, 1, worker, job.n),
        start.lane.lane.function,
        start.call,
        start.injects,
        job.retry,
        start.timeout,
        job.group,
        job.started_at or 0,
        False,
        start.isolation,
    )


def _answer(operation: ops.Operation, claimed: ClaimResult) -> Any:
    if isinstance(operation, ops.Enqueue):
        return [job.id for job in operation.jobs]
    if isinstance(operation, ops.Finish):
        return Finished(
            [JobStatus.COMPLETED] * len(operation.ends), ClaimResult() if operation.claim is None else claimed
        )
    return claimed
