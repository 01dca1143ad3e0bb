"""Records have tables and a version of their own; nothing of the tracker names a table of the store."""

from __future__ import annotations

import ast
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import asyncjobs.compat
from asyncjobs.compat import Job, JobTracker, records, tables

FOLDER = Path(asyncjobs.compat.__file__).parent
OF_OLD_FILES = {"old_file.py", "exporting.py"}
"""Modules whose statements are for files of the old tracker, which have a table ``jobs``, too."""
NAMED = re.compile(r"\b(?:FROM|INTO|UPDATE|TABLE|JOIN|INDEX \w+ ON)\s+([a-z_]\w*)")


def named_tables() -> set[str]:
    texts = [
        node.value
        for path in FOLDER.glob("*.py")
        if path.name not in OF_OLD_FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    return {name for text in texts for name in NAMED.findall(text)}


def test_only_its_own_tables_are_named() -> None:
    named = named_tables()
    assert "tracked_jobs" in named, "it would find none"
    assert {name for name in named if not name.startswith("tracked_")} == {"sqlite_master"}


def test_there_is_a_migration_to_each_version() -> None:
    assert sorted(tables.MIGRATIONS) == list(range(tables.VERSION))


def state(path: Path) -> tuple[int, list[str], int]:
    with closing(sqlite3.connect(path)) as connection:
        [(version,)] = connection.execute("SELECT version FROM tracked_version").fetchall()
        columns = [name for _, name, *_ in connection.execute("PRAGMA table_info(tracked_jobs)").fetchall()]
        return version, columns, connection.execute("SELECT count(*) FROM tracked_jobs").fetchone()[0]


def test_an_older_file_is_migrated_when_it_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "jobs.db"
    JobTracker(path).save_job(Job(id="a", type="image"), "m")
    before = state(path)
    monkeypatch.setattr(tables, "VERSION", 3)
    monkeypatch.setitem(tables.MIGRATIONS, 1, ("ALTER TABLE tracked_jobs ADD COLUMN second TEXT",))
    monkeypatch.setitem(tables.MIGRATIONS, 2, ("ALTER TABLE tracked_jobs ADD COLUMN third TEXT",))
    assert JobTracker(path).get_job("a").id == "a"
    assert state(path) == (3, [*before[1], "second", "third"], 1)


def test_a_migration_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "jobs.db"
    JobTracker(path).save_job(Job(id="a", type="image"), "m")
    before = state(path)
    with monkeypatch.context() as patch:
        patch.setattr(tables, "VERSION", 3)
        patch.setitem(tables.MIGRATIONS, 1, ("ALTER TABLE tracked_jobs ADD COLUMN second TEXT",))
        patch.setitem(tables.MIGRATIONS, 2, ("NO STATEMENT",))
        with pytest.raises(asyncjobs.BackendError):
            JobTracker(path)
    assert state(path) == before
    assert JobTracker(path).get_job("a").id == "a"


@pytest.mark.parametrize(
    ("call", "argument"),
    [(records.find_by_id, "a"), (records.find_by_movie, "m"), (records.find_statuses, "m"), (records.find_state, "m")],
)
def test_no_query_reads_what_is_of_other_movies_or_ids(tmp_path: Path, call: Any, argument: str) -> None:
    tracker = JobTracker(tmp_path / "jobs.db")
    asked: list[str] = []
    with closing(sqlite3.connect(tracker.file)) as connection:
        connection.set_trace_callback(asked.append)
        call(connection, argument)
        connection.set_trace_callback(None)
        plan = [detail for *_, detail in connection.execute(f"EXPLAIN QUERY PLAN {asked[-1]}").fetchall()]
    assert any(detail.startswith("SEARCH tracked_") for detail in plan)
    assert [detail for detail in plan if detail.startswith("SCAN")] == []
