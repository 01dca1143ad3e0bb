"""Decide about many rows in one moment: a batch is an item, and what it says of itself holds for all rows that name it.

A submission of many jobs writes rows that name its batch, and they exist once the batch is committed. A removal of many
lets their rows name a batch, and they are gone once that is committed. Whoever reads such a row looks the batch up.
What was decided about a batch never changes, so each store remembers it.

A batch stands in the index of work until it is done: until none of its rows needs it any more.
"""

from __future__ import annotations

from collections.abc import Iterable
from secrets import token_hex

from msgspec import Struct, msgpack

from asyncjobs.backends.sqs import keys, payloads
from asyncjobs.backends.sqs.server_clock import StoreClock
from asyncjobs.backends.sqs.table import Item, Key, Refused, Table, Update

INSERT, REMOVE, WIPE, RETRY = "i", "r", "w", "t"
"""What the names of batches begin with: rows to insert; rows to remove; what is left of rows that were removed; a job
that is retried with more descendants than a transaction takes, and is committed from the beginning."""
STAGING, COMMITTED, ABORTED = "staging", "committed", "aborted"
_KEPT = 7 * 86_400
"""Seconds for which a batch is kept that is done: a reader may have read a row of it just before."""
_INLINE = 300_000
"""Bytes of contents that the item of a batch has itself."""
_REMEMBERED = 1000
SLICE = 400
"""Rows between two signs of life of a process that stages a batch."""


class Contents(Struct, frozen=True, array_like=True):
    """What a batch is about.

    ``rows`` and ``parents`` are jobs by id and number: those that it inserts or removes, and the stored ones on which
    the inserted ones depend. ``others`` are the keys of items that belong to its rows and stand elsewhere.
    """

    rows: tuple[tuple[str, int], ...]
    others: tuple[Key, ...] = ()
    parents: tuple[tuple[str, int], ...] = ()

    def packed(self) -> bytes:
        """Return it as it is stored."""
        return msgpack.encode(self)

    def parts(self) -> list[bytes]:
        """Return the parts in which it is stored, if the item of a batch cannot hold it."""
        packed = self.packed()
        return payloads.chunks(packed) if len(packed) > _INLINE else []


_decoder = msgpack.Decoder(Contents)


def new_name(kind: str) -> str:
    """Return the name of a new batch."""
    return kind + token_hex(12)


def key(batch: str) -> Key:
    """Return the key of the item of a batch."""
    return f"B#{batch}", "M"


def begun(batch: str, contents: Contents, clock: StoreClock, shards: int, state: str = STAGING) -> Update:
    """Return the write that begins a batch."""
    packed, parts, now = contents.packed(), contents.parts(), clock.now()
    more = {"parts": len(parts)} if parts else {"c": packed}
    index = {"wp": keys.staged(keys.shard(batch, shards)), "ws": keys.number(now)}
    return Update(key=key(batch), new=True, set={"id": batch, "st": state, "at": now, **more, **index})


async def begin(table: Table, batch: str, contents: Contents, clock: StoreClock, shards: int) -> None:
    """Begin a batch: its item first, so that a process that dies leaves nothing that none can find."""
    await table.write(begun(batch, contents, clock, shards))
    parts = contents.parts()
    named = zip(_part_keys(batch, len(parts)), parts, strict=True)
    await table.put_many([{"pk": pk, "sk": sk, "b": part} for (pk, sk), part in named])


def _part_keys(batch: str, count: int) -> list[Key]:
    return [(key(batch)[0], f"I#{place:04d}") for place in range(count)]


async def contents_of(table: Table, item: Item) -> Contents | None:
    """Read what a batch is about; None if it was not written completely, and so nothing else was."""
    if "c" in item:
        return _decoder.decode(item["c"])
    wanted = _part_keys(item["id"], int(item.get("parts", 0)))
    found = await table.get(wanted) if wanted else {}
    if not wanted or len(found) < len(wanted):
        return None
    return _decoder.decode(b"".join(found[part]["b"] for part in wanted))


async def beat(table: Table, batch: str, clock: StoreClock) -> bool:
    """Show that the process is alive that stages a batch; return False if another one has aborted it."""
    alive = Update(key=key(batch), set={"at": clock.now()}, add={"beat": 1}, equal={"st": STAGING})
    return not isinstance(await table.write(alive), Refused)


def commitment(batch: str, clock: StoreClock) -> Update:
    """Return the write that commits a batch."""
    return Update(key=key(batch), set={"st": COMMITTED, "at": clock.now()}, equal={"st": STAGING})


async def abort(table: Table, batch: str, clock: StoreClock) -> bool:
    """Abort a batch that is not decided; return False if it was committed."""
    answer = await table.write(Update(key=key(batch), set={"st": ABORTED, "at": clock.now()}, equal={"st": STAGING}))
    committed = isinstance(answer, Refused) and answer.item is not None and answer.item.get("st") == COMMITTED
    remember(table, batch, committed)
    return not committed


async def done(table: Table, batch: str, parts: int, clock: StoreClock) -> None:
    """Take a batch out of the index of work: no row needs it any more."""
    await table.delete_many(_part_keys(batch, parts))
    ended = Update(
        key=key(batch),
        set={"ttl": clock.now() // 1_000_000 + _KEPT},
        remove=("wp", "ws", "c", "parts"),
        present=("wp",),
    )
    await table.write(ended)


async def delete(table: Table, batch: str, parts: int) -> None:
    """Delete a batch that was aborted, and left nothing: one that is not there counts as aborted."""
    await table.delete_many([*_part_keys(batch, parts), key(batch)])


async def look(table: Table, batches: Iterable[str]) -> dict[str, bool | None]:
    """Return whether these batches were committed; None of those that are not decided.

    One that is not there was aborted, or has been done for a long time.
    """
    found: dict[str, bool | None] = {}
    unknown: list[str] = []
    for batch in batches:
        if batch in table.decided:
            found[batch] = table.decided[batch]
        else:
            unknown.append(batch)
    items = await table.get([key(batch) for batch in unknown]) if unknown else {}
    for batch in unknown:
        state = items.get(key(batch), {}).get("st", ABORTED)
        found[batch] = None if state == STAGING else state == COMMITTED
        if state != STAGING:
            remember(table, batch, state == COMMITTED)
    return found


def remember(table: Table, batch: str, committed: bool) -> None:
    """Remember what was decided about a batch."""
    table.decided[batch] = committed
    while len(table.decided) > _REMEMBERED:
        table.decided.popitem(last=False)
