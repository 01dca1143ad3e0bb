"""Decide which jobs of a limited key may be claimed: rule 4.8.

A key admits at most as many ready jobs as it has room for, the first by priority and submission; the rest wait
outside the ready index, so that a claim never has to examine them.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct


class Admission(Struct, frozen=True):
    """Job numbers to put into the ready index, and to take out of it."""

    promote: tuple[int, ...]
    demote: tuple[int, ...]


class Candidate(Struct, frozen=True, order=True):
    """A due job of a limited key, ordered as claims order jobs."""

    rank: int  # the negated priority
    n: int


def admit(capacity: int, in_progress: int, ready: Sequence[Candidate], waiting: Sequence[Candidate]) -> Admission:
    """Choose the due jobs that a key has room for.

    :param ready: all that are admitted now.
    :param waiting: the first of those that wait; ``capacity - in_progress`` of them are enough.
    """
    room = max(0, capacity - in_progress)
    chosen = set(sorted((*ready, *waiting))[:room])
    return Admission(
        promote=tuple(job.n for job in waiting if job in chosen),
        demote=tuple(job.n for job in ready if job not in chosen),
    )
