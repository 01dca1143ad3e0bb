"""``asyncjobs doctor`` warns of an older SQLite where processes share the file, and only there."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path

import pytest

from asyncjobs import SyncJobs
from tests.cli.inside import Inside
from tests.cli.support import Shell

DB = ("--db", "jobs.db")
WARNING = "2 processes, of which this command is one, share the file"


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inside:
    return Inside(tmp_path, monkeypatch)


@pytest.fixture
def daemon(tmp_path: Path) -> Generator[Shell]:
    """A folder with a daemon on its store."""
    shell = Shell(tmp_path)
    shell.good("--app", "app:jp", "daemon", "start", "-d")
    yield shell
    shell.run("--app", "app:jp", "daemon", "stop", "--now")


VERSIONS = {
    (3, 37, 0): True,
    (3, 40, 1): True,
    (3, 45, 0): True,
    (3, 50, 6): True,
    (3, 50, 7): False,
    (3, 51, 2): True,
    (3, 51, 3): False,
    (3, 52, 0): False,
    (4, 0, 0): False,
}


def test_beside_a_daemon_it_depends_on_the_version(
    daemon: Shell, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version, warned in VERSIONS.items():
        monkeypatch.setattr(sqlite3, "sqlite_version_info", version)
        monkeypatch.setattr(sqlite3, "sqlite_version", ".".join(map(str, version)))
        ran = inside.good(*DB, "doctor")  # a warning is no error
        assert (WARNING in ran.out) is warned, version
        assert ("use a Python with SQLite 3.51.3 or newer for all of them" in ran.out) is warned, version
        assert ("all is well" in ran.out) is not warned, version


OTHER = """
import sys
from asyncjobs import SyncJobs
with SyncJobs("jobs.db", enable_daemon=False):
    print("open", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.skipif(not Path("/proc/locks").is_file(), reason="only Linux shows which processes have a file open")
def test_processes_without_a_worker_are_counted(inside: Inside, monkeypatch: pytest.MonkeyPatch, daemon: Shell) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 40, 1))
    program = [sys.executable, "-c", OTHER]
    with ExitStack() as started:
        for _ in range(2):
            other = started.enter_context(subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
            assert other.stdout is not None
            assert other.stdout.readline() == b"open\n"
        assert "4 processes, of which this command is one, share the file" in inside.good(*DB, "doctor").out
        daemon.good("--app", "app:jp", "daemon", "stop", "--now")
        assert "3 processes, of which this command is one, share the file" in inside.good(*DB, "doctor").out


def test_a_command_that_is_alone_is_not_warned(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 40, 1))
    with SyncJobs(inside.folder / "jobs.db", enable_daemon=False):
        pass
    ran = inside.good(*DB, "doctor")
    assert "share the file" not in ran.out
    assert "all is well" in ran.out
