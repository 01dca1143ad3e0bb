"""Renew the leases of this process's workers, in a thread with its own connection.

The thread needs neither the event loop nor the writer, so no lease is lost to a busy loop, a long job or a long queue
of writes.
"""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time

from msgspec import Struct

from asyncjobs.backends.sqlite.files import StoreFile, open_connection
from asyncjobs.clock import Clock
from asyncjobs.config import SQLiteConfig
from asyncjobs.core.state import SECOND

_RENEW = "UPDATE workers SET expires = ? WHERE n = ? AND gone = 0"
_FIRST_RETRY = 0.05
_LONGEST_RETRY = 1.0
_CLOSING = 1.0
"""Seconds that ``close`` waits beyond the longest time a write may take."""


class _Beat(Struct):
    """A worker's heartbeat. ``lease`` and ``written`` are µs, ``every`` is seconds, ``due`` is ``time.monotonic()``."""

    lease: int
    every: float
    due: float
    written: int
    failures: int = 0
    lost: bool = False


class Heartbeat:
    """A thread that renews worker rows until they are removed. Its methods are thread-safe; only ``close`` waits.

    :param clock: leases count by its ``monotonic()``.
    :param file: the file that must be at ``path``: the number of a worker means nothing in another store.
    """

    def __init__(
        self,
        config: SQLiteConfig,
        path: str | os.PathLike[str],
        clock: Clock,
        file: StoreFile | None = None,
    ) -> None:
        self._config = config
        self._file = file
        self._path = path
        self._clock = clock
        self._changed = threading.Condition()
        self._beats: dict[int, _Beat] = {}
        self._closed = False
        self._thread: threading.Thread | None = None
        self._connection: sqlite3.Connection | None = None  # the thread's own
        self._last_error: str | None = None

    def add(self, worker_n: int, lease_us: int, every_s: float) -> None:
        """Renew this worker, whose row was just written, every ``every_s`` seconds for ``lease_us`` µs."""
        with self._changed:
            if self._closed:
                return
            self._beats[worker_n] = _Beat(lease_us, every_s, time.monotonic() + every_s, self._clock.monotonic())
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="asyncjobs-heartbeat", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def remove(self, worker_n: int) -> None:
        """Stop renewing this worker. A beat that is being written right now does not revive a row that is gone."""
        with self._changed:
            self._beats.pop(worker_n, None)
            self._changed.notify_all()

    def beat(self) -> None:
        """Renew every worker now, without waiting for it to be done."""
        with self._changed:
            for beat in self._beats.values():
                beat.due = 0.0
            self._changed.notify_all()

    def last_written(self, worker_n: int) -> int | None:
        """Return when this worker's lease was last renewed, µs of ``clock.monotonic()``; None for an unknown worker."""
        with self._changed:
            beat = self._beats.get(worker_n)
            return None if beat is None else beat.written

    def is_lost(self, worker_n: int) -> bool:
        """Return whether the row was found marked as gone: the worker was taken for dead, and is no longer renewed."""
        with self._changed:
            beat = self._beats.get(worker_n)
            return beat is not None and beat.lost

    def wait_written(self, worker_n: int, since: int, timeout: float) -> bool:
        """Block until a lease renewed at or after ``since`` (µs) is stored; False after ``timeout`` seconds."""
        with self._changed:

            def written() -> bool:
                beat = self._beats.get(worker_n)
                return beat is None or beat.lost or beat.written >= since

            self._changed.wait_for(written, timeout)
            beat = self._beats.get(worker_n)
            return beat is not None and not beat.lost and beat.written >= since

    @property
    def last_error(self) -> str | None:
        """Return why the last write failed; None if it did not."""
        with self._changed:
            return self._last_error

    def close(self) -> None:
        """Stop and close the connection, waiting for a write that has begun, at most a third of a lease."""
        with self._changed:
            self._closed = True
            longest = max((_patience(beat) for beat in self._beats.values()), default=0.0)
            self._beats.clear()
            self._changed.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(longest + _CLOSING)

    # -- in the thread

    def _run(self) -> None:
        try:
            while (due := self._next_due()) is not None:
                for worker_n, beat in due:
                    self._renew(worker_n, beat)
        finally:
            self._drop_connection()

    def _next_due(self) -> list[tuple[int, _Beat]] | None:
        """Wait until beats are due, and return them; None once closed."""
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                waiting = [(n, beat) for n, beat in self._beats.items() if not beat.lost]
                due = [(n, beat) for n, beat in waiting if beat.due <= now]
                if due:
                    return due
                self._changed.wait(min((beat.due - now for _, beat in waiting), default=None))
            return None

    def _renew(self, worker_n: int, beat: _Beat) -> None:
        with self._changed:
            if self._beats.get(worker_n) is not beat:
                return  # removed since
        moment = self._clock.monotonic()  # before the wait for the lock: the lease is never longer than promised
        error: str | None = None
        alive = True
        try:
            alive = self._write(worker_n, moment + beat.lease, _patience(beat))
        except Exception as problem:  # border: without this thread, every lease of the process would run out
            error = f"{type(problem).__name__}: {problem.args[0] if problem.args else ''}"
            self._drop_connection()  # the next try begins with a new one
        with self._changed:
            self._last_error = error
            if error is None:
                beat.failures = 0
                beat.lost = not alive
                if alive:
                    beat.written = moment
                beat.due = time.monotonic() + beat.every
            else:
                beat.failures += 1
                delay = min(_LONGEST_RETRY, beat.every, _FIRST_RETRY * 2 ** min(beat.failures, 8))
                beat.due = time.monotonic() + delay * random.uniform(0.5, 1.0)
            self._changed.notify_all()

    def _write(self, worker_n: int, expires: int, patience: float) -> bool:
        """Write a beat, and return whether the row was there to be renewed."""
        if self._connection is None:
            connection = open_connection(self._config, self._path, busy_timeout=patience, file=self._file)
            self._connection = connection
            # A lease need not survive a power failure, which ends its worker, too. So a slow disk delays no beat.
            connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute(f"PRAGMA busy_timeout = {round(patience * 1000)}")
        return self._connection.execute(_RENEW, (expires, worker_n)).rowcount > 0

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _patience(beat: _Beat) -> float:
    """Return the seconds that one write may wait for the lock, so that two more tries fit into the lease."""
    return beat.lease / SECOND / 3
