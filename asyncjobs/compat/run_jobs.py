"""Show jobs that the processor runs as the tracker's, derived whenever they are read, and describe those to submit.

A job belongs to the tracker if its group is a movie and its metadata have ``tracker_id``, its id in that movie.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any, cast

from asyncjobs import models
from asyncjobs.backends.base import JobBackend
from asyncjobs.compat.coercion import member, optional, text, whole
from asyncjobs.compat.job import Job, JobStatus, JobType
from asyncjobs.compat.rows import JOB_COLUMNS
from asyncjobs.paging import iter_pages
from asyncjobs.requests import JobQuery
from asyncjobs.runtime.job_results import read_value

_ID, _MARK = "tracker_id", "tracker"
"""Metadata of a tracked job; the second one, of jobs that a tracker has submitted, has what stands there otherwise."""
_FIELDS = {"type": member(JobType), "scene_id": optional(text), "character_id": optional(whole), "output_path": text}
_LOOKS_LIKE_A_PATH = re.compile(r"[^\n]{0,4000}[/\\][^\n/\\]{0,255}\.[A-Za-z0-9]{1,5}")
"""A text that a job returns: with a folder, and a suffix at its end."""
_PAGE = 1000
_RESULTS = 100

Key = tuple[str, str]
"""The movie and the tracker's id of a job."""


async def find_tracked(backend: JobBackend, query: JobQuery) -> dict[Key, models.Job]:
    """Return the tracked jobs of a query, by submission; of two with one id in a movie, the later one."""
    found: dict[Key, models.Job] = {}
    async with aclosing(iter_pages(backend.find_jobs, query)) as pages:
        async for page in pages:
            for job in page:
                tracked = job.metadata.get(_ID)
                if isinstance(tracked, str) and job.group is not None:
                    found.pop((job.group, tracked), None)
                    found[job.group, tracked] = job
    return found


def of_movie(movie_id: str) -> JobQuery:
    """Return the query for the jobs of a movie."""
    return JobQuery(group=movie_id, limit=_PAGE)


def of_id(job_id: str) -> JobQuery:
    """Return the query for the jobs with an id, of all movies."""
    return JobQuery(metadata={_ID: job_id}, limit=_PAGE)


def of_all() -> JobQuery:
    """Return the query for all jobs."""
    return JobQuery(limit=_PAGE)


def show_status(job: models.Job) -> JobStatus:
    """Return the tracker's status of a job: what was cancelled has failed."""
    if job.status is models.JobStatus.CANCELLED:
        return JobStatus.FAILED
    return JobStatus(job.status.value)


async def show_jobs(backend: JobBackend, found: Mapping[Key, models.Job]) -> dict[Key, Job]:
    """Return jobs as the tracker's, with the paths that completed ones have returned."""
    without = [job.id for job in found.values() if _output_path(job) is None]
    completed = [job.id for job in found.values() if job.status is models.JobStatus.COMPLETED]
    paths = await _returned_paths(backend, sorted(set(without).intersection(completed)))
    return {key: _show(key[0], key[1], job, paths.get(job.id)) for key, job in found.items()}


async def _returned_paths(backend: JobBackend, job_ids: Sequence[str]) -> dict[str, str]:
    paths: dict[str, str] = {}
    for start in range(0, len(job_ids), _RESULTS):
        for job_id, result in (await backend.get_results(job_ids[start : start + _RESULTS])).items():
            path = _path_in(result)
            if path is not None:
                paths[job_id] = path
    return paths


def _path_in(result: models.JobResult) -> str | None:
    """Return the path that a result is, or has as ``path``."""
    try:
        value = read_value(result, None)
    except Exception:  # border: a result that cannot be read is no path; who asks for the result gets the error
        return None
    if isinstance(value, str):
        return value if _LOOKS_LIKE_A_PATH.fullmatch(value) else None
    if isinstance(value, Mapping):
        value = cast("Mapping[str, Any]", value).get("path")
    elif not isinstance(value, os.PathLike):
        value = getattr(value, "path", None)
    if isinstance(value, os.PathLike):
        return str(cast("os.PathLike[str]", value))
    return value if isinstance(value, str) else None


def _show(movie_id: str, job_id: str, job: models.Job, returned: str | None) -> Job:
    changed = job.finished_at or job.started_at or job.created_at
    return Job(
        id=job_id,
        type=_field(job, "type", JobType.POST_PRODUCTION),
        status=show_status(job),
        scene_id=_field(job, "scene_id", None),
        character_id=_field(job, "character_id", None),
        metadata=_own_metadata(job.metadata),
        error=_show_error(movie_id, job),
        retry_count=min(job.failures, job.max_retries),
        max_retries=job.max_retries,
        created_at=_local(job.created_at),
        updated_at=_local(changed),
        output_path=_output_path(job) or returned,
    ).note(movie_id)


def _show_error(movie_id: str, job: models.Job) -> str | None:
    if job.status is models.JobStatus.CANCELLED:
        return "cancelled"
    if job.status is models.JobStatus.SKIPPED:
        cause = "?" if job.because is None else job.because.removeprefix(f"{movie_id}/")
        return f"skipped because {cause!r} did not complete"
    return None if job.error is None else job.error.message


def _local(moment: datetime) -> datetime:
    """Return a moment as the tracker has them: in local time, without a zone."""
    return moment.astimezone().replace(tzinfo=None)


def _output_path(job: models.Job) -> str | None:
    return _field(job, "output_path", None)


def _field(job: models.Job, name: str, default: Any) -> Any:
    """Return a field of a tracked job from its metadata, or the default if they do not have a value of its kind."""
    beside: Any = job.metadata.get(_MARK)
    place = cast("dict[str, Any]", beside) if isinstance(beside, dict) and name in beside else job.metadata
    value: Any = place.get(name)
    if value is None:
        return default
    try:
        return _FIELDS[name](f"metadata.{name}", value)
    except ValueError:
        return default


def _own_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata that the job was saved with."""
    beside: Any = metadata.get(_MARK)
    if not isinstance(beside, dict):
        return {name: value for name, value in metadata.items() if name != _ID}
    added = {_ID, _MARK, *(name for name in _FIELDS if name not in beside)}
    return {name: value for name, value in metadata.items() if name not in added}


def describe(row: Sequence[Any]) -> dict[str, Any]:
    """Return the metadata of a job to be submitted, of its row: its own, and the fields of the tracker.

    Fields whose name its own metadata have, too, stand apart, so that both can be read.
    """
    values: dict[str, Any] = dict(zip(JOB_COLUMNS, row, strict=True))
    own: dict[str, Any] = json.loads(values["metadata"])
    fields = {name: values[name] for name in _FIELDS}
    beside = {name: value for name, value in fields.items() if name in own}
    given = {name: value for name, value in fields.items() if name not in own and value is not None}
    return {**given, **own, _ID: values["id"], _MARK: beside}
