"""Convert models to the JSON that the HTTP interface and routes of a program send, and back.

The interface adds what only a request knows: links, and estimates from earlier jobs of the function.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any, cast

from msgspec import MsgspecError, Struct, ValidationError, convert, to_builtins
from msgspec.json import schema_components
from msgspec.structs import asdict

from asyncjobs.client.answers import SentAttempt, SentJob, SentJobs
from asyncjobs.core.json_values import json_value
from asyncjobs.models import (
    Attempt,
    Gate,
    GroupProgress,
    Job,
    JobError,
    JobEvent,
    JobPage,
    JobStatus,
    Reason,
    StatusReport,
    WorkerInfo,
)
from asyncjobs.runtime.reports import report
from asyncjobs.web import views
from asyncjobs.web.settings import Redact, redact_secrets


class ReportView(Struct, frozen=True):
    """Status of a job for pollers; `result` once it has completed."""

    job_id: str
    status: JobStatus
    percent: views.Percent | None
    message: str | None
    elapsed: float | None
    remaining: float | None
    attempt: int
    result: Any = None
    error: views.ErrorView | None = None
    because: str | None = None


class WhyView(Struct, frozen=True):
    """Why a job is not running: a stable `code`, a `sentence` for people, `details` for programs."""

    code: str
    sentence: str
    details: dict[str, Any]


_VIEWS: dict[type, type[Struct]] = {
    Job: views.JobView,
    JobEvent: views.EventView,
    StatusReport: ReportView,
    Reason: WhyView,
    GroupProgress: views.GroupView,
    Attempt: views.AttemptView,
    WorkerInfo: views.WorkerView,
}
_OF_REQUESTS = frozenset({"links", "cursor"})
"""Fields of jobs and groups that a request adds."""


def as_json(model: object) -> dict[str, Any]:
    """Return the JSON of a model; values under keys that look secret are hidden, as ``asgi_app`` does."""
    if isinstance(model, JobPage):
        return {"items": list(map(as_json, model)), "next": model.next}
    view = _view(model)
    sent = cast("dict[str, Any]", to_builtins(view))
    if isinstance(model, (Job, GroupProgress)):
        return {name: value for name, value in sent.items() if name not in _OF_REQUESTS}
    return sent


def _view(model: object) -> Struct:
    match model:
        case Job():
            gate = None if model.gate is None else gate_view(model.gate, redact_secrets)
            status = report(model, datetime.now(UTC), None)
            return job_view(model, status, metadata=_hidden("metadata", model.metadata), gate=gate)
        case JobEvent():
            return event_view(model, _hidden("log" if model.type == "log" else "event", model.data))
        case GroupProgress():
            return group_view(model)
        case StatusReport():
            return ReportView(
                model.job_id,
                model.status,
                model.percent,
                model.message,
                model.elapsed,
                model.remaining,
                model.attempt,
                redact_secrets("result", json_value(model.result)),
                _error(model.error),
                model.because,
            )
        case Attempt():
            return attempt_view(model, _error(model.error))
        case WorkerInfo():
            return worker_view(model)
        case Reason():
            return WhyView(model.code, model.sentence, json_value(model.details))
        case _:
            raise TypeError(f"{type(model).__name__} cannot be sent over HTTP")


def from_json(kind: type[Any], value: Any) -> Any:
    """Return the model of JSON that ``as_json`` made.

    :raises ValueError: the value is not the JSON of such a model.
    """
    if kind is JobPage and isinstance(value, list):
        return JobPage([job if isinstance(job, Job) else from_json(Job, job) for job in cast("list[Any]", value)])
    if not isinstance(value, Mapping):
        raise ValueError(f"neither a {kind.__name__} nor the JSON of one")
    fields = dict(cast("Mapping[str, Any]", value))
    try:
        if kind is Job:
            return convert(fields, SentJob, strict=False).model()
        if kind is JobPage:
            page = convert(fields, SentJobs, strict=False)
            return JobPage([job.model() for job in page.items], page.next)
        if kind is Attempt:  # the job's id is in the URL, not in the JSON
            return convert(fields, SentAttempt, strict=False).model(fields["job_id"])
        if kind is StatusReport and isinstance(error := fields.get("error"), Mapping):
            of_error = cast("Mapping[str, Any]", error)
            fields["error"] = JobError(of_error["error_type"], of_error["message"], of_error.get("traceback"))
        return convert(fields, kind, strict=False)
    except (MsgspecError, KeyError, TypeError) as error:
        raise ValueError(f"not the JSON of a {kind.__name__}: {error}") from None


@cache
def json_schema(kind: type[Any]) -> dict[str, Any]:
    """Return the JSON Schema of a model, without references."""
    if kind is JobPage:
        items = {"type": "array", "items": json_schema(Job)}
        page = {"items": items, "next": {"anyOf": [{"type": "string"}, {"type": "null"}]}}
        return {"type": "object", "properties": page, "required": list(page), "title": "JobPage"}
    view = _VIEWS[kind]
    _, components = schema_components([view], ref_template="{name}")
    schema = _inlined(components[view.__name__], components)
    if kind in (Job, GroupProgress):
        schema["properties"] = {k: v for k, v in schema["properties"].items() if k not in _OF_REQUESTS}
        schema["required"] = [name for name in schema["required"] if name not in _OF_REQUESTS]
    return schema | {"title": kind.__name__}


def _inlined(schema: Any, components: Mapping[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_inlined(inner, components) for inner in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    fields = cast("dict[str, Any]", schema)
    if "$ref" in fields:
        return _inlined(components[fields["$ref"]], components)
    return {name: _inlined(inner, components) for name, inner in fields.items()}


def _hidden(what: str, fields: dict[str, Any]) -> dict[str, Any]:
    return cast("dict[str, Any]", redact_secrets(what, fields))


def _error(error: JobError | None) -> views.ErrorView | None:
    return None if error is None else views.ErrorView(error.error_type, error.message, error.traceback_text)


# -- views, as the HTTP interface fills them in


def job_view(
    job: Job,
    status: StatusReport,
    *,
    metadata: dict[str, Any],
    gate: views.GateView | None,
    worker_gone: bool = False,
    **of_request: Any,
) -> views.JobView:
    """Return the view of a job; ``of_request`` are fields that a request adds or hides."""
    progress = job.progress
    fields: dict[str, Any] = {
        "metadata": metadata,
        "error": _error(job.error),
        "links": {},
    }
    return views.JobView(
        id=job.id,
        function=job.func,
        name=job.func.rpartition(":")[2],
        status=job.status,
        version=job.version,
        queue=job.queue,
        priority=job.priority,
        group=job.group,
        attempt=job.attempt,
        failures=job.failures,
        interruptions=job.interruptions,
        max_retries=job.max_retries,
        timeout=job.timeout,
        waits_for=None if job.waits_for is None else job.waits_for.name.lower(),
        cancel_requested=job.cancel_requested,
        created_at=job.created_at,
        run_at=job.run_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        worker=job.worker,
        worker_id=job.worker_id,
        worker_gone=worker_gone,
        parent=job.parent_id,
        because=job.because,
        depends_on=list(job.depends_on),
        limit=job.limit,
        gate=gate,
        parked=job.parked,
        progress=None if progress is None else views.ProgressView(progress.done, progress.total, progress.message),
        percent=status.percent,
        elapsed=status.elapsed,
        remaining=status.remaining,
        unreadable=job.unreadable,
        **(fields | of_request),
    )


_HIDDEN = "•••"


def gate_view(gate: Gate, redact: Redact | None) -> views.GateView:
    """Return the view of a gate, with its question redacted."""
    asked: Any = {
        "question": gate.question,
        "choices": None if gate.choices is None else list(gate.choices),
        "schema": gate.schema,
        "reject_on": list(gate.reject_on),
    }
    shown = asked if redact is None else redact("gate", asked)
    try:
        parts = convert(shown, _ShownQuestion)
    except ValidationError:  # it may return any value
        parts = _ShownQuestion()
    return views.GateView(
        **asdict(parts),
        asked_by=gate.asked_by,
        opened_at=gate.opened_at,
        deadline=gate.deadline,
        answered_by=gate.answered_by,
        answered_at=gate.answered_at,
    )


class _ShownQuestion(Struct, frozen=True):
    """What callers may see of a question."""

    question: str = _HIDDEN
    choices: list[str] | None = None
    schema: dict[str, Any] | None = None
    reject_on: list[str] = []


def event_view(event: JobEvent, data: dict[str, Any]) -> views.EventView:
    """Return the view of an event; ``data`` is redacted."""
    return views.EventView(
        event.cursor,
        event.job_id,
        event.seq,
        event.type,
        event.at,
        event.attempt,
        event.status,
        event.group,
        json_value(data),
    )


def attempt_view(attempt: Attempt, error: views.ErrorView | None) -> views.AttemptView:
    """Return the view of an attempt; ``error`` is redacted."""
    outcome = None if attempt.outcome is None else attempt.outcome.value
    return views.AttemptView(attempt.attempt, attempt.worker, attempt.started_at, attempt.finished_at, outcome, error)


def worker_view(worker: WorkerInfo) -> views.WorkerView:
    """Return the view of a worker."""
    return views.WorkerView(
        worker.id,
        worker.name,
        worker.host,
        worker.pid,
        worker.slots,
        worker.running,
        None if worker.queues is None else list(worker.queues),
        worker.alive,
        worker.started_at,
        worker.refused,
    )


def group_view(group: GroupProgress, links: dict[str, str] | None = None) -> views.GroupView:
    """Return the view of a group."""
    return views.GroupView(
        group.group,
        group.total,
        group.completed,
        group.unfinished,
        group.percent,
        {status: count for status, count in group.counts.items() if count},
        links or {},
    )
