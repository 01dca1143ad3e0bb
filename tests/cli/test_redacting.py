"""Commands show of values what the setting ``redact`` lets them: no secrets by default, everything if it is empty."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import pytest

from asyncjobs import SyncJobs
from tests.cli.support import Shell

DB = ("--db", "jobs.db")
APP = """
from typing import Any
from asyncjobs import JobProcessor, current_job, job


async def sign_in(token: str, cfg: Any = None, *, api_key: str = "") -> dict[str, str]:
    current_job().emit("output", {"password": "of-an-event"})
    return {"token": "of-the-result", "user": "ana"}


@job(max_retries=0)
async def fail() -> None:
    raise ValueError("said in an error")


jp = JobProcessor("jobs.db", functions=[sign_in, fail])
"""
HIDING = """
def hide(what, value):
    return "not shown"


def errors(what, value):
    return f"hidden {what}"


def broken(what, value):
    raise LookupError("no rules today")
"""
NESTED, KEYWORD, POSITION, METADATA = "of-a-dict", "of-a-keyword", "by-position", "of-metadata"
COMMANDS = [
    ("jobs", "show", "one"),
    ("--json", "jobs", "show", "one"),
    ("jobs", "list"),
    ("--json", "jobs", "list"),
    ("jobs", "result", "one"),
    ("events", "tail", "--after", "0", "--no-follow"),
    ("--json", "events", "tail", "--after", "0", "--no-follow"),
    ("--json", "jobs", "watch", "one"),
    ("jobs", "watch", "one"),
]
SECRETS = (NESTED, KEYWORD, METADATA, "of-an-event", "of-the-result")


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A store with a job whose every value has a secret, and one that failed."""
    shell = Shell(tmp_path_factory.mktemp("redacting"))
    (shell.folder / "signing.py").write_text(APP)
    (shell.folder / "hiding.py").write_text(HIDING)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(shell.folder))
        patch.chdir(shell.folder)
        signing: Any = importlib.import_module("signing")
        with SyncJobs(shell.folder / "jobs.db", functions=[signing.sign_in, signing.fail]) as jobs:
            jobs.submit_job(
                signing.sign_in,
                args=(POSITION, {"password": NESTED}),
                kwargs={"api_key": KEYWORD},
                metadata={"secret": METADATA},
                job_id="one",
            )
            jobs.submit_job(signing.fail, job_id="bad")
            jobs.wait_for_job("one")
            jobs.wait_for_job("bad")
        yield shell


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_command_shows_what_looks_secret(shell: Shell, command: tuple[str, ...]) -> None:
    shown = shell.run(*DB, *command, COLUMNS="300").out
    assert [secret for secret in SECRETS if secret in shown] == []
    everything = shell.run(*DB, *command, COLUMNS="300", ASYNCJOBS_REDACT="").out
    hides = "•••" in shown or "\\u2022" in shown
    assert hides is any(secret in everything for secret in SECRETS), "it hides what it would show otherwise"


def test_everything_is_shown_where_the_setting_is_empty(shell: Shell) -> None:
    shown = "".join(shell.run(*DB, *command, ASYNCJOBS_REDACT="").out for command in COMMANDS)
    assert [secret for secret in (*SECRETS, POSITION) if secret not in shown] == []


def test_only_the_secret_part_of_a_result_is_hidden(shell: Shell) -> None:
    assert shell.good(*DB, "jobs", "result", "one").json == {"token": "•••", "user": "ana"}


def test_an_argument_by_position_is_hidden_where_the_application_is_loaded(shell: Shell) -> None:
    assert POSITION not in shell.good("--app", "signing:jp", "jobs", "show", "one").out
    assert POSITION in shell.good(*DB, "jobs", "show", "one").out, "without it, nothing knows its name"


@pytest.mark.parametrize(
    "command", [*COMMANDS, ("jobs", "show", "bad"), ("jobs", "result", "bad"), ("jobs", "logs", "bad")]
)
def test_a_function_of_ones_own_decides(shell: Shell, command: tuple[str, ...]) -> None:
    ran = shell.run(*DB, *command, ASYNCJOBS_REDACT="hiding:hide")
    assert [one for one in (*SECRETS, POSITION, "ana", "said in an error") if one in ran.out + ran.err] == []


def test_one_that_fails_shows_nothing(shell: Shell) -> None:
    for command in (
        ("jobs", "show", "one"),
        ("jobs", "result", "one"),
        ("events", "tail", "--after", "0", "--no-follow"),
    ):
        ran = shell.run(*DB, *command, ASYNCJOBS_REDACT="hiding:broken")
        assert ran.code == 1
        assert "redact: hiding:broken failed: LookupError: no rules today" in ran.err
        assert [one for one in (*SECRETS, POSITION) if one in ran.out + ran.err] == []
