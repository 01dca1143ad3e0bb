"""Measure the time of bodies for their timeouts, without the time in which they wait for people."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import anyio


class Timer(Protocol):
    """The timer that ends a body after its timeout. Call both methods on the worker's event loop."""

    def pause(self) -> None:
        """Pause the timeout until ``resume``."""
        ...

    def resume(self) -> None:
        """Continue with the remaining time."""
        ...


class Untimed:
    """A context manager around each wait that pauses a timeout; waits may overlap.

    :param find_timer: returns the current timer, or None.
    """

    def __init__(self, find_timer: Callable[[], Timer | None]) -> None:
        self.seconds: float = 0.0
        """How long these waits took."""
        self._find_timer = find_timer
        self._waits = 0
        self._since = 0.0

    def __enter__(self) -> None:
        self._waits += 1
        if self._waits == 1:
            self._since = anyio.current_time()
            if (timer := self._find_timer()) is not None:
                timer.pause()

    def __exit__(self, *_: object) -> None:
        self._waits -= 1
        if not self._waits:
            self.seconds += anyio.current_time() - self._since
            if (timer := self._find_timer()) is not None:
                timer.resume()


class Countdown:
    """The ``Timer`` of a body in a thread, beside which it runs as a task.

    :param over: called when the time is up.
    """

    def __init__(self, seconds: float, over: Callable[[], None]) -> None:
        self._left = seconds
        self._over = over
        self._resumed = anyio.Event()
        self._resumed.set()
        self._scope: anyio.CancelScope | None = None

    async def run(self) -> None:
        """Count down, and call ``over``."""
        while self._left > 0:
            await self._resumed.wait()
            began = anyio.current_time()
            with anyio.CancelScope(deadline=began + self._left) as self._scope:
                await anyio.sleep_forever()
            self._left -= anyio.current_time() - began
        self._over()

    def pause(self) -> None:
        """See ``Timer``."""
        self._resumed = anyio.Event()
        if self._scope is not None:
            self._scope.cancel()

    def resume(self) -> None:
        """See ``Timer``."""
        self._resumed.set()
