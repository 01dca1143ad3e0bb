"""Find jobs that are not named: by group, parent, status, what they wait for, or all.

One field of a query leads to the places where jobs stand in the order of submission; the others filter the rows that
are found there. Rows are read consistently, so an entry that an index has not moved yet does no harm; and what this
process wrote last is among what is looked at, wherever the index has it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from asyncjobs.backends.bounds import Bounds, check_limit
from asyncjobs.backends.matching import check_query, contains, cursor_number, statuses
from asyncjobs.backends.sqs import keys, rows
from asyncjobs.backends.sqs.claims import is_ready
from asyncjobs.backends.sqs.counting import Counting
from asyncjobs.backends.sqs.entries import ROWS_AT_ONCE, Entry, Source, Walk, entry_of, read_entries
from asyncjobs.backends.sqs.known import Known
from asyncjobs.backends.sqs.queries import Queries
from asyncjobs.backends.sqs.ready_index import ReadyIndex
from asyncjobs.backends.sqs.rows import Row
from asyncjobs.backends.sqs.transitions import Transitions
from asyncjobs.backends.unreadable import metadata as read_metadata
from asyncjobs.checks import encodable
from asyncjobs.clock import from_datetime
from asyncjobs.core.lanes import Lane
from asyncjobs.core.state import SECOND, Role
from asyncjobs.models import GroupProgress, Job, JobPage, JobStatus, WaitsFor
from asyncjobs.requests import JobQuery

LOOKED_AT = 2000
"""Rows that a page looks at: it ends early then, with a cursor."""
_FEWEST = 10
"""Rows that are read at once, also where a page lacks fewer."""
BOUNDS = Bounds(ids=5000, durations=500)
"""Jobs that are looked at for their ids, and completed ones for how long a function takes: the last ones."""
_LIVE = (JobStatus.PENDING, JobStatus.IN_PROGRESS)
_ENDED = tuple(status for status in JobStatus if status.terminal)


class Finding:
    """Answers about jobs that are looked for."""

    bounds = BOUNDS

    def __init__(self, transitions: Transitions, known: Known, queries: Queries, index: ReadyIndex) -> None:
        self._table = transitions.table
        self._shards = transitions.shards
        self._known = known
        self._queries = queries
        self._index = index
        self._counting = Counting(transitions, known, queries)

    # -- pages

    async def find(self, query: JobQuery) -> JobPage:
        """Return a page of jobs, in the order of their numbers."""
        check_query(query)
        walk = await self._walk(query)
        found: list[Row] = []
        looked_at = 0
        while entries := await walk.take(self._how_many(query, len(found))):
            found += [row for row in await read_entries(self._table, entries) if _matches(query, row)]
            looked_at += len(entries)
            if len(found) > query.limit:
                return await self._page(found[: query.limit], found[query.limit - 1].n)
            if looked_at >= LOOKED_AT:
                return await self._page(found, entries[-1].n)
        return await self._page(found, None)

    def _how_many(self, query: JobQuery, found: int) -> int:
        # One more than the page has, which tells whether there is another page.
        return min(ROWS_AT_ONCE, max(query.limit + 1 - found, _FEWEST))

    async def _page(self, found: Sequence[Row], last: int | None) -> JobPage:
        return JobPage(await self._queries.shown(found), None if last is None else str(last))

    async def _walk(self, query: JobQuery) -> Walk:
        """Begin a walk over what the leading field of a query finds."""
        after, newest = cursor_number("JobQuery.cursor", query.cursor), query.order == "newest"
        sources: list[Source] = []
        own: list[Entry] = []
        if query.ids is not None:
            own = [entry_of(row) for row in await self._queries.rows(list(dict.fromkeys(query.ids)))]
        elif query.parent_id is not None:
            parents = await self._queries.rows([query.parent_id])
            sources = [Source(row.partition, keys.SUBMITTED) for row in parents]
        elif query.group is not None:
            sources = [Source(keys.named("G", query.group), "")] if encodable(query.group) else []
        else:
            partitions = self._partitions(query)
            sources = [Source(partition) for partition in partitions]
            own = self._recent(partitions)
        return Walk(self._table, sources, own, after=after, newest=newest)

    def _partitions(self, query: JobQuery) -> list[str]:
        """Return the partitions of the list in which jobs of these statuses may stand."""
        wanted = statuses(query)
        if query.waits_for is not None:
            return [keys.asking(at) for at in range(self._shards)]
        found: list[str] = []
        for at in range(self._shards):
            if wanted is None or not set(_LIVE).isdisjoint(wanted):
                found.append(keys.live(at))
            if wanted is None or JobStatus.PENDING in wanted:
                found.append(keys.asking(at))
            found += [keys.ended(status, at) for status in _ENDED if wanted is None or status in wanted]
        return found

    def _recent(self, partitions: Sequence[str]) -> list[Entry]:
        """Return the jobs that this process wrote lately and that stand in one of these partitions, or soon will."""
        places = set(partitions)
        return [entry_of(row) for row in self._known.recent() if rows.places(row, self._shards).get("lp") in places]

    # -- ids, durations

    async def ids(self, prefix: str, limit: int) -> list[str]:
        """Return the first ids that begin so: of the jobs that were submitted last, and that of the whole text."""
        check_limit(limit)
        walk = await self._walk(JobQuery(order="newest"))
        entries = await walk.take(self.bounds.ids or 0)
        by_id = await self._ids_of(entries)
        exact = {row.id for row in await self._queries.rows([prefix])}
        wanted = sorted({job_id for job_id in by_id if job_id.startswith(prefix)} | exact)
        found: list[str] = []
        for start in range(0, len(wanted), limit):  # entries may lead to jobs that are gone
            found += [row.id for row in await self._queries.rows(wanted[start : start + limit])]
            if len(found) >= limit:
                break
        return found[:limit]

    async def _ids_of(self, entries: Sequence[Entry]) -> list[str]:
        """Return the ids of jobs by the keys of their rows; a long id must be read from the row."""
        short = {entry: job_id for entry in entries if (job_id := keys.id_in(entry.key[0])) is not None}
        found = list(short.values())
        long = [entry for entry in entries if entry not in short]
        for start in range(0, len(long), ROWS_AT_ONCE):
            found += [row.id for row in await read_entries(self._table, long[start : start + ROWS_AT_ONCE])]
        return found

    async def durations(self, function: str, limit: int) -> list[float]:
        """Return the seconds that completed jobs of this function took, of those that were submitted last."""
        check_limit(limit)
        walk = await self._walk(JobQuery(status=JobStatus.COMPLETED, order="newest"))
        found: list[float] = []
        left = self.bounds.durations
        while left and len(found) < limit and (entries := await walk.take(min(ROWS_AT_ONCE, left))):
            left -= len(entries)
            read = await read_entries(self._table, entries)
            found += [_seconds(row) for row in read if _counts(row) and row.fixed.function == function]
        return found[:limit]

    # -- lanes

    async def ready(self, limit: int) -> list[Job]:
        """Return the jobs that a claim could take now, in the order of claims."""
        lanes = await self._index.lanes()
        heads = await self._index.all_heads(list(lanes), limit + ROWS_AT_ONCE)
        known = self._known.ready(lanes)
        ordered = [job_id for _, job_id in sorted(set(heads) | known)]
        found: list[Row] = []
        for start in range(0, len(ordered), ROWS_AT_ONCE):
            read = await self._queries.rows(list(dict.fromkeys(ordered[start : start + ROWS_AT_ONCE])))
            found += [row for row in read if is_ready(row)]
            if len(found) >= limit:
                break
        found = list({row.id: row for row in found}.values())
        found.sort(key=lambda row: (-row.state.priority, row.n))
        return await self._queries.shown(found[:limit])

    async def lanes(self) -> list[Lane]:
        """Return every lane that jobs were submitted for."""
        return list((await self._index.lanes()).values())

    # -- counts

    async def count(self, group: str | None) -> dict[JobStatus, int]:
        """Count the jobs of each status."""
        return await (self._counting.all() if group is None else self._counting.group(group))

    async def groups(self, after: str | None, limit: int) -> list[GroupProgress]:
        """Return the next groups by name, with counts."""
        return await self._counting.groups(after, limit)

    async def unfinished(self, group: str | None) -> bool:
        """Return whether any job has not ended."""
        if group is not None:
            return await self._counting.unfinished(group)
        walk = await self._walk(JobQuery(status=_LIVE))
        while entries := await walk.take(_FEWEST):
            if any(not row.state.status.terminal for row in await read_entries(self._table, entries)):
                return True
        return False


def _matches(query: JobQuery, row: Row) -> bool:
    state, fixed = row.state, row.fixed
    wanted = statuses(query)
    worker = None if row.worker is None or state.worker is None else row.worker[0]
    return (
        (wanted is None or state.status in wanted)
        and query.group in (None, state.group)
        and query.queue in (None, fixed.queue)
        and query.function in (None, fixed.function)
        and query.parent_id in (None, fixed.parent_id)
        and query.worker_id in (None, worker)
        and (query.waits_for is None or state.waits_for is WaitsFor.ANSWER)
        and (query.created_after is None or fixed.created_at > from_datetime(query.created_after))
        and (query.created_before is None or fixed.created_at < from_datetime(query.created_before))
        and (not query.metadata or contains(_metadata(row), query.metadata))
    )


def _metadata(row: Row) -> Mapping[str, Any]:
    try:
        return read_metadata(row.fixed.metadata)
    except Exception:  # border: metadata that cannot be read match nothing
        return {}


def _counts(row: Row) -> bool:
    return row.state.status is JobStatus.COMPLETED and row.state.role is not Role.GATE


def _seconds(row: Row) -> float:
    # Not below 0: the wall clock may have been set back meanwhile.
    return max(0, (row.state.finished_at or 0) - (row.state.started_at or 0)) / SECOND
