"""Hand the events of a commit to listeners, most of which only need to know which jobs have ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Self, overload

from asyncjobs.core.state import NewEvent
from asyncjobs.models import TERMINAL, JobEvent


class CommittedEvents(Sequence[JobEvent]):
    """The events of one commit, in order. They are made when one of them is read first; most listeners read none.

    :param changes: for each event, the id of its job and what happened.
    :param first: the position of the first event, which the others follow without holes; None: the log has no position
        for them yet.
    :param make: returns the events.
    """

    __slots__ = ("_events", "_make", "changes", "ended", "first", "last")

    def __init__(
        self,
        changes: Sequence[tuple[str, NewEvent | JobEvent]],
        first: int | None,
        make: Callable[[], Sequence[JobEvent]],
    ) -> None:
        self.changes: Sequence[tuple[str, NewEvent | JobEvent]] = changes
        self.ended: Sequence[tuple[str, NewEvent | JobEvent]] = [one for one in changes if one[1].status in TERMINAL]
        """The changes by which a job became terminal."""
        self.first: int = 0 if first is None else first
        """The position of the first event, 0 without one."""
        self.last: int = self.first + len(changes) - 1
        self._make = make
        self._events: Sequence[JobEvent] | None = None

    @classmethod
    def of(cls, events: Sequence[JobEvent]) -> Self:
        """Return events that are made already."""
        first = int(events[0].cursor) if events and events[0].cursor else None
        return cls([(event.job_id, event) for event in events], first, lambda: events)

    def __len__(self) -> int:
        return len(self.changes)

    @overload
    def __getitem__(self, index: int) -> JobEvent: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[JobEvent]: ...
    def __getitem__(self, index: int | slice) -> JobEvent | Sequence[JobEvent]:
        return self._made()[index]

    def __iter__(self) -> Iterator[JobEvent]:
        return iter(self._made())

    def _made(self) -> Sequence[JobEvent]:
        if self._events is None:
            self._events = self._make()
        return self._events


NO_EVENTS = CommittedEvents((), None, tuple)
