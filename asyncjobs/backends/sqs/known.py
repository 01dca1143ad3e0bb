"""Remember the rows that this process wrote last: indexes lag behind, and what was just written needs no reading."""

from __future__ import annotations

import time
from collections import OrderedDict, defaultdict
from collections.abc import Iterable

from asyncjobs.backends.sqs import keys
from asyncjobs.backends.sqs.rows import Row
from asyncjobs.models import JobStatus, WaitsFor

_REMEMBERED = 5000
_RECENT = 10.0
"""Seconds that an index may lag behind: what was written within them is looked for here, too."""


class Known:
    """Rows by id, the last written ones. Nothing in it decides: every write is conditional on the row as it is."""

    def __init__(self) -> None:
        self._rows: OrderedDict[str, Row] = OrderedDict()
        self._written: dict[str, float] = {}
        self._ready: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
        self._delayed: set[str] = set()
        self._limited: defaultdict[str, set[str]] = defaultdict(set)

    def notice(self, row: Row) -> None:
        """Keep a row that was written."""
        self.forget(row.id)
        self._rows[row.id] = row
        self._written[row.id] = time.monotonic()
        if row.state.status is JobStatus.PENDING and row.state.waits_for is WaitsFor.WORKER and row.batch is None:
            self._ready[keys.lane(row.fixed.lane)].add((keys.rank(row.state.priority, row.n), row.id))
        if row.state.waits_for is WaitsFor.TIME:
            self._delayed.add(row.id)
        if row.state.waits_for is WaitsFor.LIMIT and row.state.limit is not None:
            self._limited[row.state.limit].add(row.id)
        while len(self._rows) > _REMEMBERED:
            self.forget(next(iter(self._rows)))

    def forget(self, job_id: str) -> None:
        """Forget a row: another process changed it, or it was removed."""
        row = self._rows.pop(job_id, None)
        if row is not None:
            del self._written[job_id]
            self._delayed.discard(job_id)
            if row.state.limit is not None and row.state.limit in self._limited:
                self._limited[row.state.limit].discard(job_id)
            lane = keys.lane(row.fixed.lane)
            ready = self._ready.get(lane)
            if ready is not None:
                ready.discard((keys.rank(row.state.priority, row.n), job_id))
                if not ready:
                    del self._ready[lane]

    def row(self, job_id: str) -> Row | None:
        """Return a row as this process wrote it last."""
        return self._rows.get(job_id)

    def candidate(self, job_id: str) -> Row | None:
        """Return a row that this process wrote, for a job that an index calls ready, unless it must be read again.

        A row that waits may have been released by another process. One that runs or has ended stands in the index
        only because that lags behind; but after a while another process may have had it retried.
        """
        row = self._rows.get(job_id)
        if row is None or (row.state.status is JobStatus.PENDING and row.state.waits_for is not WaitsFor.WORKER):
            return None
        is_old = self._written[job_id] < time.monotonic() - _RECENT
        return None if row.state.status is not JobStatus.PENDING and is_old else row

    def recent(self) -> list[Row]:
        """Return the rows that this process wrote so lately that an index may not have them yet."""
        since = time.monotonic() - _RECENT
        found: list[Row] = []
        for job_id in reversed(self._rows):
            if self._written[job_id] < since:
                break
            found.append(self._rows[job_id])
        return found

    def limited(self, key: str) -> set[str]:
        """Return the jobs that wait for a limited key, as far as this process knows."""
        return set(self._limited.get(key, ()))

    def delayed(self) -> list[Row]:
        """Return the jobs that wait for their time, as far as this process knows."""
        return [self._rows[job_id] for job_id in self._delayed]

    def ready_lanes(self) -> Iterable[str]:
        """Return the lanes that have ready jobs, as far as this process knows."""
        return self._ready.keys()

    def has_ready(self, lane: str) -> bool:
        """Return whether a job of this lane is ready, as far as this process knows."""
        return lane in self._ready

    def ready(self, lanes: Iterable[str]) -> set[tuple[str, str]]:
        """Return the ready jobs of these lanes that this process knows, each with its place in the order."""
        return {entry for lane in lanes for entry in self._ready.get(lane, ())}
