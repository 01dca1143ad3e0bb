"""Find what is due, or was left undone by a process that died, and do it.

What a process owes stands in the index of work until it is done, or in the list of what its worker has in hand, which
a reaper reads (``workers``). Entries of an index may be old: each step is conditional on the row as it is.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from asyncjobs.backends.sqs import keys
from asyncjobs.backends.sqs.barriers import Barrier
from asyncjobs.backends.sqs.batch_sweep import sweep_batches
from asyncjobs.backends.sqs.concurrent import at_once
from asyncjobs.backends.sqs.dependents import Dependents
from asyncjobs.backends.sqs.loading import existing, read_rows
from asyncjobs.backends.sqs.log import Log
from asyncjobs.backends.sqs.ready_index import ReadyIndex
from asyncjobs.backends.sqs.rows import Row
from asyncjobs.backends.sqs.schema import Identity
from asyncjobs.backends.sqs.table import WORK
from asyncjobs.backends.sqs.transitions import Transitions
from asyncjobs.core import commands
from asyncjobs.core.plan import Plan
from asyncjobs.core.state import SECOND

_EVERY = 15
"""Seconds in which all shards are looked at."""
_APPEND_AFTER = 2.0
"""Seconds for which a page of the log is the last one before a sweep puts the next: nobody else does it then."""
_KEYS_AT_ONCE = 10
_DUE_AT_ONCE = 200
"""Delayed jobs that become ready in one step, here as in every store."""
_ROWS = 50
"""Rows that are read in one call."""


class Sweep:
    """What any process does for all."""

    def __init__(
        self, transitions: Transitions, dependents: Dependents, index: ReadyIndex, log: Log, identity: Identity
    ) -> None:
        self._transitions = transitions
        self._table = transitions.table
        self._clock = transitions.clock
        self._dependents = dependents
        self._index = index
        self._log = log
        self._identity = identity
        self._barrier = Barrier()
        self._shard = 0
        self._last: int | None = None
        self._key: str | None = None

    async def step(self) -> bool:
        """Look at the next shard, if the last look was some time ago; return whether that was the last of them."""
        now = self._clock.lease_time()
        every = _EVERY * SECOND // self._transitions.shards
        if self._last is not None and 0 <= now - self._last < every * (0.75 + random.random() / 2):
            return False
        self._last = now
        self._shard = (self._shard + 1) % self._transitions.shards
        with self._barrier.around("making due jobs ready"):
            await self.promote()
        await sweep_batches(self._transitions, self._shard, self._barrier)
        await self.settle(self._shard)
        await self._admit()
        with self._barrier.around("appending to the log"):
            await self._log.append_in_turn(_APPEND_AFTER)
        if self._shard:
            return False
        await self._identity.look()
        return True

    async def _admit(self) -> None:
        """Decide the admission of the next limited keys: a process may have died before it did."""
        page = await self._table.query(keys.LIMITS, after=self._key, limit=_KEYS_AT_ONCE)
        for item in page.items:
            self._transitions.limits.setdefault(item["key"], None)
        self._key = page.items[-1]["sk"] if page.next is not None else None

    async def promote(self) -> int:
        """Make delayed jobs ready whose time has come; return how many."""
        due = await self._index.due(_DUE_AT_ONCE)
        rows: list[Row] = []
        for start in range(0, len(due), _ROWS):
            found = await read_rows(self._table, due[start : start + _ROWS])
            rows += [row for row in found.values() if row is not None]
        await at_once(lambda row: self._transitions.commit(_promote(row.id), [row]), rows)
        return len(due)

    async def settle(self, shard: int) -> None:
        """Settle the ended jobs of a shard whose dependents a process left alone."""
        for row in await self._rows(keys.owed(shard)):
            if row.owed:
                with self._barrier.around(f"settling the dependents of {row.id!r}"):
                    await self._dependents.settle([row])

    async def _rows(self, partition: str, limit: int = 100) -> Sequence[Row]:
        page = await self._table.query(partition, index=WORK, limit=limit, consistent=False)
        items = await self._table.get([(item["pk"], item["sk"]) for item in page.items])
        return list((await existing(self._table, items)).values())


def _promote(job_id: str) -> Callable[[Plan], None]:
    def promote(plan: Plan) -> None:
        commands.promote(plan, list(plan.numbers([job_id]).values()))

    return promote
