"""Delete jobs that do not exist, with everything that belongs to them: removed ones, and those of aborted batches."""

from __future__ import annotations

from collections.abc import Sequence

from asyncjobs.backends.sqs import keys
from asyncjobs.backends.sqs.batches import Contents
from asyncjobs.backends.sqs.concurrent import at_once
from asyncjobs.backends.sqs.table import Key, Table, Update


async def wipe(table: Table, contents: Contents, named: dict[str, str] | None = None) -> None:
    """Delete what belongs to these jobs, then their rows.

    :param named: the attribute of the rows that names their batch, with its value. None: the rows are gone already.
    """
    found = await at_once(lambda job: _belonging(table, *job), contents.rows)
    await table.delete_many([*contents.others, *(key for keys_of_job in found for key in keys_of_job)])
    if named is not None:
        # Another job may have the id by now: its row has another number, and names another batch.
        gone = [
            Update(key=keys.row(job_id), delete=True, equal={"n": n, **named}, present=("pk",))
            for job_id, n in contents.rows
        ]
        await table.write_all(gone)


async def _belonging(table: Table, job_id: str, n: int) -> Sequence[Key]:
    return [(item["pk"], item["sk"]) for item in await table.query_all(keys.job(job_id, n))]
