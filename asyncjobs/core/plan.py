"""Represent one transaction as a value: what was read, and what is to be written.

A backend opens a ``Plan`` over a ``View`` of its rows, runs commands on it (``core.commands``), and writes what the
plan holds, all of it or nothing. So the policy exists once, whatever the store.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from msgspec import Struct, structs

from asyncjobs.core import edges, gates, lifecycle
from asyncjobs.core.requests import Question, StepChange
from asyncjobs.core.state import UNKNOWN_GATE, Change, EdgeRow, EndedAttempt, GateState, JobState, NewEvent, Role
from asyncjobs.models import EdgeState, Isolation, JobStatus, WaitsFor


class View(Protocol):
    """The rows of the store as they were when the transaction began. Methods take sequences, to read in few steps.

    A method may raise an exception of the backend's own, for rows that are not loaded yet. The backend then loads them,
    and runs the command again on a new plan. So commands are pure: until its end, a command changes nothing but its
    plan, neither its arguments nor the position of an iterator among them, and it draws no random numbers.
    """

    def jobs(self, numbers: Sequence[int]) -> Iterable[JobState]:
        """Read the jobs with these numbers; unknown ones are left out."""
        ...

    def numbers(self, ids: Sequence[str]) -> dict[str, int]:
        """Read the numbers of these ids into a new dict; unknown ids are left out."""
        ...

    def edges_from(self, parents: Sequence[int]) -> Iterable[EdgeRow]:
        """Read the edges whose parent is one of these, ordered by parent (as given) and child."""
        ...

    def edges_to(self, children: Sequence[int]) -> Iterable[EdgeRow]:
        """Read the edges whose child is one of these, ordered by child (as given) and parent."""
        ...

    def children(self, parents: Sequence[int]) -> Sequence[int]:
        """Read the numbers of the jobs that were submitted from inside these jobs."""
        ...

    def gates(self, numbers: Sequence[int]) -> Iterable[GateState]:
        """Read the states of these gates; jobs that are not gates, and unknown ones, are left out."""
        ...

    def open_gates(self, askers: Sequence[int]) -> Sequence[int]:
        """Read the numbers of the open gates that these jobs asked, in ascending order."""
        ...

    def call(self, n: int) -> bytes | None:
        """Read the stored call of a job, None if it is not stored or cannot be read: the question of a gate."""
        ...

    def result(self, n: int) -> bytes | None:
        """Read the stored result of a job, None without one."""
        ...


class Record(Struct, frozen=True, gc=False):
    """A job to insert: its row, and the columns that never change."""

    job: JobState
    queue: str
    function: str
    owner: str | None
    parent: int | None
    created_at: int
    timeout: float | None
    capacity: int | None
    call: bytes
    injects: bool
    isolation: Isolation
    metadata: bytes | None


StepWrite = tuple[int, int, StepChange]
"""A change of the steps of a job, with the job's number and generation."""


class Writes(Struct, frozen=True):
    """The decisions of a plan since they were last taken, to be written as they are, in this order."""

    inserted: list[Record]
    new_edges: list[EdgeRow]
    changed: list[JobState]
    changed_edges: list[EdgeRow]
    attempts: list[tuple[int, EndedAttempt]]
    values: list[tuple[int, bytes]]
    capacities: dict[str, int]
    in_progress: dict[str, int]
    steps: list[StepWrite]
    gates: list[GateState]


class Plan:
    """The rows as they will be. Commands read through it, so that each sees what the earlier ones decided.

    :param leaves_dependents: what the ends of jobs decide about others (their dependents, the gates they asked, the
        jobs that are parked on them) is left to the backend, which settles it after the commit by ``settle_children``
        and ``settle_gates``. The plan only lists the ended jobs, in ``owed``.
    """

    def __init__(self, view: View, now: int, *, leaves_dependents: bool = False) -> None:
        self.view = view
        self.now = now
        self.leaves_dependents = leaves_dependents
        self.owed: list[int] = []  # the jobs that ended, in order, if what that decides is left to the backend
        self._jobs: dict[int, JobState] = {}
        self._edges: dict[tuple[int, int], EdgeRow] = {}
        self._gates: dict[int, GateState] = {}
        self.inserted: dict[int, Record] = {}
        self._inserted_ids: dict[str, int] = {}
        self.new_edges: list[EdgeRow] = []
        self.changed: dict[int, None] = {}  # ordered: the order of the first change
        self.changed_edges: dict[tuple[int, int], None] = {}
        self.events: list[tuple[int, NewEvent]] = []
        self.attempts: list[tuple[int, EndedAttempt]] = []
        self.values: list[tuple[int, bytes]] = []
        self.capacities: dict[str, int] = {}
        self.in_progress: dict[str, int] = {}  # by limit key: how much the number in progress changes
        self.limits: dict[str, None] = {}  # keys whose admission must be decided anew
        self.steps: list[StepWrite] = []
        self.changed_gates: dict[int, None] = {}

    # -- reading

    def load(self, numbers: Iterable[int]) -> None:
        """Read those of these jobs that are not loaded yet, all at once."""
        known = self._jobs
        missing = [n for n in numbers if n not in known]
        if missing:
            for job in self.view.jobs(missing):
                known[job.n] = job

    def numbers(self, ids: Sequence[str]) -> dict[str, int]:
        """Return job numbers by id, of stored jobs and of those that this plan inserts."""
        known = self.view.numbers(ids)
        for job_id in ids:
            if job_id in self._inserted_ids:
                known[job_id] = self._inserted_ids[job_id]
        return known

    def get(self, n: int) -> JobState | None:
        """Return a loaded job as it is now; None if there is no such job."""
        return self._jobs.get(n)

    def __getitem__(self, n: int) -> JobState:
        return self._jobs[n]

    def gate(self, n: int) -> GateState | None:
        """Return the state of a gate as it is now; None if there is no such gate."""
        self.load_gates([n])
        return self._gates.get(n)

    def load_gates(self, numbers: Iterable[int]) -> None:
        """Read the states of those of these gates that are not loaded yet, all at once."""
        missing = [n for n in numbers if n not in self._gates]
        if missing:
            self._gates.update((gate.n, gate) for gate in self.view.gates(missing))

    def open_gates(self, askers: Sequence[int]) -> list[int]:
        """Return the gates of these jobs that are open now, by number."""
        among = set(askers)
        found = {*self.view.open_gates(askers), *(n for n, gate in self._gates.items() if gate.asker in among)}
        self.load(found)
        return [n for n in sorted(found) if n in self._jobs and gates.is_open(self._jobs[n])]

    def call(self, n: int) -> bytes | None:
        """Return the call of a job that is stored, or that this plan inserts."""
        record = self.inserted.get(n)
        return self.view.call(n) if record is None else record.call

    def result(self, n: int) -> bytes | None:
        """Return the result of a job that is stored, or that this plan stores."""
        for number, value in reversed(self.values):
            if number == n:
                return value
        return self.view.result(n)

    def question(self, n: int) -> Question | None:
        """Return the question of a gate that is stored, or that this plan inserts; None if it cannot be read."""
        call = self.call(n)
        try:
            return None if call is None else gates.decode_question(call)
        except ValueError:
            return None

    def edges_from(self, parents: Sequence[int]) -> list[EdgeRow]:
        """Return the stored edges from these parents, as they are now."""
        return [self._edges.get((edge.parent, edge.child), edge) for edge in self.view.edges_from(parents)]

    def edges_to(self, children: Sequence[int]) -> list[EdgeRow]:
        """Return the stored edges to these children, as they are now."""
        return [self._edges.get((edge.parent, edge.child), edge) for edge in self.view.edges_to(children)]

    # -- deciding

    def insert(self, record: Record, parents: Sequence[EdgeRow]) -> None:
        """Add a job with its edges."""
        job = record.job
        self._jobs[job.n] = job
        self.inserted[job.n] = record
        self._inserted_ids[job.id] = job.n
        self.new_edges.extend(parents)
        if record.capacity is not None and job.limit is not None:
            self.capacities[job.limit] = record.capacity
            self.limits[job.limit] = None

    def put(self, job: JobState) -> None:
        """Keep a row that changed without an event (its counts, or what it waits for)."""
        before = self._jobs.get(job.n)
        self._jobs[job.n] = job
        self.changed[job.n] = None
        if job.limit is not None:
            self._limited(before, job)

    def apply(self, change: Change) -> None:
        """Keep a transition with its events, its attempt and its value."""
        n = change.job.n
        self.put(change.job)
        for event in change.events:
            self.events.append((n, event))
        if change.ended is not None:
            self.attempts.append((n, change.ended))
        if change.value is not None:
            self.values.append((n, change.value))
        if self.leaves_dependents and change.job.status.terminal:
            self.owed.append(n)

    def put_gate(self, gate: GateState) -> None:
        """Keep the changed state of a gate."""
        self._gates[gate.n] = gate
        self.changed_gates[gate.n] = None

    def edge(self, row: EdgeRow, state: EdgeState) -> None:
        """Change the state of a stored edge."""
        key = (row.parent, row.child)
        self._edges[key] = EdgeRow(row.parent, row.child, row.optional, state)
        self.changed_edges[key] = None

    def take(self) -> Writes:
        """Return the decisions to be written, and start again. Events are kept, in order, until the end."""
        writes = Writes(
            inserted=[
                record if n not in self.changed else structs.replace(record, job=self._jobs[n])
                for n, record in self.inserted.items()
            ],
            new_edges=self.new_edges,
            changed=[self._jobs[n] for n in self.changed if n not in self.inserted],
            changed_edges=[self._edges[key] for key in self.changed_edges],
            attempts=self.attempts,
            values=self.values,
            capacities=self.capacities,
            in_progress=self.in_progress,
            steps=self.steps,
            gates=[self._gates[n] for n in self.changed_gates],
        )
        self.inserted, self.new_edges, self.changed, self.changed_edges = {}, [], {}, {}
        self.attempts, self.values, self.capacities, self.in_progress = [], [], {}, {}
        self.steps, self.changed_gates = [], {}
        return writes

    @property
    def clean(self) -> bool:
        """Return whether there is nothing to write."""
        return not (
            self.inserted
            or self.changed
            or self.changed_edges
            or self.attempts
            or self.values
            or self.capacities
            or self.in_progress
            or self.steps
            or self.changed_gates
        )

    def take_limits(self) -> list[str]:
        """Return the limited keys whose admission must be decided anew once the writes are visible, and forget them."""
        keys = list(self.limits)
        self.limits = {}
        return keys

    def propagate(self, ended: Sequence[int]) -> None:
        """Settle the dependents of jobs that became terminal, level by level, until no further job ends.

        When a job that has asked ends, its open gates end; when a gate ends, its asker is no longer parked. A plan that
        leaves this to its backend has listed the jobs in ``owed`` when they ended.
        """
        if self.leaves_dependents:
            return
        level = list(ended)
        while level:
            closed = self.settle_gates(level)
            open_edges = [edge for edge in self.edges_from(level) if edge.state is EdgeState.OPEN]
            level = closed + self.settle_children(open_edges)

    def settle_children(self, rows: Sequence[EdgeRow]) -> list[int]:
        """Settle these stored open edges of ended parents, one after the other: one level of ``propagate``.

        A child for which an edge was only counted is in ``changed``, too: it differs from its row by ``open`` and
        ``met`` alone. Any other difference is a verdict, which depends on all of its edges.

        :returns: the children that ended because of it.
        """
        self.load(edge.child for edge in rows)
        ended: list[int] = []
        for edge in rows:
            settled = edges.settle(self._jobs[edge.parent], edge.optional)
            self.edge(edge, settled.state)
            child = self._jobs.get(edge.child)  # in a damaged store, an edge may lead nowhere
            if child is not None and self._keep(edges.count_settled(child, settled, self.now)):
                ended.append(child.n)
        return ended

    def settle_gates(self, ended: Sequence[int]) -> list[int]:
        """Settle what these ended jobs, which are loaded, decide about gates.

        The end of a gate is recorded in the log of its asker, which becomes ready if it is parked on that gate. The
        open gates of an ended asker are cancelled.

        :returns: the gates that ended because of it.
        """
        special = [n for n in ended if self._jobs[n].role is not None]
        if not special:
            return []
        askers = [n for n in special if self._jobs[n].role is Role.ASKER]
        self._notify_askers([n for n in special if self._jobs[n].role is Role.GATE])
        closed = self.open_gates(askers) if askers else []
        for n in closed:
            change = lifecycle.cancel(self._jobs[n], self.now)
            assert change is not None, "an open gate is pending"
            self.apply(change)
        return closed

    def load_askers(self, numbers: Sequence[int]) -> dict[int, int]:
        """Read these gates and their askers; return the askers by gate. Gates without an asker were submitted."""
        self.load_gates(numbers)
        found = ((n, self._gates[n].asker) for n in numbers if n in self._gates)
        askers = {n: asker for n, asker in found if asker is not None}
        self.load(askers.values())
        return askers

    def _notify_askers(self, ended: Sequence[int]) -> None:
        """Record the end of these gates in the logs of their askers, and make askers that are parked on them ready."""
        for n, by in self.load_askers(ended).items():
            asker = self._jobs.get(by)
            if asker is None or asker.status.terminal:
                continue
            if asker.waits_for is WaitsFor.ANSWER and asker.parked in (n, UNKNOWN_GATE):
                asker = structs.replace(asker, parked=None, waits_for=lifecycle.waiting_place(asker, self.now))
            self.apply(gates.noted_end(asker, self._jobs[n], self._gates[n], self.now))

    def _keep(self, verdict: JobState | Change) -> bool:
        """Keep what the dependencies of a stored job decide; return whether that ended it."""
        if isinstance(verdict, Change):
            self.apply(verdict)
            return True
        before = self._jobs[verdict.n]
        if verdict.role is not None and gates.is_open(verdict) and not gates.is_open(before):
            return self.open_gate(verdict)
        if verdict != before:
            self.put(verdict)
        return False

    def open_gate(self, job: JobState) -> bool:
        """Open a gate whose dependencies are met. Return whether it failed instead, because it cannot be read."""
        gate = self.gate(job.n) or GateState(job.n)
        question = self.question(job.n)
        if question is None:
            self.apply(lifecycle.give_up(job, gates.UNREADABLE, self.now))
            return True
        asker = None
        if gate.asker is not None:
            self.load([gate.asker])
            asker = self._jobs.get(gate.asker)
        change, state = gates.opened(job, gate, question, self.now, 0 if asker is None else asker.generation)
        self.apply(change)
        self.put_gate(state)
        return False

    def decide(self, n: int) -> bool:
        """Decide a waiting job by its edges as they are now; return whether that ended it."""
        rows = self.edges_to([n])
        self.load(edge.parent for edge in rows)
        rows = [edge for edge in rows if edge.parent in self._jobs]  # in a damaged store one may lead nowhere
        job = self._jobs[n]
        settled = [
            edges.Settled(edge.state, edges.settle(self._jobs[edge.parent], edge.optional).cause)
            for edge in rows
            if edge.state is not EdgeState.OPEN
        ]
        met = sum(edge.state is EdgeState.MET for edge in settled)
        counted = structs.replace(job, open=len(rows) - len(settled), met=met, waits_for=WaitsFor.DEPENDENCIES)
        return self._keep(edges.decide(counted, settled, self.now))

    def _limited(self, before: JobState | None, after: JobState) -> None:
        """Count a limited key; its admission changes when a job comes to it or leaves it."""
        key = after.limit
        assert key is not None
        was = before is not None and before.status is JobStatus.IN_PROGRESS
        runs = after.status is JobStatus.IN_PROGRESS
        if was != runs:
            self.in_progress[key] = self.in_progress.get(key, 0) + (1 if runs else -1)
        claimed = runs and before is not None and before.waits_for is WaitsFor.WORKER
        if not claimed:  # a claim turns an admitted job into a running one, and takes no more room
            self.limits[key] = None
