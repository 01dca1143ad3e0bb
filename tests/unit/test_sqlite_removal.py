"""Removing jobs from a file: what each step costs, and what may come in between the steps."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from asyncjobs.backends.sqlite import removal
from asyncjobs.backends.sqlite.operations import Clear, Operation, Remove
from asyncjobs.backends.sqlite.pruning import EVER, Pruner
from asyncjobs.backends.sqlite.removal import Removed
from asyncjobs.config import SQLiteConfig
from tests.unit.sqlite_store import Store, new_store

pytestmark = pytest.mark.anyio

TABLES = ("jobs", "calls_apart", "results_apart", "edges", "attempts", "events", "gates", "removed")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with new_store(SQLiteConfig(db_path=tmp_path / "jobs.db")) as store:
        yield store


def fill(store: Store, sql: str, count: int) -> None:
    """Run an INSERT … SELECT over ``i`` from 1 to ``count``."""
    store.connection.execute(f"WITH RECURSIVE t(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM t WHERE i < {count}) {sql}")


def jobs(store: Store, count: int, *, finished: bool, first: int = 0) -> None:
    status, waits_for, finished_at = (2, "NULL", "i") if finished else (0, "0", "NULL")
    fill(
        store,
        "INSERT INTO jobs(n, id, lane, status, waits_for, priority, max_interruptions, local, created_at, finished_at, "
        f"seq) SELECT i + {first}, 'j' || (i + {first}), 1, {status}, {waits_for}, 0, 3, 0, i, {finished_at}, 0 FROM t",
        count,
    )


class Watched:
    """Reads and writes of a ``Pruner`` on one connection, counted."""

    def __init__(self, store: Store) -> None:
        self.connection = store.connection
        self.plans: list[str] = []
        self.read = Counter[str]()
        self.written: list[Operation] = []
        self.pruner = Pruner(self.fetch, self.run)

    async def fetch(self, sql: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
        self.plans += [step[3] for step in self.connection.execute(f"EXPLAIN QUERY PLAN {sql}", params)]
        rows = self.connection.execute(sql, params).fetchall()
        self.read["statements"] += 1
        self.read["rows"] += len(rows)
        return rows

    async def run(self, operation: Operation) -> Any:
        self.written.append(operation)
        if isinstance(operation, Remove):
            return removal.remove(self.connection, operation.components, operation.newest, operation.before)
        assert isinstance(operation, Clear)
        return removal.clear(self.connection)


def count(store: Store) -> dict[str, int]:
    """Rows by table, of those that have any."""
    numbers = {table: store.connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES}
    return {table: number for table, number in numbers.items() if number}


# -- finding


@pytest.mark.parametrize("size", [100, 100_000])
async def test_nothing_due_costs_nothing_however_much_is_unfinished(store: Store, size: int) -> None:
    jobs(store, size, finished=False)
    taken = 0

    def step() -> None:
        nonlocal taken
        taken += 1

    watched = Watched(store)
    store.connection.set_progress_handler(step, 1)
    assert await watched.pruner.prune(EVER, 1000) == 0
    store.connection.set_progress_handler(None, 0)
    assert dict(watched.read) == {"statements": 3, "rows": 2}
    assert watched.written == []
    assert taken < 200


@pytest.mark.parametrize("size", [6_000, 12_000])
async def test_what_stays_is_looked_at_in_bounded_steps(store: Store, size: int) -> None:
    """Pairs of which one is not finished: old enough, and not to be removed."""
    jobs(store, size, finished=True)
    jobs(store, size, finished=False, first=size)
    fill(store, f"INSERT INTO edges SELECT i, i + {size}, 0, 1 FROM t", size)
    watched = Watched(store)
    assert await watched.pruner.prune(EVER, 1000) == 0
    assert watched.read["statements"] <= 25 * 10
    assert watched.read["rows"] <= 25 * 1000
    assert watched.written == []


async def test_the_next_call_goes_on_and_finds_what_lies_behind(store: Store) -> None:
    jobs(store, 12_000, finished=True)
    jobs(store, 11_999, finished=False, first=12_000)
    fill(store, "INSERT INTO edges SELECT i, i + 12000, 0, 1 FROM t", 11_999)
    watched = Watched(store)
    assert [await watched.pruner.prune(EVER, 1000) for _ in range(4)] == [0, 0, 1, 0]


async def test_a_call_that_may_do_more_looks_at_more(store: Store) -> None:
    jobs(store, 12_000, finished=True)
    jobs(store, 11_999, finished=False, first=12_000)
    fill(store, "INSERT INTO edges SELECT i, i + 12000, 0, 1 FROM t", 11_999)
    watched = Watched(store)
    assert await watched.pruner.prune(EVER, 1000) == 0
    assert await watched.pruner.prune(EVER, 1_000_000) == 1, "from the beginning, although a round was under way"


async def test_one_unfinished_job_of_many_is_found_early(store: Store) -> None:
    """A hub with 50,000 dependents, of which the newest runs: nobody reads them all, for none of them."""
    jobs(store, 50_000, finished=True)
    jobs(store, 1, finished=False, first=50_000)
    fill(store, "INSERT INTO edges SELECT 1, i + 1, 1, 1 FROM t", 50_000)
    watched = Watched(store)
    assert await watched.pruner.prune(EVER, 1000) == 0
    assert watched.read["rows"] < 20_000


async def test_every_step_finds_its_rows_by_an_index(store: Store) -> None:
    jobs(store, 3000, finished=True)
    jobs(store, 3000, finished=False, first=3000)
    fill(store, "INSERT INTO edges SELECT i / 2, i, 0, 1 FROM t WHERE i > 1", 1500)
    store.connection.execute("UPDATE jobs SET parent = n - 10 WHERE n BETWEEN 2000 AND 2010")
    watched = Watched(store)
    assert await watched.pruner.prune(EVER, 100_000) == 3000
    scans = {match[1] for plan in watched.plans if (match := re.match(r"SCAN (\S+)", plan))}
    assert scans <= {"CONSTANT", "k", "removed", "outdated"}
    assert not [plan for plan in watched.plans if "TEMP B-TREE" in plan or "AUTOMATIC" in plan]


@pytest.mark.parametrize(
    ("sql", "params"), [(removal._MEMBERS, ("[1,2]", 9)), (removal._NEW_LINKS, (2990, 2990)), (removal._LEFT, (9,))]
)
def test_so_does_every_read_under_the_lock(store: Store, sql: str, params: tuple[Any, ...]) -> None:
    jobs(store, 3000, finished=True)
    plan = [step[3] for step in store.connection.execute(f"EXPLAIN QUERY PLAN {sql}", params)]
    assert not [step for step in plan if re.match(r"SCAN (?!k |d$)", step)]


# -- removing


def large(store: Store) -> None:
    """A job with 12,000 events and 12,000 dependents, which have each an event; all finished."""
    jobs(store, 12_001, finished=True)
    fill(store, "INSERT INTO edges SELECT 1, i + 1, 1, 1 FROM t", 12_000)
    fill(store, "INSERT INTO events(position, job, seq, type, at, attempt) SELECT i, 1, i, 'log', i, 1 FROM t", 12_000)
    fill(
        store,
        "INSERT INTO events(position, job, seq, type, at, attempt) SELECT 12000 + i, 1 + i, 1, 'log', i, 1 FROM t",
        12_000,
    )


def test_it_is_gone_at_once_and_cleared_in_bounded_steps(store: Store) -> None:
    large(store)
    component = list(range(1, 12_002))
    store.connection.execute("BEGIN IMMEDIATE")
    removed: Removed = removal.remove(store.connection, [component], 12_001, EVER)
    store.connection.execute("COMMIT")
    assert len(removed.jobs) == 12_001
    assert removed.more
    assert "jobs" not in count(store)
    assert store.connection.execute("SELECT value FROM marks WHERE name = 'pruned'").fetchone() == (24_000,)
    steps, more = 0, True
    while more:
        before = store.connection.total_changes
        more = removal.clear(store.connection)
        assert store.connection.total_changes - before <= 3 * 5000 + 3 * 500 + 1
        steps += 1
    assert steps > 5
    assert count(store) == {}
    assert not removal.clear(store.connection), "and then there is nothing to do"


def test_large_values_are_deleted_a_few_a_step(store: Store) -> None:
    jobs(store, 10, finished=True)
    fill(store, "INSERT INTO results_apart SELECT i, zeroblob(5000000) FROM t", 10)
    assert removal.remove(store.connection, [[n] for n in range(1, 11)], 10, EVER).more
    left = [count(store)["results_apart"]]
    while removal.clear(store.connection):
        left.append(count(store)["results_apart"])
    assert left == [7, 4, 1]
    assert count(store) == {}


def test_a_small_one_is_cleared_by_the_same_transaction(store: Store) -> None:
    jobs(store, 3, finished=True)
    assert not removal.remove(store.connection, [[1, 2, 3]], 3, EVER).more
    assert count(store) == {}


# -- what came in between finding it and removing it


def test_one_that_was_retried_keeps_its_component(store: Store) -> None:
    jobs(store, 4, finished=True)
    store.connection.execute("UPDATE jobs SET status = 0, waits_for = 0, finished_at = NULL WHERE n = 2")
    removed = removal.remove(store.connection, [[1, 2], [3, 4]], 4, EVER)
    assert removed.jobs == [(3, "j3"), (4, "j4")]
    assert count(store) == {"jobs": 2}


def test_one_that_was_retried_and_has_ended_again_keeps_its_component(store: Store) -> None:
    jobs(store, 2, finished=True)
    store.connection.execute("UPDATE jobs SET finished_at = 100 WHERE n = 2")
    assert removal.remove(store.connection, [[1, 2]], 2, before=100).jobs == []


@pytest.mark.parametrize("link", ["edge", "child"])
def test_a_new_neighbour_keeps_it(store: Store, link: str) -> None:
    jobs(store, 4, finished=True)
    jobs(store, 1, finished=False, first=4)
    if link == "edge":
        store.insert("edges", parent=2, child=5, optional=0, state=1)
    else:
        store.connection.execute("UPDATE jobs SET parent = 2 WHERE n = 5")
    assert removal.remove(store.connection, [[1, 2], [3, 4]], 4, EVER).jobs == [(3, "j3"), (4, "j4")]


def test_one_that_somebody_else_removed_is_no_error(store: Store) -> None:
    jobs(store, 2, finished=True)
    removal.remove(store.connection, [[1]], 2, EVER)
    assert removal.remove(store.connection, [[1], [2]], 2, EVER).jobs == [(2, "j2")]


async def test_by_hand_it_is_looked_at_again_when_something_changed(store: Store) -> None:
    jobs(store, 2, finished=True)
    watched = Watched(store)
    run = watched.run

    async def first_a_child_comes(operation: Operation) -> Any:
        if not watched.written:
            jobs(store, 1, finished=True, first=2)
            store.insert("edges", parent=2, child=3, optional=0, state=1)
        return await run(operation)

    pruner = Pruner(watched.fetch, first_a_child_comes)
    assert await pruner.remove(["j1", "j2"], True) == ["j1", "j2", "j3"]
