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

_URGENT, _CALM = 0.25, 5.0
"""Seconds between two looks at the end of the log."""


class Waiting:
    """The waits of this process. They also send the messages that were left for later."""

    def __init__(self, clock: StoreClock, log: Log, messages: Messages) -> None:
        self._clock = clock
        self._log = log
        self._messages = messages
        self._closed = False
        self._woken = anyio.Event()
        self._looked_at: int | None = None
        self._changes = 0
        self._shared = Seen()

    async def wait(self, timeout: float, *, urgent: bool = False, seen: Seen | None = None) -> bool:
        """Look at the end of the log again and again, at most for ``timeout`` seconds, or until messages arrive."""
        if self._closed:
            raise BackendClosedError
        await anyio.lowlevel.checkpoint()
        seen = self._shared if seen is None else seen
        if seen.version is None:
            seen.version = self._changes
        every = _URGENT if urgent else _CALM
        left = timeout
        while True:
            await self._messages.send()
            await self._look(every)
            if self._changes != seen.version:
                seen.version = self._changes
                return not self._closed
            if left <= 0:
                return False
            await self._pause(min(every, left))
            left -= every

    async def _look(self, every: float) -> None:
        """Look at the end of the log, unless any wait of this process has just done so; a change ends all waits."""
        now = self._clock.lease_time()
        if self._looked_at is not None and 0 <= now - self._looked_at < every * SECOND / 2:
            return
        self._looked_at = now
        if await self._log.head_moved():
            self.wake()

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
