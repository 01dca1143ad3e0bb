"""Remove finished jobs whose retention is over, and the leftovers of removed jobs, in the background."""

from __future__ import annotations

import random

import anyio.lowlevel

from asyncjobs.backends.base import JobBackend
from asyncjobs.clock import Clock
from asyncjobs.core.state import SECOND
from asyncjobs.plurals import counted
from asyncjobs.runtime.loops import look_forever
from asyncjobs.runtime.outages import Outage
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs.maintenance")

EVERY = 60.0
"""Seconds between checks when nothing is due."""
STEP = 500
"""Jobs that one step removes: a transaction of some 10 ms."""
_POLITE = 20
"""Steps after which a round pauses half as long between two of them as each took …"""
_SHORTEST = 1 / 8
"""… and at least this part of it."""


class RetentionLoop:
    """Removes jobs that ended more than ``retention`` seconds ago, by the wall clock, in bounded steps.

    Any number of processes may do it to one store: a step removes what it finds there, and each job is removed once.
    They begin their rounds at different times, so that they seldom find the same jobs.

    :param retention: None keeps finished jobs. Then only leftovers are deleted, such as steps that no longer count.
    """

    def __init__(self, backend: JobBackend, retention: float | None, clock: Clock) -> None:
        self._backend = backend
        self._retention = None if retention is None else round(retention * SECOND)
        self._clock = clock
        self._trouble = Outage(logger, "finished jobs cannot be removed")

    async def run(self) -> None:
        """Check at once, and then every minute; wait out errors of the store.

        Leftovers alone are removed only after the first minute: a program that ends soon does not search for them.
        """
        if self._retention is None:
            await self._pause()
        await look_forever(self._look, self._pause, self._trouble, self._clock, first=EVERY, longest=EVERY)

    async def _look(self) -> None:
        removed = await self.prune()
        self._trouble.recovered()
        if removed:
            logger.info("%s removed: retention is over", counted(removed, "finished job"))

    async def _pause(self) -> None:
        await self._clock.sleep(EVERY * random.uniform(0.5, 1.0))

    async def prune(self) -> int:
        """Remove all jobs that are due; return their number.

        Others want to write, too: it pauses after each step, for as long as that took. The longer a round goes on, the
        shorter are its pauses, so that it keeps up with a program that never stops making jobs.
        """
        total = steps = 0
        while True:
            began = self._clock.monotonic()
            before = 0 if self._retention is None else self._clock.now() - self._retention
            removed = await self._backend.prune(before, STEP)
            if not removed:
                return total
            total += removed
            share = max(_SHORTEST, _POLITE / (_POLITE + steps))
            await self._clock.sleep(share * (self._clock.monotonic() - began) / SECOND)
            await anyio.lowlevel.checkpoint()
            steps += 1
