"""Find the jobs that are connected with others, by their rows and the entries in their partitions.

A row is read before its entries. So a job that is linked to it later changes a row that was read: a dependent raises
the version of a job that has ended, and a job submits others only while it runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from asyncjobs.backends.sqs import batches, keys
from asyncjobs.backends.sqs.concurrent import at_once
from asyncjobs.backends.sqs.loading import read_parents, read_rows
from asyncjobs.backends.sqs.rows import Row
from asyncjobs.backends.sqs.table import Table
from asyncjobs.core.retention import Components

_PAGE = 50

Named = tuple[str, int]
"""A job by its id and number."""


class Graph:
    """Rows that were read, by number; and the batches that may be about to link others to them, or to remove them."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self.rows: dict[int, Row] = {}
        self.undecided: set[str] = set()

    async def add(self, components: Components, rows: Iterable[Row]) -> None:
        """Add jobs."""
        found = list(rows)
        await self._keep(found)
        for row in found:
            components.add(row.n, self._ended_at(row.n))

    async def follow(self, components: Components) -> None:
        """Link the neighbours of these jobs, and theirs, until all components are known."""
        while level := components.take(_PAGE):
            await self.link(components, level)

    async def link(self, components: Components, numbers: Sequence[int]) -> None:
        """Link the neighbours of these jobs."""
        numbers = [n for n in numbers if n in self.rows]  # others are not there yet
        neighbours = await at_once(lambda n: self._neighbours(self.rows[n]), numbers)
        await self._read({job_id: n for named in neighbours for job_id, n in named if n not in self.rows})
        for n, named in zip(numbers, neighbours, strict=True):
            for _, other in named:
                if other in self.rows or self.undecided:  # then it may be of a batch: it counts as not ended
                    components.link(n, other, self._ended_at(other))

    async def _neighbours(self, row: Row) -> list[Named]:
        """Return the jobs on which it depends and that depend on it, and those that submitted it and that it has."""
        parents = row.parents if row.parents is not None else await read_parents(self._table, row)
        found = [(parent.id, parent.n) for parent in parents]
        if (by := row.fixed.parent_key) is not None:
            found.append(by)
        entries = await self._table.query_all(row.partition, begins=keys.LINKS)
        return [*found, *((entry["id"], int(entry["n"])) for entry in entries)]

    async def _read(self, named: dict[str, int]) -> None:
        ids = list(named)
        for start in range(0, len(ids), _PAGE):
            rows = await read_rows(self._table, ids[start : start + _PAGE], self.undecided)
            await self._keep([row for row in rows.values() if row is not None and row.n == named[row.id]])

    async def _keep(self, rows: Sequence[Row]) -> None:
        self.rows.update((row.n, row) for row in rows)
        removals = {row.removal for row in rows if row.removal is not None}
        if removals:
            committed = await batches.look(self._table, removals)
            self.undecided |= {removal for removal in removals if committed[removal] is None}

    def _ended_at(self, n: int) -> int | None:
        """Return when a job ended; None if it has not, or a batch decides over it at this moment."""
        row = self.rows.get(n)
        if row is None or row.removal in self.undecided or not row.state.status.terminal:
            return None
        return row.state.finished_at
