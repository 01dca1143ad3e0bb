"""``fallback="sync"``: with no live worker anywhere, a submitter runs its jobs itself, through the normal claim.

A worker of its own registers, claims and records like every other, so nothing is run twice should another process come
up meanwhile; it is gone again once the submitted jobs have ended, or can go no further for now.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import anyio

from asyncjobs.backends.base import JobBackend
from asyncjobs.exceptions import only_error
from asyncjobs.models import EdgeState, Job, JobStatus, WaitsFor
from asyncjobs.runtime.context import find_current_job
from asyncjobs.runtime.daemon import JobDaemon
from asyncjobs.runtime.events.streamer import StatusStreamer
from asyncjobs.runtime.start_command import start_command
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs")

_LOOK_EVERY = 0.5
"""Seconds after which it is looked again, although no event came: time alone makes delayed jobs due."""


class SyncFallback:
    """Runs submitted jobs in their submitter.

    :param make_daemon: a daemon that has not been started.
    """

    def __init__(self, backend: JobBackend, streamer: StatusStreamer, make_daemon: Callable[[], JobDaemon]) -> None:
        self._backend = backend
        self._streamer = streamer
        self._make_daemon = make_daemon
        self._lock = anyio.Lock()
        self._daemon: JobDaemon | None = None
        self._waited_for: list[str] = []
        self._warned = False

    async def run(self, job_ids: Sequence[str]) -> None:
        """Return once they have ended, or wait for something that does not happen now: a time, another's job."""
        context, daemon = find_current_job(), self._daemon
        if daemon is not None and context is not None and daemon.worker.runs(context):
            self._waited_for += job_ids  # submitted by a body that is run here: who runs it runs these, too
            daemon.scheduler.nudge()
            return
        async with self._lock:  # one worker at a time: so they run in the order in which they were submitted
            if any(worker.alive for worker in await self._backend.workers()):
                return
            if not self._warned:
                self._warned = True
                await self._warn(job_ids)
            try:
                await self._run(job_ids)
            except BaseExceptionGroup as error:
                raise only_error(error) from None

    async def _warn(self, job_ids: Sequence[str]) -> None:
        command = start_command(self._backend, [job.function for job in await self._backend.get_jobs(job_ids)])
        logger.warning(
            "no worker is alive: jobs are run in the process that submits them, one submit at a time. "
            "%senable_daemon=True runs them in the background",
            "" if command is None else f"'{command}' or ",
        )

    async def _run(self, job_ids: Sequence[str]) -> None:
        cursor = await self._backend.last_cursor()
        async with anyio.create_task_group() as tasks:
            daemon = self._daemon = self._make_daemon()
            self._waited_for = list(job_ids)
            await daemon.start(tasks)
            try:
                async with self._streamer.reader(after=cursor) as reader:
                    while await self._goes_on(daemon):
                        await reader.next(_LOOK_EVERY)
            finally:
                self._daemon = None
                with anyio.CancelScope(shield=True):  # bounded by its shutdown_timeout
                    await daemon.stop()
                tasks.cancel_scope.cancel()

    async def _goes_on(self, daemon: JobDaemon) -> bool:
        """Whether any of them, or of what they wait for, is running or about to."""
        if daemon.running:
            return True
        seen: set[str] = set()
        level = list(self._waited_for)
        while level:
            seen.update(level)
            jobs = [job for job in await self._backend.get_jobs(level) if not job.status.terminal]
            if any(_moves(job, daemon) for job in jobs):
                return True
            waiting = [job.id for job in jobs if job.waits_for is WaitsFor.DEPENDENCIES]
            edges = await self._backend.get_dependencies(waiting) if waiting else ()
            level = list({edge.parent_id for edge in edges if edge.state is EdgeState.OPEN} - seen)
        return False


def _moves(job: Job, daemon: JobDaemon) -> bool:
    match job.waits_for:
        case _ if job.status is JobStatus.IN_PROGRESS:
            return True
        case WaitsFor.WORKER:
            return daemon.may_run(job)  # else it waits for a worker that is not there
        case WaitsFor.TIME:
            return job.attempt > 0  # a retry is worth waiting for; a delay is what was asked for
        case waits_for:
            return waits_for is WaitsFor.LIMIT
