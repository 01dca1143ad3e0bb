"""Decide which ready jobs a claim may try for, so that processes do not try for the same ones.

Alone on the store, a process claims what it knows to be ready, and the head of the index, where those may stand that
processes without workers have made ready: that is read once a second, and whenever a claim would go short without it.

Beside others, each job has one process at a time that may claim it: the one whose write made it ready, until it sends
the message for that; then the one that receives the message. So a job that stands in the index is left to its message,
for as long as messages take to arrive at present and a little more. What stands there for longer has lost its message:
then processes draw at random from the head of the index, which they all see.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Protocol

from asyncjobs.backends.sqs import keys
from asyncjobs.backends.sqs.known import Known
from asyncjobs.backends.sqs.outbox import Outbox
from asyncjobs.backends.sqs.outlook import Outlook, Place
from asyncjobs.backends.sqs.server_clock import StoreClock


class Index(Protocol):
    """The index of ready jobs."""

    async def heads(self, lanes: Sequence[str], limit: int) -> list[Place]:
        """Return the first jobs of these lanes that may be ready: that many of each shard."""
        ...


class Sharing:
    """What the claims of this process may try for.

    :param others: returns how many workers of other processes are alive.
    :param polls_fail: returns whether no messages come for the moment.
    """

    def __init__(
        self,
        clock: StoreClock,
        shards: int,
        known: Known,
        index: Index,
        outbox: Outbox,
        others: Callable[[], int],
        polls_fail: Callable[[], bool],
    ) -> None:
        self._clock = clock
        self._shards = shards
        self._known = known
        self._index = index
        self._outbox = outbox
        self._others = others
        self._polls_fail = polls_fail
        self._reserved: set[str] = set()

    @property
    def alone(self) -> bool:
        """Whether no other process has workers, as far as is known."""
        return not self._others()

    def is_private(self, job_id: str) -> bool:
        """Return whether no other process may try for a job that is known to be ready."""
        row = self._known.row(job_id)
        return self.alone or job_id in self._outbox or (row is not None and row.fixed.owner is not None)

    async def find(
        self, outlook: Outlook, lanes: Sequence[str], hinted: Mapping[str, str], limit: int, tried: set[str]
    ) -> list[str]:
        """Return jobs that a claim may try for, in the order of claims. There may be more than ``limit``.

        :param hinted: where those jobs stand in that order for which messages have arrived.
        :param tried: jobs that are left out.
        """
        if not lanes:
            return []
        out = tried | self._reserved
        found = {(rank, job_id) for job_id, rank in hinted.items()} | self._known.ready(lanes)
        found = {place for place in found if place[1] not in out}
        if self.alone:
            now = self._clock.lease_time()
            if outlook.may_look(now) or len(found) < limit:
                found |= set(await self._index.heads(lanes, limit + len(out)))
                outlook.note_look(now)
        else:
            found = {place for place in found if place[1] in hinted or self.is_private(place[1])}
            found |= set(await self._shared(outlook, lanes, found, limit, out))
            found -= {place for place in found if place[1] in hinted and _waits_for_others(place, outlook)}
        out |= self._reserved  # by other claims meanwhile
        return [job_id for _, job_id in sorted(found) if job_id not in out]

    async def _shared(
        self, outlook: Outlook, lanes: Sequence[str], found: set[Place], limit: int, out: set[str]
    ) -> list[Place]:
        """Return what any process may try for, beside what was found for this one; ``out`` is left out."""
        now, processes, fails = self._clock.lease_time(), self._others() + 1, self._polls_fail()
        if not fails and not outlook.may_look(now):
            return []
        many = -(-limit * processes // self._shards)
        heads = await self._index.heads(lanes, max(limit + len(out), many))
        others = [place for place in heads if place[1] not in out and place not in found]
        urgent = [place for place in others if keys.priority(place[0]) > 0]
        lost = outlook.look([place for place in others if keys.priority(place[0]) <= 0], now)
        if fails:
            return draw(others, limit, processes)
        chosen = draw(urgent, limit, processes)
        return chosen + draw(lost, limit - len(found) - len(chosen), processes)

    @contextmanager
    def reserved(self, ids: Sequence[str]) -> Generator[None]:
        """Keep jobs from other claims of this process, and send no messages for them, while one tries to take them."""
        unsent = self._outbox.withdraw(ids)
        self._reserved.update(ids)
        try:
            yield
        finally:
            self._reserved.difference_update(ids)
            for job_id in unsent:
                if (row := self._known.row(job_id)) is not None:
                    self._outbox.notice(row)


def _waits_for_others(place: Place, outlook: Outlook) -> bool:
    """Return whether a job of low priority is to wait, since the index has others."""
    priority = keys.priority(place[0])
    return priority < 0 and outlook.first is not None and keys.priority(outlook.first[0]) > priority


def draw(places: Iterable[Place], room: int, processes: int) -> list[Place]:
    """Choose so many jobs at random, of the first ones: so many for each process; of high priority before others."""
    chosen: list[Place] = []
    for _, same in groupby(sorted(places), key=lambda place: keys.priority(place[0])):
        left = room - len(chosen)
        if left <= 0:
            break
        first = list(same)[: left * processes]
        chosen += first if len(first) <= left else random.sample(first, left)
    return chosen
