"""Give callers a job id that can be awaited, passed on and cancelled."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from asyncjobs.exceptions import BackendClosedError, JobNotFoundError, JobStateError
from asyncjobs.models import Handle, JobEvent, JobResult, JobStatus
from asyncjobs.runtime.answer_types import AnswerType
from asyncjobs.runtime.context import find_current_job, without_job
from asyncjobs.runtime.job_access import HandleAccess
from asyncjobs.runtime.large_values import LARGE, decode_beside_loop

if TYPE_CHECKING:
    from typing import Self

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Noted:
    """The jobs of a batch, for their handles: not stored yet, stored, or given up.

    :param access: gives access to them once they are stored.
    """

    __slots__ = ("_missing", "access")

    def __init__(self, access: HandleAccess) -> None:
        self.access: HandleAccess = access
        self._missing: str | None = "its batch stores it when the block of the batch is left: wait for it after that"

    def store(self) -> None:
        """Make their handles usable."""
        self._missing = None

    def give_up(self) -> None:
        """Make their handles unusable."""
        self._missing = "the block of its batch was left by an error, so nothing of it was stored"

    def refuse_unstored(self, job_id: str) -> None:
        """Refuse to use a job that is not stored.

        :raises JobNotFoundError: it is not.
        """
        if self._missing is not None:
            raise JobNotFoundError(job_id, hint=self._missing)


class JobHandle(Handle, Generic[T_co]):
    """A string equal to the job's id. ``await handle`` is the job's result.

    Cheap, hashable, and usable wherever an id is. ``jp.handle(job_id)`` makes one from an id, in any process.
    Inside a job, waiting lends the job's slot to others.
    """

    __slots__ = ("_func", "_jobs")
    _jobs: HandleAccess | Noted | None
    _func: Callable[..., T_co] | AnswerType | None

    def __new__(
        cls,
        job_id: str,
        jobs: HandleAccess | Noted | None = None,
        func: Callable[..., T_co] | AnswerType | None = None,
    ) -> Self:
        """Make the handle of a job from its id."""
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

    def _access(self) -> HandleAccess:
        if self._jobs is None:
            raise BackendClosedError("this handle belongs to no JobProcessor", hint="jp.handle(job_id) makes one")
        if not isinstance(self._jobs, Noted):
            return self._jobs
        self._jobs.refuse_unstored(self.id)
        return self._jobs.access

    def __await__(self) -> Generator[Any, Any, T_co]:
        return self.result().__await__()

    async def result(self, timeout: float | None = None) -> T_co:
        """Wait until the job has completed, and return its result.

        :param timeout: seconds to wait; None waits forever.
        :raises JobExecutionError: it failed for good. WorkerLostError: its workers died too often.
        :raises RejectedError: it is a gate, and was rejected. AnswerTimeoutError: it was not answered in time.
        :raises JobCancelledError: it was cancelled. JobSkippedError: a dependency did not complete.
        :raises JobTimeoutError: the time is up; the job continues. JobNotFoundError: no such job.
        :raises CyclicDependencyError: inside of a job that this one depends on, or waits for in this process. A cycle
            of waits across several processes is not detected: only a timeout ends it.
        """
        access = self._access()
        ended = await access.wait_until_ended(self.id, timeout)
        if ended.value is not None and len(ended.value) > LARGE:
            return await decode_beside_loop(ended.value, access.value_of, ended, self._func)
        return access.value_of(ended, self._func)

    def result_sync(self, timeout: float | None = None) -> T_co:
        """Wait for the result as ``result`` does, in the thread of a plain function that runs as a job.

        :raises JobStateError: called outside of a job's thread: ``await handle`` there.
        """
        context = find_current_job()
        if context is None:
            raise JobStateError(
                self.id,
                "waited for outside of a job",
                "result_sync() is for plain functions that run as jobs",
                hint=without_job("in an 'async def' function: await handle; or SyncJobs, whose handles have result()"),
            )
        context.refuse_on_loop("handle.result_sync()", "await handle")
        return context.run_sync(self.result, timeout)

    async def status(self) -> JobStatus:
        """Return the stored status."""
        return await self._access().get_status(self.id)

    async def cancel(self, *, descendants: bool = False) -> JobStatus:
        """Cancel the job: see ``JobProcessor.cancel_job``."""
        return await self._access().cancel_job(self.id, descendants=descendants)

    async def retry(self, *, fresh: bool = False) -> JobStatus:
        """Run the job again after it failed or was cancelled: see ``JobProcessor.retry_job``."""
        return await self._access().retry_job(self.id, fresh=fresh)

    async def answer(self, value: Any = True, by: str | None = None) -> JobStatus:
        """Answer it, if it is a gate: see ``JobProcessor.answer_job``."""
        answer_type = self._func if isinstance(self._func, AnswerType) else None
        return await self._access().answer_job(self.id, value, by, answer_type)

    async def reject(self, reason: str, by: str | None = None) -> JobStatus:
        """Reject it, if it is a gate: see ``JobProcessor.reject_job``."""
        return await self._access().reject_job(self.id, reason, by)

    def events(self, after: str | None = None) -> AsyncIterator[JobEvent]:
        """Stream the job's events: history first, then live, to its end."""
        return self._access().stream_job(self.id, after)


def get_access(handle: JobHandle[Any]) -> HandleAccess:
    """Return the access to a handle's job.

    :raises BackendClosedError: it belongs to no processor.
    """
    return handle._access()  # pyright: ignore[reportPrivateUsage] - of the same module


def refuse_unstored(handle: JobHandle[Any]) -> None:
    """Refuse the handle of a job whose batch has not stored it.

    :raises JobNotFoundError: it is such a handle.
    """
    jobs = handle._jobs  # pyright: ignore[reportPrivateUsage] - of the same module
    if isinstance(jobs, Noted):
        jobs.refuse_unstored(handle.id)


async def read_value(handle: JobHandle[T], result: JobResult) -> T:
    """Return the value of a job's result, or raise its error."""
    access, func = get_access(handle), handle._func  # pyright: ignore[reportPrivateUsage] - of the same module
    return await decode_beside_loop(result.value, access.value_of, result, func)
