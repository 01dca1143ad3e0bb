"""Seeded defects that one process alone cannot show: with a single worker on the file, nothing is wrong with them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from asyncjobs.backends.sqlite import commit, plan_rows, plan_writes, suspects
from asyncjobs.core.state import JobState


def reaps_the_living() -> None:
    """Whoever is another process is taken for dead."""
    suspects.is_gone = lambda identity, me: identity.pid != me.pid


def remembers_rows() -> None:
    """What this process read or wrote of a job once is believed to be still so in its next transactions."""
    known: dict[int, JobState] = {}
    read, write = plan_rows.Rows.jobs, plan_writes.write

    def jobs(self: plan_rows.Rows, numbers: Sequence[int]) -> Iterable[JobState]:
        fresh = [n for n in numbers if n not in known]
        if fresh:
            known.update((job.n, job) for job in read(self, fresh))
        return [known[n] for n in numbers if n in known]

    def remember(connection: sqlite3.Connection, writes: Any, lanes: Any, clocks: Any, stored: Any) -> None:
        write(connection, writes, lanes, clocks, stored)
        known.update((record.job.n, record.job) for record in writes.inserted)
        known.update((job.n, job) for job in writes.changed)

    plan_rows.Rows.jobs = jobs
    commit.write = remember


DEFECTS: dict[str, Callable[[], None]] = {defect.__name__: defect for defect in (reaps_the_living, remembers_rows)}
