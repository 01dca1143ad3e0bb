"""The parts, in the order in which they run, with what they need."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from benchmarks.long import daemons, drain, retention, store
from benchmarks.long.work import Part, Size

_GIGABYTE = 1 << 30
_JOB = 1_000
"""Bytes of disk for each job that is stored: twice of what it takes once it has run."""


class Entry(Struct, frozen=True):
    """``disk``: bytes that it needs at most."""

    run: Callable[[Part], None]
    about: str
    disk: Callable[[Size], int]


PARTS: dict[str, Entry] = {
    "drain": Entry(
        drain.run, "jobs by the million, stored and drained by one process", lambda size: _GIGABYTE + _JOB * size.jobs
    ),
    "retention": Entry(
        retention.run,
        "jobs at up to 5,000 a second, while what is old is removed",
        lambda size: _GIGABYTE + round(60 * size.minutes * retention.RATE / 2) * _JOB,
    ),
    "daemons": Entry(
        daemons.run, "1, 2 and 4 daemons on one file, and what they pay for its lock", lambda _: _GIGABYTE
    ),
}

PROGRAMS: dict[str, Callable[[Part], None]] = {
    "store": store.run,
    **{name: entry.run for name, entry in PARTS.items()},
}
"""What runs in a process of its own: the parts, and what the drain begins with."""
