"""Handle requests about the whole service: statistics, workers, the snapshot, sessions, health."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from secrets import token_hex

from msgspec import json
from starlette.responses import Response

from asyncjobs.exceptions import BackendError
from asyncjobs.models import WorkerInfo
from asyncjobs.requests import JobQuery
from asyncjobs.versions import own_version
from asyncjobs.web import views
from asyncjobs.web.access import COOKIE, TICKET_LIFETIME
from asyncjobs.web.call import Call
from asyncjobs.web.json_models import worker_view
from asyncjobs.web.render import render_group, render_jobs

_NEWEST = 200
_GROUPS = 100


async def index(call: Call) -> Response:
    """List the resources."""
    names = ("jobs", "groups", "events", "stats", "workers", "snapshot", "openapi.json")
    links = {name.removesuffix(".json"): call.url(f"/v1/{name}") for name in names}
    return call.json(views.IndexView("asyncjobs", own_version(), links))


async def openapi(call: Call) -> Response:
    """Return the OpenAPI document of this interface."""
    return call.json(call.site.document(call.place.root or "/"))


async def stats(call: Call) -> Response:
    """Return statistics of all jobs and workers."""
    cursor = await call.jp.backend.last_cursor()
    known = await call.jp.workers()
    etag = _etag(call, cursor, known)
    if call.matches(etag):
        return call.json(None, etag=etag)
    return call.json(await _stats(call, cursor, known), etag=etag)


def _etag(call: Call, cursor: str, known: Sequence[WorkerInfo]) -> str:
    """Return an ETag of the end of the log and of what is not in the log: workers, streams, removed jobs."""
    removals: int | str | None = call.jp.backend.removals()
    if removals is None:  # not known now: make a unique ETag
        removals = token_hex(8)
    rest = json.encode((removals, len(call.site.streams), list(map(worker_view, known))))
    return f'"c{cursor}-{sha256(rest).hexdigest()[:16]}"'


async def _stats(call: Call, cursor: str, known: Sequence[WorkerInfo]) -> views.StatsView:
    counts = await call.jp.backend.count_jobs()
    alive = [worker for worker in known if worker.alive]
    return views.StatsView(
        dict(counts),
        sum(counts.values()),
        len(alive),
        sum(worker.slots for worker in alive),
        sum(worker.running for worker in alive),
        len(call.site.streams),
        cursor,
    )


async def workers(call: Call) -> Response:
    """Return the workers of all processes."""
    return call.json(views.WorkersView([worker_view(worker) for worker in await call.jp.workers()]))


async def snapshot(call: Call) -> Response:
    """Return the state that a page shows first, and a cursor to stream from. Later events may be included twice."""
    cursor = await call.jp.backend.last_cursor()
    known = await call.jp.workers()
    etag = _etag(call, cursor, known)
    if call.matches(etag):
        return call.json(None, etag=etag)
    jobs = await call.jp.find_jobs(JobQuery(order="newest", limit=_NEWEST))
    groups = await call.jp.backend.list_groups(None, _GROUPS)
    return call.json(
        views.SnapshotView(
            cursor,
            await _stats(call, cursor, known),
            await render_jobs(call, jobs),
            [render_group(call, group) for group in groups],
            list(map(worker_view, known)),
        ),
        etag=etag,
    )


async def open_session(call: Call) -> Response:
    """Exchange the bearer token for a session cookie, so that a page can stream."""
    value = call.site.guard.session(call.caller)
    secure = "; Secure" if call.request.scope.get("scheme") == "https" else ""
    lifetime = int(call.site.config.session_lifetime)
    cookie = f"{COOKIE}={value}; HttpOnly; SameSite=Strict; Path={call.place.root or '/'}; Max-Age={lifetime}{secure}"
    return Response(status_code=204, headers={"set-cookie": cookie, "cache-control": "no-store"})


async def close_session(call: Call) -> Response:
    """Delete the session cookie."""
    cookie = f"{COOKIE}=; HttpOnly; SameSite=Strict; Path={call.place.root or '/'}; Max-Age=0"
    return Response(status_code=204, headers={"set-cookie": cookie, "cache-control": "no-store"})


async def ticket(call: Call) -> Response:
    """Issue a ticket for one stream, for an ``EventSource`` that cannot send headers or cookies."""
    return call.json(views.TicketView(call.site.guard.ticket(call.caller), TICKET_LIFETIME), 201)


async def alive(call: Call) -> Response:
    """Report that the process is alive."""
    return call.json(views.HealthView("ok", {}))


async def ready(call: Call) -> Response:
    """Report whether the store is available. Workers are not required: submitted jobs wait for the next one."""
    try:
        await call.jp.backend.health()
        known = await call.jp.workers()
    except BackendError as error:
        return call.json(views.HealthView("unavailable", {"code": error.code}), 503, headers={"retry-after": "1"})
    # No authentication is needed here: show neither host nor process.
    workers = [{"id": worker.id, "name": worker.name, "alive": worker.alive} for worker in known]
    return call.json(views.HealthView("ok", {"workers": workers}))
