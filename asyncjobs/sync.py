"""Define SyncJobs: plain methods for programs without an event loop, backed by a loop in a separate thread."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar, overload

import anyio
from anyio.abc import TaskStatus
from anyio.from_thread import BlockingPortal, start_blocking_portal
from msgspec.structs import replace

from asyncjobs.backends.base import JobBackend
from asyncjobs.checks import is_a
from asyncjobs.config import BackendConfig, BackendType
from asyncjobs.exceptions import BackendClosedError, ConfigurationError, JobProcessorError
from asyncjobs.forks import fork_count
from asyncjobs.models import (
    Edge,
    GroupProgress,
    Handle,
    Job,
    JobEvent,
    JobPage,
    JobResult,
    JobStatus,
    Reason,
    StatusReport,
)
from asyncjobs.processor import JobProcessor, Types, get_engine
from asyncjobs.requests import GateRequest, JobQuery, JobRequest
from asyncjobs.runtime.argument_checks import checked_id, checked_ids, checked_items, checked_requests
from asyncjobs.runtime.context import find_current_job
from asyncjobs.runtime.gather import gather
from asyncjobs.runtime.handle import JobHandle
from asyncjobs.runtime.inside import refuse_to_leave_inside
from asyncjobs.runtime.interruptible_call import InterruptibleCall
from asyncjobs.runtime.lending import BodyStopped
from asyncjobs.runtime.misplaced_calls import blocks_loop
from asyncjobs.runtime.signals import next_ctrl_c_ends
from asyncjobs.runtime.stored_calls import JobArguments
from asyncjobs.runtime.submission import Optional
from asyncjobs.runtime.wakeups import LoopHandle
from asyncjobs.sync_crewai import SyncCrewAICalls

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_LOOK_EVERY = 0.5
"""Seconds that one wait of the calling thread lasts; then it waits again."""


class SyncHandle(Handle, Generic[T_co]):
    """A job's id with plain methods: ``result()`` waits. Passed on as an argument, it is a dependency."""

    __slots__ = ("_handle", "_jobs")

    _handle: JobHandle[T_co]
    _jobs: SyncJobs

    def __new__(cls, handle: JobHandle[T_co], jobs: SyncJobs) -> SyncHandle[T_co]:
        """Make a handle; only ``SyncJobs`` calls it."""
        made = super().__new__(cls, handle.id)
        made._handle = handle
        made._jobs = jobs
        return made

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return (str, (str(self),))

    @property
    def id(self) -> str:
        """Return the job's id."""
        return str(self)

    def result(self, timeout: float | None = None) -> T_co:
        """Wait for the job's result, ``timeout`` seconds at most. Raises what ``await handle`` raises."""
        return self._jobs.call(self._handle.result, timeout)

    def status(self) -> JobStatus:
        """Return the stored status."""
        return self._jobs.call(self._handle.status)

    def cancel(self, *, descendants: bool = False) -> JobStatus:
        """Cancel the job: see ``JobProcessor.cancel_job``."""
        return self._jobs.cancel_job(self, descendants=descendants)

    def retry(self, *, fresh: bool = False) -> JobStatus:
        """Run the job again after it failed or was cancelled: see ``JobProcessor.retry_job``."""
        return self._jobs.retry_job(self, fresh=fresh)

    def answer(self, value: Any = True, by: str | None = None) -> JobStatus:
        """Answer the job, if it is a gate: see ``JobProcessor.answer_job``."""
        return self._jobs.call(self._handle.answer, value, by)

    def reject(self, reason: str, by: str | None = None) -> JobStatus:
        """Reject the job, if it is a gate: see ``JobProcessor.reject_job``."""
        return self._jobs.call(self._handle.reject, reason, by)

    def events(self, after: str | None = None) -> Iterator[JobEvent]:
        """Iterate over the job's events: history first, then live, to its end."""
        return self._jobs.stream_job(self, after)


class _OnItsOwnLoop(JobProcessor):
    _known_as = "SyncJobs"
    _hands_back_on_ctrl_c = True  # by ``SyncJobs``, on the main thread


class SyncJobs(SyncCrewAICalls):
    """A ``JobProcessor`` for plain programs.

    ::

        with SyncJobs("jobs.db") as jobs:
            plot = jobs.submit_job(write_plot, "noir")
            page = jobs.submit_job(draw_page, plot)
            picture = page.result(timeout=60)

    :param backend: a path, or anything else that ``JobProcessor`` takes.
    :param options: those of ``JobProcessor``: ``daemon=``, ``enable_daemon=``, ``functions=``, ``fallback=``.

    Jobs run on the event loop of a separate thread, and in worker threads; the main thread and its signal handlers
    stay yours. May be used from several threads. Leaving gives running jobs ``daemon.shutdown_timeout`` seconds; Ctrl-C
    meanwhile hands them back at once, and a second Ctrl-C ends the process.
    """

    def __init__(
        self,
        backend: str | os.PathLike[str] | BackendType | BackendConfig | JobBackend = BackendType.SQLITE,
        **options: Any,
    ) -> None:
        self._jp = _OnItsOwnLoop(backend, **options)
        self._stack: ExitStack | None = None
        self._forks = 0
        self._portal: BlockingPortal
        self._life: Future[None]
        self._leave: anyio.Event
        self._loop: LoopHandle
        self._error: BaseException | None

    def __enter__(self) -> Self:
        if self._stack is not None:
            raise BackendClosedError("this SyncJobs is running already", hint="enter it once")
        self._forks = fork_count()
        with ExitStack() as stack:
            self._portal = stack.enter_context(start_blocking_portal())
            self._life, _ = self._portal.start_task(self._live)
            self._stack = stack.pop_all()
        return self

    async def _live(self, *, task_status: TaskStatus[None]) -> None:
        """Enter the processor, and leave it when the ``with`` block is left, with the error of the block."""
        self._leave, self._error = anyio.Event(), None
        self._loop = LoopHandle()
        await self._jp.__aenter__()
        try:
            task_status.started()
            await self._leave.wait()
        except BaseException as error:
            await self._jp.__aexit__(type(error), error, error.__traceback__)
            raise
        error = self._error
        await self._jp.__aexit__(None if error is None else type(error), error, None)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._stack is None or fork_count() != self._forks:
            return  # a forked child leaves its parent's thread alone
        refuse_to_leave_inside(get_engine(self._jp).find_executor())
        try:
            self._drain(error)
        finally:
            stack, self._stack = self._stack, None
            stack.__exit__(kind, error, traceback)

    def _drain(self, error: BaseException | None) -> None:
        """Leave the processor. Ctrl-C meanwhile hands running jobs back; a second Ctrl-C ends the process.

        :raises KeyboardInterrupt: Ctrl-C was pressed, and the error of the block is not a KeyboardInterrupt itself.
        """
        interrupted: KeyboardInterrupt | None = None
        with ExitStack() as handlers:
            while not self._life.done():
                try:
                    self._portal.start_task_soon(self._hand_back if interrupted else self._begin_to_leave, error)
                    while not wait([self._life], _LOOK_EVERY).done:
                        pass
                except KeyboardInterrupt as interrupt:
                    if interrupted is not None:  # raised by a signal handler of the program
                        raise
                    interrupted = interrupt
                    handlers.enter_context(next_ctrl_c_ends(self._loop))
        self._life.result()
        if interrupted is not None and not isinstance(error, KeyboardInterrupt):
            raise interrupted

    def _begin_to_leave(self, error: BaseException | None) -> None:
        self._error = error
        self._leave.set()

    def _hand_back(self, error: BaseException | None) -> None:
        self._begin_to_leave(error)  # again, in case Ctrl-C interrupted the first call
        get_engine(self._jp).give_back()

    def call(self, function: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
        """Run an async function on the loop, and wait for its result.

        :raises BackendClosedError: outside of ``with``. JobStateError: on its own loop, by an ``async def`` body.
        """
        if self._stack is not None and fork_count() != self._forks:
            raise BackendClosedError(
                "this SyncJobs belongs to the parent process", hint="open a new SyncJobs in a forked child"
            )
        call = InterruptibleCall()
        try:
            value = _wait_for(self._start(call, function, *args))
        except KeyboardInterrupt:
            self._loop.call_soon(call.cancel)  # no caller waits for it
            raise
        except JobProcessorError as error:
            if error.hint is not None:  # handles are not awaited here
                error.hint = error.hint.replace("await handle.", "handle.")
            raise
        if isinstance(value, BodyStopped):
            raise value
        return value

    def _start(
        self, call: InterruptibleCall, function: Callable[..., Coroutine[Any, Any, T]], *args: Any
    ) -> Future[T | BodyStopped]:
        try:
            if self._stack is None:
                raise _closed()
            self._refuse_on_loop()
            return self._portal.start_task_soon(call.run, function, *args)
        except RuntimeError as error:
            if self._stack is None:  # left just now
                raise _closed() from error
            raise

    def _refuse_on_loop(self) -> None:
        if self._loop.is_here():
            context = find_current_job()
            twin = "await jp.submit_job(…), await jp.handle(job_id), with jp = jobs.processor"
            if context is not None:
                twin = "await current_job().submit_job(…), await jp.handle(job_id), with jp = jobs.processor"
            raise blocks_loop("?" if context is None else context.id, "a method of SyncJobs", twin)

    @property
    def processor(self) -> JobProcessor:
        """Return the underlying processor; call its methods on its loop: see ``call``."""
        return self._jp

    def _sync_handle(self, handle: JobHandle[T]) -> SyncHandle[T]:
        return SyncHandle(handle, self)

    # -- submitting

    @overload
    def submit_job(self, func: Callable[..., Awaitable[T]], /, *args: Any, **options: Any) -> SyncHandle[T]: ...
    @overload
    def submit_job(self, func: Callable[..., T], /, *args: Any, **options: Any) -> SyncHandle[T]: ...
    def submit_job(self, func: Callable[..., Any], /, *args: Any, **options: Any) -> SyncHandle[Any]:
        """Store a call of ``func`` as a job: see ``JobProcessor.submit_job``. Durable when this returns."""

        async def submit() -> JobHandle[Any]:
            return await self._jp.submit_job(func, *args, **options)

        return SyncHandle(self.call(submit), self)

    def submit_jobs(
        self, requests: Sequence[JobRequest | GateRequest], *, if_exists: Literal["raise", "return"] | None = None
    ) -> list[SyncHandle[Any]]:
        """Store several jobs, all or none: see ``JobProcessor.submit_jobs``."""
        listed = checked_requests(requests)

        async def submit() -> list[JobHandle[Any]]:
            return await self._jp.submit_jobs(listed, if_exists=if_exists)

        return [SyncHandle(handle, self) for handle in self.call(submit)]

    @overload
    def map_jobs(
        self, func: Callable[..., Awaitable[T]], items: Iterable[Any], **options: Any
    ) -> list[SyncHandle[T]]: ...
    @overload
    def map_jobs(self, func: Callable[..., T], items: Iterable[Any], **options: Any) -> list[SyncHandle[T]]: ...
    def map_jobs(self, func: Callable[..., Any], items: Iterable[Any], **options: Any) -> list[SyncHandle[Any]]:
        """Submit ``func(item)`` for each item, as one batch."""
        # Not on the loop: iterating over the caller's items may block, and the loop also serves other calls.
        listed = checked_items(items)

        async def submit() -> list[JobHandle[Any]]:
            return await self._jp.map_jobs(func, listed, **options)

        return [SyncHandle(handle, self) for handle in self.call(submit)]

    def optional(self, job: str) -> Optional:
        """Mark an optional dependency, in ``depends_on`` or as an argument: see ``JobProcessor.optional``."""
        return self._jp.optional(job)

    def handle(self, job_id: str) -> SyncHandle[Any]:
        """Return a handle of a stored job."""

        async def make() -> JobHandle[Any]:
            return self._jp.handle(checked_id(job_id))

        return SyncHandle(self.call(make), self)

    def gather(self, *handles: SyncHandle[T], timeout: float | None = None) -> list[T]:
        """Return the results of these jobs in their order; raise the first failure."""
        for handle in handles:
            raw: object = handle
            if not is_a(raw, SyncHandle):
                several = issubclass(type(raw), (list, tuple, set, frozenset, dict))
                hint = "give them one by one: gather(*handles)" if several else "jobs.handle(job_id) makes one"
                raise ConfigurationError("handles", raw, allowed="handles", hint=hint)

        async def wait() -> list[T]:
            return await gather(*(handle._handle for handle in handles), timeout=timeout)  # pyright: ignore[reportPrivateUsage] - the handle on the loop behind ours

        return self.call(wait)

    # -- reading and controlling

    def get_job(self, job_id: str) -> Job:
        """Return a snapshot of a job."""
        return self.call(self._jp.get_job, job_id)

    def get_result(self, job_id: str) -> Any:
        """Return the result of a job that has completed; do not wait."""
        return self.call(self._jp.get_result, job_id)

    def get_arguments(self, job_id: str) -> JobArguments:
        """Return the arguments of a job, with handles in place of injected results."""

        def make_handle(other: str) -> SyncHandle[Any]:
            return SyncHandle(self._jp.handle(other), self)

        async def read() -> JobArguments:
            return await get_engine(self._jp).parts().queries.get_arguments(job_id, make_handle)

        return self.call(read)

    def get_dependencies(self, job_id: str) -> list[Edge]:
        """Return the dependencies of a job, in the order of submission, with the state of each."""
        return self.call(self._jp.get_dependencies, job_id)

    def find_jobs(self, query: JobQuery | None = None) -> JobPage:
        """Return a page of jobs: a list, and ``.next``, the cursor of the following page."""
        return self.call(self._jp.find_jobs, query)

    def iter_jobs(self, query: JobQuery | None = None) -> Iterator[Job]:
        """Iterate over all jobs that match, read in pages of ``query.limit``."""
        page = self.find_jobs(query)
        yield from page
        while page.next is not None:
            page = self.find_jobs(replace(query or JobQuery(), cursor=page.next))
            yield from page

    def get_progress(self, group: str) -> GroupProgress:
        """Return the progress of a group."""
        return self.call(self._jp.get_progress, group)

    def poll_status(self, job_id: str) -> StatusReport:
        """Return status, percentage, elapsed seconds, an estimate of the rest, and the result once there is one."""
        return self.call(self._jp.poll_status, job_id)

    def poll_batch(self, job_ids: Sequence[str]) -> Mapping[str, StatusReport | None]:
        """Return ``poll_status`` of several jobs at once; None for an unknown id."""
        return self.call(self._jp.poll_batch, job_ids)

    def why(self, job_id: str) -> Reason:
        """Return why a job is not running."""
        return self.call(self._jp.why, job_id)

    def wait_for_job(self, job_id: str, timeout: float | None = None) -> Job:
        """Wait until a job has ended, however it ended."""
        return self.call(self._jp.wait_for_job, job_id, timeout)

    def wait_for_results(self, job_ids: Iterable[str], timeout: float | None = None) -> list[JobResult]:
        """Wait until all of these jobs have ended: see ``JobProcessor.wait_for_results``."""
        return self.call(self._jp.wait_for_results, checked_ids(job_ids), timeout)

    def cancel_job(self, job_id: str, *, descendants: bool = False) -> JobStatus:
        """Cancel a job; return the stored status."""

        async def cancel() -> JobStatus:
            return await self._jp.cancel_job(job_id, descendants=descendants)

        return self.call(cancel)

    def retry_job(self, job_id: str, *, fresh: bool = False) -> JobStatus:
        """Run a failed or cancelled job again: see ``JobProcessor.retry_job``."""

        async def retry() -> JobStatus:
            return await self._jp.retry_job(job_id, fresh=fresh)

        return self.call(retry)

    def drain(self, group: str | None = None, timeout: float | None = None) -> None:
        """Wait until no job (of the group) is pending or in progress."""
        self.call(self._jp.drain, group, timeout)

    # -- watching

    def stream_job(self, job_id: str, after: str | None = None, *, types: Types = None) -> Iterator[JobEvent]:
        """Iterate over the events of a job: its history after ``after``, then live, until the job has ended."""
        return self._stream(job_id=checked_id(job_id), after=after, types=types)

    def stream_group(self, group: str, after: str | None = None, *, types: Types = None) -> Iterator[JobEvent]:
        """Iterate over the events of a group's jobs until all of them have ended."""
        return self._stream(group=group, after=after, types=types)

    def _stream(self, **wanted: Any) -> Iterator[JobEvent]:
        async def open_reader() -> Any:
            return self._jp.streamer.reader(**wanted)

        reader = self.call(open_reader)
        loop, forks = self._loop, self._forks
        try:
            while True:
                batch = self.call(reader.next)
                yield from batch.events
                if batch.ended:
                    return
        finally:
            # Not awaited: the garbage collector may run this in any thread, even the loop's, or after the loop's end.
            if fork_count() == forks and not loop.call_soon(reader.close):
                reader.close()  # the loop is gone, and nothing else uses it


def _wait_for(future: Future[T]) -> T:
    """Return the result of a future. A Ctrl-C just before a wait begins interrupts the next wait, not that one."""
    while True:
        try:
            return future.result(_LOOK_EVERY)
        except TimeoutError:
            if future.done():  # with an error of that kind, or just now
                return future.result()


def _closed() -> BackendClosedError:
    return BackendClosedError("this SyncJobs is not running", hint="use it inside 'with SyncJobs(…) as jobs:'")
