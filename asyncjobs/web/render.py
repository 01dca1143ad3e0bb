"""Render models as the views that responses contain."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from asyncjobs.clock import to_datetime
from asyncjobs.models import Attempt, GroupProgress, Job, JobError, JobEvent, StatusReport, WaitsFor
from asyncjobs.runtime.reasons import held_by_the_dead
from asyncjobs.runtime.reports import report, to_be_timed
from asyncjobs.web.call import Call
from asyncjobs.web.json_models import attempt_view, event_view, gate_view, group_view, job_view
from asyncjobs.web.views import (
    AttemptView,
    ErrorView,
    EventView,
    GroupView,
    JobView,
)


async def render_jobs(call: Call, jobs: Sequence[Job]) -> list[JobView]:
    """Return the views of jobs, with estimates."""
    backend = call.jp.backend
    durations = {function: await backend.get_durations(function) for function in to_be_timed(jobs)}
    gone = await held_by_the_dead(backend, jobs)
    now = to_datetime(call.jp.clock.now())
    views: list[JobView] = []
    for job in jobs:
        status = report(job, now, None, durations.get(job.func, ()), worker_gone=job.id in gone)
        views.append(_job(call, job, status, worker_gone=job.id in gone))
    return views


async def render_job(call: Call, job: Job) -> JobView:
    """Return the view of one job."""
    return (await render_jobs(call, [job]))[0]


def _job(call: Call, job: Job, status: StatusReport, *, worker_gone: bool) -> JobView:
    return job_view(
        job,
        status,
        worker_gone=worker_gone,
        metadata=call.redact_fields("metadata", job.metadata),
        gate=None if job.gate is None else gate_view(job.gate, call.site.config.redact),
        error=render_error(call, job.error),
        links=_job_links(call, job),
    )


_PARTS = ("result", "arguments", "events", "logs", "attempts", "graph", "why", "cancel", "retry")


def _job_links(call: Call, job: Job) -> dict[str, str]:
    own = call.url("/v1/jobs/{}", job.id)
    is_open = job.gate is not None and job.waits_for is WaitsFor.ANSWER
    parts = (*_PARTS, "answer", "reject") if is_open and call.caller.principal.may("answer") else _PARTS
    return {"self": own} | {part: f"{own}/{part}" for part in parts}


def render_error(call: Call, error: JobError | None) -> ErrorView | None:
    """Return the view of a stored error."""
    if error is None:
        return None
    traceback = error.traceback_text
    return ErrorView(
        error.error_type, call.redact_text(error.message), None if traceback is None else call.redact_text(traceback)
    )


def render_attempt(call: Call, attempt: Attempt) -> AttemptView:
    """Return the view of an attempt."""
    return attempt_view(attempt, render_error(call, attempt.error))


def render_events(call: Call, events: Iterable[JobEvent]) -> list[EventView]:
    """Return the views of events."""
    return [event_view(event, call.redact_fields(event_kind(event), event.data)) for event in events]


def event_kind(event: JobEvent) -> str:
    """Return the kind of an event for ``redact=``."""
    return "log" if event.type == "log" else "event"


def render_group(call: Call, group: GroupProgress) -> GroupView:
    """Return the view of a group."""
    own = call.url("/v1/groups/{}", group.group)
    return group_view(group, {"self": own, "events": f"{own}/events", "graph": f"{own}/graph"})
