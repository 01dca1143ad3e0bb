"""Files of the old tracker are imported once, as they were committed, and are never written to."""

from __future__ import annotations

import logging
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from asyncjobs import JobProcessor
from asyncjobs.compat import JobStatus, JobTracker
from asyncjobs.compat.file import RecordFile
from asyncjobs.compat.legacy import export_old, find_run_jobs, import_old
from asyncjobs.config import SQLiteConfig
from asyncjobs.exceptions import BackendError, ConfigurationError, JobProcessorError
from tests.compat import work
from tests.compat.old_files import digest, old_job, old_state, put, write_old

BOTH = pytest.mark.parametrize("counters", [True, False], ids=["counters", "no-counters"])
JOURNALS = pytest.mark.parametrize("journal", ["delete", "wal"])


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return tmp_path / "cinema_jobs.db"


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "asyncjobs.compat")
    return caplog


def lines(log: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in log.records if record.name == "asyncjobs.compat"]


def contents(path: Path) -> tuple[list[Any], list[Any]]:
    """All records of a file, without numbers and moments of saving."""
    with closing(sqlite3.connect(path)) as connection:
        columns = [name for _, name, *_ in connection.execute("PRAGMA table_info(tracked_jobs)").fetchall()]
        listed = ", ".join(name for name in columns if name not in ("n", "saved_at"))
        return (
            connection.execute(f"SELECT {listed} FROM tracked_jobs ORDER BY n").fetchall(),
            connection.execute("SELECT * FROM tracked_states ORDER BY rowid").fetchall(),
        )


# -- opening one


@BOTH
@JOURNALS
def test_an_old_file_is_imported_beside_itself_and_stays_as_it_is(
    old: Path, log: pytest.LogCaptureFixture, counters: bool, journal: str
) -> None:
    extra = {"retry_count": 2, "max_retries": 7} if counters else {}
    jobs = [old_job("b", **extra), old_job("a", "m2", "failed", error="no", character_id=0, scene_id="s1")]
    write_old(old, jobs, [old_state("m1", screenplay_hash="abc")], counters=counters, journal=journal)
    before = digest(old)
    tracker = JobTracker(str(old))
    assert tracker.db_path == str(old)
    assert tracker.file == old.with_name("cinema_jobs.asyncjobs.db")
    found = tracker.get_job("b")
    assert (found.status, found.metadata, found.output_path) == (JobStatus.COMPLETED, {"prompt": "näive"}, "b.png")
    assert found.created_at.isoformat() == "2024-01-01T10:00:00.000123"
    assert (found.retry_count, found.max_retries) == ((2, 7) if counters else (0, 3))
    assert (tracker.get_job("a").error, tracker.get_job("a").character_id) == ("no", 0)
    state = tracker.load_state("m1")
    assert (state.images_complete, state.screenplay_dict, state.screenplay_hash) == (True, {"scenes": []}, "abc")
    assert [job.id for job in state.jobs] == ["b"]
    [line] = lines(log)
    assert line.startswith("imported 2 jobs and 1 state of 2 movies from ")
    assert digest(old) == before


def test_the_import_happens_once_and_work_goes_on_in_the_new_file(old: Path, log: pytest.LogCaptureFixture) -> None:
    write_old(old, [old_job("a", status="pending")])
    JobTracker(old).update_job_status("a", JobStatus.COMPLETED)
    log.clear()
    assert JobTracker(old).get_job("a").status is JobStatus.COMPLETED
    assert lines(log) == []


def test_where_the_old_file_was_moved_away_the_new_one_is_used(old: Path) -> None:
    write_old(old, [old_job("a")])
    JobTracker(old)
    old.unlink()
    assert JobTracker(old).get_job("a").id == "a"
    assert not old.exists()


def test_an_old_file_that_has_changed_since_is_one_warning_that_names_the_command(
    old: Path, log: pytest.LogCaptureFixture
) -> None:
    write_old(old, [old_job("a")])
    JobTracker(old)
    log.clear()
    with closing(sqlite3.connect(old)) as connection:
        put(connection, "jobs", old_job("late"))
        connection.commit()
    tracker = JobTracker(old)
    [line] = lines(log)
    assert f"asyncjobs legacy import {old} --db {tracker.file}" in line
    assert log.records[-1].levelno == logging.WARNING
    assert tracker.get_job("late") is None
    import_old(old, tracker.file)
    assert tracker.get_job("late").id == "late"
    log.clear()
    JobTracker(old)
    assert lines(log) == []


def test_opening_a_file_with_a_write_ahead_log_is_no_change(old: Path, log: pytest.LogCaptureFixture) -> None:
    write_old(old, [old_job("a")], journal="wal")
    for _ in range(3):
        JobTracker(old)
    assert len(lines(log)) == 1


def test_a_store_that_is_there_already_takes_the_import(old: Path) -> None:
    write_old(old, [old_job("a")])
    JobTracker(old.with_name("cinema_jobs.asyncjobs.db")).save_state(JobTracker(old).load_state("m1") or _state())
    assert JobTracker(old).get_job("a").id == "a"


def _state() -> Any:
    from asyncjobs.compat import PipelineState

    return PipelineState.create("other")


@pytest.mark.anyio
@JOURNALS
async def test_a_processor_and_the_doctor_refuse_it_and_name_this_way(old: Path, journal: str) -> None:
    write_old(old, [old_job("a")], journal=journal)
    before = digest(old)
    with pytest.raises(ConfigurationError, match="another program") as caught:
        async with JobProcessor(old):
            pass
    assert f"asyncjobs legacy import {old}" in caught.value.hint
    assert "nothing was changed" in caught.value.hint
    assert digest(old) == before


# -- repeating


def test_a_second_import_changes_nothing(old: Path) -> None:
    write_old(old, [old_job(f"j{i}") for i in range(20)], [old_state("m1")])
    first = import_old(old)
    before = contents(Path(first.target))
    second = import_old(old)
    assert (first.jobs, first.states, first.movies, first.unchanged) == (20, 1, 1, 0)
    assert (second.jobs, second.states, second.movies, second.unchanged) == (0, 0, 0, 21)
    assert contents(Path(first.target)) == before


def test_newer_rows_win_on_either_side(old: Path) -> None:
    write_old(old, [old_job("here"), old_job("there"), old_job("same")], [old_state("m1")])
    tracker = JobTracker(old)
    tracker.update_job_status("here", JobStatus.FAILED, "of the new file")
    with closing(sqlite3.connect(old)) as connection:
        put(connection, "jobs", old_job("here", error="older", updated_at="2024-01-02T00:00:00"))
        put(connection, "jobs", old_job("there", error="newer", updated_at="2024-01-01T11:00:00.5"))
        put(connection, "pipeline_states", old_state("m1", images_complete=0, updated_at="2024-01-03T00:00:00"))
        connection.commit()
    report = import_old(old)
    assert (report.jobs, report.states, report.unchanged) == (1, 1, 2)
    assert tracker.get_job("here").error == "of the new file"
    assert tracker.get_job("there").error == "newer"
    assert tracker.load_state("m1").images_complete is False
    assert tracker.get_progress("m1")["total"] == 3


def test_moments_with_a_zone_are_compared_as_moments(old: Path) -> None:
    write_old(old, [old_job("a", updated_at="2024-06-01T12:00:00+00:00")])
    tracker = JobTracker(old)
    with closing(sqlite3.connect(old)) as connection:
        put(connection, "jobs", old_job("a", error="an hour before", updated_at="2024-06-01T13:00:00+02:00"))
        connection.commit()
    assert import_old(old).unchanged == 1
    assert tracker.get_job("a").error is None


def test_a_preview_writes_nothing(old: Path) -> None:
    write_old(old, [old_job("a"), old_job("b", status="odd")])
    report = import_old(old, dry_run=True)
    assert (report.jobs, len(report.unusable)) == (1, 1)
    assert sorted(path.name for path in old.parent.iterdir()) == ["cinema_jobs.db"]
    import_old(old)
    assert (import_old(old, dry_run=True).jobs, import_old(old, dry_run=True).unchanged) == (0, 1)


def test_the_order_of_saving_comes_over(old: Path) -> None:
    write_old(old, [old_job("c", status="pending"), old_job("a", status="pending"), old_job("b", status="pending")])
    with closing(sqlite3.connect(old)) as connection:
        put(connection, "jobs", old_job("c", status="pending"))
        connection.commit()
    assert [job.id for job in JobTracker(old).get_jobs_by_status("m1", JobStatus.PENDING)] == ["a", "b", "c"]


# -- rows that cannot be taken over

BAD = {
    "type 'cartoon' is not known": {"type": "cartoon"},
    "status 'done' is not known": {"status": "done"},
    "metadata is broken JSON": {"metadata": "{"},
    "metadata is no JSON object": {"metadata": "[1]"},
    "created_at is no moment: 'never'": {"created_at": "never"},
    "updated_at is no moment": {"updated_at": "2024-13-01"},
    "character_id is no whole number: 'x'": {"character_id": "x"},
    "error is not UTF-8": {"error": b"\xff\xfe"},
    "id is missing": {"id": None},
}


@pytest.mark.parametrize("reason", BAD)
def test_a_row_that_cannot_be_taken_over_is_named_and_the_rest_goes_on(
    old: Path, log: pytest.LogCaptureFixture, reason: str
) -> None:
    write_old(old, [old_job("good"), {**old_job("bad"), **BAD[reason]}], [old_state("m1")])
    report = import_old(old)
    [row] = report.unusable
    assert str(row).startswith(f"job '{None if reason.startswith('id') else 'bad'}' of 'm1': {reason}")
    assert (report.jobs, report.states) == (1, 1)
    Path(report.target).unlink()
    assert [job.id for job in JobTracker(old).get_jobs_by_movie("m1")] == ["good"]
    warnings = [record.getMessage() for record in log.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "--dry-run" in warnings[0]


def test_what_is_odd_but_clear_comes_over(old: Path) -> None:
    write_old(old, [old_job("a", metadata=None, character_id="3"), old_job(7, metadata="", scene_id=5)])
    tracker = JobTracker(old)
    assert (tracker.get_job("a").metadata, tracker.get_job("a").character_id) == ({}, 3)
    assert (tracker.get_job("7").metadata, tracker.get_job("7").scene_id) == ({}, "5")


@pytest.mark.parametrize("bad", [{"screenplay_data": "{"}, {"screenplay_data": "[]"}, {"updated_at": "x"}])
def test_a_state_that_cannot_be_taken_over_is_named(old: Path, bad: dict[str, Any]) -> None:
    write_old(old, [old_job("a")], [old_state("m1", **bad), old_state("m2")])
    report = import_old(old)
    assert [str(row).split(":")[0] for row in report.unusable] == ["state of 'm1'"]
    assert (report.jobs, report.states, report.movies) == (1, 1, 2)


def test_a_file_without_states_is_an_old_file(old: Path) -> None:
    """The old program was killed between its two first statements."""
    write_old(old, [old_job("a")])
    with closing(sqlite3.connect(old)) as connection:
        connection.execute("DROP TABLE pipeline_states")
    assert JobTracker(old).get_job("a").id == "a"


# -- files that cannot be read so, or are no such files

KILLED = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("PRAGMA cache_size = 5")
connection.execute("UPDATE jobs SET error = 'uncommitted' || hex(randomblob(400))")
connection.execute("UPDATE jobs SET status = 'failed'")
if sys.argv[2] == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_inside(old: Path) -> None:
    """The old program dies inside of its transaction, of which a part is in the file already."""
    ran = subprocess.run([sys.executable, "-c", KILLED, str(old), "kill"], check=False)
    assert ran.returncode == -signal.SIGKILL


def leave_in_the_log(old: Path, sql: str) -> None:
    """The old program dies behind a commit: what it wrote stands in the write-ahead log alone."""
    code = "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute(sys.argv[2]); c.commit(); os._exit(0)"
    subprocess.run([sys.executable, "-c", code, str(old), sql], check=True)


def test_an_uncommitted_row_is_never_imported(old: Path) -> None:
    write_old(old, [old_job(f"j{i}") for i in range(200)])
    killed_inside(old)
    journal = old.with_name("cinema_jobs.db-journal")
    assert journal.stat().st_size > 0
    assert b"uncommitted" in old.read_bytes(), "it would prove nothing"
    before = digest(old), digest(journal)
    tracker = JobTracker(old)
    jobs = tracker.get_jobs_by_movie("m1")
    assert len(jobs) == 200
    assert {job.status for job in jobs} == {JobStatus.COMPLETED}
    assert {job.error for job in jobs} == {None}
    assert (digest(old), digest(journal)) == before


def test_what_is_only_in_the_log_is_imported(old: Path) -> None:
    write_old(old, [old_job("a")], journal="wal")
    leave_in_the_log(
        old,
        "INSERT INTO jobs SELECT 'b', movie_id, type, status, scene_id, character_id, metadata, error, "
        "retry_count, max_retries, output_path, created_at, updated_at FROM jobs",
    )
    assert old.with_name("cinema_jobs.db-wal").stat().st_size > 0
    before = digest(old)
    assert [job.id for job in JobTracker(old).get_jobs_by_movie("m1")] == ["a", "b"]
    assert digest(old) == before


READING = """
import os, sys
import encodings.idna, tempfile, weakref
from asyncjobs.compat.legacy import import_old
os.setgid(65534); os.setuid(65534)  # behind the imports: the interpreter may be where only root may read
report = import_old(sys.argv[1], sys.argv[2])
print(report.jobs, report.states, len(report.unusable))
"""


@pytest.mark.parametrize("kind", ["delete", "wal", "wal with a log", "hot journal"])
def test_a_folder_that_is_read_only(others_folder: Path, kind: str) -> None:
    """By a user who may not write there: the log has no place beside the file, the journal cannot be rolled back."""
    folder, out = others_folder / "old", others_folder / "new"
    folder.mkdir()
    out.mkdir(mode=0o777)
    out.chmod(0o777)
    old = folder / "cinema_jobs.db"
    write_old(old, [old_job(f"j{i}") for i in range(200)], [old_state("m1")], journal=kind[:3].replace("del", "delete"))
    if kind == "wal with a log":
        leave_in_the_log(old, "DELETE FROM pipeline_states")
        (folder / "cinema_jobs.db-shm").unlink()
    if kind == "hot journal":
        killed_inside(old)
    for path in folder.iterdir():
        path.chmod(0o444)
    folder.chmod(0o555)
    before = {path.name: digest(path) for path in folder.iterdir()}
    ran = subprocess.run(
        [sys.executable, "-c", READING, str(old), str(out / "jobs.db")], capture_output=True, text=True, check=False
    )
    assert ran.stdout.split() == ["200", "0" if kind == "wal with a log" else "1", "0"], ran.stderr
    assert {path.name: digest(path) for path in folder.iterdir()} == before


@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_a_file_that_was_copied_half_is_an_error_and_no_new_file(old: Path, kept: float) -> None:
    write_old(old, [old_job(f"j{i}", error="x" * 500) for i in range(500)])
    content = old.read_bytes()
    old.write_bytes(content[: int(len(content) * kept)])
    before = digest(old)
    with pytest.raises(BackendError, match="damaged") as caught:
        JobTracker(old)
    assert caught.value.code == "corrupt"
    assert sorted(path.name for path in old.parent.iterdir()) == ["cinema_jobs.db"]
    assert digest(old) == before


@pytest.mark.parametrize("kind", ["missing", "empty", "ours", "other", "folder", "text", "itself"])
def test_what_is_no_old_file_is_not_imported(old: Path, kind: str) -> None:
    new = None
    if kind == "empty":
        old.touch()
    elif kind == "ours":
        JobTracker(old)
    elif kind == "other":
        with closing(sqlite3.connect(old)) as connection:
            connection.execute("CREATE TABLE jobs(id, title)")
    elif kind == "folder":
        old.mkdir()
    elif kind == "text":
        old.write_text("no database " * 100)
    elif kind == "itself":
        new = write_old(old, [old_job("a")])
    with pytest.raises(ConfigurationError) as caught:
        import_old(old, new)
    assert str(old) in str(caught.value)
    assert caught.value.hint
    assert not old.with_name("cinema_jobs.asyncjobs.db").exists()


def test_a_file_that_is_locked_for_a_moment_is_waited_for(old: Path) -> None:
    write_old(old, [old_job("a")])
    with closing(sqlite3.connect(old, isolation_level=None, check_same_thread=False)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        put(connection, "jobs", old_job("b"))
        release = threading.Timer(0.3, connection.execute, ["COMMIT"])
        release.start()
        assert [job.id for job in JobTracker(old).get_jobs_by_movie("m1")] == ["a", "b"]
        release.join()


WRITER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=30)
number = 0
print("writing", flush=True)
while True:  # the old tracker's save_state: a state and all of its jobs in one transaction
    number += 1
    with connection:
        for job in range(40):
            connection.execute("UPDATE jobs SET error = ? WHERE id = ?", (str(number), f"j{job}"))
"""


@pytest.mark.slow
@JOURNALS
def test_the_old_program_may_write_meanwhile(old: Path, journal: str) -> None:
    """Each import has all or nothing of each of its transactions."""
    write_old(old, [old_job(f"j{i}", error="0") for i in range(40)], journal=journal)
    with subprocess.Popen([sys.executable, "-c", WRITER, str(old)], stdout=subprocess.PIPE, text=True) as writer:
        try:
            assert writer.stdout.readline() == "writing\n"
            seen: set[str] = set()
            deadline = time.monotonic() + 30
            while len(seen) < 3 and time.monotonic() < deadline:
                target = old.with_name(f"new{len(seen)}.db")
                target.unlink(missing_ok=True)
                report = import_old(old, target)
                assert (report.jobs, report.unusable) == (40, [])
                errors = {job.error for job in JobTracker(target).get_jobs_by_movie("m1")}
                assert len(errors) == 1
                seen |= errors
        finally:
            writer.kill()
    assert len(seen) >= 3


@pytest.mark.slow
@pytest.mark.untraced
def test_a_hundred_thousand_jobs(old: Path) -> None:
    """The time is reported; five times what it may take would fail."""
    write_old(old, (old_job(f"j{i}", f"m{i % 50}") for i in range(100_000)), [old_state(f"m{i}") for i in range(50)])
    before = digest(old)
    began = time.monotonic()
    report = import_old(old)
    took = time.monotonic() - began
    print(f"100,000 jobs: {took:.1f} s")
    assert took < 50
    assert (report.jobs, report.movies, report.states, report.unusable) == (100_000, 50, 50, [])
    assert digest(old) == before
    assert import_old(old).jobs == 0


# -- going back


@BOTH
def test_what_is_exported_and_imported_again_is_equal(old: Path, tmp_path: Path, counters: bool) -> None:
    jobs = [old_job("b"), old_job("a", "m2", "failed", error="no", metadata='{"x": [1, null, "\\u00e9"]}')]
    write_old(
        old, jobs, [old_state("m1", screenplay_hash="abc"), old_state("m3", screenplay_data=None)], counters=counters
    )
    new = Path(import_old(old).target)
    back = tmp_path / "back.db"
    report = export_old(RecordFile(SQLiteConfig(db_path=new)), back)
    assert (report.jobs, report.movies, report.states, report.unusable) == (2, 3, 2, [])
    assert back.stat().st_mode & 0o777 == 0o600
    again = Path(import_old(back).target)
    assert contents(again) == contents(new)


def test_an_export_is_what_the_old_program_wrote(old: Path, tmp_path: Path) -> None:
    write_old(old, [old_job("b", retry_count=1), old_job("a", "m2")], [old_state("m1", screenplay_hash=None)])
    export_old(RecordFile(SQLiteConfig(db_path=import_old(old).target)), tmp_path / "back.db")
    dumps = []
    for path in (old, tmp_path / "back.db"):
        with closing(sqlite3.connect(path)) as connection:
            dumps.append(
                [
                    [name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")]
                    + connection.execute(f"SELECT {key}, * FROM {table} ORDER BY rowid").fetchall()
                    for table, key in (("jobs", "id"), ("pipeline_states", "movie_id"))
                ]
            )
    assert dumps[0] == dumps[1]


def test_an_id_of_two_movies_has_one_place_in_an_old_file(old: Path, tmp_path: Path) -> None:
    tracker = JobTracker(tmp_path / "jobs.db")
    write_old(old, [old_job("a")])
    for movie in ("m1", "m2"):
        job = JobTracker(old).get_job("a")
        tracker.save_job(job, movie)
    report = export_old(RecordFile(SQLiteConfig(db_path=tracker.file)), tmp_path / "back.db")
    assert [str(row) for row in report.unusable] == ["job 'a' of 'm1': the id belongs to 'm2', saved later"]
    assert report.jobs == 1


@pytest.mark.anyio
async def test_a_store_that_no_tracker_has_used_is_exported_as_it_is(tmp_path: Path) -> None:
    async with JobProcessor(tmp_path / "jobs.db") as jp:
        await (await jp.submit_job(work.draw, "a", group="m", metadata={"tracker_id": "a"}))
        run = await find_run_jobs(jp.backend)
    report = export_old(RecordFile(SQLiteConfig(db_path=tmp_path / "jobs.db")), tmp_path / "back.db", run)
    assert (report.jobs, report.movies, report.states) == (1, 1, 0)
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master").fetchall()]
    assert [name for name in tables if name.startswith("tracked")] == []
    assert JobTracker(tmp_path / "back.db").get_job("a").output_path == "/drawn/a.png"


def test_nothing_is_overwritten_by_an_export(old: Path, tmp_path: Path) -> None:
    write_old(old)
    file = RecordFile(SQLiteConfig(db_path=JobTracker(tmp_path / "jobs.db").file))
    before = digest(old)
    with pytest.raises(ConfigurationError, match="exists"):
        export_old(file, old)
    with pytest.raises(JobProcessorError, match="does not exist"):
        export_old(file, tmp_path / "no" / "old.db")
    assert digest(old) == before
    assert [path.name for path in tmp_path.iterdir() if "part" in path.name] == []
