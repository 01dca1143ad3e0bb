"""The old tracker's methods, case by case, with the results that callers rely on."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from asyncjobs import JobProcessor, JobProcessorError
from asyncjobs.compat import Job, JobStatus, JobTracker, JobType, PipelineState
from asyncjobs.exceptions import BackendError, ConfigurationError, CorruptValueError, SchemaVersionError

PENDING, IN_PROGRESS, COMPLETED, FAILED, SKIPPED = JobStatus
DAY = datetime(2024, 1, 1)


def job(job_id: str, status: JobStatus = PENDING, at: int = 0, **fields: Any) -> Job:
    return Job(id=job_id, type="image", status=status, created_at=DAY + timedelta(seconds=at), updated_at=DAY, **fields)


def ids(jobs: list[Job]) -> list[str]:
    return [one.id for one in jobs]


def rows(path: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


@pytest.fixture
def tracker(path: Path) -> JobTracker:
    return JobTracker(path)


# -- save_job, get_job


def test_a_job_comes_back_as_it_was_saved(tracker: JobTracker) -> None:
    saved = Job(
        id="img_1", type=JobType.IMAGE, status=FAILED, scene_id="s", character_id=0, metadata={"a": [1, None, "é"]},
        error="no", retry_count=2, max_retries=5, output_path="a.png", created_at=DAY, updated_at=datetime.now(UTC),
    )  # fmt: skip
    tracker.save_job(saved, "m")
    assert tracker.get_job("img_1") == saved


def test_an_unknown_id_is_none(tracker: JobTracker) -> None:
    assert tracker.get_job("unknown") is None


def test_an_id_may_recur_and_means_the_one_saved_last(tracker: JobTracker) -> None:
    tracker.save_job(job("char_1_front", error="of m1"), "m1")
    tracker.save_job(job("char_1_front", error="of m2"), "m2")
    assert [one.error for one in tracker.get_jobs_by_movie("m1")] == ["of m1"]
    assert tracker.get_job("char_1_front").error == "of m2"
    tracker.save_job(job("char_1_front", error="of m1 again"), "m1")
    assert tracker.get_job("char_1_front").error == "of m1 again"
    tracker.update_job_status("char_1_front", COMPLETED)
    assert tracker.get_progress("m1")["completed"] == 1
    assert tracker.get_progress("m2")["completed"] == 0


def test_metadata_that_json_cannot_take_is_a_type_error_and_nothing_is_saved(tracker: JobTracker) -> None:
    with pytest.raises(TypeError, match=r"Job.metadata cannot be kept as JSON.*set"):
        tracker.save_job(job("a", metadata={"a": {1}}), "m")
    state = PipelineState.create("m")
    state.jobs = [job("a"), job("b", metadata={"a": object()})]
    with pytest.raises(TypeError, match="object"):
        tracker.save_state(state)
    itself: dict[str, Any] = {}
    itself["itself"] = itself
    with pytest.raises(ValueError, match=r"Job.metadata cannot be kept"):
        tracker.save_job(job("a", metadata=itself), "m")
    assert tracker.get_jobs_by_movie("m") == []
    assert tracker.load_state("m") is None


def test_metadata_come_back_as_json_has_them(tracker: JobTracker) -> None:
    tracker.save_job(job("a", metadata={"t": (1, 2), "s": "\ud800", "n": float("inf")}), "m")
    assert tracker.get_job("a").metadata == {"t": [1, 2], "s": "\ud800", "n": float("inf")}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("status", "done"), ("type", None), ("id", 5), ("character_id", "x"), ("created_at", "never"), ("error", [])],
        *[("character_id", 1 << 70), ("scene_id", "\ud800"), ("metadata", []), ("max_retries", None)],
    ],
)
def test_an_assignment_is_checked_when_it_is_saved(tracker: JobTracker, field: str, value: object) -> None:
    made = job("a")
    setattr(made, field, value)
    with pytest.raises(ValueError, match=f"Job.{field}"):
        tracker.save_job(made, "m")
    state = PipelineState.create("m")
    state.jobs = [job("b"), made]
    with pytest.raises(ValueError, match=f"Job.{field}"):
        tracker.save_state(state)
    assert tracker.get_jobs_by_movie("m") == []


def test_what_is_assigned_is_coerced_when_it_is_saved(tracker: JobTracker) -> None:
    made = job("a")
    made.status, made.character_id, made.created_at = "completed", "3", "2024-01-01T00:00:01"
    tracker.save_job(made, "m")
    found = tracker.get_job("a")
    assert (found.status, found.character_id, found.created_at) == (COMPLETED, 3, DAY + timedelta(seconds=1))


@pytest.mark.parametrize("job_id", ["a/b", "o'brien\"; DROP TABLE jobs --", "x" * 10_000, "\x00", "é\n", "", ".."])
def test_any_text_is_an_id(tracker: JobTracker, job_id: str) -> None:
    tracker.save_job(job(job_id), job_id)
    tracker.update_job_status(job_id, COMPLETED)
    assert tracker.get_job(job_id).status is COMPLETED
    assert ids(tracker.get_jobs_by_status(job_id, COMPLETED)) == [job_id]


@pytest.mark.parametrize("call", ["get_job", "get_jobs_by_movie", "get_progress", "load_state", "get_next_pending_job"])
def test_what_is_no_id_is_refused_by_name(tracker: JobTracker, call: str) -> None:
    with pytest.raises(ValueError, match=r"job_id|movie_id"):
        getattr(tracker, call)(5)
    with pytest.raises(ValueError, match="surrogates"):
        getattr(tracker, call)("\udfff")


def test_only_models_are_saved(tracker: JobTracker) -> None:
    with pytest.raises(ValueError, match=r"a Job of asyncjobs\.compat"):
        tracker.save_job({"id": "a"}, "m")
    with pytest.raises(ValueError, match="a PipelineState"):
        tracker.save_state(None)


# -- orders


def test_jobs_of_a_movie_are_by_age_and_then_in_the_order_of_saving(tracker: JobTracker) -> None:
    for name, at in (("young", 9), ("same1", 5), ("old", 1), ("same2", 5)):
        tracker.save_job(job(name, at=at), "m")
    assert ids(tracker.get_jobs_by_movie("m")) == ["old", "same1", "same2", "young"]
    tracker.save_job(job("same1", at=5), "m")
    assert ids(tracker.get_jobs_by_movie("m")) == ["old", "same2", "same1", "young"]
    assert tracker.get_jobs_by_movie("other") == []


def test_jobs_of_a_status_are_in_the_order_of_their_last_save(tracker: JobTracker) -> None:
    for name in ("a", "b", "c"):
        tracker.save_job(job(name), "m")
    tracker.save_job(job("a"), "m")
    assert ids(tracker.get_jobs_by_status("m", PENDING)) == ["b", "c", "a"]
    assert tracker.get_next_pending_job("m").id == "b"
    tracker.update_job_status("b", FAILED)
    tracker.update_job_status("b", PENDING)
    assert ids(tracker.get_jobs_by_status("m", "pending")) == ["b", "c", "a"], "an update keeps the place"
    assert tracker.get_next_pending_job("other") is None
    with pytest.raises(ValueError, match="status"):
        tracker.get_jobs_by_status("m", "cancelled")


def test_moments_with_and_without_a_zone_come_back_as_they_were(tracker: JobTracker) -> None:
    moments = [DAY, DAY.replace(tzinfo=UTC), DAY.replace(tzinfo=timezone(timedelta(hours=5, seconds=30)))]
    for number, moment in enumerate(moments):
        tracker.save_job(Job(id=str(number), type="image", created_at=moment), "m")
    assert {one.id: one.created_at for one in tracker.get_jobs_by_movie("m")} == dict(zip("012", moments, strict=True))


# -- update_job_status


def test_an_update_erases_what_is_not_given(tracker: JobTracker) -> None:
    tracker.save_job(job("a", error="no", output_path="a.png", retry_count=1), "m")
    tracker.update_job_status("a", COMPLETED, output_path="b.png")
    found = tracker.get_job("a")
    assert (found.status, found.error, found.output_path, found.retry_count) == (COMPLETED, None, "b.png", 1)
    assert found.updated_at > DAY
    tracker.update_job_status("a", "failed", "oh")
    found = tracker.get_job("a")
    assert (found.status, found.error, found.output_path) == (FAILED, "oh", None)


def test_an_update_of_an_unknown_id_is_silent(tracker: JobTracker) -> None:
    tracker.update_job_status("unknown", COMPLETED)
    assert tracker.get_job("unknown") is None


def test_an_update_to_what_is_no_status_is_refused(tracker: JobTracker) -> None:
    tracker.save_job(job("a"), "m")
    with pytest.raises(ValueError, match="status"):
        tracker.update_job_status("a", "done")
    with pytest.raises(ValueError, match="output_path"):
        tracker.update_job_status("a", COMPLETED, output_path=7)
    assert tracker.get_job("a").status is PENDING


def test_any_status_may_follow_any_other(tracker: JobTracker) -> None:
    tracker.save_job(job("a", COMPLETED), "m")
    for status in (PENDING, SKIPPED, FAILED, IN_PROGRESS, COMPLETED, PENDING):
        tracker.update_job_status("a", status)
        assert tracker.get_job("a").status is status


# -- states


def test_a_state_comes_back_with_its_jobs(tracker: JobTracker, tmp_path: Path) -> None:
    state = PipelineState.create("m", "out")
    state.screenplay_dict = {"scenes": [{"id": "s1"}]}
    state.screenplay_hash = state.compute_screenplay_hash()
    state.mark_stage_complete(JobType.IMAGE)
    state.screenplay = object()
    state.jobs = [job("b", at=2), job("a", at=1)]
    tracker.save_state(state)
    loaded = tracker.load_state("m", tmp_path)
    assert ids(loaded.jobs) == ["a", "b"]
    assert loaded.base_dir == tmp_path / "m"
    assert (loaded.images_complete, loaded.videos_complete) == (True, False)
    assert loaded.screenplay_dict == state.screenplay_dict
    assert loaded.screenplay is None
    assert loaded.has_screenplay_changed({"scenes": [{"id": "s1"}]}) is False


def test_a_state_that_was_never_saved_is_none(tracker: JobTracker) -> None:
    tracker.save_job(job("a"), "m")
    assert tracker.load_state("m") is None


def test_of_an_id_that_is_twice_in_a_state_the_last_one_stays_at_the_end(tracker: JobTracker) -> None:
    state = PipelineState.create("m")
    state.jobs = [job("a", error="first"), job("b"), job("a", error="last")]
    tracker.save_state(state)
    assert [(one.id, one.error) for one in tracker.get_jobs_by_status("m", PENDING)] == [("b", None), ("a", "last")]


def test_a_state_that_is_saved_again_stays_as_old_as_it_was(tracker: JobTracker, path: Path) -> None:
    state = PipelineState.create("m")
    state.jobs = [job("a"), job("b")]
    tracker.save_state(state)
    [(created, updated)] = rows(path, "SELECT created_at, updated_at FROM tracked_states")
    state.jobs = [job("a", COMPLETED)]
    tracker.save_state(state)
    [(created_later, updated_later)] = rows(path, "SELECT created_at, updated_at FROM tracked_states")
    assert created_later == created
    assert updated_later > updated
    assert ids(tracker.load_state("m").jobs) == ["b", "a"], "jobs that are not in it stay"


@pytest.mark.slow
@pytest.mark.untraced
def test_a_state_of_ten_thousand_jobs_is_one_transaction(tracker: JobTracker) -> None:
    """The time is reported; five times what it may take would fail."""
    state = PipelineState.create("m")
    state.jobs = [job(f"img_{i}", metadata={"prompt": "x" * 100}) for i in range(10_000)]
    before = datetime.now()
    tracker.save_state(state)
    took = (datetime.now() - before).total_seconds()
    print(f"10,000 jobs: {took:.2f} s")
    assert took < 5
    assert tracker.get_progress("m")["total"] == 10_000


# -- progress


def test_progress_counts_what_callers_divide_by(tracker: JobTracker) -> None:
    assert tracker.get_progress("m") == {"total": 0, "completed": 0, "failed": 0, "pending": 0, "progress": 0}
    assert isinstance(tracker.get_progress("m")["progress"], int)
    for number, status in enumerate([COMPLETED, COMPLETED, FAILED, PENDING, IN_PROGRESS, SKIPPED, SKIPPED, SKIPPED]):
        tracker.save_job(job(str(number), status), "m")
    assert tracker.get_progress("m") == {"total": 8, "completed": 2, "failed": 1, "pending": 1, "progress": 25.0}


# -- the pattern of the old pipelines


def test_a_pipeline_runs_what_is_pending_or_failed_and_goes_on_later(path: Path, tmp_path: Path) -> None:
    state = PipelineState.create("m", tmp_path)
    state.jobs = [job(f"img_{i}", at=i) for i in range(4)]
    JobTracker(path).save_state(state)
    ran: list[str] = []
    for _ in range(3):
        tracker = JobTracker(path)
        state = tracker.load_state("m", tmp_path)
        for one in [*state.get_pending_jobs(), *state.get_jobs_by_status(FAILED)]:
            ran.append(one.id)
            fails = one.id == "img_2" and ran.count("img_2") < 3
            state.update_job_status(one.id, FAILED if fails else COMPLETED, "no light" if fails else None)
        tracker.save_state(state)
    assert ran == ["img_0", "img_1", "img_2", "img_3", "img_2", "img_2"]
    assert JobTracker(path).get_progress("m")["progress"] == 100.0


# -- the file


def test_no_descriptor_is_left_open(tracker: JobTracker) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for number in range(20):
        tracker.save_job(job(str(number)), "m")
        tracker.load_state("m")
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.anyio
async def test_a_store_is_used_checked_compacted_and_copied_with_records_in_it(path: Path, tmp_path: Path) -> None:
    tracker = JobTracker(path)
    tracker.save_job(job("a"), "m")
    async with JobProcessor(path) as jp:
        assert await (await jp.submit_job(abs, -3)) == 3
        tracker.update_job_status("a", COMPLETED)
        assert [finding.level for finding in await jp.backend.checkup()] == ["ok"]
        await jp.compact()
        await jp.backup(tmp_path / "copy.db")
    assert tracker.get_job("a").status is COMPLETED
    assert JobTracker(tmp_path / "copy.db").get_job("a").status is COMPLETED


@pytest.mark.anyio
async def test_records_come_into_a_store_that_is_there_and_open(path: Path) -> None:
    async with JobProcessor(path) as jp:
        await (await jp.submit_job(abs, -3, job_id="three"))
        JobTracker(path).save_job(job("a"), "m")
        assert await jp.get_result("three") == 3
        assert (await jp.get_progress("m")).total == 0, "a record is no job of the store"
    assert JobTracker(path).get_job("a").id == "a"


def test_the_version_of_the_records_is_not_that_of_the_store(path: Path, tracker: JobTracker) -> None:
    [(before,)] = rows(path, "PRAGMA user_version")
    assert rows(path, "SELECT version FROM tracked_version") == [(1,)]
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE tracked_version SET version = 99")
        connection.commit()
    with pytest.raises(SchemaVersionError, match="records of the job tracker"):
        JobTracker(path)
    assert rows(path, "PRAGMA user_version") == [(before,)]


def test_an_empty_file_is_a_new_store(path: Path) -> None:
    path.touch()
    JobTracker(path).save_job(job("a"), "m")
    assert JobTracker(path).file == path


def test_a_program_may_change_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tracker = JobTracker()
    assert tracker.db_path == "./cinema_jobs.db"
    monkeypatch.chdir("/")
    tracker.save_job(job("a"), "m")
    assert tracker.file == tmp_path / "cinema_jobs.db"


def test_metadata_that_another_program_broke_are_an_error_that_names_the_job(path: Path, tracker: JobTracker) -> None:
    tracker.save_job(job("a"), "m")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE tracked_jobs SET metadata = '{'")
        connection.commit()
    with pytest.raises(CorruptValueError, match=r"metadata of the record 'a' cannot be read"):
        tracker.get_job("a")


def test_a_file_that_was_removed_is_an_error_that_says_so(path: Path, tracker: JobTracker) -> None:
    path.unlink()
    with pytest.raises(BackendError, match="missing"):
        tracker.get_job("a")
    assert not path.exists()


@pytest.mark.parametrize("kind", ["no folder", "a folder", "no database", "another program", "corrupt"])
def test_a_file_that_cannot_be_used_is_refused_and_unchanged(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.db"
    if kind == "no folder":
        path = tmp_path / "no" / "x.db"
    elif kind == "a folder":
        path.mkdir()
    elif kind == "no database":
        path.write_bytes(b"not a database, " * 200)
    elif kind == "another program":
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE notes(text)")
    else:
        JobTracker(path)
        [(page,)] = rows(path, "SELECT rootpage FROM sqlite_master WHERE name = 'tracked_jobs_key'")
        [(size,)] = rows(path, "PRAGMA page_size")
        content = bytearray(path.read_bytes())
        content[size * (page - 1) : size * page] = b"\x77" * size
        path.write_bytes(content)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(JobProcessorError) as caught:
        tracker = JobTracker(path)
        tracker.get_jobs_by_movie("m")
        tracker.save_job(job("a"), "m")
    assert str(path.parent) in str(caught.value)
    assert caught.value.hint
    if kind != "corrupt":
        assert isinstance(caught.value, ConfigurationError)
        assert (path.read_bytes() if path.is_file() else None) == before
