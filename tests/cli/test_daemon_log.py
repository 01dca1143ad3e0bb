"""What a daemon logs and what its jobs print: where it goes, what it looks like, and what is left of it in the end."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest

from tests.cli.support import Shell, until

pytestmark = pytest.mark.slow

BODIES = """
import ctypes, os, subprocess, sys
from asyncjobs import job


def chatty():
    print("printed by a job")
    print("error of a job", file=sys.stderr)
    sys.stdout.write("two\\nlines\\nat once\\n")
    sys.stdout.writelines(["a list\\n", "without an end"])
    sys.stdout.flush()
    os.write(1, b"to the descriptor\\n")
    subprocess.run(["echo", "by a program"], check=True)


async def chatty_async():
    print("printed by an async job")


@job(isolation="process")
def apart():
    print("printed apart", flush=True)


def much(lines):
    for i in range(lines):
        print(f"line {i} " + "x" * 100)
    os.write(2, b"after the rotation\\n")


def die():
    import faulthandler
    faulthandler.disable()
    print("last words", flush=True)
    os.kill(os.getpid(), 9)
"""
START = ("--db", "jobs.db", "daemon", "start", "--allow", "bodies")
DB = ("--db", "jobs.db")


@pytest.fixture
def folder(shell: Shell) -> Path:
    (shell.folder / "bodies.py").write_text(BODIES)
    return shell.folder


def ran(shell: Shell, function: str, *arguments: str) -> str:
    """Submit a job and wait for it; its id."""
    job = shell.good(*DB, "jobs", "submit", f"bodies:{function}", *arguments).out.strip()
    until(lambda: shell.stored(job) == "completed")
    return job


def lines_with(text: str, part: str) -> list[str]:
    return [line for line in text.splitlines() if part in line]


def test_in_the_background_nothing_that_jobs_print_is_lost(shell: Shell, folder: Path) -> None:
    shell.good(*START, "-d")
    job = ran(shell, "chatty")
    other = ran(shell, "chatty_async")
    apart = ran(shell, "apart")
    [path] = (folder / "state" / "asyncjobs").glob("*.log")
    text = path.read_text()
    python = ["printed by a job", "error of a job", "two", "lines", "at once", "a list"]
    for words in python:
        [line] = lines_with(text, f" INFO  {words}  ")
        assert re.match(r"\d{4}-\d\d-\d\d [\d:.]{12}[+-]\d\d:\d\d INFO  ", line)
        assert f"job_id={job} attempt=1" in line
    [line] = lines_with(text, "printed by an async job")
    assert f"job_id={other}" in line
    assert "to the descriptor\n" in text
    assert "by a program\n" in text
    [line] = lines_with(text, "printed apart")
    assert f"job_id={apart} attempt=1" in line
    assert "printed apart" in shell.good(*DB, "jobs", "logs", apart).out  # with a process of its own, it is the job's
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_configured_file_is_used_in_the_background_too(shell: Shell, folder: Path) -> None:
    (folder / "asyncjobs.toml").write_text('[logging]\nfile = "logs/mine.log"\nformat = "json"\n')
    started = shell.good(*START, "-d")
    assert "log ./logs/mine.log" in started.err
    job = ran(shell, "chatty_async")
    records = [json.loads(line) for line in (folder / "logs" / "mine.log").read_text().splitlines()]
    [record] = [record for record in records if record["message"] == "printed by an async job"]
    assert (record["job_id"], record["logger"]) == (job, "stdout")
    assert list((folder / "state" / "asyncjobs").glob("*.log")) == []
    assert "printed by an async job" in shell.good(*DB, "daemon", "logs").out
    shell.good(*DB, "daemon", "restart")
    shell.good(*DB, "daemon", "stop")
    assert "stopped" in shell.good(*DB, "daemon", "logs", "-n", "5").out  # also of one that has ended


def test_a_file_given_by_a_variable_is_used_in_the_background_too(shell: Shell, folder: Path) -> None:
    shell.good(*START, "-d", ASYNCJOBS_LOGGING_FILE="~/mine.log", HOME=str(folder))
    assert "is ready: pid" in (folder / "mine.log").read_text()


def test_what_is_written_to_a_descriptor_follows_the_rotation(shell: Shell, folder: Path) -> None:
    (folder / "asyncjobs.toml").write_text('[logging]\nfile = "mine.log"\nmax_bytes = "16kb"\nbackups = 50\n')
    shell.good(*START, "-d")
    ran(shell, "much", "--arg", "lines=500")
    assert (folder / "mine.log.2").exists()
    everything = "".join(path.read_text() for path in sorted(folder.glob("mine.log*")))
    assert len(lines_with(everything, " INFO  line ")) == 500
    newest = (folder / "mine.log").read_text() + (folder / "mine.log.1").read_text()
    assert "after the rotation\n" in newest


def test_after_sighup_the_descriptors_follow_as_well(shell: Shell, folder: Path) -> None:
    (folder / "asyncjobs.toml").write_text('[logging]\nfile = "mine.log"\n')
    shell.good(*START, "-d")
    (folder / "mine.log").rename(folder / "mine.log.old")  # as logrotate does
    os.kill(shell.good(*DB, "--json", "daemon", "status").json["pid"], signal.SIGHUP)
    until(lambda: (folder / "mine.log").exists())
    ran(shell, "chatty")
    assert "to the descriptor\n" in (folder / "mine.log").read_text()


def test_status_shows_the_last_lines_of_a_daemon_without_a_file(shell: Shell, folder: Path) -> None:
    daemon = shell.start(*START)
    until(lambda: shell.run(*DB, "daemon", "status", "--check").code == 0)
    job = ran(shell, "chatty_async")
    seen = shell.good(*DB, "--json", "daemon", "status").json
    assert seen["draining"] is False
    assert 2 <= len(seen["log"]) <= 20
    assert any(f"job_id={job}" in line and re.match(r"\d{4}-\d\d-\d\d .*[+-]\d\d:\d\d ", line) for line in seen["log"])
    assert seen["log"][-1] in shell.good(*DB, "daemon", "status").out
    assert shell.good(*DB, "daemon", "logs", "-n", "1").out.strip() == seen["log"][-1]
    daemon.send_signal(signal.SIGTERM)
    daemon.communicate()
    ended = shell.run(*DB, "--json", "daemon", "status")
    assert (ended.code, ended.json["status"]) == (3, "not running")
    assert "stopped" in ended.json["log"][-1]


def test_status_shows_what_a_killed_daemon_logged_last(shell: Shell, folder: Path) -> None:
    shell.good(*START, "-d")
    job = shell.good(*DB, "jobs", "submit", "bodies:die").out.strip()
    until(lambda: shell.run(*DB, "daemon", "status").code == 1)
    seen = shell.run(*DB, "--json", "daemon", "status").json
    assert any("last words" in line and f"job_id={job}" in line for line in seen["log"])
    assert "last words" in shell.run(*DB, "daemon", "status").out


def test_status_says_that_it_drains(shell: Shell) -> None:
    app = ("--app", "app:jp")
    daemon = shell.start(*app, "daemon", "start")
    until(lambda: shell.run(*app, "daemon", "status", "--check").code == 0)
    job = shell.good(*app, "jobs", "submit", "app:slow", "--arg", "seconds=20").out.strip()
    until(lambda: shell.stored(job) == "in_progress")
    daemon.send_signal(signal.SIGTERM)
    seen = until(lambda: (found := shell.good(*app, "--json", "daemon", "status").json)["draining"] and found)
    assert (seen["status"], seen["running"]) == ("running", [job])
    assert any("draining" in line for line in seen["log"])
    assert re.match(r"● default  draining  pid \d+", shell.good(*app, "daemon", "status").out)
    daemon.send_signal(signal.SIGTERM)
    daemon.communicate()
