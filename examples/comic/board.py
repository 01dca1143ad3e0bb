"""What is going on, worked out from the stream of events; no drawing here, so that it can be tested."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from .pipeline import STAGES

_ENDS = {"completed", "failed", "cancelled", "skipped"}


class Event(Protocol):
    """The part of a job event that the board reads."""

    @property
    def job_id(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def attempt(self) -> int: ...
    @property
    def data(self) -> dict[str, Any]: ...


@dataclass
class Board:
    """Counts per stage, what runs, what went wrong."""

    stages: dict[str, str]
    order: tuple[str, ...] = STAGES
    running: dict[str, str] = field(default_factory=dict[str, str])
    ended: dict[str, str] = field(default_factory=dict[str, str])
    retries: list[str] = field(default_factory=list[str])
    interrupted: list[str] = field(default_factory=list[str])
    troubles: list[str] = field(default_factory=list[str])
    lost: list[str] = field(default_factory=list[str])
    done_before: int = 0

    @property
    def total(self) -> int:
        """How many jobs there are."""
        return len(self.stages)

    @property
    def done(self) -> int:
        """How many have completed."""
        return sum(status == "completed" for status in self.ended.values())

    @property
    def bad(self) -> list[str]:
        """The jobs that ended otherwise than completed."""
        return [job for job, status in self.ended.items() if status != "completed"]

    def counts(self) -> list[tuple[str, int, int, int]]:
        """Return (stage, done, running, total) for each stage."""
        rows: list[tuple[str, int, int, int]] = []
        for stage in self.order:
            members = [job for job, of in self.stages.items() if of == stage]
            rows.append(
                (
                    stage,
                    sum(self.ended.get(job) == "completed" for job in members),
                    sum(job in self.running for job in members),
                    len(members),
                )
            )
        return rows

    def apply(self, event: Event) -> str | None:
        """Take in one event; return a line of news when something changed that a person wants to know."""
        job, kind = event.job_id, event.type
        line: str | None = None
        if kind == "started":
            self.running[job] = ""
            line = f"{job} started" + (f" (attempt {event.attempt})" if event.attempt > 1 else "")
        elif kind == "progress" and job in self.running:
            self.running[job] = str(event.data.get("message") or "")
        elif kind in _ENDS:
            self.running.pop(job, None)
            self.ended[job] = kind
            line = f"{job} {kind}" + self._why(event)
            if kind != "completed":
                self.lost.append(line)
                self.troubles.append(line)
        elif kind in {"retrying", "released", "interrupted"}:
            self.running.pop(job, None)
            self.ended.pop(job, None)
            if kind == "retrying":
                self.retries.append(job)
            elif kind == "interrupted":
                self.interrupted.append(job)
            line = f"{job} {kind}" + self._why(event)
            self.troubles.append(line)
        return line

    @staticmethod
    def _why(event: Event) -> str:
        text = event.data.get("message") or event.data.get("because") or ""
        return f": {text}" if text else ""
