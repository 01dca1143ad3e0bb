"""Answer queries from the tables: rows as the API shows them, and pages of them."""

from __future__ import annotations

import heapq
from datetime import datetime
from itertools import islice
from typing import Any

from msgspec.structs import replace

from asyncjobs.backends.base import AttemptRef, ClaimedJob, StoredCall
from asyncjobs.backends.bounds import LOOKED_AT, PAGE_BYTES, SMALL_VALUE, check_group, check_key, check_limit
from asyncjobs.backends.matching import check_query, contains, cursor_number, statuses
from asyncjobs.backends.memory.tables import Tables
from asyncjobs.backends.unreadable import mark, problem
from asyncjobs.backends.unreadable import metadata as read_metadata
from asyncjobs.backends.values import KeptStep, StepPage, show_gate
from asyncjobs.clock import from_datetime, to_datetime
from asyncjobs.core.gates import decode_question
from asyncjobs.core.plan import Record
from asyncjobs.core.state import SECOND, EdgeRow, EndedAttempt, JobState, Role
from asyncjobs.exceptions import ConfigurationError
from asyncjobs.models import (
    Attempt,
    Edge,
    EventPage,
    Gate,
    GroupProgress,
    Job,
    JobError,
    JobEvent,
    JobPage,
    JobResult,
    JobStatus,
    OutcomeKind,
    Progress,
    WaitsFor,
    WorkerInfo,
)
from asyncjobs.requests import JobQuery


class Queries:
    """Answers, built anew for each call, so that a caller that modifies one does not modify the store."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def job(self, n: int) -> Job:
        """Return a snapshot of a row with everything that belongs to it."""
        tables = self._tables
        row, record = tables.rows[n], tables.records[n]
        shows_error = row.status in (JobStatus.PENDING, JobStatus.FAILED)
        metadata, unreadable = self._metadata(n)
        gate, unreadable = self._gate(row, record, unreadable)
        return Job(
            id=row.id,
            func=record.function,
            status=row.status,
            queue=record.queue,
            priority=row.priority,
            group=row.group,
            metadata=metadata,
            attempt=row.attempt,
            failures=row.failures,
            interruptions=row.interruptions,
            max_retries=row.retry.max_retries,
            timeout=record.timeout,
            dependencies_met=row.status is not JobStatus.SKIPPED and row.waits_for is not WaitsFor.DEPENDENCIES,
            cancel_requested=row.cancel_requested,
            created_at=to_datetime(record.created_at),
            run_at=_moment(self._run_at(row)) if gate is None else None,
            started_at=_moment(row.started_at),
            finished_at=_moment(row.finished_at),
            worker=self._worker_name(row.worker),
            parent_id=self._parent_id(n),
            because=row.because,
            error=self._last_error(n) if shows_error else None,
            progress=_progress(tables.progress.get(n), row.attempt),
            limit=row.limit,
            waits_for=row.waits_for,
            version=row.seq,
            unreadable=unreadable,
            worker_id=self._worker_id(row.worker),
            depends_on=tuple(tables.rows[edge.parent].id for edge in tables.edges_to([n])),
            gate=gate,
            parked=None if row.parked is None else tables.rows[row.parked].id,
        )

    def result(self, n: int) -> JobResult:
        """Return the status of a job and how it ended."""
        row = self._tables.rows[n]
        ended = list(self._tables.attempts[n].values()) if row.status is JobStatus.FAILED else []
        return JobResult(
            job_id=row.id,
            status=row.status,
            function=self._tables.records[n].function,
            value=self._tables.values.get(n) if row.status is JobStatus.COMPLETED else None,
            error=ended[-1].error if ended else None,
            because=row.because,
            attempt=row.attempt,
            interruptions=row.interruptions,
            error_kind=ended[-1].kind if ended else None,
            answered_by=gate.answered_by if (gate := self._tables.gate_rows.get(n)) is not None else None,
        )

    def claimed(self, job: JobState, worker: str) -> ClaimedJob:
        """Return what a worker receives of a job that it has just claimed."""
        record = self._tables.records[job.n]
        return ClaimedJob(
            attempt=AttemptRef(job.id, job.attempt, worker, job.n),
            function=record.function,
            call=record.call,
            injects=record.injects,
            retry=job.retry,
            timeout=record.timeout,
            group=job.group,
            started_at=job.started_at or 0,
            cancel_requested=job.cancel_requested,
            isolation=record.isolation,
        )

    def attempts(self, n: int) -> list[Attempt]:
        """Return every attempt, the first one first. The hot row records the one that runs or succeeded."""
        row = self._tables.rows[n]
        attempts = [
            self._attempt(row.id, ended, ended.kind, ended.error)
            for number, ended in sorted(self._tables.attempts[n].items())
            if number > 0  # 0 is not an attempt: it records why a pending job was given up
        ]
        if row.status is JobStatus.IN_PROGRESS:
            attempts.append(self._attempt(row.id, row, None, None))
        elif row.status is JobStatus.COMPLETED and row.attempt > 0:  # a gate has none
            attempts.append(self._attempt(row.id, row, OutcomeKind.SUCCEEDED, None))
        return attempts

    def edge(self, row: EdgeRow) -> Edge:
        """Return an edge by the ids of its jobs."""
        rows = self._tables.rows
        return Edge(rows[row.parent].id, rows[row.child].id, row.optional, row.state)

    def find(self, query: JobQuery) -> JobPage:
        """Return a page by keyset: the cursor is the number of the last job of the page before."""
        check_query(query)
        after = cursor_number("JobQuery.cursor", query.cursor)
        newest = query.order == "newest"
        page: list[Job] = []
        last = 0
        for n in reversed(self._tables.rows) if newest else self._tables.rows:
            seen = after is not None and (n >= after if newest else n <= after)
            if seen or not self._matches(query, n):
                continue
            if len(page) == query.limit:
                return JobPage(page, next=str(last))
            page.append(self.job(n))
            last = n
        return JobPage(page)

    def _matches(self, query: JobQuery, n: int) -> bool:
        row, record = self._tables.rows[n], self._tables.records[n]
        wanted = statuses(query)
        return (
            (query.ids is None or row.id in query.ids)
            and (wanted is None or row.status in wanted)
            and query.group in (None, row.group)
            and query.queue in (None, record.queue)
            and query.function in (None, record.function)
            and query.parent_id in (None, self._parent_id(n))
            and query.worker_id in (None, self._worker_id(row.worker))
            and (query.waits_for is None or row.waits_for is WaitsFor.ANSWER)
            and (query.created_after is None or record.created_at > from_datetime(query.created_after))
            and (query.created_before is None or record.created_at < from_datetime(query.created_before))
            and (not query.metadata or contains(self._metadata(n)[0], query.metadata))
        )

    def ids(self, prefix: str, limit: int) -> list[str]:
        """Return the first ids that begin with ``prefix``."""
        check_limit(limit)
        return heapq.nsmallest(limit, (job_id for job_id in self._tables.ids if job_id.startswith(prefix)))

    def call(self, n: int) -> StoredCall:
        """Return the stored call of a job."""
        record = self._tables.records[n]
        return StoredCall(record.function, record.call, record.injects)

    def steps(self, job_id: str, after: str | None, limit: int, values: bool) -> StepPage:
        """Return a page of the steps that count, and the key behind which the next one begins."""
        check_limit(limit)
        if after is not None:
            check_key("after", after)
        page: list[KeptStep] = []
        room = PAGE_BYTES
        for key, value in self._tables.counting_steps(job_id).items():
            if key <= (after or ""):
                continue
            shown = value if values and len(value) <= SMALL_VALUE else None
            room -= len(shown or b"")
            if page and (len(page) == limit or room < 0):
                return StepPage(tuple(page), page[-1].key)
            page.append(KeptStep(key, len(value), shown))
        return StepPage(tuple(page))

    def workers(self, now: int) -> list[WorkerInfo]:
        """Return the workers that are not gone, alive as long as their lease runs."""
        tables = self._tables
        return [
            replace(row.info, alive=row.expires >= now, running=len(tables.running[row.n]))
            for row in tables.workers.values()
            if not row.gone
        ]

    def groups(self, after: str | None, limit: int) -> list[GroupProgress]:
        """Return the next groups by name."""
        check_limit(limit)
        check_group("after", after)
        counts: dict[str, dict[JobStatus, int]] = {}
        for job in self._tables.rows.values():
            if job.group is not None and (after is None or job.group > after):
                of_group = counts.setdefault(job.group, {})
                of_group[job.status] = of_group.get(job.status, 0) + 1
        names = heapq.nsmallest(limit, counts)
        return [GroupProgress(name, sum(counts[name].values()), counts[name]) for name in names]

    def durations(self, function: str, limit: int) -> list[float]:
        """Return the seconds that completed jobs of this function took, the one submitted last first."""
        check_limit(limit)
        recent = islice(reversed(self._tables.completed), LOOKED_AT)
        tables = self._tables
        rows = (tables.rows[n] for n in recent if tables.records[n].function == function and n not in tables.gate_rows)
        # Not below 0: the wall clock may have been set back meanwhile.
        return [max(0, (row.finished_at or 0) - (row.started_at or 0)) / SECOND for row in islice(rows, limit)]

    def count(self, group: str | None) -> dict[JobStatus, int]:
        """Count the jobs of each status by a walk over all jobs."""
        counts: dict[JobStatus, int] = {}
        for job in self._tables.rows.values():
            if group in (None, job.group):
                counts[job.status] = counts.get(job.status, 0) + 1
        return counts

    def unfinished(self, group: str | None) -> bool:
        """Return whether any job (of the group) has not ended."""
        live = {JobStatus.PENDING, JobStatus.IN_PROGRESS}
        return any(job.status in live and group in (None, job.group) for job in self._tables.rows.values())

    def events(self, after: str | None, limit: int, job_id: str | None, group: str | None) -> EventPage:
        """Return a page of the log; its cursor is the position up to which it was read."""
        if limit < 1:
            raise ConfigurationError("limit", limit, allowed="a whole number from 1")
        log, end = self._tables.log, self._tables.end
        start = cursor_number("after", after) or 0
        if start > end:
            raise ConfigurationError("after", after, allowed="a cursor that this store gave")
        lost = after is not None and start < self._tables.pruned
        events: list[JobEvent] = []
        for position in self._tables.positions(job_id, start):
            event = log.get(position)
            if event is not None and group in (None, event.group):
                if len(events) == limit:
                    return EventPage(events, events[-1].cursor, end=False, lost=lost)
                events.append(event)
        return EventPage(events, str(end), end=True, lost=lost)

    def _metadata(self, n: int) -> tuple[dict[str, Any], str | None]:
        """Return the stored metadata, and the mark if it cannot be read."""
        try:
            return read_metadata(self._tables.records[n].metadata), None
        except Exception as error:  # border: any stored bytes
            return {}, mark([problem("metadata", error)])

    def _gate(self, row: JobState, record: Record, unreadable: str | None) -> tuple[Gate | None, str | None]:
        """Return the gate of a job (None if it is not one), and its mark, also if the question cannot be read."""
        if row.role is not Role.GATE:
            return None, unreadable
        try:
            question = decode_question(record.call)
        except ValueError as error:
            problems = [problem("question", error)] if unreadable is None else [unreadable, problem("question", error)]
            return Gate("?"), mark(problems)
        state = self._tables.gate_rows[row.n]
        return show_gate(question, state, row.run_at, self._parent_id(row.n)), unreadable

    def _parent_id(self, n: int) -> str | None:
        parent = self._tables.records[n].parent
        return None if parent is None else self._tables.rows[parent].id

    def _attempt(
        self, job_id: str, of: EndedAttempt | JobState, kind: OutcomeKind | None, error: JobError | None
    ) -> Attempt:
        worker = self._worker_name(of.worker)
        started_at = to_datetime(of.started_at or 0)
        return Attempt(job_id, of.attempt, worker, started_at, _moment(of.finished_at), kind, error)

    def _last_error(self, n: int) -> JobError | None:
        return next((e.error for e in reversed(self._tables.attempts[n].values()) if e.error is not None), None)

    def _run_at(self, row: JobState) -> int | None:
        # The stored moment, unless the wall clock was set since: the drift of a clock would look like a change.
        moved = self._tables.by_the_clock(row.n).run_at
        return moved if moved is None or row.run_at is None or abs(moved - row.run_at) >= SECOND else row.run_at

    def _worker_id(self, worker: int | None) -> str | None:
        row = self._tables.workers_by_number.get(worker or 0)
        return None if row is None else row.info.id

    def _worker_name(self, worker: int | None) -> str | None:
        row = self._tables.workers_by_number.get(worker or 0)
        return None if row is None else row.info.name


def _moment(moment: int | None) -> datetime | None:
    return None if moment is None else to_datetime(moment)


def _progress(stored: tuple[int, dict[str, Any]] | None, attempt: int) -> Progress | None:
    if stored is None or stored[0] != attempt:
        return None  # that of an earlier attempt does not count
    data = stored[1]
    return Progress(data.get("done", 0), data.get("total"), data.get("message"))
