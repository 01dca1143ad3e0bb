"""Name what handles and running bodies need of the engine that stores and watches their jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from asyncjobs.models import JobEvent, JobResult, JobStatus

if TYPE_CHECKING:
    from asyncjobs.backends.base import AttemptRef, NewJob
    from asyncjobs.runtime.waiting import Watch


class HandleAccess(Protocol):
    """What a handle needs: its engine's, or in a child process that of the parent over a pipe."""

    async def get_status(self, job_id: str) -> JobStatus:
        """Return the stored status."""
        ...

    async def cancel_job(self, job_id: str, *, descendants: bool = False) -> JobStatus:
        """Cancel a job."""
        ...

    async def retry_job(self, job_id: str, *, fresh: bool = False) -> JobStatus:
        """Run a failed or cancelled job again."""
        ...

    def stream_job(self, job_id: str, after: str | None = None) -> AsyncIterator[JobEvent]:
        """Return the events of a job."""
        ...

    async def wait_until_ended(self, job_id: str, timeout: float | None) -> JobResult:
        """Wait for the end of a job."""
        ...

    def watch(self, job_ids: Sequence[str], timeout: float | None) -> Watch:
        """Begin to wait for the ends of several jobs, as they come."""
        ...

    def value_of(self, result: JobResult, func: Callable[..., Any] | None) -> Any:
        """Return the value of an end, or raise its error."""
        ...


class BodyAccess(HandleAccess, Protocol):
    """What the bodies of a worker need: to submit jobs, encoded already where they run in a child process."""

    async def submit_child(
        self, parent: AttemptRef, func: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]
    ) -> Any:
        """Store what a body submits: a child of its job."""
        ...

    async def submit_encoded(self, parent: AttemptRef, job: NewJob) -> str:
        """Store a child that its body has encoded in a process of its own."""
        ...
