"""Read the time and wait by a clock that tests can replace."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol, cast

import anyio

from asyncjobs.checks import is_a
from asyncjobs.exceptions import ConfigurationError

_SINCE_BOOT: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Linux has a separate clock for it; on macOS the monotonic clock continues while the machine sleeps."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    """Wall time for what people see and ``run_at``; host-wide monotonic time for leases; waiting."""

    def now(self) -> int:
        """Return the wall clock: integer µs since the epoch (UTC)."""
        ...

    def monotonic(self) -> int:
        """Return integer µs that never jump and are the same for every process of this host since it booted."""
        ...

    def since_boot(self) -> int:
        """Return integer µs since this host booted, including suspension: durations are measured by it."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait that long by this clock."""
        ...

    def timeout(self, seconds: float | None) -> anyio.CancelScope:
        """Return a scope that this clock cancels after so many seconds (None: never)."""
        ...


class SystemClock:
    """The real clocks."""

    def now(self) -> int:
        """Return the wall clock in µs."""
        return time.time_ns() // 1000

    def monotonic(self) -> int:
        """Return the monotonic clock in µs."""
        return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000

    def since_boot(self) -> int:
        """Return the time since boot in µs."""
        return time.clock_gettime_ns(_SINCE_BOOT) // 1000

    async def sleep(self, seconds: float) -> None:
        """Wait that long."""
        await anyio.sleep(seconds)

    def timeout(self, seconds: float | None) -> anyio.CancelScope:
        """Return a scope that is cancelled after so many seconds."""
        return anyio.move_on_after(seconds)


_METHODS = [name for name in vars(Clock) if not name.startswith("_")]


def checked_clock(field: str, given: object) -> Clock:
    """Return the given clock, or the system clock for None."""
    if given is None:
        return SystemClock()
    if not _has_methods(given):
        allowed = f"an object with the methods {', '.join(_METHODS)}"
        raise ConfigurationError(field, given, allowed=allowed, hint="asyncjobs.testing.ManualClock(), for tests")
    return cast("Clock", given)


def _has_methods(given: object) -> bool:
    if is_a(given, type):  # a class has the methods, too, but not the instance that they need
        return False
    try:
        return all(callable(getattr(given, name, None)) for name in _METHODS)
    except Exception:  # border: a lazy proxy, for example
        return False


def to_datetime(moment: int) -> datetime:
    """Convert stored µs to an aware UTC datetime."""
    return _EPOCH + timedelta(microseconds=moment)


def from_datetime(moment: datetime) -> int:
    """Convert an aware datetime to µs since the epoch."""
    return (moment - _EPOCH) // timedelta(microseconds=1)
