"""Read through a pool of aiosqlite connections, each with a thread. Every read is a bounded page fetched whole.

Between reads no statement is open, so no reader pins the write-ahead log.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sqlite3
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import aiosqlite
import anyio

from asyncjobs.backends.sqlite.errors import get_code, is_busy, is_undecodable, lenient_text, locked_message, translate
from asyncjobs.backends.sqlite.files import StoreFile, open_connection
from asyncjobs.clock import Clock, SystemClock
from asyncjobs.config import SQLiteConfig
from asyncjobs.core.state import SECOND
from asyncjobs.daemon_threads import in_thread
from asyncjobs.exceptions import BackendClosedError, BackendConnectionError

THREAD_NAME = "asyncjobs-reader"
_BUSY_TIMEOUT = 0.05
"""Seconds that SQLite itself waits in the thread; longer waits are on the loop, where they can be cancelled."""
_SETTLE_TIMEOUT = 5.0
"""Seconds that a cancelled or closing caller waits for a thread to be done with a statement."""
_INTERRUPT_EVERY = 0.01
_FIRST_DELAY = 0.005
_LONGEST_DELAY = 0.25


class Readers:
    """A pool of at most ``config.readers`` connections, opened when they are first needed; first come, first served.

    All methods are called on one asyncio event loop.

    :param file: the file that must still be at ``path``. Default: any file.
    """

    def __init__(
        self,
        config: SQLiteConfig,
        path: str | os.PathLike[str],
        clock: Clock | None = None,
        file: StoreFile | None = None,
    ) -> None:
        self._config = config
        self._file = file
        self._where = os.fspath(path)
        self._clock: Clock = SystemClock() if clock is None else clock
        self._places = anyio.Semaphore(config.readers, fast_acquire=True)
        self._idle: list[aiosqlite.Connection] = []
        self._lent: set[aiosqlite.Connection] = set()
        self._left: set[asyncio.Future[Any]] = set()  # work that continues after its caller gave up
        self._closed = False
        self._lenient = False
        """Whether the file has texts that are not UTF-8, which are then decoded with escapes."""

    @property
    def lent(self) -> int:
        """Return how many connections are reading now."""
        return len(self._lent)

    async def fetch(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of one statement, in one hop to a thread and back.

        If the caller is cancelled, its statement is stopped and its connection stays usable.

        :raises BackendConnectionError: the file stayed locked for ``config.busy_timeout`` seconds.
        :raises BackendClosedError: the pool is closed.
        :raises BackendError: see ``errors.translate``.
        """
        deadline: int | None = None
        tries = spelled = 0
        while True:
            try:
                return await self._fetch_once(sql, params)
            except (sqlite3.Error, BackendConnectionError) as error:
                if self._closed:
                    raise _closed() from error
                if isinstance(error, sqlite3.Error) and is_undecodable(error) and spelled < self._config.readers:
                    self._lenient = True  # its connection was closed; idle ones may follow
                    spelled += 1
                    continue
                if isinstance(error, sqlite3.Error) and not is_busy(error):
                    # In a thread: it reads the state of the file, to find out what happened to it.
                    raise await in_thread(translate, error, self._where) from error
                tries += 1
                now = self._clock.monotonic()
                if deadline is None:
                    deadline = now + round(self._config.busy_timeout * SECOND)
                if now >= deadline:
                    raise await self._locked(tries) from error
                delay = min(_LONGEST_DELAY, _FIRST_DELAY * 2 ** min(tries, 10)) * random.uniform(0.5, 1.0)
                await self._clock.sleep(min(delay, (deadline - now) / SECOND))

    async def close(self) -> None:
        """Let reads that have begun end, then close every connection, also if the caller is cancelled meanwhile.

        A second call does nothing.
        """
        if self._closed:
            return
        self._closed = True
        ending = asyncio.ensure_future(self._end())
        with anyio.CancelScope(shield=True):
            try:
                await asyncio.shield(ending)
            except asyncio.CancelledError:  # by asyncio itself, which no shield of anyio stops
                await self._outlast(ending, 2 * _SETTLE_TIMEOUT)
                raise

    async def _end(self) -> None:
        try:
            with anyio.move_on_after(_SETTLE_TIMEOUT):
                await self._all_places()
        finally:
            for connection in tuple(self._lent):  # far too slow for a page: its caller gets an error and closes it
                await connection.interrupt()
            while self._idle:
                await self._discard(self._idle.pop())

    async def _all_places(self) -> None:
        taken = 0
        try:
            while taken < self._config.readers:
                await self._places.acquire()
                taken += 1
        finally:
            for _ in range(taken):  # callers that wait find the pool closed
                self._places.release()

    async def _fetch_once(self, sql: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
        if self._closed:
            raise _closed()
        await self._places.acquire()
        try:
            connection = self._take_idle() or await self._connect()
            self._lent.add(connection)
            usable = False
            try:
                rows = await connection.execute_fetchall(sql, params)
                usable = True
            except sqlite3.Error as error:
                # After damage, a lost disk or the like, the next read gets a new connection.
                usable = is_busy(error)
                raise
            except asyncio.CancelledError:
                usable = await self._settle(connection)
                raise
            finally:
                self._lent.discard(connection)
                if usable and not self._closed:
                    self._idle.append(connection)
                else:
                    await self._discard(connection)
            return rows  # type: ignore[return-value]  # without a row factory, rows are tuples
        finally:
            self._places.release()

    def _take_idle(self) -> aiosqlite.Connection | None:
        """Return a connection that is open already, after checking that the pool and its file are as they were."""
        if self._closed:
            raise _closed()
        if self._file is not None:
            self._file.check()
        return self._idle.pop() if self._idle else None

    async def _connect(self) -> aiosqlite.Connection:
        opening = asyncio.ensure_future(self._open())
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            await self._outlast(opening, _SETTLE_TIMEOUT)
            if opening.done() and opening.exception() is None:
                await self._discard(opening.result())
            raise

    async def _open(self) -> aiosqlite.Connection:
        connection = aiosqlite.Connection(
            partial(
                open_connection,
                self._config,
                self._where,
                busy_timeout=_BUSY_TIMEOUT,
                read_only=True,
                file=self._file,
            ),
            64,
        )
        # A program that forgets to close must still be able to end. Up to aiosqlite 0.21, a connection is its thread.
        thread: Any = getattr(connection, "_thread", connection)
        thread.daemon = True
        thread.name = THREAD_NAME
        try:
            opened = await connection
        except BaseException:
            # aiosqlite asks the thread to end without waiting for it. The loop may be gone by the time it has ended.
            await in_thread(thread.join, _SETTLE_TIMEOUT)
            raise
        if self._lenient:
            opened.text_factory = lenient_text
        return opened

    async def _settle(self, connection: aiosqlite.Connection) -> bool:
        """Wait until the thread is done with the cancelled statement, and return whether it can be used again."""
        probe = asyncio.ensure_future(connection.execute_fetchall("SELECT 1"))  # its turn comes after that statement
        deadline = time.monotonic() + _SETTLE_TIMEOUT
        while not probe.done() and time.monotonic() < deadline:
            await connection.interrupt()  # again and again: it stops only what has begun
            await self._outlast(probe, _INTERRUPT_EVERY)
        if not probe.done():
            return False
        error = probe.exception()
        return error is None or (isinstance(error, sqlite3.Error) and get_code(error) == sqlite3.SQLITE_INTERRUPT)

    async def _discard(self, connection: aiosqlite.Connection) -> None:
        await self._outlast(asyncio.ensure_future(connection.close()), _SETTLE_TIMEOUT)

    async def _outlast(self, work: asyncio.Future[Any], seconds: float) -> None:
        """Wait for ``work`` for a bounded time, even if the caller is cancelled repeatedly meanwhile."""
        self._left.add(work)
        work.add_done_callback(self._done)
        deadline = time.monotonic() + seconds
        with anyio.CancelScope(shield=True):
            while not work.done() and (left := deadline - time.monotonic()) > 0:
                # The shield stops only anyio's own cancellation. The caller's first one is raised afterwards.
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait([work], timeout=left)

    def _done(self, work: asyncio.Future[Any]) -> None:
        self._left.discard(work)
        if not work.cancelled():
            work.exception()  # retrieved here, because no caller is left to do it

    async def _locked(self, tries: int) -> BackendConnectionError:
        # In a thread: it reads files of /proc to find the holder of the lock.
        message = await in_thread(locked_message, self._where, self._config.busy_timeout)
        return BackendConnectionError(message, tries=tries, transient=False)


def _closed() -> BackendClosedError:
    return BackendClosedError("the store is closed")
