"""Admit jobs to limited keys: at most as many as a key has slots, the first in the order of claims.

A key has one item for its capacity and one for each taken slot, which names the job that has it: admitting a job takes
a slot and puts the job among the ready ones, in one transaction. A slot whose job is neither ready nor in progress any
more is free, without anybody freeing it. Admission is decided anew after every change of a key, and by the sweep.
"""

from __future__ import annotations

from msgspec import structs

from asyncjobs.backends.sqs import keys
from asyncjobs.backends.sqs.known import Known
from asyncjobs.backends.sqs.loading import Loaded, decide, read_rows
from asyncjobs.backends.sqs.rows import Row
from asyncjobs.backends.sqs.table import WORK, Update
from asyncjobs.backends.sqs.transitions import Transitions
from asyncjobs.backends.values import LimitInfo
from asyncjobs.core import commands, limits
from asyncjobs.core.plan import Plan
from asyncjobs.models import JobStatus, WaitsFor

_CAPACITY = "M"
_SLOT = "S#"


class Limits:
    """The limited keys of the store."""

    def __init__(self, transitions: Transitions, known: Known) -> None:
        self._transitions = transitions
        self._table = transitions.table
        self._known = known

    async def info(self, key: str) -> LimitInfo | None:
        """Return the capacity of a key, and how many of its jobs are in progress."""
        items = await self._table.query_all(keys.named("K", key))
        capacity = next((int(item["c"]) for item in items if item["sk"] == _CAPACITY), None)
        if capacity is None:
            return None
        holders = await read_rows(self._table, [item["id"] for item in items if item["sk"] != _CAPACITY])
        running = [row for row in holders.values() if row is not None and row.state.status is JobStatus.IN_PROGRESS]
        return LimitInfo(key, capacity, len(running))

    async def admit(self, key: str, capacity: int | None = None) -> None:
        """Admit what there is room for, and take back what there is none for any more.

        :param capacity: how many jobs of this key may be in progress from now on: what a submission gave.
        """
        if capacity is not None:
            await self._table.write(Update((keys.named("K", key), _CAPACITY), set={"c": capacity}))
        refusals = 0
        while not await self._admit(key):
            refusals += 1
            await self._transitions.pause(refusals)

    async def _admit(self, key: str) -> bool:
        """Decide once; return False if others decided at the same time."""
        items = await self._table.query_all(keys.named("K", key))
        capacity = next((int(item["c"]) for item in items if item["sk"] == _CAPACITY), None)
        if capacity is None:
            # A process died between a submission and this: its jobs know what they were submitted with.
            waiting = await self._waiting(key, 1)
            capacity = waiting[0].fixed.capacity if waiting else None
            if capacity is None:
                return True
            await self._table.write(Update((keys.named("K", key), _CAPACITY), set={"c": capacity}, absent=("c",)))
        slots = {item["sk"]: (item["id"], int(item["n"])) for item in items if item["sk"] != _CAPACITY}
        holders = await read_rows(self._table, [job_id for job_id, _ in slots.values()])
        held = {slot: row for slot, (job_id, n) in slots.items() if (row := holders[job_id]) is not None and row.n == n}
        running = [row for row in held.values() if row.state.status is JobStatus.IN_PROGRESS]
        ready = {slot: row for slot, row in held.items() if _is_admitted(row)}
        waiting = await self._waiting(key, max(0, capacity - len(running)))
        admission = limits.admit(
            capacity,
            len(running),
            [_candidate(row) for row in ready.values()],
            [_candidate(row) for row in waiting],
        )
        done = True
        for slot, row in ready.items():
            if row.n in admission.demote:
                free_it = Update((keys.named("K", key), slot), delete=True, equal={"n": row.n})
                done &= await self._move(row, WaitsFor.LIMIT, free_it)
        staying = {row.n for row in running} | {row.n for row in ready.values() if row.n not in admission.demote}
        taken = {slot for slot, row in held.items() if row.n in staying}
        free = (f"{_SLOT}{place:06d}" for place in range(1_000_000) if f"{_SLOT}{place:06d}" not in taken)
        for row in waiting:
            if row.n in admission.promote:
                slot = next(free)
                take = Update(
                    (keys.named("K", key), slot),
                    set={"id": row.id, "n": row.n},
                    equal={"n": slots[slot][1]} if slot in slots else {},
                    absent=() if slot in slots else ("pk",),
                )
                done &= await self._move(row, WaitsFor.WORKER, take)
        return done

    async def _waiting(self, key: str, room: int) -> list[Row]:
        """Return the first jobs that wait for this key."""
        if not room:
            return []
        page = await self._table.query(keys.limited(key), index=WORK, limit=room + 20, consistent=False)
        items = await self._table.get([(item["pk"], item["sk"]) for item in page.items])
        ids = {item["id"] for item in items.values()} | self._known.limited(key)
        rows = await read_rows(self._table, sorted(ids)) if ids else {}
        waiting = [row for row in rows.values() if row is not None and _waits(row, key)]
        return sorted(waiting, key=lambda row: (-row.state.priority, row.n))[:room]

    async def _move(self, row: Row, place: WaitsFor, slot: Update) -> bool:
        """Change what a job waits for, and take or free its slot, together."""
        view = Loaded(self._transitions.clock)
        view.put(row.id, row)

        def move(plan: Plan) -> None:
            commands.set_waiting_place(plan, [row.n], place)

        _, plan = await decide(move, view, self._table, self._transitions.clock)
        decided = self._transitions.translator.changes(plan, plan.take(), view)
        if await self._transitions.write(decided, [slot]) is not None:
            self._known.forget(row.id)
            return False
        self._transitions.settled(structs.replace(decided, limits=()))  # of this key it is decided just now
        return True


def _waits(row: Row, key: str) -> bool:
    return row.state.waits_for is WaitsFor.LIMIT and row.state.limit == key


def _is_admitted(row: Row) -> bool:
    return row.state.status is JobStatus.PENDING and row.state.waits_for is WaitsFor.WORKER


def _candidate(row: Row) -> limits.Candidate:
    return limits.Candidate(-row.state.priority, row.n)
