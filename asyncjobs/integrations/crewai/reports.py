"""Turn CrewAI's events into those of the job: ``agent_output`` and ``flow_state``.

Selected fields only: whole events hold agents and tasks, and take milliseconds to write down.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from asyncjobs.integrations.crewai.shown import as_plain, as_text, is_internal, name_of, text_field

AGENT_OUTPUT, FLOW_STATE = "agent_output", "flow_state"


class Report(NamedTuple):
    """An event of the job. ``append`` names the field that is a piece of a text."""

    type: str
    data: dict[str, Any]
    append: str | None = None


def report_of(source: Any, event: Any) -> Report | None:
    """Return what is reported of an event of CrewAI's; None for most of them."""
    make = _REPORTS.get(event.type)
    return None if make is None else make(source, event)


def role_and_task(event: Any) -> dict[str, str | None]:
    """Return which agent an event is of, and which task."""
    agent, task = getattr(event, "agent", None), getattr(event, "task", None)
    role = event.agent_role or getattr(agent, "role", None) or getattr(getattr(task, "agent", None), "role", None)
    name = event.task_name or getattr(task, "name", None) or getattr(task, "description", None)
    return {"role": name_of(role), "task": name_of(name)}


# -- agents


def _chunk(kind: str) -> Callable[[Any, Any], Report | None]:
    def make(source: Any, event: Any) -> Report | None:
        if not event.chunk or getattr(event, "tool_call", None) is not None:
            return None  # the arguments of a tool, in pieces
        data = {"kind": kind, **role_and_task(event), "call": event.call_id, "text": as_text(event.chunk)}
        return Report(AGENT_OUTPUT, data, append="text")

    return make


def _thought(source: Any, event: Any) -> Report | None:
    thought = getattr(event.formatted_answer, "thought", None)
    return _output("thought", event, text_field("text", thought)) if thought else None


def _output(kind: str, event: Any, fields: dict[str, Any]) -> Report:
    return Report(AGENT_OUTPUT, {"kind": kind, **role_and_task(event), **fields})


def _answer(source: Any, event: Any) -> Report:
    return _output("answer", event, text_field("text", event.output))


def _lite_answer(source: Any, event: Any) -> Report:
    role = name_of(event.agent_info.get("role"))
    return Report(AGENT_OUTPUT, {"kind": "answer", "role": role, "task": None, **text_field("text", event.output)})


def _task(source: Any, event: Any) -> Report:
    return _output("task", event, text_field("text", event.output.raw))


def _tool_call(source: Any, event: Any) -> Report:
    return _output("tool_call", event, {"tool": name_of(event.tool_name), "args": as_plain(event.tool_args)})


def _tool(source: Any, event: Any) -> Report:
    fields = {"tool": name_of(event.tool_name), "args": as_plain(event.tool_args), "from_cache": bool(event.from_cache)}
    return _output("tool", event, {**fields, **text_field("text", event.output)})


def _tool_error(source: Any, event: Any) -> Report:
    fields = {"tool": name_of(event.tool_name), "args": as_plain(event.tool_args)}
    return _output("tool_error", event, {**fields, **text_field("error", event.error)})


def _error(kind: str) -> Callable[[Any, Any], Report]:
    def make(source: Any, event: Any) -> Report:
        return _output(kind, event, text_field("error", event.error))

    return make


def _lite_error(source: Any, event: Any) -> Report:
    role = name_of(event.agent_info.get("role"))
    return Report(AGENT_OUTPUT, {"kind": "error", "role": role, "task": None, **text_field("error", event.error)})


# -- flows


def _flow(kind: str, fields: Callable[[Any], dict[str, Any]]) -> Callable[[Any, Any], Report | None]:
    def make(source: Any, event: Any) -> Report | None:
        if is_internal(source):
            return None
        return Report(FLOW_STATE, {"kind": kind, "flow": name_of(event.flow_name), **fields(event)})

    return make


def _state(event: Any) -> dict[str, Any]:
    return {"state": as_plain(event.state)}


def _method(event: Any) -> dict[str, Any]:
    return {"method": name_of(event.method_name)}


def _failure(event: Any) -> dict[str, Any]:
    return text_field("error", f"{type(event.error).__name__}: {as_text(event.error)}")


_REPORTS: dict[str, Callable[[Any, Any], Report | None]] = {
    "llm_stream_chunk": _chunk("chunk"),
    "llm_thinking_chunk": _chunk("thinking"),
    "agent_logs_execution": _thought,
    "agent_execution_completed": _answer,
    "agent_execution_error": _error("error"),
    "lite_agent_execution_completed": _lite_answer,
    "lite_agent_execution_error": _lite_error,
    "task_completed": _task,
    "task_failed": _error("task_error"),
    "tool_usage_started": _tool_call,
    "tool_usage_finished": _tool,
    "tool_usage_error": _tool_error,
    "llm_call_failed": _error("call_error"),
    "flow_started": _flow("flow_started", lambda event: {"inputs": as_plain(event.inputs)}),
    "flow_finished": _flow("flow_finished", _state),
    "flow_failed": _flow("flow_failed", _failure),
    "flow_paused": _flow("flow_paused", lambda event: _method(event) | _state(event)),
    "method_execution_started": _flow("method_started", lambda event: _method(event) | _state(event)),
    "method_execution_finished": _flow("method_finished", lambda event: _method(event) | _state(event)),
    "method_execution_failed": _flow("method_failed", lambda event: _method(event) | _failure(event)),
    "method_execution_paused": _flow("method_paused", lambda event: _method(event) | _state(event)),
}
