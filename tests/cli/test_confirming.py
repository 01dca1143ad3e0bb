"""What a command proposes works as it is printed: it asks only where there is a terminal on which to ask."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess

import pytest

from tests.cli.support import PATIENCE, Shell
from tests.cli.test_live import in_a_terminal

pytestmark = pytest.mark.slow

DB = ("--db", "jobs.db")


@pytest.fixture
def failed(finished: Shell, shell: Shell) -> Shell:
    """A copy of the store with jobs in several states, to be changed."""
    for path in finished.folder.glob("jobs.db*"):
        shutil.copy(path, shell.folder)
    return shell


def proposed(text: str) -> list[str]:
    """The command that the last line of a list proposes, split as a shell does."""
    found = re.search(r"retry the failed: asyncjobs ([^\r\n]*)", text)
    assert found is not None, text
    return shlex.split(found[1])


@pytest.mark.parametrize("filters", [(), ("--group", "noir"), ("--function", "app:fail"), ("--status", "failed")])
def test_the_retry_that_a_list_proposes_runs_as_printed_where_nothing_can_be_asked(
    failed: Shell, filters: tuple[str, ...]
) -> None:
    listed = failed.good(*DB, "jobs", "list", *filters)
    command = proposed(listed.err)
    assert command[-1] == "--yes"
    assert [word for word in command if word in ("noir", "app:fail")] == [*filters[1:]] * (filters[:1] != ("--status",))
    failed.good(*command)
    assert failed.stored("panel_bad") == "pending"


def test_on_a_terminal_it_is_proposed_without_an_answer_to_what_it_asks(failed: Shell) -> None:
    code, screen = in_a_terminal(failed, *failed.arguments(*DB, "--color", "never", "jobs", "list"), columns=200)
    assert code == 0
    assert proposed(screen) == [*DB, "jobs", "retry", "--failed"]


def test_a_list_of_a_queue_proposes_no_retry_of_other_queues(failed: Shell) -> None:
    assert "retry" not in failed.good(*DB, "jobs", "list", "--queue", "default").err


@pytest.mark.parametrize("command", ["jobs retry --failed", "jobs cancel --function app:add", "jobs rm --older 1s"])
def test_a_command_that_asks_names_the_option_that_answers_also_where_standard_input_is_closed(
    failed: Shell, command: str
) -> None:
    line = f"{shlex.join(failed.arguments(*DB, *shlex.split(command)))} <&-"
    ran = subprocess.run(
        line, shell=True, cwd=failed.folder, env=failed.environment, capture_output=True, text=True, timeout=PATIENCE
    )
    assert (ran.returncode, "pass --yes to" in ran.stderr) == (2, True), ran.stderr
