"""What the command line prints."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import anyio

from asyncjobs import JobProcessor, SQLiteConfig
from tests.architecture.hints.following import Hints
from tests.cli.support import Ran

DB = ("--db", "my jobs.db")


def a_store_without_a_worker(hints: Hints) -> None:
    shell = hints.shell
    for missing in ("submit a job", "--db PATH"):  # what it says to do: both ways
        ran = shell.run(*DB, "jobs", "list")
        assert missing in hints.follow(ran.err)
    shell.good("--db", "other.db", "jobs", "submit", "hinted:add", "--arg", "a=1")
    shell.good("--db", "other.db", "jobs", "list")
    shell.good(*DB, "jobs", "submit", "hinted:fail", "--id", "bad", "--max-retries", "0", "--group", "a group")
    shell.good(*DB, "jobs", "submit", "hinted:add", "--arg", "a=1", "--after", "bad", "--id", "behind")
    shell.good(*DB, "jobs", "list")
    assert "--metadata kind=VALUE" in hints.follow(shell.run(*DB, "jobs", "list", "--metadata", "kind").err)
    shell.good(*DB, "jobs", "list", "--metadata", "kind=crew")
    for arguments in (("jobs", "cancel"), ("jobs", "watch"), ("groups", "show", "nobody")):
        hints.run_them(shell.run(*DB, *arguments))
    twice = shell.run(*DB, "jobs", "submit", "hinted:add", "--arg", "a=1", "--id", "bad")
    assert "another --id" in twice.err
    assert "hinted:fail" in hints.run_them(twice)[0].out
    shell.good(*DB, "jobs", "submit", "hinted:add", "--arg", "a=1", "--id", "another")
    for wrong, right in (
        (("--arg", "a"), ("--arg", "a=1")),
        (("--args", "["), ("--args", "[1]")),
        (("--args", "1"), ("--args", '{"a": 1}')),
    ):
        hints.follow(shell.run(*DB, "jobs", "submit", "hinted:add", *wrong).err)
        shell.good(*DB, "jobs", "submit", "hinted:add", *right)
    hints.follow(shell.run(*DB, "jobs", "rm", "bad", "--older", "30d").err)
    hints.follow(shell.run(*DB, "jobs", "rm", "--older", "30d").err)
    shell.good(*DB, "jobs", "rm", "--older", "30d", "--yes")
    shell.good(*DB, "jobs", "submit", "hinted:add", "--arg", "a=1", "--delay", "1h", "--id", "a late one")
    late = shell.run(*DB, "jobs", "result", "a late one", "--wait", "--timeout", "50ms")
    watch, cancel = (command for command in hints.commands(late) if "jobs" in command)
    shell.good(*cancel)
    assert "cancelled" in shell.run(*watch).out
    more = shell.good(*DB, "jobs", "list", "-n", "2")
    assert "(more: -n 20)" in hints.follow(more.err)
    assert len(shell.good(*DB, "jobs", "list", "-n", "20").lines) > 2


def a_daemon_with_jobs(hints: Hints) -> None:
    """One daemon for all that needs one."""
    shell = hints.shell
    nothing = shell.run(*DB, "daemon", "start")
    hints.follow(nothing.err)
    shell.good(*DB, "jobs", "submit", "hinted:fail", "--id", "bad one", "--max-retries", "0", "--group", "a group")
    shell.good(*DB, "jobs", "submit", "hinted:add", "--arg", "a=1", "--after", "bad one", "--id", "behind")
    shell.good(*DB, "jobs", "submit", "hinted:blocking", "--id", "long")
    shell.good("--app", "hinted:jp", *DB, "daemon", "start", "-d", "--name", "by-app")
    shell.good("--app", "hinted:jp", *DB, "daemon", "stop", "--now", "--name", "by-app")
    try:
        shell.good(*DB, "daemon", "start", "-d", "--allow", "hinted")
        waits = shell.run(*DB, "jobs", "result", "long")
        assert "--wait waits for it" in hints.follow(waits.err)
        late = shell.run(*DB, "jobs", "result", "long", "--wait", "--timeout", "50ms")
        assert late.code == 5  # it waited
        shell.run(*DB, "jobs", "result", "bad one", "--wait", "--timeout", "30s")
        [failed] = hints.commands(shell.run(*DB, "jobs", "result", "bad one"))
        [cause] = hints.commands(shell.run(*DB, "jobs", "result", "behind"))
        assert cause == failed == [*DB, "jobs", "retry", "bad one"]
        looked = shell.run(*DB, "doctor")
        [listed] = hints.run_them(looked)
        assert len(listed.lines) == 1
        of_group = shell.good(*DB, "jobs", "list", "--group", "a group")
        [retried] = hints.commands(of_group)
        shell.good(*retried)
        shell.run(*DB, "jobs", "result", "bad one", "--wait", "--timeout", "30s")
        shell.good(*cause)
        drains = shell.run(*DB, "daemon", "stop", "--timeout", "50ms")
        assert drains.code == 5
        hints.run_them(drains)
    finally:
        shell.run(*DB, "daemon", "stop", "--now", "--timeout", "20s")


def doctor(hints: Hints) -> None:
    shell = hints.shell
    shell.good(*DB, "jobs", "submit", "hinted:add", "--arg", "a=1", "--id", "a job")
    path = hints.folder / DB[1]
    path.chmod(0o644)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("UPDATE jobs SET retry = x'93'")
    connection.close()
    looked = shell.run(*DB, "doctor")
    shown = [command for command in hints.commands(looked) if command[2:4] == ["jobs", "show"]]
    assert "unreadable" in shell.good(*shown[0]).out
    [chmod] = [line.removeprefix("  → ") for line in looked.out.splitlines() if "chmod" in line]
    hints.system(looked.out, chmod)
    assert path.stat().st_mode & 0o777 == 0o600

    # No network file system is at hand: what is mounted where is said in its place.
    def kind(path: str, _: str) -> str | None:
        return None if "local" in path else "nfs"

    hints.patch.setattr("asyncjobs.backends.sqlite.files.network_filesystem", kind)
    assert "--db PATH" in hints.follow(shell.run(*DB, "doctor").out)
    (hints.folder / "local").mkdir()
    assert "network" not in shell.run("--db", "local/jobs.db", "doctor").out


def jobs_that_nobody_may_run(hints: Hints) -> None:
    shell = hints.shell
    (hints.folder / "elsewhere.py").write_text("")
    shell.good(*DB, "jobs", "submit", "hinted:add", "--arg", "a=1", "--id", "left")
    try:
        shell.good(*DB, "daemon", "start", "-d", "--allow", "elsewhere")
        while "--allow and the module's name" not in (looked := shell.run(*DB, "doctor").out):
            pass
        hints.follow(looked)
        shell.good(*DB, "daemon", "start", "-d", "--allow", "hinted", "--name", "second")
        assert shell.good(*DB, "jobs", "result", "left", "--wait", "--timeout", "30s").out == "2\n"
    finally:
        shell.run(*DB, "daemon", "stop", "--now")
        shell.run(*DB, "daemon", "stop", "--now", "--name", "second")


def a_module_that_is_not_here(hints: Hints) -> None:
    """Jobs whose module is not found from here: the command cannot be named, and what it lacks is."""
    shell = hints.shell
    shell.good(*DB, "jobs", "submit", "hinted:add", "--arg", "a=1", "--id", "left")
    there = hints.folder / "there"
    there.mkdir()
    hints.patch.chdir(there)
    hints.patch.delitem(sys.modules, "hinted")
    hints.patch.setattr(sys, "path", [entry for entry in sys.path if entry != str(hints.folder)])
    looked = shell.run("--db", "../my jobs.db", "doctor").out
    assert "with --app" in hints.follow(looked)
    assert "with --allow" in looked
    (there / "hinted.py").write_text((hints.folder / "hinted.py").read_text())
    for given in (("--allow", "hinted"), ()):
        root = () if given else ("--app", "hinted:jp")
        unit = shell.good(*root, "--db", "../my jobs.db", "daemon", "unit", "systemd", *given)
        assert "ExecStart" in unit.out


def the_demo(hints: Hints) -> None:
    hints.run_them(hints.shell.good("demo", "--jobs", "10", "--fail", "0"))


def a_configuration(hints: Hints) -> None:
    shell = hints.shell
    shell.good("config", "init")
    assert "--force" in hints.follow(shell.run("config", "init").err)
    shell.good("config", "init", "--force")


def events_from_now_on(hints: Hints) -> None:
    shell = hints.shell
    shell.good(*DB, "jobs", "submit", "hinted:add", "--arg", "a=1", "--id", "one")
    command = [sys.executable, "-m", "asyncjobs", *DB, "events", "tail"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as following:
        assert following.stderr is not None
        assert "--after 0" in hints.follow(following.stderr.readline())
        following.terminate()
    assert "submitted" in shell.good(*DB, "events", "tail", "--after", "0", "--no-follow").out


def the_web_for_others(hints: Hints) -> None:
    hints.shell.good(*DB, "jobs", "submit", "hinted:add", "--arg", "a=1")
    refused = hints.shell.run(*DB, "web", "--host", "0.0.0.0")
    assert "--token new" in hints.follow(refused.err)
    command = [
        sys.executable,
        "-u",
        "-m",
        "asyncjobs",
        *DB,
        "web",
        "--host",
        "0.0.0.0",
        "--port",
        "0",
        "--token",
        "new",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stderr is not None
        assert server.stdout.readline().startswith("token: ")
        while "/v1/" not in server.stderr.readline():
            assert server.poll() is None
        server.terminate()


def a_wait_that_is_interrupted(hints: Hints) -> None:
    shell = hints.shell
    submit = ["jobs", "submit", "hinted:add", "--arg", "a=1", "--id", "a job", "--wait"]
    command = [sys.executable, "-m", "asyncjobs", *DB, *submit]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as waiting:
        assert waiting.stderr is not None
        assert "no worker is alive" in waiting.stderr.readline()
        waiting.send_signal(signal.SIGINT)
        said = waiting.stderr.read()
    [watch] = [command for command in hints.commands(Ran(waiting.returncode, "", said)) if "watch" in command]
    shell.good(*DB, "jobs", "cancel", "a job")
    watched = shell.run(*watch)
    assert (watched.code, "cancelled" in watched.out) == (1, True)  # all of it is shown, to its end


def gates(hints: Hints) -> None:
    shell = hints.shell

    async def ask() -> None:
        async with JobProcessor(SQLiteConfig(db_path=hints.folder / DB[1]), enable_daemon=False) as jp:
            await jp.submit_gate("Print it?", job_id="page 1")
            await jp.submit_gate("Print it?", job_id="page 2")
            await jp.submit_gate("Which style?", choices=["film noir", "manga"], job_id="style")
            await jp.submit_gate("Which pages?", answer_type=list[int], job_id="pages")
            await jp.submit_gate("How many?", answer_type=int, job_id="number")

    anyio.run(ask)
    hints.run_them(shell.run(*DB, "jobs", "answer", "page 1", "yes"))
    assert "failed" in shell.good(*DB, "jobs", "show", "page 1").out
    for job_id in ("page 2", "style"):
        hints.run_them(shell.good(*DB, "jobs", "show", job_id))
        assert "completed" in shell.good(*DB, "jobs", "show", job_id).out
    for wrong in (("[1, 2]",), ("--json", "[1, 2"), ("[1]", "--json", "[1]"), ()):
        hints.follow(shell.run(*DB, "jobs", "answer", "pages", *wrong).err)
    shell.good(*DB, "jobs", "answer", "pages", "--json", "[1, 2]")
    shell.good(*DB, "jobs", "answer", "number", "7")


def a_state_file_that_is_a_link(hints: Hints) -> None:
    shell = hints.shell
    shell.good(*DB, "jobs", "submit", "hinted:add", "--arg", "a=1", "--id", "one")
    folder = Path(os.environ["XDG_STATE_HOME"]) / "asyncjobs"
    shell.good(*DB, "daemon", "start", "-d", "--allow", "hinted", "--name", "a name")
    [state] = folder.glob("*.json")
    shell.good(*DB, "daemon", "stop", "--name", "a name")
    state.unlink(missing_ok=True)
    state.symlink_to(hints.folder / "victim")
    refused = shell.run(*DB, "daemon", "start", "--allow", "hinted", "--name", "a name")
    hints.system(refused.err, refused.err.partition("remove it: ")[2].strip())
    assert not state.is_symlink()
