"""Delete jobs that do not exist, with everything that belongs to them: removed ones, and those of aborted batches."""

from __future__ import annotations

from collections.abc import Sequence

from asyncjobs.backends.sqs import keys, payloads
from asyncjobs.backends.sqs.batches import Contents
from asyncjobs.backends.sqs.concurrent import at_once
from asyncjobs.backends.sqs.table import Table, Update

_ROWS = 50
"""Rows that are read in one call: more would keep the event loop busy for too long."""


async def wipe(table: Table, contents: Contents, named: dict[str, str] | None = None) -> bool:
    """Delete what belongs to these jobs, then their rows; return False if objects in S3 are left, and are still named.

    :param named: the attribute of the rows that names their batch, with its value. None: the rows are gone already.
    """
    found = await at_once(lambda job: table.query_all(keys.job(*job)), contents.rows)
    values = [key for key in contents.others if key[1].startswith(payloads.VALUE)]
    items = [*(await table.get(values)).values(), *(item for items_of_job in found for item in items_of_job)]
    gone = await payloads.discard(table, items)
    await table.delete_many([key for key in contents.others if key not in values])
    if named is not None:
        for start in range(0, len(contents.rows), _ROWS):
            await _delete_rows(table, contents.rows[start : start + _ROWS], named)
    return gone


async def _delete_rows(table: Table, jobs: Sequence[tuple[str, int]], named: dict[str, str]) -> None:
    """Delete the rows of these jobs that are there: what is undone for the second time has none.

    A delete that finds nothing costs as much as one that does, and ten times as much as this read.
    """
    stored = await table.get([keys.row(job_id) for job_id, _ in jobs])
    # Another job may have the id by now: its row has another number, and names another batch.
    rows = [
        Update(key=keys.row(job_id), delete=True, equal={"n": n, **named}, present=("pk",))
        for job_id, n in jobs
        if keys.row(job_id) in stored
    ]
    await table.write_all(rows)
