"""Counters on a running engine: the statements of its connections with their times, and what its loop was given."""

from __future__ import annotations

import asyncio
import gc
import re
import selectors
import sqlite3
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar

from msgspec import Struct

_FROM = re.compile(r"\bFROM\s+(\w+)")


class Statement(Struct):
    """How often a statement was run, and the seconds that it took."""

    times: int = 0
    seconds: float = 0.0


def name_of(sql: str) -> str:
    """Return the kind of a statement: its verb and its table."""
    words = sql.split()
    verb = words[0]
    if verb in ("INSERT", "DELETE"):
        return " ".join(words[: words.index("INTO" if verb == "INSERT" else "FROM") + 2]).partition("(")[0]
    if verb == "SELECT":
        found = _FROM.search(sql)
        return f"SELECT FROM {found[1]}" if found else "SELECT"
    return " ".join(words[: {"COMMIT": 1, "BEGIN": 1}.get(verb, 2)])


class CountingConnection(sqlite3.Connection):
    """A connection that knows what it has run. A statement that fails counts, too."""

    opened: ClassVar[list[CountingConnection]] = []

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.statements: dict[str, Statement] = {}
        self.between = 0.0
        """Seconds from each BEGIN to its COMMIT that are spent in no statement."""
        self._begun = self._busy = 0.0
        CountingConnection.opened.append(self)

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        """Run a statement, and count it."""
        since = time.perf_counter()
        try:
            return super().execute(sql, *parameters)
        finally:
            self._count(sql, since)

    def executemany(self, sql: str, rows: Iterable[Any]) -> sqlite3.Cursor:
        """Run a statement for each row, and count it once."""
        since = time.perf_counter()
        try:
            return super().executemany(sql, rows)
        finally:
            self._count(sql, since)

    def _count(self, sql: str, since: float) -> None:
        now = time.perf_counter()
        statement = self.statements.setdefault(sql, Statement())
        statement.times += 1
        statement.seconds += now - since
        if sql.startswith("BEGIN"):
            self._begun, self._busy = since, 0.0
        self._busy += now - since
        if sql == "COMMIT":
            self.between += now - self._begun - self._busy

    def by_name(self) -> dict[str, Statement]:
        """Return what was run, by kind."""
        found: dict[str, Statement] = {}
        for sql, statement in self.statements.items():
            one = found.setdefault(name_of(sql), Statement())
            one.times += statement.times
            one.seconds += statement.seconds
        return found

    @property
    def commits(self) -> int:
        """Return how many transactions it has committed."""
        return self.by_name().get("COMMIT", Statement()).times


@contextmanager
def counted_connections() -> Generator[list[CountingConnection]]:
    """Have all connections of this process count from now on; they are listed as they are opened."""
    connect = sqlite3.connect
    CountingConnection.opened = []
    sqlite3.connect = partial(connect, factory=CountingConnection)
    try:
        yield CountingConnection.opened
    finally:
        sqlite3.connect = connect


def forget(connections: Iterable[CountingConnection]) -> None:
    """Begin again, on connections that are open."""
    for connection in connections:
        connection.statements.clear()
        connection.between = 0.0


class CountingLoop(asyncio.SelectorEventLoop):
    """An event loop that counts tasks, futures, calls that it was given, and its own turns."""

    def __init__(self) -> None:
        super().__init__(_CountingSelector(self))
        self.tasks = self.futures = self.calls = self.turns = 0

    def forget(self) -> None:
        """Begin again."""
        self.tasks = self.futures = self.calls = self.turns = 0

    def create_task(self, *arguments: Any, **options: Any) -> asyncio.Task[Any]:
        """Make a task."""
        self.tasks += 1
        return super().create_task(*arguments, **options)

    def create_future(self) -> asyncio.Future[Any]:
        """Make a future."""
        self.futures += 1
        return super().create_future()

    def call_soon(self, *arguments: Any, **options: Any) -> asyncio.Handle:
        """Have something called in the next turn."""
        self.calls += 1
        return super().call_soon(*arguments, **options)


class _CountingSelector(selectors.SelectSelector):
    """The loop asks it once a turn."""

    def __init__(self, loop: CountingLoop) -> None:
        super().__init__()
        self._of = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._of.turns += 1
        return super().select(timeout)


@contextmanager
def collecting() -> Generator[list[float]]:
    """Measure the seconds of each collection of garbage."""
    began, taken = 0.0, list[float]()

    def note(phase: str, _: object) -> None:
        nonlocal began
        if phase == "start":
            began = time.perf_counter()
        else:
            taken.append(time.perf_counter() - began)

    gc.callbacks.append(note)
    try:
        yield taken
    finally:
        gc.callbacks.remove(note)
