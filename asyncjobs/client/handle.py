"""Define ClientHandle: the id of a remote job that can be awaited, passed on and cancelled."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator
from typing import TYPE_CHECKING, Any, Protocol, Self

from asyncjobs.models import Handle, JobEvent, JobStatus, Reason

if TYPE_CHECKING:
    from asyncjobs.client.streams import EventStream, OnReset, Types
    from asyncjobs.runtime.answer_types import AnswerType


class RemoteJobs(Protocol):
    """The methods of a client that a handle calls: see ``JobsClient``."""

    async def wait_for_result(self, job_id: str, timeout: float | None = None) -> Any:
        """Wait for a result."""
        ...

    async def get_status(self, job_id: str) -> JobStatus:
        """Return the stored status."""
        ...

    async def cancel_job(self, job_id: str, *, descendants: bool = False) -> JobStatus:
        """Cancel a job."""
        ...

    async def retry_job(self, job_id: str, *, fresh: bool = False) -> JobStatus:
        """Retry a job."""
        ...

    async def answer_job(self, job_id: str, value: Any, by: str | None, *, answer_type: Any) -> JobStatus:
        """Answer a gate."""
        ...

    async def reject_job(self, job_id: str, reason: str, by: str | None) -> JobStatus:
        """Reject a gate."""
        ...

    async def why(self, job_id: str) -> Reason:
        """Return why a job is not running."""
        ...

    def get_logs(self, job_id: str, after: str | None = None) -> AsyncIterator[JobEvent]:
        """Iterate over the log of a job."""
        ...

    def stream_job(
        self, job_id: str, after: str | None = None, *, types: Types = None, on_reset: OnReset | None = None
    ) -> EventStream:
        """Stream the events of a job."""
        ...


class ClientHandle(Handle):
    """A string equal to the job's id. ``await handle`` is the job's result.

    As an argument of ``client.submit_job``, it stands for that result. ``client.handle(job_id)`` makes one from an id.
    """

    __slots__ = ("_jobs", "_type")
    _jobs: RemoteJobs
    _type: AnswerType | None

    def __new__(cls, job_id: str, jobs: RemoteJobs, answer_type: AnswerType | None = None) -> Self:
        """Make a handle; programs call ``client.handle(job_id)``.

        :param answer_type: the type of the result of a gate that this client submitted.
        """
        self = super().__new__(cls, job_id)
        self._jobs = jobs
        self._type = answer_type
        return self

    @property
    def id(self) -> str:
        """Return the job's id as a plain string."""
        return str.__str__(self)

    def __str__(self) -> str:
        return str.__str__(self)

    def __repr__(self) -> str:
        return f"ClientHandle({str.__repr__(self)})"

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return (str, (self.id,))  # in another process, it is only an id: the client is not there

    def __await__(self) -> Generator[Any, Any, Any]:
        return self.result().__await__()

    async def result(self, timeout: float | None = None) -> Any:
        """Wait until the job has completed, and return its result. Keep waiting while the server is unreachable.

        :param timeout: seconds to wait; None waits forever.
        :raises JobExecutionError: it failed for good. WorkerLostError: its workers died too often.
        :raises RejectedError: it is a gate, and was rejected. AnswerTimeoutError: it was not answered in time.
        :raises JobCancelledError: it was cancelled. JobSkippedError: a dependency did not complete.
        :raises JobTimeoutError: the time is up; the job continues. JobNotFoundError: no such job.
        :raises BackendConnectionError: the server was not reachable at the beginning.
        """
        value = await self._jobs.wait_for_result(self.id, timeout)
        return value if self._type is None else self._type.convert(value)

    async def status(self) -> JobStatus:
        """Return the stored status."""
        return await self._jobs.get_status(self.id)

    async def cancel(self, *, descendants: bool = False) -> JobStatus:
        """Cancel the job: see ``JobsClient.cancel_job``."""
        return await self._jobs.cancel_job(self.id, descendants=descendants)

    async def retry(self, *, fresh: bool = False) -> JobStatus:
        """Run the job again after it failed or was cancelled: see ``JobsClient.retry_job``."""
        return await self._jobs.retry_job(self.id, fresh=fresh)

    async def answer(self, value: Any = True, by: str | None = None) -> JobStatus:
        """Answer it, if it is a gate: see ``JobsClient.answer_job``."""
        return await self._jobs.answer_job(self.id, value, by, answer_type=self._type)

    async def reject(self, reason: str, by: str | None = None) -> JobStatus:
        """Reject it, if it is a gate: see ``JobsClient.reject_job``."""
        return await self._jobs.reject_job(self.id, reason, by)

    async def why(self) -> Reason:
        """Return why the job is not running, or that it is."""
        return await self._jobs.why(self.id)

    def events(self, after: str | None = None, *, types: Types = None, on_reset: OnReset | None = None) -> EventStream:
        """Stream the job's events, history first, then live, to its end: see ``JobsClient.stream_job``."""
        return self._jobs.stream_job(self.id, after, types=types, on_reset=on_reset)

    def logs(self, after: str | None = None) -> AsyncIterator[JobEvent]:
        """Iterate over the present log of the job."""
        return self._jobs.get_logs(self.id, after)
