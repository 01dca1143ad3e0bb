"""Decide when to claim: after a nudge, when a delayed job comes due, after a change by another process.

It also holds the live graph of this process's unfinished jobs that have edges. The graph explains and orders; it never
releases anything: readiness lives in the store.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel

from asyncjobs.backends.base import ClaimResult, JobBackend
from asyncjobs.clock import Clock
from asyncjobs.core.state import SECOND
from asyncjobs.runtime.claims import Claims
from asyncjobs.runtime.functions import Functions
from asyncjobs.runtime.loops import look_forever
from asyncjobs.runtime.outages import Outage
from asyncjobs.runtime.registration import Registration
from asyncjobs.runtime.wakeups import Wakeup
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs.scheduler")

_SAME_MOMENT = 10_000
"""Microseconds by which two clocks that are read one after the other may differ."""
_LONGEST_WAIT = 30.0
"""Seconds until delayed jobs are checked again: the wall clock, by which they come due, may have been set."""


class Scheduler:
    """Makes the claims of a worker.

    :param lost: awaited with the id of a worker that the store no longer knows; registers a new one.
    :param import_library: awaited with the name of a library that functions of ready jobs need.
    """

    def __init__(
        self,
        backend: JobBackend,
        registration: Registration,
        claims: Claims,
        functions: Functions,
        clock: Clock,
        *,
        lost: Callable[[str], Awaitable[None]],
        import_library: Callable[[str | None], Awaitable[None]],
    ) -> None:
        self._backend = backend
        self._registration = registration
        self._claims = claims
        self._functions = functions
        self._clock = clock
        self._lost = lost
        self._import_library = import_library
        self._signal = Wakeup()
        self._next_due: int | None = None  # by the wall clock, as of the response of the store
        self._offset = clock.now() - clock.monotonic()  # of the wall clock then: it may be set meanwhile
        self._timed = False  # whether it pauses until then at most
        self._reported: dict[str, str] = {}

    def nudge(self) -> None:
        """Trigger a claim: a job may be ready. Called before a submit is stored: the claim joins its transaction."""
        self._signal.notify()

    def on_claim_result(self, claims: ClaimResult) -> None:
        """Learn from a claim that was sent with an outcome when the next job comes due, and of unknown functions."""
        news = self._learn_due(claims.next_due) or claims.unknown or claims.lost
        # With every slot taken, it paused without a timer; now a slot is free, and no outcome need come before that
        # moment.
        if news or (claims.next_due is not None and not self._timed and self._claims.slots.free > 0):
            self.nudge()

    def _learn_due(self, next_due: int | None) -> bool:
        """Record when the next job comes due; return whether that has changed.

        The end of a duration differs a little from time to time, since it is given by the wall clock.
        """
        before, offset = self._next_due, self._offset
        if next_due is None and before is None:
            return False
        self._next_due, self._offset = next_due, self._clock.now() - self._clock.monotonic()
        if next_due is None or before is None:
            return True
        return abs((next_due - self._offset) - (before - offset)) >= _SAME_MOMENT

    async def run(self) -> None:
        """Claim forever; wait out errors of the store."""
        trouble = Outage(logger, "no jobs could be claimed")
        await look_forever(self._claim, self._until_nudged, trouble, self._clock)

    def _until_nudged(self) -> Awaitable[None]:
        left = self._until_due()
        return self._signal.wait() if left is None else self._until_nudged_or_due(left)

    async def _until_nudged_or_due(self, left: float) -> None:
        self._timed = True
        try:
            with self._clock.timeout(left):
                await self._signal.wait()
        finally:
            self._timed = False

    def _until_due(self) -> float | None:
        if self._next_due is None or not self._claims.slots.may_claim():
            return None  # with no slot free, the claim that is sent with an outcome finds jobs that came due
        left = (self._next_due - self._offset - self._clock.monotonic()) / SECOND
        return min(left + 0.001, _LONGEST_WAIT) if left > 0 else 0.0

    async def _claim(self) -> bool:
        """Claim for the free slots; return whether the store was asked."""
        asked = False
        while self._claims.slots.may_claim():
            claim = self._claims.request()
            claims: ClaimResult = ClaimResult()
            brought: ClaimResult | None = None
            try:
                with anyio.CancelScope(shield=True):  # stopping must not lose the jobs of a committed claim
                    claims = brought = await self._backend.dequeue_jobs(claim)
            finally:
                self._claims.settle(claim, brought)
            asked = True
            await anyio.lowlevel.checkpoint_if_cancelled()
            self._learn_due(claims.next_due)
            if claims.lost:
                await self._lost(claim.worker)
            elif not await self._learn(claims.unknown) and len(claims.jobs) < claim.limit:
                break
        return asked

    async def _learn(self, unknown: tuple[str, ...]) -> bool:
        """Resolve functions that ready jobs name; return whether some may run here."""
        for library in {self._functions.find_library(name) for name in unknown if "+" in name} - {None}:
            await self._import_library(library)
        found = [name for name in unknown if self._functions.resolve(name)]
        refused = {name: self._functions.refused[name] for name in unknown if name not in found}
        news = {name: reason for name, reason in refused.items() if self._reported.get(name) != reason}
        if news:
            self._reported |= news
            for name, reason in news.items():
                logger.warning("jobs of %r are not run here: %s", name, reason)
            await self._backend.report_refusals(self._registration.worker_id, self._reported)
        return bool(found)
