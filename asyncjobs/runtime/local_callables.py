"""Keep the callables of ``local=True`` jobs, which only this process has, for as long as the jobs may run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any

from asyncjobs.backends.committed_events import CommittedEvents
from asyncjobs.models import EventType, JobStatus

KEPT = 1000
"""The latest failed and cancelled jobs, whose callables are kept for ``retry_job``."""


class _Submission:
    """Pending submissions of one id, and the callable that the id had before."""

    __slots__ = ("before", "functions", "number", "stored")

    def __init__(self, before: Callable[..., Any] | None) -> None:
        self.before = before
        self.functions: list[Callable[..., Any]] = []
        """Theirs, in the order in which they reach the store."""
        self.number = 0
        self.stored = False


class LocalCallables:
    """Callables by job id. A callable is dropped when its job completes, is skipped or is removed.

    Commits of this process are handled at once (``committed``); those of others are found in the store (``seen``).
    """

    def __init__(self) -> None:
        self._by_job: dict[str, Callable[..., Any]] = {}
        self._ended: dict[str, None] = {}
        """Failed or cancelled, in this order."""
        self._submitting: dict[str, _Submission] = {}
        """By job id: it may be refused, or the job exists already."""

    def __len__(self) -> int:
        return len(self._by_job)

    def get(self, job_id: str) -> Callable[..., Any] | None:
        """Return the callable of this job."""
        return self._by_job.get(job_id)

    # -- submitting

    def add(self, job_id: str, function: Callable[..., Any]) -> None:
        """Add a callable before its job is stored and may be claimed. A job that may still run keeps its callable."""
        before = self._by_job.get(job_id)
        submission = self._submitting.setdefault(job_id, _Submission(before))
        submission.number += 1
        submission.functions.append(function)
        if before is None or job_id in self._ended:
            self._by_job[job_id] = function

    def stored(self, job_ids: Iterable[str]) -> None:
        """End a submission whose jobs are stored, or already were."""
        for job_id in job_ids:
            self._submitted(job_id, stored=True)

    def refused(self, job_ids: Iterable[str]) -> None:
        """End a submission that stored nothing: a job of the same id keeps the callable it had."""
        for job_id in job_ids:
            self._submitted(job_id, stored=False)

    def _submitted(self, job_id: str, *, stored: bool) -> None:
        submission = self._submitting[job_id]
        submission.number -= 1
        submission.functions.pop(0)
        submission.stored |= stored
        if submission.number:
            return
        del self._submitting[job_id]
        if submission.stored:
            return
        if submission.before is None:
            self._forget(job_id)
        elif job_id in self._by_job:
            self._by_job[job_id] = submission.before

    # -- letting go

    def committed(self, events: CommittedEvents) -> None:
        """Handle the events of a commit of this process."""
        if self._by_job:
            for job_id, event in events.changes:
                if event.status is not None and job_id in self._by_job:
                    if event.type == EventType.SUBMITTED:
                        self._began(job_id)
                    self._became(job_id, event.status)

    def _began(self, job_id: str) -> None:
        """Keep the callable of a new job: one that had this id was removed, and its callable with it."""
        submission = self._submitting.get(job_id)
        if submission is not None:
            self._by_job[job_id] = submission.functions[0]
            self._ended.pop(job_id, None)

    def some(self, most: int) -> list[str]:
        """Return jobs to look up in the store; other ones at the next call."""
        chosen = list(islice((job_id for job_id in self._by_job if job_id not in self._submitting), most))
        if len(chosen) < len(self._by_job):
            for job_id in chosen:
                self._by_job[job_id] = self._by_job.pop(job_id)
        return chosen

    def seen(self, job_ids: Iterable[str], statuses: Mapping[str, JobStatus]) -> None:
        """Apply the stored statuses of these jobs; jobs without a status were removed."""
        for job_id in job_ids:
            if job_id not in self._by_job or job_id in self._submitting:
                continue
            status = statuses.get(job_id)
            if status is None:
                self._forget(job_id)
            elif status.terminal or job_id in self._ended:
                self._became(job_id, status)

    def _became(self, job_id: str, status: JobStatus) -> None:
        if status in (JobStatus.COMPLETED, JobStatus.SKIPPED):
            self._forget(job_id)
        elif not status.terminal:
            self._ended.pop(job_id, None)
        elif job_id not in self._ended:
            self._ended[job_id] = None
            if len(self._ended) > KEPT:
                self._forget(next(iter(self._ended)))

    def _forget(self, job_id: str) -> None:
        self._by_job.pop(job_id, None)
        self._ended.pop(job_id, None)
