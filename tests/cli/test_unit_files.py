"""Files for the system: each is read as its reader reads it, and the command in it runs a daemon."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.cli.support import PATIENCE, Shell

KINDS = ("systemd", "docker", "k8s")
STATE = "/var/lib"


@dataclass
class Read:
    """What a reader makes of a file: the words of the command, where and with what it runs."""

    command: list[str]
    folder: str | None = None
    environment: dict[str, str] = field(default_factory=dict)
    check: list[str] | None = None
    timeout: int = 0
    options: dict[str, str] = field(default_factory=dict)


def read(kind: str, text: str) -> Read:
    return {"systemd": read_systemd, "docker": read_compose, "k8s": read_k8s}[kind](text)


def read_systemd(text: str) -> Read:
    """By systemd.syntax(7): quotes as in C, ``%%`` a percent sign, in commands ``$$`` a dollar; ``%S`` is /var/lib."""
    options: dict[str, str] = {}
    environment: dict[str, str] = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and name == "Environment":
            [pair] = shlex.split(value)
            pair = re.sub("%([%S])", lambda found: {"%": "%", "S": STATE}[found[1]], pair)
            environment |= dict([pair.split("=", 1)])
        elif equals:
            options[name] = value
    command = [word.replace("%%", "%").replace("$$", "$") for word in shlex.split(options["ExecStart"])]
    folder = options["WorkingDirectory"].replace("%%", "%")
    return Read(command, folder, environment, timeout=int(options["TimeoutStopSec"]), options=options)


def read_compose(text: str) -> Read:
    yaml = pytest.importorskip("yaml")
    service = yaml.safe_load(text)["services"]["jobs"]

    def plain(value: Any) -> Any:
        """Compose puts variables in; ``$$`` is a dollar."""
        assert not re.search(r"(?<!\$)\$(?!\$)", "".join(value)), value
        return [word.replace("$$", "$") for word in value]

    environment = {name: plain([value])[0] for name, value in service.get("environment", {}).items()}
    kind, *check = plain(service["healthcheck"]["test"])
    assert kind == "CMD"
    return Read(
        plain(service["command"]), None, environment, check, int(service["stop_grace_period"].removesuffix("s"))
    )


def read_k8s(text: str) -> Read:
    yaml = pytest.importorskip("yaml")
    pod = yaml.safe_load(text)["spec"]["template"]["spec"]
    [container] = pod["containers"]
    environment = {entry["name"]: entry["value"] for entry in container.get("env", [])}
    check = container["livenessProbe"]["exec"]["command"]
    return Read(container["command"], None, environment, check, pod["terminationGracePeriodSeconds"])


def here(shell: Shell, words: list[str], store: Path) -> list[str]:
    """A command of an image, run in this folder: with this interpreter, and this file as that on the volume."""
    replaced = {"python": sys.executable, "/data/jobs.db": str(store)}
    return [replaced.get(word, word) for word in words]


def run_until_ready(shell: Shell, found: Read, store: Path) -> int:
    """Run the command until the health check says that it is ready, then stop it. Returns its exit status."""
    environment = shell.environment | found.environment
    if environment["XDG_STATE_HOME"] == STATE:  # of the system, not of a test
        environment["XDG_STATE_HOME"] = str(shell.folder / "var")
    folder = found.folder or str(shell.folder)
    check = found.check or [sys.executable, "-m", "asyncjobs", "--db", str(store), "daemon", "status", "--check"]
    daemon = subprocess.Popen(
        here(shell, found.command, store), cwd=folder, env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + PATIENCE
        while subprocess.run(here(shell, check, store), cwd=folder, env=environment, check=False).returncode:
            assert daemon.poll() is None, daemon.stderr.read() if daemon.stderr else ""
            assert time.monotonic() < deadline, "it is not ready"
        daemon.send_signal(signal.SIGTERM)
        daemon.communicate(timeout=PATIENCE)
    finally:
        daemon.kill()
        daemon.wait()
    return daemon.returncode


@pytest.fixture
def spaced(tmp_path: Path) -> Shell:
    folder = tmp_path / "my $HOME 100% data"
    folder.mkdir()
    return Shell(folder)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_command_with_an_application_runs(spaced: Shell, kind: str) -> None:
    store = spaced.folder / "the jobs.db"
    text = spaced.good("--db", str(store), "--app", "app:jp", "daemon", "unit", kind, "--name", "second").out
    found = read(kind, text)
    assert found.command.count("--app") == 1
    if kind == "systemd":
        found.check = [sys.executable, "-m", "asyncjobs", "--db", str(store), "daemon", "status", "--check",
                       "--name", "second"]  # fmt: skip
        assert str(store) in found.command
    assert run_until_ready(spaced, found, store) == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_command_with_allowed_modules_runs(spaced: Shell, kind: str) -> None:
    (spaced.folder / "more.py").write_text("def hi():\n    return 1\n")
    store = spaced.folder / "jobs.db"
    arguments = ("--db", "jobs.db", "daemon", "unit", kind, "--allow", "app", "--allow", "more", "--num-workers", "3")
    arguments = (*arguments, "--preload", "json", "--preload", "more")
    found = read(
        kind, spaced.good(*arguments, ASYNCJOBS_DAEMON_SHUTDOWN_TIMEOUT="7s", ASYNCJOBS_DAEMON_NAME="a $x").out
    )
    found_environment = {name: value for name, value in found.environment.items() if name != "XDG_STATE_HOME"}
    assert found_environment == {"ASYNCJOBS_DAEMON_SHUTDOWN_TIMEOUT": "7s", "ASYNCJOBS_DAEMON_NAME": "a $x"}
    assert found.command[-10:-4] == ["--num-workers", "3", "--allow", "app", "--allow", "more"]
    assert found.command[-4:] == ["--preload", "json", "--preload", "more"]
    assert run_until_ready(spaced, found, store) == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_configuration_file_comes_along(spaced: Shell, kind: str) -> None:
    (spaced.folder / "conf").mkdir()
    (spaced.folder / "conf" / "one two.toml").write_text('[daemon]\nallowed_modules = ["app"]\n')
    text = spaced.good("--config", "conf/one two.toml", "--db", "jobs.db", "daemon", "unit", kind).out
    assert run_until_ready(spaced, read(kind, text), spaced.folder / "jobs.db") == 0


def test_a_configuration_file_that_an_image_would_lack_is_refused(shell: Shell, tmp_path: Path) -> None:
    outside = tmp_path.parent / f"{tmp_path.name}.toml"
    outside.write_text('[daemon]\nallowed_modules = ["app"]\n')
    assert "would not be part of the image" in shell.run("--config", str(outside), "daemon", "unit", "docker").err
    shell.good("--config", str(outside), "daemon", "unit", "systemd")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "this daemon has nothing to run: no application and no allowed modules are configured"),
        (("--allow", "no_such_module"), "cannot be imported"),
        (("--app", "app:nothing"), "has no 'nothing'"),
    ],
)
def test_a_file_whose_command_would_not_run_is_not_printed(
    shell: Shell, arguments: tuple[str, ...], message: str
) -> None:
    ran = shell.run("daemon", "unit", "systemd", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err


def test_only_the_daemon_itself_is_told_to_stop_by_systemd(shell: Shell) -> None:
    """Jobs in processes of their own may end during a drain."""
    assert read_systemd(shell.good("--app", "app:jp", "daemon", "unit", "systemd").out).options["KillMode"] == "mixed"


def test_a_daemon_of_systemd_keeps_its_state_where_a_user_without_a_home_may_write(shell: Shell) -> None:
    text = shell.good("--app", "app:jp", "daemon", "unit", "systemd").out
    found = read_systemd(text)
    assert found.options["StateDirectory"] == "asyncjobs"
    assert found.options["StateDirectoryMode"] == "0700"
    assert found.environment["XDG_STATE_HOME"] == STATE, "the state file is in a folder asyncjobs there"
    assert "\n#User=" in text
    assert "ASYNCJOBS_WEB_TOKEN" not in text


def test_a_daemon_of_systemd_that_serves_names_where_its_token_comes_from(shell: Shell) -> None:
    text = shell.good("--app", "app:jp", "daemon", "unit", "systemd", "--http", ":8484").out
    assert "ASYNCJOBS_WEB_TOKEN=" in text
    assert "\n#EnvironmentFile=" in text


def test_a_daemon_of_compose_that_serves_has_its_port_and_its_token(shell: Shell) -> None:
    yaml = pytest.importorskip("yaml")
    unit = ("--app", "app:jp", "daemon", "unit", "docker")

    def service(*options: str) -> dict[str, Any]:
        return yaml.safe_load(shell.good(*unit, *options).out)["services"]["jobs"]

    served = service("--http", "0.0.0.0:8484")
    assert served["ports"] == ["127.0.0.1:8484:8484"], "docker publishes a port past the firewall otherwise"
    assert served["environment"]["ASYNCJOBS_WEB_TOKEN"] is None, "it is the variable of compose"
    inner = shell.good(*unit, "--http", ":8484").out
    assert "Nothing outside of the container reaches 127.0.0.1:8484. --http 0.0.0.0:8484 also prints a port." in inner
    assert "ports" not in service("--http", ":8484")
    assert not {"ports", "environment"} & set(service())
    assert shell.run(*unit, "--http", "here").code == 2


def test_systemd_understands_it(shell: Shell) -> None:
    import shutil

    verifier = shutil.which("systemd-analyze")
    if verifier is None:
        pytest.skip("there is no systemd here")
    path = shell.folder / "jobs.service"
    path.write_text(shell.good("--app", "app:jp", "daemon", "unit", "systemd").out)
    ran = subprocess.run([verifier, "verify", str(path)], capture_output=True, text=True, check=False, env=os.environ)
    assert "jobs.service" not in ran.stderr, ran.stderr


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("shutdown", "grace"), [("7s", "3s"), ("40s", "90s"), ("0s", "0s")])
def test_the_system_waits_for_jobs_and_their_clean_up_and_then_for_the_daemon(
    spaced: Shell, kind: str, shutdown: str, grace: str
) -> None:
    times = {"ASYNCJOBS_DAEMON_SHUTDOWN_TIMEOUT": shutdown, "ASYNCJOBS_DAEMON_CANCEL_GRACE": grace}
    found = read(kind, spaced.good("--db", "jobs.db", "daemon", "unit", kind, "--allow", "app", **times).out)
    assert found.timeout == int(shutdown[:-1]) + int(grace[:-1]) + 15
