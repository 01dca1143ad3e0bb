"""Run one transaction on the tables: decide on a plan, write it, claim, and notify the listeners."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from itertools import islice
from typing import TypeVar

from msgspec import msgpack

from asyncjobs.backends.base import ClaimRequest, ClaimResult
from asyncjobs.backends.committed_events import CommittedEvents
from asyncjobs.backends.listeners import Listeners
from asyncjobs.backends.memory.queries import Queries
from asyncjobs.backends.memory.tables import Tables
from asyncjobs.clock import Clock
from asyncjobs.core import commands, limits
from asyncjobs.core.lanes import split_lanes
from asyncjobs.core.plan import Plan
from asyncjobs.models import BodyEvent, WaitsFor

T = TypeVar("T")

_DUE_AT_ONCE = 200
"""The most delayed jobs that become ready in one transaction, as in every store."""


class Transactions:
    """The transactions of one store. Nothing is awaited inside one, so each is atomic for all other tasks."""

    def __init__(self, tables: Tables, queries: Queries, clock: Clock, listeners: Listeners) -> None:
        self._tables = tables
        self._queries = queries
        self._clock = clock
        self._listeners = listeners

    def commit(self, command: Callable[[Plan], T], claim: ClaimRequest | None = None) -> tuple[T, ClaimResult]:
        """Run a command, fill the limits that changed, and claim. Events become visible with what they report.

        A command that raises leaves the tables as they were.
        """
        plan = Plan(self._tables, self._clock.now())
        result = command(plan)
        self._write(plan)
        claims = ClaimResult() if claim is None else self._claim(plan, claim)
        events = self._tables.append(plan.events)
        if events:
            self._listeners.notify(CommittedEvents.of(events))
        return result, claims

    def _write(self, plan: Plan) -> None:
        tables = self._tables
        tables.write(plan.take())
        for key in plan.take_limits():
            limit = tables.limits[key]
            room = max(0, limit.capacity - limit.in_progress)
            ready = [limits.Candidate(*entry) for entry in tables.admitted[key]]
            waiting = [limits.Candidate(*entry) for entry in tables.limited[key][:room]]
            admission = limits.admit(limit.capacity, limit.in_progress, ready, waiting)
            commands.set_waiting_place(plan, admission.promote, WaitsFor.WORKER)
            commands.set_waiting_place(plan, admission.demote, WaitsFor.LIMIT)
        tables.write(plan.take())
        plan.take_limits()  # setting the places marks the keys again, although no job was added or left

    def _claim(self, plan: Plan, claim: ClaimRequest) -> ClaimResult:
        tables = self._tables
        worker = tables.workers.get(claim.worker)
        if worker is None or worker.gone:
            return ClaimResult(lost=True)
        since_boot = plan.now - tables.offset
        due = [n for over, n in tables.lasting[:_DUE_AT_ONCE] if over <= since_boot]
        due += [n for run_at, n in tables.delayed[: _DUE_AT_ONCE - len(due)] if run_at <= plan.now]
        commands.promote(plan, due)
        self._write(plan)
        lanes, unknown = split_lanes(
            ((lane, lane) for lane, ready in tables.ready.items() if ready),
            worker=claim.worker,
            queues=claim.queues,
            functions=claim.functions,
            refused=claim.refused,
        )
        first = islice(heapq.merge(*(tables.ready[lane] for lane in lanes)), max(0, claim.limit))
        started = commands.start(plan, [n for _, n in first], worker.n)
        self._write(plan)
        firsts = [run_at for run_at, _ in tables.delayed[:1]] + [over + tables.offset for over, _ in tables.lasting[:1]]
        next_due = min(firsts, default=None)
        return ClaimResult([self._queries.claimed(job, claim.worker) for job in started], next_due, unknown)


def encodable(events: Sequence[BodyEvent]) -> tuple[BodyEvent, ...]:
    """Check that the data of events can be stored, and return the events: an error must precede the transaction."""
    for event in events:
        msgpack.encode(event.data)
    return tuple(events)
