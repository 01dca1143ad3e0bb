"""Show rows of the table to the core: a view of those that are loaded, which names what is missing.

Commands of the core are pure, so a command whose view lacks something is run again once that is loaded.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from msgspec import Struct, msgpack, structs

from asyncjobs.backends.sqs import batches, keys, payloads, rows
from asyncjobs.backends.sqs.rows import Parent, Row
from asyncjobs.backends.sqs.server_clock import StoreClock
from asyncjobs.backends.sqs.table import Item, Key, Table
from asyncjobs.core.plan import Plan, View
from asyncjobs.core.state import EdgeRow, GateState, JobState
from asyncjobs.exceptions import BackendError
from asyncjobs.models import EdgeState, WaitsFor

T = TypeVar("T")


class Child(Struct, frozen=True):
    """A dependent of a job: its id and number, and the place of the edge among the edges to it."""

    id: str
    n: int
    place: int
    optional: bool = False


class Missing(Struct, frozen=True):
    """What a command wanted to read and was not loaded, each as ids of jobs."""

    rows: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()
    children: tuple[str, ...] = ()
    submitted: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()
    call: str | None = None
    result: str | None = None


class NotLoadedError(Exception):
    """Raised by a ``Loaded`` view; never reaches a caller."""

    def __init__(self, missing: Missing) -> None:
        super().__init__(missing)
        self.missing = missing


class Loaded(View):
    """The rows that were loaded, and what is known to be absent.

    It is used for one command at a time, and takes what is written back in, so that a command that is refused needs
    to read again only what changed.

    :param clock: durations are kept by its steady time, and shown by its wall time as that is now.
    """

    def __init__(self, clock: StoreClock) -> None:
        self._clock = clock
        self._rows: dict[str, Row | None] = {}
        self._ids: dict[int, str] = {}
        self._parents: dict[str, tuple[Parent, ...]] = {}
        self._places: dict[tuple[int, int], int] = {}
        self._children: dict[str, tuple[Child, ...]] = {}
        self._submitted: dict[str, tuple[tuple[str, int], ...]] = {}
        self._questions: dict[str, tuple[tuple[str, int], ...]] = {}
        self._calls: dict[str, bytes | None] = {}
        self._results: dict[str, bytes | None] = {}
        self.undecided: set[str] = set()
        """Batches that may insert rows that were not found: jobs that are submitted at this moment."""

    # -- putting in

    def put(self, job_id: str, row: Row | None) -> None:
        """Keep a row, or that there is none."""
        self._rows[job_id] = row
        if row is not None:
            self._name(row.n, job_id)
            if row.fixed.parent is not None and row.fixed.parent_id is not None:
                self._name(row.fixed.parent, row.fixed.parent_id)
            if row.state.parked is not None and row.parked_id is not None and row.state.parked > 0:
                self._name(row.state.parked, row.parked_id)

    def forget(self, job_id: str) -> None:
        """Read this job anew when it is wanted again, with all that was loaded of it."""
        for known in (self._rows, self._parents, self._children, self._submitted, self._questions, self._results):
            known.pop(job_id, None)

    def row(self, n: int) -> Row | None:
        """Return a loaded row by its number."""
        job_id = self._ids.get(n)
        return None if job_id is None else self._rows.get(job_id)

    def by_id(self, job_id: str) -> Row | None:
        """Return a loaded row."""
        return self._rows.get(job_id)

    def id_of(self, n: int) -> str | None:
        """Return the id of a job whose number was met."""
        return self._ids.get(n)

    def name(self, n: int, job_id: str) -> None:
        """Learn the number of a job that may not be loaded yet."""
        self._name(n, job_id)

    def _name(self, n: int, job_id: str) -> None:
        if self._ids.setdefault(n, job_id) != job_id:
            raise BackendError(f"two jobs have the number {n}: {self._ids[n]!r} and {job_id!r}")

    # -- core.plan.View

    def jobs(self, numbers: Sequence[int]) -> Iterable[JobState]:
        """Return rows by the clock of this moment."""
        ids = [self._ids[n] for n in numbers if n in self._ids]
        self._want_rows(ids)
        return [self._shown(row) for job_id in ids if (row := self._rows[job_id]) is not None]

    def _shown(self, row: Row) -> JobState:
        if row.due is None:
            return row.state
        return structs.replace(row.state, run_at=row.due - self._clock.steady() + self._clock.now())

    def numbers(self, ids: Sequence[str]) -> dict[str, int]:
        """Return the numbers of these ids."""
        plain = [str.__str__(job_id) for job_id in ids]
        self._want_rows(plain)
        return {job_id: row.n for job_id in plain if (row := self._rows[job_id]) is not None}

    def edges_from(self, parents: Sequence[int]) -> Iterable[EdgeRow]:
        """Return the edges from these parents; their states stand in the rows of the children."""
        known = [(n, self._ids[n]) for n in parents if n in self._ids]
        self._want_rows([job_id for _, job_id in known])
        wanted = [job_id for _, job_id in known if (row := self._rows[job_id]) is not None and row.kids]
        lacking = tuple(job_id for job_id in wanted if job_id not in self._children)
        if lacking:
            raise NotLoadedError(Missing(children=lacking))
        self._want_rows([child.id for job_id in wanted for child in self._children[job_id]])
        found: list[EdgeRow] = []
        for n, job_id in known:
            for child in sorted(self._children.get(job_id, ()), key=lambda child: child.n):
                row = self._rows[child.id]
                if row is not None and row.n == child.n and child.place < len(row.edges):
                    found.append(EdgeRow(n, child.n, child.optional, EdgeState(row.edges[child.place])))
        return found

    def edges_to(self, children: Sequence[int]) -> Iterable[EdgeRow]:
        """Return the edges to these children, by the numbers of the parents."""
        found: list[EdgeRow] = []
        for row in self._existing(children):
            edges = rows.edge_rows(row, self.parents_of(row))
            found.extend(sorted(edges, key=lambda edge: edge.parent))
        return found

    def parents_of(self, row: Row) -> tuple[Parent, ...]:
        """Return the parents of a job, in the order of its edges."""
        parents = self._parents.get(row.id) if row.parents is None else row.parents
        if parents is None:
            raise NotLoadedError(Missing(parents=(row.id,)))
        for parent in parents:
            self._name(parent.n, parent.id)
        return parents

    def place(self, parent: int, child: Child) -> None:
        """Learn the place of an edge, as an entry of the parent has it: the child may have many other parents."""
        self._places[parent, child.n] = child.place

    def places(self, row: Row, parents: Sequence[int]) -> dict[int, int]:
        """Return the places of the edges from these parents in the row of a job."""
        known = {n: self._places[n, row.n] for n in parents if (n, row.n) in self._places}
        if len(known) < len(parents):
            return {parent.n: place for place, parent in enumerate(self.parents_of(row))}
        return known

    def need_places(self, edges: Iterable[tuple[int, int]]) -> None:
        """Make sure that the places of these edges, each given by its parent and its child, are known."""
        by_child: defaultdict[int, list[int]] = defaultdict(list)
        for parent, child in edges:
            by_child[child].append(parent)
        for row in self._existing(list(by_child)):
            self.places(row, by_child[row.n])

    def children(self, parents: Sequence[int]) -> Sequence[int]:
        """Return the jobs that were submitted from inside these, by number."""
        found = [row.id for row in self._existing(parents)]
        lacking = tuple(job_id for job_id in found if job_id not in self._submitted)
        if lacking:
            raise NotLoadedError(Missing(submitted=lacking))
        return sorted(n for job_id in found for _, n in self._submitted[job_id])

    def gates(self, numbers: Sequence[int]) -> Iterable[GateState]:
        """Return what gates have beside the state, which stands in their rows."""
        return [row.gate for row in self._existing(numbers) if row.gate is not None]

    def open_gates(self, askers: Sequence[int]) -> Sequence[int]:
        """Return the gates that are open among those that these jobs have asked and were not told of."""
        found = [row.id for row in self._existing(askers)]
        lacking = tuple(job_id for job_id in found if job_id not in self._questions)
        if lacking:
            raise NotLoadedError(Missing(questions=lacking))
        asked = [n for job_id in found for _, n in self._questions[job_id]]
        return sorted(row.n for row in self._existing(asked) if row.state.waits_for is WaitsFor.ANSWER)

    def call(self, n: int) -> bytes | None:
        """Return the call of a job."""
        row = self.row(n)
        if row is None or row.fixed.call is not None or not row.fixed.call_parts:
            return None if row is None else row.fixed.call
        if row.id not in self._calls:
            raise NotLoadedError(Missing(call=row.id))
        return self._calls[row.id]

    def result(self, n: int) -> bytes | None:
        """Return the result of a job."""
        row = self.row(n)
        if row is None or row.value_at is None:
            return None if row is None else row.value
        if row.id not in self._results:
            raise NotLoadedError(Missing(result=row.id))
        return self._results[row.id]

    def _existing(self, numbers: Sequence[int]) -> list[Row]:
        ids = [self._ids[n] for n in numbers if n in self._ids]
        self._want_rows(ids)
        return [row for job_id in ids if (row := self._rows[job_id]) is not None]

    def _want_rows(self, ids: Sequence[str]) -> None:
        lacking = tuple(dict.fromkeys(job_id for job_id in ids if job_id not in self._rows))
        if lacking:
            raise NotLoadedError(Missing(rows=lacking))

    # -- loading

    async def load(self, missing: Missing, table: Table) -> None:
        """Read what was missing."""
        if missing.rows:
            for job_id, row in (await read_rows(table, missing.rows, self.undecided)).items():
                self.put(job_id, row)
        await self._load_neighbours(missing, table)
        if missing.call is not None and (row := self._rows.get(missing.call)) is not None:
            self._calls[row.id] = await payloads.read_call(table, row)
        if missing.result is not None and (row := self._rows.get(missing.result)) is not None:
            self._results[row.id] = await payloads.read_value(table, row)

    async def _load_neighbours(self, missing: Missing, table: Table) -> None:
        for row in self._loaded(missing.parents):
            self._parents[row.id] = await read_parents(table, row)
        for row in self._loaded(missing.children):
            self._children[row.id] = await read_children(table, row)
            for child in self._children[row.id]:
                self._name(child.n, child.id)
        for row in self._loaded(missing.submitted):
            self._submitted[row.id] = await self._members(table, row, keys.SUBMITTED)
        for row in self._loaded(missing.questions):
            self._questions[row.id] = await self._members(table, row, keys.QUESTION)

    def _loaded(self, ids: Sequence[str]) -> list[Row]:
        return [row for job_id in ids if (row := self._rows.get(job_id)) is not None]

    async def _members(self, table: Table, row: Row, kind: str) -> tuple[tuple[str, int], ...]:
        found = tuple([(item["id"], int(item["n"])) for item in await table.query_all(row.partition, begins=kind)])
        for member, n in found:
            self._name(n, member)
        return found


async def read_rows(table: Table, ids: Sequence[str], undecided: set[str] | None = None) -> dict[str, Row | None]:
    """Read rows by their ids; of those that do not exist, None.

    :param undecided: takes the batches that may insert some of those.
    """
    wanted = {keys.row(job_id): job_id for job_id in ids}
    found = await existing(table, await table.get(list(wanted)), undecided)
    return {job_id: found.get(key) for key, job_id in wanted.items()}


async def existing(table: Table, items: Mapping[Key, Item], undecided: set[str] | None = None) -> dict[Key, Row]:
    """Return the rows of these items that exist: their batch, if they name one, was committed, and no removal was."""
    named = {batch for item in items.values() for batch in (item.get("batch"), item.get("rm")) if batch is not None}
    committed = await batches.look(table, named) if named else {}
    found: dict[Key, Row] = {}
    for key, item in items.items():
        if "s" not in item:
            continue
        inserted = "batch" not in item or committed[item["batch"]]
        if inserted is None and undecided is not None:
            undecided.add(item["batch"])
        if inserted and not ("rm" in item and committed[item["rm"]]):
            found[key] = rows.read_row(item)
    return found


def as_row(item: Item | None) -> Row | None:
    """Return the row of an item that a write has brought; None also if a batch decides whether it exists."""
    return None if item is None or "s" not in item or "batch" in item or "rm" in item else rows.read_row(item)


_parents_decoder = msgpack.Decoder(tuple[Parent, ...])


async def read_parents(table: Table, row: Row) -> tuple[Parent, ...]:
    """Read the parents of a job that has many, in the order of its edges."""
    parts = await table.query_all(row.partition, begins=keys.PARENTS)
    return tuple([parent for part in parts for parent in _parents_decoder.decode(part["d"])])


async def read_children(table: Table, row: Row) -> tuple[Child, ...]:
    """Read the dependents of a job, in the order of submission."""
    found = await table.query_all(row.partition, begins=keys.CHILD)
    return tuple([Child(item["id"], int(item["n"]), int(item["i"]), "o" in item) for item in found])


Command = Callable[[Plan], T]


async def decide(command: Command[T], view: Loaded, table: Table, clock: StoreClock) -> tuple[T, Plan]:
    """Run a command on a plan over this view, as often as it takes until all that it reads is loaded."""
    while True:
        plan = Plan(view, clock.now(), leaves_dependents=True)
        try:
            result = command(plan)
            view.need_places(plan.changed_edges)
        except NotLoadedError as lacking:
            await view.load(lacking.missing, table)
        else:
            return result, plan
