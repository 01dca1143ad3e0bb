"""An older file is copied before it is changed, once, whoever opens it; and it is all there afterwards."""

from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from asyncjobs import SQLiteBackend, SQLiteConfig
from asyncjobs.backends.base import AttemptEnd, AttemptRef, ClaimRequest, NewWorker
from asyncjobs.backends.sqlite import backup, schema
from asyncjobs.backends.values import KeptStep
from asyncjobs.clock import from_datetime
from asyncjobs.core.requests import Answer, Keep
from asyncjobs.exceptions import BackendError, SchemaVersionError
from asyncjobs.models import JobError, JobStatus, Outcome, OutcomeKind, WaitsFor
from asyncjobs.requests import JobQuery
from asyncjobs.testing import ManualClock
from tests.conformance.gates import gate
from tests.faults import open_pretended
from tests.faults.children import Child
from tests.faults.stores import full, new_job
from tests.faults.test_bad_files import fingerprint

pytestmark = pytest.mark.anyio

OLD = schema.VERSION


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A file of this version with some jobs in it."""
    path = tmp_path / "jobs.db"
    async with SQLiteBackend(SQLiteConfig(db_path=path)) as backend:
        await backend.enqueue_jobs([new_job(f"j{i}") for i in range(50)])
    return path


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> int:
    """This package has the next schema version."""
    monkeypatch.setattr(schema, "VERSION", schema.VERSION)
    monkeypatch.setattr(schema, "MIGRATIONS", dict(schema.MIGRATIONS))
    open_pretended.pretend()
    return schema.VERSION


def content(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("PRAGMA user_version").fetchone()[0]


async def opened(path: Path) -> list[str]:
    async with SQLiteBackend(SQLiteConfig(db_path=path)) as backend:
        return [job.id for job in await backend.find_jobs(JobQuery())]


async def test_it_is_copied_and_then_migrated(path: Path, newer: int) -> None:
    before = content(path)
    assert len(await opened(path)) == 50
    assert version(path) == newer
    copy = path.with_name(f"jobs.db.v{OLD}.bak")
    assert copy.stat().st_mode & 0o777 == 0o600
    assert (version(copy), content(copy)) == (OLD, before)
    assert sorted(file.name for file in path.parent.iterdir()) == ["jobs.db", copy.name]


async def test_the_copy_is_a_store_of_the_old_version(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(schema, "VERSION", schema.VERSION)
        patch.setattr(schema, "MIGRATIONS", dict(schema.MIGRATIONS))
        open_pretended.pretend()
        await opened(path)
    with pytest.raises(SchemaVersionError):
        await opened(path)
    assert len(await opened(path.with_name(f"jobs.db.v{OLD}.bak"))) == 50


async def test_what_was_not_written_back_is_in_the_copy(path: Path, newer: int) -> None:
    with closing(sqlite3.connect(path)) as other:  # keeps the write-ahead log alive
        other.execute("PRAGMA wal_autocheckpoint = 0")
        other.execute("UPDATE jobs SET priority = 7")
        other.commit()
        await opened(path)
    with closing(sqlite3.connect(path.with_name(f"jobs.db.v{OLD}.bak"))) as copy:
        assert copy.execute("SELECT DISTINCT priority FROM jobs").fetchall() == [(7,)]


async def test_it_is_copied_before_the_journal_is_changed(path: Path, newer: int) -> None:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",)
    await opened(path)
    with closing(sqlite3.connect(path.with_name(f"jobs.db.v{OLD}.bak"))) as copy:
        assert copy.execute("PRAGMA journal_mode").fetchone() == ("delete",)


async def test_an_earlier_copy_is_never_overwritten(path: Path, newer: int) -> None:
    earlier = path.with_name(f"jobs.db.v{OLD}.bak")
    earlier.write_text("precious")
    await opened(path)
    assert earlier.read_text() == "precious"
    assert version(path.with_name(f"jobs.db.v{OLD}.bak2")) == OLD


async def test_without_a_copy_nothing_is_changed(path: Path, newer: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(*_: object) -> None:
        raise full()

    monkeypatch.setattr(backup.os, "link", no_room)
    before = fingerprint(path.parent)
    with pytest.raises(BackendError) as caught:
        await opened(path)
    assert caught.value.code == "disk-full"
    assert fingerprint(path.parent) == before


async def test_what_is_left_of_copies_that_were_killed_is_removed(path: Path, newer: int) -> None:
    part = f"db.v{OLD}.bak.0a1b2c3d.part"
    precious = [f"jobs.db.v{OLD}.bak", f"jobs.db.v{OLD - 1}.bak", f"other.{part}"]
    for name in (f"jobs.{part}", f"jobs.{part}-journal", *precious):
        path.with_name(name).touch()
    await opened(path)
    assert sorted(os.listdir(path.parent)) == sorted([path.name, f"jobs.db.v{OLD}.bak2", *precious])


async def test_a_migration_that_fails_leaves_the_old_file(path: Path, newer: int) -> None:
    schema.MIGRATIONS[OLD] = "CREATE TABLE novelty(n); CREATE TABLE novelty(n);"
    before = content(path)
    with pytest.raises(BackendError):
        await opened(path)
    assert (version(path), content(path)) == (OLD, before)
    assert content(path.with_name(f"jobs.db.v{OLD}.bak")) == before


async def test_a_new_file_needs_no_copy(tmp_path: Path, newer: int) -> None:
    await opened(tmp_path / "new.db")
    assert os.listdir(tmp_path) == ["new.db"]


async def test_two_processes_at_once_migrate_once(path: Path, tmp_path: Path) -> None:
    children = [Child("tests.faults.open_pretended", path, ledger=tmp_path / f"ledger{i}") for i in range(2)]
    try:
        for child in children:
            child.until("ready")
        for child in children:
            child.say("go")
        assert [child.until("opened") for child in children] == [[str(OLD + 1)]] * 2
        assert [child.end() for child in children] == [0, 0]
    finally:
        for child in children:
            child.__exit__(None, None, None)
    assert [file.name for file in tmp_path.glob("*.bak*")] == [f"jobs.db.v{OLD}.bak"]


# -- from files that programs of earlier versions wrote

STATEMENTS = {2: 22, 3: 17, 4: 10}
"""By version: statements by which it is migrated, with the one that sets the version."""
JOBS = {2: 8, 3: 11, 4: 14}


def made_by(version: int, folder: Path) -> Path:
    """A file of this version."""
    path = folder / "jobs.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(Path(__file__).with_name(f"jobs_v{version}.sql").read_text())
        connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {version}")
    return path


@pytest.fixture
def second(tmp_path: Path) -> Path:
    return made_by(2, tmp_path)


@pytest.fixture
def third(tmp_path: Path) -> Path:
    return made_by(3, tmp_path)


@pytest.fixture(params=STATEMENTS)
def old(request: pytest.FixtureRequest) -> int:
    return request.param


@pytest.fixture
def earlier(old: int, tmp_path: Path) -> Path:
    """A file of each earlier version."""
    return made_by(old, tmp_path)


async def test_a_file_of_version_2_has_everything_it_had(second: Path) -> None:
    async with SQLiteBackend(SQLiteConfig(db_path=second)) as backend:
        jobs = {job.id: job for job in await backend.find_jobs(JobQuery())}
        assert {job.id: str(job.status) for job in jobs.values()} == {
            "done": "completed",
            "failed": "failed",
            "running": "in_progress",
            "skipped": "skipped",
            "waiting": "pending",
            "later": "pending",
            "again": "pending",
            "limited": "completed",
        }
        assert not [job for job in jobs.values() if job.unreadable]
        assert len((await backend.read_events()).events) == 18
        assert (jobs["skipped"].because, jobs["running"].depends_on) == ("failed", ("done",))
        assert [attempt.error for attempt in await backend.get_attempts("failed")] == [jobs["failed"].error]


async def test_and_its_jobs_keep_steps_and_are_retried(second: Path) -> None:
    """Also the attempt that was in progress when its program was replaced."""
    attempt = AttemptRef("running", 1, "w1")
    async with SQLiteBackend(SQLiteConfig(db_path=second)) as backend:
        assert list(await backend.write_steps([Keep(attempt, "x", b"1")])) == [None]
        assert (await backend.read_steps("running")).steps == (KeptStep("x", 1, b"1"),)
        assert [await backend.count_steps(job_id) for job_id in ("done", "failed")] == [0, 0]
        fatal = Outcome(OutcomeKind.FAILED, error=JobError("E", "m"), retryable=False)
        assert (await backend.update_job_status([AttemptEnd(attempt, fatal)])).results == [JobStatus.FAILED]
        await backend.retry_job("running")
        assert await backend.count_steps("running") == 1
        await backend.cancel_jobs(["running"])
        await backend.retry_job("running", fresh=True)
        assert await backend.count_steps("running") == 0
        await backend.retry_job("failed")
        assert {job.id for job in await backend.get_jobs(["skipped"]) if job.status is JobStatus.PENDING} == {"skipped"}


async def test_a_file_of_version_3_has_everything_it_had(third: Path) -> None:
    async with SQLiteBackend(SQLiteConfig(db_path=third)) as backend:
        jobs = {job.id: job for job in await backend.find_jobs(JobQuery())}
        assert {job.id: str(job.status) for job in jobs.values()} == {
            "done": "completed",
            "failed": "failed",
            "running": "in_progress",
            "skipped": "skipped",
            "waiting": "pending",
            "later": "pending",
            "again": "pending",
            "limited": "completed",
            "retried": "pending",
            "anew": "pending",
            "child": "pending",
        }
        assert not [job for job in jobs.values() if job.unreadable or job.gate or job.parked]
        assert len((await backend.read_events()).events) == 27
        assert (jobs["child"].parent_id, jobs["running"].depends_on) == ("running", ("done",))
        kept = [await backend.count_steps(job_id) for job_id in ("running", "retried", "anew", "done")]
        assert kept == [1, 1, 0, 0]
        assert await backend.end_due_gates() == []
        assert await backend.find_jobs(JobQuery(waits_for="answer")) == []


async def test_and_its_running_bodies_ask_and_park(third: Path) -> None:
    """Also the attempt that was in progress when its program was replaced, and one that was retried by hand."""
    attempt = AttemptRef("running", 1, "w1")
    clock = ManualClock()
    async with SQLiteBackend(SQLiteConfig(db_path=third), clock=clock) as backend:
        asked = await backend.ask_gate(attempt, gate("running/q"))
        assert asked.status is JobStatus.PENDING
        released = AttemptEnd(attempt, Outcome(OutcomeKind.RELEASED), parked_on="running/q")
        assert (await backend.update_job_status([released])).results == [JobStatus.PENDING]
        parked, question = await backend.get_jobs(["running", "running/q"])
        assert (parked.parked, question.waits_for) == ("running/q", WaitsFor.ANSWER)
        answer = Answer(job_id="running/q", created_at=from_datetime(question.created_at), value=b"\xc3")
        assert await backend.answer_gate(answer) is JobStatus.COMPLETED
        (woken,) = await backend.get_jobs(["running"])
        assert (woken.waits_for, woken.parked, await backend.count_steps("running")) == (WaitsFor.WORKER, None, 1)


@pytest.fixture
def fourth(tmp_path: Path) -> Path:
    return made_by(4, tmp_path)


async def test_a_file_of_version_4_has_everything_it_had(fourth: Path) -> None:
    """Values stay where they were, beside the rows, and are read there."""
    async with SQLiteBackend(SQLiteConfig(db_path=fourth)) as backend:
        jobs = {job.id: job for job in await backend.find_jobs(JobQuery())}
        assert {job_id: str(jobs[job_id].status) for job_id in ("large", "small", "ok?", "done")} == {
            "large": "completed",
            "small": "completed",
            "ok?": "pending",
            "done": "completed",
        }
        assert not [job for job in jobs.values() if job.unreadable]
        assert [jobs[job_id].metadata for job_id in ("large", "small", "done")] == [
            {"who": "large"},
            {"who": "small"},
            {},
        ]
        gate = jobs["ok?"].gate
        assert gate is not None
        assert gate.question == "ok??"
        found = await backend.get_results(["large", "small"])
        assert [found[job_id].value for job_id in ("large", "small")] == [b"r" * 700, b"r"]
        calls = [await backend.get_call(job_id) for job_id in ("large", "small")]
        assert [call and call.call for call in calls] == [b"\xc4" + b"c" * 600, b"\xc0"]
        assert [job.id for job in await backend.find_jobs(JobQuery(metadata={"who": "small"}))] == ["small"]


async def test_and_what_it_writes_afterwards_stands_beside_that(fourth: Path) -> None:
    """Numbers go on after one that was removed; small values are stored in rows; all of it is read, run and removed."""
    async with SQLiteBackend(SQLiteConfig(db_path=fourth)) as backend:
        before = await backend.last_cursor()
        await backend.enqueue_jobs([new_job("new", call=b"\xc0")])
        assert (await backend.read_events(before)).events[0].cursor == str(int(before) + 1)
        with closing(sqlite3.connect(fourth)) as connection:
            rows = "SELECT n, (SELECT count(*) FROM calls_apart c WHERE c.n = j.n) FROM jobs j WHERE id = ?"
            assert connection.execute(rows, ("new",)).fetchone() == (16, 0)
            assert connection.execute(rows, ("small",)).fetchone() == (13, 1)
        worker = await backend.register_worker(NewWorker(name="w", slots=9))
        claim = ClaimRequest(worker=worker, limit=9, functions=frozenset({"tests:work", "app:work"}))
        claimed = (await backend.dequeue_jobs(claim)).jobs
        ends = [AttemptEnd(job.attempt, Outcome(OutcomeKind.SUCCEEDED, value=b"v")) for job in claimed]
        await backend.update_job_status(ends)
        ids = [job.attempt.job_id for job in claimed]
        assert {"new", "retried"} <= set(ids), "a new row, and one that was there"
        assert {result.value for result in (await backend.get_results(ids)).values()} == {b"v"}
        assert list(await backend.remove_jobs(["new", "large", "small"])) == ["large", "small", "new"]
    with closing(sqlite3.connect(fourth)) as connection:
        for table in ("calls_apart", "results_apart"):
            left = f"SELECT count(*) FROM {table} WHERE n IN (12, 13)"
            assert connection.execute(left).fetchone() == (0,)


async def test_a_program_of_an_earlier_version_refuses_the_file(
    earlier: Path, old: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    await opened(earlier)
    before = fingerprint(earlier.parent)
    monkeypatch.setattr(schema, "VERSION", old)
    with pytest.raises(SchemaVersionError, match=str(OLD)):
        await opened(earlier)
    assert fingerprint(earlier.parent) == before
    assert len(content(earlier.with_name(f"jobs.db.v{old}.bak"))) > 50


async def test_a_file_that_was_migrated_is_as_one_that_is_new(earlier: Path, tmp_path: Path) -> None:
    await opened(earlier)
    await opened(tmp_path / "new.db")
    made = [
        {line for line in content(path) if line.startswith("CREATE") and not line.startswith("CREATE TABLE jobs(")}
        for path in (earlier, tmp_path / "new.db")
    ]
    assert made[0] == made[1]
    assert columns(earlier) == columns(tmp_path / "new.db")


def columns(path: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("PRAGMA table_info(jobs)").fetchall()


KILLS = [(old, after) for old, statements in STATEMENTS.items() for after in range(statements + 1)]


@pytest.mark.untraced
@pytest.mark.parametrize(("old", "after"), KILLS)
async def test_killed_at_any_statement_it_is_migrated_by_the_next_process(earlier: Path, old: int, after: int) -> None:
    before = content(earlier)
    with Child("tests.faults.killed_migration", earlier, after, ledger=earlier.with_name("ledger")) as child:
        assert child.end() == -signal.SIGKILL, child.errors()
    assert (version(earlier), content(earlier)) == (old, before)
    assert len(await opened(earlier)) == JOBS[old]
    assert version(earlier) == schema.VERSION
    for copy in earlier.parent.glob("*.bak*"):
        assert content(copy) == before


@pytest.mark.untraced
async def test_there_are_no_more_statements_to_be_killed_at(earlier: Path, old: int) -> None:
    ledger = earlier.with_name("ledger")
    with Child("tests.faults.killed_migration", earlier, STATEMENTS[old] + 1, ledger=ledger) as child:
        child.until("opened")
