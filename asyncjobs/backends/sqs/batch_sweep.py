"""Complete or undo the batches that a process left alone."""

from __future__ import annotations

from asyncjobs.backends.sqs import batches, keys
from asyncjobs.backends.sqs.barriers import Barrier
from asyncjobs.backends.sqs.batches import ABORTED, INSERT, REMOVE, STAGING, Contents
from asyncjobs.backends.sqs.reviving import Reviving
from asyncjobs.backends.sqs.staging import complete
from asyncjobs.backends.sqs.table import WORK, Item, Update
from asyncjobs.backends.sqs.transitions import Transitions
from asyncjobs.backends.sqs.wiping import wipe
from asyncjobs.core.state import SECOND

GRACE = 10 * SECOND
"""µs after which a committed batch is completed by others."""
UNFINISHED = 60 * SECOND
"""µs after which a retry of many jobs is gone on with by others."""
ABANDONED = 300 * SECOND
"""µs without a sign of life after which an undecided batch is aborted, and undone.

After as many again it is undone once more and forgotten: what its process had sent off just before it died has arrived
by then."""
_AT_ONCE = 25


async def sweep_batches(transitions: Transitions, shard: int, barrier: Barrier) -> None:
    """See to the batches of a shard that are older than those that a living process is about to complete itself."""
    page = await transitions.table.query(
        keys.staged(shard),
        index=WORK,
        before=keys.number(transitions.clock.now() - GRACE),
        limit=_AT_ONCE,
        consistent=False,
    )
    found = await transitions.table.get([(item["pk"], item["sk"]) for item in page.items])
    for item in found.values():
        if "wp" in item:
            with barrier.around(f"mending batch {item['id']}"):
                await _mend(transitions, item)


async def _mend(transitions: Transitions, item: Item) -> None:
    table, batch = transitions.table, item["id"]
    age = transitions.clock.now() - int(item["at"])
    if item["st"] == STAGING:
        if age >= ABANDONED and await batches.abort(table, batch, transitions.clock):
            await _undo(transitions, item)
    elif item["st"] == ABORTED:
        if await _undo(transitions, item) and age >= ABANDONED:
            await batches.delete(table, batch, int(item.get("parts", 0)))
    else:
        await _complete(transitions, item, age)


async def _complete(transitions: Transitions, item: Item, age: int) -> None:
    """Complete a committed batch, unless it is so new that its process is about to do so."""
    batch = item["id"]
    if age < (UNFINISHED if batch.startswith(batches.RETRY) else GRACE):
        return
    if batch.startswith(batches.RETRY):
        await Reviving(transitions).resume(item)
        return
    contents = await batches.contents_of(transitions.table, item)
    assert contents is not None, "it was committed, so it was complete"
    if batch.startswith(INSERT):
        await complete(transitions, batch, contents, contents.rows)
    else:
        await wiped(transitions, batch, contents)


async def _undo(transitions: Transitions, item: Item) -> bool:
    contents = await batches.contents_of(transitions.table, item)
    if contents is None:
        return True  # it died before it wrote anything else
    if item["id"].startswith(INSERT):
        return await wipe(transitions.table, contents, {"batch": item["id"]})
    await unnamed(transitions, item["id"], contents)
    return True


async def wiped(transitions: Transitions, batch: str, contents: Contents) -> None:
    """Complete a committed removal: nothing is left of its rows."""
    if await wipe(transitions.table, contents, {"rm": batch} if batch.startswith(REMOVE) else None):
        await batches.done(transitions.table, batch, len(contents.parts()), transitions.clock)


async def unnamed(transitions: Transitions, batch: str, contents: Contents) -> None:
    """Let no row name an aborted removal any more."""
    rows = [Update(keys.row(job_id), remove=("rm",), equal={"rm": batch, "n": n}) for job_id, n in contents.rows]
    await transitions.table.write_all(rows)
