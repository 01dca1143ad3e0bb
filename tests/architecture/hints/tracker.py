"""What the job tracker and its commands print."""

from __future__ import annotations

import logging
import re
import shlex
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from asyncjobs import JobProcessor, SyncJobs
from asyncjobs.compat import Job, JobStatus, JobTracker, PipelineState
from tests.architecture.hints.following import Hints, Words, refused
from tests.compat.old_files import old_job, write_old


@contextmanager
def logged() -> Generator[list[str]]:
    """Collect what the tracker logs."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger = logging.getLogger("asyncjobs.compat")
    logger.addHandler(handler)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)


def old_files(hints: Hints) -> None:
    shell = hints.shell
    write_old(shell.folder / "cinema_jobs.db", [old_job("a"), old_job("b", status="odd")])
    itself = shell.run("legacy", "import", "cinema_jobs.db", "--db", "cinema_jobs.db")
    assert "--db, or none" in hints.follow(itself.err)
    shell.good("legacy", "import", "cinema_jobs.db", "--db", "another.db")

    with logged() as lines:
        JobTracker("cinema_jobs.db")
    [command] = re.findall(r"'asyncjobs (legacy import .*--dry-run)'", hints.follow(lines[-1]))
    assert "status 'odd' is not known" in shell.good(*shlex.split(command)).err


async def trackers(hints: Hints) -> None:
    names = {"JobProcessor": JobProcessor, "JobTracker": JobTracker}
    path = hints.folder / "jobs.db"
    tracker = JobTracker(path)
    on_loop = refused(lambda: tracker.save_job(Job(id="a", type="image", func=abs), "m"))
    statement = "async with JobProcessor(tracker.file) as jp: JobTracker(…, processor=jp)"
    await hints.awaited(on_loop, statement, "tracker.file", tracker=tracker, **names)

    memory = refused(lambda: JobTracker(path, processor=JobProcessor("memory")))
    made = hints.code(memory, f"JobProcessor({str(path)!r})", **names)
    assert JobTracker(path, processor=made).file == path

    other = hints.folder / "other.db"
    apart = refused(lambda: JobTracker(path, processor=JobProcessor(other)))
    made = hints.code(apart, f"JobProcessor({str(path)!r})", **names)
    assert JobTracker(path, processor=made).file == path
    made = hints.code(apart, f"JobTracker({str(other)!r}, …)", "processor=other", other=JobProcessor(other), **names)
    assert made.file == other


def what_is_completed(hints: Hints) -> None:
    path = hints.folder / "jobs.db"
    tracker = JobTracker(path)
    state = PipelineState.create("m")
    state.images_complete = True
    state.add_job(Job(id="a", type="image", status=JobStatus.COMPLETED))
    tracker.save_state(state)

    with logged() as lines:
        tracker.save_job(Job(id="a", type="image", func=abs, args=(-1,)), "m")
    loaded = hints.code(lines[-1], "tracker.load_state('m')", tracker=tracker)
    [again] = loaded.jobs
    again.status, again.func, again.args = JobStatus.PENDING, abs, (-1,)
    with SyncJobs(path) as jobs:
        JobTracker(path, processor=jobs).save_state(loaded)
        jobs.drain("m", timeout=20)
        assert [job.id for job in jobs.find_jobs()] == ["m/a"]

    with logged() as lines:
        tracker.save_state(PipelineState.create("m"))
    assert "images_complete" in lines[-1]
    tracker.save_state(state)
    with logged() as lines_after:
        tracker.save_state(hints.code(lines[-1], "tracker.load_state('m')", tracker=tracker))
    assert lines_after == []
    assert tracker.load_state("m").images_complete


LISTED: dict[tuple[str, str], Callable[[Hints], Any] | Words] = {
    ("compat/legacy.py", "name another file with --db, or none: then it is the one beside it"): old_files,
    ("compat/places.py", "{} --dry-run"): old_files,
    ("compat/opening.py", "JobProcessor({})"): trackers,
    ("compat/opening.py", "both need one file: JobProcessor({}), or JobTracker({}, …)"): trackers,
    (
        "compat/opening.py",
        "async with JobProcessor(tracker.file) as jp: JobTracker(…, processor=jp) has it run beside the loop",
    ): trackers,
    (
        "compat/writing.py",
        "movie %r: not submitted, and left as they are, because they completed before: %s; to run one again, set "
        "the status of the job that tracker.load_state(%r) returns to pending, and save it",
    ): what_is_completed,
    (
        "compat/writing.py",
        "movie %r: saving a state that does not have what was saved before has reset %s; go on with the state that "
        "tracker.load_state(%r) returns to keep it",
    ): what_is_completed,
}
