"""Put pages at the end of the log, one after the other, and note in the jobs how far the log has their events.

A page exists or not: of several processes that put the same one, one wins. The notes of a page are made before the next
page is put, by its writer or, if that died, by whoever comes next. So at any time only those of the last page may be
missing.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Sequence

import anyio

from asyncjobs.backends.sqs import keys, log_pages
from asyncjobs.backends.sqs.concurrent import at_once
from asyncjobs.backends.sqs.log_pages import LogPage, Paged
from asyncjobs.backends.sqs.table import Item, Refused, Table, Update

_IN_ROW = 30
"""Pages that a row names itself; more have an item of their own."""
_REMEMBERED = 64
_AT_ONCE = 16
"""Notes that are made before it is looked whether others make them, too."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 0.4
"""Seconds between two looks whether the writer of a page makes its notes."""
_PATIENCE = 2
"""Looks without any progress after which it is taken for dead."""


class Head:
    """The end of the log, as this process knows it: pages are never removed, so it is never before that."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._last = LogPage()
        self._noted = True
        self._own = False
        self._finding = anyio.Lock()
        self._pages: OrderedDict[int, LogPage] = OrderedDict()
        self.met = 0
        """Pages of other processes that were met at the end."""

    @property
    def known(self) -> tuple[int, bool]:
        """The number of the last page that this process knows, and whether it has put that itself."""
        return self._last.number, self._own

    async def look(self) -> LogPage:
        """Return the last page, whose notes may be missing. Without any page it is an empty one.

        A page is there from the write that puts it, and never changes: its notes only lead to it.
        """
        async with self._finding:
            await self._find()
            return self._last

    async def find(self) -> LogPage:
        """Return the last page, when the notes of all pages are made: only then the next one may be put."""
        async with self._finding:
            await self._find()
            await self._note_last()
            return self._last

    async def _find(self) -> None:
        """Look behind the page that was the last one: in steps that double, then between the last two of them."""
        low, step, found = self._last.number, 1, None
        while (page := await self._page(low + step)) is not None:
            low, step, found = low + step, step * 2, page
        high = low + step
        while high - low > 1:
            middle = (low + high) // 2
            page = await self._page(middle)
            low, high, found = (low, middle, found) if page is None else (middle, high, page)
        if found is not None:
            self._last, self._noted, self._own = found, False, False
            self.met += 1

    async def _page(self, number: int) -> LogPage | None:
        return (await self.pages([number])).get(number)

    async def pages(self, numbers: Sequence[int]) -> dict[int, LogPage]:
        """Read pages by their numbers. They never change."""
        found = {number: self._pages[number] for number in numbers if number in self._pages}
        left = {keys.log_page(number): number for number in numbers if number not in found}
        for key, item in (await self._table.get(list(left))).items() if left else ():
            found[left[key]] = self._pages[left[key]] = log_pages.unpack(item["p"])
        while len(self._pages) > _REMEMBERED:
            self._pages.popitem(last=False)
        return found

    async def put(self, page: LogPage) -> bool:
        """Put the next page and make its notes; return False if another process was first."""
        put = Update(keys.log_page(page.number), new=True, set={"p": log_pages.pack(page)})
        async with self._finding:
            if isinstance(await self._table.write(put), Refused):
                return False
            self._last, self._noted, self._own = page, False, True
            await self._note_last()
            return True

    # -- notes

    async def _note_last(self) -> None:
        if self._noted:
            return
        page = self._last
        left: list[Paged] = list(page.jobs) if self._own else await self._left_by_its_writer(page)
        if left:
            entries = [keys.pages_of_group(group) for group in page.groups]
            await self._table.put_many([{"pk": entry, "sk": keys.page_number(page.number)} for entry in entries])
        alone = self._own
        while left:
            some = left[:_AT_ONCE] if alone else random.sample(left, min(_AT_ONCE, len(left)))
            made = await at_once(lambda paged: self._note(page.number, paged), some)
            alone &= all(made)
            left = [paged for paged in left if paged not in some]
            if not alone:  # if others are at the same, each makes some of those that are left then
                left = await self._without_note(left)
        self._noted = True

    async def _left_by_its_writer(self, page: LogPage) -> list[Paged]:
        """Return the jobs of a page of another process whose notes are missing, once that makes none any more."""
        left = await self._without_note(page.jobs)
        pause, patience = _FIRST_PAUSE, _PATIENCE
        while left and patience:
            await anyio.sleep(pause)
            before, left = len(left), await self._without_note(left)
            pause, patience = min(2 * pause, _LONGEST_PAUSE), _PATIENCE if len(left) < before else patience - 1
        return left

    async def _without_note(self, jobs: Sequence[Paged]) -> list[Paged]:
        """Return those of these jobs of a page whose notes no process has made, or not yet.

        A write that is refused costs as much as one that is done, and ten times as much as this read.
        """
        keys_of = {paged.id: keys.row(paged.id) for paged in jobs}
        items = await self._table.get(list(keys_of.values()), consistent=False)
        return [paged for paged in jobs if _lacks_note(items.get(keys_of[paged.id]), paged)]

    async def _note(self, number: int, paged: Paged) -> bool:
        """Note in a row how far the log is, and in which page; once, since the note before it must be there.

        If the job has gone on since, it stays in the index of those that have events to be appended.

        :returns: whether this process made it, and no other one.
        """
        item: Item | None = {"n": paged.n, "lgd": paged.first - 1, "q": paged.last}
        while item is not None and (item["n"], item.get("lgd", 0)) == (paged.n, paged.first - 1):
            updates = _notes(number, paged, item)
            if len(updates) == 1:
                answer = await self._table.write(updates[0])
            else:
                answer = (await self._table.transact(updates) or [None])[0]
            if not isinstance(answer, Refused):
                return True
            item = answer.item
        return False


def _lacks_note(item: Item | None, paged: Paged) -> bool:
    """Return whether a job may not have its note. What was read may be old: its row may be there, or noted by now."""
    return item is None or item["n"] < paged.n or (item["n"] == paged.n and item.get("lgd", 0) < paged.last)


def _notes(number: int, paged: Paged, item: Item) -> list[Update]:
    """Return the write of the note on a row that is, as far as is known, like this item."""
    row = keys.row(paged.id)
    is_newest = item["q"] == paged.last
    equal = {"n": paged.n, "lgd": paged.first - 1} | ({"q": paged.last} if is_newest else {})
    gone = ("gp",) if is_newest else ()
    pages: Sequence[int] = item.get("lgp", ())
    if len(pages) < _IN_ROW:
        noted = Update(
            row,
            set={"lgd": paged.last},
            append={"lgp": [number]},
            remove=gone,
            equal=equal,
            absent=(f"lgp[{_IN_ROW - 1}]",),
            marked=False,
        )
        return [noted]
    apart = (keys.job(paged.id, paged.n), keys.pages_of_job(pages[0]))
    noted = Update(row, set={"lgd": paged.last, "lgo": 1}, remove=("lgp", *gone), equal=equal, marked=False)
    return [noted, Update(apart, new=True, replace=True, set={"pg": [*pages, number]})]
