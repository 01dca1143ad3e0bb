"""Who is released and who is skipped when a parent ends: rule 4.1 of the state machine."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from asyncjobs.core import lifecycle
from asyncjobs.core.state import Change, JobState
from asyncjobs.models import EdgeState, JobStatus, WaitsFor


class Settled(Struct, frozen=True):
    """An edge whose parent has ended: ``cause`` is the root cause, should it break the child."""

    state: EdgeState
    cause: str


def settle(parent: JobState, optional: bool) -> Settled:
    """What an edge from this ended parent becomes."""
    if parent.status is JobStatus.COMPLETED:
        return Settled(EdgeState.MET, parent.id)
    cause = parent.because if parent.status is JobStatus.SKIPPED and parent.because else parent.id
    return Settled(EdgeState.PASSED if optional else EdgeState.BROKEN, cause)


def count_settled(child: JobState, settled: Sequence[Settled], now: int) -> JobState | Change:
    """Count edges of ``child`` that were open and now are settled, in batch order, and decide what follows.

    Returns a ``Change`` when the child is skipped, else its row (which may now be ready). Verdicts are monotone:
    the first one stands, and later edges only count.
    """
    met = sum(edge.state is EdgeState.MET for edge in settled)
    counted = replace(child, open=child.open - len(settled), met=child.met + met)
    if counted.status is not JobStatus.PENDING or counted.waits_for is not WaitsFor.DEPENDENCIES:
        return counted
    return decide(counted, settled, now)


def decide(child: JobState, settled: Sequence[Settled], now: int) -> JobState | Change:
    """The verdict on a waiting child whose counts are up to date; ``settled`` are its edges that may break it."""
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
    """Whether a skipped child waits again when a parent of it does, after the job ``retried`` was retried.

    :param cause: the root cause of that parent's skip; ``retried`` if it is that job itself.

    One broken edge skips a plain child, and is its cause. With ``require`` it is skipped for all of its broken edges
    together, so each of them is a cause, also those that are not the stored one.
    """
    return child.require is not None or child.because in (retried, cause)
