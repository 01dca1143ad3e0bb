"""Handle requests that change state: submit, cancel and retry, for one job or for many."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Any, cast

from starlette.responses import Response

from asyncjobs.core.codec import JsonObject, decode_value
from asyncjobs.core.mains import NOT_BY_SCRIPT, is_of_a_script
from asyncjobs.exceptions import JobStateError
from asyncjobs.models import JobStatus
from asyncjobs.paging import iter_pages
from asyncjobs.plurals import counted
from asyncjobs.requests import JobQuery
from asyncjobs.runtime.handle import JobHandle
from asyncjobs.spellings import nearest
from asyncjobs.web import gates, requests, views
from asyncjobs.web.call import Call
from asyncjobs.web.problems import WebError, invalid
from asyncjobs.web.render import render_job

_PAGE = 500
_MOST = 100_000
"""Jobs that one request may change."""
_UNFINISHED = [JobStatus.PENDING, JobStatus.IN_PROGRESS]
_RETRIABLE = [JobStatus.FAILED, JobStatus.CANCELLED]
_FIELDS = "ids, status, group, queue, function and waits_for"


async def submit(call: Call) -> Response:
    """Submit a job of a registered function, or a gate. 202; 200 if the same job existed already."""
    if not call.site.config.submit:
        raise WebError(
            403, "submit-disabled", "submitting jobs over HTTP is disabled", hint="asgi_app(submit=True) enables it"
        )
    asked = await call.body(requests.Submit)
    job_id = asked.id
    key = call.request.headers.get("idempotency-key")
    if key is not None:
        if job_id not in (None, key):
            raise invalid("#/id", "differs from the header Idempotency-Key")
        job_id = key
    known = job_id is not None and bool(await call.jp.backend.get_jobs([job_id]))
    if asked.gate is not None:
        handle = await gates.submit_gate(call, asked, asked.gate, job_id)
    else:
        handle = await _submit_job(call, asked, job_id)
    job = await call.jp.get_job(handle)
    headers = {"location": call.url("/v1/jobs/{}", job.id)}
    if not known:
        headers["retry-after"] = "1"
    return call.json(await render_job(call, job), 200 if known else 202, headers=headers)


async def _submit_job(call: Call, asked: requests.Submit, job_id: str | None) -> JobHandle[Any]:
    if asked.function is None:
        raise invalid("#", "object missing required field `function`")
    function = call.engine.functions.registered.get(asked.function)
    if function is None:
        raise _unknown_function(asked.function, call.engine.functions.registered)
    options = {
        name: value
        for name in ("require", "group", "metadata", "queue", "priority", "max_retries", "timeout", "delay", "run_at")
        if (value := getattr(asked, name)) is not None
    }
    return await call.jp.submit_job(
        function,
        args=tuple(_with_handles(call, asked.args)),
        kwargs=_with_handles(call, asked.kwargs),
        job_id=job_id,
        depends_on=asked.depends_on,
        if_exists="return",
        **options,
    )


def _named_alike(name: str, names: Sequence[str]) -> str | None:
    """Return the registered name of the same function in another module; without a module, also of a similar one."""
    module, _, function = name.rpartition(":")
    functions = {known.rpartition(":")[2]: known for known in reversed(names)}
    like = function if module else nearest(function, functions)
    return None if like is None else functions.get(like)


def _unknown_function(name: str, registered: Iterable[str]) -> WebError:
    names = list(registered)
    of_script = is_of_a_script(name)
    near = None if of_script else nearest(name, names)
    # A function of a script may be registered under its module's name, any other in another module, or in a script.
    if near is None:
        near = _named_alike(name, names)
    other = NOT_BY_SCRIPT if of_script else "JobProcessor(functions=[…]) registers functions"
    return WebError(
        422,
        "unknown-function",
        f"function {name!r} is not registered"
        + (": the server does not know the caller's script" if of_script else ""),
        hint=f"did you mean {near!r}?" if near else other,
        errors=[{"pointer": "#/function", "detail": "not registered"}],
    )


def _with_handles(call: Call, value: Any) -> Any:
    """Return a value with ``{"$job": id}`` as a handle, ``{"$tuple": […]}`` as a tuple, ``{"$msgpack": …}`` decoded."""
    if isinstance(value, list):
        return [_with_handles(call, inner) for inner in cast("list[Any]", value)]
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        job_id = fields.get("$job")
        if len(fields) == 1 and isinstance(job_id, str):
            handle: JobHandle[Any] = call.jp.handle(job_id)
            return handle
        items = fields.get("$tuple")
        if len(fields) == 1 and isinstance(items, list):
            return tuple(_with_handles(call, inner) for inner in cast("list[Any]", items))
        stored = fields.get("$msgpack")
        if len(fields) == 1 and isinstance(stored, str):
            try:
                return decode_value(b64decode(stored, validate=True))
            except ValueError as error:  # invalid base64, or CorruptValueError
                raise invalid("#/args", f"$msgpack: {error}") from None
        # Marked as JSON, so that the annotation decides whether a dict becomes a record.
        return JsonObject({name: _with_handles(call, inner) for name, inner in fields.items()})
    return value


async def cancel(call: Call) -> Response:
    """Cancel a job. 202: cancelled, or asked to stop; 200: it was cancelled before; 409: it ended otherwise."""
    asked = await call.body(requests.Cancel)
    job_id = call.param("id")
    await call.check_match(job_id)
    before = await call.jp.get_status(job_id)
    status = await call.jp.cancel_job(job_id, descendants=asked.descendants)
    if status.terminal and status is not JobStatus.CANCELLED:
        raise JobStateError(job_id, status, "it had ended before it could be cancelled")
    return call.json(views.StatusView(job_id, status), 200 if before is JobStatus.CANCELLED else 202)


async def retry(call: Call) -> Response:
    """Retry a failed or cancelled job. It resumes with the steps that it has kept, unless `fresh` is true."""
    asked = await call.body(requests.Retry)
    job_id = call.param("id")
    await call.check_match(job_id)
    return call.json(views.StatusView(job_id, await call.jp.retry_job(job_id, fresh=asked.fresh)), 202)


async def cancel_many(call: Call) -> Response:
    """Cancel all unfinished jobs that match a filter."""
    asked = await call.body(requests.Bulk)

    async def cancel_page(ids: list[str]) -> dict[str, JobStatus]:
        return dict(await call.jp.cancel_jobs(JobQuery(ids=ids)))

    return await _many(call, asked, _UNFINISHED, cancel_page)


async def retry_many(call: Call) -> Response:
    """Retry all failed and cancelled jobs that match a filter."""
    asked = await call.body(requests.BulkRetry)

    async def retry_page(ids: list[str]) -> dict[str, JobStatus]:
        changed: dict[str, JobStatus] = {}
        for job_id in ids:
            try:
                changed[job_id] = await call.jp.retry_job(job_id, fresh=asked.fresh)
            except JobStateError:
                pass  # changed meanwhile, by another caller or as a dependent of one of these jobs
        return changed

    return await _many(call, asked, _RETRIABLE, retry_page)


async def _many(
    call: Call,
    asked: requests.Bulk,
    statuses: list[JobStatus],
    change: Callable[[list[str]], Awaitable[dict[str, JobStatus]]],
) -> Response:
    wanted = asked.filter
    if all(getattr(wanted, name) is None for name in wanted.__struct_fields__):
        raise invalid("#/filter", "is empty", hint=f"give at least one of {_FIELDS}")
    matched = await _matching(call, wanted, statuses)
    if asked.expect is not None and asked.expect != len(matched):
        raise WebError(
            409,
            "count-differs",
            f"{counted(len(matched), 'job matches', 'jobs match')}, not {asked.expect} as expected",
            hint="list the jobs again",
        )
    changed: dict[str, JobStatus] = {}
    for start in range(0, len(matched), _PAGE):
        changed |= await change(matched[start : start + _PAGE])
    return call.json(views.ChangedView(len(matched), changed), 202)


async def _matching(call: Call, wanted: requests.Filter, statuses: list[JobStatus]) -> list[str]:
    allowed = [status for status in statuses if wanted.status is None or status in wanted.status]
    if not allowed:
        return []
    query = JobQuery(
        ids=wanted.ids,
        status=allowed,
        group=wanted.group,
        queue=wanted.queue,
        function=wanted.function,
        waits_for=wanted.waits_for,
        limit=_PAGE,
    )
    found: list[str] = []
    async with aclosing(iter_pages(call.jp.find_jobs, query)) as pages:
        async for page in pages:
            found += [job.id for job in page]
            if len(found) > _MOST:
                raise WebError(422, "too-many", f"more than {_MOST:,} jobs match", hint="narrow the filter")
    return found
