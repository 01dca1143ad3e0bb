"""Check what callers pass to the methods of a processor, and refuse it with the field, the value and the fix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from asyncjobs.checks import is_a, listed, name_text
from asyncjobs.exceptions import ConfigurationError
from asyncjobs.requests import GateRequest, JobQuery, JobRequest
from asyncjobs.runtime.handle import JobHandle, refuse_unstored


def checked_id(value: object) -> str:
    """Return the id of an id or a handle. Any text is accepted; the store decides whether such a job exists."""
    if not is_a(value, str):
        raise ConfigurationError("job_id", value, allowed="an id or a handle")
    if issubclass(type(value), JobHandle):
        refuse_unstored(cast("JobHandle[Any]", value))
    return name_text(value)


def checked_ids(value: object) -> list[str]:
    """Return the ids of several ids and handles, checking each."""
    return [checked_id(one) for one in listed("job_ids", value, "ids or handles, in a list")]


def checked_query(query: object) -> JobQuery:
    """Return the given query, or one that matches everything."""
    if query is None:
        return JobQuery()
    if not is_a(query, JobQuery):
        raise ConfigurationError(
            "query", query, allowed="a JobQuery, or None", hint="JobQuery(status='failed'), JobQuery(group='comics'), …"
        )
    return query


def checked_requests(requests: object) -> Sequence[JobRequest | GateRequest]:
    """Return the requests of a batch, as a new sequence."""
    hint = "submit_jobs([JobRequest(func=render, args=(path,))]); submit_job(render, path) submits one"
    several = listed("requests", requests, "JobRequests and GateRequests, in a list", hint=hint)
    for i, request in enumerate(several):
        if not is_a(request, JobRequest) and not is_a(request, GateRequest):
            raise ConfigurationError(f"requests[{i}]", request, allowed="a JobRequest or a GateRequest", hint=hint)
    return several


def checked_items(items: object) -> list[Any]:
    """Return the items that a function is called with, one by one."""
    if is_a(items, str):
        return list(items)  # a string: its characters
    hint = "map_jobs(render, [path]); submit_job(render, path) calls it once"
    return listed("items", items, "several items", hint=hint)
