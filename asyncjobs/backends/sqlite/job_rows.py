"""Read whole ``Job``s: the statement that selects their columns, and how a row becomes one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from asyncjobs.backends import unreadable
from asyncjobs.backends.sqlite.ids import worker_id
from asyncjobs.backends.sqlite.moments import Clocks
from asyncjobs.backends.sqlite.payloads import CALL, JOIN_CALL, METADATA
from asyncjobs.backends.sqlite.rows import (
    INT,
    MAYBE_BLOB,
    MAYBE_INT,
    MAYBE_TEXT,
    NO_RETRY,
    ROLE_OF,
    STATUS_OF,
    TEXT,
    UNREADABLE_STATUS,
)
from asyncjobs.backends.unreadable import Reader, Shape, mark
from asyncjobs.backends.values import show_gate
from asyncjobs.clock import to_datetime
from asyncjobs.core.gates import decode_question, encode_question
from asyncjobs.core.requests import Question
from asyncjobs.core.retry import decode_policy
from asyncjobs.core.state import GateState
from asyncjobs.models import Job, JobError, JobStatus, Progress, WaitsFor

# By rowid, not by attempt: giving up a job that never ran is written as attempt 0.
LAST_ATTEMPT = "(SELECT b.rowid FROM attempts b WHERE b.job = j.n ORDER BY b.rowid DESC LIMIT 1)"
_LAST_ERROR = LAST_ATTEMPT.replace("ORDER", "AND b.error_type IS NOT NULL ORDER")

# In the same statement, so that a removal between two statements cannot show a job without its dependencies. The index
# gives the order of the numbers. No id contains a NUL.
_PARENTS = """(SELECT group_concat(p.id, char(0)) FROM edges e CROSS JOIN jobs p ON p.n = e.parent
   WHERE e.child = j.n)"""


def select_jobs(source: str, order: str) -> str:
    """Return a statement that reads the jobs whose numbers are column ``n`` of the query ``source``.

    CROSS JOIN keeps the order of the loops as it is written: from the numbers to the rows, each by its key. The error
    is read if the job failed, or is pending, perhaps after a failure.

    A job is a gate by its role or, if that cannot be read, by its row in ``gates``: either gives it a question. If
    that row is missing, or the gate on which a job is parked, a value of a wrong type takes its place.
    """
    return f"""
SELECT j.id, l.function, j.status, l.queue, j.priority, j.grp, {METADATA}, j.attempt, j.failures, j.interruptions,
  j.retry, j.timeout, j.waits_for, j.cancel_requested, j.created_at, j.run_at, j.started_at, j.finished_at, w.name,
  o.id, j.because, a.error_type, a.message, a.traceback,
  (SELECT CASE WHEN e.attempt = j.attempt THEN e.data END FROM events e WHERE e.job = j.n AND e.type = 'progress'
   ORDER BY e.seq DESC LIMIT 1),
  j.limit_key, j.seq, j.worker, j.due, j.boot, {_PARENTS}, j.role,
  CASE WHEN g.n IS NULL AND j.role = 1 THEN 'missing' ELSE g.n END,
  CASE WHEN g.n IS NOT NULL OR j.role = 1 THEN ifnull({CALL}, x'') END,
  g.asker, g.opened_at, g.answered_by, g.answered_at, CASE WHEN j.parked IS NOT NULL THEN ifnull(h.id, 0) END, j.n
FROM ({source}) s
CROSS JOIN jobs j ON j.n = s.n
LEFT JOIN lanes l ON l.n = j.lane
{JOIN_CALL}
LEFT JOIN workers w ON w.n = j.worker
LEFT JOIN jobs o ON o.n = j.parent
LEFT JOIN attempts a ON a.rowid = CASE WHEN j.status IN (0, 3) THEN {_LAST_ERROR} END
LEFT JOIN gates g ON g.n = CASE WHEN j.role IS NOT NULL THEN j.n END
LEFT JOIN jobs h ON h.n = j.parked
ORDER BY {order}"""


def get_number(row: tuple[Any, ...]) -> int:
    """Return the job's number in a row of ``select_jobs``."""
    return row[-1]


_NO_QUESTION = encode_question(Question(question="?"))
"""The stand-in for an unreadable question."""
_SHAPE = Shape(
    ("id", TEXT, "?"),
    ("function", TEXT, "?"),
    ("status", INT, UNREADABLE_STATUS),
    ("queue", TEXT, "?"),
    ("priority", INT, 0),
    ("group", MAYBE_TEXT, None),
    ("metadata", MAYBE_TEXT, None),
    ("attempt", INT, 0),
    ("failures", INT, 0),
    ("interruptions", INT, 0),
    ("retry policy", MAYBE_BLOB, NO_RETRY),
    ("timeout", (float, type(None)), None),
    ("waits_for", MAYBE_INT, None),
    ("cancel_requested", INT, 0),
    ("created_at", INT, 0),
    ("run_at", MAYBE_INT, None),
    ("started_at", MAYBE_INT, None),
    ("finished_at", MAYBE_INT, None),
    ("worker", MAYBE_TEXT, None),
    ("parent", MAYBE_TEXT, None),
    ("because", MAYBE_TEXT, None),
    ("error", MAYBE_TEXT, "?"),
    ("message of the error", MAYBE_TEXT, "?"),
    ("traceback", MAYBE_TEXT, None),
    ("progress", MAYBE_BLOB, None),
    ("limit", MAYBE_TEXT, None),
    ("seq", INT, 0),
    ("number of the worker", MAYBE_INT, None),
    ("due", MAYBE_INT, None),
    ("boot", MAYBE_INT, None),
    ("dependencies", MAYBE_TEXT, None),
    ("role", MAYBE_INT, None),
    ("gate", MAYBE_INT, None),
    ("question", MAYBE_BLOB, _NO_QUESTION),
    ("asker", MAYBE_INT, None),
    ("opened_at", MAYBE_INT, None),
    ("answered_by", MAYBE_TEXT, "?"),
    ("answered_at", MAYBE_INT, None),
    ("parked", MAYBE_TEXT, None),
    ("n", INT, 0),
)


def job_from_row(row: tuple[Any, ...], clocks: Clocks) -> Job:
    """Make a job of a row of ``select_jobs``. Unreadable columns have stand-ins, named in ``Job.unreadable``."""
    if _SHAPE.fits(row):
        try:
            return _job(row, clocks)
        except Exception:  # border: the row may hold anything; the fault is found again below, with its name
            pass
    values, problems = _SHAPE.mend(row, _READERS)
    return replace(_job(values, clocks), unreadable=mark(problems))


def _job(row: Sequence[Any], clocks: Clocks) -> Job:
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
        parents,
        role,
        _,
        question,
        asker,
        opened_at,
        answered_by,
        answered_at,
        parked,
        n,
    ) = row
    run_at = clocks.to_show(run_at, due, boot)
    gate = None
    if role not in ROLE_OF:
        raise ValueError("it is not a known role")
    if question is not None:
        state = GateState(n, None, asker, 0, opened_at, answered_at, answered_by)
        gate, run_at = show_gate(decode_question(question), state, run_at, parent_id), None
    status = STATUS_OF[status_code]
    waits_for = None if waits_code is None else WaitsFor(waits_code)
    return Job(
        id=job_id,
        func=function,
        status=status,
        queue=queue,
        priority=priority,
        group=group,
        metadata=unreadable.metadata(metadata),
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
        depends_on=() if parents is None else tuple(parents.split("\0")),
        gate=gate,
        parked=parked,
    )


def error_from(error_type: str | None, message: str | None, traceback: str | None) -> JobError | None:
    """Make an error of the three columns of an attempt; None without one."""
    if error_type is None:
        return None
    return JobError(_text(error_type), _text(message or ""), None if traceback is None else _text(traceback))


def _text(stored: object) -> str:
    return stored if isinstance(stored, str) else mark([f"error ({type(stored).__name__})"])


def parse_status(code: int) -> JobStatus:
    """Return the status of a stored code; ``failed`` for a code that cannot be read."""
    return STATUS_OF.get(code, JobStatus.FAILED)


def _progress_from(data: bytes) -> Progress:
    fields = unreadable.read_event_data(data)
    done, total, message = fields.get("done", 0), fields.get("total"), fields.get("message")
    if type(done) not in _NUMBERS or (total is not None and type(total) not in _NUMBERS):
        raise ValueError("its values are not numbers")
    return Progress(done, total, None if message is None else str(message))


_NUMBERS = frozenset({int, float})
_READERS: tuple[Reader, ...] = (
    (2, STATUS_OF.__getitem__, UNREADABLE_STATUS),
    (6, unreadable.metadata, None),
    (10, decode_policy, NO_RETRY),
    (12, WaitsFor, None),
    (14, to_datetime, 0),
    (15, to_datetime, None),
    (16, to_datetime, None),
    (17, to_datetime, None),
    (24, _progress_from, None),
    (31, ROLE_OF.__getitem__, None),
    (33, decode_question, _NO_QUESTION),
    (35, to_datetime, None),
    (37, to_datetime, None),
)
