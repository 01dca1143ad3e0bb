"""A worker: slots, the attempts in them, and what becomes of their outcomes.

Outcomes are recorded apart from running, by one task: it takes whatever has ended, writes it in one transaction
together with the next claim, and tries again for as long as the store is not there. An attempt gives its slot back
when its body ends; so the claim that goes with its outcome already counts it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from anyio.abc import TaskGroup, TaskStatus

from asyncjobs.backends.base import (
    AttemptEnd,
    AttemptRef,
    ClaimedJob,
    ClaimRequest,
    ClaimResult,
    JobBackend,
    NewWorker,
    Stale,
)
from asyncjobs.backends.unreadable import unreadable_job
from asyncjobs.clock import Clock
from asyncjobs.config import DaemonConfig
from asyncjobs.exceptions import BackendError
from asyncjobs.models import EventType, JobError, JobEvent, JobStatus, Outcome, OutcomeKind
from asyncjobs.runtime import job_log
from asyncjobs.runtime.attempt import RunningAttempt, Stop, Tools, failure, run_attempt
from asyncjobs.runtime.capture import capture, end_lines, watch
from asyncjobs.runtime.context import JobContext
from asyncjobs.runtime.crew import Crew
from asyncjobs.runtime.draining import Drain
from asyncjobs.runtime.functions import Functions
from asyncjobs.runtime.job_access import BodyAccess
from asyncjobs.runtime.loop_monitor import LoopWatch
from asyncjobs.runtime.lost_claims import Held
from asyncjobs.runtime.main_script import name_for_child
from asyncjobs.runtime.outages import Outage
from asyncjobs.runtime.recorder import Recorder
from asyncjobs.runtime.result_cache import ResultCache
from asyncjobs.runtime.slots import Lending, Slots
from asyncjobs.runtime.threads import Threads
from asyncjobs.runtime.wakeups import LoopHandle, Wakeup
from asyncjobs.safe_logging import SafeLogger

if TYPE_CHECKING:
    from asyncjobs.runtime.isolation.pool import ProcessPool
    from asyncjobs.runtime.job_access import BodyAccess

logger = SafeLogger("asyncjobs.worker")

_FIRST_DELAY = 0.05
_LONGEST_DELAY = 5.0


class Worker:
    """Runs attempts in ``config.slots`` slots. Started and stopped by its daemon; told what to run by its scheduler.

    :param jobs: where bodies submit jobs, and wait for them.
    :param claimed: called with what a claim brought that went with outcomes, once its jobs are started.
    :param freed: called when a slot is free that no outcome's claim will fill.
    :param stale: called with the id of a job that others have now: what became of it is to be looked up.
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
        max_value_size: int = 64 << 20,
        claimed: Callable[[ClaimResult], None],
        freed: Callable[[], None],
        stale: Callable[[str], None],
    ) -> None:
        self.id = ""
        self.running: dict[str, RunningAttempt] = {}
        self._lost: set[RunningAttempt] = set()
        self._backend = backend
        self._functions = functions
        self._config = config
        self._clock = clock
        self._jobs = jobs
        self._results = results
        self._claimed = claimed
        self._freed = freed
        self._stale = stale
        self.slots = Slots(config.num_workers, freed)
        self._ended: list[AttemptEnd] = []
        self._ended_signal = Wakeup()
        self._capture_level = config.capture_level
        self._recording: Sequence[AttemptEnd] = ()
        self._in_flight: dict[str, tuple[int, bytes]] = {}
        self._trouble = Outage(logger, "what running jobs brought could not be stored yet")
        self._recorder = Recorder(backend, clock, self.running, self._trouble, self._end)
        self._quiet = Wakeup()
        self._closing = False
        self._crew = Crew()
        self._drain = Drain(self._bodies, self._until_quiet, config.cancel_grace, self._leave_behind)
        self._loop = LoopHandle()
        self.lending = Lending(self.slots, self._loop, self._bodies)
        self._loop_watch = LoopWatch(self.running)
        self._threads = Threads(self.slots.limiter)
        self._tools = Tools(
            self._threads,
            backend.get_results,
            self._known_function,
            functions.is_async,
            max_value_size,
            config.cancel_grace,
        )

        self._processes: ProcessPool | None = None
        self._max_value_size = max_value_size

    # -- life

    async def register(self) -> None:
        """Become known to the store, under a new id."""
        self.id = await self._backend.register_worker(
            NewWorker(
                name=self._config.name or "",
                slots=self._config.num_workers,
                queues=self._config.queues,
                lease=self._config.lease,
            )
        )

    async def run(self, tasks: TaskGroup) -> None:
        """Start recording in this task group; what attempts run in ends with it, too."""
        self._tasks = tasks
        await tasks.start(self._crew.run)
        tasks.start_soon(self._record_forever)
        await tasks.start(self._store_body_events_forever)

    def close(self) -> None:
        """Claim no more: what is claimed from now on goes back as it came."""
        self._closing = self.lending.closing = True

    def runs(self, context: JobContext) -> bool:
        """Return whether the body of this context runs here, as an attempt that is still this worker's."""
        running = self.running.get(context.id)
        return running is not None and running.context is context

    async def drain(self, timeout: float) -> None:
        """Give running bodies ``timeout`` seconds, then give back what is left; waiting jobs are given back at once.

        What is given back may clean up for ``cancel_grace`` seconds more.
        """
        self.close()
        await self._drain.run(timeout)
        self._threads.close()
        self._loop_watch.close()
        if self._processes is not None:
            await self._processes.close()

    def hurry(self) -> None:
        """Give back now what still runs, in a drain that has begun or is to come, and wait for no clean-up."""
        self._drain.hurry()

    @property
    def left_behind(self) -> bool:
        """See ``JobDaemon.left_behind``."""
        return self._crew.left_behind

    def _leave_behind(self, stuck: list[RunningAttempt]) -> None:
        """Give back attempts whose bodies do not end: what these do from now on is refused."""
        names = ", ".join(f"{running.job.attempt.job_id} ({running.job.function})" for running in stuck)
        way = "leaving these jobs behind" if self._crew.can_leave else "cannot leave before these jobs end"
        logger.error("%s, which ignore that they are cancelled; they are given back, and run again: %s", way, names)
        for running in stuck:
            self._close(running, Outcome(OutcomeKind.RELEASED))

    @property
    def processes(self) -> ProcessPool:
        """The child processes; the module is loaded by the first job that wants one."""
        if self._processes is None:
            from asyncjobs.runtime.isolation.pool import ProcessPool

            self._processes = ProcessPool(
                self._backend.get_results, self._config, self._clock, self._jobs, self._max_value_size
            )
            self._tasks.start_soon(self._processes.end_idle_forever)
        return self._processes

    def _bodies(self) -> list[RunningAttempt]:
        """All that run, also attempts that are others' by now."""
        return [*self.running.values(), *self._lost]

    async def _until_quiet(self) -> None:
        while (
            self.running or self._lost or self._recorder.ending or self._ended or self._recording or self.slots.reserved
        ):
            await self._quiet.wait()

    # -- slots

    @property
    def free(self) -> int:
        """Slots that neither an attempt nor a claim on its way has."""
        return self.slots.free

    def may_claim(self) -> bool:
        """Whether a slot is free. If only a claim on its way holds them, ``freed`` is called once they are back."""
        return self.slots.may_claim()

    def claim(self) -> ClaimRequest:
        """Ask for all free slots; they are kept until ``take`` brings what came of it."""
        return ClaimRequest(
            worker=self.id,
            limit=0 if self._closing else self.slots.reserve(),
            functions=self._functions.names,
            refused=frozenset(self._functions.refused),
            queues=self._config.queues,
        )

    def settle(self, claim: ClaimRequest, claims: ClaimResult | None) -> None:
        """What a claim brought, None if it failed: its slots are used or free again."""
        for job in claims.jobs if claims is not None else ():
            if self._closing:  # claimed while the worker was told to stop: it goes back as it came
                self.end_unrun(job.attempt, Outcome(OutcomeKind.RELEASED))
            else:
                try:
                    self._start(job)
                except Exception as error:  # border: it fails alone; the others of the claim would run for ever
                    logger.error("job %r could not be started: %s", job.attempt.job_id, error, exc_info=error)
                    self.end_unrun(job.attempt, failure(error, retryable=False))
        self.slots.settle(claim.limit)
        if self._closing:
            self._quiet.notify()

    def end_unrun(self, attempt: AttemptRef, outcome: Outcome) -> None:
        """Record an outcome of an attempt that no body has begun."""
        self._ended.append(AttemptEnd(attempt, outcome))
        self._ended_signal.notify()

    def known(self) -> set[Held]:
        """Return the attempts that run here, or whose outcomes are to be recorded."""
        running = (running.job.attempt for running in (*self.running.values(), *self._recorder.ending))
        ended = (end.attempt for end in (*self._ended, *self._recording))
        return {(attempt.job_id, attempt.attempt) for attempt in (*running, *ended)}

    def _start(self, job: ClaimedJob) -> None:
        watch()
        self._loop_watch.started()
        context = JobContext(
            job.attempt,
            group=job.group,
            clock=self._clock,
            loop=self._loop,
            submit=self._jobs.submit_child,
            capture_level=self._capture_level,
            capture_print=self._config.capture_print,
            on_event=self._recorder.on_event,
            lender=self.lending,
        )
        running = RunningAttempt(job, context)
        job_log.log_started(job)
        self.running[job.attempt.job_id] = running
        self.slots.begin(running)
        self._crew.start(self._run, running)

    async def _run(self, running: RunningAttempt) -> None:
        job = running.job
        outcome = Outcome(OutcomeKind.RELEASED)  # should the worker itself be cancelled
        try:
            function = self._functions.get(job.function, job.attempt.job_id)
            if job.unreadable is not None:
                outcome = Outcome(OutcomeKind.FAILED, error=unreadable_job(job.unreadable), retryable=False)
            elif function is None:
                error = JobError("LookupError", f"{job.function!r} is not to be found in this process any more")
                outcome = Outcome(OutcomeKind.FAILED, error=error, retryable=False)
            elif job.isolation == "process":
                outcome = await self.processes.run(running, name_for_child(job.function, function))
            else:
                outcome = await run_attempt(running, function, self._tools)
        except Exception as error:  # border: whatever a callable or a stored call does, it is that job's failure
            logger.error("job %r could not be run: %s", job.attempt.job_id, error, exc_info=error)
            outcome = failure(error, retryable=False)
        finally:
            # No await from here to the end: what a body left behind in this task dies with it.
            if not running.over:
                self._close(running, outcome)

    def _close(self, running: RunningAttempt, outcome: Outcome) -> None:
        """Count an attempt no more, and record what became of it."""
        end_lines(running.context)
        running.context.body_events.closed = True
        if self.running.get(running.job.attempt.job_id) is running:
            del self.running[running.job.attempt.job_id]
        else:
            self._lost.discard(running)
        self.slots.end(running)
        self._recorder.on_outcome(running, outcome)

    def _end(self, running: RunningAttempt, outcome: Outcome) -> None:
        if self._closing and running.refused and running.stop_reason is None and outcome.kind is OutcomeKind.FAILED:
            outcome = Outcome(OutcomeKind.RELEASED)  # a drain fails no job: it runs again where it is not refused
        body_events = running.context.body_events.take()
        self._ended.append(AttemptEnd(running.job.attempt, outcome, body_events, random.random()))
        self._ended_signal.notify()

    # -- outcomes

    async def _record_forever(self) -> None:
        while True:
            await self._ended_signal.wait()
            while self._ended:
                ends, self._ended = self._ended, []
                self._recording = ends
                try:
                    await self._record(ends)
                except Exception as error:  # border: a mistake of ours must not keep all later outcomes unrecorded
                    logger.error("recording %d outcomes failed: %s", len(ends), error, exc_info=error)
                self._recording = ()
            self._quiet.notify()

    async def _record(self, ends: Sequence[AttemptEnd], *, again: bool = False) -> None:
        """Write outcomes until they are written. A stale one is a value: somebody else has the job.

        :param again: they were sent before, and may have been stored then.
        """
        short = self.slots.reserved > 0  # a claim on its way holds slots, and may not see what these outcomes release
        delay = _FIRST_DELAY
        replaced = False
        self._in_flight = {
            end.attempt.job_id: (end.attempt.attempt, end.outcome.value)
            for end in ends
            if end.outcome.kind is OutcomeKind.SUCCEEDED and end.outcome.value is not None
        }
        while True:
            try:
                claim = self.claim()
                try:
                    finished = await self._backend.update_job_status(ends, claim)
                except BaseException:
                    self.settle(claim, None)  # it holds no slots any more
                    raise
            except BackendError as error:
                if len(ends) > 1:
                    for end in ends:  # the one that cannot be written must not hold up the others
                        await self._record([end], again=True)
                    return
                again = True
                if error.code == "too-big":
                    ends = [_unstorable(ends[0], error)]
                    continue
                self._trouble.failed(error)
                await self._clock.sleep(delay * random.uniform(0.5, 1.0))
                delay = min(_LONGEST_DELAY, delay * 2)
                continue
            except Exception as error:  # border: an outcome that cannot be stored is its job's failure
                if len(ends) > 1:
                    for end in ends:
                        await self._record([end], again=True)
                    return
                again = True
                self._trouble.failed(error)
                if replaced:
                    await self._clock.sleep(delay * random.uniform(0.5, 1.0))
                    delay = min(_LONGEST_DELAY, delay * 2)
                ends, replaced = [_unstorable(ends[0], error)], True
                continue
            break
        self._trouble.recovered()
        try:
            for end, result in zip(ends, finished.results, strict=True):
                self._recorded(end, result, again)
        finally:
            self.settle(claim, finished.claims)
        self._claimed(finished.claims)
        if short:
            self._freed()

    def _recorded(self, end: AttemptEnd, result: JobStatus | Stale, again: bool) -> None:
        job_id = end.attempt.job_id
        job_log.log_outcome(end, result, again=again)
        if isinstance(result, Stale):
            self._stale(job_id)

    def committed(self, events: Sequence[JobEvent]) -> None:
        """An own commit: results that it made final are kept at hand, before those who wait for them are woken."""
        if not self._in_flight:
            return
        for event in events:
            if event.type == EventType.COMPLETED:
                attempt, value = self._in_flight.get(event.job_id, (0, b""))
                if attempt == event.attempt:
                    self._results.put(event.job_id, value)

    # -- what bodies say

    async def _store_body_events_forever(self, *, task_status: TaskStatus[None]) -> None:
        with capture(self._config):
            task_status.started()
            await self._recorder.run()

    # -- being told

    def request_cancel(self, job_id: str, attempt: int) -> None:
        """Somebody asked this attempt to stop; nothing happens if it is not running here."""
        running = self.running.get(job_id)
        if running is not None and running.job.attempt.attempt == attempt:
            running.stop(Stop.CANCELLED)

    def lose(self) -> None:
        """The lease ran out and others have the jobs: stop them all, their outcomes will be refused."""
        lost = list(self.running.values())
        self.running.clear()  # a new attempt of the same job may come to this very worker
        self._lost.update(lost)
        for running in lost:
            running.stop(Stop.LOST)
            self._stale(running.job.attempt.job_id)

    def _known_function(self, name: str) -> Callable[..., object] | None:
        return self._functions.get(name, "")


def _unstorable(end: AttemptEnd, error: Exception) -> AttemptEnd:
    return AttemptEnd(end.attempt, failure(error, retryable=False), (), end.jitter)
