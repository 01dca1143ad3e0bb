"""Warn when jobs are waited for that no worker can run."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from asyncjobs.backends.base import JobBackend
from asyncjobs.clock import Clock
from asyncjobs.models import JobQuery, JobStatus
from asyncjobs.runtime.loops import look_forever
from asyncjobs.runtime.outages import Outage
from asyncjobs.runtime.start_command import start_command
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs")

_LOOK_EVERY = 0.75
"""Seconds between two looks: the warning comes within 2 s, and not of a worker that is just being started."""
_NAMED = 100
"""Waiting jobs whose modules the command of the warning allows."""


async def warn_when_no_worker_lives(
    backend: JobBackend,
    clock: Clock,
    *,
    awaited: Callable[[], str | None],
    followed: Callable[[], bool],
    warn: Callable[[str | None], None] | None = None,
) -> None:
    """Warn once when jobs are waited for and no worker is alive. For a process without a worker of its own.

    :param awaited: gives a job that has been waited for long enough to wonder, if there is one.
    :param followed: whether anything in this process waits for events, or drains.
    :param warn: called with what ``awaited`` gave. Default: a line in the log.
    """
    looks = 0

    async def look() -> None:
        nonlocal looks
        await clock.sleep(_LOOK_EVERY)
        job_id = awaited()
        alone = (job_id is not None or followed()) and await backend.has_unfinished()
        alone = alone and not any(worker.alive for worker in await backend.workers())
        looks = looks + 1 if alone else 0
        if alone and (job_id is not None or looks > 1):
            if warn is None:
                await _log(backend, job_id)
            else:
                warn(job_id)
            await anyio.sleep_forever()  # once is enough

    await look_forever(look, None, Outage(logger, "live workers cannot be looked for"), clock)


async def _log(backend: JobBackend, job_id: str | None) -> None:
    """Log it, with the command that runs a daemon on this store, if other processes can reach it."""
    waiting = await backend.find_jobs(JobQuery(status=JobStatus.PENDING, limit=_NAMED))
    command = start_command(backend, [job.func for job in waiting])
    logger.warning(
        "waiting for %s, but no worker is alive; %sopen a JobProcessor with enable_daemon=True",
        "jobs" if job_id is None else f"job {job_id!r}",
        "" if command is None else f"run '{command}', or ",
    )
