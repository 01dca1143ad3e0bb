"""Keep the workers: who is there, when it was alive last, what it has in hand; and take back what the dead ones held.

A worker is one item. Its heartbeat and what it has in hand are attributes of it, so a worker that was found dead is
refused by both: it can neither renew its lease nor write down what it would claim.
"""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from secrets import token_hex

from msgspec import Struct, msgpack

from asyncjobs.backends.base import NewWorker, WorkerLease
from asyncjobs.backends.sqs import keys
from asyncjobs.backends.sqs.barriers import Barrier
from asyncjobs.backends.sqs.claims import runs_on
from asyncjobs.backends.sqs.dependents import Dependents
from asyncjobs.backends.sqs.hands import Hand, held_by, how_many, write_down
from asyncjobs.backends.sqs.heartbeat import Heartbeat
from asyncjobs.backends.sqs.loading import read_rows
from asyncjobs.backends.sqs.numbers import Numbers
from asyncjobs.backends.sqs.rows import Row
from asyncjobs.backends.sqs.table import Item, Refused, Update, size_of
from asyncjobs.backends.sqs.taking_back import TakingBack
from asyncjobs.backends.sqs.transitions import Transitions
from asyncjobs.backends.sqs.writing import owes
from asyncjobs.clock import to_datetime
from asyncjobs.core.state import SECOND
from asyncjobs.host import this_process
from asyncjobs.models import WorkerInfo

NOBODY = 0
"""The number of a worker that is not known: it holds no attempt."""
_PAGE = 50
_BEATS_A_LEASE = 3
_REASON = 500
"""Characters of the reason for which a function is refused."""
_REFUSALS = 100_000
"""Bytes of refusals on the item of a worker: each of its writes costs by its size."""
_FORGOTTEN_AFTER = 3600 * SECOND
"""µs after which a gone owner is no longer looked after: what was submitted for it by then was given up."""


class _Registration(Struct, frozen=True, kw_only=True):
    """What a worker says of itself when it registers."""

    name: str
    pid: int
    host: str
    slots: int
    queues: tuple[str, ...] | None
    started_at: int
    lease: float
    process: str = ""
    """What no other process has: see ``_process``."""


_registrations = msgpack.Decoder(_Registration)


def _process() -> str:
    """Return what no other process has, also where containers share a host name and their process ids."""
    return sha256(msgpack.encode(this_process())).hexdigest()[:16]


def number_of(worker: str) -> int:
    """Return the number that stands in the id of a worker."""
    digits = worker[1:].partition("-")[0] if worker.startswith("w") else ""
    return int(digits) if digits.isascii() and digits.isdigit() else NOBODY


class Workers:
    """The workers of all processes, and the hands of those of this one.

    :param counts: returns what this process counted of its messages; its workers' items have it for others to see.
    """

    def __init__(
        self,
        transitions: Transitions,
        dependents: Dependents,
        numbers: Numbers,
        names: dict[int, tuple[str, str]],
        heartbeat: Heartbeat,
        counts: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        self._heartbeat = heartbeat
        self._counts = counts
        self._transitions = transitions
        self._table = transitions.table
        self._clock = transitions.clock
        self._taking_back = TakingBack(transitions, dependents)
        self._barrier = Barrier()
        self._numbers = numbers
        self._hands: dict[str, Hand] = {}
        self.process = _process()
        self.others = 0
        """How many workers of other processes were alive when this one looked last."""
        self._others_old = False
        self._names = names  # the id and the name of the workers of this process, by number

    def hand(self, worker: str) -> Hand | None:
        """Return what a worker of this process has in hand."""
        return self._hands.get(worker)

    async def register(self, worker: NewWorker) -> str:
        """Register a worker, and return its id."""
        (n,) = self._numbers.take(1, self._clock.now())
        worker_id = f"w{n}-{token_hex(4)}"
        about = _Registration(
            name=worker.name,
            pid=os.getpid(),
            host=socket.gethostname(),
            slots=worker.slots,
            queues=worker.queues,
            started_at=self._clock.now(),
            lease=worker.lease,
            process=self.process,
        )
        item: Item = {"about": msgpack.encode(about), "at": self._clock.lease_time(), "beat": 0, "hand": 0, "held": []}
        await self._table.write(Update((keys.WORKERS, worker_id), new=True, set=item))
        self._count_others(await self._table.query_all(keys.WORKERS))
        self._hands[worker_id] = Hand(n, worker.name)
        self._heartbeat.add(worker_id, worker.lease / _BEATS_A_LEASE)
        self._names[n] = (worker_id, worker.name)
        return worker_id

    def met_another(self) -> None:
        """Have the others counted again before the next claim: something was in the way of one."""
        self._others_old = not self.others

    async def look_for_others(self) -> None:
        """Count the workers of other processes, if that is not up to date."""
        if self._others_old:
            self._count_others(await self._table.query_all(keys.WORKERS))

    def _count_others(self, items: Sequence[Item]) -> None:
        now = self._clock.lease_time()
        living = [item for item in items if "gone" not in item and not self._expired(item, now)]
        self.others = sum(_registrations.decode(item["about"]).process != self.process for item in living)
        self._others_old = False

    async def extend(self, worker: str) -> WorkerLease:
        """Renew the lease of a worker, and return what it holds and which of that it is asked to stop."""
        if not await self._beat(worker):
            self._hands.pop(worker, None)
            self._heartbeat.remove(worker)
            return WorkerLease(alive=False)
        self._heartbeat.written(worker)
        held = await self._held(worker)
        asked = tuple((row.id, row.state.attempt) for row in held if row.state.cancel_requested)
        return WorkerLease(True, asked, tuple((row.id, row.state.attempt) for row in held))

    async def _beat(self, worker: str) -> bool:
        """Write a heartbeat; return False if the worker is gone.

        What it has in hand is written with a claim. One that claims no more since there is nothing to do has ended
        what it was written down with: so others would see its slots in use for as long as it is idle.
        """
        hand, counts, now = self._hands.get(worker), self._counts(), self._clock.lease_time()
        if hand is not None and hand.is_shorter and not hand.lock.locked():
            async with hand.lock:
                return await write_down(self._table, worker, hand, now, counts)
        beat = Update(
            (keys.WORKERS, worker),
            set={"at": now, **({"counts": dict(counts)} if counts else {})},
            add={"beat": 1},
            present=("pk",),
            absent=("gone",),
        )
        return not isinstance(await self._table.write(beat), Refused)

    async def _held(self, worker: str) -> list[Row]:
        """Return the rows that are in progress on a worker, in the order of submission."""
        number, hand = number_of(worker), self._hands.get(worker)
        if hand is None:
            found = await self._table.get([(keys.WORKERS, worker)])
            ids = [job_id for item in found.values() for job_id in await held_by(self._table, item)]
        else:
            ids = list(hand.running)
        rows = await self._rows(ids)
        for row in rows:
            if hand is not None and row.state.status.terminal:  # the answer to its end was lost, or is on its way
                hand.end(row.id, row.state.attempt, [row] if owes(row) else [])
        return sorted([row for row in rows if runs_on(row, number)], key=lambda row: row.n)

    async def _rows(self, ids: Sequence[str]) -> list[Row]:
        found: list[Row] = []
        for start in range(0, len(ids), _PAGE):
            rows = await read_rows(self._table, ids[start : start + _PAGE])
            found += [row for row in rows.values() if row is not None]
        return found

    def owing(self) -> list[Row]:
        """Return the jobs that workers of this process have ended and whose dependents are not all settled."""
        return [row for hand in self._hands.values() for row in hand.owing.values()]

    def settled(self, row: Row) -> None:
        """Let go of a job whose dependents are settled."""
        for hand in self._hands.values():
            hand.settled(row)

    async def report_refusals(self, worker: str, refused: dict[str, str]) -> None:
        """Store which functions a worker refuses, as many of them as its item has room for."""
        kept: dict[str, str] = {}
        room = _REFUSALS
        for function, reason in refused.items():
            kept[function] = reason[:_REASON]
            room -= size_of({"function": function, "reason": kept[function]})
            if room < 0:
                del kept[function]
                break
        await self._table.write(Update((keys.WORKERS, worker), set={"refused": kept}, present=("pk",)))

    async def all(self) -> list[WorkerInfo]:
        """Return the workers that were not taken back yet."""
        now = self._clock.lease_time()
        items = await self._table.query_all(keys.WORKERS)
        return [self._info(item, now) for item in items if "gone" not in item]

    def _info(self, item: Item, now: int) -> WorkerInfo:
        about = _registrations.decode(item["about"])
        worker, hand = item["sk"], self._hands.get(item["sk"])
        return WorkerInfo(
            id=worker,
            name=about.name,
            pid=about.pid,
            host=about.host,
            slots=about.slots,
            queues=about.queues,
            started_at=to_datetime(about.started_at),
            alive=not self._expired(item, now),
            running=how_many(item) if hand is None else len(hand.running),
            lease=about.lease,
            refused=dict(item.get("refused", {})),
        )

    @property
    def any_here(self) -> bool:
        """Whether a worker of this process is registered."""
        return bool(self._hands)

    async def message_counts(self) -> dict[str, int]:
        """Return what the processes of living workers counted of their messages, and this one."""
        by_process = {self.process: Counter(self._counts())}
        for item in await self._table.query_all(keys.WORKERS):
            if "gone" not in item:
                process = _registrations.decode(item["about"]).process or item["sk"]
                # All workers of a process have the same counts, some of them as they were a heartbeat ago.
                counts = Counter({name: int(count) for name, count in item.get("counts", {}).items()})
                by_process[process] = by_process.get(process, Counter()) | counts
        return dict(sum(by_process.values(), Counter[str]()))

    def _expired(self, item: Item, now: int) -> bool:
        lease = _registrations.decode(item["about"]).lease
        return int(item["at"]) + round(lease * SECOND) + self._clock.tolerance < now

    # -- taking back

    async def deregister(self, worker: str) -> None:
        """Take back at once what a worker holds that leaves in order."""
        self._heartbeat.remove(worker)
        gone = Update((keys.WORKERS, worker), set={"gone": 1}, present=("pk",))
        answer = await self._table.write(gone)
        self._hands.pop(worker, None)
        if not isinstance(answer, Refused):
            await self._taking_back.take_back(answer, number_of(worker))

    async def reap(self) -> list[str]:
        """Take back what workers hold whose lease has run out; return the ids of the jobs that were taken back."""
        now = self._clock.lease_time()
        taken: list[str] = []
        items = await self._table.query_all(keys.WORKERS)
        self._count_others(items)
        for item in items:
            if "gone" in item or self._expired(item, now):
                with self._barrier.around(f"taking back what worker {item['sk']!r} holds"):
                    taken += await self._bury(item)
        return [*taken, *await self._orphans(now)]

    async def _bury(self, item: Item) -> list[str]:
        """Mark a worker as gone, if it is still as it was read, and take back what it holds."""
        if "gone" not in item:
            dead = Update((item["pk"], item["sk"]), set={"gone": 1}, equal={"beat": item["beat"]}, present=("pk",))
            answer = await self._table.write(dead)
            if isinstance(answer, Refused):
                return []  # a heartbeat that came meanwhile keeps it alive
            item = answer
        taken = await self._taking_back.take_back(item, number_of(item["sk"]))
        self._hands.pop(item["sk"], None)
        return taken

    async def _orphans(self, now: int) -> list[str]:
        """Fail the pending jobs of owners that are gone: submitted, or retried, after that was found out."""
        owners = await self._table.query_all(keys.OWNERS)
        if not owners:
            return []
        found = await self._table.get([(keys.WORKERS, owner["sk"]) for owner in owners])
        given_up: list[str] = []
        for owner in owners:
            if (keys.WORKERS, owner["sk"]) in found:
                continue
            given_up += await self._taking_back.give_up_owned(owner["sk"])
            if now - int(owner["at"]) > _FORGOTTEN_AFTER:
                await self._table.delete_many([(keys.OWNERS, owner["sk"])])
        return given_up


def owner_known(worker: str, now: int) -> Update:
    """Return the write by which a reap finds the jobs of an owner that is gone by then."""
    return Update((keys.OWNERS, worker), new=True, replace=True, set={"at": now})
