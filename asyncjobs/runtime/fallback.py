"""Run jobs where they are submitted while no worker is alive: ``fallback="sync"``, through the normal claim.

A separate worker registers, claims and records like any other, so no job runs twice if another process starts
up meanwhile; it ends once the submitted jobs have ended, or cannot continue for now. It belongs to the processor and
not to a submit (ADR 34): cancelling one submit does not affect others that wait.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

import anyio

from asyncjobs.backends.base import JobBackend
from asyncjobs.clock import Clock, to_datetime
from asyncjobs.error_texts import only_error
from asyncjobs.models import EdgeState, Job, JobStatus, WaitsFor
from asyncjobs.paging import take_jobs
from asyncjobs.requests import JobQuery
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
"""Seconds after which the jobs are checked without an event: delayed jobs become due without one."""
_LONGEST_PAUSE = 30.0
"""Seconds after which remaining jobs are checked again: another process may have ended one, or its parent."""
_ANSWERS_EVERY = 1.0
"""Seconds after which jobs are checked again while one waits for an answer."""
_MOMENT = 0.5
"""Seconds, after the clean-up of bodies, for storing their outcomes."""


class _Caller:
    """A submit that waits until its jobs have ended, or the check of jobs that were not due."""

    def __init__(self, job_ids: Sequence[str]) -> None:
        self.job_ids = list(job_ids)
        self.done = anyio.Event()
        self.error: Exception | None = None


class SyncFallback:
    """Runs submitted jobs where they are submitted.

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
        self.runner: Runner | None = None
        """The worker that runs jobs now."""
        self._callers: list[_Caller] = []
        self._called = Wakeup()
        self._forsaken: set[str] = set()
        """Jobs of cancelled submits, while other submits still wait: the worker does not wait for running ones."""
        self._waiting = anyio.CancelScope()
        """The scope around the worker, until no caller needs it."""
        self._stopped = anyio.Event()
        self._serving = anyio.Lock()
        self._warned = False
        self._closing = False

    async def run(self, job_ids: Sequence[str]) -> None:
        """Return once the jobs have ended, or wait for what does not happen now: a time, a job of another process.

        If cancelled, the submit stops waiting. If no other submit waits, the worker stops: bodies are cancelled, and
        their jobs are handed back. A thread cannot be stopped: this does not wait for it, and it gets
        ``shutdown_timeout`` to end.
        """
        context, runner = find_current_job(), self.runner
        if runner is not None and context is not None and runner.executor.runs(context):
            # Submitted by a body that runs here: the submit that waits for that body waits for these jobs, too.
            for caller in self._callers:
                caller.job_ids += job_ids
            runner.scheduler.nudge()
            return
        caller = _Caller(job_ids)
        await self._wait(caller)
        self._left |= dict.fromkeys(caller.job_ids)
        self._left_more.notify()

    async def _wait(self, caller: _Caller) -> None:
        self._callers.append(caller)
        self._called.notify()
        try:
            await caller.done.wait()
        finally:
            if not caller.done.is_set():
                self._callers.remove(caller)
                await self._forsake(caller)
        if caller.error is not None:
            raise caller.error

    async def _forsake(self, caller: _Caller) -> None:
        """Stop the worker of a submit that was cancelled, unless others wait for it; wait until bodies have ended."""
        self._forsaken.update(caller.job_ids)
        runner = self.runner
        if self._callers or runner is None:
            return
        runner.executor.release()
        self._waiting.cancel()
        if not runner.executor.runs_threads:
            with anyio.move_on_after(runner.config.cancel_grace + _MOMENT, shield=True):
                await self._stopped.wait()

    async def run_left(self) -> None:
        """Run jobs that could not run at their submit once they can, for as long as the processor is entered."""
        trouble = Outage(logger, "jobs that were not due at their submit cannot be checked")
        await look_forever(self._look, None, trouble, self._clock)

    async def serve(self) -> None:
        """Run a worker whenever submits wait for one, for as long as the processor is entered."""
        while True:
            await self._called.wait()
            async with self._serving:  # one worker at a time: so jobs run in the order in which they were submitted
                try:
                    while self._callers and not self._closing and not await self._others_run():
                        await self._run_worker()
                except Exception as error:  # border: the callers that wait for the worker get this error
                    problem = only_error(error)
                    self._dismiss(self._callers, problem if isinstance(problem, Exception) else error)
                self._dismiss(self._callers)

    def nudge(self) -> None:
        """Check the remaining jobs: a decision may have made one of them ready."""
        if self._left:
            self._left_more.notify()

    def _dismiss(self, callers: Sequence[_Caller], error: Exception | None = None) -> None:
        """Make these submits return, or raise this error."""
        if error is not None and not callers:
            logger.error("jobs could not be run at their submit: %s", error, exc_info=error)
        for caller in list(callers):
            with suppress(ValueError):  # cancelled meanwhile
                self._callers.remove(caller)
            caller.error = error
            caller.done.set()

    async def _others_run(self) -> bool:
        return any(worker.alive for worker in await self._backend.workers())

    async def _look(self) -> None:
        if not self._left:
            await self._left_more.wait()
        people_are_asked, _ = await take_jobs(self._backend.find_jobs, JobQuery(waits_for="answer", limit=1), 1)
        unfinished = await self._find_unfinished()
        before = len(unfinished)
        if any(map(self._may_go_on, unfinished)):
            await self._wait(_Caller(list(self._left)))
            unfinished = await self._find_unfinished()
        # What is ready and still there (of another queue, or another worker's) is tried less and less often.
        self._pause = _LOOK_EVERY if len(unfinished) < before else min(_LONGEST_PAUSE, 2 * self._pause)
        ready = any(map(self._may_go_on, unfinished))
        longest = _ANSWERS_EVERY if people_are_asked and any(map(_is_held_up, unfinished)) else _LONGEST_PAUSE
        dues = [_seconds_until(job, self._clock) for job in unfinished if job.waits_for is WaitsFor.TIME]
        pause = min([self._pause if ready else longest, *(max(_LOOK_EVERY, due) for due in dues if due > 0)])
        with self._clock.timeout(pause):
            await self._left_more.wait()
            self._pause = _LOOK_EVERY

    async def _find_unfinished(self) -> list[Job]:
        """Return the remaining jobs, without those that have ended or were removed."""
        looked_at = list(self._left)  # a submit may add to it meanwhile
        unfinished = [job for job in await self._backend.get_jobs(looked_at) if not job.status.terminal]
        for job_id in set(looked_at).difference(job.id for job in unfinished):
            self._left.pop(job_id, None)
        return unfinished

    def _may_go_on(self, job: Job) -> bool:
        """Return whether a job is ready or due; jobs that wait for another one continue with that one."""
        if job.waits_for is WaitsFor.TIME:
            return _seconds_until(job, self._clock) <= 0
        return job.waits_for in (WaitsFor.WORKER, WaitsFor.LIMIT)

    async def close(self) -> None:
        """Run no more jobs: running ones get their time to end, then go back to pending; waiting submits return."""
        self._closing = True
        self._waiting.cancel()
        async with self._serving:
            self._dismiss(self._callers)

    def fail(self, error: Callable[[], Exception]) -> None:
        """Make waiting submits raise this error: the tasks that would run their jobs have been cancelled."""
        self._closing = True
        for caller in list(self._callers):
            self._dismiss([caller], error())

    async def _warn(self, job_ids: Sequence[str]) -> None:
        command = start_command(self._backend, [job.func for job in await self._backend.get_jobs(job_ids)])
        logger.warning(
            "no worker is alive: jobs are run in the process that submits them, one submit at a time. "
            "%senable_daemon=True runs them in the background",
            "" if command is None else f"'{command}' or ",
        )

    async def _run_worker(self) -> None:
        """Run a worker until no caller needs it."""
        if not self._warned:
            self._warned = True
            await self._warn([job_id for caller in self._callers for job_id in caller.job_ids])
        cursor = await self._backend.last_cursor()
        self._waiting, self._stopped = anyio.CancelScope(), anyio.Event()
        self._forsaken.clear()
        finished: list[_Caller] = []
        self.runner = runner = self._make_runner()  # before it starts: its bodies may wait at once
        try:
            async with anyio.create_task_group() as tasks:
                await runner.start(tasks)
                finished = await self._until_unneeded(runner, cursor)
                await runner.stop(at_once=not self._closing)
                tasks.cancel_scope.cancel()
        except BaseException:
            if runner.started:  # its tasks were cancelled or have failed: a drain is not possible
                with anyio.CancelScope(shield=True):
                    await runner.give_up()
            raise
        finally:
            self.runner = None  # not before: until its end, its bodies may use the processor
            self._stopped.set()
        self._dismiss(finished)

    async def _until_unneeded(self, runner: Runner, cursor: str | None) -> list[_Caller]:
        """Wait until no caller has active jobs, or the processor is left. Return the last callers, whose jobs ended."""
        finished: list[_Caller] = []
        with self._waiting:
            try:
                async with self._streamer.reader(after=cursor) as reader:
                    while self._callers and not self._closing:
                        finished = [caller for caller in list(self._callers) if not await self._goes_on(runner, caller)]
                        if len(finished) == len(self._callers) and not runner.running:
                            return finished  # they return once the worker is gone
                        self._dismiss(finished)
                        if self._callers:
                            await reader.next(_LOOK_EVERY)
            except Exception as error:  # border: waiting submits get the error, and running bodies their time to end
                self._dismiss(self._callers, error)
                await runner.stop()
        return []

    async def _goes_on(self, runner: Runner, caller: _Caller) -> bool:
        """Return whether any of its jobs, of those that they wait for, or of the others here, runs or is about to."""
        if not self._forsaken.issuperset(runner.running):
            return True
        seen: set[str] = set()
        level = list(caller.job_ids)
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


def _is_held_up(job: Job) -> bool:
    """Return whether an answer, which may come from another process, could let the job continue."""
    return job.waits_for in (WaitsFor.ANSWER, WaitsFor.DEPENDENCIES)


def _moves(job: Job, runner: Runner, clock: Clock) -> bool:
    match job.waits_for:
        case _ if job.status is JobStatus.IN_PROGRESS:
            return True
        case WaitsFor.WORKER:
            return runner.may_run(job)  # else it waits for a worker that is not there
        case WaitsFor.TIME if _seconds_until(job, clock) <= 0:
            return runner.may_run(job)  # the next claim takes it
        case WaitsFor.TIME:
            return job.attempt > 0  # a retry is waited for; a delay was requested by the caller
        case waits_for:
            return waits_for is WaitsFor.LIMIT
