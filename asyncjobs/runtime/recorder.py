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
from asyncjobs.runtime.attempt import Running
from asyncjobs.runtime.outages import Trouble
from asyncjobs.runtime.wakeups import Signal
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs.worker")

_EVERY = 0.05
"""Seconds between two looks: what is said in between is stored together."""
_LONGEST_DELAY = 5.0
_AT_ONCE = 2000
"""Events that one look takes, shared by those who speak: a transaction must stay short."""


class Saying:
    """Stores what the bodies of a worker say.

    :param running: the worker's attempts, by job id, as they are at any time.
    :param end: what an outcome that had to wait goes on with.
    """

    def __init__(
        self,
        backend: JobBackend,
        clock: Clock,
        running: Mapping[str, Running],
        trouble: Trouble,
        end: Callable[[Running, Outcome], None],
    ) -> None:
        self._backend = backend
        self._clock = clock
        self._running = running
        self._trouble = trouble
        self._end = end
        self._signal = Signal()
        self._on_its_way: frozenset[Running] = frozenset()
        self._waiting: list[tuple[Running, Outcome]] = []

    def heard(self) -> None:
        """Somebody said something. On the loop's thread."""
        self._signal.notify()

    @property
    def ending(self) -> list[Running]:
        """Those whose outcome waits for what their body said."""
        return [running for running, _ in self._waiting]

    def ended(self, running: Running, outcome: Outcome) -> None:
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
            if any(running.context.unstored for running in self._running.values()):
                self._signal.notify()  # held back, not stored, or said meanwhile

    async def _store(self) -> bool:
        """Store what may be stored now. False: the store would not take it; it is kept."""
        speaking = [running for running in self._running.values() if running.context.unstored]
        share = max(1, _AT_ONCE // max(1, len(speaking)))
        taken = [(running, said) for running in speaking if (said := running.context.unstored.take(share))]
        if not taken:
            return True
        self._on_its_way = frozenset(running for running, _ in taken)
        try:
            await self._backend.append_events([(running.job.attempt, said) for running, said in taken])
        except BackendError as error:
            self._trouble.tell(error)
            for running, _ in taken:
                running.context.unstored.put_back()  # it goes with the outcome at the latest
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

    async def _store_apart(self, taken: Sequence[tuple[Running, tuple[BodyEvent, ...]]]) -> None:
        for running, said in taken:
            try:
                await self._backend.append_events([(running.job.attempt, said)])
            except BackendError as error:
                self._trouble.tell(error)
                running.context.unstored.put_back()
            except Exception as error:  # border: as above; it is lost, since it can never be stored
                job_id = running.job.attempt.job_id
                logger.error("%d events of job %r cannot be stored: %s", len(said), job_id, error)
