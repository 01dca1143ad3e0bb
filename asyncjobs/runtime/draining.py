"""End the attempts of a worker, in steps that each take a bounded time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from asyncjobs.runtime.attempt import RunningAttempt, Stop
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs.worker")

_MOMENT = 1.0
"""Seconds that a thread which checks ``cancelled`` gets to end by itself, at the end of a drain."""
_LAST_WORDS = 5.0
"""Seconds that leaving may take once no body runs: an unavailable store does not block the process."""


class Drain:
    """Waits for running attempts, then hands them back, then leaves them behind.

    :param bodies: returns the attempts that run.
    :param until_quiet: returns when none run, and their outcomes are stored.
    :param cancel_grace: seconds that the clean-up of a body may take.
    :param leave_behind: records attempts as handed back, although their bodies still run.
    """

    def __init__(
        self,
        bodies: Callable[[], list[RunningAttempt]],
        until_quiet: Callable[[], Awaitable[None]],
        cancel_grace: float,
        leave_behind: Callable[[list[RunningAttempt]], None],
    ) -> None:
        self._bodies = bodies
        self._until_quiet = until_quiet
        self._cancel_grace = cancel_grace
        self._leave_behind = leave_behind
        self._hurried = False
        self._patience: anyio.CancelScope | None = None

    async def run(self, timeout: float, *, at_once: bool = False) -> None:
        """Give running bodies ``timeout`` seconds, then hand back the others; waiting jobs are handed back at once.

        Bodies that are handed back get another ``cancel_grace`` seconds to clean up.

        :param at_once: ask all bodies to stop now; only threads, which cannot be stopped, still get ``timeout``
            seconds.
        """
        # 1. Waiting jobs go back at once, running ones have their time.
        if at_once:
            self.release()
            timeout = timeout if any(running.threaded for running in self._bodies()) else 0
        else:
            self._release([running for running in self._bodies() if running.waits])
        with anyio.move_on_after(0 if self._hurried else timeout) as self._patience:
            await self._until_quiet()
        # 2. The rest is asked to stop, and may clean up.
        self.release()
        if self._hurried:
            self.hurry()
        await self._until_cleaned_up(timeout)
        # 3. Time is up: bodies that do not end are left behind.
        await self._until_left()

    def release(self) -> None:
        """Ask all running bodies to stop, in the present drain or the next one."""
        self._release(self._bodies())

    def _release(self, attempts: list[RunningAttempt]) -> None:
        for running in attempts:
            running.stop(Stop.RELEASED)

    async def _until_cleaned_up(self, timeout: float) -> None:
        # A thread that checks ``cancelled`` gets a moment to end by itself; one that does not is left behind.
        moment = min(_MOMENT, 0.1 + timeout)
        await self._wait(moment)
        for running in self._bodies():
            if running.threaded:
                running.abandon()
        await self._wait(max(0.0, self._cancel_grace - moment) if self._bodies() else 0)

    async def _until_left(self) -> None:
        for running in self._bodies():
            running.hurry()  # also those that have shielded themselves until now
        quiet = await self._wait(_LAST_WORDS)
        if stuck := self._bodies():
            self._leave_behind(stuck)
            quiet = await self._wait(_LAST_WORDS)
        if not quiet:
            logger.warning("leaving, although outcomes could not be stored: their jobs are interrupted, and run again")

    def hurry(self) -> None:
        """Hand back all running jobs now, in the present drain or the next one, without waiting for clean-up."""
        self._hurried = True
        if self._patience is not None:
            self._patience.cancel()
        for running in self._bodies():
            running.hurry()

    async def _wait(self, seconds: float) -> bool:
        """Wait at most ``seconds``. Return whether all is quiet."""
        with anyio.move_on_after(seconds) as scope:
            await self._until_quiet()
        return not scope.cancelled_caught
