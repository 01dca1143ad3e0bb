"""Pages of the log, read once for all who want the same ones at the same time.

After a burst, every subscriber that fell behind reads the log from about the same place. A page that is full never
changes, so one read serves them all. The last page is read by each one himself: what another asked for may be older
than what this reader has to see.
"""

from __future__ import annotations

from collections import OrderedDict

import anyio
from msgspec import Struct

from asyncjobs.backends.base import JobBackend
from asyncjobs.models import EventPage
from asyncjobs.runtime.events import Publication

_KEPT = 32
"""Full pages that are kept: some 500 events each."""

_Key = tuple[str | None, str | None, str | None]


class SharedPage(Struct, frozen=True):
    """A page, and its events as one publication (None without events)."""

    page: EventPage
    publication: Publication | None


class LogPages:
    """Reads pages of one store's log."""

    def __init__(self, backend: JobBackend) -> None:
        self._backend = backend
        self._full: OrderedDict[_Key, SharedPage] = OrderedDict()
        self._reading: dict[_Key, anyio.Event] = {}

    async def read(self, after: str | None, job_id: str | None, group: str | None) -> SharedPage:
        """The page after a cursor, of a job or group where one is given.

        :raises ConfigurationError: ``after`` is not a cursor. BackendError: it could not be read.
        """
        key = (after, job_id, group)
        while True:
            known = self._full.get(key)
            if known is not None:
                self._full.move_to_end(key)
                return known
            reading = self._reading.get(key)
            if reading is None:
                return await self._read(key)
            await reading.wait()
            if key not in self._full:  # it was the last page, or could not be read
                return await self._fetch(key)

    async def _read(self, key: _Key) -> SharedPage:
        done = self._reading[key] = anyio.Event()
        try:
            shared = await self._fetch(key)
            if not shared.page.end and not shared.page.lost:  # retention may take away more of it
                self._full[key] = shared
                while len(self._full) > _KEPT:
                    self._full.popitem(last=False)
            return shared
        finally:
            del self._reading[key]
            done.set()

    async def _fetch(self, key: _Key) -> SharedPage:
        after, job_id, group = key
        page = await self._backend.read_events(after, job_id=job_id, group=group)
        return SharedPage(page, Publication(page.events) if page.events else None)
