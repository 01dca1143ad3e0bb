"""Do what any process does for all of them, unless this one may only read.

A process with the policy of a reader has no part in it: it follows the log, and others append to it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from asyncjobs.backends.sqs.denials import Denials
from asyncjobs.backends.sqs.errors import NOT_PERMITTED
from asyncjobs.backends.sqs.server_clock import StoreClock
from asyncjobs.core.state import SECOND
from asyncjobs.exceptions import BackendError
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs.sqs")

T = TypeVar("T")

_AGAIN_AFTER = 60 * SECOND
"""µs after which a process that may not write tries it again: the permission may have been granted since."""


class Upkeep:
    """What this process does for all, for as long as it may write."""

    def __init__(self, clock: StoreClock, denials: Denials | None = None) -> None:
        self._clock = clock
        self._denials = denials or Denials()
        self._denied_at: int | None = None
        self._reported = False

    @property
    def permitted(self) -> bool:
        """Whether this process may write, as far as is known."""
        passed = 0 if self._denied_at is None else self._clock.lease_time() - self._denied_at
        return self._denied_at is None or not 0 <= passed < _AGAIN_AFTER

    async def do(self, work: Callable[[], Awaitable[T]], otherwise: T) -> T:
        """Do a piece of upkeep and return its result; return ``otherwise`` if this process may not write."""
        if not self.permitted:
            return otherwise
        try:
            done = await work()
        except BackendError as error:
            if error.code != NOT_PERMITTED:
                raise
            self._deny(error)
            return otherwise
        return done

    def _deny(self, error: BackendError) -> None:
        self._denied_at = self._clock.lease_time()
        if not self._reported and not self._denials.logs_writes:
            self._reported = True
            logger.warning(
                "this process leaves upkeep to others, since its policy does not permit it: an event appears in the "
                "log, and a gate ends, once a process that submits or runs jobs has seen to it (%s)",
                error,
            )
