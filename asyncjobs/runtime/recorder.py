"""What running bodies say, on its way into the log: taken from all of them together, now and then.

An outcome carries what its body said last. Where some of that is on its way already, the outcome waits for it: should
the store not take it, it goes with the outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from asyncjobs.backends.base import JobBackend
from asyncjobs.clock import Clock
from asyncjobs.exceptions import BackendError
from asyncjobs.models import BodyEvent, Outcome
from asyncjobs.runtime.attempt import RunningAttempt
from asyncjobs.runtime.outages import Outage
from asyncjobs.runtime.wakeups import Wakeup
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs.worker")

_EVERY = 0.05
"""Seconds between two looks: what is said in between is stored together."""
_LONGEST_DELAY = 5.0
_AT_ONCE = 2000
"""Events that one look takes, shared by those who speak: a transaction must stay short."""


class Recorder:
    """Stores what the bodies of a worker say.

    :param running: the worker's attempts, by job id, as they are at any time.
    :param end: what an outcome that had to wait goes on with.
    """

    def __init__(
        self,
        backend: JobBackend,
        clock: Clock,
        running: Mapping[str, RunningAttempt],
        trouble: Outage,
        end: Callable[[RunningAttempt, Outcome], None],
    ) -> None:
        self._backend = backend
        self._clock = clock
        self._running = running
        self._trouble = trouble
        self._end = end
        self._signal = Wakeup()
        self._on_its_way: frozenset[RunningAttempt] = frozenset()
        self._waiting: list[tuple[RunningAttempt, Outcome]] = []

    def on_event(self) -> None:
        """Somebody said something. On the loop's thread."""
        self._signal.notify()

    @property
    def ending(self) -> list[RunningAttempt]:
        """Those whose outcome waits for what their body said."""
        return [running for running, _ in self._waiting]

    def on_outcome(self, running: RunningAttempt, outcome: Outcome) -> None:
        """A body has ended: its outcome goes on at once, or after what is on its way."""
        if running in self._on_its_way:
            self._waiting.append((running, outcome))
        else:
            self._end(running, outcome)

    async def run(self) -> None:
        """Store what is said, for as long as it takes; an error of the store is waited out."""
        delay = _EVERY
        while True:
            await self._signal.wait()
            delay = _EVERY if await self._store() else min(_LONGEST_DELAY, delay * 2)
            await self._clock.sleep(delay)
            if any(running.context.body_events for running in self._running.values()):
                self._signal.notify()  # held back, not stored, or said meanwhile

    async def _store(self) -> bool:
        """Store what may be stored now. False: the store would not take it; it is kept."""
        having_events = [running for running in self._running.values() if running.context.body_events]
        share = max(1, _AT_ONCE // max(1, len(having_events)))
        taken = [(running, events) for running in having_events if (events := running.context.body_events.take(share))]
        if not taken:
            return True
        self._on_its_way = frozenset(running for running, _ in taken)
        try:
            await self._backend.append_events([(running.job.attempt, events) for running, events in taken])
        except BackendError as error:
            self._trouble.failed(error)
            for running, _ in taken:
                running.context.body_events.put_back()  # it goes with the outcome at the latest
            return False
        except Exception as error:  # border: something in it cannot be stored, and must not hold up the others
            logger.error("events could not be stored together, so each job's alone: %s", error, exc_info=error)
            await self._store_apart(taken)
        finally:
            self._on_its_way = frozenset()
            ended, self._waiting = self._waiting, []
            for running, outcome in ended:
                self._end(running, outcome)
        return True

    async def _store_apart(self, taken: Sequence[tuple[RunningAttempt, tuple[BodyEvent, ...]]]) -> None:
        for running, events in taken:
            try:
                await self._backend.append_events([(running.job.attempt, events)])
            except BackendError as error:
                self._trouble.failed(error)
                running.context.body_events.put_back()
            except Exception as error:  # border: as above; it is lost, since it can never be stored
                job_id = running.job.attempt.job_id
                logger.error("%d events of job %r cannot be stored: %s", len(events), job_id, error)
