"""Store what a body reports once, though the answer to the write that stored it was lost.

Whoever reports does so again after an error. What a failed call may have stored is remembered, and looked for among the
newest events of the job before it is stored again.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct, field, msgpack, structs

from asyncjobs.backends.base import AttemptRef
from asyncjobs.backends.sqs.loading import read_rows
from asyncjobs.backends.sqs.log_events import EventReader
from asyncjobs.backends.sqs.log_pages import Place
from asyncjobs.backends.sqs.table import Table
from asyncjobs.clock import from_datetime
from asyncjobs.models import BodyEvent

_OF_OTHERS = 20
"""Events that others may have written behind those of a body: requests to cancel it, the ends of its questions."""
_REMEMBERED = 1000
_TRIFLE = 1_000
"""µs."""

_Data = Mapping[str, Any]


class _Doubt(Struct):
    """How many events of an attempt may be stored, and by which moments, of those by which its body has reported."""

    many: int = 0
    moments: dict[int, int] = field(default_factory=dict[int, int])


class Reported:
    """What bodies of this process have reported by calls that failed.

    :param by_store: returns a moment of the clock of this host by the time of the store, as far as that is known now.
    """

    def __init__(self, table: Table, by_store: Callable[[int], int]) -> None:
        self._table = table
        self._by_store = by_store
        self._doubted: OrderedDict[AttemptRef, _Doubt] = OrderedDict()
        self._shift = 0

    def by_store(self, attempt: AttemptRef, events: Sequence[BodyEvent]) -> tuple[BodyEvent, ...]:
        """Return events by the time of the store: the same moment again for what a failed call may have stored."""
        doubt = self._doubted.get(attempt)
        known = {} if doubt is None else doubt.moments
        shift = self._shift_of(events)
        moments = [known.get(event.at, event.at + shift) for event in events]
        return tuple([structs.replace(event, at=at) for event, at in zip(events, moments, strict=True)])

    def _shift_of(self, events: Sequence[BodyEvent]) -> int:
        """Return by how much the clock of the store is ahead: the same until that has changed by more than a trifle.

        Each look at both clocks gives another number of µs, which would reverse what was reported at almost one moment.
        """
        if events:
            shift = self._by_store(events[0].at) - events[0].at
            if abs(shift - self._shift) > _TRIFLE:
                self._shift = shift
        return self._shift

    def doubt(self, attempt: AttemptRef, events: Sequence[BodyEvent], stored: Sequence[BodyEvent]) -> None:
        """Note that a call failed which may have stored these events.

        :param stored: the same by the time of the store.
        """
        doubt = self._doubted.setdefault(attempt, _Doubt())
        doubt.many += len(events)
        doubt.moments |= {event.at: by_store.at for event, by_store in zip(events, stored, strict=True)}
        while len(self._doubted) > _REMEMBERED:
            self._doubted.popitem(last=False)

    def settle(self, attempt: AttemptRef) -> None:
        """Note that all is known of what was reported."""
        self._doubted.pop(attempt, None)

    async def unstored(self, attempt: AttemptRef, events: Sequence[BodyEvent]) -> tuple[BodyEvent, ...]:
        """Return what of these events is not stored. Of a text that has grown since, that is its end."""
        doubt = self._doubted.get(attempt)
        if doubt is None or not events:
            return tuple(events)
        stored = await self._newest(attempt, doubt.many + _OF_OTHERS)
        rests = (_rest(event, stored.get((event.type, event.at), ())) for event in events)
        return tuple([rest for rest in rests if rest is not None])

    async def _newest(self, attempt: AttemptRef, many: int) -> Mapping[tuple[str, int], Sequence[_Data]]:
        """Read so many of the newest events of a job; return the data of those of this attempt, by type and moment."""
        row = (await read_rows(self._table, [attempt.job_id]))[attempt.job_id]
        found: defaultdict[tuple[str, int], list[_Data]] = defaultdict(list)
        if row is not None:
            last = row.state.seq
            places = [Place(0, row.id, row.n, seq) for seq in range(max(1, last - many + 1), last + 1)]
            for event in await EventReader(self._table).read(places):
                if event.attempt == attempt.attempt:
                    found[event.type, from_datetime(event.at)].append(event.data)
        return found


def _rest(event: BodyEvent, stored: Sequence[_Data]) -> BodyEvent | None:
    """Return what is left to be stored of an event; None if nothing is.

    :param stored: the data of the stored events of this type and moment.
    """
    if not stored:
        return event
    data = msgpack.decode(msgpack.encode(event.data))  # as it comes back
    if data in stored:
        return None
    for shorter in stored:
        differing = [name for name in data if data[name] != shorter.get(name)]
        if len(differing) == 1 and data.keys() == shorter.keys():
            (name,) = differing
            text, begins = data[name], shorter[name]
            if isinstance(text, str) and isinstance(begins, str) and text.startswith(begins):
                return BodyEvent(event.type, {**event.data, name: text[len(begins) :]}, event.at)
    return event
