"""With no daemon alive, what a tracker submits or retries runs in the caller, before the call returns."""

from __future__ import annotations

import logging
from pathlib import Path

import anyio
import pytest

from asyncjobs import ConfigurationError, JobProcessor, SyncJobs
from asyncjobs.compat import JobStatus, JobTracker
from tests.compat import work
from tests.compat.support import job, movie_of, shown

PENDING, COMPLETED = JobStatus.PENDING, JobStatus.COMPLETED
PATIENCE = 20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


def test_without_a_daemon_jobs_run_in_the_caller_in_order_with_a_warning(
    path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = str(tmp_path / "ledger")
    tracker = JobTracker(path)
    with caplog.at_level(logging.WARNING):
        tracker.save_state(
            movie_of(
                job("b", work.note, ledger, "b", depends_on=["a"]),
                job("a", work.note, ledger, "a"),
                job("c", work.note_and_fail, ledger, "c", depends_on=["b"], max_retries=0),
                job("rec"),
            )
        )
    assert Path(ledger).read_text().split() == ["a", "b", "c"]
    assert [record.getMessage() for record in caplog.records if "no worker is alive" in record.getMessage()]
    assert shown(tracker) == {"rec": "pending", "b": "completed", "a": "completed", "c": "failed"}
    tracker.update_job_status("c", PENDING)
    assert Path(ledger).read_text().split() == ["a", "b", "c", "c"], "it ran again before the call returned"


def test_without_a_daemon_what_an_earlier_program_left_runs_when_it_is_saved_again(path: Path, tmp_path: Path) -> None:
    ledger = str(tmp_path / "ledger")
    state = movie_of(job("b", work.note, ledger, "b", depends_on=["a"]), job("a", work.note, ledger, "a"))
    with SyncJobs(path, enable_daemon=False) as jobs:  # it died before they ran
        for name, depends_on in (("a", []), ("b", ["m/a"])):
            options = {"job_id": f"m/{name}", "group": "m", "metadata": {"tracker_id": name}, "depends_on": depends_on}
            jobs.submit_job(work.note, ledger, name, **options)
    JobTracker(path).save_state(state)
    assert Path(ledger).read_text().split() == ["a", "b"]


def test_without_a_processor_a_status_that_was_changed_retries_in_the_caller(path: Path, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    tracker = JobTracker(path)
    tracker.save_state(movie_of(job("a", work.fail_without, str(flag), max_retries=0)))
    flag.touch()
    state = tracker.load_state("m")
    state.update_job_status("a", PENDING)
    tracker.save_state(state)
    assert shown(tracker) == {"a": "completed"}


@pytest.mark.anyio
async def test_without_a_processor_nothing_is_retried_inside_a_loop(path: Path, tmp_path: Path) -> None:
    tracker = JobTracker(path)
    failing = job("a", work.fail, max_retries=0)
    await anyio.to_thread.run_sync(tracker.save_job, failing, "m")
    with pytest.raises(ConfigurationError, match="stop the running event loop"):
        tracker.update_job_status("a", PENDING)
    found = tracker.get_job("a")
    found.status = PENDING
    with pytest.raises(ConfigurationError, match="stop the running event loop"):
        tracker.save_job(found, "m")
    assert shown(tracker) == {"a": "failed"}


@pytest.mark.anyio
async def test_with_a_processor_that_runs_nothing_jobs_run_in_the_caller(path: Path) -> None:
    async with JobProcessor(path, enable_daemon=False) as jp:
        tracker = JobTracker(path, processor=jp)
        tracker.save_job(job("a", work.draw), "m")
        assert tracker.get_job("a").status is COMPLETED


@pytest.mark.anyio
async def test_without_a_processor_a_job_saved_inside_a_loop_is_refused_with_the_fix(path: Path) -> None:
    tracker = JobTracker(path)
    with pytest.raises(ConfigurationError, match="stop the running event loop") as caught:
        tracker.save_state(movie_of(job("rec"), job("a", work.draw)))
    assert "processor=jp" in caught.value.hint
    assert tracker.get_jobs_by_movie("m") == []
    tracker.save_job(job("rec"), "m")
    assert shown(tracker) == {"rec": "pending"}


@pytest.mark.anyio
async def test_a_daemon_that_lives_runs_what_a_tracker_without_processor_saves(path: Path) -> None:
    async with JobProcessor(path) as jp:
        tracker = JobTracker(path)
        await anyio.to_thread.run_sync(tracker.save_job, job("a", work.draw), "m")
        await jp.drain("m", timeout=PATIENCE)
        assert await anyio.to_thread.run_sync(tracker.get_job, "a") is not None
