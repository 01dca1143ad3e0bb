"""Map the hot row of a job to columns and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from asyncjobs.backends.sqlite.moments import Clocks
from asyncjobs.backends.unreadable import Reader, Shape, mark
from asyncjobs.core.retry import RetryPolicy, decode_policy, encode_policy
from asyncjobs.core.state import UNKNOWN_GATE, JobState, Role
from asyncjobs.models import JobStatus, WaitsFor

STATUSES: tuple[JobStatus, ...] = tuple(JobStatus)
"""The stored status code is the index: 0 pending, 1 in_progress, 2 completed, 3 failed, 4 cancelled, 5 skipped."""
STATUS_CODE: dict[JobStatus, int] = {status: code for code, status in enumerate(STATUSES)}
STATUS_OF = dict(enumerate(STATUSES))
_WAITS_OF = {int(waits_for): waits_for for waits_for in WaitsFor}
ROLE_OF: dict[int | None, Role | None] = {None: None} | {int(role): role for role in Role}

INSERTED_COLUMNS = (
    "n, id, status, waits_for, priority, run_at, attempt, failures, interruptions, max_interruptions, retry, "
    "require, open, met, limit_key, cancel_requested, worker, started_at, finished_at, because, seq, grp"
)
STATE_COLUMNS = f"{INSERTED_COLUMNS}, due, boot, generation, steps_from, role, parked"
INT, TEXT, BLOB = (int,), (str,), (bytes,)
MAYBE_INT, MAYBE_TEXT, MAYBE_BLOB = (int, type(None)), (str, type(None)), (bytes, type(None))
UNREADABLE_STATUS = STATUS_CODE[JobStatus.FAILED]
"""A job whose status cannot be read counts as failed: no caller waits for it forever, and it can be retried."""
NO_RETRY = encode_policy(RetryPolicy(max_retries=0))
"""The stand-in for a retry policy that cannot be read."""
UNREADABLE_SEQ = -1
"""The stand-in for the number of a job's last event."""
UNREADABLE_ROLE = int(Role.ASKER)
"""The stand-in for the unreadable role of a job that is not a gate: its end then looks for gates that it asked."""

_SHAPE = Shape(
    ("n", INT, 0),
    ("id", TEXT, "?"),
    ("status", INT, UNREADABLE_STATUS),
    ("waits_for", MAYBE_INT, None),
    ("priority", INT, 0),
    ("run_at", MAYBE_INT, None),
    ("attempt", INT, 0),
    ("failures", INT, 0),
    ("interruptions", INT, 0),
    ("max_interruptions", INT, 1),
    ("retry policy", MAYBE_BLOB, NO_RETRY),
    ("require", MAYBE_INT, None),
    ("open", INT, 0),
    ("met", INT, 0),
    ("limit", MAYBE_TEXT, None),
    ("cancel_requested", INT, 0),
    ("worker", MAYBE_INT, None),
    ("started_at", MAYBE_INT, None),
    ("finished_at", MAYBE_INT, None),
    ("because", MAYBE_TEXT, None),
    ("seq", INT, UNREADABLE_SEQ),
    ("group", MAYBE_TEXT, None),
    ("due", MAYBE_INT, None),
    ("boot", MAYBE_INT, None),
    ("generation", INT, 0),
    ("steps_from", INT, 0),
    ("role", MAYBE_INT, UNREADABLE_ROLE),
    ("parked", MAYBE_INT, UNKNOWN_GATE),
)
_READERS: tuple[Reader, ...] = (
    (2, STATUS_OF.__getitem__, UNREADABLE_STATUS),
    (3, _WAITS_OF.__getitem__, None),
    (10, decode_policy, NO_RETRY),
    (26, ROLE_OF.__getitem__, UNREADABLE_ROLE),
)


def state_from_row(row: Sequence[Any], clocks: Clocks) -> JobState:
    """Make a state of a row of ``STATE_COLUMNS``. Unreadable columns have stand-ins, named in ``unreadable``."""
    if tuple(map(type, row)) in _SHAPE.sound or _SHAPE.fits(row):  # the first is the second without the call
        try:
            return _state(row, clocks)
        except Exception:  # border: the row may hold anything; the fault is found again below, with its name
            pass
    values, problems = _SHAPE.mend(row, _READERS)
    return replace(_state(values, clocks), unreadable=mark(problems))


def _state(row: Sequence[Any], clocks: Clocks) -> JobState:
    waits_for: int | None = row[3]
    run_at, lasts = (row[5], False) if row[23] is None else clocks.to_wall(row[5], row[22], row[23])
    return JobState(
        row[0],
        row[1],
        STATUS_OF[row[2]],
        None if waits_for is None else _WAITS_OF[waits_for],
        row[4],
        run_at,
        row[6],
        row[7],
        row[8],
        row[9],
        decode_policy(row[10]),
        row[11],
        row[12],
        row[13],
        row[14],
        row[15] == 1,
        row[16],
        row[17],
        row[18],
        row[19],
        row[20],
        row[21],
        lasts,
        row[24],
        row[25],
        ROLE_OF[row[26]],
        row[27],
    )
