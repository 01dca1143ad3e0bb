"""Exchange messages with a child process while one attempt runs there."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

import anyio
from anyio.abc import TaskGroup
from msgspec import msgpack

from asyncjobs.core.codec import decode_value
from asyncjobs.exceptions import JobStateError
from asyncjobs.models import JobError, JobStatus, Outcome, OutcomeKind
from asyncjobs.runtime.attempt import RunningAttempt, Stop, final_outcome
from asyncjobs.runtime.isolation.echo import Echo
from asyncjobs.runtime.isolation.output import Output
from asyncjobs.runtime.isolation.process import CHUNK, Process
from asyncjobs.runtime.isolation.protocol import (
    Answer,
    Ask,
    AskGate,
    AwaitAnswer,
    Began,
    BrokenFrameError,
    Emitted,
    Ended,
    Forget,
    GiveAnswer,
    Lent,
    Question,
    Splitter,
    StepQuestion,
    Submit,
    Up,
    Wait,
    decode_job,
    frame,
    read_up,
    refusal,
)
from asyncjobs.runtime.isolation.protocol import Stop as StopFrame
from asyncjobs.runtime.isolation.steps import answer_step
from asyncjobs.runtime.job_access import BodyAccess
from asyncjobs.runtime.lending import BodyStopped

_LOADING = 60.0
"""Shortest time limit in seconds for loading a function; a longer ``timeout`` of the job extends it."""
_CLOSED = 1.0
"""Seconds that a process has to exit after it has closed its pipe."""
_SLACK = 1 << 20
"""Bytes of a frame besides its value: an error with its traceback, an id."""
_MOST_READS = 64
_AT_ONCE = 8192
"""Bytes of small frames, such as the pieces of a text, that are handled before the event loop gets a turn."""


class ProcessDied(Exception):  # noqa: N818 - the name that policies and people see
    """The process of a job ended before its body did."""


class AttemptSession:
    """One attempt in a child process.

    :param grace: seconds between the request to stop and SIGKILL.
    :param cancel_grace: seconds that an awaited body has before that, for its clean-up.
    """

    def __init__(
        self,
        process: Process,
        running: RunningAttempt,
        jobs: BodyAccess,
        max_value_size: int,
        echo: Echo,
        *,
        grace: float,
        cancel_grace: float,
    ) -> None:
        self.began: bool = False
        self._is_async = False
        self.ended: Ended | None = None
        self._process = process
        self._running = running
        self._jobs = jobs
        self._grace = grace
        self._cancel_grace = cancel_grace
        self._patience = anyio.CancelScope()
        """Entered around the wait for the clean-up of a body that was asked to stop."""
        self._splitter = Splitter(max_value_size + _SLACK)
        self._outputs = [
            Output(process.stdout, "stdout", running.context, echo),
            Output(process.stderr, "stderr", running.context, echo),
        ]
        self._left = math.inf
        self._problem: str | None = None
        self._over = anyio.Event()
        self._scope = anyio.CancelScope()
        self._listening: TaskGroup | None = None
        self._answering: TaskGroup | None = None
        self._answers: dict[int, anyio.CancelScope] = {}
        self._waits: list[anyio.CancelScope] = []
        """Represents the waits of the body through a processor that it has opened itself."""

    @property
    def succeeded(self) -> bool:
        """Return whether the process can run another job: the body succeeded, and its changes are undone."""
        ended = self.ended
        if ended is None or self._problem is not None:
            return False
        return ended.restored and ended.outcome.kind is OutcomeKind.SUCCEEDED

    async def run(self, call: bytes) -> None:
        """Run the attempt. Return when the body or the process has ended, or when the body ignores a stop request."""
        async with anyio.create_task_group() as listening:
            self._listening = listening
            listening.start_soon(self._watch)
            listening.start_soon(self._listen)
            for output in self._outputs:
                listening.start_soon(output.listen)
            await self._exchange(call)
            listening.cancel_scope.cancel()
        for output in self._outputs:
            output.finish()

    def outcome(self) -> Outcome:
        """Return the outcome of the attempt. Unless it succeeded, the process has ended."""
        outcome: Outcome | None = None
        if self.ended is not None:
            self._running.context.stop_noticed |= self.ended.stop_noticed
            self._running.refused = self.ended.refused
            if self.ended.outcome.kind is not OutcomeKind.CANCELLED:
                outcome = self.ended.outcome
        if self._running.stop_reason is None:
            return outcome or self._died()
        return final_outcome(self._running, outcome)

    def _died(self) -> Outcome:
        what = f"its process {self._process.how_it_ended} before the body did"
        if self._problem is not None:
            what = f"its process had to be killed: it sent an invalid frame ({self._problem})"
        error = JobError("ProcessDied", what, self._outputs[1].tail or None)
        return Outcome(OutcomeKind.FAILED, error=error, retryable=self._running.job.retry.retries(ProcessDied()))

    # -- speaking

    async def _exchange(self, call: bytes) -> None:
        running, timeout = self._running, self._running.job.timeout
        with self._scope as scope:
            running.body = self
            if timeout is not None:
                scope.deadline = anyio.current_time() + max(timeout, _LOADING)
            async with anyio.create_task_group() as answering:
                self._answering = answering
                await self._process.send(call)
                await self._over.wait()
                answering.cancel_scope.cancel()
        self._answering = None
        if self._over.is_set():
            return
        if running.stop_reason is None:
            running.stop(Stop.TIMED_OUT)
        stop = frame(StopFrame())
        if self._is_async:
            with self._patience, anyio.move_on_after(self._cancel_grace):
                await self._process.send(stop)
                await self._over.wait()
                return
        with anyio.move_on_after(self._grace):  # the process is killed afterwards
            await self._process.send(stop)
            await self._over.wait()

    def stop(self) -> None:
        """Ask the body to stop, by a ``Stop`` frame."""
        self._scope.cancel()

    def hurry(self) -> None:
        """Cancel every await of a body that was asked to stop; the body has ``grace`` more seconds."""
        if self._running.stop_reason is not None:
            self._patience.cancel()

    def pause(self) -> None:
        """Pause the timeout of the body until ``resume``."""
        self._left = self._scope.deadline - anyio.current_time()
        self._scope.deadline = math.inf

    def resume(self) -> None:
        """Continue with the remaining time."""
        self._scope.deadline = anyio.current_time() + self._left

    async def _answer(self, question: Question) -> None:
        with anyio.CancelScope() as scope:
            self._answers[question.number] = scope
            try:
                answer = Answer(question.number, msgpack.encode(await self._find_answer(question)))
            except Exception as error:  # border: any error goes to the body, which asked
                answer = Answer(question.number, refusal=refusal(error))
            except BodyStopped:
                answer = Answer(question.number)
            finally:
                del self._answers[question.number]
            await self._process.send(frame(answer))

    async def _find_answer(self, question: Question) -> Any:
        jobs, attempt = self._jobs, self._running.job.attempt
        match question:
            case Submit():
                return await jobs.submit_encoded(attempt, decode_job(question.job))
            case Wait():
                watch = jobs.watch(question.job_ids, question.timeout)
                try:
                    return await watch.next()
                finally:
                    watch.close()
            case Ask() | GiveAnswer():
                return await _decide(jobs, question)
            case AskGate():
                return await jobs.ask_gate(attempt, decode_job(question.gate), None)
            case AwaitAnswer():
                return await jobs.wait_for_answer(self._running.context, question.gate_id, park=question.park)
            case _:
                return await answer_step(question, self._running.context.steps.access)

    async def _refuse(self, number: int) -> None:
        refused = JobStateError(self._running.job.attempt.job_id, "stopping", "it can no longer use other jobs")
        await self._process.send(frame(Answer(number, refusal=refusal(refused))))

    # -- listening

    async def _watch(self) -> None:
        await self._process.exited()
        try:
            for _ in range(_MOST_READS):
                data = self._process.read()
                if not data:
                    break
                self._take(data)
        except BrokenFrameError as error:
            self._problem = str(error)
        self._over.set()

    async def _listen(self) -> None:
        try:
            while True:
                await anyio.wait_readable(self._process.up)
                data = self._process.read(min(CHUNK, max(_AT_ONCE, self._splitter.missing)))
                if data == b"":
                    break
                if data is not None:
                    self._take(data)
        except BrokenFrameError as error:
            self._problem = str(error)
        else:
            with anyio.move_on_after(_CLOSED):
                await self._over.wait()
        self._process.kill()

    def _lend(self, *, waits: bool) -> None:
        """Lend the slot of a body that waits through another processor; ``Stop`` ends such a wait."""
        context = self._running.context
        if context.lender is None:
            return
        if waits:
            self._waits.append(anyio.CancelScope())
            context.lender.lend(context, self._waits[-1])
        elif self._waits:
            context.lender.take_back(context, self._waits.pop())

    def _take(self, data: bytes) -> None:
        for output in self._outputs:
            output.take_rest()  # output that was printed before a report is stored before it
        for body in self._splitter.feed(data):
            if self.ended is None:
                self._handle(read_up(body))

    def _begin(self, message: Began) -> None:
        self._is_async = message.is_async
        if not self.began and self._running.job.timeout is not None:
            self._scope.deadline = anyio.current_time() + self._running.job.timeout
        self.began = True

    def _handle(self, message: Up) -> None:
        # The cases: from the body, its reports, begin, end and waits elsewhere; from the process, withdrawn questions,
        # and questions, which are answered while the body runs and refused afterwards.
        match message:
            case Emitted():
                self._running.context.relay(message.event, message.data, message.append)
            case Began():
                self._begin(message)
            case Ended():
                self.ended = message
                self._over.set()
            case Lent():
                self._lend(waits=message.waits)
            case Forget():
                with suppress(KeyError):
                    self._answers[message.number].cancel()
            case question:
                self._answer_soon(question)

    def _answer_soon(self, question: Question) -> None:
        # A question about steps is answered even after the body was asked to stop, so that finished work is kept.
        if isinstance(question, StepQuestion) and self._listening is not None:
            self._listening.start_soon(self._answer, question)
        elif self._answering is not None and not self._scope.cancel_called:
            self._answering.start_soon(self._answer, question)
        elif self._listening is not None:
            self._listening.start_soon(self._refuse, question.number)


async def _decide(jobs: BodyAccess, question: Ask | GiveAnswer) -> JobStatus:
    """Carry out the body's request about another job, and return the status of that job."""
    if isinstance(question, GiveAnswer):
        if question.value is None:
            return await jobs.reject_job(question.job_id, question.reason, question.by)
        return await jobs.answer_job(question.job_id, decode_value(question.value), question.by, None)
    if question.what == "cancel_job":
        return await jobs.cancel_job(question.job_id, descendants=question.descendants)
    if question.what == "retry_job":
        return await jobs.retry_job(question.job_id, fresh=question.fresh)
    return await jobs.get_status(question.job_id)
