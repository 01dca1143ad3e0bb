"""Remove finished jobs, whole components in one moment each; ``core.retention`` decides which may go.

The rows of up to about 100 jobs are deleted in one transaction, with a note of what is left to delete. More are named
by a batch, and are gone when that is committed. Each row must be as it was read, so a retry or a submission that comes
first keeps all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from asyncjobs.backends.sqs import batches, keys
from asyncjobs.backends.sqs.batch_sweep import unnamed, wiped
from asyncjobs.backends.sqs.batches import Contents
from asyncjobs.backends.sqs.components import Graph
from asyncjobs.backends.sqs.finished import Finished
from asyncjobs.backends.sqs.known import Known
from asyncjobs.backends.sqs.loading import read_rows
from asyncjobs.backends.sqs.rows import Row
from asyncjobs.backends.sqs.steps import delete_outdated
from asyncjobs.backends.sqs.table import Key, Refused, Update
from asyncjobs.backends.sqs.transitions import Transitions
from asyncjobs.core.retention import Components, refusal, take_batch

_IN_ONE = 99
"""Rows of a transaction, beside the note."""
_NOTE = 200_000
"""Bytes of a note."""
_CANDIDATES = 500
"""Jobs that have ended, and are looked at together, at least."""
_TOGETHER = 20
"""Jobs whose components are followed together, at least."""
_LOOKED_AT = 5000
"""Jobs that a call examines, here as in every store."""
_STEPS = 1000
"""Steps that no longer count, of which a call deletes about so many."""
_PAGE = 50


class Removal:
    """Removes jobs by age and by hand.

    :param highest: the highest position in the log of the events of these jobs. Readers below it may miss some then.
    """

    def __init__(
        self, transitions: Transitions, known: Known, highest: Callable[[Sequence[Row]], Awaitable[int]] | None = None
    ) -> None:
        self._transitions = transitions
        self._table = transitions.table
        self._known = known
        self._highest = highest
        self._finished = Finished(self._table, transitions.shards)
        self.removed = 0
        """How many jobs this process has removed."""

    # -- by age

    async def prune(self, before: int, limit: int) -> int:
        """Remove components that ended before this moment, until about ``limit`` jobs are gone; return how many.

        Of each page of candidates, which come in the order of submission, the first that ended go first.
        """
        await delete_outdated(self._transitions, _STEPS)
        removed = examined = 0
        while removed < limit and examined < _LOOKED_AT:
            page = await self._finished.next(before, max(2 * limit, _CANDIDATES))
            candidates = deque(sorted(page.rows, key=lambda row: (row.state.finished_at or 0, row.n)))
            looked_at: set[int] = set()
            while candidates and removed < limit:
                removed += await self._prune_some(candidates, before, limit - removed, looked_at)
            examined += max(len(looked_at), page.looked_at)
            if candidates or page.last:
                self._finished.restart(page)
                break
        return removed

    async def _prune_some(self, candidates: deque[Row], before: int, limit: int, looked_at: set[int]) -> int:
        """Remove the components of the next candidates, until about ``limit`` jobs are gone; return how many.

        :param looked_at: jobs that were removed or stay; takes more of them.
        """
        some: list[Row] = []
        while candidates and len(some) < max(limit, _TOGETHER):
            row = candidates.popleft()
            some += [] if row.n in looked_at else [row]
        graph, components = Graph(self._table), Components(before, looked_at)
        await graph.add(components, some)
        await graph.follow(components)
        going = components.going
        removed = 0
        while going and removed < limit:
            removed += await self._remove_some(graph, going, limit - removed)
        left = {n for component in going for n in component}
        candidates.extendleft(row for row in reversed(some) if row.n in left)
        looked_at.update(graph.rows.keys() - left)
        return removed

    async def _remove_some(self, graph: Graph, going: deque[Sequence[int]], limit: int) -> int:
        """Remove the next components together, without those that have changed; return how many jobs are gone."""
        some = take_batch(going, min(_IN_ONE, limit))
        while some:
            rows = [graph.rows[n] for component in some for n in component]
            if await self._remove(rows):
                return len(rows)
            found = {row.n: row for row in await self._named([row.id for row in rows])}
            same = [
                component
                for component in some
                if all(n in found and found[n].version == graph.rows[n].version for n in component)
            ]
            some = same if len(same) < len(some) else []
        return 0

    # -- by hand

    async def remove(self, ids: Sequence[str], *, components: bool) -> list[str]:
        """Remove these jobs, with ``components`` also those that they are connected with; return their ids in order."""
        refusals = 0
        while True:
            graph = Graph(self._table)
            named = await self._named(ids)
            found = Components()
            await graph.add(found, named)
            if components:
                await graph.follow(found)
            else:
                await graph.link(found, [row.n for row in named])
            if graph.undecided:
                for batch in graph.undecided:
                    await batches.abort(self._table, batch, self._transitions.clock)
                continue
            refused = found.refused(None if components else {row.n for row in named})
            if refused is not None:
                raise refusal(graph.rows[refused].id, graph.rows[refused].state.status)
            rows = [graph.rows[n] for n in sorted(n for component in found.going for n in component)]
            if not rows or await self._remove(rows):
                return [row.id for row in rows]
            refusals += 1
            await self._transitions.pause(refusals)

    async def _named(self, ids: Sequence[str]) -> list[Row]:
        distinct = list(dict.fromkeys(str.__str__(job_id) for job_id in ids))
        found: list[Row] = []
        for start in range(0, len(distinct), _PAGE):
            rows = await read_rows(self._table, distinct[start : start + _PAGE])
            found += [row for row in rows.values() if row is not None]
        return found

    # -- removing

    async def _remove(self, rows: Sequence[Row]) -> bool:
        """Remove these jobs in one moment; return False if one of them has changed: then all of them are there."""
        await self._note_highest(rows)
        contents = Contents(
            rows=tuple([(row.id, row.n) for row in rows]), others=tuple([key for row in rows for key in _entries(row)])
        )
        together = len(rows) <= _IN_ONE and len(contents.packed()) <= _NOTE
        removed = await (self._in_one if together else self._staged)(rows, contents)
        for row in rows:
            self._known.forget(row.id)
        self.removed += len(rows) if removed else 0
        return removed

    async def _in_one(self, rows: Sequence[Row], contents: Contents) -> bool:
        """Delete the rows in one transaction with a note of the rest, then the rest."""
        name = batches.new_name(batches.WIPE)
        clock, shards = self._transitions.clock, self._transitions.shards
        note = batches.begun(name, contents, clock, shards, batches.COMMITTED)
        deletes = [Update(keys.row(row.id), delete=True, equal={"v": row.version, "n": row.n}) for row in rows]
        if await self._table.transact([*deletes, note]) is not None:
            return False
        await wiped(self._transitions, name, contents)
        return True

    async def _staged(self, rows: Sequence[Row], contents: Contents) -> bool:
        """Let the rows name a batch, commit it, and delete everything."""
        name, clock = batches.new_name(batches.REMOVE), self._transitions.clock
        await batches.begin(self._table, name, contents, clock, self._transitions.shards)
        if not await self._name(name, rows) or not await self._commit(name):
            await batches.abort(self._table, name, clock)
            await unnamed(self._transitions, name, contents)
            await batches.delete(self._table, name, len(contents.parts()))
            return False
        await wiped(self._transitions, name, contents)
        return True

    async def _name(self, name: str, rows: Sequence[Row]) -> bool:
        """Let the rows name their batch. Whoever would change one from now on must abort the batch first."""
        for start in range(0, len(rows), batches.SLICE):
            if start and not await batches.beat(self._table, name, self._transitions.clock):
                return False
            named = [
                Update(keys.row(row.id), set={"rm": name}, add={"v": 1}, equal={"v": row.version, "n": row.n})
                for row in rows[start : start + batches.SLICE]
            ]
            if any(isinstance(answer, Refused) for answer in await self._table.write_all(named)):
                return False
        return True

    async def _commit(self, name: str) -> bool:
        answer = await self._table.write(batches.commitment(name, self._transitions.clock))
        batches.remember(self._table, name, not isinstance(answer, Refused))
        return not isinstance(answer, Refused)

    async def _note_highest(self, rows: Sequence[Row]) -> None:
        """Keep, before anything is removed, below which position readers of the log will miss something of it."""
        if self._highest is None:
            return
        highest = await self._highest(rows)
        while True:
            pruned = (await self._table.get([keys.META])).get(keys.META, {}).get("pruned")
            if pruned is not None and int(pruned) >= highest:
                return
            note = Update(
                keys.META,
                set={"pruned": highest},
                absent=("pruned",) if pruned is None else (),
                equal={} if pruned is None else {"pruned": pruned},
            )
            if not isinstance(await self._table.write(note), Refused):
                return


def _entries(row: Row) -> list[Key]:
    """Return the keys of what others find a job by that does not stand in the partition of one of its component."""
    found: list[Key] = [(keys.OUTDATED, keys.member(row.n, row.id))] if row.state.steps_from else []
    if row.state.group is not None:
        found.append((keys.named("G", row.state.group), keys.member(row.n, row.id)))
    if row.fixed.owner is not None:
        found.append((keys.named("O", row.fixed.owner), keys.member(row.n, row.id)))
    return found
