"""Commit operations in groups: concurrent ones share a transaction, and one that fails does not fail the others.

A small group is committed by the event loop itself (NORMAL commits do not wait for the disk), with a busy timeout of
zero, so that it never waits there. If the file is locked, the group is large (in rows, or in bytes of values), or every
commit is synced (FULL), a thread takes over. Only one of the two uses the connection at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import sqlite3
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import copy_context
from queue import SimpleQueue
from typing import Any

import anyio

from asyncjobs.backends.committed_events import NO_EVENTS, CommittedEvents
from asyncjobs.backends.sqlite.commit import Committed, Hook, Moment, commit, no_hook
from asyncjobs.backends.sqlite.connection_cache import ConnectionCache
from asyncjobs.backends.sqlite.errors import is_busy, is_undecodable, lenient_text, locked_message, translate
from asyncjobs.backends.sqlite.files import StoreFile
from asyncjobs.backends.sqlite.lanes import Lanes
from asyncjobs.backends.sqlite.members import Members, Reply
from asyncjobs.backends.sqlite.moments import read_clocks
from asyncjobs.backends.sqlite.operations import INLINE, Enqueue, Operation
from asyncjobs.clock import Clock
from asyncjobs.config import SQLiteConfig
from asyncjobs.daemon_threads import in_thread
from asyncjobs.exceptions import BackendClosedError, BackendConnectionError
from asyncjobs.host import boot_number, this_process
from asyncjobs.plurals import counted
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs.sqlite")

_INLINE_ROWS = 400
"""The most rows of jobs and edges that the loop reads for a group: the end of a job may affect any number of others."""
_GROUP_WEIGHT = 20_000
"""The most rows (or 1 MiB of values) in one transaction, unless a single operation is larger."""
_TURNS = 32
"""Commits before which other threads get a turn, once it seems that they have had one.

A thread that computes takes the GIL at the first statement that releases it, and keeps it for 5 ms; so does the next.
They do that anyway, but the file need not be locked meanwhile: other processes wait for it.
"""
_FIRST_DELAY = 0.001
_LONGEST_DELAY = 0.1
_SHARE_OF_WAIT = 1 / 8
"""The pause between two tries of a locked file, as a part of the time waited so far. Among several processes that write
all the time, each waits some milliseconds, and one that tried less often than the others would get less than its share.
"""


class Writer:
    """The only writer of a backend object. All methods are called on the event loop."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        config: SQLiteConfig,
        clock: Clock,
        *,
        file: StoreFile,
        committed: Callable[[CommittedEvents], None],
        hook: Hook = no_hook,
    ) -> None:
        self._connection = connection
        self._config = config
        self._clock = clock
        self._boot = boot_number(this_process().boot)
        self._committed = committed
        self._hook = hook
        self._loop = asyncio.get_running_loop()
        # Listeners and members are not called in the context of whichever caller came first, which may be a body.
        self._context = copy_context()
        self._lanes = Lanes()
        self._cache = ConnectionCache()
        self._file = file
        self._waiting: deque[Operation] = deque()
        self.members: Members = Members(self._ask_soon)
        """The workers that are asked when a group is put together."""
        self._asked = False
        self._scheduled = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False
        self._inline = config.synchronous == "NORMAL"
        self._queue: SimpleQueue[list[Operation] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._threaded = False
        self._turns = 0
        self.commits = 0
        self.longest_inline = 0.0

    @property
    def busy_in_thread(self) -> bool:
        """Return whether the thread has the connection now."""
        return self._threaded

    @property
    def connection(self) -> sqlite3.Connection:
        """Return the connection, for use on the loop and only while ``busy_in_thread`` is False."""
        return self._connection

    async def run(self, operation: Operation) -> Any:
        """Commit an operation with the next group, and return its answer or raise its error.

        If the caller is cancelled before the operation was taken up, or while the file is locked, the operation is
        dropped; otherwise the cancellation waits for the commit.
        """
        if self._closed:
            raise BackendClosedError
        future = operation.future = self._loop.create_future()
        self._waiting.append(operation)
        self._schedule()
        try:
            return await future
        except asyncio.CancelledError:
            if operation in self._waiting:
                self._waiting.remove(operation)
            elif future.done() and not future.cancelled():  # answered just before the cancellation came
                future.exception()
            elif operation.future is future:  # taken up: a fresh future signals its end
                end = operation.future = self._loop.create_future()
                operation.withdrawn = True
                with anyio.CancelScope(shield=True):
                    while not end.done():
                        # anyio's shield does not stop asyncio's own cancellation. The first one is raised in the end.
                        with contextlib.suppress(asyncio.CancelledError):
                            await asyncio.wait([end])
                end.exception()  # retrieved here, because the caller is gone
            raise

    async def close(self) -> None:
        """Commit the operations that were taken, then close the connection."""
        self._closed = True
        await self._idle.wait()
        if self._thread is not None:
            self._queue.put(None)
            await in_thread(self._thread.join, self._config.busy_timeout + 5)
        self._connection.close()

    # -- on the loop

    def _schedule(self) -> None:
        if not self._scheduled and not self._threaded:
            self._scheduled = True
            self._idle.clear()
            # Two turns of the loop: all other operations that are ready join the group.
            self._loop.call_soon(self._loop.call_soon, self._flush, context=self._context)

    def _ask_soon(self) -> None:
        if not self._closed:
            self._asked = True  # kept while the thread has the connection
            self._schedule()

    def _flush(self) -> None:
        self._scheduled = False
        group, weight = self._next_group()
        if not group:
            self._idle.set()
            return
        if not self._inline or weight > INLINE:
            self._hand_over(group)
            return
        began = time.perf_counter()
        try:
            committed = self._commit(group, _INLINE_ROWS)
        except Exception:  # locked, poisoned, or larger than estimated: the thread has the time
            self._hand_over(group)
            return
        self.longest_inline = max(self.longest_inline, time.perf_counter() - began)
        self._answer(group, committed)
        self._go_on()

    def _commit(self, group: Sequence[Operation], most_rows: int | None = None) -> Committed:
        self._file.check()
        try:
            return self._commit_once(group, most_rows)
        except sqlite3.OperationalError as error:
            if not is_undecodable(error):
                raise
        # Not inside the handler: the error keeps the statement open, and with it the old snapshot.
        self._connection.text_factory = lenient_text
        return self._commit_once(group, most_rows)

    def _commit_once(self, group: Sequence[Operation], most_rows: int | None) -> Committed:
        began = time.perf_counter()
        if self._turns:
            self._turns -= 1
            time.sleep(0)
            began = self._note_turn(began)
        moment = self._moment()
        try:
            return commit(self._connection, group, self._lanes, self._cache, moment, self._hook, most_rows=most_rows)
        finally:
            if most_rows is not None:  # a small group: a large one may take so long by itself
                self._note_turn(began)

    def _note_turn(self, began: float) -> float:
        """Note whether what began then took so long that other threads may have had a turn. Return the present time."""
        now = time.perf_counter()
        if now - began > sys.getswitchinterval():
            self._turns = _TURNS
        return now

    def _go_on(self) -> None:
        """Commit what has come meanwhile. A member that was just answered may have seen to that already: never have two
        flushes on their way, of which one might commit while the thread has the connection."""
        if self._scheduled:
            return
        if self._waiting or self._asked:
            self._scheduled = True
            self._loop.call_soon(self._flush)
        else:
            self._idle.set()

    def _next_group(self) -> tuple[list[Operation], int]:
        """Take operations for one transaction; return them, and their total weight."""
        group: list[Operation] = []
        total = 0
        while self._waiting:
            operation = self._waiting[0]
            weight = operation.weight
            if group and total + weight > _GROUP_WEIGHT:
                break
            self._waiting.popleft()
            if operation.future.done():  # its caller was cancelled, and has not run since
                operation.future = None
                continue
            total += weight
            group.append(operation)
        asked, self._asked = self._asked, False
        offers = self.members.ask(group, outcomes=asked)
        group += offers
        total += sum(offer.weight for offer in offers)
        return group, total

    def _moment(self) -> Moment:
        return Moment(read_clocks(self._clock, self._boot), random.random)

    def _answer(self, group: Sequence[Operation], committed: Committed) -> None:
        if not group:
            return  # all of it was withdrawn
        self.commits += 1
        if logger.isEnabledFor(logging.DEBUG):
            kinds = ", ".join(type(operation).__name__ for operation in group[:5])
            operations, events = counted(len(group), "operation"), counted(len(committed.events), "event")
            logger.debug("committed %s (%s), %s", operations, kinds, events)
        if committed.events:
            self._committed(committed.events)
        # A submitter continues in a later turn of the loop, and finds its job running if it was claimed at once.
        answered = sorted(zip(group, committed.answers, strict=True), key=_turn)
        for operation, answer in answered:
            future = operation.future
            if future.done():  # its caller was cancelled just now, and must not wait for this answer
                operation.future = None
                continue
            if isinstance(answer, BaseException):
                future.set_exception(answer)
            else:
                future.set_result(answer)

    def _hand_over(self, group: list[Operation]) -> None:
        self._threaded = True
        self._idle.clear()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="asyncjobs-writer", daemon=True)
            self._thread.start()
        self._queue.put(group)

    def _taken_back(self, results: Sequence[tuple[Sequence[Operation], Committed]]) -> None:
        self._threaded = False
        for group, committed in results:
            self._answer(group, committed)
        self._go_on()

    # -- in the thread

    def _work(self) -> None:
        while (group := self._queue.get()) is not None:
            results = self._commit_patiently(group)
            try:
                self._loop.call_soon_threadsafe(self._taken_back, results, context=self._context)
            except RuntimeError:  # the loop was closed meanwhile: no caller is left
                return

    def _commit_patiently(self, group: Sequence[Operation]) -> list[tuple[Sequence[Operation], Committed]]:
        try:
            return [self._retry_busy(group)]
        except Exception as error:
            if len(group) == 1:
                return [(group, Committed([self._explain(error, group[0])], NO_EVENTS))]
            if is_busy(error):
                return [(group, Committed([self._explain(error, operation) for operation in group], NO_EVENTS))]
        # One operation of this group cannot be done, and failed the whole group: one by one, it fails alone.
        results: list[tuple[Sequence[Operation], Committed]] = []
        for operation in group:
            if not operation.dropped:
                results.extend(self._commit_patiently([operation]))
        return results

    def _retry_busy(self, group: Sequence[Operation]) -> tuple[Sequence[Operation], Committed]:
        began = time.monotonic()
        while True:
            try:
                return group, self._commit(group)
            except sqlite3.OperationalError as error:
                waited = time.monotonic() - began
                left = self._config.busy_timeout - waited
                if not is_busy(error) or left <= 0:
                    raise
                delay = min(_LONGEST_DELAY, max(_FIRST_DELAY, waited * _SHARE_OF_WAIT))
                time.sleep(min(left, delay * random.uniform(0.5, 1.0)))
                group = self._without_withdrawn(group)
                if not group:
                    return (), Committed((), NO_EVENTS)

    def _without_withdrawn(self, group: Sequence[Operation]) -> Sequence[Operation]:
        """Return the operations of an uncommitted group that are still wanted; release the callers of the others."""
        left: list[Operation] = []
        for operation in group:
            if operation.withdrawn and operation.may_be_dropped:
                operation.dropped = True
            else:
                left.append(operation)
        if len(left) < len(group):
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                self._loop.call_soon_threadsafe(self._answer_dropped, group)
        return left

    @staticmethod
    def _answer_dropped(group: Sequence[Operation]) -> None:
        for operation in group:
            if operation.dropped and not operation.future.done():
                operation.future.set_result(None)

    def _explain(self, error: Exception, operation: Operation) -> Exception:
        request = operation.jobs if isinstance(operation, Enqueue) else None
        if is_busy(error):
            explained = BackendConnectionError(
                locked_message(self._config.file, self._config.busy_timeout), request=request, transient=False
            )
        elif isinstance(error, sqlite3.Error):
            explained = translate(error, str(self._config.file))
        else:
            return error
        explained.__cause__ = error
        return explained


def _turn(answered: tuple[Operation, Any]) -> int:
    """Return when an operation is answered: claims first, then submissions, then the members of the group."""
    operation = answered[0]
    return 2 if type(operation.future) is Reply else type(operation) is Enqueue
