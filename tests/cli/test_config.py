"""``asyncjobs config``: what counts, where it came from, and a file that says it all."""

from __future__ import annotations

import re
import tomllib

from tests.cli.support import Shell


def test_a_new_file_has_every_setting_and_changes_nothing(shell: Shell) -> None:
    before = shell.good("config", "show").out
    assert "written" in shell.good("config", "init").err
    text = (shell.folder / "asyncjobs.toml").read_text()
    assert "# seconds that running jobs get when it stops. Default 30.\n# shutdown_timeout = 30.0\n" in text
    assert tomllib.loads(text) == {"sqlite": {}, "sqs": {}, "daemon": {}, "logging": {}}
    assert shell.good("config", "show").out == before
    settings = re.findall(r"^# ([a-z_]+ = (?!…).*)$", text, re.MULTILINE)
    assert len(settings) > 15
    named, section = set[str](), ""
    for line in text.splitlines():
        if head := re.fullmatch(r"\[(\w+)\]", line):
            section = f"{head[1]}."
        elif setting := re.match(r"# ([a-z_]+) = ", line):
            named.add(section + setting[1])
    assert named == set(shell.good("--json", "config", "show").json)
    for setting in settings:
        tomllib.loads(setting)
    assert shell.run("config", "init").code == 6


def test_values_are_shown_with_where_they_came_from(shell: Shell) -> None:
    (shell.folder / "asyncjobs.toml").write_text('[daemon]\nnum_workers = 7\nname = "ada"\n')
    shown = shell.good("--db", "x.db", "config", "show", "--origin", ASYNCJOBS_DAEMON_LEASE="30s").out
    lines = {line.split(" = ")[0].strip(): line.split(" = ")[1] for line in shown.splitlines()}
    assert lines["daemon.num_workers"] == f"7  # {shell.folder / 'asyncjobs.toml'}"
    assert lines["daemon.lease"] == "30.0  # ASYNCJOBS_DAEMON_LEASE"
    assert lines["sqlite.db_path"] == '"x.db"  # the flag --db'
    assert lines["daemon.heartbeat"] == "5.0  # default"
    document = shell.good("--json", "config", "show").json
    assert document["daemon.name"] == {"value": "ada", "source": str(shell.folder / "asyncjobs.toml")}


def test_what_the_command_sets_otherwise_is_shown_unless_it_was_given(shell: Shell) -> None:
    def line(*options: str) -> str:
        shown = shell.good("config", "show", *options).lines
        return next(line for line in shown if line.startswith("daemon.unrunnable_after")).split("=", 1)[1].strip()

    assert line() == "# 600.0 for 'daemon start'"
    assert line("--origin") == "# default, 600.0 for 'daemon start'"
    document = shell.good("--json", "config", "show").json
    assert document["daemon.unrunnable_after"] == {"value": None, "source": "default", "daemon_start": 600.0}
    (shell.folder / "asyncjobs.toml").write_text('[daemon]\nunrunnable_after = ""\n')
    assert line() == ""
    assert "daemon_start" not in shell.good("--json", "config", "show").json["daemon.unrunnable_after"]
    (shell.folder / "asyncjobs.toml").write_text('[daemon]\nunrunnable_after = "1m"\n')
    assert line() == "60.0"


def test_validate(shell: Shell) -> None:
    (shell.folder / "asyncjobs.toml").write_text("[daemon]\nnum_workers = 7\n")
    assert "is valid (./asyncjobs.toml, 1 setting given)" in shell.good("config", "validate").err
    (shell.folder / "asyncjobs.toml").write_text("[daemon]\nslots = 7\n")
    ran = shell.run("config", "validate")
    assert (ran.code, "did you mean 'daemon.num_workers'?" in ran.err) == (2, True)
