"""What runs in a fork runs as in an interpreter of its own."""

from __future__ import annotations

import subprocess

import pytest

from tests.cli.support import Shell


@pytest.mark.parametrize(
    "command",
    [
        "--version",
        "--help",
        "--db jobs.db --json jobs list",
        "--db jobs.db jobs logs chatter",
        "--db jobs.db jobs result panel_bad",
        "--db jobs.db jobs show nobody",
        "--app nothing config show",
        "jobs lst",
        "config show --origin",
    ],
)
def test_a_fork_prints_and_ends_as_a_new_interpreter_does(finished: Shell, command: str) -> None:
    new = finished.run(*command.split(), PYTHONUNBUFFERED="")  # whatever is about the interpreter is not forked
    assert finished.run(*command.split()) == new


def test_a_fork_that_takes_too_long_is_killed_and_the_next_one_runs(finished: Shell) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        finished.run("--db", "jobs.db", "jobs", "watch", "later", timeout=0.5)
    assert finished.good("--version").out.startswith("asyncjobs ")
