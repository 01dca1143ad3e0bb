"""Settle what plain successes decide about jobs that depend on them, if all of these are plain, too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from asyncjobs.backends.sqlite.plan_rows import Rows
from asyncjobs.core import edges
from asyncjobs.core.state import EdgeRow, JobState
from asyncjobs.models import EdgeState, JobStatus, WaitsFor


class NotPlainError(Exception):
    """The group takes the long way."""


class Dependent(Struct, frozen=True):
    """A job that waited for others, as it is stored and as it will be.

    ``call`` are its lane, timeout, injects, isolation, and call, as they are stored (``Rows.calls``).
    """

    before: JobState
    job: JobState
    call: tuple[Any, ...]

    @property
    def lane(self) -> int:
        """The number of its lane."""
        return self.call[0]

    @property
    def ready(self) -> bool:
        """Whether it waits for nothing but a worker now."""
        return self.job.waits_for is WaitsFor.WORKER


class Settlement(Struct, frozen=True):
    """The edges that were settled, and the jobs whose counts changed by it, by number."""

    edges: Sequence[EdgeRow] = ()
    dependents: dict[int, Dependent] = {}


NOTHING = Settlement()


def settle(rows: Rows, ended: Sequence[JobState], now: int) -> Settlement:
    """Settle the open edges that lead from these jobs, which complete now, in order.

    :raises NotPlainError: a dependent is not plain.
    """
    found = [edge for edge in rows.edges_from([job.n for job in ended]) if edge.state is EdgeState.OPEN]
    if not found:
        return NOTHING
    completed = {job.n: replace(job, status=JobStatus.COMPLETED) for job in ended}
    stored = {job.n: job for job in rows.jobs(list(dict.fromkeys([edge.child for edge in found])))}
    if not all(map(_is_plain, stored.values())):
        raise NotPlainError
    counted = dict(stored)
    settled: list[EdgeRow] = []
    for edge in found:
        if edge.child not in counted:  # a damaged store: the edge leads nowhere
            raise NotPlainError
        state = edges.settle(completed[edge.parent], edge.optional)
        verdict = edges.count_settled(counted[edge.child], state, now)
        if not isinstance(verdict, JobState):
            raise NotPlainError
        counted[edge.child] = verdict
        settled.append(EdgeRow(edge.parent, edge.child, edge.optional, state.state))
    return Settlement(settled, {n: Dependent(stored[n], job, rows.calls[n]) for n, job in counted.items()})


def _is_plain(job: JobState) -> bool:
    """Whether a job that waits for others becomes ready by their ends and by nothing else, and has done nothing yet."""
    return (
        job.status is JobStatus.PENDING
        and job.waits_for is WaitsFor.DEPENDENCIES
        and job.seq == 1  # one that was skipped and waits again has said more
        and job.run_at is None
        and job.limit is None
        and job.role is None
        and job.unreadable is None
        and not (job.lasts or job.generation or job.attempt)
    )
