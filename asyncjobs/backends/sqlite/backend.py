"""The SQLite store: the contract of ``backends.base``, put together from a writer, readers, and two threads.

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
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
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
    JobBackend,
    LimitInfo,
    Listener,
    NewJob,
    NewWorker,
    Seen,
    StoredCall,
    WorkerLease,
)
from asyncjobs.backends.listeners import Listeners
from asyncjobs.backends.sqlite import operations as ops
from asyncjobs.backends.sqlite.backup import back_up
from asyncjobs.backends.sqlite.checkpoint import Checkpointer
from asyncjobs.backends.sqlite.checkup import check_up
from asyncjobs.backends.sqlite.commit import Hook, no_hook
from asyncjobs.backends.sqlite.errors import translate
from asyncjobs.backends.sqlite.heartbeat import Heartbeat
from asyncjobs.backends.sqlite.ids import worker_id, worker_number
from asyncjobs.backends.sqlite.opening import open_store
from asyncjobs.backends.sqlite.pruning import Pruner
from asyncjobs.backends.sqlite.queries import Queries
from asyncjobs.backends.sqlite.readers import Readers
from asyncjobs.backends.sqlite.suspects import Suspects, is_certainly_gone
from asyncjobs.backends.sqlite.vacuum import compact
from asyncjobs.backends.sqlite.writer import Writer
from asyncjobs.clock import Clock, checked_clock
from asyncjobs.config import SQLiteConfig
from asyncjobs.core.lanes import Lane
from asyncjobs.core.state import SECOND
from asyncjobs.daemon_threads import in_thread
from asyncjobs.exceptions import BackendClosedError, ConfigurationError
from asyncjobs.forks import fork_count
from asyncjobs.host import this_process
from asyncjobs.models import (
    Attempt,
    BodyEvent,
    Edge,
    EventPage,
    GroupProgress,
    Job,
    JobError,
    JobEvent,
    JobPage,
    JobQuery,
    JobResult,
    JobStatus,
    WorkerInfo,
)
from asyncjobs.safe_logging import SafeLogger

T = TypeVar("T")

_URGENT = 0.05
_LAZY = 0.25
_UNSEEN = 0.25
"""Seconds without a look after which a change by others is taken for granted."""
_BEATS_A_LEASE = 3
_REMOVALS = "SELECT value FROM counters WHERE name = 'removed'"


class SQLiteBackend(JobBackend):
    """All jobs in one file, shared by any number of processes of one host.

    :param config: where and how; default ``SQLiteConfig()``.
    :param clock: for tests.
    """

    capabilities = frozenset({"persistent", "shared", "ordered_log", "backup"})

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
        self.config = dataclasses.replace(config, db_path=config.file)  # a program may change its working directory
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
        self._seen = Seen(self._data_version())

    async def close(self) -> None:
        if fork_count() != self._forks:
            self._opened, self._writer = 0, None
            return  # a forked child must not touch its parent's connections
        with anyio.CancelScope(shield=True):
            async with self._opening:
                self._opened = max(0, self._opened - 1)
                if not self._opened and self._writer is not None:
                    await self._let_go_of(self._writer)

    async def _let_go_of(self, writer: Writer) -> None:
        self._writer = None
        await in_thread(self._heartbeat.close)
        await writer.close()
        await self._readers.close()
        await in_thread(self._checkpointer.close)

    def add_listener(self, listener: Listener) -> Callable[[], None]:
        return self._listeners.add(listener)

    def _committed(self, events: Sequence[JobEvent]) -> None:
        self._checkpointer.nudge()
        self._listeners.notify(events)

    def _open(self) -> Writer:
        if fork_count() != self._forks:
            raise BackendClosedError(
                "this processor belongs to the parent process",
                hint="open a JobProcessor of its own in a forked child",
            )
        if self._writer is None:
            raise BackendClosedError
        return self._writer

    def _reading(self) -> Queries:
        self._open()
        return self._queries

    async def wait(self, timeout: float, *, urgent: bool = False, seen: Seen | None = None) -> bool:
        """Polls ``PRAGMA data_version`` (5 µs) of the writing connection, which own commits do not change.

        While that cannot be asked, because the writer's thread has the connection, something may have changed now and
        then. The pauses vary, so that two processes do not find each other's commits under way at each look.

        :raises BackendError: ``moved``, the file is not at its path any more; also when nobody writes.
        """
        self._open()
        seen = self._seen if seen is None else seen
        known = seen.version  # when this call began: who else waits must not take the change away
        step = _URGENT if urgent else _LAZY
        left = timeout
        while True:
            self._check_file()
            if self._changed(seen, known):
                return True
            if left <= 0:
                return False
            pause = min(step * random.uniform(0.5, 1.0), left)
            await self._clock.sleep(pause)
            left -= pause
            seen.unseen += pause
            if self._writer is None:
                return False

    def _changed(self, seen: Seen, known: int | None) -> bool:
        version = self._data_version()
        if version is not None:
            seen.unseen = 0.0
            seen.version = version
            return version != known
        if seen.unseen < _UNSEEN:
            return False
        seen.unseen = 0.0
        return True

    def _check_file(self) -> None:
        try:
            self._file.check()
        except sqlite3.Error as moved:
            raise translate(moved, self._file.path) from moved

    def _data_version(self) -> int | None:
        writer = self._open()
        if writer.busy_in_thread:
            return None  # its thread may be inside a transaction
        try:
            return writer.connection.execute("PRAGMA data_version").fetchone()[0]
        except sqlite3.Error:
            return None

    def removals(self) -> int | None:
        writer = self._writer
        if writer is None or writer.busy_in_thread:
            return None
        try:
            row = writer.connection.execute(_REMOVALS).fetchone()
        except sqlite3.Error:
            return None  # whoever reads the store instead is told what is the matter with it
        return 0 if row is None else row[0]

    async def health(self) -> Mapping[str, Any]:
        self._open()
        await self._readers.fetch("SELECT value FROM counters WHERE name = 'event'")
        path = self.config.file
        return {
            "backend": "sqlite",
            "where": str(path),
            "synchronous": self.config.synchronous,
            "sqlite_version": sqlite3.sqlite_version,
            "file_bytes": _size(path),
            "wal_bytes": _size(path.with_name(path.name + "-wal")),
        }

    async def checkup(self) -> Sequence[Finding]:
        opened = self._writer is not None
        if opened:
            self._open()
        return await self._in_thread(check_up, self.config.file, opened)

    # -- submitting

    async def enqueue_jobs(self, jobs: Sequence[NewJob], *, parent: AttemptRef | None = None) -> Sequence[str]:
        return await self._open().run(ops.Enqueue(jobs=jobs, parent=parent))

    # -- running

    async def dequeue_jobs(self, claim: ClaimRequest) -> ClaimResult:
        return await self._open().run(ops.Dequeue(claim=claim))

    async def update_job_status(self, ends: Sequence[AttemptEnd], claim: ClaimRequest | None = None) -> Finished:
        return await self._open().run(ops.Finish(ends=ends, claim=claim))

    async def append_events(self, batches: Sequence[tuple[AttemptRef, Sequence[BodyEvent]]]) -> Sequence[bool]:
        return await self._open().run(ops.AppendEvents(batches=batches))

    # -- workers and leases

    async def register_worker(self, worker: NewWorker) -> str:
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
        writer = self._open()
        number = worker_number(worker)
        self._heartbeat.remove(number)
        await writer.run(ops.Deregister(worker=number))

    async def extend_leases(self, worker: str) -> WorkerLease:
        return await self._open().run(ops.ExtendLeases(worker=worker_number(worker)))

    async def report_refusals(self, worker: str, refused: Mapping[str, str]) -> None:
        await self._open().run(
            ops.ReportRefusals(worker=worker_number(worker), refused=json.encode(dict(refused)).decode())
        )

    async def reap(self, *, expired: bool = True) -> Sequence[str]:
        writer = self._open()
        me = this_process()
        monotonic = self._clock.monotonic()
        present = await self._queries.present_workers()
        suspects = self._suspects.among(present, me, monotonic, expired=expired)
        if not suspects and not await self._queries.left_behind():
            return ()
        return await writer.run(ops.Reap(suspects=suspects))

    async def workers(self) -> Sequence[WorkerInfo]:
        me = this_process()
        return await self._reading().workers(self._clock.monotonic(), lambda identity: is_certainly_gone(identity, me))

    # -- deciding by hand

    async def cancel_jobs(self, ids: Sequence[str], *, descendants: bool = False) -> Mapping[str, JobStatus]:
        return await self._open().run(ops.Cancel(ids=ids, descendants=descendants))

    async def retry_job(self, job_id: str) -> JobStatus:
        return await self._open().run(ops.Retry(job_id=job_id))

    async def mark_job_ready(self, ids: Sequence[str]) -> Sequence[str]:
        return await self._open().run(ops.Recount(ids=ids))

    async def give_up(self, ids: Sequence[str], error: JobError) -> Sequence[str]:
        return await self._open().run(ops.GiveUp(ids=ids, error=error))

    # -- upkeep

    async def prune(self, before: int, limit: int = 1000) -> int:
        self._open()
        return await self._pruner.prune(before, limit)

    async def remove_jobs(self, ids: Sequence[str], *, components: bool = False) -> Sequence[str]:
        self._open()
        return await self._pruner.remove(ids, components)

    async def backup(self, path: str | os.PathLike[str]) -> None:
        self._open()
        await self._in_thread(back_up, self.config, self._file, path)

    async def compact(self, patience: float = 10.0) -> int:
        self._open()
        return await self._in_thread(compact, self.config, self._file, patience)

    async def _in_thread(self, work: Callable[..., T], *args: Any) -> T:
        """Long work on a connection of its own. If the caller is cancelled, it is told to stop, and cleans up."""
        stop = threading.Event()
        try:
            return await in_thread(work, *args, stop, abandon_on_cancel=True)
        finally:
            stop.set()

    # -- asking

    async def get_jobs(self, ids: Sequence[str]) -> Sequence[Job]:
        return await self._reading().get_jobs(ids)

    async def get_results(self, ids: Sequence[str]) -> Mapping[str, JobResult]:
        return await self._reading().get_results(ids)

    async def get_attempts(self, job_id: str) -> Sequence[Attempt]:
        return await self._reading().get_attempts(job_id)

    async def find_jobs(self, query: JobQuery) -> JobPage:
        return await self._reading().find_jobs(query)

    async def find_ids(self, prefix: str, limit: int = 20) -> Sequence[str]:
        return await self._reading().find_ids(prefix, limit)

    async def get_call(self, job_id: str) -> StoredCall | None:
        return await self._reading().get_call(job_id)

    async def count_jobs(self, group: str | None = None) -> Mapping[JobStatus, int]:
        return await self._reading().count_jobs(group)

    async def list_groups(self, after: str | None = None, limit: int = 100) -> Sequence[GroupProgress]:
        return await self._reading().list_groups(after, limit)

    async def get_durations(self, function: str, limit: int = 20) -> Sequence[float]:
        return await self._reading().get_durations(function, limit)

    async def has_unfinished(self, group: str | None = None) -> bool:
        return await self._reading().has_unfinished(group)

    async def get_dependencies(self, ids: Iterable[str]) -> Sequence[Edge]:
        return await self._reading().get_dependencies(ids)

    async def get_dependent_jobs(self, ids: Iterable[str]) -> Sequence[Edge]:
        return await self._reading().get_dependent_jobs(ids)

    async def get_ready_jobs(self, limit: int = 100) -> Sequence[Job]:
        return await self._reading().get_ready_jobs(limit)

    async def get_limit(self, key: str) -> LimitInfo | None:
        return await self._reading().get_limit(key)

    async def get_lanes(self) -> Sequence[Lane]:
        return await self._reading().get_lanes()

    async def read_events(
        self,
        after: str | None = None,
        *,
        limit: int = 500,
        job_id: str | None = None,
        group: str | None = None,
    ) -> EventPage:
        return await self._reading().read_events(after, limit=limit, job_id=job_id, group=group)

    async def last_cursor(self) -> str:
        return await self._reading().last_cursor()


def _size(path: os.PathLike[str]) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
