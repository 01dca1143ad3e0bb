"""Keep the answers of language models and the results of tools, and give them to later attempts of the same job.

A call is known by its content (model, messages, tools, the class that is asked for) and by the number of equal calls
that the attempt has made before it. A changed prompt is another call, so no answer is ever wrong. The answer is durable
before the run goes on with it: what an attempt paid for and its job knows of, no later attempt pays for again.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import json
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from msgspec import Struct

from asyncjobs.exceptions import JobStateError, NotSerializableError, SubmissionError
from asyncjobs.integrations.crewai.answers import UnknownAnswerError, read_answer, write_answer
from asyncjobs.integrations.crewai.attempts import Occurrences
from asyncjobs.integrations.crewai.shown import as_content, is_internal
from asyncjobs.integrations.crewai.stopping import Brake
from asyncjobs.integrations.crewai.usage import Usage, tokens_of
from asyncjobs.runtime.context import JobContext

T = TypeVar("T")

_MARK = "__asyncjobs_durable__"
_LLMS = ("llm", "function_calling_llm", "manager_llm", "planning_llm")
_FROM_TASK, _RESPONSE_MODEL = 4, 6
"""Positions of these among the arguments of ``BaseLLM.call``."""

_current: ContextVar[Replay | None] = ContextVar("asyncjobs_crewai_replay", default=None)
_tokens: ContextVar[dict[str, int] | None] = ContextVar("asyncjobs_crewai_tokens", default=None)
_tool: ContextVar[_ToolCall | None] = ContextVar("asyncjobs_crewai_tool", default=None)


def durable(llm: T) -> T:
    """Have the answers of an LLM kept, where a method of a flow calls it itself: ``durable(LLM(model=…)).call(…)``.

    The LLMs of agents need none of it. Returns the same object. Outside of a run it is as before.
    """
    original: Any = getattr(llm, "call", None)
    if not callable(original) or hasattr(original, _MARK):
        return llm
    object.__setattr__(llm, "call", _wrapped(llm, original))
    asynchronous: Any = getattr(llm, "acall", None)
    if callable(asynchronous):
        object.__setattr__(llm, "acall", _wrapped_async(llm, asynchronous))
    return llm


def _wrapped(llm: Any, original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        replay = _current.get()
        return original(*args, **kwargs) if replay is None else replay.call(llm, original, args, kwargs)

    setattr(call, _MARK, True)
    return call


def _wrapped_async(llm: Any, original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def acall(*args: Any, **kwargs: Any) -> Any:
        replay = _current.get()
        return await (original(*args, **kwargs) if replay is None else replay.acall(llm, original, args, kwargs))

    setattr(acall, _MARK, True)
    return acall


class _Call(Struct, frozen=True):
    """A call that is known by its key, and where in the run it was made."""

    key: str
    task: int | None
    methods: frozenset[str]
    model: type | None = None


class _ToolCall(Struct):
    """A call of a tool, from the hook before it to the hook after it."""

    call: _Call
    known: str | None
    failed: bool = False


class Replay:
    """The answers of one run. Used from any thread.

    :param usage: counts what the answers had cost.
    :param brake: ends the run.
    :param occurrences: numbers equal calls of the attempt.
    """

    def __init__(self, job: JobContext, usage: Usage, brake: Brake, occurrences: Occurrences) -> None:
        self._job = job
        self._usage = usage
        self._brake = brake
        self._lock = threading.Lock()
        self._occurrences = occurrences
        self._used: list[_Call] = []
        self._finished_tasks: set[int] = set()
        self._methods: list[str] = []
        """Methods of flows that are running."""
        self._warned = False

    @contextmanager
    def active(self) -> Generator[None]:
        """Have durable LLMs of this context replay."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

    # -- what the run reports

    def take(self, source: Any, event: Any) -> None:
        """Take one of CrewAI's events."""
        match event.type:
            case "crew_kickoff_started" | "agent_execution_started" | "lite_agent_execution_started":
                self._adopt(source)
            case "llm_call_completed":
                self._note_tokens(event.usage)
            case "task_completed":
                with self._lock:
                    self._finished_tasks.add(id(event.task))
            case "tool_usage_error":
                self._note_tool_failed()
            case "method_execution_started" | "method_execution_finished" if not is_internal(source):
                self._note_method(event.method_name, running=event.type == "method_execution_started")
            case _:
                pass

    def _adopt(self, owner: Any) -> None:
        """Make the LLMs of a crew, or of an agent, durable, before their first call."""
        for name in _LLMS:
            durable(getattr(owner, name, None))
        for agent in (*(getattr(owner, "agents", None) or ()), getattr(owner, "manager_agent", None)):
            for name in _LLMS[:2]:
                durable(getattr(agent, name, None))

    def _note_tokens(self, usage: object) -> None:
        """Keep with the answer of the call that is being made what it costs."""
        tokens = _tokens.get()
        if tokens is not None:
            for name, number in tokens_of(usage).items():
                tokens[name] = tokens.get(name, 0) + number

    def _note_method(self, name: str, *, running: bool) -> None:
        """Remember which methods of flows run."""
        with self._lock:
            if running:
                self._methods.append(name)
            elif name in self._methods:
                self._methods.remove(name)

    def _note_tool_failed(self) -> None:
        """Do not keep what the tool that is being called returns: it is the text of an error."""
        tool = _tool.get()
        if tool is not None:
            tool.failed = True

    def forget_unfinished(self) -> None:
        """Forget the answers of tasks and methods that did not finish: a bad one would fail each retry."""
        with self._lock:
            keys = [call.key for call in self._used if not self._is_finished(call)]
        for key in keys:
            self._job.forget_sync(key)

    def _is_finished(self, call: _Call) -> bool:
        if call.task is not None:
            return call.task in self._finished_tasks
        return bool(call.methods) and not call.methods & set(self._methods)

    # -- calls of language models

    def call(self, llm: Any, original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Answer a call, by what is kept or by making it."""
        self._brake.check()
        call = self._of_llm(llm, args, kwargs)
        found, answer = self._kept(call)
        if found:
            return answer
        tokens: dict[str, int] = {}
        token = _tokens.set(tokens)
        try:
            answer = original(*args, **kwargs)
        finally:
            _tokens.reset(token)
        self._keep(call, answer, tokens)
        return answer

    async def acall(self, llm: Any, original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Answer a call that is awaited, on a loop of CrewAI's."""
        self._brake.check()
        call = self._of_llm(llm, args, kwargs)
        found, answer = await asyncio.to_thread(self._kept, call)
        if found:
            return answer
        tokens: dict[str, int] = {}
        token = _tokens.set(tokens)
        try:
            answer = await original(*args, **kwargs)
        finally:
            _tokens.reset(token)
        await asyncio.to_thread(self._keep, call, answer, tokens)
        return answer

    def _of_llm(self, llm: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> _Call:
        messages = args[0] if args else kwargs.get("messages")
        tools = args[1] if len(args) > 1 else kwargs.get("tools")
        task = args[_FROM_TASK] if len(args) > _FROM_TASK else kwargs.get("from_task")
        model = args[_RESPONSE_MODEL] if len(args) > _RESPONSE_MODEL else kwargs.get("response_model")
        schema = None if model is None else [model.__qualname__, model.model_json_schema()]
        return self._next("llm", [getattr(llm, "model", None), messages, tools, schema], task, model)

    def _next(self, kind: str, content: Any, task: Any, model: type | None = None) -> _Call:
        """Return the call with this content, numbered among the equal calls of this attempt."""
        text = json.dumps(content, sort_keys=True, default=as_content)
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        number = self._occurrences.count(digest)
        with self._lock:
            scope = None if task is None else id(task)
            call = _Call(f"crewai/{kind}/{digest}/{number}.", scope, frozenset(self._methods), model)
            self._used.append(call)
        return call

    def _kept(self, call: _Call) -> tuple[bool, Any]:
        kept: Any = self._job.recall_sync(call.key)
        if kept is None:
            return False, None
        try:
            answer = read_answer(kept["answer"], call.model)
        except UnknownAnswerError as error:
            self._warn(f"an answer that is kept cannot be used, so its call is made again: {error}")
            return False, None
        self._usage.replay(kept["tokens"])
        return True, answer

    def _keep(self, call: _Call, answer: Any, tokens: Mapping[str, int]) -> None:
        """Keep an answer. It is durable when this returns."""
        try:
            self._job.keep_sync(call.key, {"answer": write_answer(answer, call.model), "tokens": dict(tokens)})
        except (UnknownAnswerError, NotSerializableError, SubmissionError) as error:
            self._warn(f"the answer of a call is not kept, so that a later attempt makes it again: {error}")
        except JobStateError:
            self._brake.check()
            raise

    def _warn(self, message: str) -> None:
        if not self._warned:
            self._warned = True
            self._job.log(message, level="warning")

    # -- calls of tools

    def before_tool(self, context: Any) -> bool | None:
        """Say whether a tool is to be called: False, if its result is known."""
        _tool.set(None)
        if getattr(context.tool, "result_as_answer", False):
            return None  # a tool that is not called does not give the answer
        task = context.task
        name = getattr(task, "name", None) or getattr(task, "description", None)
        call = self._next("tool", [context.tool_name, context.tool_input, name], task)
        kept: Any = self._job.recall_sync(call.key)
        _tool.set(_ToolCall(call, kept))
        return None if kept is None else False

    def after_tool(self, context: Any) -> str | None:
        """Return the result that is known, in place of the notice that the tool was not called; or keep it."""
        tool = _tool.get()
        _tool.set(None)
        if tool is None:
            return None
        if tool.known is not None:
            return tool.known
        if not tool.failed and isinstance(context.tool_result, str):
            try:
                self._job.keep_sync(tool.call.key, context.tool_result)
            except (NotSerializableError, SubmissionError) as error:
                self._warn(f"the result of a tool is not kept, so that a later attempt calls it again: {error}")
        return None
