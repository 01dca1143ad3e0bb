"""Every command that a hint names runs as it is printed, with the flags in use."""

from __future__ import annotations

import re
import shlex

import pytest

from asyncjobs.cli.hints import with_flags
from tests.cli.support import Ran, Shell

pytestmark = pytest.mark.slow
DB = ("--db", "my jobs.db")


def named(ran: Ran) -> list[list[str]]:
    """The commands that an answer names, split as a shell does."""
    found = re.findall(
        r"asyncjobs ((?:--|daemon|jobs|groups|doctor|config).*?)(?: hands its| shows what|\n|$)", ran.err + ran.out
    )
    return [shlex.split(text) for text in found]


def test_hints_of_a_store_without_a_worker_run_as_printed(shell: Shell) -> None:
    submitted = shell.good(*DB, "jobs", "submit", "app:fail", "--id", "bad", "--max-retries", "0")
    shell.good(*DB, "jobs", "submit", "app:add", "--arg", "a=1", "--after", "bad", "--id", "behind")
    [start] = named(submitted)
    assert start == [*DB, "daemon", "start", "-d", "--allow", "app"]
    assert named(shell.run(*DB, "doctor")) == [start]
    [again] = named(shell.run(*DB, "daemon", "status"))
    assert again == start
    shell.good(*start)
    [second] = named(shell.good(*start))
    assert second == [*start, "--name", "second"]
    shell.run(*DB, "jobs", "result", "bad", "--wait", "--timeout", "30s")
    [retry] = named(shell.run(*DB, "jobs", "result", "bad"))
    assert retry == [*DB, "jobs", "retry", "bad"]
    [cause] = named(shell.run(*DB, "jobs", "result", "behind"))
    assert cause == retry
    shell.good(*cause)
    for arguments in (("jobs", "cancel"), ("jobs", "watch"), ("groups", "show", "nobody")):
        for command in named(shell.run(*DB, *arguments)):
            assert command[:2] == list(DB)
            shell.good(*command)
    shell.good(*DB, "daemon", "stop", "--now")


def test_flags_are_put_behind_every_command_and_nothing_else() -> None:
    assert with_flags("asyncjobs jobs list, or asyncjobs daemon start", ["--db", "a b"]) == (
        "asyncjobs --db 'a b' jobs list, or asyncjobs --db 'a b' daemon start"
    )
    assert with_flags("asyncjobs is a package; import asyncjobs.web", ["--db", "x"]) == (
        "asyncjobs is a package; import asyncjobs.web"
    )
