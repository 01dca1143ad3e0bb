"""Find ready jobs, and delayed ones that came due, by the index of work.

The index lags behind, and each read of it costs: so lanes are remembered, a claim reads a bounded number of partitions,
and delayed jobs are looked for when the first of them is due, or after a second, in which another process may have
delayed one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import msgpack

from asyncjobs.backends.sqs import keys, rows
from asyncjobs.backends.sqs.concurrent import at_once
from asyncjobs.backends.sqs.known import Known
from asyncjobs.backends.sqs.outlook import Place
from asyncjobs.backends.sqs.rows import Row
from asyncjobs.backends.sqs.table import WORK, Item, Table
from asyncjobs.backends.sqs.transitions import Transitions
from asyncjobs.core.lanes import Lane
from asyncjobs.core.state import SECOND
from asyncjobs.models import WaitsFor

_LOOK_AFTER = 1.0
"""Seconds after which another process may have submitted for a new lane, or delayed a job. Of several processes each
looks so much more rarely: what one finds comes to the others by messages, unless these are away."""
_MOST_SHARE = 5
"""Processes that share these looks at most."""
_AGAIN_AFTER = 2.0
"""Seconds after which an entry that was handed out is taken for one that is still to be promoted."""
_PARTITIONS = 16
"""Partitions that a claim reads."""
_FRUITFUL = 12
"""Of these, the ones that gave something last. The others are read in turn."""
_MOST = 1000
"""Entries that one call reads of a partition: more would keep the event loop busy for too long."""
_FEW = 20
"""Delayed jobs that are read of one partition to learn which comes due first."""

Entry = tuple[str, str]
"""Where a delayed job stands: the partition of its row, and its place in the order (``rows.due_order``)."""


class ReadyIndex:
    """The index of work, as a claim uses it.

    :param others: returns how many workers of other processes look, too, and send messages for what they find.
    """

    def __init__(self, transitions: Transitions, known: Known, others: Callable[[], int] = lambda: 0) -> None:
        self._others = others
        self._table = transitions.table
        self._clock = transitions.clock
        self._shards = transitions.shards
        self._known = known
        self._lanes: Mapping[str, Lane] = {}  # replaced, never changed: a claim goes through them and waits
        self._lanes_read = _LastRead()
        self._fruitful: set[str] = set()
        self._turn = 0
        self._delayed = _Delayed()
        self._delayed_read = _LastRead()
        self._handed_out: dict[Entry, float] = {}

    def _is_old(self, read: _LastRead, steady: int) -> bool:
        """Return whether other processes may have changed meanwhile what was read, and it is for this one to look."""
        return read.is_old(steady, _LOOK_AFTER * min(1 + self._others(), _MOST_SHARE))

    # -- ready jobs

    def announced(self, lane: Lane) -> None:
        """Learn of a lane that this process submits for."""
        self._lanes = {**self._lanes, keys.lane(lane): lane}

    async def lanes(self) -> Mapping[str, Lane]:
        """Return every lane that jobs were submitted for."""
        new = any(lane not in self._lanes for lane in self._known.ready_lanes())
        if new or self._is_old(self._lanes_read, self._clock.steady()):
            items = await self._table.query_all(keys.LANES)
            self._lanes = {**self._lanes, **{item["sk"]: Lane(*msgpack.decode(item["l"])) for item in items}}
            self._lanes_read.set(self._clock.steady())
        return self._lanes

    async def heads(self, lanes: Sequence[str], limit: int) -> list[Place]:
        """Return the first jobs of these lanes that may be ready; of some of the lanes, if they are many."""
        partitions = self._of(lanes)
        found = await self._heads(partitions if len(partitions) <= _PARTITIONS else self._choose(partitions), limit)
        if len(found) < limit:
            self._lanes_read.forget()  # there is time to look for lanes of other processes
        return found

    async def all_heads(self, lanes: Sequence[str], limit: int) -> list[Place]:
        """Return the first jobs of each of these lanes that may be ready."""
        return await self._heads(self._of(lanes), limit)

    def _of(self, lanes: Sequence[str]) -> list[str]:
        return [keys.ready(lane, shard) for lane in lanes for shard in range(self._shards)]

    def _choose(self, partitions: Sequence[str]) -> list[str]:
        """Choose those that gave something last, and some of the others, each in its turn."""
        chosen = [partition for partition in partitions if partition in self._fruitful][:_FRUITFUL]
        others = [partition for partition in partitions if partition not in chosen]
        count = _PARTITIONS - len(chosen)
        first = self._turn % len(others)
        self._turn = first + count
        return chosen + (others[first:] + others[:first])[:count]

    async def _heads(self, partitions: Sequence[str], limit: int) -> list[Place]:
        async def read(partition: str) -> list[Item]:
            return await self._first_ready(partition, limit)

        entries: list[Item] = []
        for partition, found in zip(partitions, await at_once(read, partitions), strict=True):
            entries += found
            (self._fruitful.add if found else self._fruitful.discard)(partition)
        ids = await ids_of(self._table, entries)
        return [(item["ws"], ids[item["pk"]]) for item in entries if item["pk"] in ids]

    async def _first_ready(self, partition: str, limit: int) -> list[Item]:
        """Read so many of the first entries of a partition, in pages."""
        found: list[Item] = []
        start = None
        while len(found) < limit:
            some = min(limit - len(found), _MOST)
            page = await self._table.query(partition, index=WORK, start=start, limit=some, consistent=False)
            found += page.items
            start = page.next
            if start is None:
                break
        return found

    async def has_ready(self, lane: str) -> bool:
        """Return whether any job of this lane may be ready."""
        if self._known.has_ready(lane):
            return True
        for partition in self._of([lane]):
            page = await self._table.query(partition, index=WORK, limit=1, consistent=False)
            if page.items:
                return True
        return False

    # -- delayed jobs

    async def due(self, limit: int) -> list[str]:
        """Return delayed jobs whose time has come, the first due first, each once."""
        now, steady = self._clock.now(), self._clock.steady()
        found = {_entry(row): row.id for row in self._known.delayed()}
        first = self._delayed.first(now, steady)
        if self._is_old(self._delayed_read, steady) or (first is not None and first[0] <= now):
            found |= await self._look(limit)
        due = sorted((at, entry) for entry in found if (at := due_at(entry[1], now, steady)) <= now)[:limit]
        self._hand_out([entry for _, entry in due])
        ids = [found[entry] for _, entry in due]
        for job_id in ids:
            self._known.forget(job_id)  # whoever promotes it first, what is remembered of it is over
        return ids

    def _hand_out(self, entries: Sequence[Entry]) -> None:
        """Remember entries, which the index may go on to show for a while."""
        now = time.monotonic()
        self._handed_out = {entry: at for entry, at in self._handed_out.items() if now - at < _AGAIN_AFTER}
        self._handed_out |= dict.fromkeys(entries, now)
        self._delayed.drop(entries)

    async def _look(self, limit: int) -> dict[Entry, str]:
        """Read the first delayed jobs of all shards; return the ids of those whose time has come."""
        now, steady = self._clock.now(), self._clock.steady()
        read = await at_once(lambda shard: self._first(shard, limit, now, steady), range(self._shards))
        old = time.monotonic() - _AGAIN_AFTER
        items = {(item["pk"], item["ws"]): item for page in read for item in page}
        items = {entry: item for entry, item in items.items() if self._handed_out.get(entry, old) <= old}
        self._delayed = _Delayed(items)
        self._delayed_read.set(steady)
        due = {entry: item for entry, item in items.items() if due_at(entry[1], now, steady) <= now}
        ids = await ids_of(self._table, list(due.values()))
        return {entry: ids[entry[0]] for entry in due if entry[0] in ids}

    async def _first(self, shard: int, limit: int, now: int, steady: int) -> list[Item]:
        """Read the first delayed jobs of a shard: all that are due, up to a limit, and the next one."""
        latest = keys.number(max(now, steady) + 1)
        found: list[Item] = []
        due, start = 0, None
        while True:
            page = await self._table.query(
                keys.delayed(shard), index=WORK, start=start, limit=limit + 1, consistent=False
            )
            found += page.items
            due += sum(due_at(item["ws"], now, steady) <= now for item in page.items)
            start = page.next
            # Durations and moments stand in one order, also where a test has given them clocks far apart.
            if start is None or due > limit or page.items[-1]["ws"] > latest:
                return found

    async def next_due(self) -> int | None:
        """Return when the first delayed job comes due, by the wall clock as it is now; None without one."""
        now, steady = self._clock.now(), self._clock.steady()
        first = self._delayed.first(now, steady)
        if self._is_old(self._delayed_read, steady) or (first is not None and self._is_over(first[1])):
            await self._look(_FEW)
            first = self._delayed.first(now, steady)
        moments = [due_at(rows.due_order(row), now, steady) for row in self._known.delayed()]
        return min(moments if first is None else [*moments, first[0]], default=None)

    def _is_over(self, entry: Entry) -> bool:
        """Return whether this process knows that a delayed job waits no more."""
        job_id = keys.id_in(entry[0])
        row = None if job_id is None else self._known.row(job_id)
        return row is not None and row.state.waits_for is not WaitsFor.TIME


class _LastRead:
    """When something was read last: by the clock of the store, and by that of this process."""

    def __init__(self) -> None:
        self._at: tuple[int, float] | None = None

    def set(self, steady: int) -> None:
        """Note that it is read now."""
        self._at = steady, time.monotonic()

    def forget(self) -> None:
        """Have it read again."""
        self._at = None

    def is_old(self, steady: int, seconds: float) -> bool:
        """Return whether that was so many seconds ago."""
        if self._at is None:
            return True
        by_store, by_process = self._at
        passed = (steady - by_store) / SECOND
        return not 0 <= passed < seconds or time.monotonic() - by_process >= seconds


class _Delayed:
    """Entries of delayed jobs as they were read last, which were not handed out since."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._entries = set(entries)

    def drop(self, entries: Iterable[Entry]) -> None:
        """Forget entries."""
        self._entries.difference_update(entries)

    def first(self, now: int, steady: int) -> tuple[int, Entry] | None:
        """Return when the first one comes due, by the wall clock as it is now, and which it is."""
        return min(((due_at(entry[1], now, steady), entry) for entry in self._entries), default=None)


async def ids_of(table: Table, entries: Sequence[Item]) -> dict[str, str]:
    """Return the ids of jobs by the partitions of their rows; a long id must be read from the row."""
    ids = {item["pk"]: job_id for item in entries if (job_id := keys.id_in(item["pk"])) is not None}
    long = [(item["pk"], item["sk"]) for item in entries if item["pk"] not in ids]
    for (partition, _), item in (await table.get(long)).items() if long else ():
        if "id" in item:
            ids[partition] = item["id"]
    return ids


def _entry(row: Row) -> Entry:
    return keys.row(row.id)[0], rows.due_order(row)


def due_at(order: str, now: int, steady: int) -> int:
    """Return when an entry comes due, by the wall clock: see ``rows.due_order``."""
    moment, kind, _ = order.split("#")
    return int(moment) - steady + now if kind == "d" else int(moment)
