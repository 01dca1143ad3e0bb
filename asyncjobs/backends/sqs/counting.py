"""Count jobs by status: those of a group by its members, all by the index of what there is.

A member of a group has the final status of its job once that was looked at (``f``), so that it is never read again.
It is written only if no other process has written the member since it was read: a retry takes ``f`` away, and what
was found before that counts no longer. The index counts what other processes did up to about a second ago; what this
process did lately is read where the index does not have it as it was written: either lags behind the other.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from asyncjobs.backends.bounds import check_group, check_limit
from asyncjobs.backends.sqs import keys, rows
from asyncjobs.backends.sqs.concurrent import at_once
from asyncjobs.backends.sqs.hands import held_by
from asyncjobs.backends.sqs.known import Known
from asyncjobs.backends.sqs.queries import Queries
from asyncjobs.backends.sqs.rows import Row
from asyncjobs.backends.sqs.table import LIST, Item, Update
from asyncjobs.backends.sqs.transitions import Transitions
from asyncjobs.checks import encodable
from asyncjobs.models import GroupProgress, JobStatus

_NOTED_AT_ONCE = 500
"""Final statuses that are written to members by one count."""
_WINDOW = 1000
"""Entries of a partition that are read one by one, for what this process wrote lately."""
_FEW = 50
_NAMES = 100
_STATUSES = {str(status): status for status in JobStatus}
_ENDED = tuple(status for status in JobStatus if status.terminal)


class Counting:
    """Counts of jobs."""

    def __init__(self, transitions: Transitions, known: Known, queries: Queries) -> None:
        self._table = transitions.table
        self._shards = transitions.shards
        self._known = known
        self._queries = queries
        self._upkeep = transitions.upkeep

    # -- groups

    async def group(self, group: str) -> dict[JobStatus, int]:
        """Count the members of a group."""
        members = await self._members(group)
        counts = Counter(status for item in members if (status := _noted(item)) is not None)
        open_members = [item for item in members if _noted(item) is None]
        found = await self._read(open_members)
        counts.update(row.state.status for row in found.values())
        await self._note(open_members, found)
        return dict(counts)

    async def unfinished(self, group: str) -> bool:
        """Return whether any member has not ended."""
        left = [item for item in await self._members(group) if _noted(item) is None]
        for start in range(0, len(left), _FEW):
            page = left[start : start + _FEW]
            found = await self._read(page)
            if any(not row.state.status.terminal for row in found.values()):
                return True
            await self._note(page, found)
        return False

    async def _members(self, group: str) -> list[Item]:
        return await self._table.query_all(keys.named("G", group)) if encodable(group) else []

    async def _read(self, members: Sequence[Item]) -> dict[str, Row]:
        """Read the rows of members, by id; without those of other jobs that have such an id by now."""
        numbers = {item["id"]: int(item["n"]) for item in members}
        return {row.id: row for row in await self._queries.rows(list(numbers)) if row.n == numbers[row.id]}

    async def _note(self, members: Sequence[Item], found: Mapping[str, Row]) -> None:
        """Write to members how their jobs ended."""
        ended = [
            (item, found[item["id"]].state)
            for item in members
            if item["id"] in found and found[item["id"]].state.status.terminal
        ]
        noted = [
            Update(
                (item["pk"], item["sk"]),
                set={"f": str(state.status)},
                present=("pk",),
                equal={"w": item["w"]} if "w" in item else {},
                absent=() if "w" in item else ("w",),
            )
            for item, state in ended[:_NOTED_AT_ONCE]
            if state.unreadable is None
        ]
        await self._upkeep.do(lambda: self._table.write_all(noted), [])

    async def groups(self, after: str | None, limit: int) -> list[GroupProgress]:
        """Return the next groups by name that have jobs, with counts."""
        check_limit(limit)
        check_group("after", after)
        found: list[GroupProgress] = []
        async with aclosing(self._names(after)) as names:
            async for name in names:
                counts = await self.group(name)
                if counts:
                    found.append(GroupProgress(name, sum(counts.values()), counts))
                if len(found) == limit:
                    break
        return found

    async def _names(self, after: str | None) -> AsyncGenerator[str]:
        """Yield the names of groups in order. Long ones stand by their digests, behind all others."""
        items = await self._table.query_all(keys.GROUPS, begins="G~")
        long = sorted((item["g"] for item in items if after is None or item["g"] > after), reverse=True)
        start: Mapping[str, Any] | None = None
        while True:
            begins, low, high = _behind(after)
            page = await self._table.query(
                keys.GROUPS, begins=begins, after=low, before=high, start=start, limit=_NAMES
            )
            for name in [item["g"] for item in page.items if after is None or item["g"] > after]:
                while long and long[-1] < name:
                    yield long.pop()
                yield name
            start = page.next
            if start is None:
                break
        while long:
            yield long.pop()

    # -- all

    async def all(self) -> dict[JobStatus, int]:
        """Count all jobs."""
        recent = self._known.recent()
        entries = await self._entries(recent)
        counts: Counter[str] = Counter()
        for partition, number in entries.items():
            counts[partition.rpartition("#")[0]] += number
        running = await self._running(recent)
        live = counts.pop(_LIVE, 0) + counts.pop(_ASKING, 0)
        found = {status: counts[status] for status in _ENDED}
        found |= {JobStatus.PENDING: max(0, live - running), JobStatus.IN_PROGRESS: running}
        return {status: number for status, number in found.items() if number}

    async def _entries(self, recent: Sequence[Row]) -> dict[str, int]:
        """Count the entries of each partition of the list, with what was written lately where it is now."""
        partitions = [
            place
            for at in range(self._shards)
            for place in (keys.live(at), keys.asking(at), *(keys.ended(status, at) for status in _ENDED))
        ]
        if recent:
            counted = await self._corrected(partitions, recent)
            if counted is not None:
                return counted
        numbers = await at_once(lambda partition: self._table.count(partition, index=LIST), partitions)
        return dict(zip(partitions, numbers, strict=True))

    async def _corrected(self, partitions: Sequence[str], recent: Sequence[Row]) -> dict[str, int] | None:
        """Count with corrections; None if there is too much between what was written lately to look at each entry."""
        first, last = min(row.n for row in recent), max(row.n for row in recent)
        own = {keys.row(row.id)[0]: row for row in recent}
        found: defaultdict[str, set[str]] = defaultdict(set)

        async def count(partition: str) -> int | None:
            page = await self._table.query(partition, index=LIST, after=first - 1, limit=_WINDOW)
            above = 0
            if page.next is not None:
                if (end := int(page.items[-1]["n"])) < last:
                    return None
                above = await self._table.count(partition, index=LIST, after=end)
            below = await self._table.count(partition, index=LIST, before=first)
            entries = [item["pk"] for item in page.items]
            for entry in own.keys() & entries:
                found[entry].add(partition)
            return below + sum(entry not in own for entry in entries) + above

        counted: dict[str, int] = {}
        for partition, number in zip(partitions, await at_once(count, partitions), strict=True):
            if number is None:
                return None
            counted[partition] = number
        for place in await self._places(own, found):
            counted[place] += 1
        return counted

    async def _places(self, own: Mapping[str, Row], found: Mapping[str, set[str]]) -> list[str]:
        """Return where in the list the jobs stand that this process wrote lately: they are read if it has changed."""
        agreed = {entry for entry, row in own.items() if found.get(entry) == {self._place(row)}}
        read = await self._queries.rows(sorted(own[entry].id for entry in own.keys() - agreed))
        places = [self._place(row) for row in (*(own[entry] for entry in agreed), *read)]
        return [place for place in places if place is not None]

    def _place(self, row: Row) -> str | None:
        return rows.places(row, self._shards).get("lp")

    async def _running(self, recent: Iterable[Row]) -> int:
        """Count the jobs in progress: each stands on its worker, written down before it was taken."""
        workers = await self._table.query_all(keys.WORKERS)
        held = {job_id for item in workers for job_id in await held_by(self._table, item)}
        held |= {row.id for row in recent if row.state.status is JobStatus.IN_PROGRESS}
        return sum(row.state.status is JobStatus.IN_PROGRESS for row in await self._queries.rows(sorted(held)))


_LIVE = keys.live(0).rpartition("#")[0]
_ASKING = keys.asking(0).rpartition("#")[0]


def _noted(member: Item) -> JobStatus | None:
    """Return the final status that was written to a member of a group."""
    return _STATUSES.get(member.get("f", ""))


def _behind(after: str | None) -> tuple[str, str | None, str | None]:
    """Return the bounds of the keys of names behind this one; of a long one, behind its beginning."""
    if after is None:
        return "G=", None, None
    key = keys.named("G", after)
    low = key if key.startswith("G=") else f"G={after.encode()[:800].decode(errors='ignore')}"
    return "", low, "G>"  # the next character after "="
