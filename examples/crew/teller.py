"""What the agents do, as a terminal shows it: their text as it grows, and in the end what it has cost."""

from __future__ import annotations

import re
import sys
from collections import Counter
from typing import Any, TextIO

from asyncjobs import JobEvent

_TROUBLES = {"failed", "cancelled", "interrupted", "released", "retrying"}
_PREFIX = re.compile(r"^\s*(?:Thought:[^\n]*\n+)?Final Answer:\s*")


class Usage:
    """What the attempts of the story have cost, as they report it."""

    def __init__(self) -> None:
        self._newest: dict[tuple[str, int], dict[str, Any]] = {}

    def take(self, event: JobEvent) -> None:
        """Take a report, which has all of its attempt so far."""
        self._newest[event.job_id, event.attempt] = event.data

    def total(self, part: str) -> Counter[str]:
        """Return the sum of all attempts: of ``paid`` or of ``replayed``."""
        return sum((Counter(data[part]) for data in self._newest.values()), Counter[str]())

    def lines(self) -> list[str]:
        """Return what was paid, by agent, and what was replayed."""
        by: dict[str, Counter[str]] = {}
        for data in self._newest.values():
            for one in data["by"]:
                counts = {name: one.get(name, 0) for name in ("requests", "total_tokens")}
                by.setdefault(one["role"] or "the flow itself", Counter()).update(counts)
        rows = [*by.items(), ("paid", self.total("paid")), ("replayed", self.total("replayed"))]
        return [f"  {name:16} {c['requests']:3} answers {c['total_tokens']:7,} tokens" for name, c in rows]


class Teller:
    """Prints events. A text is headed by its agent's name whenever another one has been speaking."""

    def __init__(self, out: TextIO = sys.stdout) -> None:
        self._out = out
        self._speaking: tuple[Any, ...] | None = None
        self._headed: tuple[Any, ...] | None = None
        self.usage = Usage()
        self.roles: list[str] = []
        """Who has begun to write, in this order."""

    def take(self, event: JobEvent) -> None:
        """Print an event, if it is worth it."""
        match event.type:
            case "agent_output":
                self._agent(event)
            case "usage":
                self.usage.take(event)
            case "started" if event.attempt > 1:
                self.say(f"{_name(event)}: attempt {event.attempt}; what was answered before is not asked again")
            case "log" if event.data.get("level") == "info" and event.job_id.endswith(":script"):
                self.say(f"{_name(event)}: {event.data['message']}")
            case "completed" if event.job_id.partition(":")[2].startswith(("panel_", "page_")):
                self.say(f"{_name(event)} is drawn")
            case _ if event.type in _TROUBLES:
                self.say(f"{_name(event)} {event.type} {event.data.get('message') or ''}".rstrip())
            case _:
                pass

    def say(self, line: str) -> None:
        """Print a line between the texts."""
        if self._speaking is not None:
            self._print("\n\n")
        self._speaking = None
        self._print(f"· {line}\n")

    def _agent(self, event: JobEvent) -> None:
        data = event.data
        match data["kind"]:
            case _ if data["role"] is None:
                pass  # the flow itself asks its model, what an answer means
            case "chunk":
                speaking = (event.job_id, event.attempt, data["call"])
                if speaking != self._headed:
                    self._head(data)
                    data = {**data, "text": _PREFIX.sub("", data["text"])}
                elif self._speaking is None:
                    self._print("… ")  # something was said between the pieces of its text
                self._speaking = self._headed = speaking
                self._print(data["text"])
            case "tool":
                arguments = ", ".join(str(value) for value in data["args"].values())
                self.say(f"{data['role']} calls {data['tool']}({arguments}): {data['text']}")
            case "error" | "tool_error" | "call_error" | "task_error":
                self.say(f"{data['role']}: {data['error']}")
            case _:
                pass

    def _head(self, data: dict[str, Any]) -> None:
        self.roles.append(data["role"])
        title = " · ".join(part for part in (data["role"], data["task"]) if part)
        before = "\n" if self._speaking is None else "\n\n"
        self._print(f"{before}━━ {title} {'━' * max(0, 60 - len(title))}\n")

    def _print(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()


def _name(event: JobEvent) -> str:
    return event.job_id.partition(":")[2].replace("_", " ").replace("page 00", "cover") or event.job_id
