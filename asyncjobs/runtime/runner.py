"""Run a worker and its scheduler, with their heartbeat."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import replace

import anyio
from anyio.abc import TaskGroup

from asyncjobs.backends.base import AttemptEnd, AttemptRef, ClaimedJob, ClaimResult, JobBackend
from asyncjobs.backends.committed_events import CommittedEvents
from asyncjobs.clock import Clock
from asyncjobs.config import DaemonConfig
from asyncjobs.core.state import SECOND
from asyncjobs.exceptions import BackendError
from asyncjobs.models import EventType, Job, Outcome, OutcomeKind
from asyncjobs.plurals import counted
from asyncjobs.runtime.attempts import Attempts
from asyncjobs.runtime.bodies import Bodies
from asyncjobs.runtime.claims import Claims
from asyncjobs.runtime.events.log_tail import LogTail
from asyncjobs.runtime.executor import Executor
from asyncjobs.runtime.functions import Functions
from asyncjobs.runtime.group_member import WorkerMember
from asyncjobs.runtime.job_access import BodyAccess
from asyncjobs.runtime.loops import look_forever
from asyncjobs.runtime.lost_claims import Held, LostClaims
from asyncjobs.runtime.outages import Outage
from asyncjobs.runtime.preload import Libraries
from asyncjobs.runtime.recorder import Recorder
from asyncjobs.runtime.registration import Registration
from asyncjobs.runtime.result_cache import ResultCache
from asyncjobs.runtime.retention import RetentionLoop
from asyncjobs.runtime.scheduler import Scheduler
from asyncjobs.runtime.slots import Slots
from asyncjobs.runtime.unrunnable import Unrunnable
from asyncjobs.runtime.wakeups import Wakeup
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs.daemon")

_LATE_BEATS = 5
"""Late heartbeats in a row of which the last one reaps, too: other workers have had the time for one by then."""

_LAST_WORDS = 5.0
"""Seconds that leaving may take once no body runs: an unavailable store does not block the process."""

_LOCAL_JOBS = 500
"""Local jobs that one heartbeat checks."""

_LOOK_EVERY = 1.0
"""Seconds between two checks for workers whose process is gone."""


class Runner:
    """Claims and runs jobs from ``start`` until ``stop``.

    :param backend: an open backend.
    :param functions: what this process may run.
    :param tail: passes the events of running bodies and of the store on to readers.
    :param results: keeps results that this process may soon read.
    :param jobs: the access through which bodies submit jobs, and wait for them.
    :param max_value_size: maximum size of a result in bytes.
    :param owns_process: see ``EngineSettings``.
    """

    def __init__(
        self,
        backend: JobBackend,
        config: DaemonConfig,
        clock: Clock,
        *,
        functions: Functions,
        tail: LogTail,
        results: ResultCache,
        jobs: BodyAccess,
        max_value_size: int = 64 << 20,
        owns_process: bool = False,
    ) -> None:
        if config.name is None:
            config = replace(config, name=f"{socket.gethostname()}-{os.getpid()}")
        self.config = config
        self._backend = backend
        self._clock = clock
        self._functions = functions
        self.registration: Registration = Registration(backend, config)
        self.attempts: Attempts = Attempts()
        self.slots: Slots = Slots(config.num_workers, self._nudge)
        quiet = Wakeup()
        self.claims: Claims = Claims(self.registration, self.slots, functions, config.queues, self._start_job, quiet)
        self.recorder: Recorder = Recorder(
            backend,
            clock,
            self.attempts.running,
            self.claims,
            results,
            claimed=self._on_claim_result,
            stale=tail.wake,
            written=quiet,
        )
        self.bodies: Bodies = Bodies(
            backend,
            functions,
            config,
            clock,
            jobs=jobs,
            results=results,
            on_event=self.recorder.on_event,
            max_value_size=max_value_size,
            limiter=self.slots.limiter,
        )
        self.executor: Executor = Executor(
            config, self.attempts, self.slots, self.claims, self.recorder, self.bodies, quiet, tail.wake
        )
        self.scheduler: Scheduler = Scheduler(
            backend,
            self.registration,
            self.claims,
            functions,
            clock,
            lost=self._register_again,
            import_library=Libraries(owns_process=owns_process).load,
        )
        self._member: WorkerMember = WorkerMember(
            self.recorder.outcomes,
            self.claims,
            claimed=self._on_claim_result,
            nudge=self._nudge,
            written=quiet.notify,
        )
        self.started: bool = False
        """Whether it is registered, and has begun to claim."""
        self._claiming, self._beating = anyio.CancelScope(), anyio.CancelScope()
        self._stopping, self._stopped = anyio.Lock(), False
        self._registering = anyio.Lock()
        self._cancel_signal = Wakeup()
        self._lost_claims = LostClaims()

    def _start_job(self, job: ClaimedJob) -> None:
        self.executor.start(job)

    def _on_claim_result(self, claims: ClaimResult) -> None:
        self.scheduler.on_claim_result(claims)

    def _nudge(self) -> None:
        self.scheduler.nudge()

    async def start(self, tasks: TaskGroup) -> None:
        """Take over the jobs of a dead owner, register, and begin to claim. The tasks live in this task group."""
        await self._reap_first()
        await self.registration.register()
        await self.executor.run(tasks)
        self._member.join(self._backend)
        self.started = True
        tasks.start_soon(self._claim_until_stopped)
        tasks.start_soon(self._beat_until_stopped)

    async def _reap_first(self) -> None:
        # Not workers whose lease expired: perhaps no worker could renew its lease until now, and this one has just
        # started.
        try:
            reaped = await self._backend.reap(expired=False)
        except BackendError as error:
            # Nothing in this process depends on it, and the loops look again in a second.
            logger.warning("dead workers could not be detected: %s", error)
            return
        if reaped:
            logger.info("pending again: %s of dead workers", counted(len(reaped), "job"))

    async def _claim_until_stopped(self) -> None:
        with self._claiming:
            await self.scheduler.run()

    async def _beat_until_stopped(self) -> None:
        with self._beating:
            async with anyio.create_task_group() as beats:
                beats.start_soon(self._beat_forever)
                beats.start_soon(self._look_for_the_dead)
                beats.start_soon(self._check_cancel_requests_forever)
                beats.start_soon(RetentionLoop(self._backend, self.config.retention, self._clock).run)
                if self.config.unrunnable_after is not None:
                    beats.start_soon(Unrunnable(self._backend, self.config.unrunnable_after, self._clock).run)

    def committed(self, events: CommittedEvents) -> None:
        """Handle the events of a commit of this process, before their waiters are woken."""
        self.recorder.committed(events)
        for job_id, event in events.changes:
            if event.type == EventType.CANCEL_REQUESTED:
                self.executor.request_cancel(job_id, event.attempt)
        if self.slots.free and not self.slots.reserved and any(event.status is not None for _, event in events.changes):
            # Another user of the backend object may have made a job ready. A pending claim will find it; with every
            # slot taken, the next outcome is sent with a claim.
            self.scheduler.nudge()

    @property
    def joins_submissions(self) -> bool:
        """Whether a submission of this process is claimed by its own transaction, without a nudge."""
        return self._member.joined

    @property
    def worker_id(self) -> str:
        """The id of the worker in the store; a new one after its lease was lost."""
        return self.registration.worker_id

    @property
    def running(self) -> list[str]:
        """The ids of the jobs that run here now."""
        return list(self.attempts.running)

    def may_run(self, job: Job) -> bool:
        """Return whether jobs of its queue and function run here, as far as known: claims find refused ones."""
        queues = self.config.queues
        return (queues is None or job.queue in queues) and job.func not in self._functions.refused

    @property
    def unfinished(self) -> int:
        """How many of them ``stop`` waits for: jobs that wait for other jobs are handed back at once."""
        return sum(not running.waits for running in self.attempts.running.values())

    @property
    def left_behind(self) -> bool:
        """Whether bodies that ignore their cancellation continue here after the end; threads do not count."""
        return self.executor.left_behind

    def give_back(self) -> None:
        """Do not wait for running jobs: hand them back to pending, now if this is stopping, otherwise once it stops."""
        self.executor.hurry()

    def close(self) -> None:
        """Stop claiming jobs. ``stop`` does this, too, and waits for running jobs."""
        self.executor.close()

    async def stop(self, *, at_once: bool = False) -> None:
        """Stop claiming; running jobs get ``shutdown_timeout``, and the rest goes back to pending, uncounted.

        A second call returns once that is done.

        :param at_once: ask all bodies to stop now; only threads, which cannot be stopped, still get that time.
        """
        self.close()
        self._claiming.cancel()
        async with self._stopping:
            if self._stopped:
                return
            await self.executor.drain(self.config.shutdown_timeout, at_once=at_once)
            self._member.leave()
            self._beating.cancel()  # or it would find that the store no longer knows the worker, and register again
            with anyio.move_on_after(_LAST_WORDS):
                try:
                    await self._release_lost_claims()
                    await self._backend.deregister_worker(self.worker_id)
                except BackendError as error:
                    logger.warning("the worker could not be deregistered: %s", error)
            self._stopped = True

    async def give_up(self) -> None:
        """Hand back all jobs of this worker, once its tasks have been cancelled and a drain is not possible.

        A result that was waiting to be stored is stored; every other job goes back, uncounted, and runs again.
        """
        self.close()
        self._member.leave()
        for running in self.attempts.list_all():
            self.slots.end(running)  # its task was cancelled before it began
        worker = self.worker_id
        with anyio.move_on_after(_LAST_WORDS):
            try:
                ends = {
                    (end.attempt.job_id, end.attempt.attempt): end
                    for end in self.recorder.outcomes.unwritten
                    if end.outcome.kind is OutcomeKind.SUCCEEDED
                }
                for job_id, attempt in (await self._backend.extend_leases(worker)).held or ():
                    released = AttemptEnd(AttemptRef(job_id, attempt, worker), Outcome(OutcomeKind.RELEASED))
                    ends.setdefault((job_id, attempt), released)
                if ends:
                    await self._backend.update_job_status(list(ends.values()))
                await self._backend.deregister_worker(worker)
            except BackendError as error:
                logger.warning("the worker could not hand back its jobs: %s", error)
            await self.bodies.close()

    async def _release_lost_claims(self) -> None:
        """Hand back, uncounted, attempts without a body: deregistering would interrupt all that the worker holds."""
        worker = self.worker_id
        held = (await self._backend.extend_leases(worker)).held or ()
        lost = [AttemptRef(job_id, attempt, worker) for job_id, attempt in set(held) - self.executor.known()]
        if lost:
            await self._backend.update_job_status([AttemptEnd(one, Outcome(OutcomeKind.RELEASED)) for one in lost])

    # -- beats

    async def _beat_forever(self) -> None:
        """Renew the lease, note cancel requests, reap the dead: in this order, so that the living renew first."""
        last_written, late = self._clock.monotonic(), 0

        async def beat() -> None:
            nonlocal last_written, late
            await self._clock.sleep(self.config.heartbeat)
            self._member.look_again()
            worker = self.worker_id
            lease = await self._backend.extend_leases(worker)
            if not lease.alive:
                await self._register_again(worker)
            elif lease.held is not None and worker == self.worker_id:
                self._look_for_lost_claims(lease.held)
            for job_id, attempt in lease.cancel_requested:
                self.executor.request_cancel(job_id, attempt)
            now = self._clock.monotonic()
            # A reaper that was itself delayed must not take other workers, delayed likewise, for dead.
            # One that is delayed each time must, or where all are so slow, nobody takes them.
            late = 0 if now - last_written <= self.config.lease / 2 * SECOND else late + 1
            last_written = now
            if late % _LATE_BEATS == 0 and await self._backend.reap():
                self.scheduler.nudge()
            if self._functions.refused:
                self._functions.look_again()
                self.scheduler.nudge()
            await self._look_at_local_jobs()

        trouble = Outage(logger, "no heartbeat could be written")
        await look_forever(beat, None, trouble, self._clock, first=0.0, longest=0.0)

    def _look_for_lost_claims(self, held: Sequence[Held]) -> None:
        """Hand back jobs that the store assigned to this worker by a claim whose response was lost."""
        slots = self.slots
        known, claiming = self.executor.known(), slots.reserved > 0
        for attempt in self._lost_claims.find(self.worker_id, held, known, slots.settled, claiming=claiming):
            logger.warning("job %r was claimed, but the response was lost; returning it to the queue", attempt.job_id)
            self.recorder.on_unrun(attempt, Outcome(OutcomeKind.RELEASED))

    async def _look_at_local_jobs(self) -> None:
        """Forget callables whose jobs other processes have ended or removed."""
        local = self._functions.local
        ids = local.some(_LOCAL_JOBS)
        if ids:
            local.seen(ids, {job.id: job.status for job in await self._backend.get_jobs(ids)})

    async def _look_for_the_dead(self) -> None:
        """Reap the workers of processes that are gone from this host, before their leases run out."""
        every = min(_LOOK_EVERY, self.config.heartbeat)

        async def look() -> None:
            await self._clock.sleep(every)
            try:
                if await self._backend.reap(expired=False):
                    self.scheduler.nudge()
            except BackendError:
                pass  # the heartbeat gets this error, too, and logs it

        trouble = Outage(logger, "processes that are gone cannot be detected")
        await look_forever(look, None, trouble, self._clock)

    async def _register_again(self, lost: str) -> None:
        """Continue as another worker. The heartbeat and the scheduler find out at the same time: the second one to come
        here finds the worker registered, and must not make a second row."""
        async with self._registering:
            if self.worker_id != lost:
                return
            logger.warning(
                "worker %s lost its lease; its jobs were reassigned; continuing with new jobs under a new id", lost
            )
            self.executor.lose()
            with anyio.CancelScope(shield=True):  # a row that is stored, and whose number is lost, would be kept alive
                await self.registration.register()
        # The row is reaped already; what is left of it here (the renewals of its lease) must not outlive it.
        await self._backend.deregister_worker(lost)
        self.scheduler.nudge()

    def check_cancel_requests(self) -> None:
        """Look for requests to stop our jobs, in a separate task: another process changed something."""
        self._cancel_signal.notify()

    async def _check_cancel_requests_forever(self) -> None:
        """In a loop of its own: it goes through the store's writer, and a lock must not hold up other duties."""

        async def look() -> None:
            if self.attempts.running:
                lease = await self._backend.extend_leases(self.worker_id)
                for job_id, attempt in lease.cancel_requested:
                    self.executor.request_cancel(job_id, attempt)

        trouble = Outage(logger, "cancel requests of other processes cannot be seen")
        await look_forever(look, self._cancel_signal.wait, trouble, self._clock)
