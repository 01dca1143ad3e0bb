"""Define the tables of the tracker's records, and migrate older ones.

They stand in the file of a store, beside its tables, and have a version of their own: ``user_version`` is the store's.
Nothing here reads or writes another table.
"""

from __future__ import annotations

import sqlite3

from asyncjobs.exceptions import SchemaVersionError

VERSION = 1

_V1 = (
    # The number is the order of the last save: a row that is saved again gets a new one, at the end. saved_at: µs.
    """
    CREATE TABLE tracked_jobs(
      n INTEGER PRIMARY KEY,
      movie_id TEXT NOT NULL,
      id TEXT NOT NULL,
      type TEXT NOT NULL,
      status TEXT NOT NULL,
      scene_id TEXT,
      character_id INTEGER,
      error TEXT,
      retry_count INTEGER NOT NULL,
      max_retries INTEGER NOT NULL,
      output_path TEXT,
      created_at TEXT NOT NULL,
      updated_at TEXT NOT NULL,
      saved_at INTEGER NOT NULL,
      metadata TEXT NOT NULL
    )""",
    "CREATE UNIQUE INDEX tracked_jobs_key ON tracked_jobs(movie_id, id)",
    "CREATE INDEX tracked_jobs_id ON tracked_jobs(id)",
    """
    CREATE TABLE tracked_states(
      movie_id TEXT PRIMARY KEY,
      screenplay_complete INTEGER NOT NULL,
      characters_complete INTEGER NOT NULL,
      images_complete INTEGER NOT NULL,
      videos_complete INTEGER NOT NULL,
      post_production_complete INTEGER NOT NULL,
      screenplay_hash TEXT,
      created_at TEXT NOT NULL,
      updated_at TEXT NOT NULL,
      screenplay_data TEXT
    )""",
    # Old files that were imported, and how each looked then: size in bytes, and time of its last change in ns.
    """
    CREATE TABLE tracked_imports(
      source TEXT PRIMARY KEY,
      size INTEGER NOT NULL,
      changed_at INTEGER NOT NULL,
      imported_at INTEGER NOT NULL
    )""",
    # Movies of which a tracker has submitted jobs: they have some in the store, which are not here.
    "CREATE TABLE tracked_submissions(movie_id TEXT PRIMARY KEY)",
    "CREATE TABLE tracked_version(version INTEGER NOT NULL)",
    "INSERT INTO tracked_version VALUES (0)",
)

MIGRATIONS: dict[int, tuple[str, ...]] = {0: _V1}
"""The statements that lead to the next version, by version."""


def read_version(connection: sqlite3.Connection, where: str) -> int:
    """Return the version of the tables; 0 if there are none.

    :raises SchemaVersionError: they were written by a newer version of this package.
    """
    if not connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'tracked_version'").fetchone()[0]:
        return 0
    version: int = connection.execute("SELECT version FROM tracked_version").fetchone()[0]
    if version > VERSION:
        raise SchemaVersionError(f"{where} (records of the job tracker)", version, VERSION)
    return version


def migrate(connection: sqlite3.Connection, where: str) -> None:
    """Make the tables, or bring them to this version, in one transaction.

    :raises SchemaVersionError: they are newer.
    """
    if read_version(connection, where) == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for step in range(read_version(connection, where), VERSION):  # another process may have been first
            for statement in MIGRATIONS[step]:
                connection.execute(statement)
            connection.execute("UPDATE tracked_version SET version = ?", (step + 1,))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
