"""Find attempts that the store gave to this worker by a claim whose answer was lost: no body runs them.

The connection may fail after a claim was committed. Its jobs are in progress then, of a worker that lives and renews
its lease, so that none is reaped, and which does not know of them. Each heartbeat brings what the store holds to be
this worker's; what it neither runs nor is about to record, nor may still learn of by a claim on its way, goes back.
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

        One that is unknown may be of a claim whose answer is on its way, or have ended just now. So it is returned by a
        later call, if it is unknown then, too, and there was a moment without such claims.

        :param held: the jobs that the store assigns to this worker.
        :param known: the jobs that the worker knows now.
        :param settled: how often the last claim on its way was answered.
        :param claiming: whether a claim is on its way, now.
        """
        unknown = frozenset(held).difference(known)
        if settled < self._settled_from:
            self._suspects &= unknown
            return []
        lost = unknown & self._suspects
        self._suspects = unknown - lost
        self._settled_from = settled + claiming
        return [AttemptRef(job_id, attempt, worker) for job_id, attempt in sorted(lost)]
