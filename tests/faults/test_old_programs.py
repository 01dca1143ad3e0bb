"""Programs of an older version while their file is migrated: a live worker is waited for, all others get errors."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from msgspec import structs

from asyncjobs import SQLiteBackend, SQLiteConfig
from asyncjobs.backends.base import AttemptEnd, AttemptRef
from asyncjobs.clock import SystemClock
from asyncjobs.core.state import SECOND, Stale
from asyncjobs.exceptions import BackendError
from asyncjobs.host import ProcessIdentity, this_process
from asyncjobs.models import JobStatus, Outcome, OutcomeKind
from tests.faults.test_migration import JOBS, content, made_by, opened, version

pytestmark = pytest.mark.anyio


@pytest.fixture
def fourth(tmp_path: Path) -> Path:
    return made_by(4, tmp_path)


async def test_while_a_worker_of_an_older_version_is_alive_nothing_is_migrated(fourth: Path, tmp_path: Path) -> None:
    register(fourth, this_process(), lease=3600)
    before = content(fourth)
    with pytest.raises(BackendError, match=f"version 4 .* the worker first .* \\(pid {os.getpid()}\\)") as caught:
        await opened(fourth)
    assert caught.value.code == "old-worker"
    assert (version(fourth), content(fourth)) == (4, before)
    assert not list(tmp_path.glob("*.bak*")), "nor copied"


async def test_one_in_another_container_is_named_as_such(fourth: Path) -> None:
    register(fourth, structs.replace(this_process(), host="box", pid_namespace="pid:[2]", pid=1), lease=3600)
    with pytest.raises(BackendError, match=r"\(pid 1 of another container or host, box\)"):
        await opened(fourth)


@pytest.mark.parametrize("how", ["its process has ended", "its lease has run out", "of another boot", "unreadable"])
async def test_a_worker_that_is_dead_keeps_nobody_from_migrating(fourth: Path, how: str) -> None:
    me = this_process()
    match how:
        case "its process has ended":
            register(fourth, structs.replace(me, start="1"), lease=3600)
        case "its lease has run out":
            register(fourth, structs.replace(me, host="container", pid_namespace="pid:[2]"), lease=-1)
        case "of another boot":
            register(fourth, structs.replace(me, boot="another", host="container"), lease=3600)
        case _:
            register(fourth, structs.replace(me, host="container"), lease="?")
    assert len(await opened(fourth)) == JOBS[4]
    with closing(sqlite3.connect(fourth, isolation_level=None)) as old:
        renewed = old.execute("UPDATE workers SET expires = 9 WHERE n = 9 AND gone = 0")
        assert renewed.rowcount == 0, "one that only slept would hold jobs which it cannot end"


async def test_what_it_was_running_runs_again(fourth: Path) -> None:
    """It may wake up: it is not waited for, and nothing that it says counts any more."""
    register(fourth, structs.replace(this_process(), host="container"), lease=-1)
    with closing(sqlite3.connect(fourth)) as connection, connection:
        connection.execute("UPDATE jobs SET worker = 9 WHERE id = 'running'")
    async with SQLiteBackend(SQLiteConfig(db_path=fourth)) as backend:
        assert "running" in await backend.reap(expired=False)
        late = AttemptEnd(AttemptRef("running", 1, "w9"), Outcome(OutcomeKind.SUCCEEDED, value=b"v"))
        assert (await backend.update_job_status([late])).results == [Stale(1, JobStatus.PENDING)]


def register(path: Path, process: ProcessIdentity, lease: float | str) -> None:
    """A worker whose lease runs for so many seconds."""
    now = SystemClock().monotonic()
    length = lease if isinstance(lease, str) else round(lease * SECOND)
    expires = length if isinstance(length, str) else now + length
    identity = (process.host, process.boot, process.pid_namespace, process.pid, process.start)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO workers(n, name, slots, host, boot, pid_namespace, pid, process_start, registered_at, lease, "
            "expires) VALUES (9, 'first', 1, ?, ?, ?, ?, ?, 0, ?, ?)",
            (*identity, length, expires),
        )


async def test_a_program_of_an_older_version_that_still_runs_can_write_nothing(fourth: Path) -> None:
    """Each of its transitions counts first, in a table that has another name now: it fails as a whole."""
    with closing(sqlite3.connect(fourth, isolation_level=None)) as old:
        old.execute("BEGIN IMMEDIATE")
        old.execute("UPDATE counters SET value = value + 1 WHERE name = 'event'")
        old.execute("COMMIT")
        await opened(fourth)
        old.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="no such table: counters"):
            old.execute("UPDATE counters SET value = value + 1 WHERE name = 'event'")


async def test_nor_does_it_take_small_values_for_missing_ones(fourth: Path) -> None:
    """They stand in rows of which it does not know: what it read as no result, and no metadata, is an error now."""
    read = "SELECT v.* FROM jobs j LEFT JOIN {} v ON v.n = j.n WHERE j.id = 'small'"
    with closing(sqlite3.connect(fourth, isolation_level=None)) as old:
        assert old.execute(read.format("results")).fetchone() == (13, b"r")
        await opened(fourth)
        for table in ("calls", "results"):
            with pytest.raises(sqlite3.OperationalError, match=f"no such table: {table}"):
                old.execute(read.format(table))
