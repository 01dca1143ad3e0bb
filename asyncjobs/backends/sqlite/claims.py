"""Claim ready jobs: promote due ones, admit limited ones, and give each claim the first jobs of its lanes."""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from msgspec import json

from asyncjobs.backends.base import AttemptRef, ClaimedJob, ClaimRequest, ClaimResult
from asyncjobs.backends.sqlite.connection_cache import ConnectionCache
from asyncjobs.backends.sqlite.ids import worker_number
from asyncjobs.backends.sqlite.lanes import LaneRow, Lanes
from asyncjobs.backends.sqlite.moments import Clocks
from asyncjobs.backends.sqlite.payloads import CALL, INJECTS, ISOLATION, JOIN_CALL
from asyncjobs.backends.sqlite.plan_rows import Rows
from asyncjobs.backends.unreadable import PREFIX, mark, unreadable_job
from asyncjobs.core import commands
from asyncjobs.core.lanes import split_lanes
from asyncjobs.core.limits import Candidate, admit
from asyncjobs.core.plan import Plan, Record, Writes
from asyncjobs.core.state import JobState
from asyncjobs.models import Isolation, WaitsFor

_DUE_AT_ONCE = 200
"""Delayed jobs that become ready in one transaction, so that a flood of them does not hold the write lock."""

# A loose scan of the ready index: one seek for each lane that has ready jobs, however many they are.
_READY_LANES = """
WITH RECURSIVE t(lane) AS (
  SELECT min(lane) FROM jobs WHERE waits_for = 0
  UNION ALL
  SELECT (SELECT min(lane) FROM jobs WHERE waits_for = 0 AND lane > t.lane) FROM t WHERE t.lane IS NOT NULL
)
SELECT lane FROM t WHERE lane IS NOT NULL
"""
_FIRST_OF_LANE = (
    "SELECT -priority, n FROM jobs WHERE lane = ? AND waits_for = 0 ORDER BY priority DESC, n LIMIT ? OFFSET ?"
)
_LARGEST = 2**63 - 1
# Whether either index of delayed jobs has an entry: most stores have none, most of the time.
_ANY_DELAYED = """
SELECT EXISTS (SELECT 1 FROM jobs WHERE waits_for = 2 AND boot IS NULL)
  OR EXISTS (SELECT 1 FROM jobs WHERE waits_for = 2 AND boot IS NOT NULL)"""
# The first on each clock, whether any row is of another boot, and whether any has an unreadable moment: eight seeks.
# Text, which cannot be read, is greater than every number.
_NEXT_DUE = f"""
SELECT (SELECT run_at FROM jobs WHERE waits_for = 2 AND boot IS NULL AND run_at > ? AND run_at <= {_LARGEST}
          ORDER BY run_at LIMIT 1),
  (SELECT due FROM jobs WHERE waits_for = 2 AND boot = ? AND due > ? AND due <= {_LARGEST} ORDER BY due LIMIT 1),
  EXISTS (SELECT 1 FROM jobs WHERE waits_for = 2 AND boot < ?)
  OR EXISTS (SELECT 1 FROM jobs WHERE waits_for = 2 AND boot > ?),
  EXISTS (SELECT 1 FROM jobs WHERE waits_for = 2 AND boot IS NULL AND run_at > {_LARGEST})
  OR EXISTS (SELECT 1 FROM jobs WHERE waits_for = 2 AND boot IS NULL AND run_at IS NULL)
  OR EXISTS (SELECT 1 FROM jobs WHERE waits_for = 2 AND boot = ? AND due > {_LARGEST})
  OR EXISTS (SELECT 1 FROM jobs WHERE waits_for = 2 AND boot = ? AND due IS NULL)
"""
_DUE = "SELECT n FROM jobs WHERE waits_for = 2 AND boot IS NULL AND run_at <= ? ORDER BY run_at LIMIT ?"
_OVER = "SELECT n FROM jobs WHERE waits_for = 2 AND boot = ? AND due <= ? ORDER BY due LIMIT ?"
_OF_OTHER_BOOTS = """
SELECT n FROM (SELECT n FROM jobs WHERE waits_for = 2 AND boot < ? LIMIT ?)
UNION ALL SELECT n FROM (SELECT n FROM jobs WHERE waits_for = 2 AND boot > ? LIMIT ?)"""
_NEVER_DUE = f"""
SELECT n FROM (SELECT n FROM jobs WHERE waits_for = 2 AND boot IS NULL AND run_at > {_LARGEST} LIMIT ?)
UNION ALL SELECT n FROM (SELECT n FROM jobs WHERE waits_for = 2 AND boot IS NULL AND run_at IS NULL LIMIT ?)
UNION ALL SELECT n FROM (SELECT n FROM jobs WHERE waits_for = 2 AND boot = ? AND due > {_LARGEST} LIMIT ?)
UNION ALL SELECT n FROM (SELECT n FROM jobs WHERE waits_for = 2 AND boot = ? AND due IS NULL LIMIT ?)"""
_ADMITTED = "SELECT -priority, n FROM jobs WHERE limit_key = ? AND waits_for = 0 ORDER BY priority DESC, n LIMIT ?"
_LIMITED = "SELECT -priority, n FROM jobs WHERE limit_key = ? AND waits_for = 1 ORDER BY priority DESC, n LIMIT ?"
_CALLS = (
    f"SELECT j.n, j.lane, j.timeout, {INJECTS}, {ISOLATION}, {CALL} FROM json_each(?) i "
    f"CROSS JOIN jobs j ON j.n = i.value {JOIN_CALL}"
)


Place = tuple[int, int]
"""Where a ready job stands in its lane: its negative priority, and its number."""


def is_alive(connection: sqlite3.Connection, cache: ConnectionCache, worker: int) -> bool:
    """Return whether a worker is registered and not gone."""
    if worker in cache.alive:
        return True
    row = connection.execute("SELECT gone FROM workers WHERE n = ?", (worker,)).fetchone()
    alive = row is not None and not row[0]
    if alive:
        cache.alive.add(worker)
    return alive


def none_delayed(connection: sqlite3.Connection, cache: ConnectionCache) -> bool:
    """Return whether no stored job waits for its time."""
    if not cache.none_delayed:
        cache.none_delayed = not connection.execute(_ANY_DELAYED).fetchone()[0]
    return cache.none_delayed


def ready_lanes(connection: sqlite3.Connection, cache: ConnectionCache) -> dict[int, None]:
    """Return the lanes that may have stored ready jobs."""
    if cache.ready is None:
        cache.ready = dict.fromkeys(n for (n,) in connection.execute(_READY_LANES).fetchall())
    return cache.ready


def stored_places(
    connection: sqlite3.Connection,
    cache: ConnectionCache,
    lane: int,
    limit: int,
    page: int,
    changed: Collection[int] = (),
) -> Iterator[Place]:
    """Yield stored ready jobs of a lane, in their order, at least ``limit`` if there are so many.

    :param page: rows of one read. With many lanes, most give only a few.
    :param changed: jobs to leave out: the transaction has changed them since.
    """
    ready = cache.ready
    if ready is None or lane not in ready:
        return
    for offset in range(0, limit + len(changed), page):
        rows: list[Place] = connection.execute(_FIRST_OF_LANE, (lane, page, offset)).fetchall()
        if not rows:
            if not offset:
                del ready[lane]
            return
        yield from rows if not changed else [place for place in rows if place[1] not in changed]
        if len(rows) < page:
            return


class Claiming:
    """The claims of one transaction."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        plan: Plan,
        rows: Rows,
        lanes: Lanes,
        cache: ConnectionCache,
        clocks: Clocks,
    ) -> None:
        self._clocks = clocks
        self._connection = connection
        self._plan = plan
        self._rows = rows
        self._lanes = lanes
        self._cache = cache
        self._inserted: dict[int, Record] = {}
        self._parents: set[int] = set()  # of new edges
        self._next_due: int | None = None
        self._started: dict[int, tuple[str, list[JobState]]] = {}
        self._answers: dict[int, ClaimResult] = {}
        self._calls: dict[int, tuple[LaneRow, float | None, bool, Isolation, bytes]] = {}
        self._unreadable: dict[int, str] = {}

    def remember(self, writes: Writes) -> None:
        """Remember what is about to be written: claims need calls of submitted jobs, and lanes of ready ones."""
        for record in writes.inserted:
            self._inserted[record.job.n] = record
            self._note_place(record.job)
        for job in writes.changed:
            self._note_place(job)
        self._parents.update(edge.parent for edge in writes.new_edges)

    def _note_place(self, job: JobState) -> None:
        if job.waits_for is WaitsFor.WORKER:
            if self._cache.ready is not None:
                self._cache.ready[self._lane_of(job.n)] = None
        elif job.waits_for is WaitsFor.TIME:
            self._cache.none_delayed = False
            if self._next_due is None or (job.run_at or 0) < self._next_due:
                self._next_due = job.run_at

    def promote_due(self) -> None:
        """Make a bounded number of due delayed jobs ready."""
        if none_delayed(self._connection, self._cache):
            return
        now = self._plan.now
        self._next_due, others, never = self._first_due(0, 0)
        if never:
            self._fail_what_is_never_due()
        if others or (self._next_due is not None and self._next_due <= now):
            due = self._due(others)
            commands.promote(self._plan, due)
            self._next_due, *_ = self._first_due(now, self._clocks.since_boot)
            if len(due) >= _DUE_AT_ONCE:
                self._next_due = now

    def _first_due(self, now: int, since_boot: int) -> tuple[int | None, bool, bool]:
        """Return when the first job comes due after these moments, by the wall clock, and two flags.

        They are: whether there are jobs whose duration was counted since another boot, and whether there are jobs
        whose moment cannot be read.
        """
        clocks = self._clocks
        boot = clocks.boot
        run_at, due, others, never = self._connection.execute(
            _NEXT_DUE, (now, boot, since_boot, boot, boot, boot, boot)
        ).fetchone()
        if due is not None:
            over = clocks.now + due - clocks.since_boot
            run_at = over if run_at is None else min(run_at, over)
        return run_at, others == 1, never == 1

    def _fail_what_is_never_due(self) -> None:
        """Fail jobs whose moment cannot be read: they would wait forever."""
        boot, limit = self._clocks.boot, _DUE_AT_ONCE
        rows = self._connection.execute(_NEVER_DUE, (limit, limit, boot, limit, boot, limit)).fetchall()
        commands.give_up(self._plan, [n for (n,) in rows], unreadable_job(mark(["run_at"])))

    def _due(self, others: bool) -> list[int]:
        clocks, limit = self._clocks, _DUE_AT_ONCE
        found = self._connection.execute(_OVER, (clocks.boot, clocks.since_boot, limit)).fetchall()
        found += self._connection.execute(_DUE, (clocks.now, limit - len(found))).fetchall()
        if others:  # when they are written again, they wait for their moment by the wall clock
            found += self._connection.execute(_OF_OTHER_BOOTS, (clocks.boot, limit, clocks.boot, limit)).fetchall()
        return [n for (n,) in found]

    def admit(self) -> None:
        """Admit jobs of each limited key that changed, up to its capacity, by priority and submission."""
        for key in self._plan.take_limits():
            row = self._connection.execute("SELECT capacity, in_progress FROM limits WHERE key = ?", (key,)).fetchone()
            if row is None:
                continue
            # If the counts cannot be read, one job may run at a time.
            capacity, in_progress = row if set(map(type, row)) == {int} else (1, 0)
            # Read all of them: after a capacity was lowered, more jobs are ready than it admits.
            ready = self._connection.execute(_ADMITTED, (key, -1)).fetchall()
            waiting = self._connection.execute(_LIMITED, (key, max(0, capacity - in_progress))).fetchall()
            decision = admit(capacity, in_progress, *([Candidate(*r) for r in rows] for rows in (ready, waiting)))
            self._place(decision.promote, WaitsFor.WORKER)
            self._place(decision.demote, WaitsFor.LIMIT)

    def _place(self, numbers: Iterable[int], waits_for: WaitsFor) -> None:
        commands.set_waiting_place(self._plan, list(numbers), waits_for)

    def take(self, index: int, claim: ClaimRequest) -> None:
        """Start the first jobs that this worker may run."""
        worker = worker_number(claim.worker)
        if not is_alive(self._connection, self._cache, worker):
            self._answers[index] = ClaimResult(lost=True)
            return
        unwritten = self._unwritten()
        rows = [
            self._lanes.get(self._connection, n) for n in {**ready_lanes(self._connection, self._cache), **unwritten}
        ]
        lanes, unknown = split_lanes(
            ((row.n, row.lane) for row in rows if row.unreadable is None),
            worker=claim.worker,
            queues=claim.queues,
            functions=claim.functions,
            refused=claim.refused,
        )
        lanes += [row.n for row in rows if row.unreadable is not None]  # no worker can run these: a claim fails them
        first = self._first(lanes, unwritten, claim.limit) if claim.limit > 0 else []
        if first:
            self._started[index] = (claim.worker, commands.start(self._plan, first, worker))
        self._answers[index] = ClaimResult((), None, unknown)

    def _unwritten(self) -> dict[int, list[Place]]:
        """Return the ready jobs that this transaction has not written yet, by lane."""
        plan = self._plan
        places: dict[int, list[Place]] = {}
        for n in (*plan.inserted, *plan.changed):
            job = plan[n]
            if job.waits_for is WaitsFor.WORKER:
                places.setdefault(self._lane_of(n), []).append((-job.priority, n))
        return places

    def _lane_of(self, n: int) -> int:
        """Return the lane of a job that this transaction has read or inserts."""
        record = self._plan.inserted.get(n) or self._inserted.get(n)
        if record is None:
            return self._rows.lanes[n]
        return self._lanes.number(self._connection, record.queue, record.function, record.owner)

    def _first(self, lanes: list[int], unwritten: dict[int, list[Place]], limit: int) -> list[int]:
        """Return the first ready jobs of these lanes, by priority and number, stored or not written yet."""
        ready = ready_lanes(self._connection, self._cache)
        page = limit if len(lanes) == 1 else max(2, limit // 4)
        found = [self._stored(lane, limit, page) for lane in lanes if lane in ready]
        places = dict.fromkeys([place for lane in lanes for place in unwritten.get(lane, ())])
        fresh = list(places) if len(places) < 2 else heapq.nsmallest(limit, places)
        if not found:
            return [n for _, n in fresh]
        merged = heapq.merge(*found, fresh)
        return [n for _, (_, n) in zip(range(limit), merged, strict=False)]

    def _stored(self, lane: int, limit: int, page: int) -> Iterator[Place]:
        return stored_places(self._connection, self._cache, lane, limit, page, self._plan.changed)

    def read_calls(self) -> None:
        """Read the calls of the claimed jobs, except those that this transaction submitted."""
        wanted = [job.n for _, started in self._started.values() for job in started]
        stored = [n for n in wanted if n not in self._inserted]
        for n in wanted:
            record = self._inserted.get(n)
            if record is not None:
                row = self._lanes.get(self._connection, self._lane_of(n))
                self._calls[n] = (row, record.timeout, record.injects, record.isolation, record.call)
        for n in stored:
            call = self._rows.calls.get(n)  # None: its row was remembered, and it is retried at once
            if call is not None and call[-1] is not None:
                self._note_call(n, *call)
        left = [n for n in stored if n not in self._calls]
        if left:
            for row in self._connection.execute(_CALLS, (json.encode(left).decode(),)).fetchall():
                self._note_call(*row)

    def _note_call(self, n: int, lane: int, timeout: Any, injects: Any, isolation: Any, call: Any) -> None:
        """Note a call as it is stored; what is unreadable of it is named in the answer."""
        row = self._lanes.get(self._connection, lane)
        problems = [row.unreadable.removeprefix(PREFIX)] if row.unreadable is not None else []
        if type(call) is not bytes:
            problems.append("call")
        if timeout is not None and type(timeout) is not float:
            problems.append("timeout")
        if problems:
            self._unreadable[n] = mark(problems)
            timeout, call = None, b""
        self._calls[n] = (row, timeout, injects == 1, isolation or "thread", call)

    def remember_started(self) -> None:
        """Remember the rows of the claimed jobs: their ends need not read them."""
        for _, started in self._started.values():
            for job in started:
                n = job.n
                childless = n in self._inserted and n not in self._parents
                self._cache.add_running(self._plan[n], self._calls[n][0].n, childless=childless)

    def answer(self, index: int) -> ClaimResult:
        """Return the result of the claim of this operation."""
        answer = self._answers[index]
        if index not in self._started:
            return ClaimResult((), self._next_due, answer.unknown, answer.lost)
        worker, started = self._started[index]
        return ClaimResult([self._claimed(job, worker) for job in started], self._next_due, answer.unknown)

    def _claimed(self, job: JobState, worker: str) -> ClaimedJob:
        row, timeout, injects, isolation, call = self._calls[job.n]
        return ClaimedJob(
            attempt=AttemptRef(job.id, job.attempt, worker, job.n),
            function=row.lane.function,
            call=call,
            injects=injects,
            retry=job.retry,
            timeout=timeout,
            group=job.group,
            started_at=job.started_at or 0,
            cancel_requested=job.cancel_requested,
            isolation=isolation,
            unreadable=job.unreadable or self._unreadable.get(job.n),
        )
