"""End the gates that were not answered in time, in every process that has the store open."""

from __future__ import annotations

from collections.abc import Callable

from asyncjobs.backends.base import JobBackend
from asyncjobs.clock import Clock
from asyncjobs.plurals import counted
from asyncjobs.runtime.loops import look_forever
from asyncjobs.runtime.outages import Outage
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs")

_EVERY = 1.0
"""Seconds between two checks: a gate ends within 2 s of its deadline."""


class Deadlines:
    """Looks for gates whose deadline has passed: at once, and then every second.

    :param nudge: called when gates have ended, which may have made jobs ready.
    """

    def __init__(self, backend: JobBackend, clock: Clock, *, nudge: Callable[[], None]) -> None:
        self._backend = backend
        self._clock = clock
        self._nudge = nudge

    async def run(self) -> None:
        """Check for as long as the store is open; wait out errors of the store."""

        async def pause() -> None:
            await self._clock.sleep(_EVERY)

        trouble = Outage(logger, "gates that were not answered in time cannot be ended")
        await look_forever(self.look, pause, trouble, self._clock, longest=_EVERY)

    async def look(self) -> int:
        """End all gates that are due, in batches; return their number."""
        ended = 0
        # Not only after a full batch: another process may have ended part of a batch that was full when it was read.
        while batch := len(await self._backend.end_due_gates()):
            ended += batch
            self._nudge()
        if ended:
            logger.info("%s not answered in time", counted(ended, "gate was", "gates were"))
        return ended
