"""The stores that a storm may rage over: how its processes open one, and how it is read when all is over."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import anyio

from asyncjobs import SQLiteBackend, SQLiteConfig
from asyncjobs.backends.base import JobBackend
from tests.faults import checker
from tests.faults.try_lock import attempt

Hook = Callable[[str], None]
"""Called with the name of each point of a commit that a process comes to."""


class StormStore(Protocol):
    """A store, as the test has it."""

    points: tuple[str, ...]
    """The points of a commit that its processes announce."""
    tolerance: float
    """Seconds beyond a lease after which a worker is taken for dead."""

    @property
    def argument(self) -> str:
        """The store, as its processes are told of it."""
        ...

    def may_freeze(self) -> bool:
        """Return whether a process that was stopped just now may stay so, without stopping all others."""
        ...

    def read(self) -> checker.Stored:
        """Read all of it, when no process writes."""
        ...


@dataclass(frozen=True)
class InFile:
    """A file of SQLite."""

    path: Path
    points: tuple[str, ...] = ("begin", "before-commit", "after-commit")
    tolerance: float = 0.0

    @property
    def argument(self) -> str:
        """The path."""
        return str(self.path)

    def may_freeze(self) -> bool:
        """Return False if a process holds the write lock: perhaps the one that was stopped."""
        return attempt(str(self.path)) == "free"

    def read(self) -> checker.Stored:
        """Read the tables."""
        return checker.read_store(self.path)


@dataclass(frozen=True)
class InTable:
    """A table of DynamoDB, and a queue of SQS.

    :param faults: draws faults of the clients of each process; None: there are none.
    """

    config: Any = field(hash=False)
    faults: int | None = None
    points: tuple[str, ...] = ("before-commit", "after-commit")
    tolerance: float = 2.0

    @property
    def argument(self) -> str:
        """The settings."""
        return settings_of(self.config, faults=self.faults)

    def may_freeze(self) -> bool:
        """Return True: nothing is locked."""
        return True

    def read(self) -> checker.Stored:
        """Read the rows and the log."""
        from tests.faults.sqs_reading import read_store

        return anyio.run(read_store, self.config)


def settings_of(config: Any, *, faults: int | None = None) -> str:
    """Return the settings of a store in SQS, for ``open_store``."""
    names = ("table", "queue_url", "endpoint_url", "region", "wait_time", "visibility_timeout", "shards", "create")
    return json.dumps({name: getattr(config, name) for name in names} | {"faults": faults})


def open_store(argument: str, hook: Hook = lambda point: None, **settings: Any) -> JobBackend:
    """Make the backend of a process of the storm.

    :param settings: those that only a file has.
    """
    if not argument.startswith("{"):
        return SQLiteBackend(SQLiteConfig(db_path=argument, **settings), hook=hook)
    from asyncjobs import SQSConfig
    from tests.faults.sqs_hooked import HookedBackend

    given = json.loads(argument)
    faults = given.pop("faults")
    return HookedBackend(SQSConfig(**given), hook, None if faults is None else faults + os.getpid())
