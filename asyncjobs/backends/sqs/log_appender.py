"""Append events to the log: those that this process wrote, in that order, and those that others have left.

An event of a job comes behind those of its dependencies that decided it, also where other processes wrote them.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping, Sequence

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


class _Above:
    """The dependencies whose events must be in the log before those of the jobs that they have decided.

    The events of this process have an order of their own, in which a dependency comes before what it has decided. So an
    event of this process waits only for what others wrote, or for what this process wrote without knowing it, since the
    answer was lost. An event of others waits for all.

    :param newest: the newest event of each job that this process knows to have written.
    """

    def __init__(self, newest: Mapping[str, int]) -> None:
        self._newest = newest
        self._rows: dict[int, Row] = {}
        self._parents: dict[int, list[int]] = {}
        self._begun: set[int] = set()

    def __len__(self) -> int:
        return len(self._rows)

    def learn(
        self, parents: Mapping[int, Sequence[Parent]], wanted: Sequence[Parent], read: Sequence[Row]
    ) -> list[Row]:
        """Keep dependencies as they were read; return those that are new, or have gone on since they were read before.

        :param parents: the dependencies of the jobs that they have decided, by the number of the job.
        :param wanted: those of them that were read.
        """
        numbers = {parent.n for parent in wanted}
        new = [row for row in read if row.n in numbers and row.state.seq > max(row.logged, self._known_of(row.n))]
        self._rows |= {row.n: row for row in new}
        self._parents |= {n: [parent.n for parent in each] for n, each in parents.items()}
        return new

    def _known_of(self, n: int) -> int:
        return self._rows[n].state.seq if n in self._rows else 0

    def add(self, draft: Draft, row: Row, upto: int) -> bool:
        """Add the next events of a job, behind those of its dependencies; return False if the page is full."""
        decided = upto > 1 or row.reopened > 0
        waits_for = [n for n in self._parents.get(row.n, ()) if decided and n in self._rows and self._is_foreign(n)]
        return self._add_whole(draft, waits_for) and draft.add(row, upto)

    def _is_foreign(self, n: int) -> bool:
        row = self._rows[n]
        return row.state.seq > self._newest.get(row.id, 0)

    def _add_whole(self, draft: Draft, numbers: Iterable[int]) -> bool:
        """Add all events of jobs, each behind its dependencies; return False if the page is full."""
        stack = [*numbers]
        while stack:
            n = stack[-1]
            if n not in self._begun:
                self._begun.add(n)
                stack += [each for each in self._parents.get(n, ()) if each in self._rows and each not in self._begun]
            elif draft.add(self._rows[n], self._rows[n].state.seq):
                stack.pop()
            else:
                return False
        return True


class Appender:
    """Appends pages. One at a time: the others would lose against it.

    ``foreign`` counts how often events of a job were appended that another process wrote. ``is_full`` says whether the
    last page had no room for more.
    """

    def __init__(self, transitions: Transitions, head: Head) -> None:
        self._transitions = transitions
        self._table = transitions.table
        self._head = head
        self._own: deque[Own] = deque(maxlen=_OWN)
        self._over: OrderedDict[str, int] = OrderedDict()
        self._appending = anyio.Lock()
        self.foreign = 0
        self.is_full = False

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
                    self.is_full = len(page.jobs) == MOST_JOBS or draft.events == MOST_EVENTS
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
        above = await self._above(found, newest)
        draft = Draft()
        later = self._later(own)
        # What others wrote comes behind all own events, unless it decided one of them.
        theirs = [job_id for job_id in dict.fromkeys((*newest, *asked)) if job_id not in later]
        for job_id, seq in [*((job_id, seq) for job_id, _, seq in own), *((job_id, None) for job_id in theirs)]:
            row = found.get(job_id)
            if row is not None and not above.add(draft, row, row.state.seq if seq is None else seq):
                break
        return draft

    def _later(self, own: Sequence[Own]) -> set[str]:
        """Return the jobs of which this process has written more that is not planned."""
        planned = {id(event) for event in own}
        return {event[0] for event in self._own if id(event) not in planned}

    # -- what decided others

    async def _above(self, found: _Rows, newest: Mapping[str, int]) -> _Above:
        """Read the dependencies that have decided jobs of this page, and have events that are not in the log yet."""
        above = _Above(newest)
        level = [row for row in found.all() if _was_decided(row)]
        while level and len(above) < MOST_JOBS:
            parents = {row.n: await found.parents(row) for row in level}
            left = [each for row in level for each in parents[row.n] if not self._is_over(each, row, found)]
            read = await found.read([each.id for each in left])
            level = [row for row in above.learn(parents, left, read) if _was_decided(row)]
        return above

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
