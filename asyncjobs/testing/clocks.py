"""Provide a clock that stands still until it is moved, so that no test waits for time to pass."""

from __future__ import annotations

from datetime import UTC, datetime

import anyio
import anyio.lowlevel

from asyncjobs.checks import CheckedArguments
from asyncjobs.clock import from_datetime

_START = datetime(2030, 1, 1, tzinfo=UTC)
_BOOTED = 1_000_000_000


class ManualClock(CheckedArguments):
    """A ``Clock`` for tests, on asyncio and trio. It must be moved from the event loop.

    :param start: the first time of the wall clock. Default 2030-01-01, UTC.

    ::

        clock = ManualClock()
        async with MemoryBackend(clock=clock) as backend:
            ...
            clock.advance(15.0)  # leases run out, delayed jobs come due, sleepers wake up
    """

    def __init__(self, start: datetime = _START) -> None:
        self._wall = from_datetime(start)
        self._monotonic = _BOOTED
        self._sleepers: list[tuple[int, anyio.Event]] = []
        self._timeouts: list[tuple[int, anyio.CancelScope]] = []
        self._lay_down = anyio.Event()

    def now(self) -> int:
        """Return the time of the wall clock, µs since the epoch."""
        return self._wall

    def monotonic(self) -> int:
        """Return µs since some moment; only ``advance`` moves it."""
        return self._monotonic

    def since_boot(self) -> int:
        """Return the same as ``monotonic``."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Move both clocks forward: sleepers whose time is over wake up, and timeouts run out."""
        if seconds < 0:
            raise ValueError("time does not go back; jump() moves the wall clock alone")
        passed = round(seconds * 1_000_000)
        self._wall += passed
        self._monotonic += passed
        due = [event for until, event in self._sleepers if until <= self._monotonic]
        self._sleepers = [entry for entry in self._sleepers if entry[0] > self._monotonic]
        for event in due:
            event.set()
        over = [scope for until, scope in self._timeouts if until <= self._monotonic]
        self._timeouts = [entry for entry in self._timeouts if entry[0] > self._monotonic]
        for scope in over:
            scope.cancel()

    def jump(self, seconds: float) -> None:
        """Set the wall clock, forwards or back; no time passes, and no sleeper wakes up."""
        self._wall += round(seconds * 1_000_000)

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock was moved by that much."""
        if seconds <= 0:
            await anyio.lowlevel.checkpoint()
            return
        entry = (self._monotonic + round(seconds * 1_000_000), anyio.Event())
        self._sleepers.append(entry)
        self._lay_down.set()
        self._lay_down = anyio.Event()
        try:
            await entry[1].wait()
        finally:
            if entry in self._sleepers:
                self._sleepers.remove(entry)

    def timeout(self, seconds: float | None) -> anyio.CancelScope:
        """Return a scope that is cancelled once the clock was moved by that much (None: never)."""
        scope = anyio.CancelScope()
        if seconds is not None and seconds <= 0:
            scope.cancel()
        elif seconds is not None:
            self._timeouts.append((self._monotonic + round(seconds * 1_000_000), scope))
        return scope

    @property
    def sleepers(self) -> int:
        """Return how many sleepers wait for this clock."""
        return len(self._sleepers)

    async def wait_for_sleepers(self, count: int = 1) -> None:
        """Wait until that many sleepers wait for this clock, so that what they do before is done."""
        while len(self._sleepers) < count:
            await self._lay_down.wait()
