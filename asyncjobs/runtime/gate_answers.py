"""Answer gates: check and encode answers, and send them until the store accepts or refuses them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asyncjobs.backends.base import JobBackend
from asyncjobs.backends.transient import patiently
from asyncjobs.clock import Clock
from asyncjobs.core.requests import Answer
from asyncjobs.daemon_threads import in_thread
from asyncjobs.exceptions import JobNotFoundError
from asyncjobs.models import Job, JobStatus
from asyncjobs.runtime import job_log
from asyncjobs.runtime.answers import encode_answer, encode_rejection
from asyncjobs.runtime.argument_checks import checked_id
from asyncjobs.runtime.known_answers import KnownAnswers
from asyncjobs.runtime.suggestions import not_found


class GateAnswers:
    """Answers and rejects gates.

    :param answers: has the answer types of the gates of this process.
    :param largest: maximum size of an answer in bytes.
    :param tries: how often an answer is sent to a store that cannot be reached.
    :param nudge: called when an answer may have made jobs ready.
    """

    def __init__(
        self,
        backend: JobBackend,
        answers: KnownAnswers,
        clock: Clock,
        *,
        largest: int,
        tries: int,
        nudge: Callable[[], None],
    ) -> None:
        self._backend = backend
        self._answers = answers
        self._clock = clock
        self._largest = largest
        self._tries = tries
        self._nudge = nudge

    async def answer_job(self, job_id: str, value: Any, by: object, answer_type: Any) -> JobStatus:
        """Answer a gate; return its new status."""
        given = None if answer_type is None else self._answers.describe(answer_type)
        job = await self._find(job_id)
        known = self._answers.find(job.id) if given is None else given
        if job.gate is None or job.gate.schema is None:
            known = None
        elif known is not None and known.schema != job.gate.schema:
            value = value if given is None else given.fit(value)  # which must also match the requested type
            known = None  # else another gate has this id now
        if known is None and job.gate is not None and job.gate.schema is not None:
            # The library that checks it is imported at the first use, which may take a while.
            answer = await in_thread(encode_answer, job, value, by, None, self._largest, abandon_on_cancel=True)
        else:
            answer = encode_answer(job, value, by, known, self._largest)
        return await self._give(answer, job.group)

    async def reject_job(self, job_id: str, reason: object, by: object) -> JobStatus:
        """Reject a gate; return its new status."""
        job = await self._find(job_id)
        return await self._give(encode_rejection(job, reason, by), job.group)

    async def _find(self, job_id: str) -> Job:
        job_id = checked_id(job_id)
        job = await patiently(lambda _: self._backend.get_job(job_id), tries=self._tries, clock=self._clock)
        if job is None:
            raise await not_found(self._backend, job_id)
        return job

    async def _give(self, answer: Answer, group: str | None) -> JobStatus:
        """Send an answer, again if the response is lost: an answer that was stored is then accepted again."""
        try:
            status = await patiently(lambda _: self._backend.answer_gate(answer), tries=self._tries, clock=self._clock)
        except JobNotFoundError:
            raise await not_found(self._backend, answer.job_id) from None
        self._nudge()
        job_log.log_answered(answer.job_id, group, status, answer.by)
        return status
