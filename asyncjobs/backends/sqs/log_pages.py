"""Pack a page of the log: which events of which jobs it has, in which order. The events stand with their jobs.

A cursor is the number of a page × 1,024, and the place of the event in that page, from 1.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct, msgpack

from asyncjobs.backends.sqs.rows import Row
from asyncjobs.exceptions import ConfigurationError

_SHIFT = 10
MOST_JOBS = 99
MOST_EVENTS = 1000
_MOST_BYTES = 300_000
_LARGEST = 2**63 - 1


class Paged(Struct, frozen=True, array_like=True):
    """A job of a page: the first of its events there, how many there are, and the place of its group's name."""

    id: str
    n: int
    first: int
    count: int
    group: int | None = None

    @property
    def last(self) -> int:
        """The number of its last event in the page."""
        return self.first + self.count - 1


class Place(Struct, frozen=True):
    """An event by its cursor, its job, and its number among the events of that job."""

    cursor: int
    id: str
    n: int
    seq: int


class LogPage(Struct, frozen=True, array_like=True):
    """A page. ``runs`` are pairs, one after the other: the place of a job, and how many of its events come next."""

    number: int = 0
    groups: tuple[str, ...] = ()
    jobs: tuple[Paged, ...] = ()
    runs: tuple[int, ...] = ()

    @property
    def end(self) -> int:
        """The cursor of the last event."""
        return (self.number << _SHIFT) + sum(self.runs[1::2])

    def places(self, after: int, job: tuple[str, int] | None = None, group: str | None = None) -> Iterator[Place]:
        """Return the events behind a cursor, in order: all, those of a job (id, n), or those of a group."""
        wanted = [place for place, paged in enumerate(self.jobs) if self._is_wanted(paged, job, group)]
        chosen = frozenset(wanted)
        seqs = [paged.first for paged in self.jobs]
        cursor = self.number << _SHIFT
        for place, count in zip(self.runs[::2], self.runs[1::2], strict=True):
            paged = self.jobs[place]
            if place in chosen:
                for more in range(max(1, after - cursor + 1), count + 1):
                    yield Place(cursor + more, paged.id, paged.n, seqs[place] + more - 1)
            seqs[place] += count
            cursor += count

    def newest(self, job_id: str, n: int) -> int:
        """Return the number of the newest event of a job that it has; 0 without any."""
        return max((paged.last for paged in self.jobs if (paged.id, paged.n) == (job_id, n)), default=0)

    def _is_wanted(self, paged: Paged, job: tuple[str, int] | None, group: str | None) -> bool:
        if job is not None:
            return (paged.id, paged.n) == job
        return group is None or (paged.group is not None and self.groups[paged.group] == group)


_decoder = msgpack.Decoder(LogPage)


def pack(page: LogPage) -> bytes:
    """Pack a page."""
    return msgpack.encode(page)


def unpack(packed: bytes) -> LogPage:
    """Unpack a page."""
    return _decoder.decode(packed)


def page_of(cursor: int) -> int:
    """Return the number of the page of a cursor."""
    return cursor >> _SHIFT


def position(cursor: object) -> int:
    """Return the position that a cursor stands for; None is the beginning.

    :raises ConfigurationError: it is not a cursor.
    """
    if cursor is None:
        return 0
    # isascii: "²" is a digit to isdigit() but not to int().
    if isinstance(cursor, str) and cursor.isascii() and cursor.isdigit() and len(cursor) <= 19:
        number = int(cursor)
        if number <= _LARGEST:  # also where no event stands: positions have holes, and readers begin at round ones
            return number
    raise no_cursor(cursor)


def no_cursor(cursor: object) -> ConfigurationError:
    """Return the error for what is no cursor of this log."""
    return ConfigurationError(
        "after",
        cursor,
        problem=f"{cursor!r} is not a cursor of this store's event log",
        hint="pass the cursor of an event or a page, or None to begin at the first event",
    )


class Draft:
    """A page in the making. What does not fit any more ends it: events behind that must not come before."""

    def __init__(self) -> None:
        self._jobs: dict[str, tuple[Row, int]] = {}
        self._counts: dict[str, int] = {}
        self._runs: list[tuple[str, int]] = []
        self._groups: dict[str, int] = {}
        self._size = 0
        self.events = 0

    def logged(self, row: Row) -> int:
        """Return the number of the newest event of a job that is in the log, or in this page."""
        return row.logged + self._counts.get(row.id, 0)

    def add(self, row: Row, upto: int) -> bool:
        """Add the next events of a job up to this one; return False if the page is full."""
        count = min(upto, row.state.seq) - self.logged(row)
        if count <= 0:
            return True
        if row.id not in self._jobs and not self._begin(row):
            return False
        taken = min(count, MOST_EVENTS - self.events)
        if taken:
            self._counts[row.id] = self._counts.get(row.id, 0) + taken
            self.events += taken
            if self._runs and self._runs[-1][0] == row.id:
                taken += self._runs.pop()[1]
            self._runs.append((row.id, taken))
        return self.logged(row) >= min(upto, row.state.seq)

    def _begin(self, row: Row) -> bool:
        group = row.state.group
        size = len(row.id.encode()) + 30
        if group is not None and group not in self._groups:
            size += len(group.encode())
        if len(self._jobs) == MOST_JOBS or self.events == MOST_EVENTS or self._size + size > _MOST_BYTES:
            return False
        self._size += size
        self._jobs[row.id] = (row, row.logged + 1)
        if group is not None:
            self._groups.setdefault(group, len(self._groups))
        return True

    def page(self, number: int) -> LogPage:
        """Return the page."""
        order = {job_id: place for place, job_id in enumerate(self._jobs)}
        jobs = [
            Paged(row.id, row.n, first, self._counts[row.id], self._group(row)) for row, first in self._jobs.values()
        ]
        runs = [number for job_id, count in self._runs for number in (order[job_id], count)]
        return LogPage(number, tuple(self._groups), tuple(jobs), tuple(runs))

    def _group(self, row: Row) -> int | None:
        return None if row.state.group is None else self._groups[row.state.group]
