"""Opening a store."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncjobs import SQLiteConfig
from asyncjobs.backends.sqlite import opening
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


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_connection_that_is_open_when_its_caller_has_gone_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second cancel of asyncio breaks a shield: then nobody waits for the thread that opens the store."""
    open_once = opening._open_once
    is_open, may_return, returned = threading.Event(), threading.Event(), threading.Event()
    made: list[sqlite3.Connection] = []

    def slow(*args: Any) -> Any:
        connection, file = open_once(*args)
        made.append(connection)
        is_open.set()
        may_return.wait(10)
        return connection, file

    def run(self: opening._Opening) -> Any:
        try:
            return whole(self)
        finally:
            returned.set()

    whole = opening._Opening.run
    monkeypatch.setattr(opening, "_open_once", slow)
    monkeypatch.setattr(opening._Opening, "run", run)
    task = asyncio.create_task(open_store(SQLiteConfig(db_path=lay_out(tmp_path / "jobs.db"))))
    await anyio.to_thread.run_sync(is_open.wait, 10)
    for _ in range(2):
        task.cancel()
        await anyio.wait_all_tasks_blocked()
    with pytest.raises(asyncio.CancelledError):
        await task
    may_return.set()
    await anyio.to_thread.run_sync(returned.wait, 10)
    with pytest.raises(sqlite3.ProgrammingError, match="closed database"):
        made[0].execute("SELECT 1")
