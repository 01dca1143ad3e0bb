"""Submit more jobs than a transaction takes: in steps, of which one decides for all.

The rows are written with the name of their batch, which holds their ids; then everything that others find them by; then
each stored parent learns that it has dependents, and its version is raised. The batch is committed in the moment in
which its rows exist, and at last they get their places in the indexes.

What must hold in that moment, as in a transaction, and why it does:

- no other job has one of the ids: their rows are there;
- the stored parents exist, and those that had ended have not been retried: their versions were raised before. Whoever
  retries or removes one of them has read its dependents before that, and is refused; or after it, and then meets the
  rows of an undecided batch, which it aborts (``Transitions.overtakes``);
- a parent that ended meanwhile has told no dependent of this batch. So all parents are settled once more afterwards;
- the attempt that submits is not asked to stop: its row is checked by the commit.

Whatever a process leaves undone, ``sweep_batches`` finds: it aborts what was not decided, and completes what was.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct, structs

from asyncjobs.backends.sqs import batches, keys, payloads, rows
from asyncjobs.backends.sqs.batches import Contents
from asyncjobs.backends.sqs.dependents import Dependents
from asyncjobs.backends.sqs.loading import as_row, read_rows
from asyncjobs.backends.sqs.payloads import Apart
from asyncjobs.backends.sqs.rows import Row
from asyncjobs.backends.sqs.table import Item, Key, Refused, Update
from asyncjobs.backends.sqs.transitions import Transitions
from asyncjobs.backends.sqs.wiping import wipe
from asyncjobs.core.state import NewEvent

_LOOK = 0.25
"""Seconds between two looks at a batch that holds an id that is wanted, too."""
PATIENCE = 12
"""Looks at a batch that shows no sign of life: then its process counts as dead, and it is aborted."""


class Batch(Struct, frozen=True, kw_only=True):
    """What a submission stores: the new rows with their items, and what becomes of rows that are stored."""

    rows: tuple[Row, ...]
    items: tuple[Update, ...]
    """Items in the partitions of the new jobs, and those by which others find them."""
    in_bucket: tuple[Apart, ...] = ()
    """Values that are too large for the table. They cannot be a part of a transaction."""
    changed: tuple[Update, ...] = ()
    """What the submission changes of stored rows beside."""
    parents: tuple[Row, ...] = ()
    """Stored rows that get a dependent, as they were read."""
    by: Row | None = None
    """The row of the job that submits, as it was read; it must still be so."""
    touched: tuple[Row, ...] = ()
    events: tuple[tuple[Row, NewEvent], ...] = ()
    owed: tuple[Row, ...] = ()
    removals: frozenset[str] = frozenset()
    """Undecided removals of the stored rows."""


def with_dependent(parent: Row) -> Row:
    """Return the row of a job that gets a dependent."""
    return structs.replace(parent, kids=True, version=parent.version + 1, removal=None)


async def stage(transitions: Transitions, batch: Batch, beside: Sequence[Update] = ()) -> bool:
    """Store a batch of any size, all of it or nothing; return False if it must be decided anew.

    :param beside: more writes of the moment in which it is committed.
    """
    table, clock = transitions.table, transitions.clock
    name = batches.new_name(batches.INSERT)
    contents = _contents(batch)
    await batches.begin(table, name, contents, clock, transitions.shards)
    if not (await _write(transitions, name, batch) and await _commit(transitions, name, batch, beside)):
        await batches.abort(table, name, clock)
        if await wipe(table, contents, {"batch": name}):  # else a sweep does it
            await batches.delete(table, name, len(contents.parts()))
        return False
    changed = await _show(transitions, name, batch.rows)
    await complete(transitions, name, contents, [(row.id, row.n) for row in changed])
    return True


def _contents(batch: Batch) -> Contents:
    own = {row.partition for row in batch.rows}
    return Contents(
        rows=tuple([(row.id, row.n) for row in batch.rows]),
        others=tuple([key for key in _keys(batch) if key[0] not in own]),
        parents=tuple([(row.id, row.n) for row in batch.parents]),
    )


def _keys(batch: Batch) -> list[Key]:
    return [update.key for update in batch.items] + [key for value in batch.in_bucket for key in value.keys]


async def _write(transitions: Transitions, name: str, batch: Batch) -> bool:
    """Write the rows, then what belongs to them; return False if one of the ids is taken."""
    ordered = sorted(batch.rows, key=lambda row: row.id)  # two batches with the same ids do not hold half of them each
    for start in range(0, len(ordered), batches.SLICE):
        if start and not await batches.beat(transitions.table, name, transitions.clock):
            return False
        if not await _insert(transitions, name, ordered[start : start + batches.SLICE]):
            return False
    await transitions.table.put_many([_item(update) for update in batch.items])
    for value in batch.in_bucket:
        await payloads.store(transitions.table, value)
        if not await batches.beat(transitions.table, name, transitions.clock):
            return False
    return True


def _item(update: Update) -> Item:
    return {"pk": update.key[0], "sk": update.key[1], **update.set}


async def _insert(transitions: Transitions, name: str, new: Sequence[Row]) -> bool:
    left = [rows.created(structs.replace(row, batch=name), transitions.shards) for row in new]
    while left:
        answers = await transitions.table.write_all(left)
        refused = [
            (update, answer) for update, answer in zip(left, answers, strict=True) if isinstance(answer, Refused)
        ]
        for _, answer in refused:
            if not await free(transitions, answer.item):
                return False
        left = [update for update, _ in refused]
    return True


async def free(transitions: Transitions, item: Item | None) -> bool:
    """Free the id of a row that does not exist any more, or never did; return False if it does exist.

    :param item: the item that was in the way.
    """
    if item is None:
        return True
    table = transitions.table
    if "rm" in item and (await batches.look(table, [item["rm"]]))[item["rm"]]:
        named = {"rm": item["rm"]}
    elif "batch" in item and not await _decided(transitions, item["batch"]):
        named = {"batch": item["batch"]}
    else:
        return False
    await table.write(Update(key=(item["pk"], item["sk"]), delete=True, equal={"n": item["n"], **named}))
    return True


async def _decided(transitions: Transitions, batch: str) -> bool:
    """Wait until a batch is decided, and return whether it was committed. It is aborted if its process seems dead."""
    seen, unmoved = -1, 0
    while unmoved < PATIENCE:
        committed = (await batches.look(transitions.table, [batch]))[batch]
        if committed is not None:
            return committed
        item = (await transitions.table.get([batches.key(batch)])).get(batches.key(batch), {})
        beat = item.get("beat", 0)  # it may have died before its first one
        unmoved = unmoved + 1 if beat == seen else 0
        seen = beat
        await transitions.clock.pause(_LOOK)
    return not await batches.abort(transitions.table, batch, transitions.clock)


# -- committing


async def _commit(transitions: Transitions, name: str, batch: Batch, beside: Sequence[Update]) -> bool:
    """Let the parents know of their dependents, then commit; return False if what the batch is based on changed."""
    answers = await transitions.table.write_all([_linked(parent, batch.by) for parent in batch.parents])
    if any(isinstance(answer, Refused) for answer in answers):
        return False
    by = batch.by
    for answer in answers:
        if (row := as_row(answer)) is not None:  # type: ignore[arg-type] - none is refused
            transitions.noticed(row)
    updates = [batches.commitment(name, transitions.clock), *batch.changed, *beside]
    if by is None and len(updates) == 1:
        return not isinstance(await transitions.table.write(updates[0]), Refused)
    checks = [] if by is None else [unchanged(with_dependent(by) if by in batch.parents else by)]
    return await transitions.table.transact(updates, checks) is None


def _linked(parent: Row, by: Row | None) -> Update:
    """Return the write by which a stored parent learns of its dependents.

    Whether one that runs has ended meanwhile is no matter, since it is settled once more; and one with much to do would
    refuse a large batch again and again. What it was decided on of one that had ended must still hold.
    """
    as_read = {"v": parent.version} if parent.state.status.terminal or parent is by else {}
    removal = {} if parent.removal is None else {"rm": parent.removal}  # it is aborted, or they would not be here
    return Update(
        key=keys.row(parent.id),
        set={"kids": 1},
        add={"v": 1},
        remove=tuple(removal),
        equal={"n": parent.n, **as_read, **removal},
        absent=() if removal else ("rm",),
    )


def unchanged(row: Row) -> Update:
    """Return the check that a row is as it was read."""
    return Update(key=keys.row(row.id), equal={"v": row.version, "n": row.n})


# -- afterwards


async def _show(transitions: Transitions, name: str, new: Iterable[Row]) -> list[Row]:
    """Give rows of a committed batch their places in the indexes; return those that had changed."""
    shown = list(new)
    answers = await transitions.table.write_all([_shown(row, name, transitions.shards) for row in shown])
    return [row for row, answer in zip(shown, answers, strict=True) if isinstance(answer, Refused)]


def _shown(row: Row, name: str, shards: int) -> Update:
    return Update(
        key=keys.row(row.id),
        set={key: value for key, value in rows.places(row, shards).items() if value is not None},
        remove=("batch",),
        equal={"batch": name, "n": row.n, "v": row.version},
    )


async def complete(transitions: Transitions, name: str, contents: Contents, left: Sequence[tuple[str, int]]) -> None:
    """Complete a committed batch: every row in its place, every parent settled once more.

    :param left: the rows that may not have their places yet.
    """
    for start in range(0, len(left), batches.SLICE):
        await _show_left(transitions, name, left[start : start + batches.SLICE])
    stored = await _still(transitions, contents.parents)
    await Dependents(transitions).settle([row for row in stored if row.state.status.terminal])
    await batches.done(transitions.table, name, len(contents.parts()), transitions.clock)


async def _show_left(transitions: Transitions, name: str, jobs: Sequence[tuple[str, int]]) -> None:
    while True:
        found = [row for row in await _still(transitions, jobs) if row.batch == name]
        if not found:
            return
        for row in found:
            transitions.noticed(structs.replace(row, batch=None))
        await _show(transitions, name, [structs.replace(row, batch=None) for row in found])


async def _still(transitions: Transitions, jobs: Sequence[tuple[str, int]]) -> list[Row]:
    """Read the rows of these jobs that still exist."""
    found = await read_rows(transitions.table, [job_id for job_id, _ in jobs])
    return [row for job_id, n in jobs if (row := found[job_id]) is not None and row.n == n]
