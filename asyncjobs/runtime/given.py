"""What callers give to the methods of a processor: understood, or refused with the field, the value and the fix."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

from asyncjobs.exceptions import ConfigurationError
from asyncjobs.models import JobQuery, JobRequest, name_text


def id_of(value: object) -> str:
    """Return the id that an id or a handle is. Any text may be asked for; whether such a job exists is the store's."""
    if not isinstance(value, str):
        raise ConfigurationError("job_id", value, allowed="an id or a handle")
    return name_text(value)


def query_of(query: object) -> JobQuery:
    """Return the query that is given, or the one for everything."""
    if query is None:
        return JobQuery()
    if not isinstance(query, JobQuery):
        raise ConfigurationError(
            "query", query, allowed="a JobQuery, or None", hint="JobQuery(status='failed'), JobQuery(group='comics'), …"
        )
    return query


def requests_of(requests: object) -> Sequence[JobRequest]:
    """Return the requests of a batch, as a sequence of its own."""
    hint = "submit_jobs([JobRequest(func=render, args=(path,))]); submit_job(render, path) submits one"
    if not isinstance(requests, Iterable) or isinstance(requests, str):
        raise ConfigurationError("requests", requests, allowed="JobRequests, in a list", hint=hint)
    listed = list(cast("Iterable[Any]", requests))
    for i, request in enumerate(listed):
        if not isinstance(request, JobRequest):
            raise ConfigurationError(f"requests[{i}]", request, allowed="a JobRequest", hint=hint)
    return listed


def items_of(items: object) -> list[Any]:
    """Return the items that a function is called with, one by one."""
    if not isinstance(items, Iterable):
        raise ConfigurationError(
            "items",
            items,
            allowed="several items",
            hint="map_jobs(render, [path]); submit_job(render, path) calls it once",
        )
    return list(cast("Iterable[Any]", items))
