"""Remember, between the transactions of a writing connection, what nobody else can have changed.

The rule: what is here is used only inside a transaction, and only if ``PRAGMA data_version``, read right after BEGIN
IMMEDIATE, has not changed since it was filled: then no other connection has committed anything in between. It is
forgotten when a transaction fails, and by every operation that does not keep it up to date (``FOLLOWED`` names those
that do). Nothing here decides anything; an entry is the row as a read inside the transaction would return it. Its size
is bounded by the slots of the workers of this connection, not by the backlog.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from msgspec import Struct

from asyncjobs.backends.sqlite import operations as ops
from asyncjobs.core.plan import Writes
from asyncjobs.core.state import JobState
from asyncjobs.models import JobStatus

FOLLOWED: frozenset[type[ops.Operation]] = frozenset(
    {ops.Enqueue, ops.Dequeue, ops.Finish, ops.AppendEvents, ops.WriteSteps, ops.ExtendLeases, ops.ReportRefusals}
)
"""The operations whose changes are entered here. All others change workers, or rows that are not in their plan."""


class RunningRow(Struct, frozen=True, gc=False):
    """The row of a job in progress, and the number of its lane."""

    job: JobState
    lane: int


class ConnectionCache:
    """What one connection remembers. A new one remembers nothing, and reads everything anew."""

    def __init__(self) -> None:
        self._version: int | None = None
        self.alive: set[int] = set()
        """Workers that are registered and not gone."""
        self.last: dict[str, int] = {}
        """The last number that a job and an event got (``numbers.reserve``)."""
        self.none_delayed: bool = False
        """Whether no stored job waits for its time."""
        self.ready: dict[int, None] | None = None
        """All lanes that have ready jobs, and perhaps some that have none; None: not known."""
        self.running: dict[int, RunningRow] = {}
        """Rows of jobs in progress that this connection has claimed."""
        self.childless: set[int] = set()
        """Those of them that no edge leads from."""

    def begin(self, connection: sqlite3.Connection, operations: Iterable[ops.Operation]) -> ConnectionCache:
        """Return what a transaction that has just begun may use: this, or an empty one if it has other operations."""
        version: int = connection.execute("PRAGMA data_version").fetchone()[0]
        followed = FOLLOWED.issuperset(map(type, operations))
        if version != self._version or not followed:
            self.forget()
        self._version = version
        return self if followed else ConnectionCache()

    def forget(self) -> None:
        """Forget everything: a transaction failed, or others have written."""
        self._version = None
        self.alive.clear()
        self.last.clear()
        self.none_delayed = False
        self.ready = None
        self.running.clear()
        self.childless.clear()

    def follow(self, writes: Writes) -> None:
        """Enter what a transaction is about to write."""
        for edge in writes.new_edges:
            self.childless.discard(edge.parent)
        for job in writes.changed:
            known = self.running.get(job.n)
            if known is None:
                continue
            if job.status is JobStatus.IN_PROGRESS:
                self.running[job.n] = RunningRow(job, known.lane)
            else:
                del self.running[job.n]
                self.childless.discard(job.n)

    def add_running(self, job: JobState, lane: int, *, childless: bool) -> None:
        """Enter a job that was claimed, as it is written."""
        # A duration is read by the clock of each transaction; what a gate or an asker is depends on other rows.
        if job.lasts or job.role is not None or job.unreadable is not None:
            return
        self.running[job.n] = RunningRow(job, lane)
        if childless:
            self.childless.add(job.n)
