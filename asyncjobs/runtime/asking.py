"""Ask people from inside a body: open a gate for each question, and wait for its answer, or park the job on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from asyncjobs.backends.base import AttemptRef, NewJob
from asyncjobs.core.child_ids import child_id, longest_key
from asyncjobs.core.codec import decode_value
from asyncjobs.core.requests import AskedGate
from asyncjobs.exceptions import ConfigurationError, ConversionError, JobConflictError
from asyncjobs.models import JobResult, JobStatus
from asyncjobs.runtime.answer_types import AnswerType
from asyncjobs.runtime.interruption import interrupt
from asyncjobs.runtime.job_results import not_completed
from asyncjobs.runtime.question_methods import AskOptions
from asyncjobs.runtime.questions import checked_question, new_gate
from asyncjobs.runtime.submission import LONGEST_ID, checked_name
from asyncjobs.runtime.wakeups import LoopHandle

if TYPE_CHECKING:
    from asyncjobs.runtime.context import JobContext

_OTHER_WORDS = "the question {!r} keeps its first wording and options: those of a later attempt are ignored"


class AskAccess(Protocol):
    """What questions need from the processor that runs the body; in a child process, over the pipe."""

    async def ask_gate(self, attempt: AttemptRef, gate: NewJob, answer_type: AnswerType | None) -> AskedGate:
        """Open the gate of a question, or find it; ``answer_type`` is for answers that are given in this process."""
        ...

    async def wait_for_answer(self, context: JobContext, gate_id: str, *, park: bool) -> JobResult | None:
        """Wait until the gate has ended; the body lends its slot, and its timeout is paused.

        :param park: end the attempt instead, until the gate has ended.
        :returns: None if the attempt is to end: the body is interrupted.
        """
        ...

    async def wait_until_ended(self, job_id: str, timeout: float | None) -> JobResult:
        """Wait for the end of a job."""
        ...


class Asking:
    """The questions of one attempt.

    :param loop: the event loop on which ``access`` is called.
    :param largest: maximum size of an answer in bytes.
    """

    def __init__(
        self, context: JobContext, attempt: AttemptRef, access: AskAccess, *, loop: LoopHandle, largest: int
    ) -> None:
        self._context = context
        self._attempt = attempt
        self._access = access
        self._loop = loop
        self._largest = largest
        self._used: dict[str, object] = {}
        """Keys of questions that are pending, or whose outcome the body has seen."""

    async def ask(self, options: AskOptions) -> Any:
        """See ``JobContext.ask``."""
        key = checked_name("key", options.key, longest_key(self._context.id, LONGEST_ID))
        if not isinstance(options.park, bool):
            raise ConfigurationError("park", options.park, allowed="True or False")
        answer_type = None if options.answer_type is None else AnswerType(options.answer_type)
        question = checked_question(
            options.question,
            choices=options.choices,
            answer_type=answer_type,
            reject_on=options.reject_on,
            default=options.default,
            timeout=options.timeout,
            largest=self._largest,
        )
        job_id = child_id(self._context.id, key)
        gate = new_gate(job_id, question, options.timeout, group=self._context.group)
        if self._context.stopped:
            await interrupt(self._context, self._loop)
        self._use(key)
        try:
            ended = await self._ask(gate, key, answer_type, park=options.park)
        except BaseException:
            del self._used[key]  # a wait that was cut short may begin again
            raise
        return _value_of(ended, key, answer_type)

    def _use(self, key: str) -> None:
        if self._used.setdefault(key, use := object()) is not use:
            problem = f"the key {key!r} was already used in this attempt: a key names one question"
            raise ConfigurationError(
                "key", key, problem=problem, hint="add the difference to the key: in a loop, the index"
            )

    async def _ask(self, gate: NewJob, key: str, answer_type: AnswerType | None, *, park: bool) -> JobResult:
        """Ask, wait until the gate has ended, and return its result."""
        try:
            asked = await self._access.ask_gate(self._attempt, gate, answer_type)
        except JobConflictError as error:
            error.hint = f"use another key: {gate.id!r} is a job of another kind"
            raise
        if asked.call != gate.call:
            self._context.append_log("warning", "asyncjobs", {"message": _OTHER_WORDS.format(key)})
        return await self._wait(asked, park=park)

    async def _wait(self, asked: AskedGate, *, park: bool) -> JobResult:
        """Wait until the gate has ended, and return its result."""
        if asked.status.terminal:
            return await self._access.wait_until_ended(asked.job_id, None)
        ended = await self._access.wait_for_answer(self._context, asked.job_id, park=park)
        if ended is None:
            await interrupt(self._context, self._loop)
        return ended


def _value_of(ended: JobResult, key: str, answer_type: AnswerType | None) -> Any:
    """Return the answer, or raise the error that explains its absence."""
    if ended.status is not JobStatus.COMPLETED:
        error = not_completed(ended)
        error.hint = "retry this job: it asks again"
        error.final = True  # another attempt would find the same
        raise error
    value = ended.value or b""
    if answer_type is None:
        return decode_value(value)
    try:
        return answer_type.read(value)
    except ConversionError as error:
        owner = f"the answer to the question {key!r}"
        misfit = ConversionError(error.where, error.problem, error.expected, owner)
        misfit.hint = "use another key: a question keeps its first wording and options"
        raise misfit from error
