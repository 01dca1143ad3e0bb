"""Run jobs where they are submitted while no worker is alive: ``fallback="sync"``, through the normal claim.

A worker of its own registers, claims and records like every other, so nothing is run twice should another process come
up meanwhile; it is gone again once the submitted jobs have ended, or can go no further for now.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import anyio

from asyncjobs.backends.base import JobBackend
from asyncjobs.clock import Clock, to_datetime
from asyncjobs.exceptions import only_error
from asyncjobs.models import EdgeState, Job, JobStatus, WaitsFor
from asyncjobs.runtime.context import find_current_job
from asyncjobs.runtime.events.streamer import StatusStreamer
from asyncjobs.runtime.loops import look_forever
from asyncjobs.runtime.outages import Outage
from asyncjobs.runtime.runner import Runner
from asyncjobs.runtime.start_command import start_command
from asyncjobs.runtime.wakeups import Wakeup
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs")

_LOOK_EVERY = 0.5
"""Seconds after which it is looked again, although no event came: time alone makes delayed jobs due."""
_LONGEST_PAUSE = 30.0
"""Seconds after which what was left is looked at again: others may have ended or removed it, or what it waits for."""


class SyncFallback:
    """Runs submitted jobs in their submitter.

    :param make_runner: returns a worker that has not been started.
    """

    def __init__(
        self, backend: JobBackend, streamer: StatusStreamer, make_runner: Callable[[], Runner], clock: Clock
    ) -> None:
        self._backend = backend
        self._streamer = streamer
        self._make_runner = make_runner
        self._clock = clock
        self._left: dict[str, None] = {}
        """Jobs that could not run at their submit: they are not due yet, or wait for one that is not."""
        self._left_more = Wakeup()
        self._pause = _LOOK_EVERY
        self._lock = anyio.Lock()
        self.runner: Runner | None = None
        """The worker that runs jobs now."""
        self._waited_for: list[str] = []
        self._warned = False
        self._closing = False

    async def run(self, job_ids: Sequence[str]) -> None:
        """Return once they have ended, or wait for something that does not happen now: a time, another's job."""
        context, runner = find_current_job(), self.runner
        if runner is not None and context is not None and runner.executor.runs(context):
            self._waited_for += job_ids  # submitted by a body that is run here: who runs it runs these, too
            runner.scheduler.nudge()
            return
        await self._run_unless_others_do(job_ids)
        self._left |= dict.fromkeys([*job_ids, *self._waited_for])
        self._left_more.notify()

    async def run_left(self) -> None:
        """Run what could not run at its submit once it can, for as long as the processor is entered."""
        trouble = Outage(logger, "jobs that were not due at their submit cannot be looked at")
        await look_forever(self._look, None, trouble, self._clock)

    async def _run_unless_others_do(self, job_ids: Sequence[str]) -> None:
        async with self._lock:  # one worker at a time: so they run in the order in which they were submitted
            if self._closing or any(worker.alive for worker in await self._backend.workers()):
                return
            if not self._warned:
                self._warned = True
                await self._warn(job_ids)
            try:
                await self._run(job_ids)
            except BaseExceptionGroup as error:
                raise only_error(error) from None

    async def _look(self) -> None:
        if not self._left:
            await self._left_more.wait()
        unfinished = await self._find_unfinished()
        before = len(unfinished)
        if any(map(self._may_go_on, unfinished)):
            await self._run_unless_others_do(list(self._left))
            unfinished = await self._find_unfinished()
        # What is ready and still there (of another queue, or another worker's) is tried less and less often.
        self._pause = _LOOK_EVERY if len(unfinished) < before else min(_LONGEST_PAUSE, 2 * self._pause)
        ready = any(map(self._may_go_on, unfinished))
        dues = [_seconds_until(job, self._clock) for job in unfinished if job.waits_for is WaitsFor.TIME]
        pause = min([self._pause if ready else _LONGEST_PAUSE, *(max(_LOOK_EVERY, due) for due in dues if due > 0)])
        with self._clock.timeout(pause):
            await self._left_more.wait()
            self._pause = _LOOK_EVERY

    async def _find_unfinished(self) -> list[Job]:
        """Return what is left, without what has ended or was removed."""
        looked_at = list(self._left)  # a submit may add to it meanwhile
        unfinished = [job for job in await self._backend.get_jobs(looked_at) if not job.status.terminal]
        for job_id in set(looked_at).difference(job.id for job in unfinished):
            self._left.pop(job_id, None)
        return unfinished

    def _may_go_on(self, job: Job) -> bool:
        """Whether it is ready, or due: jobs that wait for another one go on with that."""
        if job.waits_for is WaitsFor.TIME:
            return _seconds_until(job, self._clock) <= 0
        return job.waits_for in (WaitsFor.WORKER, WaitsFor.LIMIT)

    async def close(self) -> None:
        """Run no more: what runs gets its time to end, then goes back to pending; submits that wait return."""
        self._closing = True
        if self.runner is not None and self.runner.started:
            await self.runner.stop()
        async with self._lock:  # the submit whose jobs ran has let go of the store
            return

    async def _warn(self, job_ids: Sequence[str]) -> None:
        command = start_command(self._backend, [job.func for job in await self._backend.get_jobs(job_ids)])
        logger.warning(
            "no worker is alive: jobs are run in the process that submits them, one submit at a time. "
            "%senable_daemon=True runs them in the background",
            "" if command is None else f"'{command}' or ",
        )

    async def _run(self, job_ids: Sequence[str]) -> None:
        cursor = await self._backend.last_cursor()
        async with anyio.create_task_group() as tasks:
            runner = self._make_runner()
            self._waited_for = list(job_ids)
            self.runner = runner  # before it starts: its bodies may wait at once
            try:
                await runner.start(tasks)
            except BaseException:
                self.runner = None
                raise
            try:
                async with self._streamer.reader(after=cursor) as reader:
                    while not self._closing and await self._goes_on(runner):
                        await reader.next(_LOOK_EVERY)
            finally:
                with anyio.CancelScope(shield=True):  # bounded by its shutdown_timeout
                    await runner.stop()
                self.runner = None  # not before: until its end, its bodies may use the processor
                tasks.cancel_scope.cancel()

    async def _goes_on(self, runner: Runner) -> bool:
        """Whether any of them, or of what they wait for, is running or about to."""
        if runner.running:
            return True
        seen: set[str] = set()
        level = list(self._waited_for)
        while level:
            seen.update(level)
            jobs = [job for job in await self._backend.get_jobs(level) if not job.status.terminal]
            if any(_moves(job, runner, self._clock) for job in jobs):
                return True
            waiting = [job.id for job in jobs if job.waits_for is WaitsFor.DEPENDENCIES]
            edges = await self._backend.get_dependencies(waiting) if waiting else ()
            level = list({edge.parent_id for edge in edges if edge.state is EdgeState.OPEN} - seen)
        return False


def _seconds_until(job: Job, clock: Clock) -> float:
    return 0.0 if job.run_at is None else (job.run_at - to_datetime(clock.now())).total_seconds()


def _moves(job: Job, runner: Runner, clock: Clock) -> bool:
    match job.waits_for:
        case _ if job.status is JobStatus.IN_PROGRESS:
            return True
        case WaitsFor.WORKER:
            return runner.may_run(job)  # else it waits for a worker that is not there
        case WaitsFor.TIME if _seconds_until(job, clock) <= 0:
            return runner.may_run(job)  # the next claim takes it
        case WaitsFor.TIME:
            return job.attempt > 0  # a retry is worth waiting for; a delay is what was asked for
        case waits_for:
            return waits_for is WaitsFor.LIMIT
