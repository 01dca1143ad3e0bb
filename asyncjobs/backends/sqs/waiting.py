"""Wait until another process may have changed something."""

from __future__ import annotations

import anyio
import anyio.lowlevel

from asyncjobs.backends.base import Seen
from asyncjobs.backends.sqs.log import Log
from asyncjobs.backends.sqs.messages import Messages
from asyncjobs.backends.sqs.server_clock import StoreClock
from asyncjobs.core.state import SECOND
from asyncjobs.exceptions import BackendClosedError

_FIRST, _URGENT, _CALM = 0.25, 1.0, 5.0
"""Seconds between two looks at the end of the log: after a change, and, without one for long, if a caller waits for
a change, or none does."""
PATIENCE = 1.0
"""Seconds after a page of the log for which the next one is left to others, unless a caller waits for what is in it."""


class Waiting:
    """The waits of this process, which share their looks. They also send the messages that were left for later."""

    def __init__(self, clock: StoreClock, log: Log, messages: Messages) -> None:
        self._clock = clock
        self._log = log
        self._messages = messages
        self._closed = False
        self._woken = anyio.Event()
        self._looked_at: int | None = None
        self._pace = _FIRST
        self._changes = 0
        self._shared = Seen()

    async def wait(self, timeout: float, *, urgent: bool = False, seen: Seen | None = None) -> bool:
        """Look at the end of the log, once if there is no time, else again and again; return when messages arrive."""
        if self._closed:
            raise BackendClosedError
        await anyio.lowlevel.checkpoint()
        seen = self._shared if seen is None else seen
        before = seen.version = self._changes if seen.version is None else seen.version
        longest = _URGENT if urgent else _CALM
        left = timeout
        while True:
            await self._messages.send()
            if timeout <= 0:
                await self._look()
            elif self._next_look(longest) <= 0:
                patience = 0.0 if urgent else PATIENCE
                self._pace = _FIRST if await self._look(patience) else min(2 * self._pace, _CALM)
            if self._changes != before:
                seen.version = self._changes
                return not self._closed
            if left <= 0:
                return False
            pause = max(0.0, min(self._next_look(longest), left))  # it may have become due by now
            await self._pause(pause)
            left -= pause

    def _next_look(self, longest: float) -> float:
        """Return the seconds until the next look: the longer nothing changes, the longer they become."""
        if self._looked_at is None:
            return 0
        passed = (self._clock.lease_time() - self._looked_at) / SECOND
        return min(self._pace, longest) - passed if passed >= 0 else 0

    async def _look(self, patience: float = 0.0) -> bool:
        """Look at the end of the log; a change ends all waits. Return whether there was one."""
        self._looked_at = self._clock.lease_time()  # so that the others do not look meanwhile
        try:
            moved = await self._log.head_moved(patience)
        except BaseException:
            self._looked_at = None  # else the next wait would end without a look, as if the store were there again
            raise
        self._looked_at = self._clock.lease_time()
        if moved:
            self.wake()
        return moved

    async def _pause(self, seconds: float) -> None:
        """Pause, until something changes or the store is closed at the latest."""
        woken = self._woken
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:

                async def sleep() -> None:
                    await self._clock.sleep(seconds)
                    scope.cancel()

                tasks.start_soon(sleep)
                await woken.wait()
                scope.cancel()

    def wake(self) -> None:
        """End the waits: messages have arrived, or another process has written events."""
        self._changes += 1
        self._woken.set()
        self._woken = anyio.Event()

    def close(self) -> None:
        """End the waits for good."""
        self._closed = True
        self.wake()
