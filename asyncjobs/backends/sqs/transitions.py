"""Decide on jobs and write that, as often as other writers come between; then see to what follows from it.

What follows is: the listeners hear of the events, dependents are settled, and limits admit others. Every one of these
can be left undone by a crash: then a sweep of any process does it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from msgspec import msgpack

from asyncjobs.backends.committed_events import CommittedEvents
from asyncjobs.backends.listeners import Listeners
from asyncjobs.backends.sqs import batches, payloads, rows, writing
from asyncjobs.backends.sqs.denials import Denials
from asyncjobs.backends.sqs.loading import Command, Loaded, as_row, decide
from asyncjobs.backends.sqs.rows import Row
from asyncjobs.backends.sqs.server_clock import StoreClock
from asyncjobs.backends.sqs.table import Refused, Table, Update
from asyncjobs.backends.sqs.upkeep import Upkeep
from asyncjobs.backends.sqs.writing import Decided, Translator
from asyncjobs.backends.unreadable import event_data
from asyncjobs.clock import to_datetime
from asyncjobs.core.state import NewEvent
from asyncjobs.models import JobEvent

T = TypeVar("T")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.5
"""Seconds before a refused command is decided anew, when it was refused again and again."""


class Transitions:
    """The one place where rows of stored jobs are written.

    :param noticed: called with every row that was written, for those who keep what they know of them.
    :param stored: called with the events that were written, in their order.
    :param doubted: called with the id of a job whose row may be another one than is known: a write of it has failed.
    """

    def __init__(
        self,
        table: Table,
        clock: StoreClock,
        workers: Mapping[int, tuple[str, str]],
        listeners: Listeners,
        noticed: Callable[[Row], None],
        stored: Callable[[Sequence[tuple[Row, NewEvent]]], None] = lambda events: None,
        *,
        shards: int,
        denials: Denials | None = None,
        doubted: Callable[[str], None] = lambda job_id: None,
    ) -> None:
        self.table = table
        self.clock = clock
        self.shards = shards
        self.upkeep = Upkeep(clock, denials)
        self.translator = Translator(clock, workers)
        self._listeners = listeners
        self.noticed = noticed
        self._stored = stored
        self._doubted = doubted
        self.limits: dict[str, int | None] = {}
        """Limited keys whose admission must be decided anew, with their capacity if a submission gave one."""

    async def commit(
        self, command: Command[T], known: Sequence[Row] = (), *, in_hand: bool = False
    ) -> tuple[T, list[Row]]:
        """Decide and write, all of it or nothing; return the result, and the rows whose dependents must be settled.

        :param known: rows as they were read or written last. If they are not any more, they are read again.
        :param in_hand: a worker has written down that it holds the job, and does so until its dependents are settled.
        """
        refusals = 0
        while True:
            view = Loaded(self.clock)
            for row in known:
                view.put(row.id, row)
            result, plan = await decide(command, view, self.table, self.clock)
            decided = self.translator.changes(plan, plan.take(), view)
            decided = writing.in_hand(decided) if in_hand else decided
            if known and not refusals and not decided.changed:
                known = ()  # what this process remembers does not suffice to leave a job as it is
                refusals += 1
                continue
            refused = await self.write(decided)
            if refused is None:
                return result, self.settled(decided)
            known = refused
            refusals += 1
            await self.pause(refusals)

    def limited(self, keys: Iterable[str], capacities: Mapping[str, int] = {}) -> None:
        """Keep limited keys that a plan concerned, once it is written."""
        for key in keys:
            self.limits[key] = capacities.get(key, self.limits.get(key))

    async def write(
        self, decided: Decided, beside: Sequence[Update] = (), checks: Sequence[Update] = ()
    ) -> list[Row] | None:
        """Write rows in one step; return None, or rows as they are now if it was refused: those that are known."""
        if not await self.overtakes(decided):
            return []
        for large in decided.apart:
            payloads.check(self.table, large.value)
        for large in decided.apart:
            await payloads.store(self.table, large)
        refused = await self._write_rows(decided, beside, checks)
        if refused is not None:
            # A row may be what this write has made of it: an earlier try was done, and others have written since.
            named = {stored for row in refused for stored in payloads.named_by(row)}
            for large in decided.apart:
                if large.stored not in named:
                    await payloads.drop(self.table, large.partition, [large.stored])
        return refused

    async def _write_rows(
        self, decided: Decided, beside: Sequence[Update], checks: Sequence[Update]
    ) -> list[Row] | None:
        updates = [rows.changed(change.before, change.after, self.shards) for change in decided.changed]
        updates += [update for change in decided.changed for update in change.beside]
        updates += beside
        if not updates:
            return None
        done = False
        try:
            answers = await self._write_together(updates, checks)
            done = answers is None
        finally:
            if not done:  # perhaps it is nevertheless, and the answer was lost: what is remembered may be outdated
                for change in decided.changed:
                    self._doubted(change.after.id)
        return None if answers is None else _rows_of(answers)

    async def _write_together(
        self, updates: Sequence[Update], checks: Sequence[Update]
    ) -> Sequence[Refused | object | None] | None:
        if len(updates) > 1 or checks:
            return await self.table.transact(updates, checks)
        answer = await self.table.write(updates[0])
        return [answer] if isinstance(answer, Refused) else None

    async def overtakes(self, decided: Decided) -> bool:
        """Abort the batches that do not know of these changes; return False if one was committed before."""
        committed = [not await batches.abort(self.table, batch, self.clock) for batch in decided.undecided]
        return not any(committed)

    def settled(self, decided: Decided) -> list[Row]:
        """Notify of what was written; return the rows whose dependents must be settled, in the order of their ends."""
        after = {change.after.id: change.after for change in decided.changed}
        for row in after.values():
            self.noticed(row)
        self.limited(decided.limits)
        self.notify(decided.events)
        return [after[job_id] for job_id in decided.owed]

    def notify(self, events: Sequence[tuple[Row, NewEvent]]) -> None:
        """Notify the listeners, and the log, of events that were stored."""
        if events:
            self._stored(events)
            changes = [(row.id, event) for row, event in events]
            self._listeners.notify(CommittedEvents(changes, None, partial(_show_all, events)))

    async def pause(self, refusals: int) -> None:
        """Wait a little before a command that others keep refusing."""
        if refusals > 2:
            longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** (refusals - 2))
            await self.clock.pause(longest * (0.5 + random.random() / 2))


def _show_all(events: Sequence[tuple[Row, NewEvent]]) -> list[JobEvent]:
    return [shown(row, event) for row, event in events]


def shown(row: Row, event: NewEvent) -> JobEvent:
    """Return an event as listeners get it: the log has no place for it yet."""
    # Through its stored form, as in every store, so that later changes of the caller's dict do not reach it.
    data = event_data(msgpack.encode(event.data or {}))
    at = to_datetime(event.at)
    return JobEvent("", row.id, event.seq, event.type, at, event.attempt, event.status, row.state.group, data)


def _rows_of(answers: Sequence[Refused | object | None]) -> list[Row]:
    rows = (as_row(answer.item) for answer in answers if isinstance(answer, Refused))
    return [row for row in rows if row is not None]
