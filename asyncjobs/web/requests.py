"""Define requests as types, which validate them and describe them in OpenAPI by their docstrings."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from asyncjobs.models import JobStatus

Limit = Annotated[int, Meta(ge=1, le=1000, description="Items per page.")]
Cursor = Annotated[str, Meta(max_length=200, description="Where to continue: `next` of a page, or an event's cursor.")]
Id = Annotated[str, Meta(min_length=1, max_length=512)]
Name = Annotated[str, Meta(min_length=1, max_length=200)]
Text = Annotated[str, Meta(max_length=512)]
Statuses = Annotated[list[JobStatus], Meta(description="Any of these statuses.")]
Moment = Annotated[datetime, Meta(tz=True)]
JobId = Annotated[
    str, Meta(min_length=1, max_length=512, description="The same id and call again return the same job.")
]
Parent = Annotated[str, Meta(max_length=512, description="Jobs submitted by the job with this id.")]
Metadata = Annotated[dict[str, Any], Meta(description="Shown with the job.")]
Require = Annotated[int, Meta(ge=1, description="Number of dependencies that must complete. Default: all.")]


class Request(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The base of all requests. ``needed``: the body cannot be empty, though each of its fields may be left out."""

    needed: ClassVar[bool] = False


class NoQuery(Request, frozen=True):
    """No parameters."""


class ListJobs(Request, frozen=True, kw_only=True):
    """Selects jobs. All given parameters must match; a list means "any of". A page may be short, or empty, and still
    have a `next`: no index leads to metadata, so a bounded number of jobs is examined for each page."""

    status: Annotated[Statuses, Meta(min_length=1)] | None = None
    group: Annotated[Text, Meta(description="Jobs of this group.")] | None = None
    queue: Annotated[Text, Meta(description="Jobs of this queue.")] | None = None
    function: Annotated[Text, Meta(description="Jobs of this function, such as `shop.orders:ship`.")] | None = None
    parent: Parent | None = None
    waits_for: Annotated[Literal["answer"], Meta(description="Open gates, and jobs parked on one.")] | UnsetType = UNSET
    metadata: (
        Annotated[
            Text,
            Meta(
                description="Jobs with these metadata: a JSON object, such as "
                '`{"page": 3, "kind": ["crew", "flow"]}`; a list means "any of". Values are compared as JSON.'
            ),
        ]
        | None
    ) = None
    metadata_fields: Annotated[
        dict[str, str],
        Meta(
            description="Jobs whose metadata have this value; `KEY` stands for a field: `metadata.kind=crew`. Several "
            "fields may be given; all must match. A value is compared with texts, and with the number, boolean or null "
            'that it is in JSON: `metadata.n=3` finds `3` and `"3"`. Fields and values have at most 512 characters.'
        ),
    ] = field(name="metadata.KEY", default_factory=dict[str, str])
    order: Annotated[Literal["oldest", "newest"], Meta(description="Order of submission.")] = "newest"
    limit: Limit = 100
    cursor: Cursor | None = None


class GetJob(Request, frozen=True, kw_only=True):
    """With `wait` and the job's ETag in `If-None-Match`: respond when the job changes, or after this many seconds."""

    wait: Annotated[float, Meta(ge=0, le=60, description="Seconds to wait for a change.")] = 0.0


class Page(Request, frozen=True, kw_only=True):
    """A page of events."""

    after: Cursor | None = None
    limit: Limit = 200


class Depth(Request, frozen=True, kw_only=True):
    """How far the graph extends from the job."""

    depth: Annotated[int, Meta(ge=1, le=20, description="Steps from the job in each direction.")] = 2


class Streaming(Request, frozen=True, kw_only=True):
    """Selects events after a cursor (`Last-Event-ID` takes precedence over `after`), of some types. `plain`: every
    frame is a `message`. `once`: a JSON page of the stored events instead of a stream."""

    after: Annotated[Cursor, Meta(description="Cursor of the last event seen; `Last-Event-ID` wins.")] | None = None
    types: Annotated[list[Name], Meta(min_length=1, description="Such as `completed`. Default: all.")] | None = None
    plain: Annotated[bool, Meta(description="Frames without `event:`, so that each is a `message`.")] = False
    once: Annotated[bool, Meta(description="A JSON page of the stored events instead of a stream.")] = False
    limit: Annotated[Limit, Meta(description="Events per page, with `once`.")] = 200


class ListGroups(Request, frozen=True, kw_only=True):
    """A page of groups, by name."""

    after: Annotated[Text, Meta(description="The last group seen: `next` of a page.")] | None = None
    limit: Limit = 100


class GroupGraph(Request, frozen=True, kw_only=True):
    """`collapse=function`: the jobs of a function form one node."""

    collapse: Annotated[Literal["function"], Meta(description="One node per function.")] | UnsetType = UNSET


class Question(Request, frozen=True, kw_only=True):
    """The question of a gate. Without `choices` and `schema` it is an approval, whose answer is true."""

    question: Annotated[str, Meta(min_length=1)]
    choices: Annotated[list[str], Meta(min_length=1, max_length=50, description="Texts to choose from.")] | None = None
    schema: Annotated[dict[str, Any], Meta(description="JSON Schema of the answer.")] | None = None
    reject_on: Annotated[list[str], Meta(max_length=50, description="The choices that reject the gate.")] = field(
        default_factory=list[str]
    )
    timeout: (
        Annotated[
            float, Meta(gt=0, le=315_360_000, description="Seconds from when the gate is opened to its deadline.")
        ]
        | None
    ) = None
    default: Annotated[Any, Meta(description="The answer at the deadline; without one, the gate fails.")] = UNSET


class Submit(Request, frozen=True, kw_only=True):
    """A job of a registered `function`, or a `gate`. In `args` and `kwargs`, `{"$job": "an id"}` is replaced by the
    result of that job, and is a dependency on it. The header `Idempotency-Key` also sets the `id`. Of the other fields,
    a gate has only `id`, `depends_on`, `require`, `group` and `metadata`."""

    needed: ClassVar[bool] = True
    function: (
        Annotated[str, Meta(min_length=1, max_length=200, description="Name under which the server registered it.")]
        | None
    ) = None
    gate: Annotated[Question, Meta(description="The question of a gate, in place of a function.")] | None = None
    args: list[Any] = field(default_factory=list[Any])
    kwargs: dict[str, Any] = field(default_factory=dict[str, Any])
    id: JobId | None = None
    depends_on: list[Id] = field(default_factory=list[str])
    require: Require | None = None
    group: Name | None = None
    metadata: Metadata | None = None
    queue: Name | None = None
    priority: Annotated[int, Meta(ge=-(2**53), le=2**53, description="Higher runs first.")] | None = None
    max_retries: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    timeout: (
        Annotated[float, Meta(gt=0, le=315_360_000, description="Time limit of an attempt, in seconds.")] | None
    ) = None
    delay: Annotated[float, Meta(ge=0, le=315_360_000, description="Seconds until it is due.")] | None = None
    run_at: Annotated[Moment, Meta(description="When it is due.")] | None = None


class Ids(Request, frozen=True, kw_only=True):
    """Several jobs by id."""

    ids: Annotated[list[Id], Meta(min_length=1, max_length=1000)]


class Cancel(Request, frozen=True, kw_only=True):
    """`descendants`: also cancel the whole tree of jobs that it has submitted."""

    descendants: bool = False


class Retry(Request, frozen=True, kw_only=True):
    """`fresh`: start over, without the steps that the job has kept. By default it resumes with them."""

    fresh: bool = False


class Answer(Request, frozen=True, kw_only=True):
    """The `value` of the answer. Without it, a gate that has neither choices nor a schema is approved. The answer is
    recorded with the name of the caller."""

    value: Annotated[Any, Meta(description="One of the choices, or what fits the schema.")] = UNSET


class Reject(Request, frozen=True, kw_only=True):
    """Why a gate is rejected. The rejection is recorded with the name of the caller."""

    reason: Annotated[str, Meta(min_length=1, max_length=2000)]


class Filter(Request, frozen=True, kw_only=True):
    """Selects the jobs of an action. All given fields must match, and at least one must be given."""

    ids: Annotated[list[Id], Meta(max_length=1000)] | None = None
    status: Statuses | None = None
    group: Name | None = None
    queue: Name | None = None
    function: Name | None = None
    waits_for: Annotated[Literal["answer"], Meta(description="Open gates, and jobs parked on one.")] | None = None


class Bulk(Request, frozen=True, kw_only=True):
    """An action on all jobs that match a filter."""

    filter: Annotated[Filter, Meta(extra_json_schema={"minProperties": 1})]
    expect: Annotated[int, Meta(ge=0, description="Refuse (409) unless exactly this many jobs match.")] | None = None


class BulkRetry(Bulk, frozen=True, kw_only=True):
    """A retry of all jobs that match a filter. `fresh`: they start over, without the steps that they have kept."""

    fresh: bool = False
