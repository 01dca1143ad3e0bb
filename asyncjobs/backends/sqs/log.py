"""Read the log, which has one order for all jobs, and append what is not in it yet.

Events are stored with their jobs, by the same write as the change that they report. Their order is made afterwards, in
pages (``log_head``), by whoever reads the log or has time. So a reader that asks for a job or a group gets all of its
events; one that asks for everything gets those of other processes soon, and each once. A process that may not write
reads what others have appended.
"""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from msgspec import Struct

from asyncjobs.backends.sqs import keys
from asyncjobs.backends.sqs.loading import read_rows
from asyncjobs.backends.sqs.log_appender import Appender
from asyncjobs.backends.sqs.log_events import EventReader
from asyncjobs.backends.sqs.log_head import Head
from asyncjobs.backends.sqs.log_pages import MOST_EVENTS, MOST_JOBS, LogPage, Place, no_cursor, page_of, position
from asyncjobs.backends.sqs.rows import Row
from asyncjobs.backends.sqs.transitions import Transitions
from asyncjobs.core.state import SECOND, NewEvent
from asyncjobs.exceptions import ConfigurationError
from asyncjobs.models import EventPage, JobEvent

_AT_ONCE = 4
"""Pages of the log that are read in one call."""
_LOOKED_AT = 40
"""Pages that a call looks at: then it returns what it has."""
_SLICE = 100
_SIZE = 4_000_000
"""Bytes of data behind which a page of events ends."""
_ROWS = 50
_STEPS = 50
"""Pages that a call appends at most."""
_LOOK, _PATIENCE = 0.5, 15.0
"""Seconds between two looks at what others append, and for which they are waited for: each of them does so every five
seconds at least."""


class _Found:
    """What a call has found so far. ``cursor`` is the position up to which it has looked."""

    def __init__(self, cursor: int, limit: int) -> None:
        self.cursor = cursor
        self.limit = limit
        self.events: list[JobEvent] = []
        self.pages = 0
        self.looked = 0  # how often it came to the end
        self.size = 0
        self.waited = 0.0

    @property
    def full(self) -> bool:
        """Whether more was found than was asked for, or the call has done enough."""
        enough = self.size > _SIZE and bool(self.events)
        return len(self.events) > self.limit or self.pages > _LOOKED_AT or enough

    def page(self, *, end: bool, lost: bool) -> EventPage:
        """Return the page of events."""
        if len(self.events) > self.limit:
            events = self.events[: self.limit]
            return EventPage(events, events[-1].cursor, end=False, lost=lost)
        return EventPage(self.events, str(self.cursor), end=end, lost=lost)


def _is_complete(row: Row | None, last: LogPage) -> bool:
    """Return whether all events of a job stand before the end of this page."""
    return row is not None and row.logged == row.state.seq and bool(row.pages) and row.pages[-1] <= last.number


class Log:
    """The log."""

    def __init__(self, transitions: Transitions) -> None:
        self._table = transitions.table
        self._clock = transitions.clock
        self._upkeep = transitions.upkeep
        self._head = Head(self._table)
        self._appender = Appender(transitions, self._head)
        self._noticed = 0
        self._stuck_at: int | None = None
        self._met: _Met | None = None

    def stored(self, events: Sequence[tuple[Row, NewEvent]]) -> None:
        """Remember events that this process wrote: they are in the log when it is read next."""
        self._appender.stored(events)

    # -- reading

    async def read(self, after: str | None, *, limit: int, job_id: str | None, group: str | None) -> EventPage:
        """Return a page of events behind a cursor. At its end, append what is missing of what was asked for."""
        if not isinstance(limit, int) or limit < 1:
            raise ConfigurationError("limit", limit, allowed="a whole number from 1")
        found = _Found(position(after), min(limit, MOST_EVENTS))
        lost = after is not None and found.cursor < await self._pruned()
        job_id = None if job_id is None else str.__str__(job_id)
        while True:
            last = await self._head.look()
            if found.cursor > last.end:
                raise no_cursor(after)
            row = None if job_id is None else (await read_rows(self._table, [job_id]))[job_id]
            exists = job_id is None or (row is not None and group in (None, row.state.group))
            if exists:
                await self._read(found, last, row, group)
            if found.full:
                return found.page(end=False, lost=lost)
            found.cursor = last.end
            end = not exists or await self._is_end(found, last, row, group)
            found.looked += 1
            # While others go on writing there is always more to append. What was found does not wait for that.
            if end is not None or (found.events and found.looked > 1):
                return found.page(end=end or False, lost=lost)

    async def _is_end(self, found: _Found, last: LogPage, row: Row | None, group: str | None) -> bool | None:
        """Append what is missing; return whether this page has the last of what was asked for, None to look again."""
        if await self._upkeep.do(lambda: self._append_missing(row, group), 0):
            return None
        if not _is_complete(row, last) and (await self._head.look()).number != last.number:
            return None  # another process has appended since what was missing here
        if not await self._is_stuck(found, last, row, group):
            return True
        return False if found.events else None

    async def _pruned(self) -> int:
        return int((await self._table.get([keys.META])).get(keys.META, {}).get("pruned", 0))

    async def _read(self, found: _Found, last: LogPage, row: Row | None, group: str | None) -> None:
        """Read events up to the end of this page, or until enough were found."""
        job = None if row is None else (row.id, row.n)
        reader = EventReader(self._table)
        async with aclosing(self._pages(found.cursor, last, row, group)) as pages:
            async for page in pages:
                found.pages += 1
                places = list(page.places(found.cursor, job, None if row is not None else group))
                if await self._take(found, places, reader):
                    found.cursor = max(found.cursor, page.end)
                if found.full:
                    return

    async def _take(self, found: _Found, places: Sequence[Place], reader: EventReader) -> bool:
        """Read the events of these places; return False if enough were found before."""
        start = 0
        while start < len(places):
            if found.full:
                return False
            some = places[start : start + min(_SLICE, found.limit + 1 - len(found.events))]
            found.events += await reader.read(some)
            found.size += reader.take_size()
            found.cursor = some[-1].cursor
            start += len(some)
        return True

    async def _is_stuck(self, found: _Found, last: LogPage, row: Row | None, group: str | None) -> bool:
        """Return whether others have to append what was asked for, having waited a little for them to do it.

        It is False after a while: then none of them lives, and the reader goes without it.
        """
        if self._upkeep.permitted or (row is None and group is None) or self._stuck_at == last.number:
            return False
        rows = await self._unlogged_of(group or "") if row is None else [row]
        if all(max(each.logged, last.newest(each.id, each.n)) >= each.state.seq for each in rows):
            return False
        if found.waited >= _PATIENCE:
            self._stuck_at = last.number
            return False
        if not found.events:
            await self._clock.pause(_LOOK)
            found.waited += _LOOK
        return True

    # -- which pages

    async def _pages(self, after: int, last: LogPage, row: Row | None, group: str | None) -> AsyncGenerator[LogPage]:
        """Walk over the pages from a cursor to this last one that may have what was asked for.

        The notes of all but the last one are made, so nothing has to lead to that.
        """
        numbers = self._numbers(after, last, row, group)
        async with aclosing(numbers):
            async for some in numbers:
                left = [number for number in some if number < last.number]
                for start in range(0, len(left), _AT_ONCE):
                    pages = await self._head.pages(left[start : start + _AT_ONCE])
                    for number in sorted(pages):
                        yield pages[number]
        if last.number:
            yield last

    async def _numbers(
        self, after: int, last: LogPage, row: Row | None, group: str | None
    ) -> AsyncGenerator[Sequence[int]]:
        first = max(1, page_of(after))
        if row is not None:
            if row.pages_apart and not (row.pages and row.pages[0] <= first):
                async for some in self._listed(keys.job(row.id, row.n), keys.PAGES, first):
                    yield [number for number in some if first <= number]
            yield [number for number in row.pages if first <= number]
        elif group is not None:
            async for some in self._of_group(group, first):
                yield some
        else:
            for number in range(first, last.number + 1, _AT_ONCE):
                yield range(number, min(number + _AT_ONCE, last.number + 1))

    async def _listed(self, partition: str, prefix: str, first: int) -> AsyncGenerator[Sequence[int]]:
        """Return the pages that a job lists in items of its own, from the list on that may have this one."""
        before = await self._table.query(partition, before=keys.pages_of_job(first + 1), limit=1, forward=False)
        begin = before.items[0]["sk"] if before.items and before.items[0]["sk"].startswith(prefix) else prefix
        end = keys.pages_of_job(10**15 - 1)
        if begin != prefix:
            yield [int(number) for number in before.items[0]["pg"]]
        following = None
        while True:
            page = await self._table.query(partition, after=begin, before=end, start=following, limit=_ROWS)
            for item in page.items:
                yield [int(number) for number in item["pg"]]
            following = page.next
            if following is None:
                return

    async def _of_group(self, group: str, first: int) -> AsyncGenerator[Sequence[int]]:
        partition, after = keys.pages_of_group(group), keys.page_number(first - 1)
        following = None
        while True:
            page = await self._table.query(partition, after=after, start=following, limit=_ROWS)
            yield [int(item["sk"]) for item in page.items]
            following = page.next
            if following is None:
                return

    # -- appending

    async def append(self) -> int:
        """Append a page of what this process wrote, and of what the index shows; return how many events it has."""
        return await self._upkeep.do(self._append, 0)

    async def _append(self) -> int:
        return await self._appender.append(await self._appender.index())

    async def append_jobs(self, ids: Sequence[str]) -> None:
        """Append all events of these jobs."""
        for start in range(0, len(ids), MOST_JOBS):
            some = ids[start : start + MOST_JOBS]
            while await self._unlogged(some):
                await self._appender.append(some)  # with an error if that is not permitted

    async def _append_missing(self, row: Row | None, group: str | None) -> int:
        """Append a page if anything is missing that was asked for; return how many events it has."""
        if row is None and group is None:
            return await self.append()
        rows = await self._unlogged_of(group or "") if row is None else [row]
        ids = [each.id for each in rows if each.logged < each.state.seq]
        # What this process wrote comes first, and a page of it may have no room for these jobs.
        return await self._appender.append(ids) if ids else 0

    async def _unlogged(self, ids: Sequence[str]) -> list[Row]:
        found: list[Row] = []
        for start in range(0, len(ids), _ROWS):
            rows = await read_rows(self._table, ids[start : start + _ROWS])
            found += [row for row in rows.values() if row is not None and row.logged < row.state.seq]
        return found

    async def _unlogged_of(self, group: str) -> list[Row]:
        """Return members of a group that have events to be appended, the first submitted ones first."""
        found: list[Row] = []
        following = None
        while len(found) < MOST_JOBS:
            page = await self._table.query(keys.named("G", group), start=following, limit=500)
            found += await self._unlogged([item["id"] for item in page.items])
            following = page.next
            if following is None:
                break
        return found[:MOST_JOBS]

    async def last_cursor(self) -> str:
        """Append what is missing, and return the end of the log."""
        return str(await self.end())

    async def end(self) -> int:
        """Append what is missing, and return the position of the last event."""
        for _ in range(_STEPS):
            if not await self.append():
                break
        return (await self._head.look()).end

    async def highest(self, rows: Sequence[Row]) -> int:
        """Append all events of these jobs, and return the highest position that any of them has."""
        ids = [row.id for row in rows]
        await self.append_jobs([row.id for row in rows if row.logged < row.state.seq])
        await self._head.find()
        highest = 0
        for start in range(0, len(ids), _ROWS):
            found = await read_rows(self._table, ids[start : start + _ROWS])
            now = [row for row in found.values() if row is not None]
            pages = await self._head.pages(sorted({await self._last_page(row) for row in now} - {0}))
            for page in pages.values():
                jobs = {(row.id, row.n) for row in now}
                highest = max([highest, *(place.cursor for job in jobs for place in page.places(0, job))])
        return highest

    async def _last_page(self, row: Row) -> int:
        if row.pages or not row.pages_apart:
            return row.pages[-1] if row.pages else 0
        last = await self._table.query(
            keys.job(row.id, row.n), before=keys.pages_of_job(10**15 - 1), limit=1, forward=False
        )
        return int(last.items[0]["pg"][-1])

    # -- waiting

    async def head_moved(self, patience: float = 0.0) -> bool:
        """Return whether other processes have written events since it was last asked.

        It looks for the next page, and, if there is none, appends what waits for that: see ``append_in_turn``.
        """
        met = self._head.met
        await self._head.look()
        if self._head.met == met:
            await self._append_in_turn(patience)
        self._meet()
        news = self._head.met + self._appender.foreign
        moved, self._noticed = news != self._noticed, news
        return moved

    async def append_in_turn(self, patience: float) -> None:
        """Append a page of what waits for that, unless another process has just put one.

        Whoever appends finds what all have written. If each of many processes did it at once, there would be a page for
        every few events, and each of them would make the notes of all these pages. So the one that put the last page
        puts the next one.

        :param patience: seconds since its last page after which this process puts another one; behind one of another
            process it waits for two or three times as long.
        """
        await self._head.look()
        await self._append_in_turn(patience)

    async def _append_in_turn(self, patience: float) -> None:
        met = self._meet()
        if not 0 <= self._clock.lease_time() - met.at < patience * met.factor * SECOND:
            for _ in range(_STEPS):
                if not await self.append() or not self._appender.is_full:
                    break
            self._meet()  # from then on the next one waits

    def _meet(self) -> _Met:
        """Return when the last page was met that this process knows.

        That one which was there at its first look may be old: it waits behind none that it has not seen come.
        """
        number, is_own = self._head.known
        if self._met is None:
            self._met = _Met(number, 0, 0)
        if self._met.number != number:
            self._met = _Met(number, self._clock.lease_time(), 1 if is_own else 2 + random.random())
        return self._met


class _Met(Struct, frozen=True):
    """When the last page was met, and by which factor the next one is left to others for longer."""

    number: int
    at: int
    factor: float
