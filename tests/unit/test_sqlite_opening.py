"""Opening a store."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from asyncjobs import SQLiteConfig
from asyncjobs.backends.sqlite.opening import open_store
from tests.new_files import lay_out

pytestmark = pytest.mark.anyio


async def test_a_store_of_this_version_needs_one_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing another one, the last of its file for a moment, would write the log back and remove it."""
    made: list[str] = []
    connect = sqlite3.connect

    def counted(where: str, **options: Any) -> sqlite3.Connection:
        made.append(where)
        return connect(where, **options)

    path = lay_out(tmp_path / "jobs.db")
    monkeypatch.setattr(sqlite3, "connect", counted)
    connection, _ = await open_store(SQLiteConfig(db_path=path))
    connection.close()
    assert made == [f"{path.as_uri()}?mode=rw"]
