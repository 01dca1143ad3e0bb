"""Handle requests for the event log, as a stream or a page at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.responses import Response
from starlette.types import ASGIApp

from asyncjobs.exceptions import BackendClosedError
from asyncjobs.models import JobEvent
from asyncjobs.runtime.events.frames import Form
from asyncjobs.runtime.events.reader import EventReader
from asyncjobs.web import requests, views
from asyncjobs.web.call import Call
from asyncjobs.web.graphs import known_group
from asyncjobs.web.problems import WebError
from asyncjobs.web.render import render_events
from asyncjobs.web.stream import EventStream, goodbye, stream_headers

_STREAM_TYPES = {"text/event-stream": False, "application/x-ndjson": True, "application/jsonl": True}


async def all_events(call: Call) -> Response | ASGIApp:
    """Stream all events."""
    return await _events(call)


async def job_events(call: Call) -> Response | ASGIApp:
    """Stream the events of a job until it ends."""
    job_id = call.param("id")
    return await _events(call, job_id=job_id, check=lambda: call.jp.get_job(job_id))


async def group_events(call: Call) -> Response | ASGIApp:
    """Stream the events of a group until all of its jobs have ended."""
    group = call.param("group")
    return await _events(call, group=group, check=lambda: known_group(call.jp, group))


async def _events(
    call: Call,
    *,
    job_id: str | None = None,
    group: str | None = None,
    check: Callable[[], Awaitable[object]] | None = None,
) -> Response | ASGIApp:
    """Return a stream or a page. ``check`` raises if the job or group is unknown; a stream calls it itself."""
    asked = call.query(requests.Streaming)
    # After a reconnection, the browser's header is newer than the cursor in the URL.
    after = call.request.headers.get("last-event-id") or asked.after
    types, streams = asked.types or None, not asked.once
    try:
        streamer = call.jp.streamer
    except BackendClosedError as error:
        if not (streams and error.leaving):
            raise
        form = _form(call, plain=asked.plain)
        return Response(goodbye(form), headers=stream_headers(form))
    reader = streamer.reader(job_id=job_id, group=group, types=types, after=after, may_reset=streams)
    if not streams:
        if check is not None:
            await check()
        return await _page(call, reader, asked.limit)
    site = call.site
    return EventStream(
        reader,
        site.frames,
        _form(call, plain=asked.plain),
        check=check,
        config=site.config,
        streams=site.streams,
        snapshot=call.url("/v1/snapshot"),
        headers=site.guard.cors(call.request),
    )


def _form(call: Call, *, plain: bool) -> Form:
    """Return the first format in ``Accept`` that events have; server-sent events without the header."""
    accepts = call.request.headers.get("accept", "*/*")
    for entry in accepts.split(","):
        kind = entry.partition(";")[0].strip().lower()
        if kind in _STREAM_TYPES:
            return "lines" if _STREAM_TYPES[kind] else ("plain" if plain else "named")
        if kind in ("*/*", "text/*"):
            return "plain" if plain else "named"
        if kind == "application/*":
            return "lines"
    raise WebError(406, "not-acceptable", f"events are sent as {' or '.join(_STREAM_TYPES)}, not as {accepts[:100]!r}")


async def job_logs(call: Call) -> Response:
    """Return a page of the log of a job."""
    asked = call.query(requests.Page)
    job = await call.jp.get_job(call.param("id"))
    reader = call.jp.streamer.reader(job_id=job.id, types="log", after=asked.after)
    return await _page(call, reader, asked.limit)


async def _page(call: Call, reader: EventReader, limit: int) -> Response:
    """Return up to ``limit`` stored events; ``cursor`` is the position after the last of them."""
    events: list[JobEvent] = []
    lost = end = False
    cursor = reader.cursor
    async with reader:
        while len(events) < limit and not end:
            batch = await reader.next(0)
            lost |= batch.lost
            end = batch.ended or reader.live
            room = limit - len(events)
            events += batch.events[:room]
            cursor = batch.cursor if len(batch.events) <= room else batch.events[room - 1].cursor
            end = end and len(batch.events) <= room
    return call.json(views.EventsView(render_events(call, events), cursor or "0", end, lost))
