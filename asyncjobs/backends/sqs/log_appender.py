"""Append events to the log: those that this process wrote, in that order, and those that others have left.

An event of a job comes behind those of its dependencies that decided it, also where other processes wrote them.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from graphlib import TopologicalSorter

import anyio

from asyncjobs.backends.sqs import keys
from asyncjobs.backends.sqs.concurrent import at_once
from asyncjobs.backends.sqs.loading import read_parents, read_rows
from asyncjobs.backends.sqs.log_head import Head
from asyncjobs.backends.sqs.log_pages import MOST_EVENTS, MOST_JOBS, Draft
from asyncjobs.backends.sqs.ready_index import ids_of
from asyncjobs.backends.sqs.rows import Parent, Row
from asyncjobs.backends.sqs.table import LOG, Item
from asyncjobs.backends.sqs.transitions import Transitions
from asyncjobs.core.state import NewEvent

_OWN = 20_000
"""Events of this process that are remembered until they are in the log. Earlier ones are found by the index."""
_OVER = 10_000
_ROWS = 50

Own = tuple[str, int, int]
"""An event that this process wrote: the id and the number of its job, its own number."""


class _Rows:
    """The rows that a page is made of, as they are read for it."""

    def __init__(self, transitions: Transitions) -> None:
        self._table = transitions.table
        self._rows: dict[str, Row | None] = {}

    async def read(self, ids: Iterable[str]) -> list[Row]:
        """Read rows, also those that were read before."""
        left = list(dict.fromkeys(ids))
        for start in range(0, len(left), _ROWS):
            self._rows |= await read_rows(self._table, left[start : start + _ROWS])
        return [row for job_id in left if (row := self._rows[job_id]) is not None]

    async def parents(self, row: Row) -> tuple[Parent, ...]:
        """Return the dependencies of a job."""
        return await read_parents(self._table, row) if row.parents is None else row.parents

    def get(self, job_id: str) -> Row | None:
        """Return a row, None if it is not there, or was not read."""
        return self._rows.get(job_id)

    def all(self) -> list[Row]:
        """Return what was read."""
        return [row for row in self._rows.values() if row is not None]


class Appender:
    """Appends pages. One at a time: the others would lose against it.

    ``foreign`` counts how often events of a job were appended that another process wrote.
    """

    def __init__(self, transitions: Transitions, head: Head) -> None:
        self._transitions = transitions
        self._table = transitions.table
        self._head = head
        self._own: deque[Own] = deque(maxlen=_OWN)
        self._over: OrderedDict[str, int] = OrderedDict()
        self._appending = anyio.Lock()
        self.foreign = 0

    def stored(self, events: Sequence[tuple[Row, NewEvent]]) -> None:
        """Remember events that this process wrote, in their order."""
        self._own.extend([(row.id, row.n, event.seq) for row, event in events])

    async def index(self) -> list[str]:
        """Return the first jobs that have events to be appended, as the index has them."""

        async def page(shard: int) -> list[Item]:
            found = await self._table.query(keys.unlogged(shard), index=LOG, limit=MOST_JOBS, consistent=False)
            return found.items

        pages = await at_once(page, range(self._transitions.shards))
        entries = sorted((item for found in pages for item in found), key=lambda item: item["n"])[:MOST_JOBS]
        ids = await ids_of(self._table, entries)
        return [ids[item["pk"]] for item in entries if item["pk"] in ids]

    async def append(self, asked: Sequence[str] = ()) -> int:
        """Append a page: events of this process, then those of these jobs, as far as it has room.

        :returns: how many events; 0: all are in the log.
        """
        async with self._appending:
            refusals = 0
            while True:
                own = self._next_own()
                if not own and not asked:
                    return 0
                last = await self._head.find()
                found = _Rows(self._transitions)
                draft = await self._draft(own, asked, found)
                page = draft.page(last.number + 1)
                if not draft.events or await self._head.put(page):
                    self._done(own, draft, found)
                    return draft.events
                refusals += 1
                await self._transitions.pause(refusals)

    def _next_own(self) -> list[Own]:
        jobs: set[str] = set()
        found: list[Own] = []
        for event in self._own:
            jobs.add(event[0])
            if len(jobs) > MOST_JOBS or len(found) == MOST_EVENTS:
                break
            found.append(event)
        return found

    async def _draft(self, own: Sequence[Own], asked: Sequence[str], found: _Rows) -> Draft:
        newest = {job_id: seq for job_id, _, seq in own}
        await found.read([*newest, *asked])
        before = await self._undecided(found, newest)
        later = self._later(own)
        draft = Draft()
        wholly = [*((job_id, None) for job_id in before), *self._planned(own, later), *((each, None) for each in asked)]
        for job_id, seq in wholly:
            row = found.get(job_id)
            if row is not None and not draft.add(row, row.state.seq if seq is None else seq):
                break
        return draft

    def _later(self, own: Sequence[Own]) -> set[str]:
        """Return the jobs of which this process has written more that is not planned."""
        planned = {id(event) for event in own}
        return {event[0] for event in self._own if id(event) not in planned}

    def _planned(self, own: Sequence[Own], later: set[str]) -> list[tuple[str, int | None]]:
        """Return own events in order; the last one of a job takes those along that others wrote behind it."""
        last = {job_id: place for place, (job_id, _, _) in enumerate(own) if job_id not in later}
        return [(job_id, None if last.get(job_id) == place else seq) for place, (job_id, _, seq) in enumerate(own)]

    # -- what decided others

    async def _undecided(self, found: _Rows, newest: dict[str, int]) -> list[str]:
        """Return the dependencies that decided jobs of this page, with events that others wrote: they come first."""
        above: dict[int, tuple[str, list[int]]] = {}
        level = [row for row in found.all() if _was_decided(row)]
        while level and len(above) < MOST_JOBS:
            parents = [
                each for row in level for each in await found.parents(row) if not self._is_over(each, row, found)
            ]
            numbers = {parent.n for parent in parents} - above.keys()
            read = [row for row in await found.read([parent.id for parent in parents]) if row.n in numbers]
            left = [row for row in read if row.state.seq > max(row.logged, newest.get(row.id, 0))]
            for row in left:
                above[row.n] = row.id, [parent.n for parent in await found.parents(row)]
            level = [row for row in left if _was_decided(row)]
        order = TopologicalSorter({n: [each for each in parents if each in above] for n, (_, parents) in above.items()})
        return [above[n][0] for n in order.static_order()]

    def _is_over(self, parent: Parent, child: Row, found: _Rows) -> bool:
        """Return whether no event of this parent can be missing: it had ended when it was read."""
        row = found.get(parent.id)
        if row is not None:
            return row.state.status.terminal and row.state.seq == row.logged
        return self._over.get(parent.id) == parent.n and not child.reopened

    def _done(self, own: Sequence[Own], draft: Draft, found: _Rows) -> None:
        """Forget what is in the log now, and remember which jobs are over."""
        planned = {id(event) for event in own}
        while self._own and id(self._own[0]) in planned:
            job_id, n, seq = self._own[0]
            row = found.get(job_id)
            if row is not None and row.n == n and draft.logged(row) < seq:
                break
            self._own.popleft()
        mine = {job_id: seq for job_id, _, seq in own}
        for row in found.all():
            self.foreign += draft.logged(row) > max(row.logged, mine.get(row.id, 0))
            if row.state.status.terminal and draft.logged(row) == row.state.seq:
                self._over[row.id] = row.n
        while len(self._over) > _OVER:
            self._over.popitem(last=False)


def _was_decided(row: Row) -> bool:
    """Return whether events that are to be appended may be there because of the job's dependencies."""
    if not row.edges or row.state.seq == row.logged:
        return False
    return row.logged < 2 <= row.state.seq or row.reopened > 0
