"""Seeded defects of the SQS store: each breaks one of its rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import pytest
from msgspec.structs import replace

from asyncjobs.backends.sqs import batch_sweep, batches, dependents, retries, rows, staging
from asyncjobs.backends.sqs.batches import Contents
from asyncjobs.backends.sqs.claims import Claims, is_ready
from asyncjobs.backends.sqs.dependents import Dependents
from asyncjobs.backends.sqs.edges import Edge
from asyncjobs.backends.sqs.hands import Hand
from asyncjobs.backends.sqs.loading import Child, read_rows
from asyncjobs.backends.sqs.log_head import Head
from asyncjobs.backends.sqs.log_pages import LogPage
from asyncjobs.backends.sqs.parts import Parts
from asyncjobs.backends.sqs.reviving import Reviving
from asyncjobs.backends.sqs.rows import Row
from asyncjobs.backends.sqs.table import Item, Refused, Table, Update
from asyncjobs.backends.sqs.transitions import Transitions
from asyncjobs.backends.sqs.writing import Decided
from asyncjobs.models import EdgeState

Patch = pytest.MonkeyPatch
Defect = Callable[[Patch], None]


def written_down_before_it_is_read(patch: Patch) -> None:
    """A claim takes rows as they are once their ids are written down."""
    start = Claims._start

    async def late(claims: Claims, row: Row, hand: Hand) -> Row | None:
        now = (await read_rows(claims._table, [row.id]))[row.id]
        return None if now is None or not is_ready(now) else await start(claims, now, hand)

    patch.setattr(Claims, "_start", late)


def no_version_in_a_verdict(patch: Patch) -> None:
    """What the edges of a job decide is written over whatever became of it."""

    async def careless(self: Dependents, decided: Decided) -> Row:
        (change,) = decided.changed
        update = rows.changed(change.before, change.after, self._transitions.shards)
        await self._table.write(replace(update, equal={"n": change.before.n}))
        self._transitions.settled(decided)
        return change.after

    patch.setattr(Dependents, "_verdict", careless)


def a_count_by_version(patch: Patch) -> None:
    """An edge that decides nothing by itself is written as one that does."""
    decide = Dependents._decide

    async def strict(self: Dependents, parent: Row, child: Child, row: Row) -> tuple[Decided | None, bool]:
        decided, _ = await decide(self, parent, child, row)
        return decided, False

    def none(edges: Sequence[Edge], row: Row) -> dict[int, int]:
        return {}

    patch.setattr(Dependents, "_decide", strict)
    patch.setattr(dependents, "mere_counts", none)


def a_page_before_the_notes_of_the_last_one(patch: Patch) -> None:
    """An appender takes for granted that the one before has made its notes."""

    async def hasty(head: Head) -> LogPage:
        async with head._finding:
            await head._find()
            return head._last

    patch.setattr(Head, "find", hasty)


def parents_are_not_settled_after_a_commit(patch: Patch) -> None:
    """A parent that ended before a batch was committed counts as one that has met its dependents."""

    async def hasty(transitions: Transitions, name: str, contents: Contents, left: Sequence[tuple[str, int]]) -> None:
        await staging._show_left(transitions, name, left)
        await batches.done(transitions.table, name, len(contents.parts()), transitions.clock)

    patch.setattr(staging, "complete", hasty)
    patch.setattr(batch_sweep, "complete", hasty)


def a_missing_batch_was_committed(patch: Patch) -> None:
    """A batch that is not there any more is taken for one that is done."""

    async def trusting(table: Table, names: Iterable[str]) -> dict[str, bool | None]:
        found: dict[str, bool | None] = {}
        for name in names:
            state = (await table.get([batches.key(name)])).get(batches.key(name), {}).get("st", batches.COMMITTED)
            found[name] = None if state == batches.STAGING else state == batches.COMMITTED
        return found

    patch.setattr(batches, "look", trusting)


def a_settled_edge_is_not_looked_at(patch: Patch) -> None:
    """An edge that is counted already is left alone, with the verdict that may be due."""

    def trusting(child: Child, row: Row) -> bool:
        return row.edges[child.place] != EdgeState.OPEN

    patch.setattr(dependents, "is_done", trusting)


def counted_over_a_retry(patch: Patch) -> None:
    """A count does not name how often the edges were opened again."""
    write = Table.write

    async def careless(table: Table, update: Update) -> Item | Refused:
        equal = {name: value for name, value in update.equal.items() if name != "g"}
        absent = tuple(name for name in update.absent if name != "g")
        return await write(table, replace(update, equal=equal, absent=absent))

    patch.setattr(Table, "write", careless)


def a_large_retry_is_not_noticed(patch: Patch) -> None:
    """Whoever settles an edge does not ask whether a retry is under way that has opened it."""

    async def none(table: Table, found: Iterable[Row | None]) -> frozenset[str]:
        return frozenset()

    patch.setattr(retries, "unfinished", none)


def retried_before_it_is_settled(patch: Patch) -> None:
    """A retry leaves edges open that somebody is about to settle."""

    async def nothing(reviving: Reviving, job_id: str) -> None:
        pass

    patch.setattr(Reviving, "settle_before", nothing)


def off_the_list_before_it_is_settled(patch: Patch) -> None:
    """A worker does not write down what it has ended and not settled."""
    patch.setattr(Hand, "held", property(lambda hand: list(dict.fromkeys((*hand.running, *hand.in_doubt)))))


def left_to_a_sweep(patch: Patch) -> None:
    """A worker settles what it has ended only once, as if the index had it."""

    async def nothing(parts: Parts) -> None:
        pass

    patch.setattr(Parts, "settle_left", nothing)


def left_to_nobody(patch: Patch) -> None:
    """An edge that cannot be settled yet is left to a sweep that does not know of it."""

    async def nothing(self: Dependents, job: Row) -> None:
        pass

    patch.setattr(Dependents, "_owe", nothing)
