"""Convert models to the JSON that commands print, with the field names of the HTTP interface."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from asyncjobs.models import GroupProgress, Job, JobError, JobEvent
from asyncjobs.runtime.reports import report


def job_item(job: Job) -> dict[str, Any]:
    """Return a job as JSON; percent and times are those of its status report."""
    status = report(job, datetime.now(UTC), None)
    return {
        "id": job.id,
        "function": job.func,
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
        "elapsed": status.elapsed,
        "remaining": status.remaining,
        "percent": status.percent,
        "progress": job.progress,
        "worker": job.worker,
        "because": job.because,
        "depends_on": job.depends_on,
        "waits_for": None if job.waits_for is None else job.waits_for.name.lower(),
        "gate": job.gate,
        "parked": job.parked,
        "metadata": job.metadata,
        "error": error_item(job.error),
        "unreadable": job.unreadable,
    }


def error_item(error: JobError | None) -> dict[str, Any] | None:
    """Return the error of a job or an attempt as JSON."""
    if error is None:
        return None
    return {"error_type": error.error_type, "message": error.message, "traceback": error.traceback_text}


def event_item(event: JobEvent) -> dict[str, Any]:
    """Return an event as JSON, as the HTTP interface streams it."""
    return {name: getattr(event, name) for name in event.__struct_fields__}


def group_item(group: GroupProgress) -> dict[str, Any]:
    """Return the progress of a group as JSON."""
    return {
        "group": group.group,
        "total": group.total,
        "percent": group.percent,
        "counts": {str(status): count for status, count in group.counts.items()},
    }
