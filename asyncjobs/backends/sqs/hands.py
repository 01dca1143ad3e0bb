"""Write down what workers have in hand: the ids of jobs that they may have taken, before they take them.

The item of a worker has a few of them itself; more would be paid with each of its heartbeats. The others stand in
parts, items of their own that never change. A part is written under a new name, then named by the item of its worker,
in the write that is refused once the worker is marked as gone; and deleted when the item no longer names it. So whoever
has marked a worker as gone finds by its item all that it may have taken, wherever the worker has stopped.

Each of those writes has a number, and is refused if it is not the next one: one that was given up, and arrives late,
changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from secrets import token_hex

import anyio
from msgspec import Struct, msgpack

from asyncjobs.backends.sqs import keys
from asyncjobs.backends.sqs.outlook import Outlook
from asyncjobs.backends.sqs.rows import Row
from asyncjobs.backends.sqs.table import Item, Refused, Table, Update
from asyncjobs.exceptions import BackendError
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs.sqs")

_IN_ITEM = 8_000
"""Bytes of ids that the item of a worker has itself: each of its writes costs by its size."""
_IN_PART = 290_000
"""Bytes of ids in a part: two of them go in one call."""

_ids = msgpack.Decoder(tuple[str, ...])


class Hand:
    """What a worker of this process holds.

    ``running`` are the attempts that were handed out, by job. ``in_doubt`` are jobs that it may have taken: they were
    written down, and nothing has said yet whether they were taken, or their attempt was not handed out. ``owing`` are
    those that it has ended and whose dependents are not all settled: who finds it dead finds them by its list alone.
    """

    def __init__(self, number: int, name: str) -> None:
        self.number = number
        self.name = name
        self.running: dict[str, int] = {}
        self.in_doubt: dict[str, None] = {}
        self.owing: dict[str, Row] = {}
        self.lock = anyio.Lock()
        self.outlook = Outlook()
        self.parts: dict[str, tuple[str, ...]] = {}
        """The ids of each part that the item of the worker names."""
        self.written = 0
        """The number of the last write of this that is known to be done."""
        self.listed = 0
        """How many ids the last write of this has named."""
        self.unnamed: set[str] = set()
        """Parts that it does not name any more, or may not name, and that were not deleted yet."""

    @property
    def held(self) -> dict[str, None]:
        """The ids of all that it holds, which are written down."""
        return dict.fromkeys((*self.running, *self.in_doubt, *self.owing))

    @property
    def is_shorter(self) -> bool:
        """Whether it holds less than is written down: others see jobs with the worker that have ended."""
        return len(self.held) < self.listed

    def end(self, job_id: str, attempt: int, owed: Sequence[Row]) -> None:
        """Let go of an attempt that has ended, and hold the job until its dependents are settled, if it has some."""
        self.owing |= {row.id: row for row in owed}
        if self.running.get(job_id) == attempt:
            del self.running[job_id]

    def settled(self, row: Row) -> None:
        """Let go of a job whose dependents are settled, unless it was run again meanwhile."""
        if self.owing.get(row.id) is row:
            del self.owing[row.id]


class _Spread(Struct, frozen=True):
    """Ids, spread over the item of a worker and parts."""

    here: Sequence[str]
    kept: dict[str, tuple[str, ...]]
    new: dict[str, tuple[str, ...]]


def _spread(held: Collection[str], parts: Mapping[str, tuple[str, ...]]) -> _Spread:
    """Spread what is held: parts stay as they are while half of what they name is held."""
    kept = {name: ids for name, ids in parts.items() if 2 * sum(job_id in held for job_id in ids) >= len(ids)}
    named = {job_id for ids in kept.values() for job_id in ids}
    left = [job_id for job_id in held if job_id not in named]
    if sum(len(job_id.encode()) for job_id in left) <= _IN_ITEM:
        return _Spread(left, kept, {})
    new: list[list[str]] = []
    room = 0
    for job_id in left:
        size = len(job_id.encode()) + 5
        if size > room:
            new.append([])
            room = _IN_PART
        new[-1].append(job_id)
        room -= size
    return _Spread([], kept, {token_hex(6): tuple(ids) for ids in new})


async def write_down(table: Table, worker: str, hand: Hand, now: int, counts: Mapping[str, int] | None = None) -> bool:
    """Write down what a worker has in hand; return False if it is marked as gone, and may take nothing.

    It is a heartbeat, too: no worker takes jobs that a reaper is about to take from it.

    :param counts: what the process has counted of its messages, if that is to be written, too.
    """
    held = hand.held
    hand.listed = len(held)
    spread = _spread(held, hand.parts)
    parts = spread.kept | spread.new
    may_name_parts = bool(hand.parts or hand.unnamed)
    hand.unnamed |= spread.new.keys()
    await table.put_many(
        [{"pk": keys.hand(worker), "sk": name, "b": msgpack.encode(ids)} for name, ids in spread.new.items()]
    )
    while True:
        more: Item = {"parts": list(parts), "many": len(held)} if parts else {}
        if counts:
            more["counts"] = dict(counts)
        written = Update(
            (keys.WORKERS, worker),
            set={"held": list(spread.here), "at": now, "hand": hand.written + 1, **more},
            add={"beat": 1},
            remove=("parts", "many") if may_name_parts and not parts else (),
            equal={"hand": hand.written},
            absent=("gone",),
        )
        answer = await table.write(written)  # an error may leave it unknown which parts are named: then all stay
        if not isinstance(answer, Refused):
            break
        item = answer.item or {}
        if not item or "gone" in item:
            hand.unnamed -= set(item.get("parts", ()))  # they are for the one that has marked it
            await _delete(table, worker, hand)
            return False
        hand.written = int(item["hand"])  # an earlier write was done whose answer was lost
    hand.written += 1
    hand.unnamed = (hand.unnamed | hand.parts.keys()) - parts.keys()
    hand.parts = parts
    await _delete(table, worker, hand)
    return True


async def _delete(table: Table, worker: str, hand: Hand) -> None:
    """Delete parts that the item of the worker does not name."""
    if not hand.unnamed:
        return
    try:
        await table.delete_many([(keys.hand(worker), name) for name in hand.unnamed])
    except BackendError as error:  # it is no reason not to take jobs; the next claim tries it again
        logger.debug("parts of what worker %s has in hand stay for now: %s", worker, error)
    else:
        hand.unnamed = set()


async def held_by(table: Table, item: Item) -> list[str]:
    """Return the ids of what a worker has in hand, by its item.

    If the item names parts that are not there any more, it was written meanwhile, and is read again; or the worker is
    gone, and another process has taken everything back.
    """
    while True:
        named = [(keys.hand(item["sk"]), name) for name in item.get("parts", ())]
        found = await table.get(named) if named else {}
        now = item if len(found) == len(named) else (await table.get([_key(item)])).get(_key(item))
        if now is None or now.get("parts") == item.get("parts"):
            parts = [job_id for key in named if key in found for job_id in _ids.decode(found[key]["b"])]
            return list(dict.fromkeys([*item.get("held", ()), *parts]))
        item = now


def _key(item: Item) -> tuple[str, str]:
    return item["pk"], item["sk"]


def how_many(item: Item) -> int:
    """Return how many jobs a worker has in hand, as it has written down."""
    return int(item.get("many", len(item.get("held", ()))))


async def forget(table: Table, worker: str) -> None:
    """Delete the item of a worker that is gone, after its parts: those that none named, too."""
    parts = await table.query_all(keys.hand(worker))
    await table.delete_many([*((part["pk"], part["sk"]) for part in parts)])
    await table.delete_many([(keys.WORKERS, worker)])
