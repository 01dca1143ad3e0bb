"""Show jobs as the API does: snapshots of rows, with what stands beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import msgpack

from asyncjobs.backends.base import StoredCall
from asyncjobs.backends.sqs import keys, payloads, rows
from asyncjobs.backends.sqs.concurrent import at_once
from asyncjobs.backends.sqs.loading import read_children, read_parents, read_rows
from asyncjobs.backends.sqs.rows import PackedAttempt, Parent, Row
from asyncjobs.backends.sqs.transitions import Transitions
from asyncjobs.backends.unreadable import mark, problem, read_event_data
from asyncjobs.backends.unreadable import metadata as read_metadata
from asyncjobs.backends.values import show_gate
from asyncjobs.checks import encodable
from asyncjobs.clock import to_datetime
from asyncjobs.core.gates import decode_question
from asyncjobs.core.state import SECOND, GateState, Role
from asyncjobs.models import (
    Attempt,
    Edge,
    EdgeState,
    Gate,
    Job,
    JobResult,
    JobStatus,
    OutcomeKind,
    Progress,
    WaitsFor,
)

_PAGE = 50
"""Rows that are read in one call: more would keep the event loop busy for too long."""


class Queries:
    """Answers about jobs that are named."""

    def __init__(self, transitions: Transitions) -> None:
        self._table = transitions.table
        self._clock = transitions.clock

    async def rows(self, ids: Sequence[str]) -> list[Row]:
        """Read the rows of these jobs, in this order; unknown ones are left out."""
        plain = [str.__str__(job_id) for job_id in ids]
        distinct = [job_id for job_id in dict.fromkeys(plain) if encodable(job_id)]
        pages = [distinct[start : start + _PAGE] for start in range(0, len(distinct), _PAGE)]
        read = await at_once(lambda page: read_rows(self._table, page), pages)
        found = {job_id: row for page in read for job_id, row in page.items()}
        return [row for job_id in plain if (row := found.get(job_id)) is not None]

    async def jobs(self, ids: Sequence[str]) -> list[Job]:
        """Return these jobs, in this order; unknown ones are left out."""
        return await self.shown(await self.rows(ids))

    async def shown(self, found: Sequence[Row]) -> list[Job]:
        """Return rows as jobs."""
        records = await self._records([row for row in found if row.state.status in _SHOW_ERROR])
        parents = await at_once(self._parents, found)
        questions = await at_once(self._question, found)
        return [
            self._job(row, above, records.get(row.id), question)
            for row, above, question in zip(found, parents, questions, strict=True)
        ]

    async def _parents(self, row: Row) -> Sequence[Parent]:
        return await read_parents(self._table, row) if row.parents is None else row.parents

    async def _question(self, row: Row) -> bytes | None:
        """Read what a gate asks, which stands in place of a call."""
        if row.state.role is not Role.GATE or not row.fixed.call_parts:
            return row.fixed.call
        return await payloads.read_call(self._table, row)

    async def _records(self, found: Sequence[Row]) -> dict[str, PackedAttempt]:
        wanted = {rows.attempt_key(row, row.failed_attempt): row.id for row in found if row.failed_attempt is not None}
        items = await self._table.get(list(wanted)) if wanted else {}
        return {job_id: rows.read_attempt(items[key]["a"]) for key, job_id in wanted.items() if key in items}

    def _job(self, row: Row, parents: Sequence[Parent], record: PackedAttempt | None, question: bytes | None) -> Job:
        state, fixed = row.state, row.fixed
        problems = [] if state.unreadable is None else [state.unreadable.removeprefix("unreadable: ")]
        try:
            metadata = read_metadata(fixed.metadata)
        except Exception as unreadable:  # border: whatever is stored there
            metadata = {}
            problems.append(problem("metadata", unreadable))
        gate = self._gate(row, question, problems)
        worker_id, worker = row.worker if row.worker is not None and state.worker is not None else (None, None)
        return Job(
            id=row.id,
            func=fixed.function,
            status=state.status,
            queue=fixed.queue,
            priority=state.priority,
            group=state.group,
            metadata=metadata,
            attempt=state.attempt,
            failures=state.failures,
            interruptions=state.interruptions,
            max_retries=state.retry.max_retries,
            timeout=fixed.timeout,
            dependencies_met=state.status is not JobStatus.SKIPPED and state.waits_for is not WaitsFor.DEPENDENCIES,
            cancel_requested=state.cancel_requested,
            created_at=to_datetime(fixed.created_at),
            run_at=_moment(self._run_at(row)) if gate is None else None,
            started_at=_moment(state.started_at),
            finished_at=_moment(state.finished_at),
            worker=worker,
            parent_id=fixed.parent_id,
            because=state.because,
            error=None if record is None else record.error,
            progress=self._progress(row, problems),
            limit=state.limit,
            waits_for=state.waits_for,
            version=state.seq,
            unreadable=mark(problems) if problems else None,
            worker_id=worker_id,
            depends_on=tuple([parent.id for parent in sorted(parents, key=lambda parent: parent.n)]),
            gate=gate,
            parked=row.parked_id,
        )

    def _run_at(self, row: Row) -> int | None:
        """Return when a delayed job comes due; its stored moment, unless the wall clock was set since."""
        stored = row.state.run_at
        if row.due is None or stored is None:
            return stored
        moved = row.due - self._clock.steady() + self._clock.now()
        return moved if abs(moved - stored) >= SECOND else stored

    def _gate(self, row: Row, question: bytes | None, problems: list[str]) -> Gate | None:
        if row.state.role is not Role.GATE:
            return None
        try:
            asked = decode_question(question or b"")
        except ValueError as error:
            problems.append(problem("question", error))
            return Gate("?")
        return show_gate(asked, row.gate or GateState(row.n), row.state.run_at, row.fixed.parent_id)

    def _progress(self, row: Row, problems: list[str]) -> Progress | None:
        if row.progress is None:
            return None
        try:
            attempt, data = msgpack.decode(row.progress, type=tuple[int, bytes | None])
            if attempt != row.state.attempt:
                return None  # that of an earlier attempt does not count
            return _read_progress({} if data is None else read_event_data(data))
        except Exception as error:  # border: whatever is stored there
            problems.append(problem("progress", error))
            return None

    async def results(self, ids: Sequence[str]) -> dict[str, JobResult]:
        """Return how these jobs ended."""
        found = await self.rows(list(dict.fromkeys(ids)))
        completed = [row for row in found if row.state.status is JobStatus.COMPLETED]
        values = await payloads.read_values(self._table, completed)
        found = await self._without_removed(found, values)
        records = await self._records([row for row in found if row.state.status is JobStatus.FAILED])
        results: dict[str, JobResult] = {}
        for row in found:
            state, record = row.state, records.get(row.id)
            results[row.id] = JobResult(
                job_id=row.id,
                status=state.status,
                function=row.fixed.function,
                value=values.get(row.id),
                error=None if record is None else record.error,
                because=state.because,
                attempt=state.attempt,
                interruptions=state.interruptions,
                error_kind=None if record is None else record.kind,
                answered_by=None if row.gate is None else row.gate.answered_by,
            )
        return results

    async def _without_removed(self, found: Sequence[Row], values: Mapping[str, bytes | None]) -> Sequence[Row]:
        """Leave out jobs that were removed after their rows were read: their results are gone."""
        lost = {row.id for row in found if row.value_at is not None and values.get(row.id, b"") is None}
        if not lost:
            return found
        left = {row.id for row in await self.rows(list(lost))}
        return [row for row in found if row.id not in lost or row.id in left]

    async def attempts(self, job_id: str) -> list[Attempt]:
        """Return every attempt of a job, the first one first. The row records the one that runs or succeeded."""
        found = await self.rows([job_id])
        if not found:
            return []
        (row,) = found
        items = await self._table.query_all(row.partition, begins=keys.ATTEMPT)
        ended = sorted((rows.read_attempt(item["a"]) for item in items), key=lambda record: record.attempt)
        attempts = [_attempt(row.id, record) for record in ended if record.attempt > 0]
        state = row.state
        if state.attempt > 0 and state.status in (JobStatus.IN_PROGRESS, JobStatus.COMPLETED):
            kind = OutcomeKind.SUCCEEDED if state.status is JobStatus.COMPLETED else None
            name = None if row.worker is None else row.worker[1]
            started_at = to_datetime(state.started_at or 0)
            attempts.append(Attempt(row.id, state.attempt, name, started_at, _moment(state.finished_at), kind))
        return attempts

    async def call(self, job_id: str) -> StoredCall | None:
        """Return what a job calls."""
        found = await self.rows([job_id])
        if not found:
            return None
        (row,) = found
        call = row.fixed.call if row.fixed.call is not None else await payloads.read_call(self._table, row)
        return StoredCall(row.fixed.function, call or b"", row.fixed.injects)

    async def dependencies(self, ids: Sequence[str]) -> list[Edge]:
        """Return the edges whose child is one of these."""
        edges: list[Edge] = []
        found = await self.rows(list(dict.fromkeys(ids)))
        for row, parents in zip(found, await at_once(self._parents, found), strict=True):
            pairs = sorted(zip(parents, row.edges, strict=True), key=lambda pair: pair[0].n)
            edges += [Edge(parent.id, row.id, parent.optional, EdgeState(state)) for parent, state in pairs]
        return edges

    async def dependents(self, ids: Sequence[str]) -> list[Edge]:
        """Return the edges whose parent is one of these."""
        parents = [row for row in await self.rows(list(dict.fromkeys(ids))) if row.kids]
        children = await at_once(lambda row: read_children(self._table, row), parents)
        found = {row.id: row for row in await self.rows([child.id for of in children for child in of])}
        return [
            Edge(parent.id, child.id, child.optional, EdgeState(row.edges[child.place]))
            for parent, of in zip(parents, children, strict=True)
            for child in of
            if (row := found.get(child.id)) is not None and row.n == child.n
        ]


_SHOW_ERROR = (JobStatus.PENDING, JobStatus.FAILED)


_NUMBERS = frozenset({int, float})


def _read_progress(fields: Mapping[str, Any]) -> Progress:
    done, total, message = fields.get("done", 0), fields.get("total"), fields.get("message")
    if type(done) not in _NUMBERS or (total is not None and type(total) not in _NUMBERS):
        raise ValueError("its values are not numbers")
    return Progress(done, total, None if message is None else str(message))


def _moment(moment: int | None) -> datetime | None:
    return None if moment is None else to_datetime(moment)


def _attempt(job_id: str, record: PackedAttempt) -> Attempt:
    started_at = to_datetime(record.started_at or 0)
    finished_at = _moment(record.finished_at)
    return Attempt(job_id, record.attempt, record.name, started_at, finished_at, record.kind, record.error)
