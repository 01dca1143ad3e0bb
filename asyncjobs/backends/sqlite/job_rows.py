"""Jobs as rows: the statements that read whole ``Job``s, and how a row becomes one."""

from __future__ import annotations

from typing import Any

from msgspec import json, msgpack

from asyncjobs.backends.clock import to_datetime
from asyncjobs.backends.sqlite.ids import worker_id
from asyncjobs.backends.sqlite.moments import Clocks
from asyncjobs.backends.sqlite.rows import STATUSES
from asyncjobs.core.retry import decode_policy
from asyncjobs.models import Job, JobError, JobStatus, Progress, WaitsFor

_mapping = msgpack.Decoder(dict[str, Any])
_metadata = json.Decoder(dict[str, Any])

# By rowid, not by attempt: giving up a job that never ran is written as attempt 0.
LAST_ATTEMPT = "(SELECT b.rowid FROM attempts b WHERE b.job = j.n ORDER BY b.rowid DESC LIMIT 1)"
_LAST_ERROR = LAST_ATTEMPT.replace("ORDER", "AND b.error_type IS NOT NULL ORDER")


def select_jobs(source: str, order: str) -> str:
    """A statement that reads the jobs whose numbers are column ``n`` of the query ``source``.

    CROSS JOIN keeps the order of the loops as it is written: from the numbers to the rows, each by its key. The error
    is read where the job failed, or is pending, perhaps after a failure.
    """
    return f"""
SELECT j.id, l.function, j.status, l.queue, j.priority, j.grp, c.metadata, j.attempt, j.failures, j.interruptions,
  j.retry, j.timeout, j.waits_for, j.cancel_requested, j.created_at, j.run_at, j.started_at, j.finished_at, w.name,
  o.id, j.because, a.error_type, a.message, a.traceback,
  (SELECT CASE WHEN e.attempt = j.attempt THEN e.data END FROM events e WHERE e.job = j.n AND e.type = 'progress'
   ORDER BY e.seq DESC LIMIT 1),
  j.limit_key, j.seq, j.worker, j.due, j.boot, j.n
FROM ({source}) s
CROSS JOIN jobs j ON j.n = s.n
CROSS JOIN lanes l ON l.n = j.lane
LEFT JOIN calls c ON c.n = j.n
LEFT JOIN workers w ON w.n = j.worker
LEFT JOIN jobs o ON o.n = j.parent
LEFT JOIN attempts a ON a.rowid = CASE WHEN j.status IN (0, 3) THEN {_LAST_ERROR} END
ORDER BY {order}"""


def number_of(row: tuple[Any, ...]) -> int:
    """The job's number in a row of ``select_jobs``."""
    return row[-1]


def job_from_row(row: tuple[Any, ...], clocks: Clocks) -> Job:
    """A row of ``select_jobs``."""
    (
        job_id,
        function,
        status_code,
        queue,
        priority,
        group,
        metadata,
        attempt,
        failures,
        interruptions,
        retry,
        timeout,
        waits_code,
        cancel_requested,
        created_at,
        run_at,
        started_at,
        finished_at,
        worker,
        parent_id,
        because,
        error_type,
        message,
        traceback,
        progress,
        limit,
        seq,
        worker_n,
        due,
        boot,
        _,
    ) = row
    run_at = clocks.to_show(run_at, due, boot)
    status = status_of(status_code)
    waits_for = None if waits_code is None else WaitsFor(waits_code)
    return Job(
        id=job_id,
        function=function,
        status=status,
        queue=queue,
        priority=priority,
        group=group,
        metadata={} if metadata is None else _metadata.decode(metadata),
        attempt=attempt,
        failures=failures,
        interruptions=interruptions,
        max_retries=decode_policy(retry).max_retries,
        timeout=timeout,
        dependencies_met=status is not JobStatus.SKIPPED and waits_for is not WaitsFor.DEPENDENCIES,
        cancel_requested=cancel_requested == 1,
        created_at=to_datetime(created_at),
        run_at=None if run_at is None else to_datetime(run_at),
        started_at=None if started_at is None else to_datetime(started_at),
        finished_at=None if finished_at is None else to_datetime(finished_at),
        worker=worker,
        parent_id=parent_id,
        because=because,
        error=error_from(error_type, message, traceback),
        progress=None if progress is None else _progress_from(progress),
        limit=limit,
        waits_for=waits_for,
        version=seq,
        worker_id=None if worker_n is None else worker_id(worker_n),
    )


def error_from(error_type: str | None, message: str | None, traceback: str | None) -> JobError | None:
    """The three columns of an attempt's error."""
    return None if error_type is None else JobError(error_type, message or "", traceback)


def status_of(code: int) -> JobStatus:
    """The status that this stored code stands for."""
    return STATUSES[code]


def mapping_from(data: bytes | None) -> dict[str, Any]:
    """The data of an event as it is stored: msgpack of a mapping; NULL is an empty one."""
    return {} if data is None else _mapping.decode(data)


def _progress_from(data: bytes) -> Progress:
    said = _mapping.decode(data)
    return Progress(said.get("done", 0), said.get("total"), said.get("message"))
