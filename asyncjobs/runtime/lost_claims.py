"""Find attempts that the store gave to this worker by a claim whose response was lost: no body runs them.

The connection may fail after a claim was committed. Its jobs are then in progress, held by a worker that renews its
lease, so that none is reaped, but does not know of them. Each heartbeat returns the jobs that the store assigns to this
worker. Jobs that the worker neither runs nor is about to record, and that no pending claim may still bring, go back.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from asyncjobs.backends.base import AttemptRef

Held = tuple[str, int]
"""The job and the number of an attempt."""


class LostClaims:
    """The jobs that heartbeats report for one worker, compared with those that it knows."""

    def __init__(self) -> None:
        self._suspects: frozenset[Held] = frozenset()
        self._settled_from = 0

    def find(
        self, worker: str, held: Sequence[Held], known: Collection[Held], settled: int, *, claiming: bool
    ) -> list[AttemptRef]:
        """Return the attempts of lost claims.

        An unknown attempt may belong to a pending claim, or have ended just now. So only a later call returns it, if it
        is still unknown then, and there was a moment without pending claims.

        :param held: the jobs that the store assigns to this worker.
        :param known: the jobs that the worker knows now.
        :param settled: how often the last pending claim was settled.
        :param claiming: whether a claim is pending now.
        """
        unknown = frozenset(held).difference(known)
        if settled < self._settled_from:
            self._suspects &= unknown
            return []
        lost = unknown & self._suspects
        self._suspects = unknown - lost
        self._settled_from = settled + claiming
        return [AttemptRef(job_id, attempt, worker) for job_id, attempt in sorted(lost)]
