"""Write the write-ahead log back into the database, in a thread with its own connection.

Commits never checkpoint (``wal_autocheckpoint = 0``): with several busy processes, that made them slow and the log
huge. The next commits overwrite what was written back: writing and syncing a file of constant length is faster than
growing it. ``close`` truncates the log.
"""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time

from msgspec import Struct

from asyncjobs.backends.sqlite.files import StoreFile, largest_log, open_connection
from asyncjobs.backends.sqlite.log_size import NO_LOG, LogSize, measure_log
from asyncjobs.config import SQLiteConfig

_BUSY_TIMEOUT = 0.2
"""Seconds that the end of a checkpoint may hold up writers while it waits for readers."""
_EVERY = 1.0
"""Seconds between checks without a nudge: another process may have died and left its log behind."""
_GAP = 0.05
"""Shortest time in seconds between checks, however often it is nudged."""
_FIRST_RETRY = 0.1
_LONGEST_RETRY = 5.0
_CLOSING = 10.0
"""Seconds that ``close`` waits for the last checkpoint."""


class CheckpointStatistics(Struct, frozen=True):
    """The work of the checkpointer so far.

    ``runs`` wrote back the whole log, ``busy`` found readers, writers or another checkpoint in the way, ``failures``
    are errors. ``last_error`` is that of the last run, None if it had none. ``seconds`` is all time spent, ``longest``
    that of the longest run.
    """

    runs: int = 0
    busy: int = 0
    failures: int = 0
    last_error: str | None = None
    seconds: float = 0.0
    longest: float = 0.0


class Checkpointer:
    """A thread that keeps the -wal short until ``close``. Its methods are thread-safe."""

    def __init__(self, config: SQLiteConfig, path: str | os.PathLike[str], file: StoreFile | None = None) -> None:
        self._config = config
        self._file = file
        self._path = os.path.realpath(path)
        self._log = f"{self._path}-wal"
        self._changed = threading.Condition()
        self._nudged = False
        self._looks = 0
        self._closed = False
        self._connection: sqlite3.Connection | None = None  # the thread's own
        self._page_size = 0  # bytes; read with the connection
        self._emptied = NO_LOG  # the log as it was when all of it had been written back
        self._statistics = CheckpointStatistics()
        self._refused = 0  # failed runs in a row
        self._not_before = 0.0
        self._thread = threading.Thread(target=self._run, name="asyncjobs-checkpoint", daemon=True)
        self._thread.start()

    def nudge(self) -> None:
        """Request a check of the log soon, after a commit. Costs next to nothing, and never blocks."""
        if not self._nudged:  # read without the lock: at worst the check comes with the next nudge, or in a second
            with self._changed:
                self._nudged = True
                self._changed.notify_all()

    @property
    def statistics(self) -> CheckpointStatistics:
        """Return its work so far."""
        with self._changed:
            return self._statistics

    def wait_looked(self, looks: int, timeout: float) -> bool:
        """Block until the log was checked (and written back where due) ``looks`` more times; False after a timeout."""
        with self._changed:
            wanted = self._looks + looks
            return self._changed.wait_for(lambda: self._looks >= wanted or self._closed, timeout)

    def close(self) -> None:
        """Make a last checkpoint and close the connection. Waits a bounded time; a second call does nothing."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not threading.current_thread():
            self._thread.join(_CLOSING)

    # -- in the thread

    def _run(self) -> None:
        try:
            while self._wait():
                if time.monotonic() >= self._not_before:
                    self._look()
                with self._changed:
                    self._looks += 1
                    self._changed.notify_all()
            if self._file_size() > 0:
                self._checkpoint(NO_LOG, "TRUNCATE")
        finally:
            self._drop_connection()

    def _wait(self) -> bool:
        """Wait for a reason to check the log; return False once closed."""
        with self._changed:
            if self._looks:
                self._changed.wait_for(lambda: self._closed, _GAP)
                self._changed.wait_for(lambda: self._closed or self._nudged, _EVERY)
            self._nudged = False
            return not self._closed

    def _look(self) -> None:
        size = self._file_size()
        if size > self._config.checkpoint_size:
            log = measure_log(self._log)
            if log.since(self._emptied) > self._config.checkpoint_size:
                self._checkpoint(log, "RESTART" if size <= largest_log(self._config) else "TRUNCATE")

    def _file_size(self) -> int:
        try:
            return os.stat(self._log).st_size
        except OSError:
            return 0

    def _checkpoint(self, log: LogSize, end: str) -> None:
        began = time.monotonic()
        error: str | None = None
        done = False
        try:
            done = self._write_back(end)
        except Exception as problem:  # border: without this thread, the log would grow without end
            error = f"{type(problem).__name__}: {problem.args[0] if problem.args else ''}"
            self._drop_connection()  # the next try begins with a new one
        if done:
            self._emptied = log
        now = time.monotonic()
        self._refused = 0 if done else self._refused + 1
        if self._refused:
            delay = min(_LONGEST_RETRY, _FIRST_RETRY * 2 ** min(self._refused - 1, 10))
            self._not_before = now + delay * random.uniform(0.5, 1.0)
        with self._changed:
            before = self._statistics
            self._statistics = CheckpointStatistics(
                runs=before.runs + done,
                busy=before.busy + (not done and error is None),
                failures=before.failures + (error is not None),
                last_error=error,
                seconds=before.seconds + now - began,
                longest=max(before.longest, now - began),
            )

    def _write_back(self, end: str) -> bool:
        """Run a checkpoint, and return whether all of the log is in the database now.

        :param end: RESTART: the next commit writes over it. TRUNCATE: it is emptied.
        """
        if self._connection is None:
            self._connection = open_connection(self._config, self._path, busy_timeout=_BUSY_TIMEOUT, file=self._file)
            self._page_size = self._connection.execute("PRAGMA page_size").fetchone()[0]
        # PASSIVE blocks no other connection, and copies nearly all: what was committed meanwhile is left. If more is
        # left, a reader needs an older snapshot; RESTART and TRUNCATE would wait for it in vain, and block the writers.
        busy, pages, written = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if busy or (pages - written) * self._page_size > self._config.checkpoint_size:
            return False
        return not self._connection.execute(f"PRAGMA wal_checkpoint({end})").fetchone()[0]

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
