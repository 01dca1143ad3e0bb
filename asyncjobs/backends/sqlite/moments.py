"""Read all clocks at one moment, and convert stored moments between them."""

from __future__ import annotations

from msgspec import Struct

from asyncjobs.clock import Clock
from asyncjobs.core.state import SECOND

_STEP = SECOND
"""A smaller change does not mean that a clock was set: it drifted, or was read a little later. Users then see what was
stored."""


class Clocks(Struct, frozen=True):
    """Every clock at one moment, µs. ``boot`` is ``host.boot_number``."""

    now: int
    monotonic: int
    since_boot: int
    boot: int | None

    def to_wall(self, run_at: int | None, due: int | None, boot: int | None) -> tuple[int | None, bool]:
        """Convert a stored ``run_at`` to the present wall clock; return also whether it is the end of a duration.

        After a reboot, it is the moment that was computed when it was stored.
        """
        if due is None or boot is None or boot != self.boot:
            return run_at, False
        return self.now + due - self.since_boot, True

    def to_columns(self, run_at: int | None, *, lasts: bool) -> tuple[int | None, int | None]:
        """Return the columns ``due`` and ``boot`` of a ``run_at`` that is given by the present wall clock."""
        if not lasts or run_at is None or self.boot is None:
            return None, None
        return self.since_boot + run_at - self.now, self.boot

    def to_show(self, run_at: int | None, due: int | None, boot: int | None) -> int | None:
        """Return a stored ``run_at`` as users should see it."""
        moved, _ = self.to_wall(run_at, due, boot)
        return moved if moved is not None and run_at is not None and abs(moved - run_at) >= _STEP else run_at


def read_clocks(clock: Clock, boot: int | None) -> Clocks:
    """Read all clocks, one right after the other."""
    return Clocks(clock.now(), clock.monotonic(), clock.since_boot(), boot)
