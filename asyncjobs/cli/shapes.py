"""What programs read of the command line: the JSON of jobs and events."""

from __future__ import annotations

from typing import Any

from asyncjobs.models import GroupProgress, Job, JobEvent


def job_item(job: Job) -> dict[str, Any]:
    """A job with full ids and moments in UTC."""
    return {
        "id": job.id,
        "function": job.function,
        "status": job.status,
        "group": job.group,
        "queue": job.queue,
        "priority": job.priority,
        "attempt": job.attempt,
        "failures": job.failures,
        "interruptions": job.interruptions,
        "max_retries": job.max_retries,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "run_at": job.run_at,
        "elapsed": job.elapsed,
        "percent": job.progress.percent if job.progress else None,
        "worker": job.worker,
        "because": job.because,
        "metadata": job.metadata,
        "error": None if job.error is None else {"type": job.error.error_type, "message": job.error.message},
        "unreadable": job.unreadable,
    }


def event_item(event: JobEvent) -> dict[str, Any]:
    """An event, as the streams of the HTTP interface have it."""
    return {name: getattr(event, name) for name in event.__struct_fields__}


def group_item(group: GroupProgress) -> dict[str, Any]:
    """How far a group is."""
    return {
        "group": group.group,
        "total": group.total,
        "percent": group.percent,
        "counts": {str(status): count for status, count in group.counts.items()},
    }
