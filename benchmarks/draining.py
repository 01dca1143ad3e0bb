"""A backlog of no-op jobs that one process runs to its end, and what it takes meanwhile: in tenths."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from asyncjobs import DaemonConfig, JobProcessor, SQLiteBackend, SQLiteConfig
from benchmarks.jobs import SLOTS, noop
from benchmarks.machine import memory

EVENTS_OF_A_RUN = 2
"""Started and completed: by the events that are stored, not by counting rows, it is known how many have ended."""
TENTHS = 10
_LOOK = 0.05


class Tenth(Struct, frozen=True):
    """A part of the work: its jobs and seconds, bytes of memory at its end, and the most of the log in it."""

    jobs: int
    seconds: float
    own: int
    resident: int
    log: int

    @property
    def rate(self) -> float:
        """Jobs a second."""
        return self.jobs / self.seconds


Told = Callable[[Tenth], None]


class Watch:
    """Takes a tenth whenever enough jobs are over.

    :param size: jobs of a tenth.
    """

    def __init__(self, path: Path, size: int, told: Told) -> None:
        self._log = Path(f"{path}-wal")
        self._size = size
        self._told = told
        self._mark = (0, time.perf_counter())
        self._highest = 0
        self.tenths: list[Tenth] = []

    def look(self, jobs: int, *, last: bool = False) -> None:
        """``jobs`` are over by now; ``last``: and no more will be."""
        self._highest = max(self._highest, file_size(self._log))
        before, since = self._mark
        if jobs - before < self._size and not (last and jobs > before):
            return
        now = time.perf_counter()
        used = memory()
        tenth = Tenth(jobs - before, now - since, used.own, used.resident, self._highest)
        self._mark, self._highest = (jobs, now), 0
        self.tenths.append(tenth)
        self._told(tenth)


async def drain(path: Path, jobs: int, tenth: int, told: Told, until: float | None = None) -> tuple[int, list[Tenth]]:
    """Run ``jobs`` of those that are stored in this file, or until this moment of ``time.monotonic``.

    The number of those that were run, some of them while it stopped, and the tenths.
    """
    store, config = SQLiteConfig(db_path=path), DaemonConfig(num_workers=SLOTS, shutdown_timeout=10)
    first = await _events(store)
    async with JobProcessor(store, daemon=config, functions=[noop]) as jp:
        watch = Watch(path, tenth, told)
        ended = 0
        while ended < jobs and (until is None or time.monotonic() < until):
            await asyncio.sleep(_LOOK)
            ended = (int(await jp.backend.last_cursor()) - first) // EVENTS_OF_A_RUN
            watch.look(ended)
        watch.look(ended, last=True)
    return (await _events(store) - first) // EVENTS_OF_A_RUN, watch.tenths


async def _events(config: SQLiteConfig) -> int:
    async with SQLiteBackend(config) as backend:
        return int(await backend.last_cursor())


def file_size(path: Path) -> int:
    """Bytes of a file; 0 without one."""
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
