"""A view of a few rows, for tests of what is decided on a plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from asyncjobs.core import gates
from asyncjobs.core.plan import Plan
from asyncjobs.core.requests import NewJob, Question
from asyncjobs.core.retry import DEFAULT_RETRY
from asyncjobs.core.state import EdgeRow, GateState, JobState, NewEvent

NOW = 5_000_000


class Rows:
    """What a store holds: jobs, edges, and what gates have beside their rows."""

    def __init__(
        self,
        jobs: Iterable[JobState],
        edges: Iterable[EdgeRow] = (),
        gates: Iterable[GateState] = (),
        *,
        calls: Mapping[int, bytes] | None = None,
        results: Mapping[int, bytes] | None = None,
        submitted: Mapping[int, Sequence[int]] | None = None,
    ) -> None:
        self._jobs = {job.n: job for job in jobs}
        self._edges = list(edges)
        self._gates = {gate.n: gate for gate in gates}
        self._calls = calls
        self._results = results or {}
        self._submitted = submitted or {}

    def jobs(self, numbers: Sequence[int]) -> Iterable[JobState]:
        return [self._jobs[n] for n in numbers if n in self._jobs]

    def numbers(self, ids: Sequence[str]) -> dict[str, int]:
        return {job.id: job.n for job in self._jobs.values() if job.id in ids}

    def edges_from(self, parents: Sequence[int]) -> Iterable[EdgeRow]:
        return [edge for n in parents for edge in self._edges if edge.parent == n]

    def edges_to(self, children: Sequence[int]) -> Iterable[EdgeRow]:
        return [edge for n in children for edge in self._edges if edge.child == n]

    def children(self, parents: Sequence[int]) -> Sequence[int]:
        return [n for parent in parents for n in self._submitted.get(parent, ())]

    def gates(self, numbers: Sequence[int]) -> Iterable[GateState]:
        return [self._gates[n] for n in numbers if n in self._gates]

    def open_gates(self, askers: Sequence[int]) -> Sequence[int]:
        asked = [gate.n for gate in self._gates.values() if gate.asker in askers]
        return [n for n in asked if n in self._jobs and gates.is_open(self._jobs[n])]

    def call(self, n: int) -> bytes | None:
        """Every gate asks something, unless the calls were given."""
        return encoded() if self._calls is None else self._calls.get(n)

    def result(self, n: int) -> bytes | None:
        return self._results.get(n)


def encoded(default: bytes | None = None) -> bytes:
    """What a gate asks, as it is stored."""
    return gates.encode_question(Question(question="Print?", default=default))


def new(job_id: str, **options: object) -> NewJob:
    return NewJob(id=job_id, function="m:f", call=b"", queue="q", retry=DEFAULT_RETRY, **options)


def types(plan: Plan, n: int) -> list[str]:
    """The events of a job that the plan writes."""
    return [event.type for number, event in plan.events if number == n]


def last(plan: Plan, n: int) -> NewEvent:
    return [event for number, event in plan.events if number == n][-1]
