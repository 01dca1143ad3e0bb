"""The account of a job, and what choices bring: what is counted, and what is shown of it."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
from msgspec import json
from msgspec.structs import replace

from benchmarks import account, choices
from benchmarks.choices import Choice, Choices, Pythons, Setting, ways
from benchmarks.counters import CountingLoop, counted_connections, forget, name_of
from benchmarks.machine import machine
from benchmarks.peers.environments import NotInstalledError
from benchmarks.targets import COUNT_TARGETS

# -- counters


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        ("BEGIN IMMEDIATE", "BEGIN"),
        ("COMMIT", "COMMIT"),
        ("PRAGMA data_version", "PRAGMA data_version"),
        ("INSERT INTO jobs (n, id) VALUES (?, ?)", "INSERT INTO jobs"),
        ("INSERT OR REPLACE INTO results(n) VALUES (?)", "INSERT OR REPLACE INTO results"),
        ("UPDATE jobs SET status = ?\n WHERE n = ?", "UPDATE jobs"),
        ("DELETE FROM edges WHERE n = ?", "DELETE FROM edges"),
        ("SELECT n\nFROM jobs WHERE n IN (SELECT value FROM json_each(?))", "SELECT FROM jobs"),
        ("SELECT 1", "SELECT"),
    ],
)
def test_statements_are_named_by_verb_and_table(sql: str, name: str) -> None:
    assert name_of(sql) == name


def test_a_connection_counts_its_statements_until_it_is_told_to_forget() -> None:
    with counted_connections() as connections, closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE t (a)")
        forget(connections)
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO t VALUES (?)", [(1,), (2,)])
        connection.execute("SELECT a FROM t")
        connection.execute("COMMIT")
        [counted] = connections
        found = {name: statement.times for name, statement in counted.by_name().items()}
        assert found == {"BEGIN": 1, "INSERT INTO t": 1, "SELECT FROM t": 1, "COMMIT": 1}
        assert counted.commits == 1
        assert counted.between > 0
        forget(connections)
        connection.execute("SELECT a FROM t")
        assert counted.between == 0, "in no transaction"
    assert not hasattr(sqlite3.connect, "keywords"), "others are not counted any more"


def test_a_loop_counts_tasks_and_futures() -> None:
    async def work() -> tuple[int, int]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, CountingLoop)
        loop.forget()
        await asyncio.create_task(asyncio.sleep(0))
        loop.call_soon((future := loop.create_future()).set_result, None)
        await future
        return loop.tasks, loop.futures

    with asyncio.Runner(loop_factory=CountingLoop) as runner:
        assert runner.run(work()) == (1, 1)


# -- the account


@pytest.mark.parametrize("shape", account.SHAPES)
def test_a_job_of_each_shape_is_accounted_for(shape: str, tmp_path: Path) -> None:
    found = account.take(shape, 40, tmp_path)
    assert found.jobs == 40
    assert 1 <= found.tasks < 4
    assert 0 < found.commits <= 2.2
    assert found.times > 4 * found.commits, "a transaction has more than its BEGIN and COMMIT"
    assert found.pages > found.commits
    assert found.between > 0
    assert {"BEGIN", "COMMIT", "INSERT INTO events"} <= {line.name for line in found.statements}


def test_counts_do_not_depend_on_how_many_jobs_there_are(tmp_path: Path) -> None:
    for name in ("few", "more"):
        (tmp_path / name).mkdir()
    few = account.take("one by one", 50, tmp_path / "few")
    more = account.take("one by one", 100, tmp_path / "more")
    assert few.times == pytest.approx(more.times, rel=0.1)
    assert few.tasks == pytest.approx(more.tasks, abs=0.05)


def test_limits_are_of_what_is_counted(tmp_path: Path) -> None:
    assert {target.shape for target in COUNT_TARGETS} <= account.SHAPES.keys()
    found = account.take("round trip", 20, tmp_path)
    rows = account.limits([replace(found, commits=2.0), replace(found, shape="chain", commits=1.4)])
    assert ("round trip", "commits", "2", "≤ 2", "met") in rows
    assert ("chain", "commits", "1.4", "≤ 1", "NOT MET") in rows


@pytest.mark.parametrize("shape", sorted({target.shape for target in COUNT_TARGETS}))
def test_a_job_takes_no_more_than_the_limits(shape: str, tmp_path: Path) -> None:
    """Counters instead of clocks: statements, commits, pages, tasks and futures are the same on every machine."""
    rows = account.limits([account.take(shape, 200, tmp_path)])
    assert [row for row in rows if row[-1] == "NOT MET"] == []
    assert {row[0] for row in rows[1:]} == {shape}


# -- choices


def test_a_run_has_all_figures(tmp_path: Path) -> None:
    found = asyncio.run(choices.run(Setting(slots=4), tmp_path, 0.02))
    assert found.keys() == choices.SHOWN.keys()
    assert min(found.values()) > 0


def test_a_choice_differs_in_one_setting() -> None:
    for _, without, with_it in choices.CHOICES.values():
        assert without == Setting()
        assert len(json.decode(json.encode(with_it))) == 1, "defaults are left out"


def test_without_a_newer_python_there_is_no_figure_and_a_reason() -> None:
    pythons = Pythons(sys.executable)
    assert pythons.newer is None
    with pytest.raises(NotInstalledError, match="no newer Python here"):
        pythons.of(Setting(newer=True))
    [(choice, before)] = choices.take(["newer"], 1, 1.0, pythons)
    assert (choice.ratios, choice.why, before) == ({}, "no newer Python here", [])


def test_a_row_has_ratios_or_dashes() -> None:
    ratios = {"one_by_one": 1.0, "submitters_100": 1.234, "batch": 0.5, "p50": 2.0}
    rows = choices.table(
        Choices(
            machine(), "2026-01-02", 1, False, "3.13", [Choice("gc", "no gc", ratios), Choice("newer", "newer", {})], {}
        )
    )
    assert rows[1] == ("no gc", "1.00 ×", "1.23 ×", "0.50 ×", "2.00 ×")
    assert rows[2][0].startswith("Python 3.13 instead of 3.")
    assert set(rows[2][1:]) == {"–"}


def test_ways_to_submit_are_compared_within_each_run() -> None:
    runs = [{"one_by_one": rate, "submitters_100": 3 * rate, "batch": 5 * rate} for rate in (1_000.0, 9_000.0)]
    assert ways(runs) == {"submitters_100": 3.0, "batch": 5.0}
    assert ways([]) == {}
