"""A tracker's file among processes that die, threads, forks, and full disks."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from asyncjobs import BackendClosedError, BackendError, JobProcessor, SyncJobs
from asyncjobs.compat import Job, JobStatus, JobTracker
from tests.compat import victim, work
from tests.compat.old_files import digest, old_job, old_state, write_old
from tests.compat.victim import JOBS, state_of
from tests.faults.test_disk_full import SmallDisk
from tests.forked import forked

SAVING = ["before the state", "behind the state", "among the jobs", "behind the jobs"]

IMPORTING = ["before the tables", "behind the tables", "among the jobs", "behind the rows"]


def run(*arguments: str) -> int:
    with forked([victim.__name__, *arguments]) as process:
        return process.wait(60)


def version_in(tracker: JobTracker) -> int:
    """The version that all of a state tells of."""
    state = tracker.load_state("m")
    version = state.screenplay_dict["version"]
    assert state.images_complete is (version % 2 == 1)
    assert [job.error for job in state.jobs] == [str(version)] * JOBS
    return version


# -- SIGKILL


@pytest.mark.parametrize("point", [*SAVING, "behind the commit"])
def test_a_process_that_dies_inside_of_save_state_leaves_all_of_it_or_nothing(tmp_path: Path, point: str) -> None:
    tracker = JobTracker(tmp_path / "jobs.db")
    tracker.save_state(state_of(1))
    assert run("save", str(tracker.file), point) == -signal.SIGKILL
    assert version_in(tracker) == (2 if point == "behind the commit" else 1)
    tracker.save_state(state_of(3))
    assert version_in(tracker) == 3


@pytest.mark.slow
def test_a_process_that_dies_at_any_moment_leaves_what_it_acknowledged(tmp_path: Path) -> None:
    tracker = JobTracker(tmp_path / "jobs.db")
    draw = random.Random(1)
    for _ in range(8):
        with forked(
            [victim.__name__, "save for ever", str(tracker.file)], stdout=subprocess.PIPE, text=True
        ) as process:
            acknowledged = 0
            for _ in range(draw.randrange(1, 6)):
                acknowledged = int(process.stdout.readline())
            killer = threading.Timer(draw.uniform(0, 0.02), process.kill)
            killer.start()
            rest = [int(line) for line in process.stdout.read().split()]
            killer.join()
        assert version_in(tracker) in range(max([acknowledged, *rest]), max([acknowledged, *rest]) + 2)


@pytest.mark.parametrize(
    "point", ["before the tables", "behind the tables", "among the jobs", "behind the rows", "behind the commit"]
)
def test_a_process_that_dies_inside_of_the_import_leaves_all_of_it_or_nothing(tmp_path: Path, point: str) -> None:
    old = tmp_path / "cinema_jobs.db"
    write_old(old, [old_job(f"j{i}") for i in range(JOBS)], [old_state("m1")])
    before = digest(old)
    assert run("open", str(old), point) == -signal.SIGKILL
    new = old.with_name("cinema_jobs.asyncjobs.db")
    with closing(sqlite3.connect(new)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master").fetchall()]
        count = connection.execute("SELECT count(*) FROM tracked_jobs").fetchone()[0] if "tracked_jobs" in tables else 0
    assert count == (JOBS if point == "behind the commit" else 0)
    tracker = JobTracker(old)
    assert tracker.get_progress("m1")["completed"] == JOBS
    assert len(tracker.load_state("m1").jobs) == JOBS
    assert digest(old) == before


def test_a_process_that_dies_between_submitting_and_the_records_completes_it_when_it_saves_again(
    tmp_path: Path,
) -> None:
    code = """
import os, signal, sys
from asyncjobs import SyncJobs
from asyncjobs.compat import Job, JobTracker, PipelineState
from asyncjobs.compat.writing import Saver
from tests.compat import work

def movie():
    state = PipelineState.create("m")
    state.jobs = [Job(id="rec", type="image"), Job(id="run", type="image", func=work.draw)]
    return state

if __name__ == "__main__":
    with SyncJobs(sys.argv[1]) as jobs:
        tracker = JobTracker(sys.argv[1], processor=jobs)
        if sys.argv[2] == "die":
            Saver._put = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        tracker.save_state(movie())
        jobs.drain("m")
        print(sorted((job.id, job.status.value) for job in tracker.load_state("m").jobs))
"""
    path = tmp_path / "jobs.db"
    ran = [
        subprocess.run([sys.executable, "-c", code, str(path), what], capture_output=True, text=True, check=False)
        for what in ("die", "live")
    ]
    assert ran[0].returncode == -signal.SIGKILL, ran[0].stderr
    assert ran[1].stdout.strip() == "[('rec', 'pending'), ('run', 'completed')]", ran[1].stderr


# -- many at once


@pytest.mark.slow
def test_two_processes_and_eight_threads_on_one_file(tmp_path: Path) -> None:
    tracker = JobTracker(tmp_path / "jobs.db")
    errors: list[BaseException] = []

    def write(name: str) -> None:
        try:
            victim.main("count", str(tracker.file), name)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(f"thread {number}",)) for number in range(8)]
    with forked([victim.__name__, "count", str(tracker.file), "a process"]) as process:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert process.wait(60) == 0
    assert errors == []
    progress = tracker.get_progress("m")
    assert (progress["total"], progress["completed"]) == (225, 225)


def test_trackers_that_open_one_old_file_at_once_import_it_once(tmp_path: Path) -> None:
    old = tmp_path / "cinema_jobs.db"
    write_old(old, [old_job(f"j{i}") for i in range(100)], [old_state("m1")])
    totals: list[int] = []
    barrier = threading.Barrier(4)

    def open_it() -> None:
        barrier.wait()
        totals.append(JobTracker(old).get_progress("m1")["total"])

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert totals == [100] * 4


# -- fork


def child(body: str, path: Path) -> str:
    code = f"""
import os, signal, sys
from asyncjobs import BackendClosedError, SyncJobs
from asyncjobs.compat import Job, JobTracker

def in_a_fork(call):
    child = os.fork()
    if child == 0:
        signal.alarm(30)  # one that waits for ever is not left behind
        try:
            print(call())
        except BaseException as error:
            print(type(error).__name__)
        sys.stdout.flush()
        os._exit(0)
    os.waitpid(child, 0)

{body}
"""
    ran = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code, str(path)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_a_tracker_without_a_processor_goes_on_in_a_forked_child(tmp_path: Path) -> None:
    body = """
tracker = JobTracker(sys.argv[1])
tracker.save_job(Job(id="of the parent", type="image"), "m")
in_a_fork(lambda: [tracker.save_job(Job(id="of the child", type="image"), "m"), len(tracker.get_jobs_by_movie("m"))])
tracker.save_job(Job(id="later", type="image"), "m")
print(sorted(job.id for job in tracker.get_jobs_by_movie("m")))
"""
    assert child(body, tmp_path / "jobs.db").splitlines() == ["[None, 2]", "['later', 'of the child', 'of the parent']"]


@pytest.mark.slow
def test_a_fork_waits_until_no_other_thread_has_the_file_open(tmp_path: Path) -> None:
    """Without that, more than half of the children wait for a thread that they do not have, and fail."""
    body = """
import threading
tracker, done = JobTracker(sys.argv[1]), threading.Event()

def write(name):
    while not done.is_set():
        tracker.save_job(Job(id=name, type="image"), "m")

threads = [threading.Thread(target=write, args=(str(number),)) for number in range(3)]
for thread in threads:
    thread.start()
for number in range(15):
    in_a_fork(lambda: tracker.save_job(Job(id=str(number), type="image"), "of children"))
done.set()
for thread in threads:
    thread.join()
print(tracker.get_progress("of children")["total"])
"""
    assert child(body, tmp_path / "jobs.db").split() == ["None"] * 15 + ["15"]


def test_a_fork_in_the_middle_of_a_call_does_not_wait_for_it(tmp_path: Path) -> None:
    """By the handler of a signal, say. The call of the parent goes on."""
    body = """
import time
from asyncjobs.compat import records
from asyncjobs.compat.file import RecordFile
from asyncjobs.config import SQLiteConfig
JobTracker(sys.argv[1])
began = time.monotonic()
with RecordFile(SQLiteConfig(db_path=sys.argv[1])).writing() as connection:
    in_a_fork(lambda: "forked")
    records.put_state(connection, "m", (0, 0, 0, 0, 0, None, None))
print(JobTracker(sys.argv[1]).load_state("m").movie_id, time.monotonic() - began < 4)
"""
    assert child(body, tmp_path / "jobs.db").split() == ["forked", "m", "True"]


def test_a_tracker_with_a_processor_is_closed_in_a_forked_child(tmp_path: Path) -> None:
    body = """
with SyncJobs(sys.argv[1]) as jobs:
    tracker = JobTracker(sys.argv[1], processor=jobs)
    in_a_fork(lambda: tracker.get_progress("m"))
    in_a_fork(lambda: tracker.save_job(Job(id="a", type="image"), "m"))
    in_a_fork(lambda: JobTracker(sys.argv[1]).get_progress("m")["total"])
    print(tracker.get_progress("m")["total"])
"""
    assert child(body, tmp_path / "jobs.db").splitlines() == ["BackendClosedError", "BackendClosedError", "0", "0"]


# -- after the processor was left


def test_no_descriptor_is_left_open_by_calls_that_reach_the_store(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    with SyncJobs(path) as jobs:
        tracker = JobTracker(path, processor=jobs)
        tracker.save_job(Job(id="a", type="image", func=work.draw), "m")
        before, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
        for _ in range(10):
            tracker.save_job(Job(id="a", type="image", func=work.draw), "m")
            tracker.get_jobs_by_movie("m")
        assert len(os.listdir("/proc/self/fd")) <= before + 2, "the store of the processor opens its readers meanwhile"
        assert threading.active_count() <= threads + 2


def test_after_the_processor_was_left_a_tracker_of_ones_own_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    with SyncJobs(path) as jobs:
        tracker = JobTracker(path, processor=jobs)
        tracker.save_job(Job(id="a", type="image", func=work.draw), "m")
        jobs.drain("m")
    with pytest.raises(BackendClosedError):
        tracker.get_job("a")
    assert JobTracker(path).get_job("a").status is JobStatus.COMPLETED


# -- disks


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small tmpfs")
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)], check=False).returncode:
        pytest.skip("a tmpfs may not be mounted here")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_a_clear_error_and_what_was_saved_stays(disk: SmallDisk) -> None:
    tracker = JobTracker(disk.folder / "jobs.db")
    tracker.save_state(state_of(1))
    disk.fill()
    with pytest.raises(BackendError) as caught:
        for version in range(2, 200):
            state = state_of(version)
            for job in state.jobs:
                job.metadata = {"padding": "x" * 1000}
            tracker.save_state(state)
    assert caught.value.code in ("disk-full", "io-error", "cannot-open")
    disk.make_room()
    assert version_in(tracker) >= 1
    tracker.save_state(state_of(1000))
    assert version_in(tracker) == 1000


def test_an_import_into_a_full_disk_leaves_nothing_half(disk: SmallDisk) -> None:
    old = disk.folder / "cinema_jobs.db"
    write_old(old, [old_job(f"j{i}", error="x" * 1000) for i in range(1000)], [old_state("m1")])
    before = digest(old)
    disk.fill()
    with pytest.raises((BackendError, ValueError)) as caught:
        JobTracker(old)
    assert caught.value.hint
    disk.make_room()
    assert JobTracker(old).get_progress("m1")["total"] == 1000
    assert digest(old) == before


def test_a_folder_that_is_read_only_is_refused(others_folder: Path) -> None:
    arguments = [victim.__name__, "in a folder that is read-only", str(others_folder / "jobs.db")]
    with forked(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert "ConfigurationError" in (said := process.stdout.read()), said
    assert "is not writable" in said


@pytest.mark.anyio
async def test_a_file_that_another_process_locks_for_a_moment_is_waited_for(tmp_path: Path) -> None:
    tracker = JobTracker(tmp_path / "jobs.db")
    with closing(sqlite3.connect(tracker.file, isolation_level=None, check_same_thread=False)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        release = threading.Timer(0.3, connection.execute, ["COMMIT"])
        release.start()
        await anyio.to_thread.run_sync(tracker.save_job, Job(id="a", type="image"), "m")
        release.join()
    assert tracker.get_job("a").id == "a"


@pytest.mark.anyio
async def test_records_are_written_while_the_loop_is_busy(tmp_path: Path) -> None:
    """The loop of the processor gets no turn meanwhile: a call that needed it would never return."""
    path = tmp_path / "jobs.db"
    async with JobProcessor(path) as jp:
        tracker = JobTracker(path, processor=jp)
        for number in range(20):
            tracker.save_job(Job(id=str(number), type="image", func=work.draw), "m")
            assert tracker.get_job(str(number)).status in (JobStatus.PENDING, JobStatus.IN_PROGRESS)
        await jp.drain("m", timeout=20)
        assert tracker.get_progress("m")["completed"] == 20
