"""Keep what is known of a run until it fails: its last steps, the conversation of each agent, what is finished."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any, cast

from msgspec import msgpack

from asyncjobs.integrations.crewai.reports import FLOW_STATE, Report, role_and_task
from asyncjobs.integrations.crewai.shown import as_plain, as_text, text_field
from asyncjobs.runtime.event_data import MAX_EVENT_BYTES

AGENT_STATE = "agent_state"
_MOST_STEPS = 20
_LONGEST_MESSAGE = 4_000
_ROOM = MAX_EVENT_BYTES - 4_096
"""Bytes of one event that are filled; the rest is for what stands around the messages."""


class Trail:
    """What happened last in a run. Filled from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._steps: deque[dict[str, Any]] = deque(maxlen=_MOST_STEPS)
        self._conversations: dict[str | None, tuple[str | None, Any]] = {}
        self._finished: list[dict[str, Any]] = []
        self._flow: dict[str, Any] | None = None

    def note_call(self, event: Any) -> None:
        """Keep the messages of an agent's newest call."""
        by = role_and_task(event)
        messages: Any = event.messages
        with self._lock:
            self._conversations[by["role"]] = (
                by["task"],
                list(cast("list[Any]", messages)) if isinstance(messages, list) else messages,
            )

    def note(self, report: Report) -> None:
        """Keep a step of the run."""
        if report.append is not None:
            return  # pieces of what comes as a whole
        with self._lock:
            short = {name: _shortened(value) for name, value in report.data.items() if name != "state"}
            self._steps.append({"type": report.type, **short})
            if report.data.get("kind") == "task":
                self._finished.append(_shortened_fields(report.data))
            if report.type == FLOW_STATE and "state" in report.data:
                self._flow = {"flow": report.data["flow"], "state": report.data["state"]}

    def events(self) -> list[dict[str, Any]]:
        """Return the data of the ``agent_state`` events: one of the whole run, and one of each agent."""
        with self._lock:
            conversations, steps = dict(self._conversations), list(self._steps)
            finished, flow = list(self._finished), self._flow
        whole = {"kind": "run", "steps": steps, "finished": finished, "flow": flow}
        return [_fitting(whole), *(_conversation(role, *rest) for role, rest in conversations.items())]


def _conversation(role: str | None, task: str | None, messages: Any) -> dict[str, Any]:
    """Return the newest messages of an agent that one event takes."""
    given = cast("list[Any]", messages) if isinstance(messages, list) else [{"role": "user", "content": messages}]
    kept: list[Any] = []
    size = 0
    for message in reversed(given):
        shown = _message(message)
        size += len(msgpack.encode(shown))
        if size > _ROOM:
            break
        kept.append(shown)
    total = len(given)
    left_out = {} if len(kept) == total else {"left_out": total - len(kept)}
    return {"kind": "agent", "role": role, "task": task, "messages": kept[::-1], **left_out}


def _message(message: Any) -> Any:
    if not isinstance(message, dict):
        return text_field("content", message, _LONGEST_MESSAGE)
    given = cast("dict[Any, Any]", message)
    content = given.get("content")
    fields = {as_text(name): as_plain(value) for name, value in given.items() if name != "content"}
    return _shortened_fields(fields) | text_field("content", "" if content is None else content, _LONGEST_MESSAGE)


def _fitting(data: dict[str, Any]) -> dict[str, Any]:
    """Return the data with the oldest steps and finished tasks left out, as far as it would be too large."""
    while len(msgpack.encode(data)) > _ROOM:
        if data["steps"]:
            data["steps"] = data["steps"][1:]
        elif data["finished"]:
            data["finished"] = data["finished"][1:]
        else:
            data["flow"] = None
        data["left_out"] = data.get("left_out", 0) + 1
    return data


def _shortened_fields(fields: dict[str, Any]) -> dict[str, Any]:
    return {str(name): _shortened(value) for name, value in fields.items()}


def _shortened(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= _LONGEST_MESSAGE else value[:_LONGEST_MESSAGE] + "…"
    if isinstance(value, (dict, list)):
        plain = as_plain(value)
        return plain if len(msgpack.encode(plain)) <= _LONGEST_MESSAGE else str(plain)[:_LONGEST_MESSAGE] + "…"
    return value
