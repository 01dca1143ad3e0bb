"""Wait for jobs: from anywhere, or from inside a job, which lends its slot meanwhile."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import islice

import anyio
from anyio.lowlevel import checkpoint

from asyncjobs.backends.base import JobBackend
from asyncjobs.clock import Clock
from asyncjobs.core.state import SECOND
from asyncjobs.exceptions import JobNotFoundError, JobProcessorError, JobTimeoutError
from asyncjobs.models import JobResult, JobStatus
from asyncjobs.plurals import counted
from asyncjobs.runtime.attempt import RunningAttempt
from asyncjobs.runtime.awaited_gates import AwaitedGates
from asyncjobs.runtime.context import JobContext, find_current_job
from asyncjobs.runtime.events.expectations import ANY_JOB, Expectation
from asyncjobs.runtime.events.log_tail import LogTail
from asyncjobs.runtime.executor import Executor
from asyncjobs.runtime.lending import BodyStopped, WaitElsewhere
from asyncjobs.runtime.reasons import why
from asyncjobs.runtime.result_cache import ResultCache
from asyncjobs.runtime.shared_reads import SharedReads
from asyncjobs.runtime.wait_cycles import Goal, Waits
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs")

_PAGE = 500
_SUSPICIOUS = 0.75
"""Seconds of waiting after which a check finds out whether any worker can run the job."""
_SOME = 100
_HOPELESS = frozenset({"no_worker_for_queue", "not_allowed", "owner_gone"})
"""Without ``no_worker``, which does not concern a single job: ``no_worker_warning`` warns of that."""


class Watch:
    """Some jobs that a caller waits for. Not an async generator: it must be closed where it is used, not by chance."""

    def __init__(self, waiting: Waiting, job_ids: Sequence[str], timeout: float | None) -> None:
        self.left: dict[str, None] = dict.fromkeys(job_ids)
        self.first_look: Iterator[str] = iter(list(self.left))
        """Jobs of which it was not checked yet whether their results are cached."""
        self.unsure: list[str] = []
        """Jobs that may have ended, and must be checked."""
        self.found: list[JobResult] = []
        """Results that were not handed out yet. A call of ``next`` that is cut short leaves them to the next one."""
        self.expectation: Expectation | None = None
        """Once all of these were checked: learns which of those that are left have ended."""
        self.begun = False
        self.since: int = waiting.puts
        self.began: int = waiting.clock.monotonic()
        self._crowded = False
        self._waiting = waiting
        self._seconds = timeout
        self._until = None if timeout is None else self.began + round(timeout * SECOND)

    async def next(self) -> list[JobResult]:
        """Wait for jobs that ended since the last call, each once; at least one while any is left, else none.

        Jobs that have already ended are found even if no time is left. If they are very many, each call returns some of
        them, so that a caller does not hold up the event loop.

        :raises JobNotFoundError: one of them is not stored. JobTimeoutError: the time is up.
        """
        if self._crowded:  # the caller has just worked on many; here, a cancellation loses none
            await checkpoint()
        if self.left and not self.found:
            await self._waiting.look(self)
        if self.left and not self.found:
            if self._until is None:
                await self._waiting.wait_until_any_ended(self)
            else:
                left = (self._until - self._waiting.clock.monotonic()) / SECOND
                with self._waiting.clock.timeout(max(0.0, left)):
                    await self._waiting.wait_until_any_ended(self)
                if not self.found:
                    raise _timed_out(list(self.left), self._seconds or 0.0)
        found, self.found = self.found[:_PAGE], self.found[_PAGE:]
        self._crowded = len(found) == _PAGE
        return found

    def close(self) -> None:
        """Stop waiting."""
        self._waiting.forget(self)


class Waiting:
    """Waits for jobs, and returns their results.

    :param executor: returns the executor that runs bodies here, while there is one.
    """

    def __init__(
        self,
        backend: JobBackend,
        tail: LogTail,
        results: ResultCache,
        clock: Clock,
        executor: Callable[[], Executor | None],
    ) -> None:
        self._backend = backend
        self.tail = tail
        self._results = results
        self._reads = SharedReads(backend)
        self.clock = clock
        self._find_executor = executor
        self._watches: set[Watch] = set()
        self._looked_at: set[str] = set()
        self.waits: Waits = Waits(backend)
        self._failure: Callable[[], JobProcessorError] | None = None

    @property
    def puts(self) -> int:
        """The number of results that this process has stored so far."""
        return self._results.puts

    async def result(self, job_id: str, timeout: float | None = None) -> JobResult:
        """Wait until the job has ended, and return its result.

        :raises JobNotFoundError: no such job. JobTimeoutError: not within ``timeout`` seconds; the job continues.
        """
        known = self._results.get(job_id)
        if known is not None:
            return known
        watch = self.watch([job_id], timeout)
        try:
            return (await watch.next())[0]
        finally:
            watch.close()

    def watch(self, job_ids: Sequence[str], timeout: float | None = None) -> Watch:
        """Begin to wait for these jobs; ``timeout`` seconds are for all of them."""
        watch = Watch(self, job_ids, timeout)
        self._watches.add(watch)
        return watch

    def forget(self, watch: Watch) -> None:
        """Forget a watch that is closed."""
        self._watches.discard(watch)
        if watch.expectation is not None:
            self.tail.forget(watch.expectation)

    async def look(self, watch: Watch) -> None:
        """Find the results of jobs that may have ended."""
        while page := list(islice(watch.first_look, _PAGE)):
            watch.unsure += self._take_known(watch, page)
            if watch.found:
                return
        expectation = watch.expectation or self._expect(watch)
        if not watch.begun:
            await self._begin(watch)
        watch.unsure = self._take_known(watch, [*watch.unsure, *expectation.take()])
        while page := watch.unsure[:_PAGE]:
            results = await self._reads.get(page)
            for job_id in page:
                result = results.get(job_id)
                if result is None:
                    raise JobNotFoundError(job_id)
                if result.status.terminal and job_id in watch.left:
                    del watch.left[job_id]
                    watch.found.append(result)
            del watch.unsure[: len(page)]

    def _expect(self, watch: Watch) -> Expectation:
        watch.expectation = self.tail.expect(list(watch.left))
        return watch.expectation

    async def _begin(self, watch: Watch) -> None:
        """Follow the log, which reports jobs that end from now on. Leave out jobs that have certainly not ended.

        A job that runs here has not ended as far as this process knows; if it was reassigned, that is noticed here at
        the latest when its outcome is refused.
        """
        await self.tail.live()
        watch.begun = True
        executor = self._find_executor()
        if executor is not None:
            watch.unsure = [job_id for job_id in watch.unsure if not executor.has(job_id)]
        watch.unsure = self.tail.open_jobs.leave_out(watch.unsure)

    def _take_known(self, watch: Watch, job_ids: Sequence[str]) -> list[str]:
        """Take the results of these jobs that this process has cached. Return the others."""
        unsure: list[str] = []
        known = self._results.known(job_ids, watch.since)
        for job_id in job_ids:
            if job_id not in watch.left:
                continue  # notified twice: by the commit, and by the log
            result = known.get(job_id)
            if result is None:
                unsure.append(job_id)
            else:
                del watch.left[job_id]
                watch.found.append(result)
        return unsure

    async def wait_until_any_ended(self, watch: Watch) -> None:
        """Wait for the next end. A body lends its slot meanwhile."""
        if find_current_job() is None:
            await self._until_found(watch)
            return
        async with self._inside(lambda: Goal(list(watch.left))):  # a copy: the remaining ids change meanwhile
            await self._until_found(watch)

    async def _until_found(self, watch: Watch) -> None:
        expectation = watch.expectation or self._expect(watch)
        while not watch.found:
            await expectation.wait()
            self._raise_failure()
            await self.look(watch)

    def fail(self, error: Callable[[], JobProcessorError]) -> None:
        """Raise this error in every present and later wait: ends of jobs are no longer noticed here."""
        self._failure = error
        self.tail.close()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure()

    async def drain(self, group: str | None, timeout: float | None) -> None:
        """Wait until no job (of the group) is pending or in progress.

        :raises JobTimeoutError: not within ``timeout`` seconds. CyclicDependencyError: called inside of such a job.
        """
        expectation = self.tail.expect([ANY_JOB])
        try:
            await self.tail.live()
            drained = not await self._backend.has_unfinished(group)
            if not drained:
                with self.clock.timeout(timeout):
                    async with self._inside(lambda: Goal(group=group, whole=True)):
                        gates = AwaitedGates(self._backend, self.clock, group)
                        while not drained:
                            with self.clock.timeout(await gates.look()):
                                await expectation.next()
                            self._raise_failure()
                            drained = not await self._backend.has_unfinished(group)
            if not drained:
                raise JobTimeoutError("draining" if group is None else f"draining group {group!r}", timeout or 0.0)
        finally:
            self.tail.forget(expectation)

    @asynccontextmanager
    async def streaming(self, job_id: str | None, group: str | None) -> AsyncGenerator[None, None]:
        """Surround a wait for the next event of a job, of a group, or of all jobs: a body lends its slot meanwhile.

        With each event, the body continues at once, even if another body has its slot; its next wait lends it again.
        """

        def goal() -> Goal:
            return Goal([] if job_id is None else [job_id], group, whole=group is not None)

        async with self._inside(goal, at_once=True):
            yield

    def find_suspicious(self) -> list[str]:
        """Return some jobs of each wait that lasts long enough to check whether anything runs them."""
        began = self.clock.monotonic() - round(_SUSPICIOUS * SECOND)
        watches = (watch for watch in self._watches if watch.began <= began)
        return list(islice((job_id for watch in watches for job_id in islice(watch.left, _SOME)), _PAGE))

    async def warn_forever(self) -> None:
        """Warn once of a job that is waited for and that no worker can run."""
        while True:
            await self.clock.sleep(_SUSPICIOUS)
            if self._looked_at:  # only of those that are still waited for: an id may be used again
                self._looked_at &= {job_id for watch in self._watches for job_id in watch.left}
            began = self.clock.monotonic() - round(_SUSPICIOUS * SECOND)
            for watch in [watch for watch in self._watches if watch.began <= began]:
                job_id = next(iter(watch.left), None)
                if job_id is None or job_id in self._looked_at:
                    continue
                self._looked_at.add(job_id)
                await self._warn_if_hopeless(job_id)

    async def _warn_if_hopeless(self, job_id: str) -> None:
        try:
            job = await self._backend.get_job(job_id)
            reason = None if job is None else await why(self._backend, self.clock, job)
        except JobProcessorError:
            return  # the waiting caller gets it, too
        except Exception as error:  # border: the warning of one job is worth less than those of the others
            logger.error("cannot determine why job %r waits: %s", job_id, error, exc_info=error)
            return
        if reason is not None and reason.code in _HOPELESS:
            logger.warning("waiting for job %r, but %s", job_id, reason.sentence)

    # -- inside a job

    @asynccontextmanager
    async def _inside(self, goal: Callable[[], Goal], *, at_once: bool = False) -> AsyncGenerator[None, None]:
        """Surround a wait: if a body of this store waits, refuse a wait that could never end, and lend its slot.

        :param at_once: take the slot back without waiting until one is free.
        """
        context = find_current_job()
        if context is None:
            yield
            return
        running = self._running(context)
        if running is None and not await self._is_stored_here(context):
            yield
            return
        elsewhere: WaitElsewhere | None = None
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.waits.wait(context, goal()))
            executor = self._find_executor()
            if running is not None and executor is not None:
                if running.threaded:
                    stack.enter_context(_in_thread(running))
                await stack.enter_async_context(executor.lending.lent(running, at_once=at_once))
            elif context.lender is not None:
                elsewhere = stack.enter_context(WaitElsewhere(context, context.lender))
            yield
        if elsewhere is not None and elsewhere.interrupted:
            raise BodyStopped
        if running is not None and running.threaded and running.stop_reason is not None:
            raise BodyStopped

    def _running(self, context: JobContext) -> RunningAttempt | None:
        executor = self._find_executor()
        return None if executor is None else executor.attempts.find(context)

    async def _is_stored_here(self, context: JobContext) -> bool:
        """Return whether a body that another processor runs, here or in the parent, is one of this store's jobs."""
        job = await self._backend.get_job(context.id)
        return job is not None and job.status is JobStatus.IN_PROGRESS and job.attempt == context.attempt


class _in_thread:  # noqa: N801 - used like a function
    """A context manager around a thread's wait: the scope by which it is stopped."""

    def __init__(self, running: RunningAttempt) -> None:
        self._running = running
        self._scope = anyio.CancelScope()

    def __enter__(self) -> None:
        self._scope.__enter__()
        self._running.wait_scopes.add(self._scope)
        if self._running.stop_reason is not None:
            self._scope.cancel()

    def __exit__(self, *error: object) -> bool:
        self._running.wait_scopes.discard(self._scope)
        return bool(self._scope.__exit__(*error))  # type: ignore[arg-type] - passed on as it came


def _timed_out(job_ids: list[str], seconds: float) -> JobTimeoutError:
    what = f"job {job_ids[0]!r}" if len(job_ids) == 1 else counted(len(job_ids), "job")
    return JobTimeoutError(what, seconds, job_id=job_ids[0])
