"""``SyncJobs``: plain methods for programs without an event loop."""

from __future__ import annotations

import pickle
import threading
from pathlib import Path

import pytest

from asyncjobs import (
    BackendClosedError,
    JobExecutionError,
    JobQuery,
    JobRequest,
    JobStatus,
    JobTimeoutError,
    SyncJobs,
    current_job,
)
from tests.runtime.support import add, fail, nothing


def join(parts: list[str]) -> str:
    return "".join(parts)


def where() -> str:
    return threading.current_thread().name


async def speak() -> None:
    current_job().progress(1, 2, "half")
    current_job().emit("output", {"text": "words"})


def test_submit_wait_and_look(tmp_path: Path) -> None:
    with SyncJobs(str(tmp_path / "jobs.db")) as jobs:
        first = jobs.submit_job(add, 1, 2, group="g")
        second = jobs.submit_job(add, first, 4)
        assert second.result(timeout=20) == 7
        assert (first, first.id, first.status()) == (first.id, str(first), JobStatus.COMPLETED)
        parts = jobs.map_jobs(str, ["a", "b"])
        assert jobs.submit_job(join, list(parts)).result(timeout=20) == "ab"
        assert jobs.gather(*parts, timeout=20) == ["a", "b"]
        assert jobs.get_job(first).group == "g"
        assert jobs.get_progress("g").percent == 100
        assert [job.id for job in jobs.find_jobs(JobQuery(group="g"))] == [first]
        assert jobs.poll_status(second).result == 7
        assert jobs.why(first).code == "completed"
        assert jobs.handle(second).result() == 7
        [third] = jobs.submit_jobs([JobRequest(func=nothing)])
        jobs.drain(timeout=20)
        assert jobs.wait_for_job(third).status is JobStatus.COMPLETED
        assert pickle.loads(pickle.dumps(first)) == first.id


def test_streams_are_plain_iterators(tmp_path: Path) -> None:
    with SyncJobs(str(tmp_path / "jobs.db")) as jobs:
        job = jobs.submit_job(speak, group="g")
        assert [event.type for event in job.events()] == ["submitted", "started", "progress", "output", "completed"]
        assert [event.type for event in jobs.stream_group("g", types="output")] == ["output"]
        stream = jobs.stream_job(job)
        next(stream)
        stream.close()  # type: ignore[attr-defined]


def test_errors_come_through(tmp_path: Path) -> None:
    with SyncJobs(str(tmp_path / "jobs.db")) as jobs:
        with pytest.raises(JobExecutionError):
            jobs.submit_job(fail, max_retries=0).result(timeout=20)
        later = jobs.submit_job(nothing, delay=3600)
        with pytest.raises(JobTimeoutError):
            later.result(timeout=0.01)
        assert later.cancel() is JobStatus.CANCELLED
        assert later.retry() is JobStatus.PENDING
        later.cancel()
    for use in (lambda: later.result(), lambda: jobs.get_job(later), lambda: jobs.submit_job(nothing)):
        with pytest.raises(BackendClosedError):
            use()


def test_bodies_run_beside_the_main_thread(tmp_path: Path) -> None:
    with SyncJobs(str(tmp_path / "jobs.db")) as jobs:
        assert jobs.submit_job(where).result(timeout=20) != threading.main_thread().name


def test_several_threads_share_one(tmp_path: Path) -> None:
    results: list[int] = []
    with SyncJobs(str(tmp_path / "jobs.db")) as jobs:
        threads = [
            threading.Thread(target=lambda n=n: results.append(jobs.submit_job(add, n, 1).result(timeout=20)))  # type: ignore[misc]
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(results) == list(range(1, 9))


def test_without_a_worker_jobs_run_in_the_caller(tmp_path: Path) -> None:
    with SyncJobs(str(tmp_path / "jobs.db"), enable_daemon=False, fallback="sync") as jobs:
        assert jobs.submit_job(add, 1, 2).status() is JobStatus.COMPLETED
