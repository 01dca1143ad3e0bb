"""What processes of the tests do until they are killed: ``python -m tests.compat.victim WHAT PATH [POINT]``."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterable
from typing import Any

from asyncjobs.compat import Job, JobStatus, JobTracker, PipelineState, file, importing, records
from asyncjobs.compat.file import RecordFile

JOBS = 300


def state_of(version: int) -> PipelineState:
    """A state whose jobs, flags and screenplay all tell of one version."""
    state = PipelineState.create("m")
    state.screenplay_dict = {"version": version}
    state.images_complete = version % 2 == 1
    state.jobs = [Job(id=f"j{i}", type="image", status=JobStatus.PENDING, error=str(version)) for i in range(JOBS)]
    return state


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def at(owner: Any, name: str, *, before: bool) -> None:
    """Die before a function, or behind it."""
    there: Callable[..., Any] = getattr(owner, name)

    def call(*args: Any, **options: Any) -> Any:
        if before:
            die()
        there(*args, **options)
        die()

    setattr(owner, name, call)


def in_the_middle(connection: sqlite3.Connection, movie: str, rows: Iterable[Any]) -> None:
    """Save half of the jobs, and die."""
    listed = list(rows)
    there(connection, movie, listed[: len(listed) // 2])
    die()


there = records.put_jobs
POINTS: dict[str, Callable[[], None]] = {
    "before the state": lambda: at(records, "put_state", before=True),
    "behind the state": lambda: at(records, "put_state", before=False),
    "among the jobs": lambda: setattr(records, "put_jobs", in_the_middle),
    "behind the jobs": lambda: at(records, "put_jobs", before=False),
    "before the tables": lambda: at(file, "migrate", before=True),
    "behind the tables": lambda: at(file, "migrate", before=False),
    "behind the rows": lambda: at(importing, "_put", before=False),
    "behind the commit": lambda: at(RecordFile, "_write_back", before=True),
}


def main(what: str, path: str, point: str = "") -> None:
    if what == "save":
        tracker = JobTracker(path)
        POINTS[point]()
        tracker.save_state(state_of(2))
    elif what == "save for ever":
        tracker = JobTracker(path)
        version = 0
        while True:
            version += 1
            tracker.save_state(state_of(version))
            print(version, flush=True)
    elif what == "open":
        POINTS[point]()
        JobTracker(path)
    elif what == "count":
        tracker, name = JobTracker(path), point
        for number in range(25):
            tracker.save_job(Job(id=f"{name}-{number}", type="image"), "m")
            tracker.update_job_status(f"{name}-{number}", JobStatus.COMPLETED)
    elif what == "in a folder that is read-only":
        os.setgid(65534)
        os.setuid(65534)
        try:
            JobTracker(path)
        except Exception as error:
            print(type(error).__name__, error)
    else:
        raise SystemExit(what)


if __name__ == "__main__":
    main(*sys.argv[1:])
