"""Give ``current_job()`` its gates: the methods that bodies call, with their types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from asyncjobs.runtime.body_calls import BodyCalls

if TYPE_CHECKING:
    from typing import Unpack

    from asyncjobs.runtime.gate_requests import ChildGateOptions
    from asyncjobs.runtime.handle import JobHandle

T = TypeVar("T")


class GateMethods(BodyCalls):
    """The gates of a body."""

    @overload
    async def submit_gate(
        self,
        question: str,
        *,
        key: str | None = None,
        choices: Sequence[str],
        answer_type: None = None,
        default: str = ...,
        **options: Unpack[ChildGateOptions],
    ) -> JobHandle[str]: ...
    @overload
    async def submit_gate(
        self,
        question: str,
        *,
        key: str | None = None,
        choices: None = None,
        answer_type: type[T],
        default: T = ...,
        **options: Unpack[ChildGateOptions],
    ) -> JobHandle[T]: ...
    @overload
    async def submit_gate(
        self,
        question: str,
        *,
        key: str | None = None,
        choices: None = None,
        answer_type: None = None,
        default: Literal[True] = ...,
        **options: Unpack[ChildGateOptions],
    ) -> JobHandle[bool]: ...
    @overload
    async def submit_gate(
        self,
        question: str,
        *,
        key: str | None = None,
        choices: None = None,
        answer_type: Any,
        default: Any = ...,
        **options: Unpack[ChildGateOptions],
    ) -> JobHandle[Any]: ...
    async def submit_gate(self, question: str, *, key: str | None = None, **options: Any) -> JobHandle[Any]:
        """Submit a gate as a child of this job; the options are those of ``JobProcessor.submit_gate``, except
        ``job_id`` and ``if_exists``.

        Its id comes from the key, as in ``submit_job``. The gate outlives the body: use ``ask`` if the body itself
        needs the answer.
        """
        return await self._call_submit(None, (question,), key, options)

    @overload
    def submit_gate_sync(
        self,
        question: str,
        *,
        key: str | None = None,
        choices: Sequence[str],
        answer_type: None = None,
        default: str = ...,
        **options: Unpack[ChildGateOptions],
    ) -> JobHandle[str]: ...
    @overload
    def submit_gate_sync(
        self,
        question: str,
        *,
        key: str | None = None,
        choices: None = None,
        answer_type: type[T],
        default: T = ...,
        **options: Unpack[ChildGateOptions],
    ) -> JobHandle[T]: ...
    @overload
    def submit_gate_sync(
        self,
        question: str,
        *,
        key: str | None = None,
        choices: None = None,
        answer_type: None = None,
        default: Literal[True] = ...,
        **options: Unpack[ChildGateOptions],
    ) -> JobHandle[bool]: ...
    @overload
    def submit_gate_sync(
        self,
        question: str,
        *,
        key: str | None = None,
        choices: None = None,
        answer_type: Any,
        default: Any = ...,
        **options: Unpack[ChildGateOptions],
    ) -> JobHandle[Any]: ...
    def submit_gate_sync(self, question: str, *, key: str | None = None, **options: Any) -> JobHandle[Any]:
        """``submit_gate`` for plain functions in their thread.

        :raises JobStateError: called on the event loop, by an ``async def`` body: ``await submit_gate(…)`` there.
        """
        self.refuse_on_loop("current_job().submit_gate_sync(…)", "await current_job().submit_gate(…)")
        return self.run_sync(self._call_submit, None, (question,), key, options)
