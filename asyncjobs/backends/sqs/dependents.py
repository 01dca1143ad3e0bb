"""Settle what the end of a job decides: its dependents, the questions of its body, and who waits for its answer.

An ended job with dependents is owed from the write that ended it until the last of them is settled. One that a worker
has run is in the list of what that worker holds; every other one stands in the index of what is owed. Whoever settles
them, and wherever it dies, another process goes on: each edge is settled by one conditional write on the dependent.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum, auto

from msgspec import structs

from asyncjobs.backends.sqs import keys, retries, rows
from asyncjobs.backends.sqs.concurrent import at_once
from asyncjobs.backends.sqs.edges import Edge, is_done, leads, mere_counts, same_place, still_over, verdict_is_due
from asyncjobs.backends.sqs.loading import Child, Loaded, as_row, decide, read_children, read_rows
from asyncjobs.backends.sqs.rows import Row
from asyncjobs.backends.sqs.table import Refused, Update
from asyncjobs.backends.sqs.transitions import Transitions
from asyncjobs.backends.sqs.writing import Decided, owes
from asyncjobs.core import commands
from asyncjobs.core.plan import Plan
from asyncjobs.core.state import EdgeRow, Role
from asyncjobs.models import EdgeState, JobStatus, WaitsFor

_PAGE = 50
"""Jobs, or edges, that are settled together, and rows of one call: more would keep the event loop busy for too long."""


class _Left(Enum):
    """Why an edge was not settled."""

    FOR_LATER = auto()
    """A retry is under way that has opened it, or may have: a later sweep settles it."""
    RETRIED = auto()
    """Its parent is not over any more."""


_Became = Row | _Left | None
"""What became of an edge: the dependent, if it has ended by it and owes others; or why it was not settled."""


class Dependents:
    """Settles ended jobs."""

    def __init__(self, transitions: Transitions) -> None:
        self._transitions = transitions
        self._table = transitions.table

    async def settle(self, ended: Iterable[Row], settled: Callable[[Row], object] = lambda row: None) -> None:
        """Settle these jobs, and those that end because of that, which come after them.

        Those that stand next to each other are settled together: a dependent of many of them is read once, and written
        once for all of their edges that decide nothing.

        :param settled: called with each job that owes nothing any more.
        """
        left = deque(ended)
        while left:
            jobs = [left.popleft() for _ in range(min(_PAGE, len(left)))]
            left.extend(await self._settle(list({(job.id, job.n): job for job in jobs}.values())))
            for job in jobs:
                settled(job)

    async def _settle(self, jobs: Sequence[Row]) -> list[Row]:
        """Settle jobs, and return those that ended because of that, in the order of the edges that decided."""
        ended = [gate for job in jobs for gate in await self._settle_questions(job)]
        children = await at_once(lambda job: read_children(self._table, job), [job for job in jobs if job.kids])
        parents = [job for job in jobs if job.kids]
        edges = [Edge(job, child) for job, of_job in zip(parents, children, strict=True) for child in of_job]
        retried: set[int] = set()
        waiting: set[int] = set()
        for start in range(0, len(edges), _PAGE):
            page = edges[start : start + _PAGE]
            for edge, became in zip(page, await self._settle_page(page), strict=True):
                ended += [became] if isinstance(became, Row) else []
                retried |= {edge.parent.n} if became is _Left.RETRIED else set()
                waiting |= {edge.parent.n} if became is _Left.FOR_LATER else set()
        for job in jobs:
            if job.n in retried:  # it owes nothing now
                continue
            if job.n in waiting and not job.owed:
                await self._owe(job)
            elif job.owed and job.n not in waiting:
                await self._clear(job)
        return ended

    async def _settle_questions(self, job: Row) -> list[Row]:
        """Settle what a job has asked, or who has asked it; return the gates that ended."""
        if job.state.role is Role.ASKER:
            return await self._cancel_questions(job)
        if job.state.role is Role.GATE and job.gate is not None and job.gate.asker is not None:
            await self._notify_asker(job)
        return []

    async def _clear(self, job: Row) -> None:
        """Take a job out of the index of what is owed, unless it changed meanwhile."""
        written = Update(
            keys.row(job.id),
            remove=("ow", "wp", "ws"),
            equal={"v": job.version, "n": job.n},
            present=("ow",),
        )
        answer = await self._table.write(written)
        if not isinstance(answer, Refused):
            self._transitions.noticed(structs.replace(job, owed=False))

    async def _owe(self, job: Row) -> Row | None:
        """Put a job into the index of what is owed, for a sweep; return it as it is then, None if it is not over."""
        while (now := await self._still_over(job)) is not None and not now.owed:
            owed = structs.replace(now, owed=True, version=now.version + 1)
            if not isinstance(await self._table.write(rows.changed(now, owed, self._transitions.shards)), Refused):
                self._transitions.noticed(owed)
                return owed
        return now

    async def owe_opened(self, job: Row) -> list[Row]:
        """Let a job owe its dependents once more, and those that were skipped with it, where edges to them are open.

        :returns: those that owe.
        """
        owing: list[Row] = []
        met, left = {job.n}, deque([job])
        while left:
            over = left.popleft()
            opened = False
            for child, row in await self._children(over):
                opened |= row.edges[child.place] == EdgeState.OPEN
                if row.state.status is JobStatus.SKIPPED and row.n not in met:
                    met.add(row.n)
                    left.append(row)
            if opened and (owed := await self._owe(over)) is not None:
                owing.append(owed)
        return owing

    async def _children(self, job: Row) -> list[tuple[Child, Row]]:
        children = await read_children(self._table, job) if job.kids else ()
        found: list[tuple[Child, Row]] = []
        for start in range(0, len(children), _PAGE):
            page = children[start : start + _PAGE]
            stored = await read_rows(self._table, [child.id for child in page])
            found += [(child, row) for child in page if (row := stored[child.id]) is not None and leads(child, row)]
        return found

    # -- edges

    async def _settle_page(self, edges: Sequence[Edge]) -> list[_Became]:
        """Settle edges, those of one dependent in their order; return what became of each."""
        became: dict[int, _Became] = {}
        while left := {place: edge for place, edge in enumerate(edges) if place not in became}:
            became |= await self._settle_some(left)
        return [became[place] for place in range(len(edges))]

    async def _settle_some(self, edges: Mapping[int, Edge]) -> dict[int, _Became]:
        """Settle the first edges to each dependent, up to one that is written by itself: after that it is read anew."""
        dependents = await read_rows(self._table, [edge.child.id for edge in edges.values()])
        # After its dependents: who reopened one of them did that before, or it has reopened none of them, or is about
        # to retry this job, too.
        reviving = await retries.unfinished(self._table, dependents.values())
        now = await read_rows(self._table, [edge.parent.id for edge in edges.values()])
        became: dict[int, _Became] = {}
        by_child: defaultdict[str, dict[int, Edge]] = defaultdict(dict)
        for place, edge in edges.items():
            parent = still_over(edge.parent, now[edge.parent.id])
            if parent is None:
                became[place] = _Left.RETRIED
            else:
                by_child[edge.child.id][place] = Edge(parent, edge.child)

        async def settle(child: str) -> Sequence[_Became]:
            row = dependents[child]
            if row is not None and not reviving.isdisjoint(row.retries):
                return [_Left.FOR_LATER] * len(by_child[child])
            return await self._settle_edges(list(by_child[child].values()), row)

        for child, found in zip(by_child, await at_once(settle, list(by_child)), strict=True):
            became |= zip(by_child[child], found, strict=False)
        return became

    async def _settle_edges(self, edges: Sequence[Edge], row: Row | None) -> list[_Became]:
        """Settle the first of these edges to one dependent; return what became of each of these."""
        became: list[_Became] = []
        while len(became) < len(edges):
            left = edges[len(became) :]
            if row is None or not leads(left[0].child, row) or is_done(left[0].child, row):
                became.append(None)
                continue
            mere = mere_counts(left, row)
            counted = await self._count(row, mere) if len(mere) > 1 else None
            if not isinstance(counted, Row):
                became.append(await self._settle_edge(left[0].parent, left[0].child, row))
                break
            row = counted
            became += [None] * (len(mere) - 1)  # by the last of them it is looked whether a verdict is due
        return became

    async def _settle_edge(self, parent: Row, child: Child, row: Row | None) -> Row | _Left | None:
        """Settle an edge, once, and give the verdict that is due; return the dependent if it ended and owes others."""
        opened = None if row is None else row.reopened
        over: Row | None = parent
        refusals = 0
        while over is not None and row is not None and leads(child, row):
            decided, mere = await self._decide(over, child, row)
            if decided is None:
                return None
            after = decided.changed[0].after
            counts = {child.place: after.edges[child.place]}
            answer = await self._count(row, counts) if mere else await self._verdict(decided)
            if isinstance(answer, Row):
                if not mere:
                    return answer if owes(answer) else None
                row = answer
                continue
            row = None if answer is None else as_row(answer.item)
            if row is None:
                row = (await read_rows(self._table, [child.id]))[child.id]
            if row is not None and row.reopened != opened:  # a retry came between, perhaps that of this parent
                if await retries.unfinished(self._table, [row]):
                    return _Left.FOR_LATER
                opened, over = row.reopened, await self._still_over(parent)
            refusals += 1
            await self._transitions.pause(refusals)
        return None

    async def _still_over(self, parent: Row) -> Row | None:
        """Return a parent as it is now; None if it is not over any more."""
        return still_over(parent, (await read_rows(self._table, [parent.id]))[parent.id])

    async def _decide(self, parent: Row, child: Child, row: Row) -> tuple[Decided | None, bool]:
        """Decide what an edge does to its dependent, and whether that is a mere count; None: there is nothing to do."""
        counted = row.edges[child.place] != EdgeState.OPEN
        if counted and not verdict_is_due(row):
            return None, False
        view = Loaded(self._transitions.clock)
        view.put(parent.id, parent)
        view.put(row.id, row)
        view.place(parent.n, child)
        command = _decide(child) if counted else _settle(parent, child)
        _, plan = await decide(command, view, self._table, self._transitions.clock)
        decided = self._transitions.translator.changes(plan, plan.take(), view)
        if not decided.changed:
            return None, False
        return decided, not counted and not decided.events and same_place(row, decided.changed[0].after)

    async def _count(self, row: Row, becomes: Mapping[int, int]) -> Row | Refused | None:
        """Count edges, by their places, that decide nothing: no parent that ends meanwhile is in the way of another."""
        states = {f"e[{place}]": state for place, state in becomes.items()}
        written = Update(
            keys.row(row.id),
            set=states,
            add={"v": 1},
            equal={
                **dict.fromkeys(states, int(EdgeState.OPEN)),
                "n": row.n,
                **({"g": row.reopened} if row.reopened else {}),
            },
            absent=() if row.reopened else ("g",),
        )
        answer = await self._table.write(written)
        if isinstance(answer, Refused):
            return answer if answer.item is not None else None
        counted = as_row(answer)
        if counted is not None:
            self._transitions.noticed(counted)
        return counted

    async def _verdict(self, decided: Decided) -> Row | None:
        refused = await self._transitions.write(decided)
        if refused is not None:
            return None
        self._transitions.settled(decided)
        return decided.changed[0].after

    # -- questions

    async def _cancel_questions(self, asker: Row) -> list[Row]:
        """Cancel the open gates of a body that is over; return those that ended."""

        def open_gates(plan: Plan) -> list[int]:
            plan.load([asker.n])
            return plan.open_gates([asker.n])

        view = Loaded(self._transitions.clock)
        view.put(asker.id, asker)
        numbers, _ = await decide(open_gates, view, self._table, self._transitions.clock)
        ended: list[Row] = []
        for n in numbers:
            row = view.row(n)
            assert row is not None, "it was found by its row"
            ended += await self._cancel(row)
        return ended

    async def _cancel(self, gate: Row) -> list[Row]:
        def cancel(plan: Plan) -> None:
            plan.view.numbers([gate.id])
            plan.load([gate.n])
            job = plan.get(gate.n)
            if job is not None and job.waits_for is WaitsFor.ANSWER and job.status is JobStatus.PENDING:
                commands.cancel(plan, [gate.n])

        _, owed = await self._transitions.commit(cancel, [gate])
        return owed

    async def _notify_asker(self, gate: Row) -> None:
        """Write the end of a gate into its asker's log and wake it if it is parked; once, by the entry of the question.

        The entry goes with the same transaction, so nobody does it again.
        """
        asker = gate.fixed.parent_key
        assert asker is not None
        entry = (keys.job(*asker), keys.question(gate.n, gate.id))
        refusals = 0
        while entry in await self._table.get([entry]):
            view = Loaded(self._transitions.clock)
            found = await read_rows(self._table, [gate.id])
            row = found[gate.id]
            if row is None or row.n != gate.n or not row.state.status.terminal:
                return
            view.put(gate.id, row)

            def notify(plan: Plan) -> None:
                plan.load([gate.n])
                plan.settle_gates([gate.n])

            _, plan = await decide(notify, view, self._table, self._transitions.clock)
            decided = self._transitions.translator.changes(plan, plan.take(), view)
            delete = Update(entry, delete=True, present=("pk",))
            if await self._transitions.write(decided, [delete]) is None:
                self._transitions.settled(decided)
                return
            refusals += 1
            await self._transitions.pause(refusals)


def _settle(parent: Row, child: Child) -> Callable[[Plan], None]:
    def settle(plan: Plan) -> None:
        plan.load([parent.n, child.n])
        plan.settle_children([EdgeRow(parent.n, child.n, child.optional, EdgeState.OPEN)])

    return settle


def _decide(child: Child) -> Callable[[Plan], None]:
    def look(plan: Plan) -> None:
        plan.load([child.n])
        plan.decide(child.n)

    return look
