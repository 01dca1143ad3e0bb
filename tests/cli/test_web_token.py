"""The token of the HTTP interface comes from the environment, for what serves it and what asks it."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Generator
from contextlib import contextmanager

import httpx
import pytest

from tests.cli.support import PATIENCE, Shell, until

APP = ("--app", "app:jp")
DB = ("--db", "jobs.db")
TOKEN = "a-token-of-the-environment"
SET = {"ASYNCJOBS_WEB_TOKEN": TOKEN}
CLOSED = "the HTTP interface listens on 0.0.0.0 and has no token: it answers this machine only"


def status_code(url: str, token: str | None = None) -> int:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return httpx.get(f"{url}/v1/jobs", headers=headers).status_code


@contextmanager
def ended(process: subprocess.Popen[str]) -> Generator[subprocess.Popen[str]]:
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE)


@contextmanager
def web(shell: Shell, *options: str, **environment: str) -> Generator[str]:
    """Serve the interface; give its URL."""
    with ended(shell.start(*DB, "web", "--port", "0", *options, **environment)) as process:
        assert process.stderr is not None
        yield next(line for line in process.stderr if "/v1/" in line).split()[-1].removesuffix("/v1/")


def test_web_takes_it_and_the_flag_wins(shell: Shell) -> None:
    with web(shell, **SET) as url:
        assert (status_code(url), status_code(url, TOKEN)) == (401, 200)
    other = "another-token-of-the-flag"
    with web(shell, "--token", other, **SET) as url:
        assert (status_code(url, TOKEN), status_code(url, other)) == (401, 200)
    with web(shell, ASYNCJOBS_WEB_TOKEN="") as url:
        assert status_code(url) == 200, "an empty variable is none"


def test_web_serves_others_with_it_and_refuses_to_without(shell: Shell) -> None:
    with web(shell, "--host", "0.0.0.0", **SET) as url:
        assert (status_code(url), status_code(url, TOKEN)) == (401, 200)
    refused = shell.run(*DB, "web", "--host", "0.0.0.0", ASYNCJOBS_WEB_TOKEN="")
    assert refused.code == 2
    assert "ASYNCJOBS_WEB_TOKEN" in refused.err


@pytest.mark.parametrize("command", [(*DB, "web"), (*APP, "daemon", "start", "--http", ":0")])
def test_a_token_that_is_none_is_refused_without_being_printed(shell: Shell, command: tuple[str, ...]) -> None:
    ran = shell.run(*command, ASYNCJOBS_WEB_TOKEN="short-one")
    assert ran.code == 2
    assert "a token is 16 or more printable ASCII characters" in ran.err
    assert "short-one" not in ran.err


def test_a_daemon_serves_with_it_and_restarts_with_it(shell: Shell) -> None:
    try:
        started = shell.good(*APP, "daemon", "start", "-d", "--http", "0.0.0.0:0", **SET)
        assert CLOSED not in started.err
        for _ in range(2):
            url = shell.good("--json", *APP, "daemon", "status").json["http"]
            assert (status_code(url), status_code(url, TOKEN)) == (401, 200)
            shell.good(*APP, "daemon", "restart", **SET)
        state = "".join(path.read_text() for path in (shell.folder / "state").rglob("*") if path.is_file())
        assert TOKEN not in state, "it is in no file"
    finally:
        shell.run(*APP, "daemon", "stop", "--now")


def test_a_restart_does_not_lose_it_unnoticed(shell: Shell) -> None:
    try:
        shell.good(*APP, "daemon", "start", "-d", "--http", ":0", **SET)
        before = shell.good("--json", *APP, "daemon", "status").json
        refused = shell.run(*APP, "daemon", "restart")
        assert refused.code == 6
        assert "has a token, and ASYNCJOBS_WEB_TOKEN is not set here" in refused.err
        assert "--drop-token" in refused.err
        assert shell.run(*APP, "daemon", "restart", ASYNCJOBS_WEB_TOKEN="").code == 6, "an empty variable is none"
        same = shell.good("--json", *APP, "daemon", "status").json
        assert same["pid"] == before["pid"], "it was not stopped"
        assert (status_code(same["http"]), status_code(same["http"], TOKEN)) == (401, 200)
        shell.good(*APP, "daemon", "restart", "--drop-token", **SET)
        assert status_code(shell.good("--json", *APP, "daemon", "status").json["http"]) == 200
        shell.good(*APP, "daemon", "restart")  # it has none to lose
    finally:
        shell.run(*APP, "daemon", "stop", "--now")


def test_a_daemon_for_others_without_a_token_warns(shell: Shell) -> None:
    try:
        assert CLOSED in shell.good(*APP, "daemon", "start", "-d", "--http", "0.0.0.0:0").err
        assert CLOSED in shell.good(*APP, "daemon", "logs").out
    finally:
        shell.run(*APP, "daemon", "stop", "--now")


@pytest.mark.parametrize("address", [":0", "127.0.0.1:0", "localhost:0", "127.0.0.2:0"])
def test_a_daemon_for_this_machine_does_not_warn(shell: Shell, address: str) -> None:
    process = shell.start(*APP, "daemon", "start", "--http", address)
    until(lambda: shell.run(*APP, "daemon", "status", "--check").code == 0)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=PATIENCE)
    assert "no token" not in said


def test_the_doctor_presents_it(shell: Shell) -> None:
    shell.good(*DB, "jobs", "submit", "app:add", "--arg", "a=1")
    with web(shell, **SET) as url:
        without = shell.run(*DB, "doctor", "--url", url)
        assert "answers 401" in without.out
        assert "set ASYNCJOBS_WEB_TOKEN to a token of its auth=" in without.out
        wrong = shell.run(*DB, "doctor", "--url", url, ASYNCJOBS_WEB_TOKEN="a-token-that-is-unknown")
        assert "ASYNCJOBS_WEB_TOKEN has a token that is unknown there" in wrong.out
        assert "a-token-that-is-unknown" not in wrong.out
        short = shell.run(*DB, "doctor", "--url", url, ASYNCJOBS_WEB_TOKEN="schlüssel")
        assert "ASYNCJOBS_WEB_TOKEN: a token is 16 or more" in short.out
        assert "events arrive immediately" in shell.run(*DB, "doctor", "--url", url, **SET).out


def test_neither_settings_nor_service_files_print_it(shell: Shell) -> None:
    shown = [shell.good(*DB, "config", "show", "--origin", **SET).out]
    for kind in ("systemd", "docker", "k8s"):
        shown.append(shell.good(*APP, "daemon", "unit", kind, "--http", ":8484", **SET).out)
    assert TOKEN not in "".join(shown)


def test_a_name_that_is_almost_right_is_an_error(shell: Shell) -> None:
    ran = shell.run(*DB, "web", ASYNCJOBS_WEB_TOKN=TOKEN)
    assert ran.code == 2
    assert "did you mean ASYNCJOBS_WEB_TOKEN?" in ran.err
