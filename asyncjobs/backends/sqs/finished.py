"""Walk over the jobs that have ended, in the order of submission, a page at each call."""

from __future__ import annotations

from msgspec import Struct

from asyncjobs.backends.sqs import keys
from asyncjobs.backends.sqs.concurrent import at_once
from asyncjobs.backends.sqs.loading import existing
from asyncjobs.backends.sqs.rows import Row
from asyncjobs.backends.sqs.table import LIST, Item, Table
from asyncjobs.core.state import SECOND
from asyncjobs.models import JobStatus

_IN_A_MICROSECOND = 1000
_APART = 10 * SECOND
"""µs by which the numbers of jobs may be ahead of the moments of their ends, by the clock of another process."""
_ENDED = [status for status in JobStatus if status.terminal]


class Candidates(Struct, frozen=True):
    """A page of jobs that ended before a moment. ``start`` is where it began; if ``last`` is True, none follow."""

    rows: list[Row]
    looked_at: int
    start: int
    last: bool


class Finished:
    """A walk that goes on where the last call left it: what stays is not looked at again by each call."""

    def __init__(self, table: Table, shards: int) -> None:
        self._table = table
        self._partitions = [keys.ended(status, shard) for status in _ENDED for shard in range(shards)]
        self._after = 0

    async def next(self, before: int, limit: int) -> Candidates:
        """Return the next page of the jobs that ended before this moment: they were submitted before it, too."""
        start, until = self._after, (before + _APART) * _IN_A_MICROSECOND
        pages = await at_once(lambda partition: self._page(partition, until, limit), self._partitions)
        entries = sorted((entry for page, _ in pages for entry in page), key=lambda entry: entry["n"])
        # Of a partition that has more, nothing is known behind its page.
        cut = min((int(page[-1]["n"]) for page, more in pages if more and page), default=None)
        entries = [entry for entry in entries if cut is None or int(entry["n"]) <= cut][:limit]
        last = cut is None and len(entries) == sum(len(page) for page, _ in pages)
        self._after = 0 if last or not entries else int(entries[-1]["n"])
        items = await self._table.get([(entry["pk"], entry["sk"]) for entry in entries]) if entries else {}
        rows = (await existing(self._table, items)).values()
        return Candidates([row for row in rows if _ended_before(row, before)], len(entries), start, last)

    async def _page(self, partition: str, until: int, limit: int) -> tuple[list[Item], bool]:
        page = await self._table.query(
            partition, index=LIST, after=self._after, before=until, limit=limit, consistent=False
        )
        return page.items, page.next is not None

    def restart(self, page: Candidates) -> None:
        """Begin with this page again next time: not all of it was removed that may go."""
        self._after = 0 if page.last else page.start


def _ended_before(row: Row, before: int) -> bool:
    finished = row.state.finished_at
    return row.state.status.terminal and finished is not None and finished < before
