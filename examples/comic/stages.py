"""Which stages of a movie are complete."""

from __future__ import annotations

from asyncjobs.compat import JobStatus, JobType, PipelineState


def mark_stages(state: PipelineState) -> PipelineState:
    """Mark each stage complete whose jobs have all completed, and no other; of the films, the newest one counts."""
    older = [job for job in state.jobs if "version" in job.metadata][:-1]
    for kind in JobType:
        of_kind = [job for job in state.get_jobs_by_type(kind) if job not in older]
        if of_kind and all(job.status is JobStatus.COMPLETED for job in of_kind):
            state.mark_stage_complete(kind)
    return state
