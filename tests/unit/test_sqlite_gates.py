"""Gates in a file: what cannot be read of them, what each statement costs, and by which index it finds its rows."""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from msgspec import msgpack

from asyncjobs import SQLiteBackend, SQLiteConfig
from asyncjobs.backends.gate_store import DUE_AT_ONCE
from asyncjobs.backends.sqlite import gates, job_pages, plan_rows
from asyncjobs.backends.sqlite.moments import Clocks
from asyncjobs.backends.sqlite.writer import Writer
from asyncjobs.core.requests import Answer, Question
from asyncjobs.exceptions import JobStateError
from asyncjobs.models import Gate, WaitsFor
from asyncjobs.requests import JobQuery
from tests.conformance.gates import HOUR, YES, answer, ask, asking, created_at, gate, is_open, park, reject
from tests.conformance.support import CANCELLED, COMPLETED, FAILED, FATAL, PENDING, SKIPPED, SUCCESS, Hand, Store, new
from tests.unit.sqlite_store import Store as File
from tests.unit.sqlite_store import new_store

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    config = SQLiteConfig(db_path=tmp_path / "jobs.db", readers=1)
    async with Store(lambda clock: SQLiteBackend(config, clock=clock)) as store:
        yield store


def connect(store: Store) -> sqlite3.Connection:
    config: SQLiteConfig = store.backend.config  # type: ignore[attr-defined]  # pyright: ignore
    return sqlite3.connect(config.file, isolation_level=None)


def damage(store: Store, statement: str, job_id: str) -> None:
    """Run an UPDATE or DELETE on the rows of a job; ``{n}`` is its number."""
    with closing(connect(store)) as connection:
        (n,) = connection.execute("SELECT n FROM jobs WHERE id = ?", (job_id,)).fetchone()
        assert connection.execute(statement.format(n=n)).rowcount == 1


def count(store: Store, table: str) -> int:
    with closing(connect(store)) as connection:
        return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


async def scene(store: Store) -> Hand:
    """``a`` is parked on ``a/q``, which has a timeout; ``b`` runs, its question ``b/q`` is open; and others do well."""
    hand, (a, b) = await asking(store, "a", "b", group="films")
    await ask(store, a, timeout=HOUR)
    await ask(store, b)
    await store.submit(gate("well", timeout=HOUR, group="films"), new("after", "a/q"), new("job"))
    await park(store, a, "a/q")
    return hand


async def others_do_well(store: Store) -> None:
    """Pages, queries, answers and deadlines of the neighbours of what is damaged."""
    found = {job.id: job for job in await store.backend.find_jobs(JobQuery())}
    assert {"a", "b", "a/q", "b/q", "well", "after", "job"} <= set(found)
    assert found["well"].unreadable is None
    await store.backend.find_jobs(JobQuery(waits_for="answer"))
    await store.backend.find_jobs(JobQuery(waits_for="answer", group="films"))
    await store.backend.get_results(list(found))
    assert await answer(store, "well") is COMPLETED


# -- what cannot be read

QUESTIONS = {
    "no msgpack": "UPDATE calls SET call = x'c1' WHERE n = {n}",
    "another call": f"UPDATE calls SET call = x'{msgpack.encode([1, 2]).hex()}' WHERE n = {{n}}",
    "text": "UPDATE calls SET call = 'why?' WHERE n = {n}",
    "text that is none": "UPDATE calls SET call = CAST(x'ff' AS TEXT) WHERE n = {n}",
    "lost": "DELETE FROM calls WHERE n = {n}",
}


@pytest.mark.parametrize("what", QUESTIONS)
async def test_a_question_that_cannot_be_read_is_marked_and_can_be_answered(store: Store, what: str) -> None:
    hand = await scene(store)
    damage(store, QUESTIONS[what], "a/q")
    found = await store.job("a/q")
    assert found.unreadable is not None
    assert "question" in found.unreadable
    assert found.gate is not None
    assert (found.gate.question, found.gate.asked_by) == ("?", "a")
    assert found.gate.deadline is not None
    assert await answer(store, "a/q") is COMPLETED
    assert set(await hand.claim()) == {"a", "after", "job"}
    await others_do_well(store)


@pytest.mark.parametrize("what", QUESTIONS)
async def test_at_its_deadline_it_fails_since_no_default_is_known(store: Store, what: str) -> None:
    await scene(store)
    damage(store, QUESTIONS[what], "a/q")
    await others_do_well(store)
    store.clock.jump(HOUR)
    assert await store.backend.end_due_gates() == ["a/q"]
    ended = await store.job("a/q")
    assert (ended.status, ended.error and ended.error.error_type) == (FAILED, "UnreadableJobError")
    assert (await store.job("a")).waits_for is WaitsFor.WORKER


async def test_one_that_is_to_be_opened_fails_and_neighbours_open(store: Store) -> None:
    await store.submit(new("first"), gate("g", "first"), gate("h", "first"), new("after", "g"))
    damage(store, QUESTIONS["no msgpack"], "g")
    hand = await store.hand()
    await hand.run("first")
    assert await store.statuses("g", "h", "after") == [FAILED, PENDING, SKIPPED]
    assert await is_open(store, "h")


ROWS = {
    "timeout, text": "UPDATE gates SET timeout = 'long' WHERE n = {n}",
    "timeout, endless": "UPDATE gates SET timeout = 9000000000000000000 WHERE n = {n}",
    "timeout, negative": "UPDATE gates SET timeout = -1 WHERE n = {n}",
    "timeout, a fraction": "UPDATE gates SET timeout = 1.5 WHERE n = {n}",
    "asker": "UPDATE gates SET asker = 'somebody' WHERE n = {n}",
    "generation": "UPDATE gates SET generation = x'ff' WHERE n = {n}",
    "opened_at": "UPDATE gates SET opened_at = 'then' WHERE n = {n}",
    "opened_at, endless": "UPDATE gates SET opened_at = 9000000000000000000 WHERE n = {n}",
    "answered_at": "UPDATE gates SET answered_at = 9000000000000000000 WHERE n = {n}",
    "answered_by": "UPDATE gates SET answered_by = x'ff' WHERE n = {n}",
    "answered_by, no UTF-8": "UPDATE gates SET answered_by = CAST(x'ff' AS TEXT) WHERE n = {n}",
    "reason": "UPDATE gates SET reason = x'ff' WHERE n = {n}",
    "everything": "UPDATE gates SET timeout = '', asker = '', generation = '', opened_at = '', answered_at = '', "
    "answered_by = x'', reason = x'' WHERE n = {n}",
    "the row is lost": "DELETE FROM gates WHERE n = {n}",
    "role, text": "UPDATE jobs SET role = 'gate' WHERE n = {n}",
    "role, none of ours": "UPDATE jobs SET role = 99 WHERE n = {n}",
}


@pytest.mark.parametrize("what", ROWS)
@pytest.mark.parametrize("how", ["answered", "rejected", "expired", "cancelled"])
async def test_however_a_gate_ends_of_which_something_cannot_be_read_its_job_goes_on(
    store: Store, what: str, how: str
) -> None:
    hand = await scene(store)
    damage(store, ROWS[what], "a/q")
    found = await store.job("a/q")
    assert found.gate is not None
    assert found.gate.question == "a/q?"
    if how == "answered":
        assert await answer(store, "a/q", by="ana") is COMPLETED
    elif how == "rejected":
        assert await reject(store, "a/q", by="ana") is FAILED
    elif how == "cancelled":
        await store.backend.cancel_jobs(["a/q"])
    else:
        store.clock.jump(HOUR)
        assert set(await store.backend.end_due_gates()) == {"a/q", "well"}
    woken = await store.job("a")
    assert (woken.waits_for, woken.parked) == (WaitsFor.WORKER, None)
    assert "a" in await hand.claim()
    if how != "expired":
        await others_do_well(store)


@pytest.mark.parametrize("what", [what for what in ROWS if not what.startswith(("timeout", "reason", "generation"))])
async def test_what_cannot_be_read_of_what_is_shown_is_named(store: Store, what: str) -> None:
    await scene(store)
    damage(store, ROWS[what], "a/q")
    found = await store.job("a/q")
    assert (found.unreadable is not None) == (what != "answered_by, no UTF-8"), "that is shown with a replacement"
    assert found.run_at is None


@pytest.mark.parametrize("what", ROWS)
async def test_it_ends_with_the_job_that_asked(store: Store, what: str) -> None:
    hand = await scene(store)
    damage(store, ROWS[what], "b/q")
    await hand.end("b", SUCCESS)
    assert (await store.job("b/q")).status is CANCELLED
    await others_do_well(store)


@pytest.mark.parametrize("what", ROWS)
async def test_it_opens_again_with_the_deadline_that_its_job_has(store: Store, what: str) -> None:
    await store.submit(gate("g", timeout=HOUR), gate("well"))
    await store.backend.cancel_jobs(["g"])
    damage(store, ROWS[what], "g")
    await store.backend.retry_job("g")
    found = (await store.job("g")).gate
    assert found is not None
    assert found.opened_at is not None
    assert found.deadline is not None
    assert (found.deadline - found.opened_at).total_seconds() == HOUR


@pytest.mark.parametrize("role", ["'asks'", "99", "x'ff'"])
async def test_a_job_whose_role_cannot_be_read_leaves_no_question_open(store: Store, role: str) -> None:
    hand = await scene(store)
    damage(store, f"UPDATE jobs SET role = {role} WHERE n = {{n}}", "b")
    assert "role" in ((await store.job("b")).unreadable or "")
    await hand.end("b", SUCCESS)
    assert (await store.job("b/q")).status is CANCELLED
    await others_do_well(store)


@pytest.mark.parametrize("parked", ["'there'", "x'ff'", "1.5"])
async def test_a_job_is_woken_of_which_the_gate_cannot_be_read_that_it_is_parked_on(store: Store, parked: str) -> None:
    hand = await scene(store)
    damage(store, f"UPDATE jobs SET parked = {parked} WHERE n = {{n}}", "a")
    assert "parked" in ((await store.job("a")).unreadable or "")
    await answer(store, "a/q")
    assert "a" in await hand.claim()
    await others_do_well(store)


DEADLINES = ["'later'", "x'ff'", "1e300", "1.5", "-9000000000000000000", "9000000000000000000"]


@pytest.mark.parametrize("run_at", DEADLINES)
async def test_a_gate_whose_deadline_cannot_be_read_fails_and_does_not_wait_for_ever(store: Store, run_at: str) -> None:
    await scene(store)
    await store.submit(gate("default", asks=Question(question="?", default=YES), timeout=HOUR), new("door", "default"))
    for job_id in ("a/q", "default"):
        damage(store, f"UPDATE jobs SET run_at = {run_at} WHERE n = {{n}}", job_id)
    assert "run_at" in ((await store.job("a/q")).unreadable or "")
    assert set(await store.backend.end_due_gates()) == {"a/q", "default"}
    assert await store.backend.end_due_gates() == []
    for job_id in ("a/q", "default"):
        ended = await store.job(job_id)
        assert (ended.status, ended.error and ended.error.error_type) == (FAILED, "UnreadableJobError")
    assert (await store.job("door")).status is SKIPPED, "a default is for a deadline that has come"
    assert (await store.job("a")).waits_for is WaitsFor.WORKER
    await others_do_well(store)


async def test_those_that_are_due_come_before_those_whose_deadline_cannot_be_read(store: Store) -> None:
    await store.submit(*(gate(f"g{i:03}", timeout=60 + i) for i in range(DUE_AT_ONCE + 50)))
    with closing(connect(store)) as connection:
        connection.execute("UPDATE jobs SET run_at = 'later' WHERE n <= 20")
        connection.execute("UPDATE jobs SET run_at = -n WHERE n > 20 AND n <= 40")
    store.clock.jump(HOUR)
    assert list(await store.backend.end_due_gates()) == [f"g{i:03}" for i in range(40, 240)]
    assert list(await store.backend.end_due_gates())[:10] == [f"g{i:03}" for i in range(240, 250)]
    assert await store.backend.end_due_gates() == []
    assert await store.backend.count_jobs() == {FAILED: 250}


async def test_a_parked_job_has_no_deadline_whatever_its_row_has(store: Store) -> None:
    await scene(store)
    for run_at in ("1", "'later'", "-1"):
        damage(store, f"UPDATE jobs SET run_at = {run_at} WHERE n = {{n}}", "a")
        written = traced(store)
        assert await store.backend.end_due_gates() == []
        assert written == [], "nor is it looked at again and again"
    assert (await store.job("a")).status is PENDING


async def test_who_answered_has_a_stand_in_in_results_and_errors(store: Store) -> None:
    await store.submit(gate("g"), gate("h"))
    await answer(store, "g", by="ana")
    await answer(store, "h", by="ana")
    damage(store, "UPDATE gates SET answered_by = x'ff' WHERE n = {n}", "g")
    results = await store.backend.get_results(["g", "h"])
    assert [(result.value, result.answered_by) for result in results.values()] == [(YES, "?"), (YES, "ana")]
    with pytest.raises(JobStateError) as refused:
        await answer(store, "g", by="ana")
    assert refused.value.answered_by == "?"


@pytest.mark.parametrize("created_at", ["'then'", "9000000000000000000"])
async def test_a_gate_is_answered_of_which_the_time_of_its_submission_cannot_be_read(
    store: Store, created_at: str
) -> None:
    await store.submit(gate("g"))
    damage(store, f"UPDATE jobs SET created_at = {created_at} WHERE n = {{n}}", "g")
    assert await answer(store, "g") is COMPLETED


async def test_a_submitted_gate_whose_row_is_lost_is_no_question_of_anybody(store: Store) -> None:
    await store.submit(gate("g"))
    damage(store, ROWS["the row is lost"], "g")
    found = await store.job("g")
    assert found.gate == Gate("g?")
    assert found.unreadable is not None
    assert await answer(store, "g", by="ana") is COMPLETED
    assert (await store.job("g")).unreadable is None, "it is there again"


# -- who commits


class Committers:
    """A hook that knows who committed."""

    def __init__(self) -> None:
        self.on_the_loop: list[bool] = []

    def __call__(self, point: str) -> None:
        if point == "after-commit":
            self.on_the_loop.append(threading.current_thread() is threading.main_thread())


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[tuple[Store, Committers]]:
    config, hook = SQLiteConfig(db_path=tmp_path / "jobs.db", readers=1), Committers()
    async with Store(lambda clock: SQLiteBackend(config, clock=clock, hook=hook)) as store:
        yield store, hook


@pytest.mark.parametrize(("size", "on_the_loop"), [(0, True), (60_000, True), (66_000, False), (8 << 20, False)])
async def test_large_answers_and_questions_are_not_written_on_the_loop(
    watched: tuple[Store, Committers], size: int, on_the_loop: bool
) -> None:
    store, hook = watched
    _, (asker,) = await asking(store, "a")
    await store.submit(gate("g"))
    await answer(store, "g", b"v" * size)
    answered = hook.on_the_loop[-1]
    await ask(store, asker, asks=Question(question="?", default=b"v" * size))
    assert (answered, hook.on_the_loop[-1]) == (on_the_loop, on_the_loop)


async def test_neither_are_many_small_ones_of_one_group(watched: tuple[Store, Committers]) -> None:
    store, hook = watched
    await store.submit(gate("g"), gate("h"), gate("i"))
    async with anyio.create_task_group() as tasks:
        for job_id in "ghi":
            tasks.start_soon(answer, store, job_id, b"v" * 30_000)
    assert await store.statuses("g", "h", "i") == [COMPLETED] * 3
    at = await created_at(store, "g")
    await store.submit(*(gate(f"g{i}") for i in range(3)))
    del hook.on_the_loop[:]
    async with anyio.create_task_group() as tasks:
        for i in range(3):
            given = Answer(job_id=f"g{i}", created_at=at, value=b"v" * 30_000)
            tasks.start_soon(store.backend.answer_gate, given)
    assert hook.on_the_loop == [False]


@pytest.mark.parametrize(("size", "on_the_loop"), [(60_000, True), (66_000, False)])
async def test_a_large_answer_is_not_read_on_the_loop_to_compare_it_with_a_small_one(
    watched: tuple[Store, Committers], size: int, on_the_loop: bool
) -> None:
    store, hook = watched
    await store.submit(gate("g"))
    await answer(store, "g", b"v" * size)
    del hook.on_the_loop[:]
    with pytest.raises(JobStateError):
        await answer(store, "g", YES)
    assert hook.on_the_loop == [on_the_loop]


@pytest.mark.parametrize(("size", "on_the_loop"), [(60_000, True), (66_000, False)])
async def test_nor_is_a_large_default_read_at_a_deadline(
    watched: tuple[Store, Committers], size: int, on_the_loop: bool
) -> None:
    store, hook = watched
    await store.submit(gate("g", asks=Question(question="?", default=b"v" * size), timeout=1))
    store.clock.jump(1)
    del hook.on_the_loop[:]
    await store.backend.end_due_gates()
    assert hook.on_the_loop == [on_the_loop]
    assert (await store.backend.get_results(["g"]))["g"].value == b"v" * size


@pytest.mark.parametrize(("due", "on_the_loop"), [(1, True), (100, True), (DUE_AT_ONCE, False)])
async def test_a_flood_of_deadlines_is_not_met_on_the_loop(
    watched: tuple[Store, Committers], due: int, on_the_loop: bool
) -> None:
    store, hook = watched
    await store.submit(*(gate(f"g{i}", timeout=1) for i in range(due)))
    store.clock.jump(1)
    del hook.on_the_loop[:]
    assert len(await store.backend.end_due_gates()) == due
    assert hook.on_the_loop == [on_the_loop]


# -- what it costs


def traced(store: Store) -> list[str]:
    """The statements of the writer, from now on."""
    statements: list[str] = []
    writer: Writer = store.backend._writer  # type: ignore[attr-defined]  # pyright: ignore
    writer.connection.set_trace_callback(statements.append)
    return statements


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
    assert len(statements) == 26
    assert not [text for text in statements if "gates" in text]
    written = [text for text in statements if text.startswith(("INSERT", "UPDATE jobs"))]
    assert len(written) == 7
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
        writer: Writer = store.backend._writer  # type: ignore[attr-defined]  # pyright: ignore
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
    file.connection.execute("INSERT INTO calls(n, injects, call) SELECT n, 0, x'00' FROM jobs")
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
    taken: list[int] = []
    for file in files:
        sql, parameters = job_pages.page_statement(JobQuery(waits_for="answer", limit=50, **query))
        plan = [step[3] for step in file.connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]
        assert [step for step in plan if index in step], plan
        assert not [step for step in plan if re.match(r"SCAN (?!s\b|m\b|l\b|\()", step) or "AUTOMATIC" in step]
        rows, steps = instructions(file, sql, parameters)
        assert rows == found
        taken.append(steps)
    assert taken[1] <= taken[0] + 50
    assert taken[1] < 20_000


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
    taken: list[int] = []
    for file in files:
        plan = [step[3] for step in file.connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]
        assert [step for step in plan if index in step], plan
        assert not [step for step in plan if re.match(r"SCAN (?!k\b|\()", step) or "AUTOMATIC" in step]
        rows, steps = instructions(file, sql, parameters)
        assert rows == found
        taken.append(steps)
    assert taken[1] <= taken[0] + 50
    assert taken[1] < 100 + 60 * found


def test_a_read_that_is_bounded_counts_gates_and_values(files: tuple[File, File]) -> None:
    file, _ = files
    first = SIZE // 10 + 1
    reads: list[Callable[[plan_rows.Rows], object]] = [
        lambda rows: list(rows.gates(list(range(first, first + 5)))),
        lambda rows: rows.open_gates([1]),
        lambda rows: [rows.call(n) for n in range(first, first + 5)],
    ]
    for read in reads:
        read(plan_rows.Rows(file.connection, Clocks(0, 0, 0, None), 5))
        with pytest.raises(plan_rows.TooManyRowsError):
            read(plan_rows.Rows(file.connection, Clocks(0, 0, 0, None), 3))


# -- removal


async def test_no_row_of_a_gate_outlives_its_job(store: Store) -> None:
    hand = await scene(store)
    await answer(store, "a/q")
    await answer(store, "well")
    await hand.end("b", SUCCESS)
    await hand.run("a", "after", "job")
    assert count(store, "gates") == 3
    store.clock.advance(HOUR)
    assert await store.backend.prune(store.clock.now()) == 7
    assert [count(store, table) for table in ("jobs", "gates", "calls", "removed")] == [0, 0, 0, 0]


async def test_what_a_process_left_behind_another_one_deletes(store: Store) -> None:
    await store.submit(gate("g"))
    await answer(store, "g")
    with closing(connect(store)) as connection:
        connection.execute("INSERT INTO removed SELECT n FROM jobs")
        connection.execute("DELETE FROM jobs")
    assert await store.backend.prune(0) == 0
    assert [count(store, table) for table in ("gates", "results", "events")] == [0, 0, 0]
