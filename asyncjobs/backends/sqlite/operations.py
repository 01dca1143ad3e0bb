"""Define the operations of a group commit: one object for each call, with the future of its answer.

``backends.base`` lists which method of a backend uses which operation.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from msgspec import Struct

from asyncjobs.backends.base import AttemptEnd, AttemptRef, ClaimRequest, NewJob
from asyncjobs.backends.sqlite.suspects import Suspect
from asyncjobs.core.requests import Answer, Keep, StepChange
from asyncjobs.models import BodyEvent, JobError

_CALL = attrgetter("call")

INLINE = 1200
"""The largest weight that the loop commits itself: rows of about 5 ms. The writer's thread commits more."""
INLINE_BYTES = 65_536
"""Bytes of values that weigh as much."""
FORGET = INLINE + 1
"""The weight of operations that only the thread commits, however few rows they touch."""


def weigh(size: int) -> int:
    """Return the weight of this many bytes of values."""
    return size * INLINE // INLINE_BYTES


class Operation(Struct, eq=False):
    """An operation. Its ``future`` gets the answer on the loop, once the transaction is committed or it was refused."""

    future: Any = None
    withdrawn: bool = False
    """Whether its caller was cancelled."""
    dropped: bool = False
    """Whether it was dropped for that while the file was locked: none of it was done, nor will be."""

    @property
    def may_be_dropped(self) -> bool:
        """Return whether it can be dropped once its caller is gone. Reports and outcomes of bodies never are."""
        return True

    @property
    def weight(self) -> int:
        """Estimate how many rows the operation touches: by this the writer decides whether the loop may commit it."""
        return 4


class Enqueue(Operation, eq=False, kw_only=True):
    """Store a batch of jobs."""

    jobs: Sequence[NewJob]
    parent: AttemptRef | None = None

    @property
    def weight(self) -> int:
        """Estimate four rows for each job, and the bytes of its call."""
        jobs = self.jobs
        size = len(jobs[0].call) if len(jobs) == 1 else sum(map(len, map(_CALL, jobs)))
        return 4 * len(jobs) + weigh(size)


class Dequeue(Operation, eq=False, kw_only=True):
    """Claim ready jobs."""

    claim: ClaimRequest

    @property
    def weight(self) -> int:
        """Estimate one row for each job that may be claimed."""
        return self.claim.limit


class Finish(Operation, eq=False, kw_only=True):
    """Record outcomes, and claim the next jobs."""

    ends: Sequence[AttemptEnd]
    claim: ClaimRequest | None = None

    @property
    def weight(self) -> int:
        """Estimate four rows for each outcome, two for each body event, and the bytes of its value."""
        rows = size = 0
        for end in self.ends:
            rows += 4 + 2 * len(end.body_events)
            size += len(end.outcome.value or b"")
        return rows + weigh(size)

    @property
    def may_be_dropped(self) -> bool:
        """Return False: reports and outcomes of bodies are always stored."""
        return False


class AppendEvents(Operation, eq=False, kw_only=True):
    """Store the events of running bodies."""

    batches: Sequence[tuple[AttemptRef, Sequence[BodyEvent]]]

    @property
    def weight(self) -> int:
        """Estimate two rows for each event."""
        return 2 * sum(len(events) for _, events in self.batches)

    @property
    def may_be_dropped(self) -> bool:
        """Return False: reports and outcomes of bodies are always stored."""
        return False


class WriteSteps(Operation, eq=False, kw_only=True):
    """Keep and forget values of running attempts."""

    changes: Sequence[StepChange]

    @property
    def weight(self) -> int:
        """Estimate two rows for each value, and its bytes; what is forgotten may be any number of rows and bytes."""
        values = [change.value for change in self.changes if isinstance(change, Keep)]
        return 2 * len(values) + weigh(sum(map(len, values))) + FORGET * (len(self.changes) - len(values))


class AskGate(Operation, eq=False, kw_only=True):
    """Open the gate of a body's question, or find it."""

    attempt: AttemptRef
    gate: NewJob

    @property
    def weight(self) -> int:
        """Estimate eight rows, and the bytes of the question."""
        return 8 + weigh(len(self.gate.call))


class AnswerGate(Operation, eq=False, kw_only=True):
    """End an open gate by an answer, or a rejection."""

    answer: Answer

    @property
    def weight(self) -> int:
        """Estimate eight rows, and the bytes of the answer."""
        return 8 + weigh(len(self.answer.value or b""))


class EndDueGates(Operation, eq=False, kw_only=True):
    """End those of these gates whose deadline has come, or cannot be read."""

    numbers: Sequence[int]

    @property
    def weight(self) -> int:
        """Estimate ten rows for each gate."""
        return 10 * len(self.numbers)


class Cancel(Operation, eq=False, kw_only=True):
    """Cancel jobs, or ask them to stop."""

    ids: Sequence[str]
    descendants: bool

    @property
    def weight(self) -> int:
        """Estimate eight rows for each job; descendants count as many, however few they are."""
        return 1000 if self.descendants else 8 * len(self.ids)


class Retry(Operation, eq=False, kw_only=True):
    """Make a failed or cancelled job pending again."""

    job_id: str
    fresh: bool = False


class Recount(Operation, eq=False, kw_only=True):
    """Decide waiting jobs again from their edges."""

    ids: Sequence[str]


class GiveUp(Operation, eq=False, kw_only=True):
    """Fail pending jobs that no worker can run."""

    ids: Sequence[str]
    error: JobError

    @property
    def weight(self) -> int:
        """Estimate eight rows for each job."""
        return 8 * len(self.ids)


class Register(Operation, eq=False, kw_only=True):
    """Insert a worker. ``row`` are the columns of ``workers`` behind its number, up to the lease (µs)."""

    row: tuple[Any, ...]
    lease: int


class Deregister(Operation, eq=False, kw_only=True):
    """Mark a worker as gone, and take back its jobs."""

    worker: int


class ExtendLeases(Operation, eq=False, kw_only=True):
    """Renew the lease of a worker."""

    worker: int


class ReportRefusals(Operation, eq=False, kw_only=True):
    """Store, as JSON, which functions a worker refuses."""

    worker: int
    refused: str


class Reap(Operation, eq=False, kw_only=True):
    """Mark these workers as gone, and take back what gone workers held."""

    suspects: Sequence[Suspect]


class Remove(Operation, eq=False, kw_only=True):
    """Delete components of jobs: see ``removal.remove``."""

    components: Sequence[Sequence[int]]
    newest: int
    before: int

    @property
    def weight(self) -> int:
        """Estimate ten rows for each job."""
        return 10 * sum(map(len, self.components))


class Clear(Operation, eq=False):
    """Delete rows of removed jobs: see ``removal.clear``."""

    @property
    def weight(self) -> int:
        """Estimate one step of rows, which is more than the loop commits itself."""
        return 5000
