"""Show gates: question, time of opening, deadline, and answerer."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from msgspec import json

from asyncjobs.cli.output import Output, age, printable, seconds
from asyncjobs.models import Gate, Job, WaitsFor
from asyncjobs.processor import JobProcessor

HEADS = ("id", "question", "since", "until")
"""Columns of a list of jobs that wait for answers."""
_LONGEST = 300
"""Characters of a schema in a line for people."""
_LONGEST_QUESTION = 100
"""Characters of a question in a list."""


async def find_gates(jp: JobProcessor, jobs: Sequence[Job]) -> dict[str, Gate]:
    """Return what each of these jobs waits for, by its id: its own question, or that of the gate it is parked on."""
    asked = {job.id: job.gate for job in jobs if job.gate is not None}
    parked = {job.id: job.parked for job in jobs if job.parked is not None}
    elsewhere = [gate for gate in dict.fromkeys(parked.values()) if gate not in asked]
    found = {job.id: job.gate for job in await jp.backend.get_jobs(elsewhere) if job.gate is not None}
    found |= asked
    return asked | {job_id: found[gate] for job_id, gate in parked.items() if gate in found}


def gate_row(job: Job, gates: Mapping[str, Gate]) -> Sequence[str]:
    """Return the row of a job that waits for an answer."""
    gate = gates.get(job.id)
    question = "" if gate is None else printable(_cut(gate.question, _LONGEST_QUESTION))
    if job.parked is not None:
        question = f"parked on {printable(job.parked)}: {question}"
    since, until = (None, None) if gate is None else (gate.opened_at, gate.deadline)
    return (printable(job.id), question, age(since), _left(until))


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _left(deadline: datetime | None) -> str:
    if deadline is None:
        return "-"
    left = (deadline - datetime.now(UTC)).total_seconds()
    return f"in {seconds(left)}" if left > 0 else "over"


def gate_lines(out: Output, job: Job, gate: Gate) -> Iterator[tuple[str, str]]:
    """Yield the fields of a gate, and for one that is open the commands that end it."""
    yield "question", printable(gate.question)
    if gate.choices is not None:
        yield (
            "choices",
            ", ".join(printable(one) + (" (rejects)" if one in gate.reject_on else "") for one in gate.choices),
        )
    if gate.schema is not None:
        yield "schema", printable(_cut(json.encode(gate.schema).decode(), _LONGEST))
    if gate.asked_by is not None:
        yield "asked by", printable(gate.asked_by)
    if gate.opened_at is not None:
        yield (
            "asked",
            f"{age(gate.opened_at)} ago" + ("" if gate.deadline is None else f", until {_moment(gate.deadline)}"),
        )
    if gate.answered_at is not None:
        by = "" if gate.answered_by is None else f" by {printable(gate.answered_by)}"
        yield "answered", f"{age(gate.answered_at)} ago{by}"
    if job.waits_for is WaitsFor.ANSWER and gate.schema is None:
        value = "" if gate.choices is None else f" {shlex.quote(gate.choices[0])}"
        yield "answer", out.hint(f"asyncjobs jobs answer {shlex.quote(job.id)}{value}")


def _moment(moment: datetime) -> str:
    """Return a moment in local time, with its zone."""
    return moment.astimezone().isoformat(" ", "seconds")
