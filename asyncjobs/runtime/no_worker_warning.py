"""Warn when a program waits for jobs that no worker can run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import anyio

from asyncjobs.backends.base import JobBackend
from asyncjobs.clock import Clock
from asyncjobs.models import JobStatus, WaitsFor
from asyncjobs.paging import take_jobs
from asyncjobs.requests import JobQuery
from asyncjobs.runtime.loops import look_forever
from asyncjobs.runtime.outages import Outage
from asyncjobs.runtime.start_command import start_command
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs")

_LOOK_EVERY = 0.75
"""Seconds between two checks: the warning comes within 2 s, but not while a worker is just being started."""
_LOOKED_AT = 1000
"""Unfinished jobs that are examined: if all of them wait for people, no worker is needed."""
_NAMED = 100
"""Waiting jobs whose modules the command of the warning allows."""


async def warn_when_no_worker_lives(
    backend: JobBackend,
    clock: Clock,
    *,
    awaited: Callable[[], Sequence[str]],
    followed: Callable[[], bool],
    warn: Callable[[str | None], None] | None = None,
) -> None:
    """Warn once when this process waits for jobs and no worker is alive. For a process without its own worker.

    :param awaited: returns the jobs that this process has awaited for suspiciously long.
    :param followed: whether anything in this process waits for events, or drains.
    :param warn: called with one of them that a worker would have to run, if there is one. Default: a line in the log.
    """
    looks = 0

    async def look() -> None:
        nonlocal looks
        await clock.sleep(_LOOK_EVERY)
        waits, job_id = await _find_waiting(backend, awaited(), followed())
        alone = waits and not any(worker.alive for worker in await backend.workers())
        alone = alone and await _needs_worker(backend)
        looks = looks + 1 if alone else 0
        if alone and (job_id is not None or looks > 1):
            if warn is None:
                await _log(backend, job_id)
            else:
                warn(job_id)
            await anyio.sleep_forever()  # once is enough

    await look_forever(look, None, Outage(logger, "live workers cannot be detected"), clock)


async def _find_waiting(backend: JobBackend, awaited: Sequence[str], followed: bool) -> tuple[bool, str | None]:
    """Return whether this process waits for anything that workers do, not people, and such a job."""
    if not awaited:
        return followed, None
    asked = {job.id for job in await backend.get_jobs(awaited) if job.waits_for is WaitsFor.ANSWER}
    job_id = next((one for one in awaited if one not in asked), None)
    return job_id is not None, job_id


async def _needs_worker(backend: JobBackend) -> bool:
    """Return whether there is anything that a worker could do before a gate is answered."""
    if not await backend.has_unfinished():
        return False
    if await backend.get_ready_jobs(1):
        return True
    asked, _ = await take_jobs(backend.find_jobs, JobQuery(waits_for="answer", limit=1), 1)
    if not asked:
        return True
    left = await backend.find_jobs(JobQuery(status=[JobStatus.PENDING, JobStatus.IN_PROGRESS], limit=_LOOKED_AT))
    return any(job.waits_for not in (WaitsFor.ANSWER, WaitsFor.DEPENDENCIES) for job in left)


async def _log(backend: JobBackend, job_id: str | None) -> None:
    """Log the warning, with the command that runs a daemon on this store, if other processes can reach it."""
    waiting = await backend.find_jobs(JobQuery(status=JobStatus.PENDING, limit=_NAMED))
    command = start_command(backend, [job.func for job in waiting])
    logger.warning(
        "waiting for %s, but no worker is alive; %sopen a JobProcessor with enable_daemon=True",
        "jobs" if job_id is None else f"job {job_id!r}",
        "" if command is None else f"run '{command}', or ",
    )
