"""Open stores and processors for tests in one process, with a failpoint in their commits."""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncjobs import RetryPolicy, SQLiteBackend, SQLiteConfig
from asyncjobs.backends.base import NewJob

POINTS = ("begin", "before-commit", "after-commit")


def sqlite_error(code: int, name: str, message: str) -> sqlite3.OperationalError:
    """An error as the driver raises it."""
    error = sqlite3.OperationalError(message)
    error.sqlite_errorcode = code
    error.sqlite_errorname = name
    return error


def full() -> sqlite3.OperationalError:
    return sqlite_error(sqlite3.SQLITE_FULL, "SQLITE_FULL", "database or disk is full")


def io_error() -> sqlite3.OperationalError:
    return sqlite_error(sqlite3.SQLITE_IOERR, "SQLITE_IOERR", "disk I/O error")


def busy() -> sqlite3.OperationalError:
    return sqlite_error(sqlite3.SQLITE_BUSY, "SQLITE_BUSY", "database is locked")


class Failpoint:
    """A hook of the backend that raises, or waits, at a point of the commit."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self._errors: dict[str, list[Exception]] = {}
        self.reached = threading.Event()
        self._stop: str | None = None
        self._go_on = threading.Event()

    def __call__(self, point: str) -> None:
        self.seen[point] += 1
        if point == self._stop and threading.current_thread() is not threading.main_thread():
            self._stop = None
            self.reached.set()
            assert self._go_on.wait(10)
        if self._errors.get(point):
            raise self._errors[point].pop(0)

    def fail(self, point: str, *errors: Exception) -> None:
        """Raise these, one a time."""
        self._errors[point] = list(errors)

    def stop_in_thread(self, point: str) -> None:
        """Hold the writer's thread at its next time at this point, until ``go_on``."""
        self.reached.clear()
        self._go_on.clear()
        self._stop = point

    def go_on(self) -> None:
        self._go_on.set()


def new_job(job_id: str, *, call: bytes = b"", **fields: Any) -> NewJob:
    """The least that the store takes."""
    return NewJob(id=job_id, function="tests:work", call=call, queue="default", retry=RetryPolicy(), **fields)


def opened(path: Path, hook: Failpoint, **settings: Any) -> SQLiteBackend:
    return SQLiteBackend(SQLiteConfig(db_path=path, **settings), hook=hook)


async def until(condition: Callable[[], Any]) -> None:
    """Let the loop turn until this holds, where nothing announces it."""
    with anyio.fail_after(15):
        while not condition():
            await anyio.sleep(0.001)


async def logged(caplog: pytest.LogCaptureFixture, text: str) -> None:
    """Wait for a log line."""
    await until(lambda: any(text in record.getMessage() for record in caplog.records))


async def stored_ids(backend: SQLiteBackend, ids: Sequence[str]) -> set[str]:
    return {job.id for job in await backend.get_jobs(ids)}
