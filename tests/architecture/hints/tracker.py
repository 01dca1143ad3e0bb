"""What the job tracker and its commands print."""

from __future__ import annotations

import logging
import re
import shlex

from asyncjobs import JobProcessor
from asyncjobs.compat import Job, JobTracker
from tests.architecture.hints.following import Hints, refused
from tests.compat.old_files import old_job, write_old


def old_files(hints: Hints) -> None:
    shell = hints.shell
    write_old(shell.folder / "cinema_jobs.db", [old_job("a"), old_job("b", status="odd")])
    itself = shell.run("legacy", "import", "cinema_jobs.db", "--db", "cinema_jobs.db")
    assert "--db, or none" in hints.follow(itself.err)
    shell.good("legacy", "import", "cinema_jobs.db", "--db", "another.db")

    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger = logging.getLogger("asyncjobs.compat")
    logger.addHandler(handler)
    try:
        JobTracker("cinema_jobs.db")
    finally:
        logger.removeHandler(handler)
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
