"""Define the table of routes, from which requests are routed and OpenAPI is written."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal

from msgspec import Struct
from starlette.responses import Response
from starlette.types import ASGIApp

from asyncjobs.web import actions, events, gates, graphs, jobs, requests, service, views
from asyncjobs.web.call import Call
from asyncjobs.web.settings import Right

Handler = Callable[[Call], Awaitable[Response | ASGIApp]]


class Entry(Struct, frozen=True, kw_only=True):
    """One method of one path.

    :param right: the right that the caller needs; None: no authentication.
    :param query: the type of the query parameters; ``body``: the type of the JSON body.
    :param answers: the type of the response body by status (None: no body); ``problems``: statuses of problems.
    :param streams: whether it is an event stream, which accepts tickets.
    :param exact: whether it can also respond with values in their stored form.
    """

    method: Literal["GET", "POST", "DELETE"]
    path: str
    handler: Handler
    right: Right | None = "read"
    query: type[Struct] = requests.NoQuery
    body: type[Struct] | None = None
    answers: dict[int, Any]
    problems: tuple[int, ...] = ()
    streams: bool = False
    exact: bool = False


_JOB = "/v1/jobs/{id}"
_GROUP = "/v1/groups/{group}"

TABLE: tuple[Entry, ...] = (
    Entry(method="GET", path="/", handler=service.index, answers={200: views.IndexView}),
    Entry(method="GET", path="/v1", handler=service.index, answers={200: views.IndexView}),
    Entry(method="GET", path="/v1/openapi.json", handler=service.openapi, answers={200: dict[str, Any]}),
    Entry(
        method="GET",
        path="/v1/jobs",
        handler=jobs.list_jobs,
        query=requests.ListJobs,
        answers={200: views.JobsView},
    ),
    Entry(
        method="POST",
        path="/v1/jobs",
        handler=actions.submit,
        right="act",
        body=requests.Submit,
        answers={200: views.JobView, 202: views.JobView},
        problems=(409, 422),
    ),
    Entry(
        method="GET",
        path=_JOB,
        handler=jobs.get_job,
        query=requests.GetJob,
        answers={200: views.JobDetailsView, 304: None},
        problems=(404,),
    ),
    Entry(
        method="GET",
        path=f"{_JOB}/result",
        handler=jobs.get_result,
        answers={200: views.ResultView, 202: views.StatusView},
        problems=(404, 409),
        exact=True,
    ),
    Entry(
        method="GET",
        path=f"{_JOB}/arguments",
        handler=jobs.get_arguments,
        answers={200: views.ArgumentsView},
        problems=(404,),
    ),
    Entry(
        method="GET",
        path=f"{_JOB}/logs",
        handler=events.job_logs,
        query=requests.Page,
        answers={200: views.EventsView},
        problems=(404,),
    ),
    Entry(
        method="GET",
        path=f"{_JOB}/attempts",
        handler=jobs.get_attempts,
        answers={200: views.AttemptsView},
        problems=(404,),
    ),
    Entry(method="GET", path=f"{_JOB}/why", handler=jobs.why, answers={200: views.ReasonView}, problems=(404,)),
    Entry(
        method="GET",
        path=f"{_JOB}/graph",
        handler=graphs.job_graph,
        query=requests.Depth,
        answers={200: views.GraphView},
        problems=(404,),
    ),
    Entry(
        method="GET",
        path=f"{_JOB}/events",
        handler=events.job_events,
        query=requests.Streaming,
        answers={200: views.EventsView, 204: None},
        problems=(404, 406),
        streams=True,
    ),
    Entry(
        method="POST",
        path=f"{_JOB}/cancel",
        handler=actions.cancel,
        right="act",
        body=requests.Cancel,
        answers={200: views.StatusView, 202: views.StatusView},
        problems=(404, 409, 412),
    ),
    Entry(
        method="POST",
        path=f"{_JOB}/retry",
        handler=actions.retry,
        right="act",
        body=requests.Retry,
        answers={202: views.StatusView},
        problems=(404, 409, 412),
    ),
    Entry(
        method="POST",
        path=f"{_JOB}/answer",
        handler=gates.answer,
        right="answer",
        body=requests.Answer,
        answers={200: views.StatusView},
        problems=(404, 409, 412, 422),
    ),
    Entry(
        method="POST",
        path=f"{_JOB}/reject",
        handler=gates.reject,
        right="answer",
        body=requests.Reject,
        answers={200: views.StatusView},
        problems=(404, 409, 412),
    ),
    Entry(
        method="POST",
        path="/v1/jobs:batch",
        handler=jobs.batch,
        body=requests.Ids,
        answers={200: views.BatchView},
    ),
    Entry(
        method="POST",
        path="/v1/jobs:cancel",
        handler=actions.cancel_many,
        right="act",
        body=requests.Bulk,
        answers={202: views.ChangedView},
        problems=(409, 422),
    ),
    Entry(
        method="POST",
        path="/v1/jobs:retry",
        handler=actions.retry_many,
        right="act",
        body=requests.BulkRetry,
        answers={202: views.ChangedView},
        problems=(409, 422),
    ),
    Entry(
        method="GET",
        path="/v1/groups",
        handler=graphs.list_groups,
        query=requests.ListGroups,
        answers={200: views.GroupsView},
    ),
    Entry(method="GET", path=_GROUP, handler=graphs.get_group, answers={200: views.GroupView}, problems=(404,)),
    Entry(
        method="GET",
        path=f"{_GROUP}/graph",
        handler=graphs.group_graph,
        query=requests.GroupGraph,
        answers={200: views.GraphView},
        problems=(404,),
    ),
    Entry(
        method="GET",
        path=f"{_GROUP}/events",
        handler=events.group_events,
        query=requests.Streaming,
        answers={200: views.EventsView, 204: None},
        problems=(404, 406),
        streams=True,
    ),
    Entry(
        method="GET",
        path="/v1/events",
        handler=events.all_events,
        query=requests.Streaming,
        answers={200: views.EventsView},
        problems=(406,),
        streams=True,
    ),
    Entry(method="GET", path="/v1/stats", handler=service.stats, answers={200: views.StatsView, 304: None}),
    Entry(method="GET", path="/v1/workers", handler=service.workers, answers={200: views.WorkersView}),
    Entry(method="GET", path="/v1/snapshot", handler=service.snapshot, answers={200: views.SnapshotView, 304: None}),
    Entry(method="POST", path="/v1/session", handler=service.open_session, answers={204: None}, problems=(409,)),
    Entry(method="DELETE", path="/v1/session", handler=service.close_session, right=None, answers={204: None}),
    Entry(method="POST", path="/v1/tickets", handler=service.ticket, answers={201: views.TicketView}),
    Entry(method="GET", path="/healthz", handler=service.alive, right=None, answers={200: views.HealthView}),
    Entry(
        method="GET",
        path="/readyz",
        handler=service.ready,
        right=None,
        answers={200: views.HealthView, 503: views.HealthView},
    ),
)
