"""A file with jobs that ask and wait, for tests of what SQLite keeps of gates."""

from __future__ import annotations

import sqlite3

from asyncjobs import SQLiteConfig
from asyncjobs.backends.sqlite.writer import Writer
from tests.conformance.gates import HOUR, ask, asking, gate, park
from tests.conformance.support import Hand, Store, new


def connect(store: Store) -> sqlite3.Connection:
    config: SQLiteConfig = store.backend.config
    return sqlite3.connect(config.file, isolation_level=None)


async def scene(store: Store) -> Hand:
    """``a`` is parked on ``a/q``, which has a timeout; ``b`` runs, its question ``b/q`` is open; and others do well."""
    hand, (a, b) = await asking(store, "a", "b", group="films")
    await ask(store, a, timeout=HOUR)
    await ask(store, b)
    await store.submit(gate("well", timeout=HOUR, group="films"), new("after", "a/q"), new("job"))
    await park(store, a, "a/q")
    return hand


def traced(store: Store) -> list[str]:
    """The statements of the writer, from now on."""
    statements: list[str] = []
    writer: Writer = store.backend._writer
    writer.connection.set_trace_callback(statements.append)
    return statements
