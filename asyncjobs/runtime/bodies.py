"""Run the body of an attempt where it belongs: on the event loop, in a thread, or in a child process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from asyncjobs.backends.base import AttemptRef, ClaimedJob, JobBackend
from asyncjobs.backends.unreadable import unreadable_job
from asyncjobs.clock import Clock
from asyncjobs.config import DaemonConfig
from asyncjobs.models import JobError, JobResult, Outcome, OutcomeKind
from asyncjobs.runtime.attempt import RunningAttempt, Tools, run_attempt
from asyncjobs.runtime.context import JobContext
from asyncjobs.runtime.functions import Functions
from asyncjobs.runtime.job_access import BodyAccess
from asyncjobs.runtime.lending import Lender
from asyncjobs.runtime.main_script import name_for_child
from asyncjobs.runtime.outages import Outage
from asyncjobs.runtime.result_cache import ResultCache
from asyncjobs.runtime.step_threads import StepThreads
from asyncjobs.runtime.threads import Threads
from asyncjobs.runtime.wakeups import LoopHandle, Wakeup
from asyncjobs.safe_logging import SafeLogger

if TYPE_CHECKING:
    import anyio

    from asyncjobs.runtime.asking import Asking
    from asyncjobs.runtime.isolation.pool import ProcessPool
    from asyncjobs.runtime.steps import Steps

logger = SafeLogger("asyncjobs.worker")


class Bodies:
    """The places in which the bodies of one worker run.

    :param jobs: the access through which bodies submit jobs, and wait for them.
    :param results: results that this process has stored, for the arguments of further jobs.
    :param on_event: called on the loop when there are body events to store.
    :param max_value_size: bytes that a result may take.
    :param limiter: a token for each body in a thread.
    """

    def __init__(
        self,
        backend: JobBackend,
        functions: Functions,
        config: DaemonConfig,
        clock: Clock,
        *,
        jobs: BodyAccess,
        results: ResultCache,
        on_event: Callable[[], None],
        max_value_size: int,
        limiter: anyio.CapacityLimiter,
    ) -> None:
        self._backend = backend
        self._functions = functions
        self._config = config
        self._clock = clock
        self._jobs = jobs
        self._results = results
        self._max_value_size = max_value_size
        self._loop = LoopHandle()
        self._capture_level, self._capture_print = config.capture_level, config.capture_print
        # Bound once: each attempt is given all of them.
        self._submit, self._on_event = jobs.submit_child, on_event
        self._openers = self._open_steps, self._open_questions
        self._threads = Threads(limiter)
        self._tools = Tools(
            self._threads,
            self._read_results,
            self._known_function,
            functions.is_async,
            max_value_size,
            config.cancel_grace,
        )
        self._outage = Outage(logger, "steps of running jobs could not be stored yet")
        self._step_threads = StepThreads(config.num_workers)
        self._pool: ProcessPool | None = None
        self._pool_made = Wakeup()

    def new_context(self, job: ClaimedJob, lender: Lender) -> JobContext:
        """Return the context that a body gets by ``current_job()``.

        :param lender: lends the slot of the body while it waits.
        """
        open_steps, open_questions = self._openers
        return JobContext(
            job.attempt,
            group=job.group,
            clock=self._clock,
            loop=self._loop,
            submit=self._submit,
            capture_level=self._capture_level,
            capture_print=self._capture_print,
            on_event=self._on_event,
            lender=lender,
            open_steps=open_steps,
            open_questions=open_questions,
        )

    def _open_steps(self, context: JobContext, attempt: AttemptRef) -> Steps:
        """Return the steps of an attempt, in any thread; the first attempt with steps loads the modules."""
        from asyncjobs.runtime.step_access import StoredSteps
        from asyncjobs.runtime.steps import Steps

        access = StoredSteps(self._backend, self._clock, attempt, self._outage)
        threads, largest = lambda: self._step_threads, self._max_value_size
        return Steps(context, access, loop=self._loop, threads=threads, largest=largest)

    def _open_questions(self, context: JobContext, attempt: AttemptRef) -> Asking:
        """Return the questions of an attempt, in any thread; the first attempt that asks loads the modules."""
        from asyncjobs.runtime.asking import Asking

        return Asking(context, attempt, self._jobs, loop=self._loop, largest=self._max_value_size)

    async def run(self, running: RunningAttempt) -> Outcome:
        """Run the body of an attempt, and return its outcome."""
        job = running.job
        function = self._functions.get(job.function, job.attempt.job_id)
        if job.unreadable is not None:
            return Outcome(OutcomeKind.FAILED, error=unreadable_job(job.unreadable), retryable=False)
        if function is None:
            error = JobError("LookupError", f"{job.function!r} can no longer be found in this process")
            return Outcome(OutcomeKind.FAILED, error=error, retryable=False)
        if job.isolation == "process":
            return await self.processes.run(running, name_for_child(job.function, function))
        return await run_attempt(running, function, self._tools)

    @property
    def processes(self) -> ProcessPool:
        """The pool of child processes; the first job that needs one loads the module."""
        if self._pool is None:
            from asyncjobs.runtime.isolation.pool import ProcessPool

            self._pool = ProcessPool(
                self._backend.get_results, self._config, self._clock, self._jobs, self._max_value_size
            )
            self._pool_made.notify()
        return self._pool

    async def end_idle_forever(self) -> None:
        """End child processes that no job has needed for a while, once there are any."""
        await self._pool_made.wait()
        await self.processes.end_idle_forever()

    async def close(self) -> None:
        """End idle threads and child processes; busy ones end after their call."""
        self._threads.close()
        self._step_threads.close()
        if self._pool is not None:
            await self._pool.close()

    async def _read_results(self, job_ids: Sequence[str]) -> Mapping[str, JobResult]:
        """Return the results of jobs that have ended: what this process has stored just now is not read back."""
        known = self._results.known(job_ids, self._results.puts)
        missing = [job_id for job_id in job_ids if job_id not in known]
        return {**known, **await self._backend.get_results(missing)} if missing else known

    def _known_function(self, name: str) -> Callable[..., object] | None:
        return self._functions.get(name, "")
