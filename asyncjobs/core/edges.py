"""Decide which dependents become ready and which are skipped when a parent ends: rule 4.1 of the state machine."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from asyncjobs.core import lifecycle
from asyncjobs.core.state import Change, JobState
from asyncjobs.models import EdgeState, JobStatus, WaitsFor


class Settled(Struct, frozen=True, gc=False):
    """An edge whose parent has ended. ``cause`` is the root cause if this edge skips the child."""

    state: EdgeState
    cause: str


def settle(parent: JobState, optional: bool) -> Settled:
    """Return what an edge from this ended parent becomes."""
    if parent.status is JobStatus.COMPLETED:
        return Settled(EdgeState.MET, parent.id)
    cause = parent.because if parent.status is JobStatus.SKIPPED and parent.because else parent.id
    return Settled(EdgeState.PASSED if optional else EdgeState.BROKEN, cause)


def count_settled(child: JobState, settled: Settled, now: int) -> JobState | Change:
    """Count an edge of ``child`` that was open and now is settled, and decide what follows.

    Edges are settled one after the other, in batch order, however they are grouped into transactions. So the edge that
    decides, which is the cause of a skip, does not depend on the grouping. Verdicts are monotone: the first one stands,
    and later edges are only counted.

    :returns: a ``Change`` if the child is skipped, else its row, which may now be ready.
    """
    counted = replace(child, open=child.open - 1, met=child.met + (settled.state is EdgeState.MET))
    if counted.status is not JobStatus.PENDING or counted.waits_for is not WaitsFor.DEPENDENCIES:
        return counted
    return decide(counted, [settled], now)


def decide(child: JobState, settled: Sequence[Settled], now: int) -> JobState | Change:
    """Decide on a waiting child whose counts are up to date; ``settled`` are its edges that may skip it."""
    if child.require is None:
        broken = next((edge for edge in settled if edge.state is EdgeState.BROKEN), None)
        ready = child.open == 0
    else:
        ready = child.met >= child.require
        unreachable = child.met + child.open < child.require
        broken = next((edge for edge in settled if edge.state is not EdgeState.MET), None) if unreachable else None
    if broken is not None:
        return lifecycle.skip(child, broken.cause, now)
    if ready:
        return replace(child, waits_for=lifecycle.waiting_place(child, now))
    return child


def revives(child: JobState, retried: str, cause: str) -> bool:
    """Return whether a skipped child waits again when a parent of it does, after the job ``retried`` was retried.

    One broken edge skips a plain child, and is its cause. With ``require`` it is skipped for all of its broken edges
    together, so each of them is a cause, although only one is stored.

    :param cause: the root cause of that parent's skip; ``retried`` if the parent is that job itself.
    """
    return child.require is not None or child.because in (retried, cause)
