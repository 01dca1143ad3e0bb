"""What the store says about a movie, in the words of the old tracker."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from asyncjobs import GroupProgress, Job, JobStatus
from asyncjobs.compat import Job as TrackedJob
from asyncjobs.compat import JobStatus as TrackedStatus
from asyncjobs.compat import JobType, PipelineState

_STATUSES = {
    JobStatus.PENDING: TrackedStatus.PENDING,
    JobStatus.IN_PROGRESS: TrackedStatus.IN_PROGRESS,
    JobStatus.COMPLETED: TrackedStatus.COMPLETED,
    JobStatus.FAILED: TrackedStatus.FAILED,
    JobStatus.CANCELLED: TrackedStatus.FAILED,
    JobStatus.SKIPPED: TrackedStatus.SKIPPED,
}
_OURS = ("tracker_id", "type", "scene_id", "character_id", "output_path", "stage")


def as_tracked(job: Job) -> TrackedJob:
    """Return a job as the tracker shows it."""
    facts = job.metadata
    return TrackedJob(
        id=facts.get("tracker_id", job.id),
        type=facts.get("type", JobType.SCREENPLAY),
        status=_STATUSES[job.status],
        scene_id=facts.get("scene_id"),
        character_id=facts.get("character_id"),
        metadata={key: value for key, value in facts.items() if key not in _OURS},
        error=_error(job),
        retry_count=job.failures,
        max_retries=job.max_retries,
        created_at=_local(job.created_at),
        updated_at=_local(job.finished_at or job.started_at or job.created_at),
        output_path=facts.get("output_path"),
    )


def _local(moment: Any) -> Any:
    return moment.astimezone().replace(tzinfo=None)


def _error(job: Job) -> str | None:
    if job.status is JobStatus.CANCELLED:
        return "cancelled"
    if job.status is JobStatus.SKIPPED:
        return f"skipped because of {job.because}"
    return None if job.error is None else f"{job.error.error_type}: {job.error.message}"


def fill(state: PipelineState, jobs: Iterable[Job]) -> PipelineState:
    """Give a state its jobs, and mark each stage complete whose jobs have all completed; of the films, the newest."""
    state.jobs = [as_tracked(job) for job in jobs]
    older = [job for job in state.jobs if "version" in job.metadata][:-1]
    for kind in JobType:
        of_kind = [job for job in state.get_jobs_by_type(kind) if job not in older]
        if of_kind and all(job.status is TrackedStatus.COMPLETED for job in of_kind):
            state.mark_stage_complete(kind)
    return state


def as_dict(progress: GroupProgress) -> dict[str, Any]:
    """Return the progress dict of the tracker."""
    counts = progress.counts
    failed = counts.get(JobStatus.FAILED, 0) + counts.get(JobStatus.CANCELLED, 0)
    return {
        "total": progress.total,
        "completed": progress.completed,
        "failed": failed,
        "pending": counts.get(JobStatus.PENDING, 0),
        "progress": progress.completed / progress.total * 100 if progress.total else 0,
    }
