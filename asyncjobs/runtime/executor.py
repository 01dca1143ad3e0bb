"""Run the attempts of a worker: a task for each claimed job, in a slot, until its body ends or is stopped."""

from __future__ import annotations

from collections.abc import Callable

from anyio import get_cancelled_exc_class
from anyio.abc import TaskGroup, TaskStatus

from asyncjobs.backends.base import ClaimedJob
from asyncjobs.config import DaemonConfig
from asyncjobs.models import Outcome, OutcomeKind
from asyncjobs.runtime import job_log
from asyncjobs.runtime.attempt import RunningAttempt, Stop, failure
from asyncjobs.runtime.attempts import Attempts
from asyncjobs.runtime.bodies import Bodies
from asyncjobs.runtime.capture import capture, end_lines, watch
from asyncjobs.runtime.claims import Claims
from asyncjobs.runtime.context import JobContext
from asyncjobs.runtime.crew import Crew
from asyncjobs.runtime.draining import Drain
from asyncjobs.runtime.loop_monitor import LoopWatch
from asyncjobs.runtime.lost_claims import Held
from asyncjobs.runtime.recorder import Recorder
from asyncjobs.runtime.slots import Lending, Slots
from asyncjobs.runtime.wakeups import LoopHandle, Wakeup
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs.worker")


class Executor:
    """Runs attempts in slots, from ``run`` until ``drain``.

    :param attempts: the attempts that run here; the executor adds and removes them.
    :param claims: passes claimed jobs to ``start``.
    :param recorder: where outcomes and body events go.
    :param bodies: runs the bodies.
    :param quiet: notified when no write to the store may be pending.
    :param stale: called with the id of a job that was reassigned, so that its state is looked up.
    """

    def __init__(
        self,
        config: DaemonConfig,
        attempts: Attempts,
        slots: Slots,
        claims: Claims,
        recorder: Recorder,
        bodies: Bodies,
        quiet: Wakeup,
        stale: Callable[[str], None],
    ) -> None:
        self._config = config
        self.attempts = attempts
        self._slots = slots
        self._claims = claims
        self._recorder = recorder
        self._bodies = bodies
        self._quiet = quiet
        self._stale = stale
        self._crew = Crew()
        self._drain = Drain(attempts.list_all, self._until_quiet, config.cancel_grace, self._leave_behind)
        self._loop_watch = LoopWatch(attempts.running)
        self.lending: Lending = Lending(slots, LoopHandle(), attempts.list_all)

    # -- life

    async def run(self, tasks: TaskGroup) -> None:
        """Start the recorder and the crew in this task group."""
        await tasks.start(self._crew.run)
        tasks.start_soon(self._recorder.record_outcomes)
        tasks.start_soon(self._bodies.end_idle_forever)
        await tasks.start(self._record_events)

    async def _record_events(self, *, task_status: TaskStatus[None]) -> None:
        with capture(self._config):
            task_status.started()
            await self._recorder.record_events()

    def close(self) -> None:
        """Stop claiming: jobs that a pending claim still brings are handed back unchanged."""
        self._claims.close()
        self.lending.close()

    async def drain(self, timeout: float, *, at_once: bool = False) -> None:
        """Give running bodies ``timeout`` seconds, then hand back the others; waiting jobs are handed back at once.

        Bodies that are handed back get another ``cancel_grace`` seconds to clean up.

        :param at_once: ask all bodies to stop now; only threads, which cannot be stopped, still get ``timeout``
            seconds.
        """
        self.close()
        await self._drain.run(timeout, at_once=at_once)
        self._loop_watch.close()
        await self._bodies.close()

    def release(self) -> None:
        """Stop claiming, and ask all bodies to stop: jobs that end because of that go back to the store."""
        self.close()
        self._drain.release()

    def hurry(self) -> None:
        """Hand back all running jobs now, in the present drain or the next one, without waiting for clean-up."""
        self._drain.hurry()

    async def _until_quiet(self) -> None:
        while self.attempts or self._recorder.unrecorded or self._slots.reserved:
            await self._quiet.wait()

    @property
    def runs_threads(self) -> bool:
        """Whether bodies run in threads, which cannot be stopped."""
        return any(running.threaded for running in self.attempts.running.values())

    @property
    def left_behind(self) -> bool:
        """See ``JobDaemon.left_behind``."""
        return self._crew.left_behind

    def _leave_behind(self, stuck: list[RunningAttempt]) -> None:
        """Hand back attempts whose bodies do not end: the store refuses their later reports and outcomes."""
        names = ", ".join(f"{running.job.attempt.job_id} ({running.job.function})" for running in stuck)
        way = "leaving these jobs behind" if self._crew.can_leave else "cannot leave before these jobs end"
        logger.error("%s, which ignore their cancellation; they are handed back and run again: %s", way, names)
        for running in stuck:
            self._end(running, Outcome(OutcomeKind.RELEASED))

    # -- attempts

    def start(self, job: ClaimedJob) -> None:
        """Run a claimed job; one that a claim brings after ``close`` is handed back unchanged."""
        if self._claims.closed:
            self._recorder.on_unrun(job.attempt, Outcome(OutcomeKind.RELEASED))
            return
        try:
            self._start(job)
        except Exception as error:  # border: only this job fails; the others of the claim would never end
            logger.error("job %r could not be started: %s", job.attempt.job_id, error, exc_info=error)
            self._recorder.on_unrun(job.attempt, failure(error, retryable=False))

    def _start(self, job: ClaimedJob) -> None:
        watch()
        self._loop_watch.started()
        context = self._bodies.new_context(job, self.lending)
        running = RunningAttempt(job, context)
        job_log.log_started(job)
        self.attempts.add(running)
        self._slots.begin(running)
        self._crew.start(self._run, running)

    async def _run(self, running: RunningAttempt) -> None:
        outcome = Outcome(OutcomeKind.RELEASED)  # if the worker itself is cancelled
        try:
            outcome = await self._bodies.run(running)
        except Exception as error:  # border: any error of a callable or a stored call is a failure of that job
            logger.error("job %r could not be run: %s", running.job.attempt.job_id, error, exc_info=error)
            outcome = failure(error, retryable=False)
        except get_cancelled_exc_class():
            running.stop(Stop.RELEASED)  # a thread continues, and may check ``cancelled``
            raise
        finally:
            # No await from here to the end: a cancellation that a body left behind in this task would be raised there.
            if not running.over:
                self._end(running, outcome)

    def _end(self, running: RunningAttempt, outcome: Outcome) -> None:
        """Remove an attempt, and record its outcome."""
        end_lines(running.context)
        running.context.close_body_events()
        self.attempts.remove(running)
        self._slots.end(running)
        if (
            self._claims.closed
            and running.refused
            and running.stop_reason is None
            and outcome.kind is OutcomeKind.FAILED
        ):
            outcome = Outcome(OutcomeKind.RELEASED)  # a drain fails no job: it runs again where it is not refused
        self._recorder.on_outcome(running, outcome)

    def known(self) -> set[Held]:
        """Return the attempts that run here, or whose outcomes are to be recorded."""
        running = (running.job.attempt for running in self.attempts.running.values())
        return {(attempt.job_id, attempt.attempt) for attempt in (*running, *self._recorder.unrecorded)}

    def has(self, job_id: str) -> bool:
        """Return whether a job runs here, or its outcome is on its way to the store."""
        return job_id in self.attempts.running or self._recorder.has(job_id)

    def runs(self, context: JobContext) -> bool:
        """Return whether the body of this context runs here, as an attempt that is still this worker's."""
        return self.attempts.find(context) is not None

    def request_cancel(self, job_id: str, attempt: int) -> None:
        """Ask an attempt to stop, if it is running here."""
        running = self.attempts.running.get(job_id)
        if running is not None and running.job.attempt.attempt == attempt:
            running.stop(Stop.CANCELLED)

    def lose(self) -> None:
        """Stop all attempts: the lease expired and the jobs were reassigned, so their outcomes will be refused."""
        for running in self.attempts.lose_all():
            running.stop(Stop.LOST)
            self._stale(running.job.attempt.job_id)
