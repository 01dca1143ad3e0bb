"""The drain matrix: every call that a body may make × async, thread, child process × every way to leave a processor
that runs in a process of its own. No job fails; what waits for others goes back uncounted; all the rest completes.

``drain_program`` has the bodies; a run of it has them all side by side.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, NamedTuple

import pytest

from asyncjobs import JobQuery, JobStatus, SQLiteConfig, SyncJobs
from asyncjobs.models import Job
from tests.faults.children import ROOT
from tests.faults.drain_program import FOLDER, LEAVING, PIPES, SAID, SLOTS, THE_END, submit_all
from tests.runtime.drain_calls import ENDED

pytestmark = [pytest.mark.slow, pytest.mark.untraced]

PATIENCE = 90.0
"""Seconds: longer than ``asyncjobs daemon stop`` waits for the daemon (60)."""
STOPPED = {"CancelledError", "BodyStopped"}
"""What a body's wait raises once its job is released."""


class Program:
    """A program that runs jobs, and the test's ends of its pipes."""

    def __init__(self, folder: Path, arguments: list[str]) -> None:
        self.folder = folder
        for pipe in PIPES:
            os.mkfifo(folder / pipe)
        self._said = os.open(folder / SAID, os.O_RDWR)  # it has no end, whoever closes theirs
        self._opened = [self._said]
        self._buffer = b""
        self.environment = {
            **os.environ,
            FOLDER: str(folder),
            "PYTHONPATH": str(ROOT),
            "XDG_STATE_HOME": str(folder / "state"),
            "XDG_CONFIG_HOME": str(folder / "config"),
        }
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.log: list[str] = []
        self._lines: SimpleQueue[str] = SimpleQueue()
        self._reader = Thread(target=self._read)
        self._reader.start()

    def hear(self, count: int) -> list[list[Any]]:
        """The next so many lines that its bodies say."""
        lines: list[list[Any]] = []
        deadline = time.monotonic() + PATIENCE
        while len(lines) < count:
            line, found, rest = self._buffer.partition(b"\n")
            if found:
                self._buffer = rest
                lines.append(json.loads(line))
                continue
            heard = select.select([self._said], [], [], max(0.0, deadline - time.monotonic()))[0]
            assert heard, f"{count - len(lines)} of {count} lines did not come; these did: {lines}\n{self.text}"
            self._buffer += os.read(self._said, 65_536)
        return lines

    def open(self, pipe: str) -> None:
        """Let go on who waits for this, and who will."""
        self._opened.append(os.open(self.folder / pipe, os.O_RDWR))

    def _read(self) -> None:
        """Read its log as it comes: a daemon that has to wait until it may write stands still."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)
            self._lines.put(line)

    @property
    def text(self) -> str:
        """Its log so far, for the messages of assertions."""
        return "its log:\n" + "".join(self.log)

    def until(self, words: str) -> None:
        """Read its log until this comes."""
        deadline = time.monotonic() + PATIENCE
        try:
            while words not in self._lines.get(timeout=max(0.0, deadline - time.monotonic())):
                pass
        except Empty:
            raise AssertionError(f"{words!r} did not come; {self.text}") from None

    def end(self) -> int:
        """Wait until it has ended; its exit code."""
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end; {self.text}") from None
        self._reader.join(PATIENCE)
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.end()
        for stream in (self.process.stdin, self.process.stderr):
            if stream is not None:
                stream.close()
        for descriptor in self._opened:
            os.close(descriptor)


EMBEDDED = ["-W", "error", "-c", "import sys; from tests.faults.drain_program import main; main(sys.argv[1])"]
CLI = ["-m", "asyncjobs", "--app", "tests.faults.drain_program:jp"]
DAEMON = [*CLI, "daemon", "start", "--num-workers", str(SLOTS)]  # with 30 s for running jobs


def send(number: signal.Signals) -> Callable[[Program, ExitStack], None]:
    return lambda program, stack: program.process.send_signal(number)


def stop_by_command(program: Program, stack: ExitStack) -> None:
    """``asyncjobs daemon stop``, which waits until the daemon has drained."""
    command = subprocess.Popen(
        [sys.executable, *CLI, "daemon", "stop"],
        cwd=ROOT,
        env=program.environment,
        stderr=subprocess.PIPE,
        text=True,
    )

    def ended() -> None:
        said = command.communicate(timeout=PATIENCE)[1]
        assert command.returncode == 0, f"{said}\n{program.text}"

    stack.callback(ended)


def leave_in_peace(program: Program, stack: ExitStack) -> None:
    assert program.process.stdin is not None
    program.process.stdin.write("\n")
    program.process.stdin.flush()


class Way(NamedTuple):
    """How a processor is left: the program, what begins it, what the log then says, the exit code."""

    arguments: list[str]
    begin: Callable[[Program, ExitStack], None]
    log: str
    code: int


WAYS = {
    "embedded, left in peace": Way([*EMBEDDED, "in peace"], leave_in_peace, "leaving", 0),
    "embedded, SIGINT": Way([*EMBEDDED, "by a signal"], send(signal.SIGINT), "leaving: ", -signal.SIGINT),
    "embedded, SIGTERM": Way([*EMBEDDED, "by a signal"], send(signal.SIGTERM), "leaving: ", -signal.SIGTERM),
    "daemon, SIGTERM": Way(DAEMON, send(signal.SIGTERM), "draining: ", 0),
    "daemon, asyncjobs daemon stop": Way(DAEMON, stop_by_command, "draining: ", 0),
}


@pytest.mark.parametrize("way", WAYS)
def test_no_call_of_a_body_fails_its_job_while_the_processor_is_left(way: str, tmp_path: Path) -> None:
    arguments, begin, words, code = WAYS[way]
    with ExitStack() as stack:
        program = Program(tmp_path, arguments)
        stack.callback(program.close)
        with SyncJobs(SQLiteConfig(db_path=tmp_path / "jobs.db"), enable_daemon=False) as jobs:
            embedded, each = way.startswith("embedded"), way == "embedded, left in peace"
            ending, waiting = submit_all(jobs, embedded=embedded, each_in_a_process=each)
            begun = program.hear(sum(2 if "ASK" in job_id else 1 for job_id in ending | waiting))  # with what they know
            jobs.handle(ENDED).result(timeout=PATIENCE)
        assert {word for word, _ in begun} == {"began"}, program.text

        begin(program, stack)
        program.until(words)
        program.open(LEAVING)
        heard = program.hear(sum(map(len, (ending | waiting).values())))
        program.open(THE_END)
        assert program.end() == code, program.text

    log = program.text
    came = {(job_id, name): error for job_id, name, error in heard}
    assert {call: error for call, error in came.items() if call[0] in ending} == {
        (job_id, name): "" for job_id, names in ending.items() for name in names
    }, log
    assert {call[0] for call in came} == ending.keys() | waiting.keys(), log
    assert {error for call, error in came.items() if call[0] in waiting} <= STOPPED, log

    stored = read(tmp_path)
    assert {job.id: job.error for job in stored.values() if job.status is JobStatus.FAILED} == {}, log
    assert {
        job.id: (job.failures, job.interruptions) for job in stored.values() if job.failures + job.interruptions
    } == {}, log
    assert {stored[job_id].status for job_id in ending} == {JobStatus.COMPLETED}, log
    assert {stored[job_id].status for job_id in waiting} == {JobStatus.PENDING}, log
    assert {job.status for job in stored.values() if job.id.endswith("/running")} == {JobStatus.COMPLETED}, log
    assert JobStatus.IN_PROGRESS not in {job.status for job in stored.values()}, log


def read(folder: Path) -> dict[str, Job]:
    with SyncJobs(SQLiteConfig(db_path=folder / "jobs.db"), enable_daemon=False) as jobs:
        return {job.id: job for job in jobs.find_jobs(JobQuery(limit=1000))}
