"""Keep jobs in an SQLite file: the contract of ``backends.base`` by a writer, readers, and two threads.

=============  ==========================================================================================
writer         one connection, group commit (``writer.py``), everything that changes goes through it
readers        a pool of aiosqlite connections; every read is a bounded page fetched whole
heartbeat      a thread with its own connection renews leases, however busy the loop is
checkpointer   a thread with its own connection writes the write-ahead log back
=============  ==========================================================================================
"""

from __future__ import annotations

import dataclasses
import os
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import anyio
from msgspec import json

from asyncjobs.backends.base import (
    AttemptEnd,
    AttemptRef,
    ClaimRequest,
    ClaimResult,
    Finding,
    Finished,
    Listener,
    NewJob,
    NewWorker,
    Seen,
    Stale,
    WorkerLease,
)
from asyncjobs.backends.committed_events import CommittedEvents
from asyncjobs.backends.group_commits import GroupMember, Membership
from asyncjobs.backends.listeners import Listeners
from asyncjobs.backends.sqlite import operations as ops
from asyncjobs.backends.sqlite.backup import back_up
from asyncjobs.backends.sqlite.changes import Changes
from asyncjobs.backends.sqlite.checkpoint import Checkpointer
from asyncjobs.backends.sqlite.checkup import check_up, describe
from asyncjobs.backends.sqlite.commit import Hook, no_hook
from asyncjobs.backends.sqlite.heartbeat import Heartbeat
from asyncjobs.backends.sqlite.ids import worker_id, worker_number
from asyncjobs.backends.sqlite.opening import open_store
from asyncjobs.backends.sqlite.pruning import Pruner
from asyncjobs.backends.sqlite.queries import Queries
from asyncjobs.backends.sqlite.readers import Readers
from asyncjobs.backends.sqlite.reading import ReadingBackend
from asyncjobs.backends.sqlite.steps import write_in_parts
from asyncjobs.backends.sqlite.suspects import Suspects, is_certainly_gone
from asyncjobs.backends.sqlite.vacuum import compact, rebuild
from asyncjobs.backends.sqlite.writer import Writer
from asyncjobs.checks import CheckedArguments
from asyncjobs.clock import Clock, checked_clock
from asyncjobs.config import SQLiteConfig
from asyncjobs.core.requests import Answer, AskedGate, StepChange
from asyncjobs.core.state import SECOND
from asyncjobs.daemon_threads import in_thread
from asyncjobs.exceptions import BackendClosedError, ConfigurationError
from asyncjobs.forks import fork_count
from asyncjobs.host import this_process
from asyncjobs.models import (
    BodyEvent,
    JobError,
    JobStatus,
    WorkerInfo,
)
from asyncjobs.safe_logging import SafeLogger

T = TypeVar("T")

_URGENT = 0.05
_LAZY = 0.25
_BEATS_A_LEASE = 3


class SQLiteBackend(CheckedArguments, ReadingBackend):
    """A store in one file, shared by any number of processes of one host.

    ::

        async with SQLiteBackend("jobs.db") as backend:
            async with JobProcessor(backend) as jp:
                await (await jp.submit_job(render, "report"))
            print(await backend.count_jobs())

    :param config: where and how; default ``SQLiteConfig()``.
    :param clock: for tests.
    """

    _settings = (("config", SQLiteConfig),)
    capabilities: frozenset[str] = frozenset(
        {"persistent", "shared", "ordered_log", "backup", "one_transaction", "dense_log", "strict_order"}
    )

    def __init__(
        self,
        config: SQLiteConfig | str | os.PathLike[str] | None = None,
        *,
        clock: Clock | None = None,
        hook: Hook = no_hook,
    ) -> None:
        if isinstance(config, (str, os.PathLike)):
            config = SQLiteConfig(db_path=config)
        elif config is None:
            config = SQLiteConfig()
        elif not isinstance(config, SQLiteConfig):
            raise ConfigurationError("SQLiteBackend.config", config, allowed="a path, or a SQLiteConfig")
        # A program may change its working directory.
        self.config: SQLiteConfig = dataclasses.replace(config, db_path=config.file)
        self._clock = checked_clock("SQLiteBackend.clock", clock)
        self._hook = hook
        self._listeners = Listeners(SafeLogger("asyncjobs.sqlite"))
        self._forks = fork_count()
        self._opening = anyio.Lock()
        self._opened = 0
        self._writer: Writer | None = None
        self._seen = Seen()

    # -- life

    async def open(self) -> None:
        """Open the file, its connections and threads; further calls only count."""
        async with self._opening:
            if not self._opened:
                await self._connect_all()
            self._opened += 1

    async def _connect_all(self) -> None:
        self._forks = fork_count()
        connection, self._file = await open_store(self.config)
        path, file = self.config.file, self._file
        self._readers = Readers(self.config, path, file=file)
        self._queries = Queries(self._readers, self._clock)
        self._checkpointer = Checkpointer(self.config, path, file)
        self._heartbeat = Heartbeat(self.config, path, self._clock, file)
        self._writer = Writer(
            connection, self.config, self._clock, file=file, committed=self._committed, hook=self._hook
        )
        self._pruner = Pruner(self._readers.fetch, self._writer.run)
        self._suspects = Suspects()
        self._changes = Changes(self._writer, file)
        self._seen = self._changes.now()

    async def close(self) -> None:
        """Undo one ``open``. The last one ends the threads and closes the connections, shielded from cancellation."""
        if fork_count() != self._forks:
            self._opened, self._writer = 0, None
            return  # a forked child must not use its parent's connections
        with anyio.CancelScope(shield=True):
            async with self._opening:
                self._opened = max(0, self._opened - 1)
                if not self._opened and self._writer is not None:
                    await self._close_all(self._writer)

    async def _close_all(self, writer: Writer) -> None:
        self._writer = None
        await in_thread(self._heartbeat.close)
        await writer.close()
        await self._readers.close()
        await in_thread(self._checkpointer.close)

    def add_listener(self, listener: Listener) -> Callable[[], None]:
        """Notify ``listener`` on the loop after each group commit, before its callers continue."""
        return self._listeners.add(listener)

    def _committed(self, events: CommittedEvents) -> None:
        self._checkpointer.nudge()
        self._listeners.notify(events)

    def _open(self) -> Writer:
        if fork_count() != self._forks:
            hint = "open a new JobProcessor in a forked child"
            raise BackendClosedError("this processor belongs to the parent process", hint=hint)
        if self._writer is None:
            raise BackendClosedError
        return self._writer

    def _reading(self) -> Queries:
        self._open()
        return self._queries

    async def wait(self, timeout: float, *, urgent: bool = False, seen: Seen | None = None) -> bool:
        """Poll ``PRAGMA data_version`` (5 µs) of the writing connection, which own commits do not change.

        While the writer's thread has the connection, it cannot be read, and a change is assumed now and then. The
        pauses vary, so that the polls of two processes do not keep coinciding with each other's commits.

        :raises BackendError: ``moved``, the file is no longer at its path.
        """
        seen = self._seen if seen is None else seen
        known = seen.version  # when this call began: another call that waits must not consume the change
        step = _URGENT if urgent else _LAZY
        left = timeout
        while True:
            self._open()
            if self._changes.look(seen, known):
                return True
            if left <= 0:
                return False
            pause = min(step * random.uniform(0.5, 1.0), left)
            await self._clock.sleep(pause)
            left -= pause
            seen.unseen += pause
            if self._writer is None:
                return False

    def removals(self) -> int | None:
        """Read a counter, if the writer's thread does not have the connection."""
        return None if self._writer is None else self._changes.count_removals()

    async def health(self) -> Mapping[str, Any]:
        """Describe the file, its size, that of its log, and SQLite; a read proves that the store is reachable."""
        self._open()
        await self._readers.fetch("SELECT value FROM marks WHERE name = 'event'")
        return {**describe(self.config), "capabilities": sorted(self.capabilities)}

    async def checkup(self) -> Sequence[Finding]:
        """Check the file in a thread: from outside, and by SQLite's ``quick_check`` while it is open."""
        opened = self._writer is not None
        if opened:
            self._open()
        return await self._in_thread(check_up, self.config.file, opened)

    # -- submitting

    async def enqueue_jobs(self, jobs: Sequence[NewJob], *, parent: AttemptRef | None = None) -> Sequence[str]:
        """Store the batch with the next group commit."""
        return await self._open().run(ops.Enqueue(jobs=jobs, parent=parent))

    # -- running

    async def dequeue_jobs(self, claim: ClaimRequest) -> ClaimResult:
        """Claim in the next group commit, after the outcomes and submissions of its group."""
        return await self._open().run(ops.Dequeue(claim=claim))

    async def update_job_status(self, ends: Sequence[AttemptEnd], claim: ClaimRequest | None = None) -> Finished:
        """Record the outcomes and claim with the next group commit."""
        return await self._open().run(ops.Finish(ends=ends, claim=claim))

    def join_group_commits(self, member: GroupMember) -> Membership:
        """Have the writer ask the worker for each group."""
        return self._open().members.join(member)

    async def append_events(self, batches: Sequence[tuple[AttemptRef, Sequence[BodyEvent]]]) -> Sequence[bool]:
        """Store the events with the next group commit."""
        return await self._open().run(ops.AppendEvents(batches=batches))

    async def write_steps(self, changes: Sequence[StepChange]) -> Sequence[Stale | None]:
        """Do the changes with the next group commit, before the outcomes of its group; forget in bounded steps."""
        answers = await write_in_parts(self._open().run, changes)
        self._checkpointer.nudge()  # otherwise only commits with events nudge it
        return answers

    # -- gates

    async def ask_gate(self, attempt: AttemptRef, gate: NewJob) -> AskedGate:
        """Ask with the next group commit, after the outcomes of its group."""
        return await self._open().run(ops.AskGate(attempt=attempt, gate=gate))

    async def answer_gate(self, answer: Answer) -> JobStatus:
        """Answer with the next group commit."""
        return await self._open().run(ops.AnswerGate(answer=answer))

    async def end_due_gates(self) -> Sequence[str]:
        """Find the gates that are due by a read, and write only if there are any."""
        writer = self._open()
        due = await self._queries.due_gates()
        return await writer.run(ops.EndDueGates(numbers=due)) if due else []

    # -- workers and leases

    async def register_worker(self, worker: NewWorker) -> str:
        """Insert a worker of this process, and have the heartbeat's thread renew its lease."""
        me = this_process()
        lease = round(worker.lease * SECOND)
        row = (
            worker.name,
            worker.slots,
            None if worker.queues is None else json.encode(worker.queues).decode(),
            me.host,
            me.boot,
            me.pid_namespace,
            me.pid,
            me.start,
            self._clock.now(),
        )
        number: int = await self._open().run(ops.Register(row=row, lease=lease))
        self._heartbeat.add(number, lease, worker.lease / _BEATS_A_LEASE)
        return worker_id(number)

    async def deregister_worker(self, worker: str) -> None:
        """Stop the heartbeat of the worker, then take back its jobs."""
        writer = self._open()
        number = worker_number(worker)
        self._heartbeat.remove(number)
        await writer.run(ops.Deregister(worker=number))

    async def extend_leases(self, worker: str) -> WorkerLease:
        """Renew the lease in a transaction of the writer, beside the heartbeat's thread."""
        return await self._open().run(ops.ExtendLeases(worker=worker_number(worker)))

    async def report_refusals(self, worker: str, refused: Mapping[str, str]) -> None:
        """Store the refusals as JSON on the worker's row."""
        encoded = json.encode(dict(refused)).decode()
        await self._open().run(ops.ReportRefusals(worker=worker_number(worker), refused=encoded))

    async def reap(self, *, expired: bool = True) -> Sequence[str]:
        """Find the dead workers by a read, and write only if there are any."""
        writer = self._open()
        me = this_process()
        monotonic = self._clock.monotonic()
        present = await self._queries.present_workers()
        suspects = self._suspects.among(present, me, monotonic, expired=expired)
        if not suspects and not await self._queries.left_behind():
            return ()
        return await writer.run(ops.Reap(suspects=suspects))

    async def workers(self) -> Sequence[WorkerInfo]:
        """Read the workers; one whose process has ended on this host is not alive, whatever its lease."""
        me = this_process()
        return await self._reading().workers(self._clock.monotonic(), lambda identity: is_certainly_gone(identity, me))

    # -- deciding by hand

    async def cancel_jobs(self, ids: Sequence[str], *, descendants: bool = False) -> Mapping[str, JobStatus]:
        """Cancel the jobs with the next group commit."""
        return await self._open().run(ops.Cancel(ids=ids, descendants=descendants))

    async def retry_job(self, job_id: str, *, fresh: bool = False) -> JobStatus:
        """Retry the job with the next group commit."""
        return await self._open().run(ops.Retry(job_id=job_id, fresh=fresh))

    async def mark_job_ready(self, ids: Sequence[str]) -> Sequence[str]:
        """Recount the jobs with the next group commit."""
        return await self._open().run(ops.Recount(ids=ids))

    async def give_up(self, ids: Sequence[str], error: JobError) -> Sequence[str]:
        """Fail the jobs with the next group commit."""
        return await self._open().run(ops.GiveUp(ids=ids, error=error))

    # -- upkeep

    async def prune(self, before: int, limit: int = 1000) -> int:
        """Find components by reads without a lock, and remove them in bounded transactions."""
        self._open()
        return await self._pruner.prune(before, limit)

    async def remove_jobs(self, ids: Sequence[str], *, components: bool = False) -> Sequence[str]:
        """Remove the jobs as ``prune`` does, in bounded transactions."""
        self._open()
        return await self._pruner.remove(ids, components)

    async def backup(self, path: str | os.PathLike[str]) -> None:
        """Copy the file by SQLite's backup API, in a thread."""
        self._open()
        await self._in_thread(back_up, self.config, self._file, path)

    async def compact(self, patience: float = 10.0) -> int:
        """Run VACUUM in a thread, which is stopped after ``patience`` seconds.

        Of a backend that is not open, it gives a file of an older version the pages that new files have.
        """
        if self._writer is None and (freed := await self._in_thread(rebuild, self.config, patience)) is not None:
            return freed
        self._open()
        return await self._in_thread(compact, self.config, self._file, patience)

    async def _in_thread(self, work: Callable[..., T], *args: Any) -> T:
        """Run long work in a thread, on a separate connection. If the caller is cancelled, it stops and cleans up."""
        stop = threading.Event()
        try:
            return await in_thread(work, *args, stop, abandon_on_cancel=True)
        finally:
            stop.set()
