"""Define what handles and running bodies need from the engine that stores and watches their jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from asyncjobs.models import JobEvent, JobResult, JobStatus

if TYPE_CHECKING:
    from asyncjobs.backends.base import AttemptRef, NewJob
    from asyncjobs.core.requests import AskedGate
    from asyncjobs.runtime.answer_types import AnswerType, ReadBy
    from asyncjobs.runtime.context import JobContext
    from asyncjobs.runtime.waiting import Watch


class HandleAccess(Protocol):
    """What a handle needs: provided by its engine or, in a child process, by the parent over a pipe."""

    async def get_status(self, job_id: str) -> JobStatus:
        """Return the stored status."""
        ...

    async def cancel_job(self, job_id: str, *, descendants: bool = False) -> JobStatus:
        """Cancel a job."""
        ...

    async def retry_job(self, job_id: str, *, fresh: bool = False) -> JobStatus:
        """Run a failed or cancelled job again."""
        ...

    async def answer_job(self, job_id: str, value: Any, by: object, answer_type: Any) -> JobStatus:
        """Answer a gate."""
        ...

    async def reject_job(self, job_id: str, reason: object, by: object) -> JobStatus:
        """Reject a gate."""
        ...

    def stream_job(self, job_id: str, after: str | None = None) -> AsyncIterator[JobEvent]:
        """Return the events of a job."""
        ...

    async def wait_until_ended(self, job_id: str, timeout: float | None) -> JobResult:
        """Wait for the end of a job."""
        ...

    def watch(self, job_ids: Sequence[str], timeout: float | None) -> Watch:
        """Begin to wait for several jobs, in the order in which they end."""
        ...

    def value_of(self, result: JobResult, func: ReadBy | None) -> Any:
        """Return the value of a job's result, or raise its error."""
        ...


class BodyAccess(HandleAccess, Protocol):
    """What the bodies of a worker need: to submit jobs, encoded already where they run in a child process."""

    async def submit_child(
        self, parent: AttemptRef, func: Callable[..., Any] | None, args: tuple[Any, ...], options: dict[str, Any]
    ) -> Any:
        """Store a job that a body submits, as a child of its job: a gate if it has no function."""
        ...

    async def submit_encoded(self, parent: AttemptRef, job: NewJob) -> str:
        """Store a child that was encoded in a child process."""
        ...

    async def ask_gate(self, attempt: AttemptRef, gate: NewJob, answer_type: AnswerType | None) -> AskedGate:
        """Open the gate of a question that a body asks, or find it."""
        ...

    async def wait_for_answer(self, context: JobContext, gate_id: str, *, park: bool) -> JobResult | None:
        """Wait for the end of a gate, or park the job on it: see ``AskAccess``."""
        ...
