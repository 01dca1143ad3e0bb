"""What waits for the next group commit: one object a call, with the answer it will get."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from asyncjobs.backends.base import AttemptEnd, AttemptRef, ClaimRequest, NewJob
from asyncjobs.backends.sqlite.suspects import Suspect
from asyncjobs.models import BodyEvent, JobError


class Operation(Struct, eq=False):
    """``future`` is answered on the loop, once what the operation did is committed (or it was refused)."""

    future: Any = None
    withdrawn: bool = False
    """Whether its caller was cancelled."""
    dropped: bool = False
    """Whether it was let go for that, while the file was locked: nothing of it is done, nor will be."""

    @property
    def may_be_dropped(self) -> bool:
        """Whether it is worth nothing without its caller. What a body has done is stored nevertheless."""
        return True

    @property
    def weight(self) -> int:
        """About how many rows it touches: what decides whether the loop may commit it itself."""
        return 4


class Enqueue(Operation, eq=False, kw_only=True):
    jobs: Sequence[NewJob]
    parent: AttemptRef | None = None

    @property
    def weight(self) -> int:
        return 4 * len(self.jobs)


class Dequeue(Operation, eq=False, kw_only=True):
    claim: ClaimRequest

    @property
    def weight(self) -> int:
        return self.claim.limit


class Finish(Operation, eq=False, kw_only=True):
    ends: Sequence[AttemptEnd]
    claim: ClaimRequest | None = None

    @property
    def weight(self) -> int:
        return sum(4 + 2 * len(end.body_events) for end in self.ends)

    @property
    def may_be_dropped(self) -> bool:
        return False


class AppendEvents(Operation, eq=False, kw_only=True):
    batches: Sequence[tuple[AttemptRef, Sequence[BodyEvent]]]

    @property
    def weight(self) -> int:
        return 2 * sum(len(events) for _, events in self.batches)

    @property
    def may_be_dropped(self) -> bool:
        return False


class Cancel(Operation, eq=False, kw_only=True):
    ids: Sequence[str]
    descendants: bool

    @property
    def weight(self) -> int:
        return 1000 if self.descendants else 8 * len(self.ids)


class Retry(Operation, eq=False, kw_only=True):
    job_id: str


class Recount(Operation, eq=False, kw_only=True):
    ids: Sequence[str]


class GiveUp(Operation, eq=False, kw_only=True):
    ids: Sequence[str]
    error: JobError

    @property
    def weight(self) -> int:
        return 8 * len(self.ids)


class Register(Operation, eq=False, kw_only=True):
    """``row``: the columns of ``workers`` after its number, up to the lease (µs)."""

    row: tuple[Any, ...]
    lease: int


class Deregister(Operation, eq=False, kw_only=True):
    worker: int


class ExtendLeases(Operation, eq=False, kw_only=True):
    worker: int


class ReportRefusals(Operation, eq=False, kw_only=True):
    worker: int
    refused: str


class Reap(Operation, eq=False, kw_only=True):
    """Bury these workers, and take up what the buried ones held."""

    suspects: Sequence[Suspect]


class Remove(Operation, eq=False, kw_only=True):
    """See ``removal.remove``."""

    components: Sequence[Sequence[int]]
    newest: int
    before: int

    @property
    def weight(self) -> int:
        return 10 * sum(map(len, self.components))


class Clear(Operation, eq=False):
    """See ``removal.clear``."""

    @property
    def weight(self) -> int:
        return 5000
