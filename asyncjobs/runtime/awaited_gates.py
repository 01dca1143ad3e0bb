"""Log which gates a drain waits for: it ends only when people have answered them."""

from __future__ import annotations

from asyncjobs.backends.base import JobBackend
from asyncjobs.clock import Clock
from asyncjobs.core.state import SECOND
from asyncjobs.error_texts import shown
from asyncjobs.models import Job
from asyncjobs.paging import take_jobs
from asyncjobs.requests import JobQuery
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs")

_EVERY = 1.0
"""Seconds between two checks."""
_NAMED = 5


class AwaitedGates:
    """The open gates for which one drain waits, of a group or of all; they are logged once.

    :param group: the group that is drained; None drains everything.
    """

    def __init__(self, backend: JobBackend, clock: Clock, group: str | None) -> None:
        self._backend = backend
        self._clock = clock
        self._group = group
        self._next: int | None = clock.monotonic()

    async def look(self) -> float | None:
        """Look for open gates, unless the last look was just now.

        :returns: seconds until the next look; None after the last one.
        """
        if self._next is None:
            return None
        now = self._clock.monotonic()
        if now >= self._next:
            query = JobQuery(group=self._group, waits_for="answer", limit=2 * _NAMED + 1)
            waiting, more = await take_jobs(self._backend.find_jobs, query, query.limit)
            gates = [job for job in waiting if job.gate is not None]  # parked jobs have their own gates
            if gates:
                _log(gates, more=more)
                self._next = None
                return None
            self._next = now + round(_EVERY * SECOND)
        return (self._next - now) / SECOND


def _log(gates: list[Job], *, more: bool) -> None:
    named = ", ".join(f"{job.id!r} ({shown(job.gate.question)})" for job in gates[:_NAMED] if job.gate is not None)
    rest = ", and more" if more or len(gates) > _NAMED else ""
    logger.info("drain waits for an answer to: %s%s", named, rest)
