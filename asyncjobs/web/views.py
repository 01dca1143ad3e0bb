"""Define responses as types, which encode them and describe them in OpenAPI.

Their docstrings are the descriptions there; ``JobView`` is called ``Job`` there, and so on.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from asyncjobs.models import JobStatus
from asyncjobs.web.requests import Moment

Count = Annotated[int, Meta(ge=0)]
Percent = Annotated[float, Meta(ge=0, le=100)]
Links = Annotated[dict[str, str], Meta(description="Paths on this host, by name.")]
Counts = Annotated[dict[JobStatus, Count], Meta(description="Number of jobs by status.")]


def _enum(*words: str) -> Meta:
    return Meta(extra_json_schema={"enum": list(words)})


WaitsFor = Annotated[str, _enum("worker", "limit", "time", "dependencies", "answer")]
Outcome = Annotated[str, _enum("succeeded", "failed", "cancelled", "released", "interrupted")]
EdgeState = Annotated[str, _enum("open", "met", "passed", "broken")]


class ProgressView(Struct, frozen=True):
    """Progress that a running job has reported. `total` is null if it is unknown."""

    done: float
    total: float | None
    message: str | None


class ErrorView(Struct, frozen=True):
    """The exception that a job raised, as text."""

    error_type: str
    message: str
    traceback: str | None


class GateView(Struct, frozen=True, kw_only=True):
    """The question of a gate, and its state. Without `choices` and `schema` it is an approval, whose answer is true."""

    question: str
    choices: list[str] | None
    schema: Annotated[dict[str, Any], Meta(description="JSON Schema of the answer.")] | None
    reject_on: Annotated[list[str], Meta(description="The choices that reject the gate.")]
    asked_by: Annotated[str, Meta(description="The job whose body asks.")] | None
    opened_at: Annotated[Moment, Meta(description="When the gate was opened for answers.")] | None
    deadline: Annotated[Moment, Meta(description="When the time for answers is over.")] | None
    answered_by: Annotated[str, Meta(description="The name given with the answer or rejection.")] | None
    answered_at: Moment | None


class JobView(Struct, frozen=True, kw_only=True):
    """A job. Times are UTC; `elapsed` and `remaining` are seconds, `percent` is 0 to 100. `waits_for` is what a
    pending job is missing."""

    id: str
    function: Annotated[str, Meta(description="`module:name`.")]
    name: Annotated[str, Meta(description="Name of the function without its module.")]
    status: JobStatus
    version: Annotated[int, Meta(ge=0, description="Increases with every change; part of the ETag.")]
    queue: str
    priority: Annotated[int, Meta(description="Higher runs first.")]
    group: str | None
    metadata: dict[str, Any]
    attempt: Annotated[int, Meta(ge=0, description="Number of attempts.")]
    failures: Annotated[int, Meta(ge=0, description="Attempts that raised or timed out.")]
    interruptions: Annotated[int, Meta(ge=0, description="Attempts whose worker died.")]
    max_retries: Annotated[int, Meta(ge=0, description="Failures after which it is retried.")]
    timeout: Annotated[float, Meta(description="Time limit of an attempt, in seconds.")] | None
    waits_for: WaitsFor | None
    cancel_requested: Annotated[bool, Meta(description="It was asked to stop and is cancelled once it has.")]
    created_at: Moment
    run_at: Annotated[Moment, Meta(description="Earliest start.")] | None
    started_at: Annotated[Moment, Meta(description="Start of the last attempt.")] | None
    finished_at: Moment | None
    worker: Annotated[str, Meta(description="Name of the worker that runs it or ran it last.")] | None
    worker_id: Annotated[str, Meta(description="Id of that worker: names need not be unique.")] | None
    worker_gone: Annotated[bool, Meta(description="The worker that holds it is dead, so it is not running.")]
    parent: Annotated[str, Meta(description="The job that submitted it.")] | None
    because: Annotated[str, Meta(description="For a skipped job: the job that did not complete.")] | None
    depends_on: Annotated[list[str], Meta(description="Ids of its dependencies.")]
    limit: Annotated[str, Meta(description="Key of a limit on concurrent jobs.")] | None
    gate: Annotated[GateView, Meta(description="The question, if the job is a gate.")] | None
    parked: Annotated[str, Meta(description="The gate on which it is parked, until that has ended.")] | None
    error: ErrorView | None
    progress: ProgressView | None
    percent: Percent | None
    elapsed: float | None
    remaining: Annotated[float, Meta(description="An estimate; null if there is no basis for one.")] | None
    unreadable: (
        Annotated[str, Meta(description="Parts of the stored job that cannot be read (placeholders here).")] | None
    )
    links: Links


class StepsView(Struct, frozen=True):
    """The steps that a job has kept: how many, and the first 100 of their keys."""

    count: Count
    keys: list[str]


class JobDetailsView(JobView, frozen=True, kw_only=True):
    """A job, with the steps that it has kept. Like the times, these are not part of the ETag."""

    steps: StepsView


class JobsView(Struct, frozen=True):
    """A page of jobs. `next` is the cursor of the next page, null on the last one."""

    items: list[JobView]
    next: str | None


class ResultView(Struct, frozen=True):
    """The result of a completed job. Values that JSON cannot represent are text: a number of more than 4,300 digits is
    `"0x…"`; if keys are equal as text, the one that was not text is prefixed with its type (`{"1": …, "int 1": …}`)."""

    id: str
    status: JobStatus
    result: Any


class ArgumentsView(Struct, frozen=True):
    """The arguments of a job. `{"$job": "an id"}` stands for the result of that job."""

    id: str
    function: str
    args: list[Any]
    kwargs: dict[str, Any]
    unreadable: Annotated[str, Meta(description="Why the stored arguments cannot be read.")] | None = None


class ReasonView(Struct, frozen=True):
    """Why a job is not running: a stable `code`, a `sentence` for people, `details` for programs."""

    id: str
    status: JobStatus
    code: str
    sentence: str
    details: dict[str, Any]


class AttemptView(Struct, frozen=True):
    """One execution of a job. Without `finished_at` and `outcome` it is running."""

    attempt: Annotated[int, Meta(ge=1)]
    worker: str | None
    started_at: Moment
    finished_at: Moment | None
    outcome: Outcome | None
    error: ErrorView | None


class AttemptsView(Struct, frozen=True):
    """All attempts, oldest first."""

    items: list[AttemptView]


class EventView(Struct, frozen=True):
    """An event of the log. `seq` is 1..n within the job; `status` is the new one where it changed."""

    cursor: Annotated[str, Meta(description="Opaque position of the event in every stream.")]
    job_id: str
    seq: Annotated[int, Meta(ge=1)]
    type: Annotated[str, Meta(description="Such as `submitted`, `started`, `progress`, `log`, `completed`.")]
    at: Moment
    attempt: Count
    status: JobStatus | None
    group: str | None
    data: dict[str, Any]


class EventsView(Struct, frozen=True):
    """A page of events. `cursor` is where to continue; `end`: no more events are stored now; `lost`: earlier events
    were removed by retention."""

    items: list[EventView]
    cursor: str
    end: bool
    lost: bool


class NodeView(Struct, frozen=True):
    """A job, or with `collapse` several: `counts` are by status, and `status` is null if they differ."""

    id: str
    label: str
    status: JobStatus | None
    jobs: Annotated[int, Meta(ge=1, description="Number of jobs in this node.")]
    counts: Counts


class EdgeView(Struct, frozen=True):
    """`child` depends on `parent`. `state`: the parent has not ended (`open`), has completed (`met`), or has ended
    otherwise, which satisfies an optional edge (`passed`) and breaks another (`broken`); null with `collapse`."""

    parent: str
    child: str
    optional: Annotated[bool, Meta(description="The parent need not complete.")]
    state: EdgeState | None


class GraphView(Struct, frozen=True):
    """Jobs and the edges between them. `cut`: the graph has more nodes than the limit."""

    nodes: list[NodeView]
    edges: list[EdgeView]
    cut: bool


class GroupView(Struct, frozen=True):
    """Progress of a group: `percent` of its jobs have completed. A single group has the `cursor` from which a stream
    continues with later events; null in a page."""

    group: str
    total: Count
    completed: Count
    unfinished: Count
    percent: Percent
    counts: Counts
    links: Links
    cursor: str | None = None


class GroupsView(Struct, frozen=True):
    """A page of groups, by name. `next` is `after` of the next page, null on the last one."""

    items: list[GroupView]
    next: str | None


class StatsView(Struct, frozen=True):
    """Numbers of all jobs, of the live workers, and of the open event streams of this server."""

    counts: Counts
    total: Count
    workers: Count
    slots: Annotated[int, Meta(ge=0, description="Jobs that the workers can run at the same time.")]
    running: Count
    streams: Count
    cursor: Annotated[str, Meta(description="End of the event log when they were counted.")]


class WorkerView(Struct, frozen=True):
    """A worker. `queues` null means all; `refused` maps functions that it does not run to the reason."""

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
    """The state as of `cursor`: a stream from there on misses nothing."""

    cursor: str
    stats: StatsView
    jobs: Annotated[list[JobView], Meta(description="The newest jobs.")]
    groups: list[GroupView]
    workers: list[WorkerView]


class StatusView(Struct, frozen=True):
    """The status of a job."""

    id: str
    status: JobStatus


class BatchItem(Struct, frozen=True):
    """A job, or null for an unknown id."""

    id: str
    job: JobView | None
    found: bool


class BatchView(Struct, frozen=True):
    """Jobs in the order of the requested ids."""

    items: list[BatchItem]


class ChangedView(Struct, frozen=True):
    """`matched` jobs were found; `changed` has the status of each that has changed or was asked to stop."""

    matched: Count
    changed: dict[str, JobStatus]


class TicketView(Struct, frozen=True):
    """For `?ticket=` of one event stream, once (in each server process), within `expires_in` seconds."""

    ticket: str
    expires_in: float


class IndexView(Struct, frozen=True):
    """The resources of this interface."""

    name: str
    version: str
    links: Links


class HealthView(Struct, frozen=True):
    """The health of the server, with details."""

    status: Literal["ok", "unavailable"]
    details: dict[str, Any]
