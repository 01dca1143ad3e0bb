"""What gates cost in an SQLite file: statements, transactions, and the rows that an index walks over."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncjobs import SQLiteBackend, SQLiteConfig
from asyncjobs.backends.sqlite import gates, job_pages, plan_rows
from asyncjobs.backends.sqlite.connection_cache import ConnectionCache
from asyncjobs.backends.sqlite.moments import Clocks
from asyncjobs.backends.sqlite.writer import Writer
from asyncjobs.core.requests import Answer
from asyncjobs.requests import JobQuery
from tests.conformance.gates import YES, answer, ask, asking, created_at, park
from tests.conformance.support import FATAL, Store, new
from tests.unit.asking_jobs import connect, scene, traced
from tests.unit.sqlite_store import Store as File
from tests.unit.sqlite_store import new_store

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    config = SQLiteConfig(db_path=tmp_path / "jobs.db", readers=1)
    async with Store(lambda clock: SQLiteBackend(config, clock=clock)) as store:
        yield store


@pytest.mark.parametrize("others", [False, True], ids=["a store without gates", "beside open gates and a parked job"])
async def test_a_job_that_never_asks_costs_no_statement_more(store: Store, others: bool) -> None:
    """The number is that of ``test_sqlite_steps``."""
    if others:
        await scene(store)
    hand = await store.hand(functions=["app:other"])
    for job_id in ("warm", "a-job"):
        statements = traced(store)
        await store.submit(new(job_id, function="app:other"))
        await hand.run(job_id)
    assert len(statements) == 17
    assert not [text for text in statements if "gates" in text]
    written = [text for text in statements if text.startswith(("INSERT", "UPDATE jobs"))]
    assert len(written) == 6
    assert not [text for text in written if "role" in text or "parked" in text]


async def test_an_ask_and_an_answer_cost_the_same_however_many_there_are(store: Store) -> None:
    taken: list[tuple[int, int]] = []
    _, (asker,) = await asking(store, "a")
    for i in range(30):
        statements = traced(store)
        await ask(store, asker, f"q{i}")
        asked = len(statements)
        given = Answer(job_id=f"a/q{i}", created_at=await created_at(store, f"a/q{i}"), value=YES)
        del statements[:]
        await store.backend.answer_gate(given)
        taken.append((asked, len(statements)))
    assert len(set(taken[1:])) == 1, "the first one marks its job as one that has asked"
    assert max(taken[0]) <= 16


async def test_many_answers_at_once_are_a_few_statements_each_and_one_transaction(store: Store) -> None:
    per_answer: list[float] = []
    for size in (20, 90):
        ids = [f"{size}-{i}" for i in range(size)]
        hand, attempts = await asking(store, *ids)
        for attempt in attempts:
            await ask(store, attempt)
            await park(store, attempt, f"{attempt.job_id}/q")
        at = [await created_at(store, f"{job_id}/q") for job_id in ids]
        writer: Writer = store.backend._writer
        before, statements = writer.commits, traced(store)
        async with anyio.create_task_group() as tasks:
            for job_id, moment in zip(ids, at, strict=True):
                given = Answer(job_id=f"{job_id}/q", created_at=moment, value=YES)
                tasks.start_soon(store.backend.answer_gate, given)
        assert writer.commits == before + 1
        assert sorted(await hand.claim(size)) == sorted(ids)
        per_answer.append(len(statements) / size)
    assert per_answer[1] < per_answer[0] < 6


async def test_with_nothing_due_it_is_one_read_and_no_transaction(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene(store)
    backend: Any = store.backend
    read: list[str] = []
    fetch = backend._queries._fetch

    async def noted(sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        read.append(sql)
        return await fetch(sql, params)

    monkeypatch.setattr(backend._queries, "_fetch", noted)
    written = traced(store)
    assert await backend.end_due_gates() == []
    assert (read, written) == ([gates.DUE], [])


async def test_role_and_parked_are_kept_by_every_later_write(store: Store) -> None:
    hand, (a, b) = await asking(store, "a", "b")
    await ask(store, a)

    async def stored() -> list[tuple[int | None, int | None]]:
        with closing(connect(store)) as connection:
            return connection.execute("SELECT role, parked FROM jobs ORDER BY n").fetchall()

    assert await stored() == [(2, None), (None, None), (1, None)]
    await park(store, a, "a/q")
    assert await stored() == [(2, 3), (None, None), (1, None)]
    await hand.end("b", FATAL)
    assert await stored() == [(2, 3), (None, None), (1, None)]
    await answer(store, "a/q")
    assert sorted(await hand.claim()) == ["a"]
    assert await stored() == [(2, None), (None, None), (1, None)]
    await hand.end("a", FATAL)
    await store.backend.retry_job("a", fresh=True)
    assert await stored() == [(2, None), (None, None), (1, None)]
    assert b


# -- plans, and how far an index is walked, on 100,000 rows

SIZE = 100_000


def fill(file: File, size: int) -> None:
    """So many jobs, of which 40 wait for answers: every tenth of these is in group b, and of parent 1."""
    file.connection.execute("BEGIN")
    file.connection.execute(
        f"WITH RECURSIVE t(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM t WHERE i < {size}) "
        "INSERT INTO jobs(n, id, lane, status, waits_for, priority, max_interruptions, local, created_at, grp, parent, "
        "run_at, role) SELECT i, 'job-' || i, 1, CASE WHEN i % 3 THEN 0 ELSE 2 END, CASE WHEN i % 3 THEN 3 END, 0, 3, "
        "0, i, CASE i % 2 WHEN 0 THEN 'b' END, CASE WHEN i > 1 THEN 1 END, NULL, NULL FROM t"
    )
    file.connection.execute("INSERT INTO calls_apart(n, injects, call) SELECT n, 0, x'00' FROM jobs")
    for i in range(40):
        n = size + 1 + i
        one = i % 10 == 0
        file.job(n, waits_for=4, role=1, grp="b" if one else None, parent=1 if one else None, run_at=n * 10)
        file.insert("gates", n=n, asker=1 if one else None, generation=0)
    file.connection.execute("COMMIT")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[File, File]]:
    """Two that differ only in how many jobs there are that wait for no answer."""
    folder = tmp_path_factory.mktemp("gates")
    with (
        new_store(SQLiteConfig(db_path=folder / "1.db")) as one,
        new_store(SQLiteConfig(db_path=folder / "2.db")) as two,
    ):
        fill(one, SIZE // 10)
        fill(two, SIZE)
        yield one, two


def instructions(file: File, sql: str, parameters: Sequence[Any]) -> tuple[int, int]:
    """The rows that a statement gives, and the instructions that it takes."""
    taken = 0

    def tick() -> None:
        nonlocal taken
        taken += 1

    file.connection.set_progress_handler(tick, 1)
    rows = file.connection.execute(sql, tuple(parameters)).fetchall()
    file.connection.set_progress_handler(None, 0)
    return len(rows), taken


QUERIES: dict[str, tuple[dict[str, Any], int, str]] = {
    "alone": ({}, 40, "jobs_answer (waits_for=?"),
    "newest": ({"order": "newest"}, 40, "jobs_answer (waits_for=?"),
    "status": ({"status": "pending"}, 40, "jobs_answer (waits_for=?"),
    "a status that none has": ({"status": "completed"}, 0, "jobs_answer (waits_for=?"),
    "metadata": ({"metadata": {"page": 1}}, 0, "jobs_answer (waits_for=?"),
    "function": ({"function": "app:draw"}, 40, "jobs_answer (waits_for=?"),
    "group": ({"group": "b"}, 4, "jobs_answer_group (grp=?"),
    "group and status": ({"group": "b", "status": "pending", "order": "newest"}, 4, "jobs_answer_group (grp=?"),
    "parent": ({"parent_id": "job-1"}, 4, "jobs_answer_parent (parent=?"),
    "parent and group": ({"parent_id": "job-1", "group": "b"}, 4, "jobs_answer_parent (parent=?"),
}


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_costs_what_waits_for_answers_whatever_else_there_is(files: tuple[File, File], name: str) -> None:
    query, found, index = QUERIES[name]
    sql, parameters = job_pages.page_statement(JobQuery(waits_for="answer", limit=50, **query))
    assert uses_index(files, sql, parameters, found, index, scans=r"s\b|m\b|l\b") < 20_000


def uses_index(
    files: tuple[File, File], sql: str, parameters: Sequence[Any], found: int, index: str, *, scans: str
) -> int:
    """Make sure that a statement finds its rows by an index, in both files; return its instructions in the larger one.

    :param scans: what may be scanned, since it holds what was found by then.
    """
    taken: list[int] = []
    for file in files:
        plan = [step[3] for step in file.connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]
        assert [step for step in plan if index in step], plan
        assert not [step for step in plan if re.match(rf"SCAN (?!{scans}|\()", step) or "AUTOMATIC" in step]
        rows, steps = instructions(file, sql, parameters)
        assert rows == found
        taken.append(steps)
    assert taken[1] <= taken[0] + 50
    return taken[1]


@pytest.mark.parametrize("query", [{}, {"group": "b"}, {"parent_id": "job-1"}, {"metadata": {"page": 1}}], ids=str)
def test_a_page_goes_on_where_the_one_before_ended(files: tuple[File, File], query: dict[str, Any]) -> None:
    """A page behind the last one is a seek, and nothing is sorted."""
    _, file = files
    found = JobQuery(waits_for="answer", cursor=str(SIZE + 40), **query)
    sql, parameters = job_pages.page_statement(found)
    source = sql[sql.index("FROM (") + 6 : sql.index(") s\n")]
    assert instructions(file, source, parameters[: source.count("?")])[1] < 100
    plan = [step[3] for step in file.connection.execute(f"EXPLAIN QUERY PLAN {source}", parameters)]
    assert not [step for step in plan if "B-TREE" in step]


@pytest.mark.parametrize(
    ("sql", "parameters", "found", "index"),
    [
        (gates.DUE, (0,), 0, "jobs_deadline (run_at"),
        (gates.DUE, (2**60,), 40, "jobs_deadline (run_at"),
        (gates.OPEN, ("[1]",), 4, "jobs_answer_parent (parent=?"),
        (gates.OPEN, ("[2,3]",), 0, "jobs_answer_parent (parent=?"),
        (gates.STATES, ("[1,2]",), 0, "g USING INTEGER PRIMARY KEY"),
    ],
)
def test_every_statement_finds_its_rows_by_an_index(
    files: tuple[File, File], sql: str, parameters: tuple[Any, ...], found: int, index: str
) -> None:
    assert uses_index(files, sql, parameters, found, index, scans=r"k\b") < 100 + 60 * found


def test_a_read_that_is_bounded_counts_gates_and_values(files: tuple[File, File]) -> None:
    file, _ = files
    first = SIZE // 10 + 1
    reads: list[Callable[[plan_rows.Rows], object]] = [
        lambda rows: list(rows.gates(list(range(first, first + 5)))),
        lambda rows: rows.open_gates([1]),
        lambda rows: [rows.call(n) for n in range(first, first + 5)],
    ]
    for read in reads:
        read(plan_rows.Rows(file.connection, Clocks(0, 0, 0, None), ConnectionCache(), 5))
        with pytest.raises(plan_rows.TooManyRowsError):
            read(plan_rows.Rows(file.connection, Clocks(0, 0, 0, None), ConnectionCache(), 3))
