"""Define the vocabulary: jobs, events, queries and reports.

Frozen structs without behaviour. Durations are seconds (float), moments are aware UTC datetimes here and
integer microseconds since the epoch in storage.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Any, ClassVar, Literal

from msgspec import Struct, field

from asyncjobs.checks import CheckedStruct
from asyncjobs.pydantic_support import SentAsId, Shown, ShownList
from asyncjobs.spellings import FormerAttributes

DEFAULT_QUEUE = "default"

Isolation = Literal["thread", "process"]
"""Where a body runs: in the worker's process (on its loop, or in a thread), or in a child process."""


class Handle(SentAsId):
    """A job's id that stands for its result among the arguments of another job: the base of all kinds of handles.

    ``optional``: it stands for ``None`` if that job does not complete.
    """

    __slots__ = ()
    optional: ClassVar[bool] = False


NO_NAME = "this is the handle of one job: await it, or ask by its id"
"""The hint where a handle is given for the name of a group, a queue, a key or an event type."""


class JobStatus(StrEnum):
    """The status of a job. Ready, delayed and retrying jobs are all ``pending``: see ``JobProcessor.why``."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"

    @property
    def terminal(self) -> bool:
        """Return whether the status is final, except for an explicit retry."""
        return self not in _LIVE


_LIVE = frozenset({JobStatus.PENDING, JobStatus.IN_PROGRESS})
TERMINAL = frozenset(JobStatus) - _LIVE


class WaitsFor(IntEnum):
    """What a pending job waits for; the numbers are stored, and only ``WORKER`` is in the ready index.

    An open gate waits for its ``ANSWER``, and so does a job that is parked on one.
    """

    WORKER = 0
    LIMIT = 1
    TIME = 2
    DEPENDENCIES = 3
    ANSWER = 4


class EventType(StrEnum):
    """Event types that the engine writes itself; a body may emit others (``output``, ``agent_output``, …).

    ``asked``: a gate was opened, or a body began to wait for the answer to its question; ``answered``: that has ended.
    """

    SUBMITTED = "submitted"
    STARTED = "started"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    RETRYING = "retrying"
    RELEASED = "released"
    INTERRUPTED = "interrupted"
    CANCEL_REQUESTED = "cancel_requested"
    ASKED = "asked"
    ANSWERED = "answered"
    PROGRESS = "progress"
    LOG = "log"
    OUTPUT = "output"


class EdgeState(IntEnum):
    """The state of a dependency: rule 4.1 of the state machine."""

    OPEN = 0
    MET = 1
    PASSED = 2
    BROKEN = 3


class OutcomeKind(StrEnum):
    """How an attempt ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    RELEASED = "released"
    INTERRUPTED = "interrupted"


class JobError(Struct, frozen=True, gc=False):
    """The error of a body, as text: type name, message, traceback."""

    error_type: str
    message: str
    traceback_text: str | None = None


class Outcome(Struct, frozen=True, gc=False):
    """How one attempt ended: a value, written by one writer.

    ``value`` is the encoded result of a success; ``retryable`` is what the job's ``RetryPolicy`` decided for the error.
    """

    kind: OutcomeKind
    value: bytes | None = None
    error: JobError | None = None
    retryable: bool = True


class BodyEvent(Struct, frozen=True):
    """An event of a running body: progress, log, output. ``at`` is µs since the epoch."""

    type: str
    data: dict[str, Any]
    at: int


class Limit(CheckedStruct, frozen=True):
    """At most ``capacity`` jobs with this ``key`` are in progress at a time, over all processes."""

    key: str
    capacity: int


class Dependency(Struct, frozen=True, gc=False):
    """An edge as it is submitted: ``optional`` parents may end without completing."""

    parent_id: str
    optional: bool = False


class Edge(Struct, frozen=True, gc=False):
    """A stored edge: ``child_id`` depends on ``parent_id``."""

    parent_id: str
    child_id: str
    optional: bool
    state: EdgeState


class Progress(Struct, frozen=True):
    """Progress that a body has reported. ``total`` is None if it is unknown."""

    done: float
    total: float | None = None
    message: str | None = None

    @property
    def percent(self) -> float | None:
        """Return 0.0 to 100.0, or None without a total."""
        if not self.total:
            return None
        return max(0.0, min(100.0, 100.0 * self.done / self.total))


class Attempt(Shown, Struct, frozen=True):
    """One execution of a job. ``outcome`` is None while it runs."""

    job_id: str
    attempt: int
    worker: str | None
    started_at: datetime
    finished_at: datetime | None = None
    outcome: OutcomeKind | None = None
    error: JobError | None = None


class Gate(Shown, Struct, frozen=True):
    """The question of a gate, and its state. Moments are None until they come.

    Without ``choices`` and ``schema`` it is an approval: its answer is True. ``schema`` is the JSON Schema that its
    answer must fit; ``reject_on`` are the choices that reject it. ``answered_by`` is the name given with the answer or
    rejection, None without one. ``asked_by`` is the job whose body asks, None for a gate that was submitted.
    """

    question: str
    choices: tuple[str, ...] | None = None
    schema: dict[str, Any] | None = None
    reject_on: tuple[str, ...] = ()
    asked_by: str | None = None
    opened_at: datetime | None = None
    deadline: datetime | None = None
    answered_by: str | None = None
    answered_at: datetime | None = None


class Job(Shown, FormerAttributes, Struct, frozen=True):
    """A snapshot of a stored job.

    ``attempt`` counts claims (the fencing token), ``failures`` bodies that raised or timed out, ``interruptions``
    lost leases and dead processes. ``because`` is, for a skipped job, the id of the root cause.
    """

    id: str
    func: str
    status: JobStatus
    queue: str
    priority: int
    group: str | None
    metadata: dict[str, Any]
    attempt: int
    failures: int
    interruptions: int
    max_retries: int
    timeout: float | None
    dependencies_met: bool
    cancel_requested: bool
    created_at: datetime
    run_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    worker: str | None = None
    parent_id: str | None = None
    because: str | None = None
    error: JobError | None = None
    progress: Progress | None = None
    limit: str | None = None
    waits_for: WaitsFor | None = None
    version: int = 0
    unreadable: str | None = None
    """The stored fields that cannot be read (``"unreadable: metadata (…)"``) and have stand-ins here, or None."""
    worker_id: str | None = None
    """The ``WorkerInfo.id`` of the worker that holds its attempt, or completed it: names need not be unique. Like
    ``worker``, it is None if there is no such worker; ``get_attempts`` names the workers of the other attempts."""
    depends_on: tuple[str, ...] = ()
    """Ids of its dependencies, those among its arguments too, by submission; see ``JobProcessor.get_dependencies``."""
    gate: Gate | None = None
    """The question, if the job is a gate."""
    parked: str | None = None
    """The id of the gate on which the job is parked: it runs again once that gate has ended."""

    @property
    def elapsed(self) -> float | None:
        """Seconds from the start of the last attempt to its end, or until now while it runs; None before it starts."""
        if self.started_at is None:
            return None
        until = datetime.now(UTC) if self.status is JobStatus.IN_PROGRESS else self.finished_at
        return None if until is None else max(0.0, (until - self.started_at).total_seconds())


def state_tag(version: int, created_at: datetime) -> str:
    """Return the ETag of a job in this state. It stays unique when the job is removed and its id is used again."""
    return f'"v{version}-{(created_at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1):x}"'


class JobResult(Struct, frozen=True, gc=False):
    """How a job ended. ``value`` is its result as it is stored, encoded: ``await jp.get_result(job_id)`` decodes it."""

    job_id: str
    status: JobStatus
    function: str
    value: bytes | None = None
    error: JobError | None = None
    because: str | None = None
    attempt: int = 0
    interruptions: int = 0
    error_kind: OutcomeKind | None = None
    answered_by: str | None = None
    """The name given with the answer or rejection, if the job is a gate."""


class JobEvent(Shown, Struct, frozen=True):
    """One entry of the event log.

    ``seq`` is 1..n without holes within the job; ``cursor`` is the opaque position of this event in every stream;
    ``status`` is the job's new status where this event changed it, else None. Events that are read have a cursor. It
    is ``""`` while the log has no position for the event: as given to a listener of a backend without ``"dense_log"``.
    """

    cursor: str
    job_id: str
    seq: int
    type: str
    at: datetime
    attempt: int
    status: JobStatus | None = None
    group: str | None = None
    data: dict[str, Any] = field(default_factory=dict[str, Any])


class EventPage(Struct, frozen=True):
    """A bounded page of the log. ``cursor`` is where to continue; ``end`` is True when nothing more is stored.

    ``lost``: retention removed events between the requested cursor and this page.
    """

    events: Sequence[JobEvent]
    cursor: str
    end: bool
    lost: bool = False


class JobPage(ShownList, list[Job]):
    """A page of jobs: a list, plus ``next``, the cursor of the following page (None on the last one)."""

    next: str | None

    def __init__(self, jobs: Sequence[Job] = (), next: str | None = None) -> None:
        super().__init__(jobs)
        self.next = next


class GroupProgress(Shown, Struct, frozen=True):
    """Progress of a group: ``counts`` by status; ``percent`` is completed / total, 0.0 to 100.0."""

    group: str
    total: int
    counts: dict[JobStatus, int]

    @property
    def completed(self) -> int:
        """Return the number of completed jobs."""
        return self.counts.get(JobStatus.COMPLETED, 0)

    @property
    def unfinished(self) -> int:
        """Return the number of pending and running jobs."""
        return self.counts.get(JobStatus.PENDING, 0) + self.counts.get(JobStatus.IN_PROGRESS, 0)

    @property
    def percent(self) -> float:
        """Return completed / total, 0.0 to 100.0."""
        return 100.0 * self.completed / self.total if self.total else 0.0


class StatusReport(Shown, Struct, frozen=True):
    """The status of one job, for pollers.

    ``percent`` is 100.0 when completed, else what the body reported (None if nothing). ``elapsed`` and
    ``remaining`` are seconds; ``remaining`` is an estimate, None while there is no basis for one, or once it has run
    out. ``message`` is the last one that the body reported, or ``worker gone`` while a dead worker holds the job,
    which then does not run. ``result`` is set when the job is completed, ``error`` when it failed, or when its result
    cannot be read.
    """

    job_id: str
    status: JobStatus
    percent: float | None
    message: str | None
    elapsed: float | None
    remaining: float | None
    attempt: int
    result: Any = None
    error: JobError | None = None
    because: str | None = None


class Reason(Shown, Struct, frozen=True):
    """Why a job is not running: a stable ``code``, a ``sentence`` for people, and ``details`` for programs."""

    code: str
    sentence: str
    details: dict[str, Any] = field(default_factory=dict[str, Any])


class WorkerInfo(Shown, Struct, frozen=True, kw_only=True):
    """A worker as the store knows it. ``queues`` None means all. ``refused`` maps function names to reasons. ``lease``
    is seconds without a heartbeat after which it counts as dead."""

    id: str
    name: str
    pid: int
    host: str
    slots: int
    queues: tuple[str, ...] | None = None
    started_at: datetime | None = None
    alive: bool = True
    running: int = 0
    lease: float = 15.0
    refused: dict[str, str] = field(default_factory=dict[str, str])
