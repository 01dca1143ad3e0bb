"""Run crews and flows in the bodies of jobs, with all that is seen of them, and what they return as it is."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

from asyncjobs.core.retry import exception_name
from asyncjobs.exceptions import ConfigurationError, JobStateError, NotSerializableError
from asyncjobs.integrations.crewai.library import crewai_module
from asyncjobs.integrations.crewai.questions import refuse_terminal
from asyncjobs.integrations.crewai.run import Run, running
from asyncjobs.integrations.crewai.shown import is_model
from asyncjobs.runtime.crewai_inputs import check_inputs, find_unfilled
from asyncjobs.runtime.final_errors import mark_final
from asyncjobs.spellings import nearest

_UNFILLED = "Template variable"
"""In the errors of CrewAI for a placeholder without an input, where there are other inputs."""


@contextmanager
def capturing(*, durable: bool = True) -> Generator[None]:
    """Store what CrewAI does in this block as events of the job, stop with the job, and replay what was paid.

    ::

        def body(topic: str) -> str:
            with capturing():
                return make_crew().kickoff(inputs={"topic": topic}).raw

    :param durable: keep the answers of language models and tools for later attempts.
    :raises JobStateError: outside of a job.
    """
    with running(durable=durable):
        yield


class CrewJobWrapper:
    """Run crews in the bodies of jobs."""

    @staticmethod
    def wrap_crew_run(crew: Any, inputs: dict[str, Any] | None = None) -> Any:
        """Run a crew as part of the job whose body calls this, and return its ``CrewOutput``.

        :param inputs: as for ``crew.kickoff``.
        :raises JobStateError: outside of a job, or in an ``async def`` body. ConfigurationError: it is no crew.
        """
        with running() as run:
            _refuse_on_loop(run, "CrewJobWrapper.wrap_crew_run(…)")
            _check_kind("crew", crew, crewai_module().Crew, "wrap_crew_run(make_crew(), …)")
            return kick_off_crew(run, crew, inputs)


class FlowJobWrapper:
    """Run flows in the bodies of jobs."""

    @staticmethod
    def wrap_flow_run(flow: Any, inputs: dict[str, Any] | None = None) -> Any:
        """Run a flow as part of the job whose body calls this, and return what its last method returned.

        :param inputs: as for ``flow.kickoff``.
        :raises JobStateError: outside of a job, or in an ``async def`` body. ConfigurationError: it is no flow.
        """
        with running() as run:
            _refuse_on_loop(run, "FlowJobWrapper.wrap_flow_run(…)")
            _check_kind("flow", flow, crewai_module().Flow, "wrap_flow_run(MyFlow(), …)")
            return kick_off_flow(flow, inputs)


def _refuse_on_loop(run: Run, call: str) -> None:
    try:
        run.job.refuse_on_loop(call, "write the body as a plain 'def', which runs in a thread")
    except JobStateError as error:
        raise mark_final(error) from None


def _check_kind(what: str, given: object, wanted: type, call: str) -> None:
    if isinstance(given, wanted):
        return
    kind = f"the class {given.__qualname__}" if isinstance(given, type) else exception_name(type(given))
    problem = f"{kind} is not a {what} that was made"
    raise mark_final(ConfigurationError(what, kind, problem=problem, hint=f"give what a factory returns: {call}"))


def kick_off_crew(run: Run, crew: Any, inputs: dict[str, Any] | None) -> Any:
    """Start a crew and wait for its end; also of one that streams, whose pieces come as events."""
    taken = _taken(inputs)
    unfilled = _unfilled(crew, taken or {})
    if not taken:  # then CrewAI fills nothing in
        for name in unfilled:
            warning = f"there is no input {name!r}: the model reads the placeholder {{{name}}} itself"
            run.job.log(warning, level="warning")
    before = run.usage.metrics()
    try:
        output = whole_output(crew.kickoff(inputs=taken))
    except (KeyError, ValueError) as error:
        if taken and unfilled and _UNFILLED in str(error):
            raise mark_final(_missing_input(unfilled, taken)) from error
        raise
    _count_once(output, before, run.usage.metrics())
    return output


def _count_once(output: Any, before: dict[str, int], after: dict[str, int]) -> None:
    """Correct the usage of an output, in which CrewAI has each call once for each agent that shares the LLM."""
    usage: Any = getattr(output, "token_usage", None)
    for name, number in after.items():
        if usage is not None and hasattr(usage, name):
            setattr(usage, name, number - before[name])


def kick_off_flow(flow: Any, inputs: dict[str, Any] | None) -> Any:
    """Start a flow and wait for its end."""
    taken = _taken(inputs)
    refuse_terminal(flow)
    output = whole_output(flow.kickoff(inputs=taken))
    pending: Any = crewai_module("crewai.flow.async_feedback").HumanFeedbackPending
    if isinstance(output, pending):
        raise mark_final(_explained(flow, output))
    return output


def _taken(inputs: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the inputs as CrewAI takes them: of the output of another crew its text, of a model its fields.

    :raises NotSerializableError: it would not take them.
    """
    taken: Any = _plain(inputs)
    try:
        check_inputs(taken)
    except NotSerializableError as error:
        raise mark_final(error) from None
    return taken


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in cast("dict[Any, Any]", value).items()}
    if isinstance(value, list):
        return [_plain(item) for item in cast("list[Any]", value)]
    if not is_model(value):
        return value
    return value.raw if hasattr(value, "tasks_output") else value.model_dump(mode="json")


def _explained(flow: Any, pending: Any) -> BaseException:
    """Return the error of a run that a provider of the program's own has paused, with the way to resume it."""
    of, name = pending.context, type(flow).__name__
    message = (
        f"the flow {of.flow_id!r} waits in {of.method_name}() for feedback that its own provider asks for "
        f"({of.message!r}). No job resumes it: {name}.from_pending({of.flow_id!r}).resume(feedback)"
    )
    return type(pending)(of, pending.callback_info, message)


def whole_output(output: Any) -> Any:
    """Return the output itself of a crew or flow with ``stream=True``, which gives its pieces first."""
    if is_model(output) or not _gives_pieces(output):
        return output
    for _ in output:
        pass
    return output.result


def _gives_pieces(output: object) -> bool:
    kind = type(output)  # not of the object: its result raises before it has been read to its end
    return hasattr(kind, "result") and hasattr(kind, "__iter__")


def _unfilled(crew: Any, inputs: dict[str, Any]) -> list[str]:
    """Return the placeholders of a crew for which there is no input."""
    texts = [text for task in crew.tasks for text in (task.description, task.expected_output)]
    texts += [text for agent in crew.agents for text in (agent.role, agent.goal, agent.backstory)]
    return find_unfilled(texts, inputs)


def _missing_input(unfilled: list[str], inputs: dict[str, Any]) -> ConfigurationError:
    """Return the error for inputs with which CrewAI refuses to begin."""
    name = unfilled[0]
    near = nearest(name, inputs)
    given = ", ".join(map(repr, inputs))
    return ConfigurationError(
        "inputs",
        name,
        problem=f"the crew has a placeholder {{{name}}}, and there is no input of this name",
        hint=f"given are {given}" if near is None else f"did you mean {near!r}? Given are {given}",
    )
