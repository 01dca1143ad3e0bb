"""What is asked and what is answered, as types: they check requests, write answers, and describe both in OpenAPI.

Their docstrings are the descriptions there; ``JobView`` is called ``Job`` there, and so on.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from asyncjobs.models import JobStatus

Limit = Annotated[int, Meta(ge=1, le=1000, description="Items of a page.")]
Cursor = Annotated[str, Meta(max_length=200, description="Where to go on: a page's `next`, or an event's cursor.")]
Id = Annotated[str, Meta(min_length=1, max_length=512)]
Name = Annotated[str, Meta(min_length=1, max_length=200)]
Text = Annotated[str, Meta(max_length=512)]
Statuses = Annotated[list[JobStatus], Meta(description="One of these.")]
Moment = Annotated[datetime, Meta(tz=True)]
Count = Annotated[int, Meta(ge=0)]
Percent = Annotated[float, Meta(ge=0, le=100)]
Links = Annotated[dict[str, str], Meta(description="Paths on this host, by what is there.")]
Counts = Annotated[dict[JobStatus, Count], Meta(description="How many jobs, by their status.")]
JobId = Annotated[str, Meta(min_length=1, max_length=512, description="The same id and call again: the same job.")]
Parent = Annotated[str, Meta(max_length=512, description="Jobs submitted from inside the job with this id.")]
Metadata = Annotated[dict[str, Any], Meta(description="It is shown with the job.")]
Require = Annotated[int, Meta(ge=1, description="So many dependencies are enough. Default: all.")]


def _enum(*words: str) -> Meta:
    return Meta(extra_json_schema={"enum": list(words)})


WaitsFor = Annotated[str, _enum("worker", "limit", "time", "dependencies")]
Outcome = Annotated[str, _enum("succeeded", "failed", "cancelled", "released", "interrupted")]
EdgeState = Annotated[str, _enum("open", "met", "passed", "broken")]


class Request(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The base of everything that is asked."""


class NoQuery(Request, frozen=True):
    """No parameters."""


# -- asked


class ListJobs(Request, frozen=True, kw_only=True):
    """Which jobs. All given parameters must match; a list means "one of"."""

    status: Annotated[Statuses, Meta(min_length=1)] | None = None
    group: Annotated[Text, Meta(description="Jobs of this group.")] | None = None
    queue: Annotated[Text, Meta(description="Jobs of this queue.")] | None = None
    function: Annotated[Text, Meta(description="Jobs of this function, such as `shop.orders:ship`.")] | None = None
    parent: Parent | None = None
    order: Annotated[Literal["oldest", "newest"], Meta(description="By submission.")] = "newest"
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

    depth: Annotated[int, Meta(ge=1, le=20, description="Steps from the job, both ways.")] = 2


class Streaming(Request, frozen=True, kw_only=True):
    """Events after a cursor (`Last-Event-ID` wins over `after`), of some types. `plain`: every frame is a `message`.
    `once`: a JSON page of what is stored, instead of a stream."""

    after: Annotated[Cursor, Meta(description="The cursor of the last event seen; `Last-Event-ID` wins.")] | None = None
    types: Annotated[list[Name], Meta(min_length=1, description="Such as `completed`. Default: all.")] | None = None
    plain: Annotated[bool, Meta(description="Frames without `event:`: every one is a `message`.")] = False
    once: Annotated[bool, Meta(description="A page of what is stored, as JSON, instead of a stream.")] = False
    limit: Annotated[Limit, Meta(description="Events of a page, with `once`.")] = 200


class ListGroups(Request, frozen=True, kw_only=True):
    """A page of groups, by name."""

    after: Annotated[Text, Meta(description="The last group seen: a page's `next`.")] | None = None
    limit: Limit = 100


class GroupGraph(Request, frozen=True, kw_only=True):
    """`collapse=function`: jobs of one function are one node."""

    collapse: Annotated[Literal["function"], Meta(description="Jobs of one function are one node.")] | UnsetType = UNSET


class Submit(Request, frozen=True, kw_only=True):
    """A job of a registered function. In `args` and `kwargs`, `{"$job": "an id"}` is that job's result, and a
    dependency on it. The header `Idempotency-Key` is an `id`, too."""

    function: Annotated[Name, Meta(description="As the server registered it: `module:name`.")]
    args: list[Any] = field(default_factory=list[Any])
    kwargs: dict[str, Any] = field(default_factory=dict[str, Any])
    id: JobId | None = None
    depends_on: list[Id] = field(default_factory=list[str])
    require: Require | None = None
    group: Name | None = None
    metadata: Metadata | None = None
    queue: Name | None = None
    priority: Annotated[int, Meta(ge=-(2**53), le=2**53, description="Higher is first.")] | None = None
    max_retries: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    timeout: Annotated[float, Meta(gt=0, le=315_360_000, description="Seconds that an attempt may take.")] | None = None
    delay: Annotated[float, Meta(ge=0, le=315_360_000, description="Seconds before it is due.")] | None = None
    run_at: Annotated[Moment, Meta(description="When it is due.")] | None = None


class Ids(Request, frozen=True, kw_only=True):
    """Several jobs by id."""

    ids: Annotated[list[Id], Meta(min_length=1, max_length=1000)]


class Cancel(Request, frozen=True, kw_only=True):
    """`descendants`: also the jobs that were submitted from inside it, and theirs."""

    descendants: bool = False


class Filter(Request, frozen=True, kw_only=True):
    """Which jobs an action is for. All given fields must match, and at least one must be given."""

    ids: Annotated[list[Id], Meta(max_length=1000)] | None = None
    status: Statuses | None = None
    group: Name | None = None
    queue: Name | None = None
    function: Name | None = None


class Bulk(Request, frozen=True, kw_only=True):
    """An action for all jobs of a filter."""

    filter: Annotated[Filter, Meta(extra_json_schema={"minProperties": 1})]
    expect: Annotated[int, Meta(ge=0, description="Refuse (409) unless it is for so many.")] | None = None


# -- answered


class ProgressView(Struct, frozen=True):
    """What a running body said of itself. `total` is null when it is not known."""

    done: float
    total: float | None
    message: str | None


class ErrorView(Struct, frozen=True):
    """What a body raised, as text."""

    error_type: str
    message: str
    traceback: str | None


class JobView(Struct, frozen=True, kw_only=True):
    """A job. Moments are UTC; `elapsed` and `remaining` are seconds, `percent` is 0 to 100. `waits_for` is what a
    pending job lacks."""

    id: str
    function: Annotated[str, Meta(description="`module:name`.")]
    name: Annotated[str, Meta(description="The function's own name.")]
    status: JobStatus
    version: Annotated[int, Meta(ge=0, description="Grows with every change; with created_at, it makes the ETag.")]
    queue: str
    priority: Annotated[int, Meta(description="Higher is first.")]
    group: str | None
    metadata: dict[str, Any]
    attempt: Annotated[int, Meta(ge=0, description="How often it was started.")]
    failures: Annotated[int, Meta(ge=0, description="Attempts that raised, or took too long.")]
    interruptions: Annotated[int, Meta(ge=0, description="Attempts whose worker died.")]
    max_retries: Annotated[int, Meta(ge=0, description="Failures after which it is tried again.")]
    timeout: Annotated[float, Meta(description="Seconds that an attempt may take.")] | None
    waits_for: WaitsFor | None
    cancel_requested: Annotated[bool, Meta(description="It was asked to stop, and is cancelled when it has.")]
    created_at: Moment
    run_at: Annotated[Moment, Meta(description="Not before.")] | None
    started_at: Annotated[Moment, Meta(description="The last attempt.")] | None
    finished_at: Moment | None
    worker: Annotated[str, Meta(description="Who runs it, or ran it last.")] | None
    worker_id: Annotated[str, Meta(description="Which of the workers has it: names need not be unique.")] | None
    worker_gone: Annotated[bool, Meta(description="The worker that has it is dead: it is not running.")]
    parent: Annotated[str, Meta(description="The job from inside which it was submitted.")] | None
    because: Annotated[str, Meta(description="Of a skipped job: the job that did not complete.")] | None
    depends_on: Annotated[list[str], Meta(description="Ids of its dependencies.")]
    limit: Annotated[str, Meta(description="A key: so many jobs of the same key may run at a time.")] | None
    error: ErrorView | None
    progress: ProgressView | None
    percent: Percent | None
    elapsed: float | None
    remaining: Annotated[float, Meta(description="An estimate; null while there is no ground for one.")] | None
    unreadable: (
        Annotated[str, Meta(description="What of the stored job cannot be read and has a stand-in here.")] | None
    )
    links: Links


class JobsView(Struct, frozen=True):
    """A page of jobs. `next` is the cursor of the following one, null on the last."""

    items: list[JobView]
    next: str | None


class ResultView(Struct, frozen=True):
    """What a completed job returned. Values that JSON does not have are text: a number of more than 4,300 digits is
    `"0x…"`; of keys that are equal as text, the one that was none says what it was (`{"1": …, "int 1": …}`)."""

    id: str
    status: JobStatus
    result: Any


class ArgumentsView(Struct, frozen=True):
    """What a job was called with. `{"$job": "an id"}` stands for that job's result."""

    id: str
    function: str
    args: list[Any]
    kwargs: dict[str, Any]
    unreadable: Annotated[str, Meta(description="Why there are none: what is stored cannot be read.")] | None = None


class ReasonView(Struct, frozen=True):
    """Why a job is not running: a stable `code`, a `sentence` for people, `details` for programs."""

    id: str
    status: JobStatus
    code: str
    sentence: str
    details: dict[str, Any]


class AttemptView(Struct, frozen=True):
    """One execution of a job. Without `finished_at` and `outcome` it runs."""

    attempt: Annotated[int, Meta(ge=1)]
    worker: str | None
    started_at: Moment
    finished_at: Moment | None
    outcome: Outcome | None
    error: ErrorView | None


class AttemptsView(Struct, frozen=True):
    """All attempts, the first one first."""

    items: list[AttemptView]


class EventView(Struct, frozen=True):
    """An event of the log. `seq` is 1..n within the job; `status` is the new one where it changed."""

    cursor: Annotated[str, Meta(description="The event's place in every stream; opaque.")]
    job_id: str
    seq: Annotated[int, Meta(ge=1)]
    type: Annotated[str, Meta(description="Such as `submitted`, `started`, `progress`, `log`, `completed`.")]
    at: Moment
    attempt: Count
    status: JobStatus | None
    group: str | None
    data: dict[str, Any]


class EventsView(Struct, frozen=True):
    """A page of events. `cursor` is where to go on; `end`: nothing more is stored now; `lost`: events before these
    were removed by retention."""

    items: list[EventView]
    cursor: str
    end: bool
    lost: bool


class NodeView(Struct, frozen=True):
    """A job, or with `collapse` several: then `counts` are by status, and `status` is null when they differ."""

    id: str
    label: str
    status: JobStatus | None
    jobs: Annotated[int, Meta(ge=1, description="How many it stands for.")]
    counts: Counts


class EdgeView(Struct, frozen=True):
    """`child` depends on `parent`. `state`: the parent is `open`, has completed (`met`), or ended otherwise, which an
    optional edge lets pass (`passed`) and another does not (`broken`); null with `collapse`."""

    parent: str
    child: str
    optional: Annotated[bool, Meta(description="The parent may end otherwise than completed.")]
    state: EdgeState | None


class GraphView(Struct, frozen=True):
    """Jobs and the edges among them. `cut`: there is more than the limit of nodes shows."""

    nodes: list[NodeView]
    edges: list[EdgeView]
    cut: bool


class GroupView(Struct, frozen=True):
    """How far a group is: `percent` of its jobs have completed. Asked for by itself, it has the `cursor` from which a
    stream goes on with what happened since; null in a page."""

    group: str
    total: Count
    completed: Count
    unfinished: Count
    percent: Percent
    counts: Counts
    links: Links
    cursor: str | None = None


class GroupsView(Struct, frozen=True):
    """A page of groups, by name. `next` is `after` of the following one, null on the last."""

    items: list[GroupView]
    next: str | None


class StatsView(Struct, frozen=True):
    """Numbers of all jobs, of the workers that live, and of the open event streams of this server."""

    counts: Counts
    total: Count
    workers: Count
    slots: Annotated[int, Meta(ge=0, description="Jobs that the workers can run at a time.")]
    running: Count
    streams: Count
    cursor: Annotated[str, Meta(description="The end of the log when they were counted.")]


class WorkerView(Struct, frozen=True):
    """Who runs jobs. `queues` null is all of them; `refused` says which functions it does not run, and why."""

    id: str
    name: str
    host: str
    pid: int
    slots: Count
    running: Count
    queues: list[str] | None
    alive: bool
    started_at: Moment | None
    refused: dict[str, str]


class WorkersView(Struct, frozen=True):
    """The workers of all processes."""

    items: list[WorkerView]


class SnapshotView(Struct, frozen=True):
    """The state as of `cursor`: stream from there on, and nothing is missed."""

    cursor: str
    stats: StatsView
    jobs: Annotated[list[JobView], Meta(description="The newest.")]
    groups: list[GroupView]
    workers: list[WorkerView]


class StatusView(Struct, frozen=True):
    """A job's status."""

    id: str
    status: JobStatus


class BatchItem(Struct, frozen=True):
    """Either a job, or that there is none."""

    id: str
    job: JobView | None
    found: bool


class BatchView(Struct, frozen=True):
    """Jobs in the order in which they were asked for."""

    items: list[BatchItem]


class ChangedView(Struct, frozen=True):
    """`matched` jobs were found; `changed` has the status of each that is different now, or asked to stop."""

    matched: Count
    changed: dict[str, JobStatus]


class TicketView(Struct, frozen=True):
    """For `?ticket=` of one event stream, once (in each server process), within `expires_in` seconds."""

    ticket: str
    expires_in: float


class IndexView(Struct, frozen=True):
    """Where to go on."""

    name: str
    version: str
    links: Links


class HealthView(Struct, frozen=True):
    """Whether it is well; `details` say what is not."""

    status: Literal["ok", "unavailable"]
    details: dict[str, Any]
