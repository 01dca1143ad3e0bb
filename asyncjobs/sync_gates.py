"""Give ``SyncJobs`` its gates: questions that people or programs answer, as jobs of the graph."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from asyncjobs.models import JobStatus
from asyncjobs.processor import JobProcessor
from asyncjobs.runtime.handle import JobHandle
from asyncjobs.spellings import FormerAttributes

if TYPE_CHECKING:
    from typing import Unpack

    from asyncjobs.runtime.gate_requests import GateOptions
    from asyncjobs.sync import SyncHandle

T = TypeVar("T")


class SyncGateCalls(FormerAttributes, ABC):
    """The methods of ``SyncJobs`` for gates."""

    @property
    @abstractmethod
    def processor(self) -> JobProcessor:
        """Return the underlying processor."""

    @abstractmethod
    def call(self, function: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
        """Run an async function on the loop."""

    @abstractmethod
    def _sync_handle(self, handle: JobHandle[T]) -> SyncHandle[T]: ...

    @overload
    def submit_gate(
        self,
        question: str,
        *,
        choices: Sequence[str],
        answer_type: None = None,
        default: str = ...,
        **options: Unpack[GateOptions],
    ) -> SyncHandle[str]: ...
    @overload
    def submit_gate(
        self,
        question: str,
        *,
        choices: None = None,
        answer_type: type[T],
        default: T = ...,
        **options: Unpack[GateOptions],
    ) -> SyncHandle[T]: ...
    @overload
    def submit_gate(
        self,
        question: str,
        *,
        choices: None = None,
        answer_type: None = None,
        default: Literal[True] = ...,
        **options: Unpack[GateOptions],
    ) -> SyncHandle[bool]: ...
    @overload
    def submit_gate(
        self,
        question: str,
        *,
        choices: None = None,
        answer_type: Any,
        default: Any = ...,
        **options: Unpack[GateOptions],
    ) -> SyncHandle[Any]: ...
    def submit_gate(self, question: str, **options: Any) -> SyncHandle[Any]:
        """Store a question as a gate: see ``JobProcessor.submit_gate``. Durable when this returns."""

        async def submit() -> JobHandle[Any]:
            submit_gate: Any = self.processor.submit_gate
            return await submit_gate(question, **options)

        handle: JobHandle[Any] = self.call(submit)
        return self._sync_handle(handle)

    def answer_job(
        self, job_id: str, value: Any = True, by: str | None = None, *, answer_type: Any = None
    ) -> JobStatus:
        """Answer an open gate: see ``JobProcessor.answer_job``."""

        async def answer() -> JobStatus:
            return await self.processor.answer_job(job_id, value, by, answer_type=answer_type)

        return self.call(answer)

    def reject_job(self, job_id: str, reason: str, by: str | None = None) -> JobStatus:
        """Reject an open gate: see ``JobProcessor.reject_job``."""
        return self.call(self.processor.reject_job, job_id, reason, by)
