"""Refuse a wait of a job that would never end.

A job waits for its parents (edges that are open), for the jobs that its body awaits, and for those of a group that its
body drains or follows to the end. A wait that would close a cycle of these is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

from msgspec import Struct

from asyncjobs.backends.base import JobBackend
from asyncjobs.exceptions import CyclicDependencyError
from asyncjobs.models import EdgeState
from asyncjobs.runtime.context import JobContext

K = TypeVar("K")

_NO_GROUP = ""


class Goal(Struct, frozen=True):
    """The goal of a wait in a body: some jobs, or with ``whole`` the end of a group (None: of all jobs)."""

    jobs: Sequence[str] = ()
    group: str | None = None
    whole: bool = False


class Waits:
    """The waits of bodies for other jobs."""

    def __init__(self, backend: JobBackend) -> None:
        self._backend = backend
        self._jobs: dict[str, Counter[str]] = {}  # by waiting job: the jobs that it waits for, and how often
        self._groups: dict[str, Counter[str | None]] = {}  # likewise: the groups that it waits for

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._jobs or job_id in self._groups

    @asynccontextmanager
    async def wait(self, context: JobContext, goal: Goal) -> AsyncGenerator[None, None]:
        """Register a wait while this is entered.

        :raises CyclicDependencyError: the goal of the wait waits for the job itself.
        """
        await _Search(self._backend, self._jobs, self._groups, context, goal).refuse_cycle()
        # No await from its last look to here: of two that begin to wait for each other, one sees the other.
        groups = [goal.group] if goal.whole else []
        with _counted(self._jobs, context.id, goal.jobs), _counted(self._groups, context.id, groups):
            yield


@contextmanager
def _counted(waits: dict[str, Counter[K]], waiting: str, goals: Sequence[K]) -> Generator[None]:
    if not goals:
        yield
        return
    counter = waits.setdefault(waiting, Counter())
    counter.update(goals)
    try:
        yield
    finally:
        counter -= Counter(goals)
        if not counter:
            waits.pop(waiting, None)


class _Search:
    """A search for a cycle through one job: search what is known, read what is not, search again."""

    def __init__(
        self,
        backend: JobBackend,
        jobs: dict[str, Counter[str]],
        groups: dict[str, Counter[str | None]],
        context: JobContext,
        goal: Goal,
    ) -> None:
        self._backend = backend
        self._jobs = jobs
        self._groups = groups
        self._me = context.id
        self._goal = goal
        # What was read. None of it is missed later: edges to jobs that exist are never added between old jobs.
        self._parents: dict[str, list[str]] = {}
        self._children: dict[str, list[str]] = {}
        self._group_of: dict[str, str] = {context.id: context.group or _NO_GROUP}
        self._unread_above: list[str] = []
        self._unread_below: list[str] = []
        self._unknown: list[str] = []

    async def refuse_cycle(self) -> None:
        while True:
            self._look()
            if not (self._unread_above or self._unread_below or self._unknown):
                return
            await self._read()

    def _look(self) -> None:
        """Follow all that the job would wait for, through jobs; groups are searched from the job downwards."""
        self._unread_above, self._unread_below, self._unknown = [], [], []
        came_from = dict.fromkeys(self._goal.jobs, self._me)
        ends: list[tuple[str, str | None]] = [(self._me, self._goal.group)] if self._goal.whole else []
        level = list(self._goal.jobs)
        while level:
            if self._me in came_from:
                self._refuse([*self._way_up(came_from, came_from[self._me]), self._me])
            above: list[tuple[str, str]] = []
            for job_id in level:
                if job_id not in self._parents:
                    self._unread_above.append(job_id)
                above += [(job_id, parent) for parent in self._parents.get(job_id, ())]
                above += [(job_id, target) for target in self._jobs.get(job_id, ())]
                ends += [(job_id, group) for group in self._groups.get(job_id, ())]
            level = _note_new(above, came_from)
        if ends:
            self._look_below(ends, came_from)

    def _look_below(self, ends: Sequence[tuple[str, str | None]], came_from: dict[str, str]) -> None:
        """Refuse a group's end if the job, or one that waits for the job, is of the group."""
        leads_to = {self._me: self._me}
        level = [self._me]
        while level:
            for job_id in level:
                self._refuse_ends_of(job_id, ends, came_from, leads_to)
            level = _note_new([step for job_id in level for step in self._steps_down(job_id)], leads_to)

    def _refuse_ends_of(
        self,
        job_id: str,
        ends: Sequence[tuple[str, str | None]],
        came_from: dict[str, str],
        leads_to: dict[str, str],
    ) -> None:
        group = self._group_of.get(job_id)
        for waiting, wanted in ends:
            if wanted is None or wanted == group:
                self._refuse([*self._way_up(came_from, waiting), *self._way_down(leads_to, job_id)])

    def _steps_down(self, job_id: str) -> list[tuple[str, str]]:
        """Return the steps from a job to those that wait for it, as far as they were read."""
        group = self._group_of.get(job_id)
        if group is None:
            self._unknown.append(job_id)
        if job_id not in self._children:
            self._unread_below.append(job_id)
        steps = [(job_id, child) for child in self._children.get(job_id, ())]
        steps += [(job_id, waiting) for waiting, targets in self._jobs.items() if job_id in targets]
        steps += [(job_id, waiting) for waiting, of in self._groups.items() if None in of or group in of]
        return steps

    def _way_up(self, came_from: dict[str, str], job_id: str) -> list[str]:
        way = [job_id]
        while way[-1] != self._me:
            way.append(came_from[way[-1]])
        return way[::-1]

    def _way_down(self, leads_to: dict[str, str], job_id: str) -> list[str]:
        way = [job_id]
        while way[-1] != self._me:
            way.append(leads_to[way[-1]])
        return way

    def _refuse(self, path: Sequence[str]) -> None:
        hint = "a job cannot wait for one that depends on it; split it in two"
        if self._goal.whole:
            hint = "a job cannot wait for the end of its own group, or of all jobs; do so outside of jobs"
        raise CyclicDependencyError(path[::-1], hint=hint)

    async def _read(self) -> None:
        """Read the edges that the last search did not have."""
        if self._unread_above:
            await self._read_above(self._unread_above)
        if self._unread_below:
            await self._read_below(self._unread_below)
        if self._unknown:
            self._group_of |= dict.fromkeys(self._unknown, _NO_GROUP)
            for job in await self._backend.get_jobs(self._unknown):
                self._group_of[job.id] = job.group or _NO_GROUP

    async def _read_above(self, job_ids: list[str]) -> None:
        self._parents |= {job_id: [] for job_id in job_ids}
        for edge in await self._backend.get_dependencies(job_ids):
            if edge.state is EdgeState.OPEN:
                self._parents[edge.child_id].append(edge.parent_id)

    async def _read_below(self, job_ids: list[str]) -> None:
        self._children |= {job_id: [] for job_id in job_ids}
        for edge in await self._backend.get_dependent_jobs(job_ids):
            if edge.state is EdgeState.OPEN:
                self._children[edge.parent_id].append(edge.child_id)


def _note_new(steps: Sequence[tuple[str, str]], seen: dict[str, str]) -> list[str]:
    """Note from where each job is reached first, and return those that are new."""
    new: list[str] = []
    for job_id, reached in steps:
        if reached not in seen:
            seen[reached] = job_id
            new.append(reached)
    return new
