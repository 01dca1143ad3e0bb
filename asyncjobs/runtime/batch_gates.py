"""Give batches their gates."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from asyncjobs.requests import GateRequest
from asyncjobs.runtime.gate_requests import build_gate_request
from asyncjobs.runtime.handle import JobHandle

if TYPE_CHECKING:
    from typing import Unpack

    from asyncjobs.runtime.gate_requests import GateOptions

T = TypeVar("T")


class BatchGateCalls(ABC):
    """The gates of a batch."""

    @abstractmethod
    def _note_gate(self, request: GateRequest) -> JobHandle[Any]: ...

    @overload
    def submit_gate(
        self,
        question: str,
        *,
        choices: Sequence[str],
        answer_type: None = None,
        default: str = ...,
        **options: Unpack[GateOptions],
    ) -> JobHandle[str]: ...
    @overload
    def submit_gate(
        self,
        question: str,
        *,
        choices: None = None,
        answer_type: type[T],
        default: T = ...,
        **options: Unpack[GateOptions],
    ) -> JobHandle[T]: ...
    @overload
    def submit_gate(
        self,
        question: str,
        *,
        choices: None = None,
        answer_type: None = None,
        default: Literal[True] = ...,
        **options: Unpack[GateOptions],
    ) -> JobHandle[bool]: ...
    @overload
    def submit_gate(
        self,
        question: str,
        *,
        choices: None = None,
        answer_type: Any,
        default: Any = ...,
        **options: Unpack[GateOptions],
    ) -> JobHandle[Any]: ...
    def submit_gate(self, question: str, **options: Any) -> JobHandle[Any]:
        """Add a gate to the batch: as ``JobProcessor.submit_gate``.

        :raises SubmissionError: the batch is not open; as for ``JobProcessor.submit_gate``.
        """
        return self._note_gate(build_gate_request(question, options))
