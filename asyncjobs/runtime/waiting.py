"""Waiting for jobs: from anywhere, or from inside a job, which lends its slot meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import anyio

from asyncjobs.backends.base import JobBackend
from asyncjobs.backends.clock import Clock
from asyncjobs.core.state import SECOND
from asyncjobs.exceptions import (
    CyclicDependencyError,
    JobCancelledError,
    JobExecutionError,
    JobNotCompletedError,
    JobNotFoundError,
    JobProcessorError,
    JobSkippedError,
    JobTimeoutError,
    WorkerLostError,
)
from asyncjobs.models import Edge, EdgeState, JobError, JobResult, JobStatus, Reason
from asyncjobs.runtime.attempt import Running
from asyncjobs.runtime.context import find_current_job
from asyncjobs.runtime.events import EventPublisher
from asyncjobs.runtime.results import ResultCache
from asyncjobs.runtime.worker import Worker
from asyncjobs.safelog import SafeLogger

logger = SafeLogger("asyncjobs")

_PAGE = 500
_SUSPICIOUS = 0.75
"""Seconds of waiting after which it is looked at whether anybody can run the job at all."""
_HOPELESS = frozenset({"no_worker_for_queue", "not_allowed", "owner_gone"})
"""Not ``no_worker``, which is not the matter of one job: ``unattended`` tells of it."""


class BodyStopped(BaseException):
    """Raised in a thread's body at its wait: it is told to stop, and what it does now is not recorded."""


class Watch:
    """Some jobs that are waited for. Not an async generator: it must be closed where it is used, not by chance."""

    def __init__(self, waiting: Waiting, job_ids: Sequence[str], timeout: float | None) -> None:
        self.left = dict.fromkeys(job_ids)
        self.unsure: Sequence[str] = list(self.left)
        self.expectation = waiting.publisher.expect(list(self.left))
        self.began = waiting.clock.monotonic()
        self._waiting = waiting
        self._seconds = timeout
        self._until = None if timeout is None else self.began + round(timeout * SECOND)

    async def next(self) -> list[JobResult]:
        """The ends that came since, each job once; at least one while any is left, else none.

        :raises JobNotFoundError: one of them is not stored. JobTimeoutError: the time is up.
        """
        if not self.left:
            return []
        if self._until is None:
            return await self._waiting.next_ended(self)
        found: list[JobResult] = []
        left = (self._until - self._waiting.clock.monotonic()) / SECOND
        with self._waiting.clock.timeout(max(0.0, left)) as scope:
            found = await self._waiting.next_ended(self)
        if not found and scope.cancelled_caught:
            raise _timed_out(list(self.left), self._seconds or 0.0)
        return found

    def close(self) -> None:
        """Wait no more."""
        self._waiting.forget(self)


class Waiting:
    """Gives the results of jobs once there are any."""

    def __init__(
        self,
        backend: JobBackend,
        publisher: EventPublisher,
        results: ResultCache,
        clock: Clock,
        why: Callable[[str], Awaitable[Reason]],
    ) -> None:
        self._backend = backend
        self.publisher = publisher
        self._results = results
        self.clock = clock
        self._why = why
        self._watches: set[Watch] = set()
        self._looked_at: set[str] = set()
        self._waits: dict[str, Counter[str]] = {}  # by waiting job: whom it waits for (how often), in this process
        self.worker: Worker | None = None

    async def result(self, job_id: str, timeout: float | None = None) -> JobResult:
        """The job's end, once it has one.

        :raises JobNotFoundError: no such job. JobTimeoutError: not within ``timeout`` seconds; the job goes on.
        """
        value = self._results.get(job_id)
        if value is not None:
            return JobResult(job_id, JobStatus.COMPLETED, "", value)
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
        """The watch is closed."""
        self._watches.discard(watch)
        self.publisher.forget(watch.expectation)

    async def next_ended(self, watch: Watch) -> list[JobResult]:
        """Look at those that may have ended already; if none has, wait for the next."""
        found: list[JobResult] = []
        unsure = self._take_known(watch.left, watch.unsure, found)
        watch.unsure = []
        if unsure:
            await self.publisher.live()
            await self._look(watch.left, unsure, found)
        if found:
            return found
        async with self._lent(watch.left):
            while not found:
                ended = await watch.expectation.next()
                unsure = self._take_known(watch.left, ended, found, sure=False)
                await self._look(watch.left, unsure, found)
        return found

    def _take_known(
        self, left: dict[str, None], job_ids: Sequence[str], found: list[JobResult], *, sure: bool = True
    ) -> list[str]:
        """Move what this process itself knows of to ``found``; returns what must be looked up."""
        unsure: list[str] = []
        running = self.worker.running if self.worker is not None and sure else {}
        for job_id in job_ids:
            if job_id not in left:
                continue  # told twice: by the own commit, and by the log
            value = self._results.get(job_id)
            if value is not None:
                del left[job_id]
                found.append(JobResult(job_id, JobStatus.COMPLETED, "", value))
            elif job_id not in running:  # what runs here ends here, and is told of
                unsure.append(job_id)
        return unsure

    async def _look(self, left: dict[str, None], job_ids: Sequence[str], found: list[JobResult]) -> None:
        for start in range(0, len(job_ids), _PAGE):
            page = job_ids[start : start + _PAGE]
            results = await self._backend.get_results(page)
            for job_id in page:
                result = results.get(job_id)
                if result is None:
                    raise JobNotFoundError(job_id)
                if result.status.terminal and job_id in left:
                    del left[job_id]
                    found.append(result)

    def find_suspicious(self) -> str | None:
        """Return a job that has been waited for long enough to look whether anything runs it, None without one."""
        began = self.clock.monotonic() - round(_SUSPICIOUS * SECOND)
        watches = (watch for watch in self._watches if watch.began <= began)
        return next((job_id for watch in watches for job_id in watch.left), None)

    async def warn_forever(self) -> None:
        """Say once of a job that is waited for and that nobody can run."""
        while True:
            await self.clock.sleep(_SUSPICIOUS)
            began = self.clock.monotonic() - round(_SUSPICIOUS * SECOND)
            for watch in [watch for watch in self._watches if watch.began <= began]:
                job_id = next(iter(watch.left), None)
                if job_id is None or job_id in self._looked_at:
                    continue
                self._looked_at.add(job_id)
                try:
                    reason = await self._why(job_id)
                except JobProcessorError:
                    continue  # who waits hears of it, too
                except Exception as error:  # border: the warning of one job is worth less than those of the others
                    logger.error("why job %r waits cannot be found out: %s", job_id, error, exc_info=error)
                    continue
                if reason.code in _HOPELESS:
                    logger.warning("waiting for job %r, but %s", job_id, reason.sentence)

    # -- inside a job

    @asynccontextmanager
    async def _lent(self, targets: Collection[str]) -> AsyncGenerator[None, None]:
        context = find_current_job()
        if self.worker is None or context is None:
            yield
            return
        running = self.worker.running.get(context.id)
        if running is None or running.context is not context:
            yield
            return
        targets = list(targets)  # as they are now: what is left changes while it is waited for
        await self._refuse_cycle(context.id, targets)
        waits = self._waits.setdefault(context.id, Counter())
        waits.update(targets)
        try:
            async with AsyncExitStack() as stack:
                if running.threaded:
                    stack.enter_context(_in_thread(running))
                await stack.enter_async_context(self.worker.lent(running))
                yield
            if running.threaded and running.stopped is not None:
                raise BodyStopped
        finally:
            waits -= Counter(targets)
            if not waits:
                self._waits.pop(context.id, None)

    async def _refuse_cycle(self, waiting: str, targets: Collection[str]) -> None:
        """A job that waits for one that (by open edges, or by waiting itself) waits for it would wait for ever."""
        came_from: dict[str, str] = dict.fromkeys(targets, waiting)
        level = list(targets)
        while level:
            if waiting in came_from:
                path = [waiting]
                node = came_from[waiting]
                while node != waiting:
                    path.append(node)
                    node = came_from[node]
                raise CyclicDependencyError(
                    [*path, waiting], hint="a job cannot wait for one that depends on it; split it in two"
                )
            above = [(edge.child_id, edge.parent_id) for edge in await self._open_edges(level)]
            above += [(child, target) for child in level for target in self._waits.get(child) or ()]
            level = []
            for child, parent in above:
                if parent not in came_from:
                    came_from[parent] = child
                    level.append(parent)

    async def _open_edges(self, job_ids: Sequence[str]) -> list[Edge]:
        edges = await self._backend.get_dependencies(job_ids)
        return [edge for edge in edges if edge.state is EdgeState.OPEN]


class _in_thread:  # noqa: N801 - used like a function
    """Around a thread's wait: the scope by which it is told to stop."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._scope = anyio.CancelScope()

    def __enter__(self) -> None:
        self._scope.__enter__()
        self._running.wait_scopes.add(self._scope)
        if self._running.stopped is not None:
            self._scope.cancel()

    def __exit__(self, *error: object) -> bool:
        self._running.wait_scopes.discard(self._scope)
        return bool(self._scope.__exit__(*error))  # type: ignore[arg-type] - passed on as it came


def _timed_out(job_ids: list[str], seconds: float) -> JobTimeoutError:
    what = f"job {job_ids[0]!r}" if len(job_ids) == 1 else f"{len(job_ids)} jobs"
    return JobTimeoutError(what, seconds, job_id=job_ids[0])


def error_of(result: JobResult) -> JobNotCompletedError:
    """Why there is no value in the result of a job that is terminal and not completed."""
    if result.status is JobStatus.CANCELLED:
        return JobCancelledError(result.job_id)
    if result.status is JobStatus.SKIPPED:
        return JobSkippedError(result.job_id, result.because)
    error = result.error or JobError("UnknownError", "no error was recorded")
    kind = WorkerLostError if error.error_type == "WorkerLostError" else JobExecutionError
    return kind(
        result.job_id,
        attempt=result.attempt,
        error_type=error.error_type,
        message=error.message,
        traceback_text=error.traceback_text,
    )
