"""Ask people what CrewAI would ask on the terminal: each question is a gate of the job (``current_job().ask_sync``).

A question is known by its content, so an answer is found again after a crash, and never taken for that of another one.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from msgspec import UNSET

from asyncjobs.exceptions import ConfigurationError, JobNotCompletedError
from asyncjobs.integrations.crewai.attempts import Occurrences
from asyncjobs.integrations.crewai.library import crewai_module
from asyncjobs.integrations.crewai.shown import as_text, is_model
from asyncjobs.integrations.crewai.stopping import Brake
from asyncjobs.runtime.context import JobContext
from asyncjobs.runtime.event_data import printable
from asyncjobs.runtime.final_errors import mark_final

_MOST = 12_000
"""Bytes of what is asked about; a question has at most 16 kB with its choices."""
_ANSWER, _TEXT, _TIMEOUT = "answer", "text", "timeout"

_current: ContextVar[Questions | None] = ContextVar("asyncjobs_crewai_questions", default=None)


class Questions:
    """What one run asks. Used from any thread.

    :param brake: ends the run when a question is rejected.
    :param occurrences: numbers equal questions of the attempt.
    """

    def __init__(self, job: JobContext, brake: Brake, occurrences: Occurrences) -> None:
        self._job = job
        self._brake = brake
        self._occurrences = occurrences

    @contextmanager
    def asked(self) -> Generator[None]:
        """Have CrewAI ask here in this context, unless the program has set providers of its own."""
        tasks = crewai_module("crewai.core.providers.human_input")
        install_flow_providers()
        token = _current.set(self)
        try:
            if type(tasks.get_provider()) is not tasks.SyncHumanInputProvider:
                yield
                return
            of_tasks = tasks.set_provider(TaskProvider(self))
            try:
                yield
            finally:
                tasks.reset_provider(of_tasks)
        finally:
            _current.reset(token)

    def ask(self, name: str, message: str, about: object, **options: Any) -> Any:
        """Ask, and return the answer.

        :param name: the task or method that asks.
        :param about: what is asked about.
        :raises HookAborted: the job is to stop.
        """
        question = f"{as_text(message)}\n\n{_cut(about)}" if about is not None else as_text(message)
        question = printable(question)
        digest = hashlib.sha256(question.encode()).hexdigest()[:12]
        number = self._occurrences.count(digest)
        key = f"{name}-{digest}" if number == 1 else f"{name}-{digest}-{number}"
        try:
            return self._job.ask_sync(question, key=key, **options)
        except JobNotCompletedError as error:
            self._brake.pull(error)  # CrewAI would try its agent again, or go on without an answer
            raise
        except BaseException:
            self._brake.check()
            raise


def _cut(about: Any) -> str:
    whole: str = about.model_dump_json() if is_model(about) else as_text(about)
    text = whole.encode("utf-8", "surrogatepass")
    return (text if len(text) <= _MOST else text[:_MOST] + "…".encode()).decode("utf-8", "replace")


# -- tasks with human_input=True


class TaskProvider:
    """Asks for feedback on the answers of agents: ``HumanInputProvider`` of CrewAI's. An empty answer accepts."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions

    def setup_messages(self, context: Any) -> bool:
        """Use the standard messages."""
        return False

    def post_setup_messages(self, context: Any) -> None:
        """Do nothing."""

    def handle_feedback(self, formatted_answer: Any, context: Any) -> Any:
        """Ask until the answer is accepted; the agent improves it after each other feedback."""
        while context.ask_for_human_input:
            feedback = self._ask(formatted_answer, context)
            if not feedback.strip():
                context.ask_for_human_input = False
            else:
                context.messages.append(context._format_feedback_message(feedback))
                formatted_answer = context._invoke_loop()
        return formatted_answer

    async def handle_feedback_async(self, formatted_answer: Any, context: Any) -> Any:
        """``handle_feedback`` on a loop of CrewAI's."""
        while context.ask_for_human_input:
            feedback = await asyncio.to_thread(self._ask, formatted_answer, context)
            if not feedback.strip():
                context.ask_for_human_input = False
            else:
                context.messages.append(context._format_feedback_message(feedback))
                formatted_answer = await context._ainvoke_loop()
        return formatted_answer

    def _ask(self, answer: Any, context: Any) -> str:
        if context._is_training_mode():
            problem = "crew.train() asks at a terminal, which a job has not"
            raise mark_final(ConfigurationError("human_input", True, problem=problem, hint="train it outside of a job"))
        task = context.task
        message = f"Is this right? An empty answer accepts it, any other says what is to be changed: {_name(task)}"
        return self._questions.ask("task", message, answer.output, answer_type=str)

    @staticmethod
    def _get_output_string(answer: Any) -> str:
        return answer.output if isinstance(answer.output, str) else answer.output.model_dump_json()


def _name(task: Any) -> str:
    return as_text(getattr(task, "name", None) or getattr(task, "description", None) or "")[:500]


# -- flows


class FlowProvider:
    """Asks for the feedback and the input of flows, in runs of ours; elsewhere it does as CrewAI does without it."""

    def request_feedback(self, context: Any, flow: Any) -> str:
        """Ask about the output of a method; its outcomes (``emit``) are the choices.

        The method's ``metadata`` may hold ``{"answer": "text"}``, for any text instead of the choices, and
        ``"timeout"`` in seconds, after which its ``default_outcome`` is the answer.
        """
        questions = _current.get()
        if questions is None:
            return str(_console().request_feedback(context, flow))
        wanted: dict[str, Any] = {**(context.metadata or {})}
        choices = None if wanted.get(_ANSWER) == _TEXT else context.emit
        timeout = wanted.get(_TIMEOUT)
        options: dict[str, Any] = {"choices": choices} if choices else {"answer_type": str}
        if timeout is not None:
            default = context.default_outcome
            options |= {"timeout": timeout, "default": UNSET if default is None else default}
        return str(questions.ask(str(context.method_name), context.message, context.method_output, **options))

    def request_input(self, message: str, flow: Any, metadata: dict[str, Any] | None = None) -> Any:
        """Ask for a text: ``Flow.ask()``."""
        questions = _current.get()
        if questions is None:
            return _console().request_input(message, flow, metadata)
        return questions.ask("input", message, None, answer_type=str)


def _console() -> Any:
    return crewai_module("crewai.flow.async_feedback.providers").ConsoleProvider()


_provider = FlowProvider()
_installing = threading.Lock()


def install_flow_providers() -> None:
    """Have flows ask us where the program has set no provider: CrewAI has one setting for the process."""
    config = crewai_module("crewai.flow.flow_config").flow_config
    with _installing:
        if config.hitl_provider is None:
            config.hitl_provider = _provider
        if config.input_provider is None:
            config.input_provider = _provider


def refuse_terminal(flow: Any) -> None:
    """Refuse a flow that would read standard input: it names the console as a provider itself.

    :raises ConfigurationError: it does.
    """
    console: Any = crewai_module("crewai.flow.async_feedback.providers").ConsoleProvider
    methods: Callable[[], Any] = getattr(getattr(flow, "_definition", None), "methods", {}).values
    providers = [getattr(getattr(method, "human_feedback", None), "provider", None) for method in methods()]
    if any(isinstance(provider, console) for provider in [*providers, getattr(flow, "input_provider", None)]):
        problem = "ConsoleProvider reads standard input, which a job has not"
        hint = "leave provider= out: the question is then a gate, which answer_job answers"
        raise mark_final(ConfigurationError("provider", "ConsoleProvider", problem=problem, hint=hint))
