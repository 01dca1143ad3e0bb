"""JobHandle: a job id that can be awaited, passed on and cancelled; and waiting for several of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, overload

from asyncjobs.checks import is_a
from asyncjobs.exceptions import BackendClosedError, ConfigurationError, JobStateError
from asyncjobs.models import Handle, JobEvent, JobResult, JobStatus
from asyncjobs.runtime.context import find_current_job
from asyncjobs.runtime.waiting import Watch, error_of

if TYPE_CHECKING:
    from typing import Self

T = TypeVar("T")


class Jobs(Protocol):
    """What a handle needs of its processor."""

    async def get_status(self, job_id: str) -> JobStatus: ...

    async def cancel_job(self, job_id: str, *, descendants: bool = False) -> JobStatus: ...

    async def retry_job(self, job_id: str) -> JobStatus: ...

    def stream_job(self, job_id: str, after: str | None = None) -> AsyncIterator[JobEvent]: ...

    async def ended(self, job_id: str, timeout: float | None) -> JobResult: ...

    def watch(self, job_ids: Sequence[str], timeout: float | None) -> Watch: ...

    def value_of(self, result: JobResult, func: Callable[..., Any] | None) -> Any: ...


class JobHandle(Handle, Generic[T]):
    """A string equal to the job's id. ``await handle`` is the job's result.

    Cheap, hashable, usable wherever an id is; made again from an id, in any process, by ``jp.handle(job_id)``.
    Inside a job, waiting lends the job's slot to others.
    """

    __slots__ = ("_func", "_jobs")
    _jobs: Jobs | None
    _func: Callable[..., T] | None

    def __new__(cls, job_id: str, jobs: Jobs | None = None, func: Callable[..., T] | None = None) -> Self:
        self = super().__new__(cls, job_id)
        self._jobs = jobs
        self._func = func
        return self

    @property
    def id(self) -> str:
        """The job's id, as a plain string."""
        return str.__str__(self)

    def __str__(self) -> str:
        return str.__str__(self)

    def __repr__(self) -> str:
        return f"JobHandle({str.__repr__(self)})"

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return (str, (self.id,))  # another process has another processor: there it is an id

    def _processor(self) -> Jobs:
        if self._jobs is None:
            raise BackendClosedError("this handle belongs to no JobProcessor", hint="jp.handle(job_id) makes one")
        return self._jobs

    def __await__(self) -> Generator[Any, Any, T]:
        return self.result().__await__()

    async def result(self, timeout: float | None = None) -> T:
        """The job's result, once it has completed.

        :param timeout: seconds to wait; None waits for ever.
        :raises JobExecutionError: it failed for good. WorkerLostError: it killed its workers, or seemed to.
        :raises JobCancelledError: it was cancelled. JobSkippedError: a dependency did not complete.
        :raises JobTimeoutError: the time is up; the job goes on. JobNotFoundError: no such job.
        :raises CyclicDependencyError: inside of a job that this one depends on, or waits for in this process. A circle
            of waits over several processes is not noticed: a timeout ends it.
        """
        jobs = self._processor()
        return jobs.value_of(await jobs.ended(self.id, timeout), self._func)

    def result_sync(self, timeout: float | None = None) -> T:
        """``result`` for a plain function that runs as a job, in its thread.

        :raises JobStateError: called outside of a job's thread: ``await handle`` there.
        """
        context = find_current_job()
        if context is None:
            raise JobStateError(
                self.id, "waited for outside of a job", "result_sync() is for plain functions that run as jobs"
            )
        context.refuse_on_loop("handle.result_sync()", "await handle")
        return context.run_sync(self.result, timeout)

    async def status(self) -> JobStatus:
        """The stored status."""
        return await self._processor().get_status(self.id)

    async def cancel(self, *, descendants: bool = False) -> JobStatus:
        """Cancel it: see ``JobProcessor.cancel_job``."""
        return await self._processor().cancel_job(self.id, descendants=descendants)

    async def retry(self) -> JobStatus:
        """Run it again after it failed or was cancelled: see ``JobProcessor.retry_job``."""
        return await self._processor().retry_job(self.id)

    def events(self, after: str | None = None) -> AsyncIterator[JobEvent]:
        """Its events: history first, then live, to its end."""
        return self._processor().stream_job(self.id, after)


@overload
async def gather(*handles: JobHandle[T], timeout: float | None = None) -> list[T]: ...
@overload
async def gather(
    *handles: JobHandle[T], return_exceptions: bool, timeout: float | None = None
) -> list[T | BaseException]: ...
async def gather(*handles: JobHandle[Any], return_exceptions: bool = False, timeout: float | None = None) -> list[Any]:
    """The results of these jobs, in the order of the handles.

    The first failure is raised (the other jobs go on), unless ``return_exceptions``: then errors stand among the
    results. ``timeout`` is seconds for all of them: JobTimeoutError.
    """
    if not handles:
        return []
    values: dict[str, Any] = {}
    by_id = _by_id(handles)
    watch = handles[0]._processor().watch(list(by_id), timeout)  # pyright: ignore[reportPrivateUsage] - of the same module
    try:
        while ended := await watch.next():
            for result in ended:
                try:
                    values[result.job_id] = _value(by_id[result.job_id], result)
                except Exception as error:
                    if not return_exceptions:
                        raise
                    values[result.job_id] = error
    finally:
        watch.close()
    return [values[handle.id] for handle in handles]


async def as_completed(
    handles: Sequence[JobHandle[T]], *, timeout: float | None = None
) -> AsyncGenerator[JobHandle[T]]:
    """These handles in the order in which their jobs end, however they end; ``await handle`` then does not wait."""
    by_id = _by_id(handles)
    if not by_id:
        return
    watch = handles[0]._processor().watch(list(by_id), timeout)  # pyright: ignore[reportPrivateUsage] - of the same module
    try:
        while ended := await watch.next():
            for result in ended:
                yield by_id[result.job_id]
    finally:
        watch.close()


def _by_id(handles: Sequence[JobHandle[T]]) -> dict[str, JobHandle[T]]:
    for handle in handles:
        raw: object = handle
        if not is_a(raw, JobHandle):
            hint = "jp.handle(job_id) makes one of an id"
            if issubclass(type(raw), (list, tuple, set, frozenset, dict)):
                hint = "give them one by one: gather(*handles)"
            raise ConfigurationError("handles", raw, allowed="handles", hint=hint)
    return {handle.id: handle for handle in handles}


def _value(handle: JobHandle[T], result: JobResult) -> T:
    return handle._processor().value_of(result, handle._func)  # pyright: ignore[reportPrivateUsage] - of the same module


__all__ = ["JobHandle", "as_completed", "error_of", "gather"]
