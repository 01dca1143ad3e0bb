"""``daemon start``: what it may run is there from the start, wherever it is started."""

from __future__ import annotations

import signal

import pytest

from tests.cli.support import Shell, until

pytestmark = pytest.mark.slow
APP = ("--app", "app:jp")
INSTALLED = {"PYTHONSAFEPATH": "1"}
"""As by the installed command: the current folder is not on the module path by itself."""


def stop(shell: Shell) -> None:
    shell.good("--db", "jobs.db", "daemon", "stop", "--now")


def test_in_the_foreground_modules_of_the_current_folder_are_found(shell: Shell) -> None:
    daemon = shell.start("--db", "jobs.db", "daemon", "start", "--allow", "app", **INSTALLED)
    until(lambda: shell.run("--db", "jobs.db", "daemon", "status", "--check").code == 0)
    submitted = shell.good("--db", "jobs.db", "jobs", "submit", "app:add", "--arg", "a=1", "--wait", **INSTALLED)
    assert submitted.json == 2
    daemon.send_signal(signal.SIGTERM)
    daemon.communicate()
    assert daemon.returncode == 0


def test_in_the_background_as_well_and_for_what_is_configured(shell: Shell) -> None:
    (shell.folder / "asyncjobs.toml").write_text('[daemon]\nallowed_modules = ["app"]\n[sqlite]\ndb_path = "jobs.db"\n')
    shell.good("daemon", "start", "-d", **INSTALLED)
    assert shell.good("jobs", "submit", "app:add", "--arg", "a=1", "--wait", **INSTALLED).json == 2


def test_where_warnings_are_errors_a_daemon_in_the_background_is_no_leak(shell: Shell) -> None:
    started = shell.good(
        "--db", "jobs.db", "daemon", "start", "-d", "--allow", "app", PYTHONWARNINGS="error", **INSTALLED
    )
    assert "Warning" not in started.err
    assert shell.run("--db", "jobs.db", "daemon", "status", "--check").code == 0


@pytest.mark.parametrize("detach", [(), ("-d",)], ids=["foreground", "background"])
@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (None, "No module named 'broken'"),
        ("raise LookupError('no shop')", "LookupError: no shop"),
        ("import sys; sys.exit(0)", "SystemExit: 0"),
        ("def oops(:", "SyntaxError"),
    ],
)
def test_a_module_that_cannot_be_imported_ends_the_start(
    shell: Shell, source: str | None, reason: str, detach: tuple[str, ...]
) -> None:
    if source is not None:
        (shell.folder / "broken.py").write_text(source)
    ran = shell.run("--db", "jobs.db", "daemon", "start", *detach, "--allow", "app", "--allow", "broken")
    assert ran.code == 2
    assert "module 'broken' cannot be imported" in ran.err
    assert reason in ran.err
    assert shell.run("--db", "jobs.db", "daemon", "status").code == 3


def test_a_configuration_file_may_be_named_behind_the_command(shell: Shell) -> None:
    file = shell.folder / "mine.toml"
    file.write_text('[daemon]\nallowed_modules = ["app"]\nnum_workers = 7\n[sqlite]\ndb_path = "mine.db"\n')
    shell.good("daemon", "start", "-d", "--config", str(file))
    shown = shell.good("daemon", "status", "--config", str(file), "--json").json
    assert shown["store"] == str(shell.folder / "mine.db")
    assert shell.good("config", "show", "--config", str(file), "--json").json["daemon.num_workers"]["value"] == 7
    shell.good("daemon", "restart", "--config", str(file))  # it is started as it was
    assert shell.good("--config", str(file), "--json", "daemon", "status").json["pid"] != shown["pid"]
    shell.good("daemon", "stop", "--config", str(file), "--now")


def test_one_that_is_not_there_is_refused_behind_the_command_as_before_it(shell: Shell) -> None:
    for arguments in (("--config", "no.toml", "jobs", "list"), ("jobs", "list", "--config", "no.toml")):
        ran = shell.run(*arguments)
        assert (ran.code, "there is no configuration file 'no.toml'" in ran.err) == (2, True)


@pytest.mark.parametrize("detach", [(), ("-d",)])
def test_a_user_without_a_home_is_shown_the_variable_for_the_state_file(shell: Shell, detach: tuple[str, ...]) -> None:
    (shell.folder / "nonexistent").touch()
    homeless = {"HOME": str(shell.folder / "nonexistent"), "XDG_STATE_HOME": ""}
    ran = shell.run(*APP, "daemon", "start", *detach, **homeless)
    assert ran.code == 1
    assert "/nonexistent/.local/state/asyncjobs/default-" in ran.err
    assert "cannot be written: " in ran.err
    assert "set XDG_STATE_HOME to a folder that this user may write to" in ran.err
    assert "Traceback" not in ran.err
    shell.good(*APP, "daemon", "start", "-d", **homeless | {"XDG_STATE_HOME": str(shell.folder / "var")})
    shell.good(*APP, "daemon", "stop", "--now", **homeless | {"XDG_STATE_HOME": str(shell.folder / "var")})
