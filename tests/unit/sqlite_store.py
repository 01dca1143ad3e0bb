"""A database file filled by hand: rows as the writer would write them, one statement a row."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from msgspec import json, msgpack

from asyncjobs.backends.sqlite.files import open_connection, prepare_file
from asyncjobs.backends.sqlite.schema import migrate
from asyncjobs.config import SQLiteConfig

HOST = ("here", "boot", "pid:[1]", 7, "99")
"""Host, boot, pid namespace, pid and start of the workers."""


class Store:
    """Has two lanes: 1 is ``app:draw`` in ``default`` for anybody, 2 is ``app:write`` in ``slow`` for worker w1."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.position = 0

    def insert(self, table: str, **columns: Any) -> None:
        marks = ", ".join("?" * len(columns))
        self.connection.execute(f"INSERT INTO {table}({', '.join(columns)}) VALUES ({marks})", tuple(columns.values()))

    def job(self, n: int, *, metadata: dict[str, Any] | None = None, **columns: Any) -> None:
        row: dict[str, Any] = {
            "id": f"job-{n}",
            "lane": 1,
            "status": 0,
            "waits_for": 0,
            "priority": 0,
            "max_interruptions": 3,
            "local": 0,
            "created_at": 1_000_000 * n,
            "seq": 1,
        }
        row |= columns
        if row["status"] != 0:
            row["waits_for"] = columns.get("waits_for")
        row |= {"call": b"", "injects": 0, "metadata": None if metadata is None else json.encode(metadata).decode()}
        self.insert("jobs", n=n, **row)

    def event(self, job: int, seq: int, kind: str = "log", data: dict[str, Any] | None = None, **columns: Any) -> None:
        self.position += 1
        encoded = None if data is None else msgpack.encode(data)
        row: dict[str, Any] = {"at": self.position, "attempt": 1, "data": encoded} | columns
        self.insert("events", position=self.position, job=job, seq=seq, type=kind, **row)

    def worker(self, n: int, **columns: Any) -> None:
        host, boot, namespace, pid, start = HOST
        row = {
            "name": f"worker-{n}",
            "slots": 4,
            "host": host,
            "boot": boot,
            "pid_namespace": namespace,
            "pid": pid,
            "process_start": start,
            "registered_at": 0,
            "lease": 1000,
            "expires": 5000,
        } | columns
        self.insert("workers", n=n, **row)


@contextmanager
def new_store(config: SQLiteConfig) -> Generator[Store, None, None]:
    """A new file with an open, writing connection."""
    path = prepare_file(config)
    connection = open_connection(config, path, busy_timeout=1)
    try:
        migrate(connection, str(path))
        store = Store(connection)
        store.insert("lanes", n=1, queue="default", function="app:draw", owner=None)
        store.insert("lanes", n=2, queue="slow", function="app:write", owner="w1")
        yield store
    finally:
        connection.close()
