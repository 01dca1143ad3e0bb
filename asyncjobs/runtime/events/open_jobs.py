"""Know of jobs that they have not ended, so that whoever begins to wait for one need not ask the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from asyncjobs.backends.committed_events import CommittedEvents
from asyncjobs.models import EventType

_MOST = 100_000
"""Jobs that are noted; with more, all are forgotten."""


class OpenJobs:
    """Jobs that this process has submitted while it followed the log, which has not reported their end since.

    It must be told of every end that the log reports, and that the log is not followed, or cannot be. Only a removal is
    not reported: after one, nothing is known any more.

    :param removals: ``JobBackend.removals`` of the store.
    """

    def __init__(self, removals: Callable[[], int | None]) -> None:
        self._removals = removals
        self._as_of = removals()
        self._jobs: dict[str, None] = {}

    def note(self, events: CommittedEvents) -> None:
        """Note what a commit of this process has submitted, and what it has ended."""
        jobs = self._jobs
        for job_id, event in events.changes:
            if event.type == EventType.SUBMITTED:
                jobs[job_id] = None
        for job_id, _ in events.ended:
            jobs.pop(job_id, None)
        if len(jobs) > _MOST:
            jobs.clear()

    def ended(self, job_id: str) -> None:
        """Forget a job whose end was read from the log."""
        self._jobs.pop(job_id, None)

    def clear(self) -> None:
        """Forget all jobs: from now on, ends are not noticed."""
        self._jobs.clear()

    def leave_out(self, job_ids: Sequence[str]) -> list[str]:
        """Return those of these jobs that may have ended."""
        jobs = self._jobs
        left = [job_id for job_id in job_ids if job_id not in jobs]
        if len(left) < len(job_ids) and ((removals := self._removals()) is None or removals != self._as_of):
            self._as_of = removals
            jobs.clear()
            return list(job_ids)
        return left
