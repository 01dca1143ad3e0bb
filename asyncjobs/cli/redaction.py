"""Apply the setting ``redact``: what commands show of values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from msgspec.structs import replace

from asyncjobs.cli.context import Context
from asyncjobs.cli.failures import Failure
from asyncjobs.core.json_values import json_value
from asyncjobs.models import Attempt, Gate, Job, JobError, JobEvent


def redacted(context: Context, what: str, value: Any) -> Any:
    """Return what may be shown of a value, in its JSON form.

    :raises Failure: the function of the setting raised; nothing is shown then.
    """
    plain: Any = json_value(value)
    return _applied(context, lambda redact: json_value(redact(what, plain)), plain)


def redacted_call(
    context: Context, function: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return what may be shown of arguments; they are unchanged if nothing is hidden."""
    if not args and not kwargs:  # a command without values does not need the function
        return args, kwargs
    plain_args, plain_kwargs = json_value(list(args)), json_value(dict(kwargs))

    def apply(redact: Callable[[str, Any], Any]) -> Any:
        from asyncjobs.web.arguments import redact_arguments

        return redact_arguments(redact, function, plain_args, plain_kwargs)

    shown_args, shown_kwargs = _applied(context, apply, (plain_args, plain_kwargs))
    if shown_args != plain_args:
        args = tuple(cast("list[Any]", shown_args)) if isinstance(shown_args, list) else (shown_args,)
    return args, kwargs if shown_kwargs == plain_kwargs else _fields(shown_kwargs)


def redacted_job(context: Context, job: Job) -> Job:
    """Return a job with what may be shown of its metadata, error and question."""
    metadata, error, gate = job.metadata, _error(context, job.error), job.gate
    if metadata:
        metadata = _fields(redacted(context, "metadata", metadata))
    if gate is not None:
        gate = redacted_gate(context, gate)
    return replace(job, metadata=metadata, error=error, gate=gate)


def redacted_gate(context: Context, gate: Gate) -> Gate:
    """Return a gate with what may be shown of its question."""

    def apply(redact: Callable[[str, Any], Any]) -> Gate:
        from asyncjobs.web.json_models import gate_view

        view = gate_view(gate, redact)
        choices = None if view.choices is None else tuple(view.choices)
        return replace(
            gate, question=view.question, choices=choices, schema=view.schema, reject_on=tuple(view.reject_on)
        )

    return _applied(context, apply, gate)


def redacted_attempt(context: Context, attempt: Attempt) -> Attempt:
    """Return an attempt with what may be shown of its error."""
    return replace(attempt, error=_error(context, attempt.error))


def redacted_event(context: Context, event: JobEvent) -> JobEvent:
    """Return an event with what may be shown of its data."""
    if not event.data:
        return event
    return replace(event, data=_fields(redacted(context, "log" if event.type == "log" else "event", event.data)))


def redacted_text(context: Context, text: str) -> str:
    """Return what may be shown of the text of an error."""
    return str(redacted(context, "error", text))


def _error(context: Context, error: JobError | None) -> JobError | None:
    if error is None:
        return None
    trace = error.traceback_text
    return replace(
        error,
        message=redacted_text(context, error.message),
        traceback_text=None if trace is None else redacted_text(context, trace),
    )


def _fields(shown: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", shown) if isinstance(shown, dict) else {"redacted": shown}


def _applied(context: Context, apply: Callable[[Callable[[str, Any], Any]], Any], plain: Any) -> Any:
    redact = context.redact
    if redact is None:
        return plain
    try:
        return apply(redact)
    except Exception as error:  # border: code of the program
        name = context.settings.redact
        raise Failure(f"redact: {name} failed: {type(error).__name__}: {error}") from error
