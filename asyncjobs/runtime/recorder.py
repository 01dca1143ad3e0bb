"""Record the events and outcomes of bodies in the store, in the order in which they happened.

Body events (progress, logs, custom events) are stored in batches, across all running attempts. An outcome is stored
together with the last events of its body. If some of these are being written already, the outcome waits for that:
should the write fail, they are stored with the outcome.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

from asyncjobs.backends.base import AttemptEnd, AttemptRef, ClaimResult, JobBackend
from asyncjobs.backends.committed_events import CommittedEvents
from asyncjobs.clock import Clock
from asyncjobs.exceptions import BackendError
from asyncjobs.models import BodyEvent, Outcome, OutcomeKind
from asyncjobs.plurals import counted
from asyncjobs.runtime.attempt import RunningAttempt
from asyncjobs.runtime.claims import Claims
from asyncjobs.runtime.outages import Outage
from asyncjobs.runtime.outcomes import OutcomeWriter
from asyncjobs.runtime.result_cache import ResultCache
from asyncjobs.runtime.wakeups import Wakeup
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs.worker")

_EVERY = 0.05
"""Seconds between two writes: all reports in between are stored together."""
_LONGEST_DELAY = 5.0
_AT_ONCE = 2000
"""Events per write, shared by the bodies that report: a transaction must stay short."""


class Recorder:
    """Stores the body events and the outcomes of a worker's attempts.

    :param running: the worker's attempts, by job id, as they are at any time.
    :param claims: makes the claims that are sent with outcomes.
    :param results: keeps results that this process may soon read.
    :param claimed: called with the result of such a claim, once its jobs are started.
    :param stale: called with the id of a job that was reassigned, so that its state is looked up.
    :param written: notified when no outcome is left to write.
    """

    def __init__(
        self,
        backend: JobBackend,
        clock: Clock,
        running: Mapping[str, RunningAttempt],
        claims: Claims,
        results: ResultCache,
        *,
        claimed: Callable[[ClaimResult], None],
        stale: Callable[[str], None],
        written: Wakeup,
    ) -> None:
        self._backend = backend
        self._clock = clock
        self._running = running
        self._outage = Outage(logger, "events of running jobs could not be stored yet")
        self.outcomes: OutcomeWriter = OutcomeWriter(
            backend, clock, claims, results, self._outage, claimed=claimed, stale=stale, written=written
        )
        self._reported = Wakeup()
        self._on_its_way: frozenset[RunningAttempt] = frozenset()
        self._waiting: list[tuple[RunningAttempt, Outcome]] = []

    def on_event(self) -> None:
        """Have body events stored. Must be called on the loop's thread."""
        self._reported.notify()

    def on_outcome(self, running: RunningAttempt, outcome: Outcome) -> None:
        """Have an outcome stored: at once, or after the events of its body that are being written."""
        if running in self._on_its_way:
            self._waiting.append((running, outcome))
        else:
            self._put(running, outcome)

    def on_unrun(self, attempt: AttemptRef, outcome: Outcome) -> None:
        """Have the outcome of an attempt without a body stored."""
        self.outcomes.put(AttemptEnd(attempt, outcome))

    def _put(self, running: RunningAttempt, outcome: Outcome) -> None:
        reported = running.context.reported
        body_events = () if reported is None else reported.take()
        parked_on = running.parked_on if outcome.kind is OutcomeKind.RELEASED else None
        end = AttemptEnd(running.job.attempt, outcome, body_events, random.random(), parked_on)
        self.outcomes.put(end, running.job.function, running.job.group)

    @property
    def unrecorded(self) -> list[AttemptRef]:
        """Attempts whose outcomes are not confirmed by the store."""
        return [
            *(running.job.attempt for running, _ in self._waiting),
            *(end.attempt for end in self.outcomes.unwritten),
        ]

    def has(self, job_id: str) -> bool:
        """Return whether an attempt of this job has ended, and its outcome is not confirmed by the store."""
        return self.outcomes.has(job_id) or any(r.job.attempt.job_id == job_id for r, _ in self._waiting)

    def committed(self, events: CommittedEvents) -> None:
        """Handle the events of a commit of this process, before their waiters are woken."""
        self.outcomes.committed(events)

    async def record_outcomes(self) -> None:
        """Store outcomes forever; wait out errors of the store."""
        await self.outcomes.run()

    async def record_events(self) -> None:
        """Store body events forever, in batches; wait out errors of the store."""
        delay = _EVERY
        while True:
            await self._reported.wait()
            delay = _EVERY if await self._store() else min(_LONGEST_DELAY, delay * 2)
            await self._clock.sleep(delay)
            if any(running.context.reported for running in self._running.values()):
                self._reported.notify()  # held back, not stored, or reported meanwhile

    async def _store(self) -> bool:
        """Store the reports that are due. Return whether the store accepted them; otherwise they are kept."""
        having_events = [running for running in self._running.values() if running.context.reported]
        share = max(1, _AT_ONCE // max(1, len(having_events)))
        taken = [(running, events) for running in having_events if (events := running.context.body_events.take(share))]
        if not taken:
            return True
        self._on_its_way = frozenset(running for running, _ in taken)
        try:
            await self._backend.append_events([(running.job.attempt, events) for running, events in taken])
        except BackendError as error:
            self._outage.failed(error)
            for running, _ in taken:
                running.context.body_events.put_back()  # it goes with the outcome at the latest
            return False
        except Exception as error:  # border: one event cannot be stored, and must not hold up the others
            logger.error(
                "events could not be stored together; storing those of each job separately: %s", error, exc_info=error
            )
            await self._store_apart(taken)
        finally:
            self._on_its_way = frozenset()
            waiting, self._waiting = self._waiting, []
            for running, outcome in waiting:
                self._put(running, outcome)
        return True

    async def _store_apart(self, taken: Sequence[tuple[RunningAttempt, tuple[BodyEvent, ...]]]) -> None:
        for running, events in taken:
            try:
                await self._backend.append_events([(running.job.attempt, events)])
            except BackendError as error:
                self._outage.failed(error)
                running.context.body_events.put_back()
            except Exception as error:  # border: as above; it is lost, since it can never be stored
                job_id = running.job.attempt.job_id
                logger.error("%s of job %r cannot be stored: %s", counted(len(events), "event"), job_id, error)
