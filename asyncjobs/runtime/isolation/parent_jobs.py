"""Pass requests of bodies for other jobs over the pipe, from a child process to the processor of its worker."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, cast

from msgspec import msgpack

from asyncjobs.backends.base import AttemptRef, NewJob
from asyncjobs.core import plain
from asyncjobs.core.codec import encode_value
from asyncjobs.core.requests import AskedGate
from asyncjobs.exceptions import ConfigurationError, JobStateError
from asyncjobs.models import JobResult, JobStatus
from asyncjobs.runtime.answer_types import ReadBy
from asyncjobs.runtime.answers import checked_giver, checked_reason
from asyncjobs.runtime.asking import Asking
from asyncjobs.runtime.context import JobContext
from asyncjobs.runtime.functions import Functions
from asyncjobs.runtime.gate_requests import GateSubmissions, build_gate_request
from asyncjobs.runtime.isolation.channel import ParentChannel
from asyncjobs.runtime.isolation.protocol import Ask, AskGate, AwaitAnswer, GiveAnswer, Wait, encode_job
from asyncjobs.runtime.isolation.protocol import Submit as SubmitFrame
from asyncjobs.runtime.isolation.steps import AtOnce
from asyncjobs.runtime.job_results import read_value
from asyncjobs.runtime.known_answers import KnownAnswers
from asyncjobs.runtime.requests import build_request
from asyncjobs.runtime.submission import Submissions
from asyncjobs.runtime.waiting import Watch
from asyncjobs.runtime.wakeups import LoopHandle


class ParentJobs:
    """The ``HandleAccess`` of a child process: passes requests to the worker's processor. It cannot stream events."""

    def __init__(self, link: ParentChannel, max_value_size: int) -> None:
        self._link = link
        self._max_value_size = max_value_size
        self._submissions: Submissions | None = None
        self._answers = KnownAnswers()

    async def submit(
        self, parent: AttemptRef, func: Callable[..., Any] | None, args: tuple[Any, ...], options: dict[str, Any]
    ) -> Any:
        """Encode a job in this process, which has its function, or a gate, and have the worker store it."""
        from asyncjobs.runtime.handle import JobHandle  # of a layer above this module

        options["if_exists"] = "return"  # an earlier attempt may have submitted it already
        if self._submissions is None:
            self._submissions = Submissions(Functions(), self._max_value_size)
        if func is None:
            gates = GateSubmissions(self._submissions, self._answers, self._max_value_size)
            asked = build_gate_request(args[0], options)
            job_id = await self._store(gates.encode(asked), parent)
            return JobHandle[Any](job_id, self, gates.find_type(asked))
        if options.get("local"):
            raise ConfigurationError(
                "local",
                True,
                problem="a local job runs in the process that submits it, and this process ends with its job",
                hint="move the function to module level, or do not isolate the job that submits it",
            )
        request = build_request(func, args, options)
        self._submissions.check_options(func)
        return JobHandle(await self._store(self._submissions.encode(request, None), parent), self, func)

    async def _store(self, job: NewJob, parent: AttemptRef) -> str:
        encoded = encode_job(job)
        return msgpack.decode(await self._link.ask(lambda number: SubmitFrame(number, encoded), of=parent), type=str)

    def open_questions(self, context: JobContext, attempt: AttemptRef) -> Asking:
        """Return the questions of an attempt."""
        loop = cast("LoopHandle", AtOnce())
        return Asking(context, attempt, self, loop=loop, largest=self._max_value_size)

    async def ask_gate(self, attempt: AttemptRef, gate: NewJob, answer_type: object) -> AskedGate:
        """Have the worker open the gate of a question."""
        del answer_type  # the worker does not need it
        answer = await self._link.ask(lambda number: AskGate(number, encode_job(gate)), of=attempt)
        return msgpack.decode(answer, type=AskedGate)

    async def wait_for_answer(self, context: JobContext, gate_id: str, *, park: bool) -> JobResult | None:
        """Have the worker wait for the end of a gate, or park the job on it."""
        del context
        answer = await self._link.ask(lambda number: AwaitAnswer(number, gate_id, park))
        return msgpack.decode(answer, type=JobResult | None)

    async def get_status(self, job_id: str) -> JobStatus:
        """Ask the worker for the stored status."""
        return await self._status(lambda number: Ask(number, "get_status", job_id))

    async def cancel_job(self, job_id: str, *, descendants: bool = False) -> JobStatus:
        """Have the worker cancel a job."""
        return await self._status(lambda number: Ask(number, "cancel_job", job_id, descendants))

    async def retry_job(self, job_id: str, *, fresh: bool = False) -> JobStatus:
        """Have the worker run a failed or cancelled job again."""
        return await self._status(lambda number: Ask(number, "retry_job", job_id, fresh=fresh))

    async def _status(self, question: Callable[[int], Ask | GiveAnswer]) -> JobStatus:
        return msgpack.decode(await self._link.ask(question), type=JobStatus)

    async def wait_until_ended(self, job_id: str, timeout: float | None) -> JobResult:
        """Wait for the end of a job."""
        return (await self.next_ended([job_id], timeout))[0]

    def watch(self, job_ids: Sequence[str], timeout: float | None) -> Watch:
        """Begin to wait for several jobs, in the order in which they end."""
        return cast("Watch", _Watch(self, job_ids, timeout))

    async def next_ended(self, job_ids: Sequence[str], timeout: float | None) -> list[JobResult]:
        """Wait for the next of these jobs to end."""
        answer = await self._link.ask(lambda number: Wait(number, list(map(str, job_ids)), timeout))
        return msgpack.decode(answer, type=list[JobResult])

    async def answer_job(self, job_id: str, value: Any, by: object, answer_type: Any) -> JobStatus:
        """Have the worker answer a gate, once the value fits what this process knows of it."""
        if answer_type is None:
            value = plain.json_copy(value, "$.value")
        else:
            value = self._answers.describe(answer_type).fit(value)
        encoded, by = encode_value(value, "$.value"), checked_giver(by)
        return await self._status(lambda number: GiveAnswer(number, job_id, by, value=encoded))

    async def reject_job(self, job_id: str, reason: object, by: object) -> JobStatus:
        """Have the worker reject a gate."""
        text, by = checked_reason(reason), checked_giver(by)
        return await self._status(lambda number: GiveAnswer(number, job_id, by, reason=text))

    def value_of(self, result: JobResult, func: ReadBy | None) -> Any:
        """Return the value of a job's result, or raise its error."""
        return read_value(result, func)

    def stream_job(self, job_id: str, after: str | None = None) -> Any:
        """Refuse to stream: the protocol has no events."""
        raise JobStateError(
            job_id,
            "another job",
            "its events cannot be read in a child process",
            hint="await its result, or open a JobProcessor(enable_daemon=False) on the same store",
        )


class _Watch:
    """The ``waiting.Watch`` of a child process; the worker's processor watches the jobs."""

    def __init__(self, jobs: ParentJobs, job_ids: Sequence[str], timeout: float | None) -> None:
        self._jobs = jobs
        self._left = dict.fromkeys(job_ids)
        self._until = None if timeout is None else time.monotonic() + timeout

    async def next(self) -> list[JobResult]:
        if not self._left:
            return []
        left = None if self._until is None else max(0.0, self._until - time.monotonic())
        ended = await self._jobs.next_ended(list(self._left), left)
        for result in ended:
            self._left.pop(result.job_id, None)
        return ended

    def close(self) -> None:
        """Do nothing: no resource is held between two waits."""
