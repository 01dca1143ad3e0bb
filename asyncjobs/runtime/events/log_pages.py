"""Read pages of the log once for all readers that need the same page at the same time.

After a burst, all subscribers that fell behind read the log from about the same position; after a restart, all clients
reconnect. So the whole log is read in aligned blocks: each block is read, filtered and encoded once. A full block never
changes; where positions have holes, its page reaches into the following blocks. The last block is shared only with
readers that went live before it was read.

Pages of one job or group begin at the reader's cursor. Only full ones are shared: a page that another reader has
requested may be older than this reader needs in order to decide whether it has reached the end.
"""

from __future__ import annotations

from collections import OrderedDict

import anyio
from msgspec import Struct

from asyncjobs.backends.base import JobBackend
from asyncjobs.models import EventPage
from asyncjobs.runtime.events.log_tail import NEVER, Publication

BLOCK = 250
"""Events of a page, and positions of a block: at most a few MB, which every reader may hold."""
_KEPT = 16
"""Pages that the cache holds."""

_Key = tuple[str | None, str | None, str | None]


class SharedPage(Struct, frozen=True):
    """A page, and its events as one publication (None without events)."""

    page: EventPage
    publication: Publication | None


class LogPages:
    """Reads pages of one store's log."""

    def __init__(self, backend: JobBackend) -> None:
        self._backend = backend
        self._kept: OrderedDict[_Key, SharedPage] = OrderedDict()
        self._reading: dict[_Key, anyio.Event] = {}

    async def end(self) -> str:
        """Return the cursor of the newest event."""
        return await self._backend.last_cursor()

    async def read(self, after: str | None, job_id: str | None, group: str | None, live_after: str) -> SharedPage:
        """Return the page after a cursor, of a job or group if one is given; it may begin before the cursor.

        :param live_after: where live events begin. A page marked as the last one reaches at least that far.
        :raises ConfigurationError: ``after`` is not a cursor. BackendError: it could not be read.
        """
        if job_id is not None or group is not None:
            return await self._shared((after, job_id, group), None)
        if after is not None and well_formed(after):
            position = int(after)
            block = await self._shared((str(position - position % BLOCK), None, None), max(position, int(live_after)))
            reached = int(block.page.cursor)
            # Otherwise, the lost events may be before the cursor, or the cursor is beyond the end of the log.
            if not block.page.lost and (reached > position or (block.page.end and reached == position)):
                return block
            return await self._fetch((after, None, None))
        return await self._shared((after, None, None), int(live_after))

    async def _shared(self, key: _Key, least: int | None) -> SharedPage:
        """Read a page, or share it. The last one is shared if it reaches as far as ``least``; with None, never."""
        for _ in range(2):  # a pending read may have begun too early, then read again
            known = self._kept.get(key)
            if known is not None and _counts(known.page, least):
                self._kept.move_to_end(key)
                return known
            reading = self._reading.get(key)
            if reading is None:
                return await self._read(key, least)
            await reading.wait()
        known = self._kept.get(key)
        return known if known is not None and _counts(known.page, least) else await self._fetch(key)

    async def _read(self, key: _Key, least: int | None) -> SharedPage:
        done = self._reading[key] = anyio.Event()
        try:
            shared = await self._fetch(key)
            if not shared.page.lost and (least is not None or not shared.page.end):
                self._kept[key] = shared
                while len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
            return shared
        finally:
            del self._reading[key]
            done.set()

    async def _fetch(self, key: _Key) -> SharedPage:
        after, job_id, group = key
        page = await self._backend.read_events(after, limit=BLOCK, job_id=job_id, group=group)
        return SharedPage(page, Publication(page.events) if page.events else None)


def _counts(page: EventPage, least: int | None) -> bool:
    return not page.end or (least is not None and int(page.cursor) >= least)


def well_formed(cursor: str) -> bool:
    """Return whether a text has the form of a cursor."""
    return cursor.isascii() and cursor.isdigit() and len(cursor) <= 19


def cursor_or_beyond(given: str | None) -> str | None:
    """Return a ``Last-Event-ID`` as a cursor; None and "" are none.

    An invalid value is treated as a cursor of another store, to which a stream responds with ``reset``: a browser
    repeats the last id, whatever it is.
    """
    if not given:
        return None
    return given if well_formed(given) else NEVER
