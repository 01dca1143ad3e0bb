"""Bodies for several daemons on one file."""

from __future__ import annotations

import ctypes

import anyio

from asyncjobs import current_job
from asyncjobs.exceptions import JobProcessorError
from tests.faults import bodies
from tests.faults.bodies import note, tell


def say_everything(pipe: str) -> int:
    """Waits for the named pipe of its attempt; then says all that a body can say, and ends."""
    job = current_job()
    tell("started", job.id, job.attempt)
    with open(f"{pipe}{job.attempt}", encoding="utf-8") as line:
        line.readline()
    job.progress(job.attempt, 10)
    job.emit("output", {"attempt": job.attempt})
    try:
        child = job.submit_job_sync(bodies.nothing, key=f"of-{job.attempt}")
    except JobProcessorError as refused:
        tell("refused", job.id, job.attempt, type(refused).__name__)
    else:
        tell("submitted", child.id)
    return job.attempt


def keep_the_gil(seconds: float) -> list[object]:
    """One call into C that lets no other thread of the process run; at its first attempt only."""
    job = current_job()
    note("S", job.id, job.attempt)
    tell("started", job.id, job.attempt)
    if job.attempt == 1:
        ctypes.PyDLL(None).usleep(round(1e6 * seconds))
    note("E", job.id, job.attempt, "well")
    return [job.id, job.attempt]


async def nap(seconds: float) -> None:
    """Wait, without need of a processor."""
    await anyio.sleep(seconds)


async def add(a: int, b: int) -> int:
    """Hardly anything."""
    return a + b


FUNCTIONS = (
    *(say_everything, keep_the_gil, nap, add),
    *(bodies.nothing, bodies.wait_for_ever, bodies.read_line, bodies.kill_the_process),
)
