"""Open the gates that bodies ask, and wait for their answers, where the bodies run."""

from __future__ import annotations

from collections.abc import Callable

from asyncjobs.backends.base import AttemptRef, JobBackend, NewJob
from asyncjobs.core.requests import AskedGate
from asyncjobs.models import JobResult
from asyncjobs.runtime.answer_types import AnswerType
from asyncjobs.runtime.context import JobContext
from asyncjobs.runtime.executor import Executor
from asyncjobs.runtime.known_answers import KnownAnswers
from asyncjobs.runtime.queries import Queries


class QuestionAccess:
    """The questions of the bodies of a processor.

    :param answers: keeps the types of answers.
    :param find_executor: returns the executor that runs bodies here now.
    :param must_park: returns whether the worker is too short-lived for bodies to wait for people.
    """

    def __init__(
        self,
        backend: JobBackend,
        queries: Queries,
        answers: KnownAnswers,
        *,
        find_executor: Callable[[], Executor | None],
        must_park: Callable[[], bool],
    ) -> None:
        self._backend = backend
        self._queries = queries
        self._answers = answers
        self._find_executor = find_executor
        self._must_park = must_park

    async def ask_gate(self, attempt: AttemptRef, gate: NewJob, answer_type: AnswerType | None) -> AskedGate:
        """Open the gate of a question, or find it."""
        asked = await self._backend.ask_gate(attempt, gate)
        if answer_type is not None and asked.call == gate.call:
            self._answers.note(asked.job_id, answer_type)
        return asked

    async def wait_for_answer(self, context: JobContext, gate_id: str, *, park: bool) -> JobResult | None:
        """Wait for the end of a gate, with the body's timeout paused. Return None if its job is parked on it."""
        executor = self._find_executor()
        running = None if executor is None else executor.attempts.find(context)
        if running is None:  # the job was reassigned: nothing that the body does is recorded
            return await self._queries.wait_until_ended(gate_id, None)
        if park or self._must_park():
            running.park(gate_id)
            return None
        with running.untimed:
            return await self._queries.wait_until_ended(gate_id, None)
