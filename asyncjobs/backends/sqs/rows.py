"""Represent a job's row: the item of the table that changes with every transition, and back.

The row is one item, so each transition is one conditional write: what ``core`` decides on (``JobState``), the states
of the edges to its parents, its last events, its place in the indexes. Attributes are short, since a write costs by
the size of the item: ``ATTRIBUTES`` names them.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct, msgpack, structs

from asyncjobs.backends.sqs import keys
from asyncjobs.backends.sqs.table import Item, Update
from asyncjobs.backends.unreadable import mark, problem
from asyncjobs.core.lanes import Lane
from asyncjobs.core.retry import RetryPolicy, decode_policy, encode_policy
from asyncjobs.core.state import UNKNOWN_GATE, EdgeRow, EndedAttempt, GateState, JobState, NewEvent, Role
from asyncjobs.models import EdgeState, Isolation, JobError, JobStatus, OutcomeKind, WaitsFor

IN_TABLE = 4 << 20
"""Bytes of a value that the table keeps, in parts."""
ATTRIBUTES = {
    "id": "the id of the job",
    "n": "its number, by which jobs are ordered",
    "s": "the state, packed: what differs from the defaults",
    "v": "the version: how many transitions there were",
    "q": "the number of its newest event",
    "lg": "its newest events, packed",
    "lgd": "the number of the newest event that is in the log",
    "lgp": "the last pages of the log that have events of it",
    "lgo": "there, if it is in earlier pages, too: their numbers have items of their own",
    "r": "what never changes, packed",
    "e": "the states of the edges to its parents, in the order of the parents",
    "d": "its parents, packed, if they are few; else they have an item of their own",
    "g": "how often an edge to it was opened again",
    "rt": "the retries that opened edges to it and were not done then: see ``retries``",
    "kids": "there, if another job depends on it",
    "ow": "there, if it has ended and its dependents are not all settled",
    "val": "its result, if that is small",
    "vr": "the name and the number of parts of its result, if that is not small",
    "wk": "the id and the name of the worker that has or had it",
    "pg": "the progress that was reported last, with its attempt, packed",
    "er": "the number of its last attempt that had an error",
    "gt": "what it has as a gate, packed",
    "pi": "the id of the gate on which it is parked",
    "batch": "the batch that decides whether it exists",
    "rm": "the batch that decides whether it is removed",
}
"""The attributes of a row, beside the keys of the table and of the indexes."""


class Parent(Struct, frozen=True, array_like=True):
    """A parent of a job, as its dependent knows it."""

    id: str
    n: int
    optional: bool = False


class Fixed(Struct, frozen=True, array_like=True, kw_only=True):
    """What never changes of a job. ``call`` is None if it is stored apart, in ``call_parts`` items."""

    queue: str
    function: str
    owner: str | None = None
    parent: int | None = None
    parent_id: str | None = None
    created_at: int = 0
    timeout: float | None = None
    capacity: int | None = None
    injects: bool = False
    isolation: Isolation = "thread"
    metadata: bytes | None = None
    call: bytes | None = None
    call_parts: int = 0
    edges: int = 0

    @property
    def parent_key(self) -> tuple[str, int] | None:
        """The id and the number of the job from whose body it was submitted."""
        return None if self.parent is None or self.parent_id is None else (self.parent_id, self.parent)

    @property
    def lane(self) -> Lane:
        """Return the lane of the job."""
        return Lane(self.queue, self.function, self.owner)


class StoredValue(Struct, frozen=True, array_like=True):
    """A value that stands in items of its own: the name that they share, how many there are, and its bytes."""

    name: str
    parts: int
    size: int

    @property
    def in_bucket(self) -> bool:
        """Whether it is in S3: then its only item names the object."""
        return self.size > IN_TABLE


class Row(Struct, frozen=True, kw_only=True):
    """A job's row, as it was read or written last."""

    state: JobState
    fixed: Fixed
    version: int = 0
    edges: tuple[int, ...] = ()
    parents: tuple[Parent, ...] | None = ()
    """None: in an item of their own."""
    reopened: int = 0
    retries: tuple[str, ...] = ()
    kids: bool = False
    owed: bool = False
    log: tuple[bytes, ...] = ()
    logged: int = 0
    pages: tuple[int, ...] = ()
    """The last pages of the log that have events of it."""
    pages_apart: bool = False
    value: bytes | None = None
    value_at: StoredValue | None = None
    worker: tuple[str, str] | None = None
    progress: bytes | None = None
    failed_attempt: int | None = None
    """The last attempt that ended with an error: its record has it."""
    gate: GateState | None = None
    parked_id: str | None = None
    due: int | None = None
    """The end of a duration, by the steady clock of the store."""
    batch: str | None = None
    """The batch that inserted it, while it has no place in the indexes yet."""
    removal: str | None = None
    """The batch that will remove it, unless that is aborted."""

    @property
    def id(self) -> str:
        """The id of the job."""
        return self.state.id

    @property
    def n(self) -> int:
        """The number of the job."""
        return self.state.n

    @property
    def partition(self) -> str:
        """The partition of what belongs to the job beside its row."""
        return keys.job(self.state.id, self.state.n)


_DEFAULTS: dict[str, Any] = {
    field.name: field.default
    for field in structs.fields(JobState)
    if field.name not in ("n", "id", "seq", "open", "met", "unreadable")
}
_NAMES = tuple(_DEFAULTS)
_PACK = msgpack.Encoder().encode


def _packed_state(row: Row) -> bytes:
    """Pack what differs from the defaults, by the place of the field: the core may grow fields at the end."""
    state = row.state
    packed: dict[int, Any] = {}
    for place, name in enumerate(_NAMES):
        value = getattr(state, name)
        if value != _DEFAULTS[name]:
            packed[place] = encode_policy(value) if name == "retry" else value
    if row.due is not None:
        packed[_DUE] = row.due
    return _PACK(packed)


_DUE = 1000
_READERS = {
    "status": JobStatus,
    "waits_for": WaitsFor,
    "retry": decode_policy,
    "role": Role,
}
_STAND_INS: dict[str, Any] = {
    "status": JobStatus.FAILED,
    "waits_for": None,
    "retry": RetryPolicy(max_retries=0),
    "role": Role.ASKER,
    "parked": UNKNOWN_GATE,
}
_state_decoder = msgpack.Decoder(dict[int, Any])


def _read_state(item: Item, edges: tuple[int, ...]) -> tuple[JobState, int | None]:
    """Read a state. What cannot be read has stand-ins, and a mark."""
    problems: list[str] = []
    try:
        packed = _state_decoder.decode(item["s"])
    except Exception as error:  # border: the item may hold anything
        packed = {}
        problems.append(problem("state", error))
    fields: dict[str, Any] = {} if not problems else {"status": JobStatus.FAILED, "waits_for": None}
    for place, name in enumerate(_NAMES):
        if place not in packed:
            continue
        value = packed[place]
        reader = _READERS.get(name)
        try:
            fields[name] = value if reader is None or value is None else reader(value)
        except Exception as error:  # border: as above
            fields[name] = _STAND_INS[name]
            problems.append(problem("retry policy" if name == "retry" else name, error))
    state = JobState(
        n=int(item["n"]),
        id=item["id"],
        seq=int(item.get("q", 0)),
        open=sum(state == EdgeState.OPEN for state in edges),
        met=sum(state == EdgeState.MET for state in edges),
        unreadable=mark(problems) if problems else None,
        **fields,
    )
    return state, packed.get(_DUE)


_fixed_decoder = msgpack.Decoder(Fixed)
_gate_decoder = msgpack.Decoder(GateState)
_parents_decoder = msgpack.Decoder(tuple[Parent, ...])
_NO_RECORD = Fixed(queue="?", function="?")


def read_row(item: Item) -> Row:
    """Make a row of an item. Unreadable parts have stand-ins, which ``JobState.unreadable`` names."""
    edges = tuple(int(state) for state in item.get("e", ()))
    state, due = _read_state(item, edges)
    problems = [] if state.unreadable is None else [state.unreadable.removeprefix("unreadable: ")]

    def read(name: str, attribute: str, decoder: msgpack.Decoder[Any], instead: Any) -> Any:
        if attribute not in item:
            return None
        try:
            return decoder.decode(item[attribute])
        except Exception as error:  # border: the item may hold anything
            problems.append(problem(name, error))
            return instead

    fixed = read("record", "r", _fixed_decoder, _NO_RECORD) or _NO_RECORD
    gate = read("gate", "gt", _gate_decoder, None)
    parents = read("dependencies", "d", _parents_decoder, ())
    if problems:
        state = structs.replace(state, unreadable=mark(problems))
    value_at = item.get("vr")
    return Row(
        state=state,
        fixed=fixed,
        version=int(item.get("v", 0)),
        edges=edges,
        parents=parents if parents is not None or edges else (),
        reopened=int(item.get("g", 0)),
        retries=tuple(item.get("rt", ())),
        kids="kids" in item,
        owed="ow" in item,
        log=tuple(item.get("lg", ())),
        logged=int(item.get("lgd", 0)),
        pages=tuple([int(page) for page in item.get("lgp", ())]),
        pages_apart="lgo" in item,
        value=item.get("val"),
        value_at=None if value_at is None else msgpack.decode(value_at, type=StoredValue),
        worker=None if "wk" not in item else (item["wk"][0], item["wk"][1]),
        progress=item.get("pg"),
        failed_attempt=None if "er" not in item else int(item["er"]),
        gate=gate,
        parked_id=item.get("pi"),
        due=due,
        batch=item.get("batch"),
        removal=item.get("rm"),
    )


def _attributes(row: Row, shards: int) -> dict[str, Any]:
    """Return the attributes of a row, without those of the log, which others write."""
    found: dict[str, Any] = {
        "id": row.id,
        "n": row.n,
        "s": _packed_state(row),
        "v": row.version,
        "q": row.state.seq,
        "r": _PACK(row.fixed),
        "e": list(row.edges) if row.edges else None,
        "d": _PACK(row.parents) if row.parents else None,
        "g": row.reopened or None,
        "rt": list(row.retries) or None,
        "kids": 1 if row.kids else None,
        "ow": 1 if row.owed else None,
        "val": row.value,
        "vr": None if row.value_at is None else _PACK(row.value_at),
        "wk": None if row.worker is None else list(row.worker),
        "pg": row.progress,
        "er": row.failed_attempt,
        "gt": None if row.gate is None else _PACK(row.gate),
        "pi": row.parked_id,
        "batch": row.batch,
        "rm": row.removal,
    }
    found |= places(row, shards)
    return {name: value for name, value in found.items() if value is not None}


def places(row: Row, shards: int) -> dict[str, str | None]:
    """Return the keys of a row in the indexes. A row whose batch is not done has none."""
    if row.batch is not None:
        return {}
    state, at = row.state, keys.shard(row.id, shards)
    partition, order = _work(row, at)
    if state.status.terminal:
        listed = keys.ended(state.status, at)
    else:
        listed = keys.asking(at) if state.waits_for is WaitsFor.ANSWER else keys.live(at)
    return {"wp": partition, "ws": order, "lp": listed, "gp": keys.unlogged(at) if row.logged < state.seq else None}


def _work(row: Row, at: int) -> tuple[str | None, str | None]:
    state = row.state
    if row.owed:
        return keys.owed(at), keys.number(row.n)
    match state.waits_for:
        case WaitsFor.WORKER:
            return keys.ready(keys.lane(row.fixed.lane), at), keys.rank(state.priority, row.n)
        case WaitsFor.LIMIT if state.limit is not None:
            return keys.limited(state.limit), keys.rank(state.priority, row.n)
        case WaitsFor.TIME:
            return keys.delayed(at), due_order(row)
        case WaitsFor.ANSWER if state.role is Role.GATE and state.run_at is not None:
            return keys.deadlines(at), f"{keys.number(state.run_at)}#{keys.number(row.n)}"
        case _:
            return None, None


def due_order(row: Row) -> str:
    """Return where a delayed job stands: ``d`` if it waits for the end of a duration, ``m`` for a moment."""
    if row.due is not None:
        return f"{keys.number(row.due)}#d#{keys.number(row.n)}"
    return f"{keys.number(row.state.run_at or 0)}#m#{keys.number(row.n)}"


def created(row: Row, shards: int) -> Update:
    """Return the write that stores a new row."""
    return Update(keys.row(row.id), new=True, set={**_attributes(row, shards), "lg": list(row.log), "lgd": row.logged})


def changed(before: Row, after: Row, shards: int) -> Update:
    """Return the write that makes of a row as it was read what it is to be; refused if it changed meanwhile.

    Events are appended, and what the log's appender writes is left alone.
    """
    old, new = _attributes(before, shards), _attributes(after, shards)
    # The appender of the log takes the row out of its index, whatever was read here: new events put it back.
    logged_anew = after.state.seq > before.state.seq or before.batch is not None
    logs = {"gp": new.get("gp")} if logged_anew and "gp" in new else {}
    old.pop("gp", None)
    new.pop("gp", None)
    return Update(
        keys.row(after.id),
        set={name: value for name, value in new.items() if old.get(name) != value} | logs,
        remove=tuple(name for name in old if name not in new),
        append={"lg": list(after.log[len(before.log) :])} if len(after.log) > len(before.log) else {},
        equal={"v": before.version, "q": before.state.seq, "n": before.n},
    )


# -- events


class Entry(Struct, frozen=True, array_like=True):
    """An event of a job, as it is packed into its row, or into a chunk of events."""

    seq: int
    type: str
    at: int
    attempt: int
    status: str | None = None
    data: bytes | None = None
    data_at: StoredValue | None = None


_entry_decoder = msgpack.Decoder(Entry)


def pack_event(event: NewEvent, data: bytes | StoredValue | None) -> bytes:
    """Pack an event with its data, or with the name under which its data are stored."""
    status = None if event.status is None else str(event.status)
    here, apart = (None, data) if isinstance(data, StoredValue) else (data, None)
    return _PACK(Entry(event.seq, event.type, event.at, event.attempt, status, here, apart))


def read_entry(packed: bytes) -> Entry:
    """Unpack an event."""
    return _entry_decoder.decode(packed)


# -- attempts


class PackedAttempt(Struct, frozen=True, array_like=True):
    """An attempt that has ended, with the name of its worker: the worker may be gone when it is read."""

    attempt: int
    worker: int | None
    name: str | None
    started_at: int | None
    finished_at: int
    kind: OutcomeKind
    error: JobError | None = None


def pack_attempt(ended: EndedAttempt, worker: tuple[str, str] | None) -> bytes:
    """Pack an attempt."""
    name = None if worker is None or ended.worker is None else worker[1]
    return _PACK(
        PackedAttempt(ended.attempt, ended.worker, name, ended.started_at, ended.finished_at, ended.kind, ended.error)
    )


_attempt_decoder = msgpack.Decoder(PackedAttempt)


def read_attempt(packed: bytes) -> PackedAttempt:
    """Unpack an attempt."""
    return _attempt_decoder.decode(packed)


def attempt_key(row: Row, attempt: int) -> tuple[str, str]:
    """Return the key of the record of an attempt; that of attempt 0 records why a pending job was given up."""
    return row.partition, f"{keys.ATTEMPT}{attempt:010d}"


def edge_rows(child: Row, parents: tuple[Parent, ...]) -> list[EdgeRow]:
    """Return the edges to a job."""
    return [
        EdgeRow(parent.n, child.n, parent.optional, EdgeState(state))
        for parent, state in zip(parents, child.edges, strict=True)
    ]
