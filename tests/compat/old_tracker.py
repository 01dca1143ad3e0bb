"""A model of the old tracker in plain dicts, by what LEGACY says of it, with its mended faults to be switched on."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import datetime
from typing import Any

from asyncjobs.compat import Job, JobStatus, PipelineState

MENDED = ("movies keep their jobs", "counters are kept", "the hash is kept")
"""What ours does otherwise, of what calls return."""


class OldTracker:
    """What the old tracker returns. ``now`` is what it takes for the time of an update."""

    def __init__(self, mended: Collection[str] = ()) -> None:
        self._mended = mended
        self._jobs: dict[Any, tuple[str, Job]] = {}
        self._states: dict[str, dict[str, Any]] = {}

    def _key(self, movie: str, job_id: str) -> Any:
        return (movie, job_id) if "movies keep their jobs" in self._mended else job_id

    def _find(self, job_id: str) -> tuple[str, Job] | None:
        return next((entry for entry in reversed(self._jobs.values()) if entry[1].id == job_id), None)

    def _shown(self, job: Job) -> Job:
        kept = job.model_copy(update={"metadata": json.loads(json.dumps(job.metadata))})
        if "counters are kept" not in self._mended:
            kept.retry_count, kept.max_retries = 0, 3
        return kept

    def save_job(self, job: Job, movie: str) -> None:
        key = self._key(movie, job.id)
        self._jobs.pop(key, None)  # a row that is replaced goes to the end
        self._jobs[key] = (movie, self._shown(job))

    def get_job(self, job_id: str) -> Job | None:
        found = self._find(job_id)
        return None if found is None else self._shown(found[1])

    def get_jobs_by_movie(self, movie: str) -> list[Job]:
        found = [self._shown(job) for own, job in self._jobs.values() if own == movie]
        return sorted(found, key=lambda job: job.created_at.isoformat())

    def get_jobs_by_status(self, movie: str, status: JobStatus) -> list[Job]:
        return [self._shown(job) for own, job in self._jobs.values() if own == movie and job.status == status]

    def get_next_pending_job(self, movie: str) -> Job | None:
        return next(iter(self.get_jobs_by_status(movie, JobStatus.PENDING)), None)

    def update_job_status(
        self, job_id: str, status: JobStatus, error: str | None = None, output_path: str | None = None
    ) -> None:
        found = self._find(job_id)
        if found is not None:
            found[1].status, found[1].error, found[1].output_path = status, error, output_path

    def save_state(self, state: PipelineState) -> None:
        self._states[state.movie_id] = {
            **{name: value for name, value in vars(state).items() if name.endswith("_complete")},
            "screenplay_dict": json.loads(json.dumps(state.screenplay_dict)) or None,
            "screenplay_hash": state.screenplay_hash if "the hash is kept" in self._mended else None,
        }
        for job in state.jobs:
            self.save_job(job, state.movie_id)

    def load_state(self, movie: str, base_dir: str = "./output") -> PipelineState | None:
        if movie not in self._states:
            return None
        state = PipelineState.create(movie, base_dir).model_copy(update=self._states[movie])
        state.jobs = self.get_jobs_by_movie(movie)
        return state

    def get_progress(self, movie: str) -> dict[str, Any]:
        jobs = self.get_jobs_by_movie(movie)
        counts = {status: sum(job.status == status for job in jobs) for status in JobStatus}
        return {
            "total": len(jobs),
            "completed": counts[JobStatus.COMPLETED],
            "failed": counts[JobStatus.FAILED],
            "pending": counts[JobStatus.PENDING],
            "progress": counts[JobStatus.COMPLETED] / len(jobs) * 100 if jobs else 0,
        }


def without_updates(value: Any) -> Any:
    """The result of a call, without the moments at which a tracker noted an update: each has its own clock."""
    if isinstance(value, Job):
        return value.model_copy(update={"updated_at": datetime(1970, 1, 1)})
    if isinstance(value, PipelineState):
        return value.model_copy(update={"jobs": without_updates(value.jobs)})
    return [without_updates(one) for one in value] if isinstance(value, list) else value
