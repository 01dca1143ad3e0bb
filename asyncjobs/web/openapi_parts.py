"""Define the parts of the OpenAPI document that no type has: headers, statuses, examples."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from asyncjobs.models import JobEvent, JobStatus
from asyncjobs.runtime.events.frames import Form, Frames, checkpoint, control, ping
from asyncjobs.runtime.events.reader import EventBatch, EventFilter
from asyncjobs.web import requests

Json = dict[str, Any]

WORDS = {
    200: "Success.",
    201: "Created.",
    202: "Accepted, or not ready yet.",
    204: "Success, without a body.",
    304: "Not modified since the ETag in `If-None-Match`.",
    400: "The request is invalid; `errors` lists the places.",
    401: "Authentication is required.",
    403: "Not allowed for this caller, from this page, or under this host name.",
    404: "Not found; the `hint` may suggest a similar name.",
    405: "The method is not allowed for this path.",
    406: "Events are not available in a format that `Accept` names.",
    409: "The state of the job does not allow this, or the id belongs to another job.",
    412: "The job has changed since the ETag in `If-Match`.",
    413: "The body is too large.",
    414: "Path and query are too long.",
    415: "The body is not `application/json`.",
    422: "The request was refused; nothing was stored.",
    431: "The headers are too large.",
    503: "The store is not available, or the server is shutting down.",
}

STREAMS = (
    "`Accept: text/event-stream` (also without `Accept`) gives server-sent events: `id` is the cursor, `event` the "
    "type, `data` an `Event`. `Accept: application/x-ndjson` gives one `Event` per line. Both begin with the "
    "stored events and then follow. `204`: all events were delivered and none will follow; an `EventSource` stops then."
)


def _header(description: str, *, always: bool = True, **schema: Any) -> Json:
    return {"description": description, "required": always, "schema": {"type": "string", **schema}}


HEADERS: dict[str, Json] = {
    "ETag": _header("Identifies this state: send it as `If-None-Match` or `If-Match`."),
    "Location": _header("The URL of the job."),
    "Link": _header('The next page, as `rel="next"`, unless this is the last.', always=False),
    "Retry-After": _header("Seconds to wait before the next request.", pattern="^[0-9]+$"),
    "Allow": _header("The methods that are allowed for this path."),
    "WWW-Authenticate": _header("How to authenticate."),
    "Set-Cookie": _header("The session cookie; `HttpOnly`, `SameSite=Strict`."),
    "X-Request-Id": _header("The id sent with the request, or a new one."),
}

SENT: dict[tuple[str, int], tuple[str, ...]] = {
    ("submit", 200): ("Location",),
    ("submit", 202): ("Location", "Retry-After"),
    ("get_result", 202): ("Retry-After",),
    ("list_jobs", 200): ("Link",),
    ("ready", 503): ("Retry-After",),
    ("open_session", 204): ("Set-Cookie",),
    ("close_session", 204): ("Set-Cookie",),
}
"""Headers of responses, by operation and status; without ``ETag``, which goes with 304."""

PROBLEMS: dict[int, tuple[str, ...]] = {status: () for status in WORDS if status >= 400} | {
    401: ("WWW-Authenticate",),
    405: ("Allow",),
    503: ("Retry-After",),
}
"""Statuses of problems, and the headers that go with them."""


def _parameter(name: str, description: str, **schema: Any) -> Json:
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": description,
        "schema": {"type": "string", **schema},
    }


PARAMETERS: dict[str, Json] = {
    "Changing": _parameter(
        "X-Asyncjobs", "Any value. Required unless a bearer token is sent: pages of other sites cannot set it."
    )
    | {"example": "1"},
    "IfNoneMatch": _parameter("If-None-Match", "ETags known to the client: 304 if one of them still matches."),
    "IfMatch": _parameter("If-Match", "ETags: 412 unless one of them matches the job."),
    "IdempotencyKey": _parameter(
        "Idempotency-Key",
        "The id of the job. The same call again returns the same job.",
        minLength=1,
        maxLength=512,
    ),
    "LastEventId": _parameter("Last-Event-ID", "The cursor of the last event seen; takes precedence over `after`."),
    "RequestId": _parameter(
        "X-Request-Id", "Returned in the response if it consists of 1 to 128 letters, digits, or any of `_.:-`."
    ),
}

REQUESTS: dict[type, Json] = {
    requests.Submit: {
        "function": "shop.orders:ship",
        "args": [17, {"$job": "payment-17"}],
        "id": "shipping-17",
        "group": "order-17",
    },
    requests.Ids: {"ids": ["payment-17", "shipping-17"]},
    requests.Bulk: {"filter": {"group": "order-17", "status": ["pending"]}, "expect": 3},
    requests.BulkRetry: {"filter": {"group": "order-17", "status": ["failed"]}, "expect": 3, "fresh": False},
}


def _events(form: Form, *events: JobEvent) -> bytes:
    return b"".join(Frames().encode(EventBatch(events, None), EventFilter(), form))


def _event(cursor: str, seq: int, type: str, status: JobStatus | None, data: Json) -> JobEvent:
    at = datetime(2026, 3, 1, 12, 0, seq, tzinfo=UTC)
    return JobEvent(cursor, "shipping-17", seq, type, at, min(seq - 1, 1), status, "order-17", data)


_STORY = (
    _event("41", 1, "submitted", JobStatus.PENDING, {}),
    _event("43", 2, "started", JobStatus.IN_PROGRESS, {}),
    _event("44", 3, "progress", None, {"done": 1, "total": 2, "message": "packed"}),
    _event("47", 4, "completed", JobStatus.COMPLETED, {}),
)


def _example(summary: str, value: bytes) -> Json:
    return {"summary": summary, "value": value.decode()}


_HELLO = b"retry: 1700\n\n"

EXAMPLES: dict[str, Json] = {
    "job": _example(
        "A job from its first event to its end",
        _HELLO + _events("named", *_STORY) + control("named", "end", cursor="47"),
    ),
    "plain": _example(
        "With `plain=true`: messages of the stream itself have no `job_id`",
        _HELLO + _events("plain", *_STORY) + control("plain", "end", cursor="47"),
    ),
    "idle": _example(
        "No events; then a checkpoint, because `types` leaves events out",
        ping("named") + checkpoint("named", "63"),
    ),
    "reset": _example(
        "Events after the client's cursor were removed: fetch the snapshot, then follow",
        control("named", "reset", reason="retention", cursor="1041", snapshot="/v1/snapshot"),
    ),
    "bye": _example(
        "The server is shutting down: reconnect after this many milliseconds",
        b'retry: 1200\nevent: bye\ndata: {"reason":"shutdown","retry":1200}\n\n',
    ),
    "lines": _example(
        "One event per line; messages of the stream itself have no `job_id`; an empty line is a ping",
        b"\n" + _events("lines", *_STORY) + control("lines", "end", cursor="47"),
    ),
}
"""Examples of event streams, as they are sent."""
