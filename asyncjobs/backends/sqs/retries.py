"""Note that a job is being revived in more steps than one, from before the first of them until the last is written.

With the note, any process completes the retry, or the question that is asked again, if its own dies. And no edge is
settled that it has opened again while the parent of that edge has not been written yet, which is still over: the rows
that it has written name the note. Whoever settles an edge reads the child, then the notes that it names, then the
parent. If a note is there, the edge is left to a later sweep; if none is, the parent is as the revival has left it.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from msgspec import structs

from asyncjobs.backends.sqs import batches
from asyncjobs.backends.sqs.rows import Row
from asyncjobs.backends.sqs.table import Item, Refused, Table, Update
from asyncjobs.backends.sqs.transitions import Transitions


class How(StrEnum):
    """How a job is revived, as its note says."""

    RETRY = "retry"
    FRESH = "fresh"
    ASK = "ask"


async def begin(transitions: Transitions, job: Row, how: How) -> str:
    """Write the note that a job is being revived, and return its name."""
    name = batches.new_name(batches.RETRY)
    contents = batches.Contents(rows=((job.id, job.n),))
    note = batches.begun(name, contents, transitions.clock, transitions.shards, batches.COMMITTED)
    about = {"ended": ended(job), "how": str(how)}
    await transitions.table.write(structs.replace(note, set={**note.set, **about}))
    return name


def how(item: Item) -> How:
    """Return how the job of a note is revived."""
    return How(item["how"])


def ended(job: Row) -> int:
    """Return when a job ended, as its note says: it is another moment once it was revived and has ended again."""
    return job.state.finished_at or 0


async def beat(transitions: Transitions, name: str) -> bool:
    """Show that the process is alive that revives; return False if another one has completed that."""
    alive = Update(batches.key(name), set={"at": transitions.clock.now()}, present=("pk",))
    return not isinstance(await transitions.table.write(alive), Refused)


async def unfinished(table: Table, found: Iterable[Row | None]) -> frozenset[str]:
    """Return the retries that opened edges to these jobs and may have to write the parents of those edges still."""
    named = {name for row in found if row is not None for name in row.retries}
    there = await table.get([batches.key(name) for name in named]) if named else {}
    return frozenset([name for name in named if batches.key(name) in there])


async def end(table: Table, name: str) -> None:
    """Delete the note of a retry that is done."""
    await batches.delete(table, name, 0)
