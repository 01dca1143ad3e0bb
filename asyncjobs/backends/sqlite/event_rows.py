"""Append events to the log, and make of what was appended what listeners get."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Protocol

from msgspec import msgpack

from asyncjobs.backends.committed_events import CommittedEvents
from asyncjobs.backends.sqlite.bulk import bulk
from asyncjobs.backends.sqlite.rows import STATUS_CODE
from asyncjobs.clock import to_datetime
from asyncjobs.core.state import NewEvent
from asyncjobs.models import JobEvent, JobStatus

_COLUMNS = ("position", "job", "seq", "type", "at", "attempt", "status", "grp", "data")
# sqlite3 searches an adapter for each NULL that it binds: the last two columns are left out if no row has them.
_HEADS = {columns: f"INSERT INTO events({', '.join(_COLUMNS[:columns])})" for columns in (7, 8, 9)}
_CODES: dict[JobStatus | None, int | None] = {None: None, **STATUS_CODE}


class Subject(Protocol):
    """The job of an event: its state, or its submission."""

    @property
    def id(self) -> str:
        """The id of the job."""
        ...

    @property
    def group(self) -> str | None:
        """The group of the job."""
        ...


def append_events(
    connection: sqlite3.Connection,
    events: Sequence[tuple[int, NewEvent]],
    jobs: Sequence[Subject],
    last: int,
) -> CommittedEvents:
    """Append events, each with the number of its job, after the position ``last``, in order.

    :param jobs: for each event, its job.
    """
    rows: list[tuple[Any, ...]] = [
        (last + i, n, event.seq, event.type, event.at, event.attempt, _CODES[event.status])
        for i, (n, event) in enumerate(events, start=1)
    ]
    columns = 7
    groups = [job.group for job in jobs]
    data = [event.data for _, event in events]
    if any(data):
        columns = 9
        rows = [
            (*row, group, msgpack.encode(values) if values else None)
            for row, group, values in zip(rows, groups, data, strict=True)
        ]
    elif groups.count(None) < len(groups):
        columns = 8
        rows = [(*row, group) for row, group in zip(rows, groups, strict=True)]
    bulk(connection, _HEADS[columns], "", columns, rows)
    stored = [event for _, event in events]
    changes = [(job.id, event) for job, event in zip(jobs, stored, strict=True)]
    return CommittedEvents(changes, last + 1, lambda: _make_events(jobs, stored, last + 1))


def _make_events(jobs: Sequence[Subject], stored: Sequence[NewEvent], first: int) -> list[JobEvent]:
    moments = {at: to_datetime(at) for at in {event.at for event in stored}}  # most have the same moment
    return [
        JobEvent(
            str(position),
            job.id,
            event.seq,
            event.type,
            moments[event.at],
            event.attempt,
            event.status,
            job.group,
            event.data or {},
        )
        for position, (job, event) in enumerate(zip(jobs, stored, strict=True), start=first)
    ]
