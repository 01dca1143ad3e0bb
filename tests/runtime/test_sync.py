"""``SyncJobs``: plain methods for programs without an event loop."""

from __future__ import annotations

import contextlib
import copy
import gc
import pickle
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
from tests.runtime.support import PATIENCE, add, fail, nothing, publisher_of


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
        assert copy.copy(second) is copy.deepcopy([second])[0] is second


def test_streams_are_plain_iterators(tmp_path: Path) -> None:
    with SyncJobs(str(tmp_path / "jobs.db")) as jobs:
        job = jobs.submit_job(speak, group="g")
        assert [event.type for event in job.events()] == ["submitted", "started", "progress", "output", "completed"]
        assert [event.type for event in jobs.stream_group("g", types="output")] == ["output"]
        stream = jobs.stream_job(job)
        next(stream)
        stream.close()


def _abandon(stream: Any) -> None:
    """Let go of it in a cycle, which only the garbage collector can end."""
    cycle: list[Any] = [stream]
    cycle.append(cycle)


def _collect_on_the_loop(jobs: SyncJobs, stream: Any) -> None:
    async def collect() -> None:
        gc.collect()

    _abandon(stream)
    del stream
    jobs.call(collect)


def _collect_in_a_thread(jobs: SyncJobs, stream: Any) -> None:
    _abandon(stream)
    del stream
    in_thread(gc.collect)


def _raise_while_it_is_read(jobs: SyncJobs, stream: Any) -> None:
    with contextlib.suppress(KeyError):
        for _ in stream:
            raise KeyError


def _throw(jobs: SyncJobs, stream: Any) -> None:
    with pytest.raises(KeyError):
        stream.throw(KeyError)


def in_thread(function: Callable[[], Any]) -> None:
    thread = threading.Thread(target=function)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive()


LEFT: dict[str, Callable[[SyncJobs, Any], Any]] = {
    "close": lambda _, stream: stream.close(),
    "close in another thread": lambda _, stream: in_thread(stream.close),
    "let go": lambda _, stream: None,
    "an exception of the block": _raise_while_it_is_read,
    "throw": _throw,
    "collected on the loop": _collect_on_the_loop,
    "collected in another thread": _collect_in_a_thread,
}


@pytest.mark.parametrize("begun", [True, False], ids=["begun", "not begun"])
@pytest.mark.parametrize("way", LEFT)
def test_a_stream_that_is_left_leaves_nothing_behind(
    tmp_path: Path, way: str, begun: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    complaints: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)
    with SyncJobs(tmp_path / "jobs.db", enable_daemon=False) as jobs:
        for _ in range(2):
            jobs.submit_job(nothing, delay=3600, group="g")
        gc.disable()  # it is collected where the case says, and nowhere else
        try:
            streams = [jobs.stream_group("g")]
            if begun:
                assert next(streams[0]).type == "submitted"
            LEFT[way](jobs, streams.pop())
        finally:
            gc.enable()
        assert jobs.call(_listeners, jobs) == 0
        assert next(jobs.stream_group("g")).type == "submitted"
    assert [complaint.exc_value for complaint in complaints] == []


async def _listeners(jobs: SyncJobs) -> int:
    return len(publisher_of(jobs.processor)._subscriptions)


def test_break_ends_a_stream_and_another_begins_where_it_was(tmp_path: Path) -> None:
    with SyncJobs(tmp_path / "jobs.db") as jobs:
        job = jobs.submit_job(speak)
        for event in jobs.stream_job(job):
            cursor = event.cursor
            if event.type == "started":
                break
        rest = [event.type for event in jobs.stream_job(job, cursor)]
        assert rest == ["progress", "output", "completed"]
        assert jobs.call(_listeners, jobs) == 0


def test_a_stream_may_be_read_in_other_threads_one_after_the_other(tmp_path: Path) -> None:
    with SyncJobs(tmp_path / "jobs.db") as jobs:
        stream = jobs.stream_job(jobs.submit_job(speak))
        seen: list[str] = []
        while len(seen) < 5:
            in_thread(lambda: seen.append(next(stream).type))
        assert seen == ["submitted", "started", "progress", "output", "completed"]
        assert list(stream) == []


def test_leaving_ends_a_stream_that_another_thread_waits_for(tmp_path: Path) -> None:
    ends: list[BaseException] = []
    with SyncJobs(tmp_path / "jobs.db", enable_daemon=False) as jobs:
        waits = threading.Event()
        job = jobs.submit_job(nothing, delay=3600)

        def follow() -> None:
            try:
                for _ in jobs.stream_job(job):
                    waits.set()
            except BaseException as error:
                ends.append(error)

        thread = threading.Thread(target=follow)
        thread.start()
        assert waits.wait(PATIENCE)
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert [type(end) for end in ends] == [BackendClosedError]


def test_a_stream_that_outlives_its_sync_jobs_is_refused_and_let_go(tmp_path: Path) -> None:
    with SyncJobs(tmp_path / "jobs.db", enable_daemon=False) as jobs:
        job = jobs.submit_job(nothing, delay=3600)
        begun, new = jobs.stream_job(job), jobs.stream_job(job)
        next(begun)
    for stream in (begun, new):
        with pytest.raises(BackendClosedError):
            next(stream)
        stream.close()
    with jobs:  # entered again, it is another loop: an old stream does not reach it
        fresh = jobs.stream_job(job)
        assert next(fresh).type == "submitted"
        assert jobs.call(_listeners, jobs) == 1


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
            threading.Thread(target=lambda n=n: results.append(jobs.submit_job(add, n, 1).result(timeout=20)))
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
