"""Jobs and movies of the tests, and what a tracker shows of them."""

from __future__ import annotations

from typing import Any

from asyncjobs.compat import Job, JobTracker, PipelineState


def job(job_id: str, func: Any = None, *args: Any, **fields: Any) -> Job:
    return Job(**{"id": job_id, "type": "image", "func": func, "args": args, **fields})


def movie_of(*jobs: Job, movie: str = "m") -> PipelineState:
    state = PipelineState.create(movie)
    state.jobs = list(jobs)
    return state


def shown(tracker: JobTracker, movie: str = "m") -> dict[str, str]:
    return {one.id: one.status.value for one in tracker.get_jobs_by_movie(movie)}
