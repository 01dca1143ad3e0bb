"""Turn models into rows of the tracker's tables, and rows into models."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from enum import Enum
from typing import Any

from asyncjobs.checks import encodable
from asyncjobs.compat.coercion import refused
from asyncjobs.compat.job import Job
from asyncjobs.compat.state import FLAGS, PipelineState
from asyncjobs.exceptions import CorruptValueError

JOB_COLUMNS = (
    "id", "type", "status", "scene_id", "character_id", "error", "retry_count", "max_retries", "output_path",
    "created_at", "updated_at", "metadata",
)  # fmt: skip
"""Columns of a job, in the order of ``job_row``."""
STATE_COLUMNS = (*FLAGS, "screenplay_hash", "screenplay_data")
_READ: tuple[tuple[str, Callable[[str], Any]], ...] = (
    ("metadata", json.loads),
    ("created_at", datetime.fromisoformat),
    ("updated_at", datetime.fromisoformat),
)
_INT64 = 1 << 63


def checked_text(field: str, value: str) -> str:
    """Return a text that can be stored.

    :raises ConfigurationError: it has lone surrogates.
    """
    if not encodable(value):
        raise refused(field, value, "a text without lone surrogates")
    return value


def to_json(what: str, value: object) -> str:
    """Return a value as JSON.

    :raises TypeError: JSON has no such value. ValueError: it contains itself.
    """
    try:
        return json.dumps(value)
    except TypeError as error:
        raise TypeError(f"{what} cannot be kept as JSON: {error}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{what} cannot be kept as JSON: {error}") from error


def job_row(job: Job) -> tuple[Any, ...]:
    """Return the row of a job, whose fields may have been assigned without a check.

    :raises ConfigurationError: a field has a value that it cannot have. TypeError: JSON cannot take the metadata.
    """
    values = job.checked(JOB_COLUMNS)
    metadata = values.pop("metadata")
    row = [_stored(name, value) for name, value in values.items()]
    return (*row, to_json("Job.metadata", metadata))


def _stored(name: str, value: Any) -> Any:
    if isinstance(value, str):
        value = value.value if isinstance(value, Enum) else value
        return value if value.isascii() else checked_text(f"Job.{name}", value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, int) and not -_INT64 <= value < _INT64:
        raise refused(f"Job.{name}", value, "a whole number of 64 bits")
    return value


def row_job(row: Sequence[Any]) -> Job:
    """Return the job of a row with the columns of ``JOB_COLUMNS``.

    :raises ValueError: another program has written a value that the field cannot have.
    """
    values: dict[str, Any] = dict(zip(JOB_COLUMNS, row, strict=True))
    for name, read in _READ:
        try:
            values[name] = read(values[name])
        except ValueError as error:
            raise CorruptValueError(f"{name} of the record {values['id']!r} cannot be read: {error}") from error
    return Job(**values)


def state_row(state: PipelineState) -> tuple[Any, ...]:
    """Return the row of a state, without its jobs.

    :raises ConfigurationError: a field has a value that it cannot have. TypeError: JSON cannot take the screenplay.
    """
    values = state.checked(("screenplay_dict", "screenplay_hash", *FLAGS))
    screenplay = values["screenplay_dict"]
    data = to_json("PipelineState.screenplay_dict", screenplay) if screenplay else None
    kept = values["screenplay_hash"]
    flags = [int(values[name]) for name in FLAGS]
    return (*flags, None if kept is None else checked_text("PipelineState.screenplay_hash", kept), data)


def fill_state(state: PipelineState, row: Sequence[Any]) -> None:
    """Set what a row with the columns of ``STATE_COLUMNS`` has of a state."""
    *flags, kept, data = row
    for name, flag in zip(FLAGS, flags, strict=True):
        setattr(state, name, bool(flag))
    state.screenplay_hash = kept
    state.screenplay_dict = json.loads(data) if data else None
    state.note(row)
