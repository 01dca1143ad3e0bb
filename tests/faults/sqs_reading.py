"""Read a whole store in SQS and DynamoDB for the checker: rows as they are stored, events in the order of the log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from asyncjobs.backends.sqs.backend import SQSBackend
from asyncjobs.backends.sqs.rows import Row
from asyncjobs.config import SQSConfig
from asyncjobs.models import JobEvent
from asyncjobs.paging import iter_pages
from asyncjobs.requests import JobQuery
from tests.faults.checker import EventRow, JobRow, Stored

_PAGE = 200


async def read_store(config: SQSConfig) -> Stored:
    """Read everything, when no other process writes."""
    async with SQSBackend(config) as backend:
        ids = [job.id async for page in iter_pages(backend.find_jobs, JobQuery(limit=_PAGE)) for job in page]
        rows = [row for start in range(0, len(ids), _PAGE) for row in await _rows(backend, ids[start : start + _PAGE])]
        numbers = {row.id: row.n for row in rows}
        events = await _read_log(backend)
        return Stored(
            jobs={row.n: _job_row(row) for row in rows},
            events=[_event_row(place, event, numbers) for place, event in enumerate(events, 1)],
            edges=[
                (numbers[edge.parent_id], numbers[edge.child_id], edge.optional, edge.state)
                for start in range(0, len(ids), _PAGE)
                for edge in await backend.get_dependencies(ids[start : start + _PAGE])
            ],
            ended=await _ended(backend, rows),
            results=await _results(backend, rows),
            limits=await _limits(backend, rows),
            counters={"event": len(events)},
            integrity="ok",
            askers={row.n: row.gate.asker for row in rows if row.gate is not None and row.gate.asker is not None},
        )


async def _rows(backend: SQSBackend, ids: Sequence[str]) -> list[Row]:
    return await backend._parts.queries.rows(ids)


async def _read_log(backend: SQSBackend) -> list[JobEvent]:
    found: list[JobEvent] = []
    cursor = None
    while True:
        page = await backend.read_events(cursor)
        found += page.events
        cursor = page.cursor
        if page.end:
            return found


def _job_row(row: Row) -> JobRow:
    state = row.state
    return JobRow(
        n=row.n,
        id=row.id,
        status=state.status,
        attempt=state.attempt,
        failures=state.failures,
        interruptions=state.interruptions,
        max_interruptions=state.max_interruptions,
        require=state.require,
        because=state.because,
        seq=state.seq,
        limit=state.limit,
        waits_for=state.waits_for,
        role=state.role,
        parked=state.parked,
    )


def _event_row(place: int, event: JobEvent, numbers: dict[str, int]) -> EventRow:
    data: dict[str, Any] = dict(event.data)
    return EventRow(place, numbers.get(event.job_id, 0), event.seq, event.type, event.attempt, event.status, data)


async def _ended(backend: SQSBackend, rows: Sequence[Row]) -> dict[tuple[int, int], str]:
    found: dict[tuple[int, int], str] = {}
    for row in rows:
        if row.state.failures or row.state.interruptions or row.failed_attempt is not None:
            attempts = await backend.get_attempts(row.id)
            found |= {(row.n, each.attempt): str(each.outcome) for each in attempts}
    return found


async def _results(backend: SQSBackend, rows: Sequence[Row]) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    for start in range(0, len(rows), _PAGE):
        some = rows[start : start + _PAGE]
        results = await backend.get_results([row.id for row in some])
        for row in some:
            value = results[row.id].value
            if value is not None:
                found[row.n] = value
    return found


async def _limits(backend: SQSBackend, rows: Sequence[Row]) -> dict[str, int]:
    keys = {row.state.limit for row in rows if row.state.limit is not None}
    infos = [await backend.get_limit(key) for key in sorted(keys)]
    return {info.key: info.in_progress for info in infos if info is not None}
