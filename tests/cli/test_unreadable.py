"""What is stored and cannot be read is a mark on the command line: every other row is shown, and doctor names it."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.cli.support import Shell

DB = ("--db", "jobs.db")
BAD = "(SELECT n FROM jobs WHERE id = 'plot')"


@pytest.fixture
def damaged(finished: Shell, tmp_path: Path) -> Shell:
    """The store of ``finished``, with damage of every kind in one job, its call and its events."""
    shutil.copytree(finished.folder, tmp_path / "there")
    shell = Shell(tmp_path / "there")
    connection = sqlite3.connect(shell.folder / "jobs.db", isolation_level=None)
    for statement in (
        "UPDATE jobs SET retry = x'93', created_at = 'once' WHERE id = 'plot'",
        f"UPDATE jobs SET metadata = '{{', call = x'c1' WHERE n = {BAD}",
        f"UPDATE events SET data = x'c1' WHERE job = {BAD}",
    ):
        connection.execute(statement)
    connection.close()
    return shell


def test_every_row_is_listed_and_the_bad_one_marked(damaged: Shell) -> None:
    items = damaged.good(*DB, "--json", "jobs", "list", "--group", "noir").json["items"]
    assert len(items) == 6
    assert [item["id"] for item in items if item["unreadable"]] == ["plot"]
    table = damaged.good("-o", "table", *DB, "jobs", "list", "--group", "noir").lines
    [row] = [line for line in table if line.startswith("plot")]
    assert "unreadable:" in row


def test_the_bad_job_is_shown_with_what_is_left_of_it(damaged: Shell) -> None:
    shown = damaged.good(*DB, "jobs", "show", "plot").out
    assert "damage     unreadable: " in shown
    assert "args       unreadable: call" in shown
    item = damaged.good(*DB, "--json", "jobs", "show", "plot").json
    assert item["unreadable"].startswith("unreadable: ")
    assert item["args"].startswith("unreadable: call")


def test_its_events_are_shown(damaged: Shell) -> None:
    assert (
        "unreadable: event data"
        in damaged.good(*DB, "-o", "ndjson", "events", "tail", "--job", "plot", "--no-follow").out
    )


def test_doctor_names_a_worker_whose_row_cannot_be_read_and_a_delayed_job_without_its_moment(damaged: Shell) -> None:
    connection = sqlite3.connect(damaged.folder / "jobs.db", isolation_level=None)
    connection.execute(
        "INSERT INTO workers(n, name, slots, host, boot, pid_namespace, pid, process_start, registered_at, lease, "
        "expires) VALUES (4711, 'w', 1, 'elsewhere', '', '', 'me', '', 0, 'long', 'never')"
    )
    connection.execute("UPDATE jobs SET run_at = 'soon', due = NULL, boot = NULL WHERE id = 'later'")
    connection.close()
    lines = damaged.run(*DB, "doctor").out.splitlines()
    [worker] = [line for line in lines if "the row of worker" in line]
    assert "unreadable: " in worker
    [job] = [line for line in lines if "job later: " in line]
    assert "unreadable: " in job
    assert damaged.good(*DB, "jobs", "show", "later").lines[0].endswith("later  app:add")


def test_doctor_names_it(damaged: Shell) -> None:
    ran = damaged.run(*DB, "doctor")
    assert "job plot: unreadable: " in ran.out
