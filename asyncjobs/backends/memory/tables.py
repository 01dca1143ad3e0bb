"""Keep the tables of the store in memory: dictionaries, the indexes over them, and the one place that changes them.

What SQLite keeps as partial indexes (``backends/sqlite/schema.py``) is kept here as sorted lists: ready jobs by lane,
admitted and waiting ones by limited key, delayed ones by their moment or by the end of their duration, running ones by
worker, completed ones, and those that ended by the time when they did.
"""

from __future__ import annotations

import os
import socket
from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from uuid import uuid4

from msgspec import Struct, msgpack, structs

from asyncjobs.backends.gate_store import DUE_AT_ONCE
from asyncjobs.backends.unreadable import event_data
from asyncjobs.backends.values import NewWorker
from asyncjobs.clock import Clock, to_datetime
from asyncjobs.core.lanes import Lane
from asyncjobs.core.plan import Record, Writes
from asyncjobs.core.requests import Keep, StepChange
from asyncjobs.core.state import SECOND, EdgeRow, EndedAttempt, GateState, JobState, NewEvent
from asyncjobs.models import (
    EventType,
    JobEvent,
    JobStatus,
    WaitsFor,
    WorkerInfo,
)

NOBODY = 0
"""The number of a worker that is not known: it holds no attempt."""


class WorkerRow(Struct):
    """A registration. ``lease`` is in µs, ``expires`` in µs of the clock's ``monotonic``; ``gone`` is final."""

    n: int
    info: WorkerInfo
    lease: int
    expires: int
    gone: bool = False


class LimitRow(Struct):
    """A limited key: how many may be in progress, and how many are."""

    capacity: int
    in_progress: int = 0


class Step(Struct, frozen=True):
    """A value that a job keeps, and the generation in which it was kept."""

    generation: int
    value: bytes


Entry = tuple[int, int]
"""An entry of an index: its sort key (minus the priority, or µs), then the job's number."""


class Tables:
    """Every row, and ``core.plan.View`` over them."""

    def __init__(self) -> None:
        self.rows: dict[int, JobState] = {}  # by number, which is the order of submission
        self.ids: dict[str, int] = {}
        self.records: dict[int, Record] = {}  # the columns that never change; ``job`` is the row as it was inserted
        self.parents: defaultdict[int, dict[int, EdgeRow]] = defaultdict(dict)  # by child, then parent
        self.dependents: defaultdict[int, set[int]] = defaultdict(set)
        self.submitted_by: defaultdict[int, list[int]] = defaultdict(list)
        self.owned: defaultdict[str, list[int]] = defaultdict(list)
        self.attempts: defaultdict[int, dict[int, EndedAttempt]] = defaultdict(dict)  # in the order of their ends
        self.values: dict[int, bytes] = {}
        self.steps: dict[int, dict[str, Step]] = {}  # by job and key
        self.gate_rows: dict[int, GateState] = {}
        self.limits: dict[str, LimitRow] = {}
        self.workers: dict[str, WorkerRow] = {}
        self.workers_by_number: dict[int, WorkerRow] = {}

        self.log: dict[int, JobEvent] = {}  # by position
        self.end = self.pruned = 0  # positions: of the newest event, and the highest that retention ever removed
        self.log_of: defaultdict[int, list[int]] = defaultdict(list)  # positions, by job
        self.removed = 0  # jobs, ever
        self.progress: dict[int, tuple[int, dict[str, Any]]] = {}  # with the attempt that reported it

        self.ready: dict[Lane, list[Entry]] = {}  # every lane there ever was, in the order of their first jobs
        self.admitted: defaultdict[str, list[Entry]] = defaultdict(list)
        self.limited: defaultdict[str, list[Entry]] = defaultdict(list)
        self.delayed: list[Entry] = []
        self.lasting: list[Entry] = []
        self.deadlines: list[Entry] = []  # of open gates that have one
        self.due: dict[int, int] = {}  # of jobs whose time is the end of a duration: µs since the boot
        self.offset = 0  # the wall clock, less the time since the boot, in this transaction
        self.running: defaultdict[int, set[int]] = defaultdict(set)
        self.completed: list[int] = []
        self.finished: list[Entry] = []

    def lane(self, n: int) -> Lane:
        """Return the lane of a job."""
        record = self.records[n]
        return Lane(record.queue, record.function, record.owner)

    # -- core.plan.View

    def jobs(self, numbers: Sequence[int]) -> Iterable[JobState]:
        """Read rows by the clock of this transaction."""
        return [self.by_the_clock(n) for n in numbers if n in self.rows]

    def by_the_clock(self, n: int) -> JobState:
        """Return a row, with the end of a duration converted to the present wall clock."""
        row, due = self.rows[n], self.due.get(n)
        return row if due is None else structs.replace(row, run_at=due + self.offset)

    def numbers(self, ids: Sequence[str]) -> dict[str, int]:
        """Look up ids, also instances of subclasses of ``str``."""
        return {str.__str__(job_id): self.ids[job_id] for job_id in ids if job_id in self.ids}

    def edges_from(self, parents: Sequence[int]) -> Iterable[EdgeRow]:
        """Read edges by the index of dependents."""
        return [self.parents[child][parent] for parent in parents for child in sorted(self.dependents.get(parent, ()))]

    def edges_to(self, children: Sequence[int]) -> Iterable[EdgeRow]:
        """Read edges by the table itself, whose key is the child."""
        return [edge for child in children for _, edge in sorted(self.parents.get(child, {}).items())]

    def children(self, parents: Sequence[int]) -> Sequence[int]:
        """Read the jobs that were submitted from inside these, by number."""
        return sorted(child for parent in parents for child in self.submitted_by.get(parent, ()))

    def gates(self, numbers: Sequence[int]) -> Iterable[GateState]:
        """Read what gates have beside their rows."""
        return [self.gate_rows[n] for n in numbers if n in self.gate_rows]

    def open_gates(self, askers: Sequence[int]) -> Sequence[int]:
        """Walk over the jobs that were submitted from inside these."""
        return [
            n
            for n in self.children(askers)
            if n in self.gate_rows and self.gate_rows[n].asker is not None and self.rows[n].waits_for is WaitsFor.ANSWER
        ]

    def due_gates(self, now: int) -> Sequence[int]:
        """Return the open gates whose deadline has passed, in the order of their deadlines, up to one batch."""
        return [n for deadline, n in self.deadlines[:DUE_AT_ONCE] if deadline <= now]

    def call(self, n: int) -> bytes | None:
        """Read the call of a job."""
        record = self.records.get(n)
        return None if record is None else record.call

    def result(self, n: int) -> bytes | None:
        """Read the result of a job."""
        return self.values.get(n)

    # -- writing

    def write(self, writes: Writes) -> None:
        """Write the decisions of a plan; reads see them from then on."""
        for record in sorted(writes.inserted, key=lambda record: record.job.n):  # parents came first
            self._insert(record)
        for edge in (*writes.new_edges, *writes.changed_edges):
            self.parents[edge.child][edge.parent] = edge
            self.dependents[edge.parent].add(edge.child)
        for job in writes.changed:
            self._unindex(self.rows[job.n])
            self._keep(job)
        for n, ended in writes.attempts:
            self.attempts[n].pop(ended.attempt, None)  # so that it is the last one when it is written again
            self.attempts[n][ended.attempt] = ended
        self.values.update(writes.values)
        for key, capacity in writes.capacities.items():
            self.limits.setdefault(key, LimitRow(capacity)).capacity = capacity
        for key, change in writes.in_progress.items():
            self.limits[key].in_progress += change
        for step in writes.steps:
            self._write_step(*step)
        self.gate_rows.update((gate.n, gate) for gate in writes.gates)

    def _write_step(self, n: int, generation: int, change: StepChange) -> None:
        kept = self.steps.setdefault(n, {})
        if isinstance(change, Keep):
            kept[change.key] = Step(generation, change.value)
        else:
            for key in [key for key in kept if key.startswith(change.prefix)]:
                del kept[key]

    def counting_steps(self, job_id: str) -> dict[str, bytes]:
        """Return the values under the keys of a job that count, by key."""
        n = self.ids.get(job_id)
        if n is None:
            return {}
        first = self.rows[n].steps_from
        return {key: step.value for key, step in sorted(self.steps.get(n, {}).items()) if step.generation >= first}

    def delete_outdated_steps(self) -> None:
        """Delete steps that no longer count because their job was retried with ``fresh``."""
        for n, kept in self.steps.items():
            for key in [key for key, step in kept.items() if step.generation < self.rows[n].steps_from]:
                del kept[key]

    def _insert(self, record: Record) -> None:
        job = record.job
        self.ids[job.id] = job.n
        self.records[job.n] = record
        self.ready.setdefault(Lane(record.queue, record.function, record.owner), [])
        if record.parent is not None:
            self.submitted_by[record.parent].append(job.n)
        if record.owner is not None:
            self.owned[record.owner].append(job.n)
        self._keep(job)

    def _keep(self, job: JobState) -> None:
        self.rows[job.n] = job
        self.due.pop(job.n, None)
        if job.lasts and job.run_at is not None:
            self.due[job.n] = job.run_at - self.offset
        self._index(job)

    def _index(self, job: JobState) -> None:
        if job.status is JobStatus.IN_PROGRESS and job.worker is not None:
            self.running[job.worker].add(job.n)
        if job.status is JobStatus.COMPLETED:
            insort(self.completed, job.n)
        for index, entry in self._entries(job):
            insort(index, entry)

    def _unindex(self, job: JobState) -> None:
        if job.status is JobStatus.IN_PROGRESS and job.worker is not None:
            self.running[job.worker].discard(job.n)
        if job.status is JobStatus.COMPLETED:
            del self.completed[bisect_left(self.completed, job.n)]
        for index, entry in self._entries(job):
            del index[bisect_left(index, entry)]

    def _entries(self, job: JobState) -> list[tuple[list[Entry], Entry]]:
        """Return the indexes that this row is in, with its entry there."""
        rank = (-job.priority, job.n)
        match job.waits_for:
            case WaitsFor.WORKER:
                lane = self.ready[self.lane(job.n)]
                return [(lane, rank)] if job.limit is None else [(lane, rank), (self.admitted[job.limit], rank)]
            case WaitsFor.LIMIT if job.limit is not None:
                return [(self.limited[job.limit], rank)]
            case WaitsFor.ANSWER:
                return [(self.deadlines, (job.run_at, job.n))] if job.run_at is not None else []
            case WaitsFor.TIME if job.n in self.due:
                return [(self.lasting, (self.due[job.n], job.n))]
            case WaitsFor.TIME:
                return [(self.delayed, (job.run_at or 0, job.n))]
            case _:
                return [(self.finished, (job.finished_at, job.n))] if job.finished_at is not None else []

    def register(self, worker: NewWorker, clock: Clock) -> str:
        """Add a worker of this process, and return its id."""
        number = len(self.workers) + NOBODY + 1  # rows of workers are never removed
        worker_id = f"w{number}-{uuid4().hex[:8]}"
        info = WorkerInfo(
            id=worker_id,
            name=worker.name,
            pid=os.getpid(),
            host=socket.gethostname(),
            slots=worker.slots,
            queues=worker.queues,
            started_at=to_datetime(clock.now()),
            lease=worker.lease,
        )
        lease = round(worker.lease * SECOND)
        row = WorkerRow(number, info, lease, clock.monotonic() + lease)
        self.workers[worker_id] = self.workers_by_number[number] = row
        return worker_id

    def append(self, events: Sequence[tuple[int, NewEvent]]) -> list[JobEvent]:
        """Append events to the log, whose positions are dense and begin with 1."""
        first = self.end + 1
        for n, event in events:
            self.end += 1
            self.log_of[n].append(self.end)
            self.log[self.end] = self._event(n, event, self.end)
            if event.type == EventType.PROGRESS:
                self.progress[n] = (event.attempt, event.data or {})
        return [self.log[position] for position in range(first, self.end + 1)]

    def _event(self, n: int, event: NewEvent, position: int) -> JobEvent:
        job = self.rows[n]
        # Through its stored form, as in every store, so that later changes of the caller's dict do not reach it.
        data = event_data(msgpack.encode(event.data or {}))
        at = to_datetime(event.at)
        return JobEvent(str(position), job.id, event.seq, event.type, at, event.attempt, event.status, job.group, data)

    def positions(self, job_id: str | None, after: int) -> Sequence[int]:
        """Return the positions in the log after this one, of one job or of all; some of all may have been removed."""
        if job_id is None:
            return range(after + 1, self.end + 1)
        positions = self.log_of.get(self.ids.get(job_id, 0), [])
        return positions[bisect_right(positions, after) :]

    # -- removing

    def neighbours(self, n: int) -> Iterator[JobState]:
        """Yield the jobs that a job is connected with."""
        submitter = self.records[n].parent
        above = () if submitter is None else (submitter,)
        for other in (*self.parents.get(n, ()), *self.dependents.get(n, ()), *self.submitted_by.get(n, ()), *above):
            yield self.rows[other]

    def remove(self, numbers: Iterable[int]) -> None:
        """Delete whole components, and note the highest position of their events."""
        for n in numbers:
            self._unindex(self.rows[n])
            job, record = self.rows.pop(n), self.records.pop(n)
            self.removed += 1
            del self.ids[job.id]
            if record.owner is not None:
                self.owned[record.owner].remove(n)
            for table in (
                self.parents,
                self.dependents,
                self.submitted_by,
                self.attempts,
                self.values,
                self.steps,
                self.gate_rows,
                self.progress,
                self.due,
            ):
                table.pop(n, None)
            for position in self.log_of.pop(n):
                del self.log[position]
                self.pruned = max(self.pruned, position)
