"""Return the jobs of dead workers to pending, in a process whose own worker does not do so."""

from __future__ import annotations

from asyncjobs.backends.base import JobBackend
from asyncjobs.clock import Clock
from asyncjobs.core.state import SECOND
from asyncjobs.plurals import counted
from asyncjobs.runtime.loops import look_forever
from asyncjobs.runtime.outages import Outage
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs")

LOOK_EVERY = 1.0
"""Seconds between two looks at the workers; less where their leases are short."""
_LONGEST_DOUBT = 2.0
"""Seconds for which the store could be written before a lease that ran out is taken for death: a worker that lives, and
was kept from writing by a long lock, renews its lease within them."""


class Reaper:
    """Looks after the workers of other processes, in a process that has the store open and runs no jobs.

    A process that is gone from this host is noticed at the next look. A lease that ran out is not enough by itself: the
    store may have been locked, or this process frozen, and then the worker was kept from its heartbeat, too. So it must
    still have run out after ``min(2 s, half a lease)`` in which this process looked often, and could write each time.
    """

    def __init__(self, backend: JobBackend, clock: Clock) -> None:
        self._backend = backend
        self._clock = clock
        self._every = LOOK_EVERY
        self._doubted_since: int | None = None
        self._last_look = 0

    async def run(self) -> None:
        """Look again and again, for as long as the store is open; not at once: a command that only asks has no part."""

        async def look() -> None:
            await self._clock.sleep(self._every)
            await self.look()

        await look_forever(look, None, Outage(logger, "dead workers cannot be looked for"), self._clock)

    async def look(self) -> None:
        """Return the jobs of workers that are certainly dead, or have been found dead for long enough."""
        reaped = list(await self._backend.reap(expired=False))
        workers = await self._backend.workers()
        lease = min((worker.lease for worker in workers), default=LOOK_EVERY * 8)
        self._every = min(LOOK_EVERY, lease / 8)
        if all(worker.alive for worker in workers):
            self._doubted_since = None
        else:
            reaped += await self._reap_after_doubt(round(min(_LONGEST_DOUBT, lease / 2) * SECOND))
        if reaped:
            logger.info("pending again: %s of dead workers", counted(len(reaped), "job"))

    async def _reap_after_doubt(self, doubt: int) -> list[str]:
        await self._backend.mark_job_ready(())  # changes nothing, and needs the same lock as a heartbeat
        now = self._clock.monotonic()
        if self._doubted_since is None or now - self._last_look > doubt:
            self._doubted_since = now  # the first look, or one that was held up, as their heartbeats may have been
        self._last_look = now
        if now - self._doubted_since < doubt:
            return []
        return list(await self._backend.reap())
