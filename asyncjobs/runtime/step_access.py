"""Write and read the steps of a worker's attempts, and wait while the store is unavailable."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

import anyio

from asyncjobs.backends.base import AttemptRef, JobBackend
from asyncjobs.backends.values import StepPage
from asyncjobs.clock import Clock
from asyncjobs.core.requests import StepChange
from asyncjobs.core.state import Stale
from asyncjobs.exceptions import BackendClosedError, BackendConnectionError, BackendError
from asyncjobs.runtime.lending import BodyStopped
from asyncjobs.runtime.outages import Outage, retry_delays
from asyncjobs.safe_logging import SafeLogger

T = TypeVar("T")
logger = SafeLogger("asyncjobs.worker")

_LAST_TRY = 0.8
"""Seconds in which a call that is under way may end, once its attempt is asked to stop: less than the second after
which the process of a plain body is killed."""


class StepAccess(Protocol):
    """The steps of one attempt in the store: of the worker itself, or over the pipe of a child process."""

    attempt: AttemptRef

    def stop(self) -> None:
        """Stop waiting for the store: the attempt is asked to stop. Must be called on the loop of the worker."""
        ...

    async def write(self, change: StepChange) -> bool:
        """Keep or forget steps, durably. Return whether that was done: only if the attempt was still in progress.

        :raises BodyStopped: the store is unavailable, and the attempt is asked to stop.
        :raises BackendError: the store will never take this.
        """
        ...

    async def read_page(self, after: str | None, *, values: bool) -> StepPage:
        """Return a page of what earlier attempts kept.

        :raises BodyStopped: as above.
        """
        ...

    async def read_value(self, key: str) -> bytes | None:
        """Return one value of any size, or None.

        :raises BodyStopped: as above.
        """
        ...


class StoredSteps:
    """The steps of one attempt, for the worker that runs it. Must be used on the loop of the worker.

    :param outage: shared by the attempts of the worker: one line of the log for all of them.
    """

    def __init__(self, backend: JobBackend, clock: Clock, attempt: AttemptRef, outage: Outage) -> None:
        self.attempt = attempt
        self._backend = backend
        self._clock = clock
        self._outage = outage
        self._stopped = False
        self._tries: set[anyio.CancelScope] = set()
        self._pauses: set[anyio.CancelScope] = set()

    def stop(self) -> None:
        """End pauses between two tries at once, and calls that are under way soon."""
        self._stopped = True
        for pause in self._pauses:
            pause.cancel()
        for scope in self._tries:
            scope.deadline = anyio.current_time() + _LAST_TRY

    async def write(self, change: StepChange) -> bool:
        """Send a change until the store has answered."""
        (answer,) = await self._patiently(lambda: self._backend.write_steps([change]), _waits_to_write)
        return not isinstance(answer, Stale)

    async def read_page(self, after: str | None, *, values: bool) -> StepPage:
        """Read until the store can be reached."""
        job_id = self.attempt.job_id
        return await self._patiently(
            lambda: self._backend.read_steps(job_id, after, limit=1000, values=values), _waits_to_read
        )

    async def read_value(self, key: str) -> bytes | None:
        """Read until the store can be reached."""
        return await self._patiently(lambda: self._backend.read_step(self.attempt.job_id, key), _waits_to_read)

    async def _patiently(self, call: Callable[[], Awaitable[T]], waits: Callable[[BackendError], bool]) -> T:
        """Repeat a call while the store is unavailable, until the attempt is asked to stop.

        Changes are idempotent, so a change whose response was lost is repeated.
        """
        for delay in retry_delays():
            # Shielded: a body that is cancelled while its value is committed must not do the same work again.
            with anyio.CancelScope(shield=True) as scope:
                if self._stopped:
                    scope.deadline = anyio.current_time() + _LAST_TRY
                self._tries.add(scope)
                try:
                    answer = await call()
                    self._outage.recovered()
                    return answer
                except BackendError as error:
                    if not waits(error):
                        raise
                    self._outage.failed(error)
                finally:
                    self._tries.discard(scope)
            await self._pause(delay)
        raise AssertionError("there is always another delay")

    async def _pause(self, seconds: float) -> None:
        if not self._stopped:
            with anyio.CancelScope() as scope:
                self._pauses.add(scope)
                try:
                    await self._clock.sleep(seconds)
                finally:
                    self._pauses.discard(scope)
        if self._stopped:
            raise BodyStopped


def _waits_to_write(error: BackendError) -> bool:
    """Return whether to repeat a write, like that of an outcome: also when the disk is full."""
    return error.code != "too-big" and not isinstance(error, BackendClosedError)


def _waits_to_read(error: BackendError) -> bool:
    """Return whether to repeat a read: not if it found damaged data, which it would find again."""
    return isinstance(error, BackendConnectionError)
