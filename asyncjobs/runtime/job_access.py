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

    async def get_status(self, job_id: str) -> JobStatus: ...

    async def cancel_job(self, job_id: str, *, descendants: bool = False) -> JobStatus: ...

    async def retry_job(self, job_id: str) -> JobStatus: ...

    def stream_job(self, job_id: str, after: str | None = None) -> AsyncIterator[JobEvent]: ...

    async def wait_until_ended(self, job_id: str, timeout: float | None) -> JobResult: ...

    def watch(self, job_ids: Sequence[str], timeout: float | None) -> Watch: ...

    def value_of(self, result: JobResult, func: Callable[..., Any] | None) -> Any: ...


class BodyAccess(HandleAccess, Protocol):
    """What the bodies of a worker need: to submit jobs, encoded already where they run in a child process."""

    async def submit_child(
        self, parent: AttemptRef, func: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]
    ) -> Any: ...

    async def submit_encoded(self, parent: AttemptRef, job: NewJob) -> str: ...
