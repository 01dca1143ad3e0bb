"""Fail jobs that no live worker may run, after a grace period."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from asyncjobs.backends.base import JobBackend
from asyncjobs.clock import Clock, to_datetime
from asyncjobs.core.lanes import Lane
from asyncjobs.core.state import SECOND
from asyncjobs.models import JobError, JobStatus, WaitsFor, WorkerInfo
from asyncjobs.paging import iter_pages
from asyncjobs.plurals import counted
from asyncjobs.requests import JobQuery
from asyncjobs.runtime.loops import look_forever
from asyncjobs.runtime.outages import Outage
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs.maintenance")

_PAGE = 500
_LONGEST_WAIT = 30.0


class Unrunnable:
    """Fails ready jobs whose function every live worker has refused for ``after`` seconds without a break."""

    def __init__(self, backend: JobBackend, after: float, clock: Clock) -> None:
        self._backend = backend
        self._after = after
        self._clock = clock
        self._since: dict[Lane, int] = {}  # monotonic µs
        self._trouble = Outage(logger, "jobs that no worker may run cannot be searched for")

    async def run(self) -> None:
        """Check regularly; wait out errors of the store."""
        every = min(_LONGEST_WAIT, self._after / 4)

        async def pause() -> None:
            await self._clock.sleep(every * random.uniform(0.5, 1.0))

        await look_forever(self.look, pause, self._trouble, self._clock, first=every, longest=every)

    async def look(self) -> list[str]:
        """Fail the jobs that are due; return their ids."""
        alive = [worker for worker in await self._backend.workers() if worker.alive]
        refused = {
            lane: reason
            for lane in await self._backend.get_lanes()
            if lane.owner is None and (reason := refusal(lane, alive)) is not None
        }
        now = self._clock.monotonic()
        self._since = {lane: self._since.get(lane, now) for lane in refused}  # a willing worker restarts the time
        given_up: list[str] = []
        for lane, since in self._since.items():
            if now - since >= self._after * SECOND:
                given_up += await self._give_up(lane, refused)
        return given_up

    async def _give_up(self, lane: Lane, reasons: Mapping[Lane, str]) -> list[str]:
        before = to_datetime(self._clock.now() - round(self._after * SECOND))
        query = JobQuery(
            function=lane.function, queue=lane.queue, status=JobStatus.PENDING, created_before=before, limit=_PAGE
        )
        error = JobError("UnrunnableError", f"no live worker may run {lane.function!r}: {reasons[lane]}")
        given_up: list[str] = []
        async for page in iter_pages(self._backend.find_jobs, query):
            ready = [job.id for job in page if job.waits_for is WaitsFor.WORKER]
            if ready:
                given_up += await self._backend.give_up(ready, error)
        if given_up:
            logger.error("%s of %r failed: %s", counted(len(given_up), "job"), lane.function, error.message)
        return given_up


def refusal(lane: Lane, alive: Sequence[WorkerInfo]) -> str | None:
    """Return why none of these workers may run it; None if one may, or if none serves its queue at all."""
    serving = [worker for worker in alive if worker.queues is None or lane.queue in worker.queues]
    reasons = [worker.refused.get(lane.function) for worker in serving]
    if not serving or None in reasons:
        return None
    return f"{serving[0].name}: {reasons[0]}"
