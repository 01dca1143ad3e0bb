"""The hot row as columns: how a ``JobState`` is read and written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from asyncjobs.backends.sqlite.moments import Clocks
from asyncjobs.core.retry import decode_policy
from asyncjobs.core.state import JobState
from asyncjobs.models import JobStatus, WaitsFor

STATUSES: tuple[JobStatus, ...] = tuple(JobStatus)
"""The stored status code is the index: 0 pending, 1 in_progress, 2 completed, 3 failed, 4 cancelled, 5 skipped."""
STATUS_CODE: dict[JobStatus, int] = {status: code for code, status in enumerate(STATUSES)}
_WAITS: tuple[WaitsFor, ...] = tuple(WaitsFor)

STATE_COLUMNS = (
    "n, id, status, waits_for, priority, run_at, attempt, failures, interruptions, max_interruptions, retry, "
    "require, open, met, limit_key, cancel_requested, worker, started_at, finished_at, because, seq, grp, due, boot"
)


def state_from_row(row: Sequence[Any], clocks: Clocks) -> JobState:
    """A row of ``STATE_COLUMNS``."""
    status: int = row[2]
    waits_for: int | None = row[3]
    run_at, lasts = (row[5], False) if row[23] is None else clocks.to_wall(row[5], row[22], row[23])
    return JobState(
        row[0],
        row[1],
        STATUSES[status],
        None if waits_for is None else _WAITS[waits_for],
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
    )
