"""Decide which finished jobs may be removed: rule 4.12. A component of the graph is removed or stays as a whole.

Neighbours are the two ends of an edge, and a job and those that were submitted from inside it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Sequence

from asyncjobs.exceptions import JobStateError
from asyncjobs.models import JobStatus


class Components:
    """The connected components of some jobs, found by following their neighbours.

    The caller adds jobs by ``add``, then links the neighbours of the jobs that ``take`` returns by ``link``, until
    ``take`` returns none.

    :param before: a component stays as soon as a member is met that did not end before this moment (µs), and is then
        followed no further. None: every one is followed to its end.
    :param known: jobs that are known to stay.
    """

    def __init__(self, before: int | None = None, known: Collection[int] = ()) -> None:
        self._before = before
        self._known = known
        self._of: dict[int, _Component] = {}  # by member
        self._distinct: dict[_Component, None] = {}  # in the order in which they were met
        self._left: dict[int, None] = {}  # jobs whose neighbours were not taken yet
        self._unfinished: set[int] = set()

    def add(self, n: int, finished_at: int | None) -> None:
        """Add a job, with the moment when it ended (None: it has not)."""
        if n in self._of:
            return
        too_new = self._before is not None and (finished_at is None or finished_at >= self._before)
        component = self._of[n] = _Component(n, too_new or n in self._known)
        self._distinct[component] = None
        self._left[n] = None
        if finished_at is None:
            self._unfinished.add(n)

    def link(self, of: int, n: int, finished_at: int | None) -> None:
        """Add the neighbour ``n`` of the job ``of``, and join their components."""
        self.add(n, finished_at)
        into, other = self._of[of], self._of[n]
        if into is other:
            return
        if len(into.members) < len(other.members):
            into, other = other, into
        into.stays = into.stays or other.stays
        into.members.extend(other.members)
        for member in other.members:
            self._of[member] = into
        del self._distinct[other]

    def take(self, count: int) -> list[int]:
        """Return up to ``count`` jobs whose neighbours must be linked next; none if all components are known."""
        taken: list[int] = []
        while self._left and len(taken) < count:
            n, _ = self._left.popitem()
            if not self.stays(n):
                taken.append(n)
        return taken

    def stays(self, n: int) -> bool:
        """Return whether this job's component is known to stay."""
        return self._of[n].stays

    @property
    def going(self) -> deque[Sequence[int]]:
        """Return the components that may go, each with all its members, in the order in which they were met."""
        return deque(component.members for component in self._distinct if not component.stays)

    @property
    def staying(self) -> Iterator[int]:
        """Return the jobs that were met and stay."""
        return (n for component in self._distinct if component.stays for n in component.members)

    def refused(self, named: Collection[int] | None) -> int | None:
        """Return the first job, by submission, that forbids removing these components by hand.

        It has not ended, or is not among the jobs that the caller ``named`` (None: all count as named).
        """
        unnamed = () if named is None else (n for n in self._of if n not in named)
        return min((*self._unfinished, *unnamed), default=None)


class _Component:
    def __init__(self, n: int, stays: bool) -> None:
        self.members = [n]
        self.stays = stays


def take_batch(components: deque[Sequence[int]], size: int) -> list[Sequence[int]]:
    """Take components of about ``size`` jobs together, at least one, however large it is."""
    batch = [components.popleft()]
    jobs = len(batch[0])
    while components and jobs + len(components[0]) <= size:
        jobs += len(components[0])
        batch.append(components.popleft())
    return batch


def refusal(job_id: str, status: JobStatus) -> JobStateError:
    """Return the error for a job that forbids a removal: it has not ended, or is of the graph and was not named."""
    if not status.terminal:
        return JobStateError(
            job_id,
            status,
            "jobs can be removed once all jobs connected with them have ended",
            hint="wait for it, or cancel it; nothing was removed",
        )
    return JobStateError(
        job_id,
        status,
        "it is connected with jobs that were to be removed, and was not named",
        hint="a graph is removed as a whole: name this job, too, or pass components=True; nothing was removed",
    )
