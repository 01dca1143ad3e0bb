"""Run a crew or a flow inside of a job: listen to it, end it when the job is to stop, keep its answers."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any

from asyncjobs.core.retry import exception_name
from asyncjobs.exceptions import ConfigurationError, JobProcessorError, MissingExtraError
from asyncjobs.integrations.crewai.attempts import attempt_of
from asyncjobs.integrations.crewai.failures import AGENT_STATE, Trail
from asyncjobs.integrations.crewai.library import crewai_module, define_executors
from asyncjobs.integrations.crewai.questions import Questions
from asyncjobs.integrations.crewai.replay import Replay
from asyncjobs.integrations.crewai.reports import report_of, role_and_task
from asyncjobs.integrations.crewai.stopping import Brake, close_streams, hooked
from asyncjobs.integrations.crewai.usage import Usage, tokens_of
from asyncjobs.runtime.context import JobContext, check_cancelled, current_job
from asyncjobs.runtime.final_errors import mark_final

USAGE = "usage"
_current: ContextVar[Run | None] = ContextVar("asyncjobs_crewai_run", default=None)


class Run:
    """One run of CrewAI in an attempt of a job: what listens to it.

    :param durable: keep answers, and replay those of earlier attempts.
    """

    def __init__(self, job: JobContext, *, durable: bool) -> None:
        self.job = job
        self._attempt = attempt = attempt_of(job)
        self.usage = Usage(attempt.usage)
        self.trail = Trail()
        self.brake = Brake(job)
        self.replay = Replay(job, self.usage, self.brake, attempt.calls) if durable else None
        self.questions = Questions(job, self.brake, attempt.questions)
        self._warned = False
        self._reactions: Mapping[str, Callable[[Any, Any], None]] = {
            "llm_call_started": lambda source, event: self.trail.note_call(event),
            "llm_call_completed": self._pay,
            "task_completed": lambda source, event: self.tell_usage(final=False),
        }

    def listen(self, source: Any, event: Any) -> None:
        """Take one of CrewAI's events, in the thread that emits it. What is raised here goes up into that."""
        try:
            self._take(source, event)
        except Exception as error:  # border: fields of events are the user's objects
            if not self._warned:
                self._warned = True
                self.job.log(
                    f"an event of CrewAI's could not be read ({event.type}): {exception_name(type(error))}: {error}",
                    level="warning",
                )
        if event.type == "llm_stream_chunk":
            self.brake.check()

    def _take(self, source: Any, event: Any) -> None:
        if self.replay is not None:
            self.replay.take(source, event)
        report = report_of(source, event)
        if report is not None:
            self.job.emit(report.type, report.data, append=report.append)
            self.trail.note(report)
        react = self._reactions.get(event.type)
        if react is not None:
            react(source, event)

    def _pay(self, source: Any, event: Any) -> None:
        by = role_and_task(event)
        self.usage.pay(by["role"], by["task"], tokens_of(event.usage))

    @contextmanager
    def listening(self) -> Generator[None]:
        """Listen to what CrewAI does in this context, and in what it starts."""
        context, points = crewai_module("crewai.events.stream_context"), crewai_module("crewai.hooks").InterceptionPoint
        hooks: dict[Any, Callable[[Any], Any]] = {
            points.PRE_MODEL_CALL: self.brake.hook,
            points.PRE_STEP: self.brake.hook,
        }
        with ExitStack() as stack:
            stack.enter_context(self.questions.asked())
            if self.replay is not None:
                hooks |= {points.PRE_TOOL_CALL: self.replay.before_tool, points.POST_TOOL_CALL: self.replay.after_tool}
                stack.enter_context(self.replay.active())
            stack.enter_context(hooked(hooks))
            stack.callback(context.reset_stream_sinks, context.add_stream_sink(self.listen))
            yield

    def tell_usage(self, *, final: bool) -> None:
        """Store what the attempt has cost so far, with the runs before this one."""
        self.job.emit(USAGE, self._attempt.usage.report(final=final))

    def tell_state(self) -> None:
        """Store what is known of the run."""
        for data in self.trail.events():
            self.job.emit(AGENT_STATE, data)

    def fail(self, error: BaseException) -> None:
        """Store what is known of a run that failed or was ended. Raise what the job is to end with, if not this."""
        self.tell_state()
        if self.job.stopped:
            close_streams(error)
            check_cancelled()
        if self.brake.error is not None and self.brake.error is not error:
            raise self.brake.error from error
        if self.replay is not None and self.brake.error is None and isinstance(error, Exception):
            try:
                self.replay.forget_unfinished()
            except JobProcessorError as problem:
                self.job.log(f"answers of what did not finish are not forgotten: {problem}", level="warning")


@contextmanager
def running(*, durable: bool = True) -> Generator[Run]:
    """Listen to what CrewAI does in this context, for the job whose body this is.

    Inside of another one it is that one.

    :raises JobStateError: outside of a job. MissingExtraError, ConfigurationError: see ``crewai_module``.
    """
    job = current_job()
    outer = _current.get()
    if outer is not None and outer.job is job:
        yield outer
        return
    try:
        crewai_module()
        define_executors()
    except (MissingExtraError, ConfigurationError) as error:
        raise mark_final(error) from None
    run = Run(job, durable=durable)
    token = _current.set(run)
    try:
        with run.listening():
            try:
                yield run
                if job.stopped:  # during its last call, whose answer nobody waits for
                    run.tell_state()
            except BaseException as error:
                run.fail(error)
                raise
            finally:
                run.tell_usage(final=True)
    finally:
        _current.reset(token)
