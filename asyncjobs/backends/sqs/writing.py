"""Turn what a plan decided into conditional writes of the table.

The change of one job is one write of its row. What does not fit into the row (the record of an attempt, many events)
goes with it in one transaction; a large result is written before the row, under a name that only the row's write makes
known.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from msgspec import Struct, structs

from asyncjobs.backends.sqs import keys, payloads, rows
from asyncjobs.backends.sqs.loading import Loaded
from asyncjobs.backends.sqs.payloads import Apart
from asyncjobs.backends.sqs.rows import Row
from asyncjobs.backends.sqs.server_clock import StoreClock
from asyncjobs.backends.sqs.table import Update
from asyncjobs.backends.sqs.writing_events import with_events
from asyncjobs.core.plan import Plan, Writes
from asyncjobs.core.state import EdgeRow, EndedAttempt, JobState, NewEvent, Role


class Changed(Struct, frozen=True):
    """A row that was read, as it is to be, with the items that are written in the same transaction."""

    before: Row
    after: Row
    beside: tuple[Update, ...] = ()


class Decided(Struct, frozen=True):
    """What a plan decided, as rows.

    ``apart`` are large values, to be stored before; ``limits`` the keys whose admission is decided anew afterwards.
    ``owed`` are the ids of the jobs that end by it and whose dependents must be settled then, in their order.
    """

    changed: tuple[Changed, ...]
    apart: tuple[Apart, ...]
    events: tuple[tuple[Row, NewEvent], ...]
    owed: tuple[str, ...]
    undecided: frozenset[str] = frozenset()
    """Batches that may have to know of these changes, since they are being submitted at this moment."""
    limits: tuple[str, ...] = ()


class _ByJob:
    """What a plan decided, by the number of the job."""

    def __init__(self, plan: Plan, writes: Writes) -> None:
        self.states = {job.n: job for job in writes.changed}
        self.events = by_job(plan.events)
        self.attempts = dict(writes.attempts)
        self.values = dict(writes.values)
        self.gates = {gate.n: gate for gate in writes.gates}
        self.edges: defaultdict[int, list[EdgeRow]] = defaultdict(list)
        for edge in writes.changed_edges:
            self.edges[edge.child].append(edge)
        self.numbers = dict.fromkeys((*self.states, *self.edges, *self.gates))


class Translator:
    """Makes rows of what plans decide.

    :param workers: the id and the name of a worker, by its number.
    """

    def __init__(self, clock: StoreClock, workers: Mapping[int, tuple[str, str]]) -> None:
        self._clock = clock
        self._workers = workers

    def changes(self, plan: Plan, writes: Writes, view: Loaded) -> Decided:
        """Return the rows that a plan changed, in the order of their first change. It inserted none."""
        found = _ByJob(plan, writes)
        large: list[Apart] = []
        changed = [self._change(n, found, plan, view, large) for n in found.numbers]
        by_number = {change.after.n: change.after for change in changed}
        news = tuple([(by_number[n], event) for n, event in plan.events if n in by_number])
        owed = tuple([by_number[n].id for n in plan.owed if n in by_number and owes(by_number[n])])
        # New jobs take the states of their parents for granted that have ended.
        undecided = frozenset(view.undecided) if any(map(_reopens, changed)) else frozenset[str]()
        removals = frozenset([change.before.removal for change in changed if change.before.removal is not None])
        return Decided(tuple(changed), tuple(large), news, owed, undecided | removals, tuple(plan.limits))

    def _change(self, n: int, found: _ByJob, plan: Plan, view: Loaded, large: list[Apart]) -> Changed:
        before = view.row(n)
        assert before is not None, "a plan changes what it has read"
        after = self.moved(before, found.states.get(n, before.state), plan.now, view)
        if n in found.edges:
            after = _with_edges(after, found.edges[n], view)
        if n in found.gates:
            after = structs.replace(after, gate=found.gates[n])
        if (value := found.values.get(n)) is not None:
            after = _with_value(after, value, large)
        after, beside, data = with_events(after, found.events.get(n, ()))
        large += data
        if (ended := found.attempts.get(n)) is not None:
            after, record = with_attempt(after, ended, before.worker)
            beside = (*beside, record)
        if n in plan.owed and has_dependents(after):
            after = structs.replace(after, owed=True)
        if after.state.steps_from > before.state.steps_from:
            beside = (*beside, _outdated(after))
        if before.state.status.terminal and not after.state.status.terminal:
            beside = (*beside, *_asked_again(after))
        return Changed(before, after, beside)

    def moved(self, before: Row, state: JobState, now: int, view: Loaded) -> Row:
        """Return a row with another state, and what is kept beside that for stores like this one."""
        # Checks of the version by others are not disturbed by the events of a body.
        only_events = state.seq != before.state.seq and structs.replace(state, seq=before.state.seq) == before.state
        due = None
        if state.lasts and state.run_at is not None:
            # An unchanged end of a duration stays as it is stored: the clocks may have moved since it was read.
            kept = before.due is not None and state.seq == before.state.seq
            due = before.due if kept else state.run_at - now + self._clock.steady()
        worker = before.worker
        if state.worker is not None and state.worker != before.state.worker:
            worker = self._workers.get(state.worker, worker)
        parked = None if state.parked is None else view.id_of(state.parked)
        return structs.replace(
            before,
            state=state,
            version=before.version + (not only_events),
            due=due,
            worker=worker,
            parked_id=parked,
            owed=before.owed and state.status.terminal,
            batch=None,
            removal=None,
        )


def in_hand(decided: Decided) -> Decided:
    """Return the same for jobs that a worker holds: its list says what it owes, so they need no place in an index."""
    changed = tuple(
        [structs.replace(change, after=structs.replace(change.after, owed=False)) for change in decided.changed]
    )
    return structs.replace(decided, changed=changed)


def _outdated(row: Row) -> Update:
    """Return the write by which upkeep finds a job whose earlier steps no longer count."""
    entry = {"id": row.id, "n": row.n, "from": row.state.steps_from}
    return Update((keys.OUTDATED, keys.member(row.n, row.id)), new=True, replace=True, set=entry)


def _asked_again(row: Row) -> tuple[Update, ...]:
    """Return the write by which the body that asked a question learns of its end, now that it is open again."""
    asker = row.fixed.parent_key
    if asker is None or row.gate is None or row.gate.asker is None:
        return ()
    entry = (keys.job(*asker), keys.question(row.n, row.id))
    return (Update(entry, new=True, replace=True, set={"id": row.id, "n": row.n}),)


def _reopens(change: Changed) -> bool:
    return change.before.state.status.terminal and not change.after.state.status.terminal


def has_dependents(row: Row) -> bool:
    """Return whether the end of this job decides about others: its dependents, its questions, who asked it."""
    asked = row.state.role is Role.GATE and row.gate is not None and row.gate.asker is not None
    return row.kids or row.state.role is Role.ASKER or asked


def owes(row: Row) -> bool:
    """Return whether a job is over and decides about others: it is settled, or is to be."""
    return row.state.status.terminal and has_dependents(row)


def by_job(events: Sequence[tuple[int, NewEvent]]) -> dict[int, list[NewEvent]]:
    """Return events by the number of their job, each in its order."""
    found: defaultdict[int, list[NewEvent]] = defaultdict(list)
    for n, event in events:
        found[n].append(event)
    return dict(found)


def _with_edges(row: Row, edges: Sequence[EdgeRow], view: Loaded) -> Row:
    places = view.places(row, [edge.parent for edge in edges])
    states = list(row.edges)
    opened = 0
    for edge in edges:
        place = places[edge.parent]
        opened += states[place] != edge.state and not edge.state
        states[place] = int(edge.state)
    # Counted, so that a process that settles an edge and slept over its opening is refused.
    return structs.replace(row, edges=tuple(states), reopened=row.reopened + bool(opened))


def _with_value(row: Row, value: bytes, large: list[Apart]) -> Row:
    if len(value) <= payloads.IN_ROW:
        return structs.replace(row, value=value, value_at=None)
    large.append(payloads.apart(row.partition, value))
    return structs.replace(row, value=None, value_at=large[-1].stored)


def with_attempt(row: Row, ended: EndedAttempt, worker: tuple[str, str] | None) -> tuple[Row, Update]:
    """Return a row that knows of the end of an attempt, and the write of the record of that."""
    packed = rows.pack_attempt(ended, worker)
    pk, sk = rows.attempt_key(row, ended.attempt)
    record = Update((pk, sk), new=True, replace=True, set={"a": packed})
    if ended.error is None:
        return row, record
    return structs.replace(row, failed_attempt=ended.attempt), record
