"""Give ``JobProcessor`` its gates: questions that people or programs answer, as jobs of the graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from asyncjobs.models import JobStatus
from asyncjobs.runtime.engine import Engine
from asyncjobs.runtime.handle import JobHandle

if TYPE_CHECKING:
    from typing import Unpack

    from asyncjobs.runtime.gate_requests import GateOptions

T = TypeVar("T")


class GateCalls:
    """The gates of a program."""

    _engine: Engine

    @overload
    async def submit_gate(
        self,
        question: str,
        *,
        choices: Sequence[str],
        answer_type: None = None,
        default: str = ...,
        **options: Unpack[GateOptions],
    ) -> JobHandle[str]: ...
    @overload
    async def submit_gate(
        self,
        question: str,
        *,
        choices: None = None,
        answer_type: type[T],
        default: T = ...,
        **options: Unpack[GateOptions],
    ) -> JobHandle[T]: ...
    @overload
    async def submit_gate(
        self,
        question: str,
        *,
        choices: None = None,
        answer_type: None = None,
        default: Literal[True] = ...,
        **options: Unpack[GateOptions],
    ) -> JobHandle[bool]: ...
    @overload
    async def submit_gate(
        self,
        question: str,
        *,
        choices: None = None,
        answer_type: Any,
        default: Any = ...,
        **options: Unpack[GateOptions],
    ) -> JobHandle[Any]: ...
    async def submit_gate(self, question: str, **options: Any) -> JobHandle[Any]:
        """Store a question as a gate: a job without a function that ends when it is answered or rejected.

        It is asked (event ``asked``) once its dependencies allow it, and holds no slot while it waits. Its dependents
        wait for the answer; after a rejection they are skipped. Without ``choices`` and ``answer_type`` it is an
        approval: its only answer is True, and ``reject_job`` refuses it. ``await handle`` is the answer::

            page = await jp.submit_job(draw_page, "noir")
            gate = await jp.submit_gate("Print this page?", depends_on=page, timeout=3600)
            await jp.submit_job(print_page, page, depends_on=gate)
            …
            await gate.answer(by="ada")

        :param question: the question. Put material that it is about into the result of a dependency, or into metadata.
        :param choices: 1 to 50 texts, one of which is the answer.
        :param answer_type: the type of the answer: bool, int, float, str, None, Literal, list, dict, records of these.
        :param reject_on: the choices that reject the gate.
        :param timeout: seconds (or a timedelta) from the moment it is asked until its deadline, after which it fails
            with ``AnswerTimeoutError``. Default: it waits forever.
        :param default: the answer once the deadline has passed, instead of a failure; may be None if the type allows
            it.
        :param job_id: as for ``submit_job``, and so are ``depends_on``, ``require``, ``group``, ``metadata`` and
            ``if_exists``. A gate has no other options.
        :raises SubmissionError: refused, nothing was stored. ConfigurationError: an invalid option.
        :raises BackendConnectionError: not stored; ``.request`` submits it again under the same id.
        """
        return await self._engine.parts().submitter.submit_gate(question, options)

    async def answer_job(
        self, job_id: str, value: Any = True, by: str | None = None, *, answer_type: Any = None
    ) -> JobStatus:
        """Answer an open gate: it is ``completed`` with this value. The first answer wins.

        The same answer by the same answerer is accepted again, so that resending is safe. A choice in ``reject_on``
        rejects the gate.

        :param by: the name of the answerer, which is recorded: 1 to 200 characters.
        :param answer_type: the type of the answer, if another process asked. Default: the stored JSON Schema decides.
        :returns: the new status of the gate.
        :raises JobNotFoundError: no such job. ConfigurationError: the value is not a valid answer.
        :raises JobStateError: it is not a gate, not open, its deadline has passed, or another answer came first.
        :raises MissingExtraError: its schema cannot be checked in this process. Nothing was changed.
        :raises BackendConnectionError: the store cannot be reached; answering again is safe.
        """
        return await self._engine.answer_job(job_id, value, by, answer_type)

    async def reject_job(self, job_id: str, reason: str, by: str | None = None) -> JobStatus:
        """Reject an open gate: it is ``failed``, and its dependents are skipped. ``retry_job`` opens it again.

        :param reason: why: 1 to 2,000 characters.
        :param by: the name of the rejecting person or program, which is recorded.
        :returns: the new status of the gate.
        :raises: as ``answer_job``.
        """
        return await self._engine.reject_job(job_id, reason, by)
