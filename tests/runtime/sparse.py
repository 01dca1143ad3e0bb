"""A store without ``"dense_log"``: positions of its log have holes, and listeners get events without a position."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from random import Random
from typing import Any

from msgspec.structs import replace

from asyncjobs import ConfigurationError, MemoryBackend
from asyncjobs.backends.base import Listener
from asyncjobs.backends.committed_events import CommittedEvents
from asyncjobs.models import EventPage
from asyncjobs.runtime.events.log_pages import well_formed


class Sparse(MemoryBackend):
    """The store in memory, whose nth event is somewhere between ``1024 * n`` and ``1024 * (n + 1)``."""

    capabilities = MemoryBackend.capabilities - {"dense_log"}

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._gaps = Random(1024)
        self._positions = [0]

    def _position(self, dense: int) -> int:
        while len(self._positions) <= dense:
            self._positions.append(1024 * len(self._positions) + self._gaps.randrange(1024))
        return self._positions[dense]

    def add_listener(self, listener: Listener) -> Callable[[], None]:
        def unplaced(events: CommittedEvents) -> None:
            listener(CommittedEvents.of([replace(event, cursor="") for event in events]))

        return super().add_listener(unplaced)

    async def read_events(self, after: str | None = None, **options: Any) -> EventPage:
        if after is not None and well_formed(after):
            if int(after) > int(await self.last_cursor()):
                raise ConfigurationError("after", after, allowed="a cursor of this store")
            after = str(bisect_right(self._positions, int(after)) - 1)
        page = await super().read_events(after, **options)
        events = [replace(event, cursor=str(self._position(int(event.cursor)))) for event in page.events]
        return EventPage(events, str(self._position(int(page.cursor))), page.end, page.lost)

    async def last_cursor(self) -> str:
        return str(self._position(int(await super().last_cursor())))
