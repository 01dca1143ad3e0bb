"""What is asked and what is answered, as types: they check requests, write answers, and describe both in OpenAPI."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from asyncjobs.models import JobStatus

Limit = Annotated[int, Meta(ge=1, le=1000, description="Items of a page.")]
Cursor = Annotated[str, Meta(max_length=200, description="Where to go on: a page's `next`, or an event's cursor.")]
Id = Annotated[str, Meta(min_length=1, max_length=512)]
Name = Annotated[str, Meta(min_length=1, max_length=200)]
Text = Annotated[str, Meta(max_length=512)]


class Request(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The base of everything that is asked."""


class NoQuery(Request, frozen=True):
    """No parameters."""


# -- asked


class ListJobs(Request, frozen=True, kw_only=True):
    """Which jobs. All given parameters must match; a list means "one of"."""

    status: list[JobStatus] | None = None
    group: Text | None = None
    queue: Text | None = None
    function: Text | None = None
    parent: Text | None = None
    order: Literal["oldest", "newest"] = "newest"
    limit: Limit = 100
    cursor: Cursor | None = None


class GetJob(Request, frozen=True, kw_only=True):
    """With `wait`, and the job's ETag in `If-None-Match`: answer when it changes, or after so many seconds."""

    wait: Annotated[float, Meta(ge=0, le=60, description="Seconds to wait for a change.")] = 0.0


class Page(Request, frozen=True, kw_only=True):
    """A page of events."""

    after: Cursor | None = None
    limit: Limit = 200


class Depth(Request, frozen=True, kw_only=True):
    """How far from the job the graph goes, both ways."""

    depth: Annotated[int, Meta(ge=1, le=20)] = 2


class Streaming(Request, frozen=True, kw_only=True):
    """Events after a cursor (`Last-Event-ID` wins over `after`), of some types. `plain`: every frame is a `message`.
    `once`: a JSON page of what is stored, instead of a stream."""

    after: Cursor | None = None
    types: list[Name] | None = None
    plain: bool = False
    once: bool = False
    limit: Limit = 200


class ListGroups(Request, frozen=True, kw_only=True):
    """A page of groups, by name."""

    after: Text | None = None
    limit: Limit = 100


class GroupGraph(Request, frozen=True, kw_only=True):
    """`collapse=function`: jobs of one function are one node."""

    collapse: Literal["function"] | None = None


class Submit(Request, frozen=True, kw_only=True):
    """A job of a registered function. In `args` and `kwargs`, `{"$job": "an id"}` is that job's result, and a
    dependency on it. The header `Idempotency-Key` is an `id`, too."""

    function: Name
    args: list[Any] = field(default_factory=list[Any])
    kwargs: dict[str, Any] = field(default_factory=dict[str, Any])
    id: Id | None = None
    depends_on: list[Id] = field(default_factory=list[str])
    require: Annotated[int, Meta(ge=1)] | None = None
    group: Name | None = None
    metadata: dict[str, Any] | None = None
    queue: Name | None = None
    priority: Annotated[int, Meta(ge=-(2**53), le=2**53)] | None = None
    max_retries: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    timeout: Annotated[float, Meta(gt=0, le=315_360_000)] | None = None
    delay: Annotated[float, Meta(ge=0, le=315_360_000)] | None = None
    run_at: datetime | None = None


class Ids(Request, frozen=True, kw_only=True):
    """Several jobs by id."""

    ids: Annotated[list[Id], Meta(min_length=1, max_length=1000)]


class Cancel(Request, frozen=True, kw_only=True):
    """`descendants`: also the jobs that were submitted from inside it, and theirs."""

    descendants: bool = False


class Filter(Request, frozen=True, kw_only=True):
    """Which jobs an action is for."""

    ids: Annotated[list[Id], Meta(max_length=1000)] | None = None
    status: list[JobStatus] | None = None
    group: Name | None = None
    queue: Name | None = None
    function: Name | None = None


class Bulk(Request, frozen=True, kw_only=True):
    """An action for all jobs of a filter. `expect`: refuse (409) when it is not for so many."""

    filter: Filter
    expect: Annotated[int, Meta(ge=0)] | None = None


# -- answered


class ProgressView(Struct, frozen=True):
    done: float
    total: float | None
    message: str | None


class ErrorView(Struct, frozen=True):
    error_type: str
    message: str
    traceback: str | None


class JobView(Struct, frozen=True, kw_only=True):
    """A job. Moments are UTC; `elapsed` and `remaining` are seconds, `percent` is 0 to 100."""

    id: str
    function: str
    name: str
    status: JobStatus
    version: int
    queue: str
    priority: int
    group: str | None
    metadata: dict[str, Any]
    attempt: int
    failures: int
    interruptions: int
    max_retries: int
    timeout: float | None
    waits_for: str | None
    cancel_requested: bool
    created_at: datetime
    run_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    worker: str | None
    parent: str | None
    because: str | None
    limit: str | None
    error: ErrorView | None
    progress: ProgressView | None
    percent: float | None
    elapsed: float | None
    remaining: float | None
    links: dict[str, str]


class JobsView(Struct, frozen=True):
    items: list[JobView]
    next: str | None


class ResultView(Struct, frozen=True):
    id: str
    status: JobStatus
    result: Any


class ArgumentsView(Struct, frozen=True):
    id: str
    function: str
    args: list[Any]
    kwargs: dict[str, Any]


class ReasonView(Struct, frozen=True):
    id: str
    status: JobStatus
    code: str
    sentence: str
    details: dict[str, Any]


class AttemptView(Struct, frozen=True):
    attempt: int
    worker: str | None
    started_at: datetime
    finished_at: datetime | None
    outcome: str | None
    error: ErrorView | None


class AttemptsView(Struct, frozen=True):
    items: list[AttemptView]


class EventView(Struct, frozen=True):
    """An event of the log. `seq` is 1..n within the job; `status` is the new one where it changed."""

    cursor: str
    job_id: str
    seq: int
    type: str
    at: datetime
    attempt: int
    status: JobStatus | None
    group: str | None
    data: dict[str, Any]


class EventsView(Struct, frozen=True):
    items: list[EventView]
    cursor: str
    end: bool
    lost: bool


class NodeView(Struct, frozen=True):
    """A job, or with `collapse` several: then `counts` are by status."""

    id: str
    label: str
    status: JobStatus | None
    jobs: int
    counts: dict[JobStatus, int]


class EdgeView(Struct, frozen=True):
    parent: str
    child: str
    optional: bool
    state: str | None


class GraphView(Struct, frozen=True):
    """`cut`: there is more than the limit of nodes shows."""

    nodes: list[NodeView]
    edges: list[EdgeView]
    cut: bool


class GroupView(Struct, frozen=True):
    group: str
    total: int
    completed: int
    unfinished: int
    percent: float
    counts: dict[JobStatus, int]
    links: dict[str, str]


class GroupsView(Struct, frozen=True):
    items: list[GroupView]
    next: str | None


class StatsView(Struct, frozen=True):
    counts: dict[JobStatus, int]
    total: int
    workers: int
    slots: int
    running: int
    streams: int
    cursor: str


class WorkerView(Struct, frozen=True):
    id: str
    name: str
    host: str
    pid: int
    slots: int
    running: int
    queues: list[str] | None
    alive: bool
    started_at: datetime | None
    refused: dict[str, str]


class WorkersView(Struct, frozen=True):
    items: list[WorkerView]


class SnapshotView(Struct, frozen=True):
    """The state as of `cursor`: stream from there on, and nothing is missed."""

    cursor: str
    stats: StatsView
    jobs: list[JobView]
    groups: list[GroupView]
    workers: list[WorkerView]


class StatusView(Struct, frozen=True):
    id: str
    status: JobStatus


class BatchItem(Struct, frozen=True):
    """Either a job, or that there is none."""

    id: str
    job: JobView | None
    found: bool


class BatchView(Struct, frozen=True):
    items: list[BatchItem]


class ChangedView(Struct, frozen=True):
    """`matched` jobs were found; `changed` has the status of each that is different now, or asked to stop."""

    matched: int
    changed: dict[str, JobStatus]


class TicketView(Struct, frozen=True):
    ticket: str
    expires_in: float


class IndexView(Struct, frozen=True):
    name: str
    version: str
    links: dict[str, str]


class HealthView(Struct, frozen=True):
    status: Literal["ok", "unavailable"]
    details: dict[str, Any]
