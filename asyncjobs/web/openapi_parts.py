"""What the OpenAPI document says that no type says: headers, statuses in words, examples."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from asyncjobs.models import JobEvent, JobStatus
from asyncjobs.runtime.events.frames import Form, Frames, checkpoint, control, ping
from asyncjobs.runtime.events.reader import EventBatch, EventFilter
from asyncjobs.web import views

Json = dict[str, Any]

WORDS = {
    200: "As asked.",
    201: "Made.",
    202: "Taken up; or not ready yet.",
    204: "Done; there is nothing more to say.",
    304: "Not changed since the ETag that `If-None-Match` names.",
    400: "The request says something that cannot be; `errors` says where.",
    401: "Nobody is signed in.",
    403: "Not allowed: to this caller, from this page, or under this host name.",
    404: "There is none; the `hint` may know a similar name.",
    405: "The method is not for this path.",
    406: "Events do not come in a form that `Accept` names.",
    409: "The job is not in a state for this; or it is another job.",
    412: "It is not as `If-Match` says any more.",
    413: "The body is too large.",
    414: "Path and query are too long.",
    415: "The body is not `application/json`.",
    422: "Understood, and refused; nothing was stored.",
    431: "Too many bytes of headers.",
    503: "The store does not answer, or the server stops.",
}

STREAMS = (
    "`Accept: text/event-stream` (also without `Accept`) gives server-sent events: `id` is the cursor, `event` the "
    "type, `data` an `Event`. `Accept: application/x-ndjson` gives an `Event` a line. Both begin with what is stored "
    "and then follow. `204`: everything was delivered, and nothing more will come; an `EventSource` stops then."
)


def _header(description: str, *, always: bool = True, **schema: Any) -> Json:
    return {"description": description, "required": always, "schema": {"type": "string", **schema}}


HEADERS: dict[str, Json] = {
    "ETag": _header("Stands for this state: send it as `If-None-Match` or `If-Match`."),
    "Location": _header("The job."),
    "Link": _header('The next page, as `rel="next"`, unless this is the last.', always=False),
    "Retry-After": _header("Seconds after which to ask again.", pattern="^[0-9]+$"),
    "Allow": _header("The methods that are for this path."),
    "WWW-Authenticate": _header("How to sign in."),
    "Set-Cookie": _header("The session; `HttpOnly`, `SameSite=Strict`."),
    "X-Request-Id": _header("The request's own, or a fresh one."),
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
"""Headers of answers, by operation and status; besides ``ETag``, which goes with 304."""

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
        "X-Asyncjobs", "Any value. Needed unless a bearer token is sent: pages of other sites cannot send it."
    )
    | {"example": "1"},
    "IfNoneMatch": _parameter("If-None-Match", "ETags that the client has: 304 when one of them is still right."),
    "IfMatch": _parameter("If-Match", "ETags: 412 unless the job is as one of them says."),
    "IdempotencyKey": _parameter(
        "Idempotency-Key", "The job's id. The same call again gives the same job.", minLength=1, maxLength=512
    ),
    "LastEventId": _parameter("Last-Event-ID", "The cursor of the last event seen; wins over `after`."),
    "RequestId": _parameter(
        "X-Request-Id", "Comes back in the answer if it is 1 to 128 letters, digits, or any of `_.:-`."
    ),
}

REQUESTS: dict[type, Json] = {
    views.Submit: {
        "function": "shop.orders:ship",
        "args": [17, {"$job": "payment-17"}],
        "id": "shipping-17",
        "group": "order-17",
    },
    views.Ids: {"ids": ["payment-17", "shipping-17"]},
    views.Bulk: {"filter": {"group": "order-17", "status": ["failed"]}, "expect": 3},
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
        "With `plain=true`: what the stream itself says has no `job_id`",
        _HELLO + _events("plain", *_STORY) + control("plain", "end", cursor="47"),
    ),
    "idle": _example(
        "Nothing happens; then the cursor moves on, where `types` leaves events out",
        ping("named") + checkpoint("named", "63"),
    ),
    "reset": _example(
        "Events after the client's cursor were removed: look at the snapshot, then follow",
        control("named", "reset", reason="retention", cursor="1041", snapshot="/v1/snapshot"),
    ),
    "bye": _example(
        "The server stops: come back in so many milliseconds",
        b'retry: 1200\nevent: bye\ndata: {"reason":"shutdown","retry":1200}\n\n',
    ),
    "lines": _example(
        "An event a line; what the stream itself says has no `job_id`; an empty line when nothing happens",
        b"\n" + _events("lines", *_STORY) + control("lines", "end", cursor="47"),
    ),
}
"""Of event streams, as they are sent."""
