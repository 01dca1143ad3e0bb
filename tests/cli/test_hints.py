"""The flags in use stand in every command that a hint names. (tests/architecture/test_hints.py runs them all.)"""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from asyncjobs import (
    DuplicateJobError,
    JobCancelledError,
    JobExecutionError,
    JobNotFoundError,
    JobProcessorError,
    JobSkippedError,
    JobTimeoutError,
    NotSerializableError,
    WorkerLostError,
)
from asyncjobs.cli.hints import render_hint, with_flags
from tests.cli.inside import Inside
from tests.cli.support import Ran

DB = ("--db", "my jobs.db")


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inside:
    monkeypatch.setitem(sys.modules, "hinted", None)  # a module of this folder, not of that of another test
    monkeypatch.delitem(sys.modules, "hinted")
    return Inside(tmp_path, monkeypatch, "hinted")


def named(ran: Ran) -> list[list[str]]:
    """The commands that an answer names, split as a shell does."""
    found = re.findall(
        r"asyncjobs ((?:--|daemon|jobs|groups|doctor|config).*?)(?: hands its| shows what|\n|$)", ran.err + ran.out
    )
    return [shlex.split(text) for text in found]


def test_the_command_that_starts_a_daemon_is_the_same_everywhere_and_runs_as_printed(shell: Inside) -> None:
    submitted = shell.good(*DB, "jobs", "submit", "hinted:add", "--arg", "a=1")
    [start] = named(submitted)
    assert start == [*DB, "daemon", "start", "-d", "--allow", "hinted"]
    assert named(shell.run(*DB, "doctor")) == [start]
    assert named(shell.run(*DB, "jobs", "show", submitted.out.strip())) == [start]
    assert named(shell.run(*DB, "daemon", "status")) == [start]
    waiting = shell.run(*DB, "jobs", "submit", "hinted:add", "--arg", "a=1", "--delay", "1h")
    assert named(waiting) == [start]
    try:
        shell.good(*start)
        [second] = named(shell.good(*start))
        assert second == [*start, "--name", "second"]
        shell.good(*second)
    finally:
        for name in ("default", "second"):
            shell.run(*DB, "daemon", "stop", "--now", "--name", name)


def test_hints_of_errors_are_in_the_words_of_the_command_line() -> None:
    for hint in (
        "move it to module level, or submit it with local=True (here only)",
        "do it, or use local=True (here)",
    ):
        told = render_hint(NotSerializableError("$.func", "<lambda>", hint=hint))
        assert told in ("move it to module level", "do it")
    assert render_hint(NotSerializableError("$.func", "a file")) is None
    assert (
        render_hint(JobExecutionError("a b", attempt=1, error_type="E", message="no")) == "asyncjobs jobs retry 'a b'"
    )


def test_flags_are_put_behind_every_command_and_nothing_else() -> None:
    assert with_flags("asyncjobs jobs list, or asyncjobs daemon start", ["--db", "a b"]) == (
        "asyncjobs --db 'a b' jobs list, or asyncjobs --db 'a b' daemon start"
    )
    assert with_flags("asyncjobs is a package; import asyncjobs.web", ["--db", "x"]) == (
        "asyncjobs is a package; import asyncjobs.web"
    )


ERRORS = [
    JobExecutionError("it", attempt=1, error_type="ValueError", message="no"),
    WorkerLostError("it", attempt=3, error_type="WorkerLostError", message="gone"),
    JobCancelledError("it"),
    JobSkippedError("it", "cause"),
    JobTimeoutError("job 'it'", 3.0, job_id="it"),
    JobTimeoutError("the group", 3.0),
    DuplicateJobError("it"),
    JobNotFoundError("it"),
    JobNotFoundError("it", near="its"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_hints_at_the_command_line_are_no_calls_of_a_program(error: JobProcessorError) -> None:
    hint = render_hint(error)
    assert hint
    assert not re.search(r"await |handle|if_exists|job_id|JobProcessor|\(", hint)


def test_a_job_that_waited_in_vain_is_retried_after_the_one_it_waited_for() -> None:
    cause = "job 'root/it s' failed after 1 attempt: RuntimeError: 503"
    message = f"{cause}\n  hint: await jp.handle('root/it s').retry(), then retry this job"
    error = JobExecutionError("root", attempt=1, error_type="asyncjobs.exceptions.JobExecutionError", message=message)
    assert render_hint(error) == "asyncjobs jobs retry 'root/it s' root"
    assert str(error.args[0]).endswith("503")
