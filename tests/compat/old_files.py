"""Files as the old tracker left them: with and without the two columns that came later, in both kinds of journal."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

COUNTERS = "retry_count INTEGER DEFAULT 0, max_retries INTEGER DEFAULT 3,"


def schema(*, counters: bool) -> str:
    return f"""
    CREATE TABLE jobs(id TEXT PRIMARY KEY, movie_id TEXT NOT NULL, type TEXT NOT NULL, status TEXT NOT NULL,
      scene_id TEXT, character_id INTEGER, metadata TEXT, error TEXT, {COUNTERS if counters else ""}
      output_path TEXT, created_at TEXT NOT NULL, updated_at TEXT NOT NULL);
    CREATE INDEX idx_movie_id ON jobs(movie_id);
    CREATE INDEX idx_status ON jobs(status);
    CREATE INDEX idx_type ON jobs(type);
    CREATE TABLE pipeline_states(movie_id TEXT PRIMARY KEY, screenplay_complete INTEGER DEFAULT 0,
      characters_complete INTEGER DEFAULT 0, images_complete INTEGER DEFAULT 0, videos_complete INTEGER DEFAULT 0,
      post_production_complete INTEGER DEFAULT 0, screenplay_data TEXT, screenplay_hash TEXT,
      created_at TEXT NOT NULL, updated_at TEXT NOT NULL);
    """


def old_job(job_id: Any, movie: Any = "m1", status: Any = "completed", **fields: Any) -> dict[str, Any]:
    """A row as the old tracker wrote it."""
    return {
        "id": job_id, "movie_id": movie, "type": "image", "status": status, "scene_id": None, "character_id": None,
        "metadata": json.dumps({"prompt": "näive"}), "error": None, "output_path": f"{job_id}.png",
        "created_at": "2024-01-01T10:00:00.000123", "updated_at": "2024-01-01T11:00:00", **fields,
    }  # fmt: skip


def old_state(movie: str, **fields: Any) -> dict[str, Any]:
    return {
        "movie_id": movie, "images_complete": 1, "screenplay_data": json.dumps({"scenes": []}),
        "created_at": "2024-01-01T10:00:00", "updated_at": "2024-01-01T11:00:00", **fields,
    }  # fmt: skip


def put(connection: sqlite3.Connection, table: str, row: dict[str, Any]) -> None:
    sql = f"INSERT OR REPLACE INTO {table}({', '.join(row)}) VALUES ({', '.join('?' * len(row))})"
    connection.execute(sql, tuple(row.values()))


def write_old(
    path: Path,
    jobs: Iterable[dict[str, Any]] = (),
    states: Iterable[dict[str, Any]] = (),
    *,
    counters: bool = True,
    journal: str = "delete",
) -> Path:
    """Make a file of the old tracker."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode = {journal}")
        connection.executescript(schema(counters=counters))
        for job in jobs:
            put(connection, "jobs", job)
        for state in states:
            put(connection, "pipeline_states", state)
        connection.commit()
    return path


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
