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
"""Seconds between two checks of the workers; less if their leases are short."""
_LATE_CHECKS = 5
"""Late checks in a row after which they count: where the store is so slow that all are late, heartbeats are, too."""
_LONGEST_DOUBT = 2.0
"""Seconds for which the store must have been writable before an expired lease counts as death: a live worker that a
long lock kept from writing renews its lease within them."""


class Reaper:
    """Watches the workers of other processes, in a process that has the store open and runs no jobs.

    A process that is gone from this host is noticed at the next check. An expired lease is not enough by itself: the
    store may have been locked, or this process frozen, and the worker kept from its heartbeat, too. So the lease must
    still be expired after ``min(2 s, half a lease)`` in which this process checked often, and could write each time.
    """

    def __init__(self, backend: JobBackend, clock: Clock) -> None:
        self._backend = backend
        self._clock = clock
        self._every = LOOK_EVERY
        self._doubted_since: int | None = None
        self._last_look = 0
        self._late = 0

    async def run(self) -> None:
        """Check regularly while the store is open; not at once, so that a command that only reads reaps nothing."""

        async def look() -> None:
            await self._clock.sleep(self._every)
            await self.look()

        await look_forever(look, None, Outage(logger, "dead workers cannot be detected"), self._clock)

    async def look(self) -> None:
        """Return the jobs of workers that are certainly dead, or have been found dead for long enough."""
        reaped = list(await self._backend.reap(expired=False))
        workers = await self._backend.workers()
        lease = min((worker.lease for worker in workers), default=LOOK_EVERY * 8)
        self._every = min(LOOK_EVERY, lease / 8)
        if all(worker.alive for worker in workers):
            self._doubted_since, self._late = None, 0
        else:
            reaped += await self._reap_after_doubt(round(min(_LONGEST_DOUBT, lease / 2) * SECOND))
        if reaped:
            logger.info("pending again: %s of dead workers", counted(len(reaped), "job"))

    async def _reap_after_doubt(self, doubt: int) -> list[str]:
        await self._backend.mark_job_ready(())  # changes nothing, and needs the same lock as a heartbeat
        now = self._clock.monotonic()
        self._late = self._late + 1 if now - self._last_look > doubt else 0
        if self._doubted_since is None or 0 < self._late < _LATE_CHECKS:
            self._doubted_since = now  # the first check, or one that was delayed, as heartbeats may have been, too
        self._last_look = now
        if now - self._doubted_since < doubt:
            return []
        return list(await self._backend.reap())
