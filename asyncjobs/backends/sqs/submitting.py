"""Store submissions: a batch of any size, all of it or nothing.

Up to 100 items are one transaction. A larger batch is staged: its rows are written without a place in any index, and
exist once the item of the batch says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct, msgpack, structs

from asyncjobs.backends.sqs import batches, keys, payloads, rows, sizes
from asyncjobs.backends.sqs.loading import Loaded, decide
from asyncjobs.backends.sqs.numbers import Numbers
from asyncjobs.backends.sqs.payloads import Apart
from asyncjobs.backends.sqs.rows import Fixed, Parent, Row
from asyncjobs.backends.sqs.staging import Batch, free, stage, unchanged, with_dependent
from asyncjobs.backends.sqs.table import LARGEST_BODY, Refused, Table, Update, size_of
from asyncjobs.backends.sqs.transitions import Transitions
from asyncjobs.backends.sqs.workers import owner_known
from asyncjobs.backends.sqs.writing import by_job, has_dependents, with_attempt
from asyncjobs.backends.sqs.writing_events import with_events
from asyncjobs.core import commands
from asyncjobs.core.lanes import Lane
from asyncjobs.core.plan import Plan, Record, Writes
from asyncjobs.core.requests import NewJob
from asyncjobs.core.state import EdgeRow

_IN_ONE = 100
"""Items of a transaction."""
_FEW = 200
"""Bytes of packed parents that a row has itself."""


class Submitting:
    """Submits batches."""

    def __init__(self, transitions: Transitions, numbers: Numbers, announced: Callable[[Lane], None]) -> None:
        self._announced = announced
        self._transitions = transitions
        self._table: Table = transitions.table
        self._numbers = numbers
        self._lanes: set[Lane] = set()
        self._groups: set[str | None] = set()
        self._limits: set[str | None] = set()

    async def enqueue(self, jobs: Sequence[NewJob], parent: tuple[str, int, int] | None) -> list[Row]:
        """Store a batch; return the rows whose dependents must be settled.

        :param parent: (id, attempt, worker) of the job whose body submits.
        """
        for job in jobs:
            sizes.check_dependencies(job)
        refusals = 0
        while True:
            view = Loaded(self._transitions.clock)
            numbers = self._numbers.take(len(jobs), self._transitions.clock.now())

            def command(plan: Plan, numbers: Sequence[int] = numbers, view: Loaded = view) -> list[int]:
                by = None if parent is None else (plan.numbers([parent[0]]).get(parent[0], -1), parent[1], parent[2])
                return commands.enqueue(plan, jobs, numbers, _existing(view), by)

            _, plan = await decide(command, view, self._table, self._transitions.clock)
            owed = await self.store(plan, view)
            if owed is not None:
                return owed
            refusals += 1
            await self._transitions.pause(refusals)

    async def store(self, plan: Plan, view: Loaded, beside: Sequence[Update] = ()) -> list[Row] | None:
        """Write what a plan inserts and changes, in one step; return the rows that owe, None if it was refused.

        :param beside: more writes of that step.
        """
        writes = plan.take()
        batch = translate(plan, writes, view, self._transitions)
        for value in batch.in_bucket:
            payloads.check(self._table, value.value)
        created = [rows.created(row, self._transitions.shards) for row in batch.rows]
        for row, update in zip(batch.rows, created, strict=True):
            sizes.check_row(row, update.set)
        await self._announce(batch.rows)
        if not await self._write(batch, created, beside):
            return None
        self._transitions.limited(plan.take_limits(), writes.capacities)
        for row in (*batch.touched, *batch.rows):
            self._transitions.noticed(row)
        self._transitions.notify(batch.events)
        return list(batch.owed)

    async def _write(self, batch: Batch, created: Sequence[Update], beside: Sequence[Update]) -> bool:
        """Write a batch; return False if it must be decided anew."""
        committed = [
            not await batches.abort(self._table, removal, self._transitions.clock) for removal in batch.removals
        ]
        if any(committed):
            return False
        shards = self._transitions.shards
        updates = [*created, *batch.items, *batch.changed, *beside]
        checks = [unchanged(parent) for parent in batch.parents if not _learns(parent)]
        updates += [rows.changed(parent, with_dependent(parent), shards) for parent in batch.parents if _learns(parent)]
        if batch.by is not None and batch.by not in batch.parents:
            checks.append(unchanged(batch.by))
        size = sum(size_of(update.set) for update in updates)
        if batch.in_bucket or len(updates) + len(checks) > _IN_ONE or size > LARGEST_BODY:
            return await stage(self._transitions, batch, beside)
        if not await self._in_one(updates, checks):
            return False
        for parent in batch.parents:
            if _learns(parent):
                self._transitions.noticed(with_dependent(parent))
        return True

    async def _in_one(self, updates: Sequence[Update], checks: Sequence[Update]) -> bool:
        """Write everything in one step; if it is refused, see to it that it is not by rows that do not exist."""
        if not updates:
            return True
        if len(updates) == 1 and not checks:
            answers = [await self._table.write(updates[0])]
        else:
            answers = await self._table.transact(updates, checks) or []
        refused = [
            (update, answer) for update, answer in zip(updates, answers, strict=False) if isinstance(answer, Refused)
        ]
        for update, answer in refused:
            if update.new and not update.replace:
                await free(self._transitions, answer.item)
        return not answers or isinstance(answers[0], dict)

    async def _announce(self, new: Sequence[Row]) -> None:
        """Make lanes, groups and limited keys known before the first job of each, to those who look for jobs by them.

        A process may die right after it has submitted: then others find by these what it has not done.
        """
        lanes = {row.fixed.lane for row in new} - self._lanes
        groups = {row.state.group for row in new} - self._groups - {None}
        limits = {row.state.limit for row in new} - self._limits - {None}
        owners = {row.fixed.owner for row in new if row.fixed.owner is not None}
        news = [_known(keys.LANES, keys.lane(lane), "l", msgpack.encode(tuple(lane))) for lane in lanes]
        news += [_known(keys.GROUPS, keys.named("G", group), "g", group) for group in groups if group is not None]
        news += [_known(keys.LIMITS, keys.named("K", key), "key", key) for key in limits if key is not None]
        news += [owner_known(owner, self._transitions.clock.lease_time()) for owner in owners]
        for lane in lanes:
            self._announced(lane)
        await self._table.write_all(news)
        self._lanes |= lanes
        self._groups |= groups
        self._limits |= limits


def _known(partition: str, name: str, attribute: str, value: str | bytes) -> Update:
    return Update((partition, name), new=True, replace=True, set={attribute: value})


def _learns(parent: Row) -> bool:
    """Return whether a stored parent must change when it gets a dependent, or must only not have changed.

    Whoever ends it must meet its first dependent: it would leave it waiting otherwise. Whoever retries or removes one
    that has ended must meet every new one.
    """
    return not parent.kids or parent.state.status.terminal or parent.removal is not None


def _existing(view: Loaded) -> commands.Existing:
    def existing(n: int) -> tuple[str, bytes]:
        row = view.row(n)
        assert row is not None, "it was found by its id"
        return row.fixed.function, view.call(n) or b""

    return existing


# -- what a plan inserts, as items


def translate(plan: Plan, writes: Writes, view: Loaded, transitions: Transitions) -> Batch:
    """Return what a plan inserts and changes, as items of the table."""
    events = by_job(plan.events)
    above: dict[int, list[EdgeRow]] = {}
    for edge in writes.new_edges:
        above.setdefault(edge.child, []).append(edge)
    ids = {record.job.n: record.job.id for record in writes.inserted}
    gates = {gate.n: gate for gate in writes.gates}
    attempts = dict(writes.attempts)
    new: dict[int, Row] = {}
    items: list[Update] = []
    large: list[Apart] = []
    has_kids = {edge.parent for edge in writes.new_edges}
    for record in sorted(writes.inserted, key=lambda record: record.job.n):
        parents = tuple(
            [
                Parent(ids.get(edge.parent) or _id(view, edge.parent), edge.parent, edge.optional)
                for edge in above.get(record.job.n, ())
            ]
        )
        states = tuple([int(edge.state) for edge in above.get(record.job.n, ())])
        row, apart, call = _new_row(record, parents, states, plan.now, view, transitions)
        row = structs.replace(row, gate=gates.get(row.n), kids=row.n in has_kids)
        if (ended := attempts.get(row.n)) is not None:
            row, written = with_attempt(row, ended, None)
            apart = [*apart, written]
        row, chunks, data = with_events(row, events.get(row.n, ()))
        large += (*call, *data)
        if row.n in plan.owed and has_dependents(row):
            row = structs.replace(row, owed=True)
        new[row.n] = row
        items += [*apart, *chunks, *_entries(row, parents)]
    stored = _stored(plan, writes, view, transitions, has_kids - set(new))
    large += stored.apart
    items += [update for value in large if not value.in_bucket for update in value.updates()]
    by_number = {**{row.n: row for row in stored.touched}, **new}
    return Batch(
        rows=tuple(new.values()),
        items=tuple(items),
        in_bucket=tuple([value for value in large if value.in_bucket]),
        changed=stored.changed,
        parents=stored.parents,
        by=stored.by,
        touched=stored.touched,
        removals=stored.removals,
        events=tuple([(by_number[n], event) for n, event in plan.events]),
        owed=tuple([row for n in plan.owed if (row := by_number[n]).owed]),
    )


def _id(view: Loaded, n: int) -> str:
    job_id = view.id_of(n)
    assert job_id is not None, "an edge leads to a job that was read"
    return job_id


def _new_row(
    record: Record,
    parents: tuple[Parent, ...],
    states: tuple[int, ...],
    now: int,
    view: Loaded,
    transitions: Transitions,
) -> tuple[Row, list[Update], list[Apart]]:
    state = record.job
    apart: list[Update] = []
    call: list[Apart] = []
    few = not parents or len(msgpack.encode(parents)) <= _FEW
    if not few:
        apart += _parents_apart(keys.job(state.id, state.n), parents)
    if len(record.call) > payloads.CALL_IN_ROW:
        call.append(payloads.call_apart(keys.job(state.id, state.n), record.call))
    fixed = Fixed(
        queue=record.queue,
        function=record.function,
        owner=record.owner,
        parent=record.parent,
        parent_id=None if record.parent is None else _id(view, record.parent),
        created_at=record.created_at,
        timeout=record.timeout,
        capacity=record.capacity,
        injects=record.injects,
        isolation=record.isolation,
        metadata=record.metadata,
        call=None if call else record.call,
        call_parts=sum(each.parts for each in call),
    )
    due = None
    if state.lasts and state.run_at is not None:
        due = state.run_at - now + transitions.clock.steady()
    row = Row(state=state, fixed=fixed, version=1, edges=states, parents=parents if few else None, due=due)
    return row, apart, call


_PARENTS_IN_ONE = 300_000
"""Bytes of packed parents in an item."""


def _parents_apart(partition: str, parents: Sequence[Parent]) -> Iterator[Update]:
    parts: list[list[Parent]] = []
    room = 0
    for parent in parents:
        size = len(msgpack.encode(parent))
        if size > room:
            parts.append([])
            room = _PARENTS_IN_ONE
        parts[-1].append(parent)
        room -= size
    for place, part in enumerate(parts):
        key = (partition, f"{keys.PARENTS}{place:03d}")
        yield Update(key, new=True, replace=True, set={"d": msgpack.encode(part)})


def _entries(row: Row, parents: Sequence[Parent]) -> list[Update]:
    """Return the items by which others find a new job: its parents, the job that submitted it, its group, its owner."""
    found: list[Update] = []
    for place, parent in enumerate(parents):
        key = (keys.job(parent.id, parent.n), keys.child(row.n, row.id))
        optional = {"o": 1} if parent.optional else {}
        found.append(_entry(key, row, i=place, **optional))
    if (by := row.fixed.parent_key) is not None:
        found.append(_entry((keys.job(*by), keys.submitted(row.n, row.id)), row))
        if row.gate is not None and row.gate.asker is not None:
            found.append(_entry((keys.job(*by), keys.question(row.n, row.id)), row))
    if row.state.group is not None:
        found.append(_entry((keys.named("G", row.state.group), keys.member(row.n, row.id)), row))
    if row.fixed.owner is not None:
        found.append(_entry((keys.owned(row.fixed.owner), keys.member(row.n, row.id)), row))
    return found


def _entry(key: tuple[str, str], row: Row, **more: int) -> Update:
    return Update(key, new=True, replace=True, set={"id": row.id, "n": row.n, **more})


class _Stored(Struct, frozen=True):
    """The stored rows that a submission concerns: see ``Batch``."""

    changed: tuple[Update, ...]
    touched: tuple[Row, ...]
    parents: tuple[Row, ...]
    by: Row | None
    removals: frozenset[str]
    apart: tuple[Apart, ...]


def _stored(plan: Plan, writes: Writes, view: Loaded, transitions: Transitions, parents: set[int]) -> _Stored:
    """Return the stored rows that change, and those that must not: the parents, and the job that submits."""
    decided = transitions.translator.changes(plan, _without_inserted(writes), view)
    after = {change.after.n for change in decided.changed}
    changed: list[Update] = []
    touched: list[Row] = []
    for change in decided.changed:
        row = change.after if change.after.n not in parents else structs.replace(change.after, kids=True)
        touched.append(row)
        changed += [rows.changed(change.before, row, transitions.shards), *change.beside]
    submitters = {record.parent for record in writes.inserted if record.parent is not None}
    linked = [_row(view, n) for n in sorted(parents - after)]
    by = [_row(view, n) for n in submitters - after]
    removals = frozenset([row.removal for row in (*linked, *by) if row.removal is not None])
    return _Stored(
        changed=tuple(changed),
        touched=tuple(touched),
        parents=tuple(linked),
        by=next(iter(by), None),
        removals=removals | decided.undecided,
        apart=decided.apart,
    )


def _row(view: Loaded, n: int) -> Row:
    row = view.row(n)
    assert row is not None, "it was read"
    return row


def _without_inserted(writes: Writes) -> Writes:
    new = {record.job.n for record in writes.inserted}
    return structs.replace(
        writes,
        attempts=[(n, ended) for n, ended in writes.attempts if n not in new],
        gates=[gate for gate in writes.gates if gate.n not in new],
    )
