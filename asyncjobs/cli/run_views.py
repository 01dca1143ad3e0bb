"""Show the run of a crew or flow in ``asyncjobs jobs show``: what it has cost, and how it failed."""

from __future__ import annotations

from typing import Any, cast

from msgspec import Struct, json

from asyncjobs.cli.context import Context
from asyncjobs.cli.failures import Failure
from asyncjobs.cli.output import printable
from asyncjobs.core.json_values import json_value
from asyncjobs.models import Job
from asyncjobs.plurals import counted
from asyncjobs.processor import JobProcessor

_KINDS = ("crew", "flow")
_USAGE, _STATE = "usage", "agent_state"
_LONGEST = 300
"""Characters of a step in a line for people."""


class RunView(Struct, frozen=True):
    """The newest ``usage`` of a run, and the ``agent_state`` of its newest attempt that has any."""

    usage: dict[str, Any] | None
    agent_state: list[dict[str, Any]]


async def read_run(context: Context, jp: JobProcessor, job: Job) -> RunView | None:
    """Return what is known of a run; None for other jobs."""
    if job.metadata.get("kind") not in _KINDS:
        return None
    usage: dict[str, Any] | None = None
    states: dict[int, list[dict[str, Any]]] = {}
    async with jp.streamer.reader(job_id=job.id, types=(_USAGE, _STATE)) as reader:
        while True:
            batch = await reader.next(0)
            for event in batch.events:
                data = _redacted(context, dict(event.data))
                if event.type == _USAGE:
                    usage = data
                else:
                    states.setdefault(event.attempt or 0, []).append(data)
            if batch.ended or reader.live:
                return RunView(usage, states[max(states)] if states else [])


def _redacted(context: Context, data: dict[str, Any]) -> dict[str, Any]:
    """Return what may be shown of the data of an event.

    :raises Failure: the function of the setting raised, or returned something else than a dict; nothing is shown then.
    """
    plain: Any = json_value(data)
    if context.redact is None:
        return plain
    try:
        shown: Any = json_value(context.redact("event", plain))
        if not isinstance(shown, dict):
            raise TypeError("it returned no dict for the data of an event")
    except Exception as error:  # border: code of the program
        name = context.settings.redact
        raise Failure(f"redact: {name} failed: {type(error).__name__}: {error}") from error
    return cast("dict[str, Any]", shown)


def run_lines(run: RunView) -> list[tuple[str, str]]:
    """Return a run as lines for people: a label and a text each."""
    lines: list[tuple[str, str]] = []
    if run.usage is not None:
        paid, replayed = _number(run.usage, "paid", "requests"), _number(run.usage, "replayed", "requests")
        tokens = counted(_number(run.usage, "paid", "total_tokens"), "token")
        lines.append(("calls", f"{paid:,} paid in the last attempt ({tokens}), {replayed:,} replayed"))
    for state in run.agent_state:
        if state.get("kind") == "run":
            lines += [("step", _short(step)) for step in _list(state, "steps")[-5:]]
        else:
            messages = counted(len(_list(state, "messages")) + int(state.get("left_out") or 0), "message")
            lines.append(("agent", printable(f"{state.get('role')}: {messages} (--json shows them)")))
    return lines


def _number(usage: dict[str, Any], which: str, name: str) -> int:
    counts: Any = usage.get(which)
    number: Any = cast("dict[str, Any]", counts).get(name) if isinstance(counts, dict) else None
    return number if isinstance(number, int) else 0


def _list(state: dict[str, Any], name: str) -> list[Any]:
    value: Any = state.get(name)
    return cast("list[Any]", value) if isinstance(value, list) else []


def _short(step: object) -> str:
    text = printable(json.encode(step).decode())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
