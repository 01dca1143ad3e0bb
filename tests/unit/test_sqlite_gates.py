"""Gates in a file: what cannot be read of them, what each statement costs, and by which index it finds its rows."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import anyio
import pytest
from msgspec import msgpack

from asyncjobs import SQLiteBackend, SQLiteConfig
from asyncjobs.backends.gate_store import DUE_AT_ONCE
from asyncjobs.core.requests import Answer, Question
from asyncjobs.exceptions import JobStateError
from asyncjobs.models import Gate, WaitsFor
from asyncjobs.requests import JobQuery
from tests.conformance.gates import HOUR, YES, answer, ask, asking, created_at, gate, is_open, reject
from tests.conformance.support import CANCELLED, COMPLETED, FAILED, PENDING, SKIPPED, SUCCESS, Store, new
from tests.unit.asking_jobs import connect, scene, traced

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    config = SQLiteConfig(db_path=tmp_path / "jobs.db", readers=1)
    async with Store(lambda clock: SQLiteBackend(config, clock=clock)) as store:
        yield store


def damage(store: Store, statement: str, job_id: str) -> None:
    """Run an UPDATE or DELETE on the rows of a job; ``{n}`` is its number."""
    with closing(connect(store)) as connection:
        (n,) = connection.execute("SELECT n FROM jobs WHERE id = ?", (job_id,)).fetchone()
        assert connection.execute(statement.format(n=n)).rowcount == 1


def count(store: Store, table: str) -> int:
    with closing(connect(store)) as connection:
        return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


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
    "no msgpack": "UPDATE jobs SET call = x'c1' WHERE n = {n}",
    "another call": f"UPDATE jobs SET call = x'{msgpack.encode([1, 2]).hex()}' WHERE n = {{n}}",
    "text": "UPDATE jobs SET call = 'why?' WHERE n = {n}",
    "text that is none": "UPDATE jobs SET call = CAST(x'ff' AS TEXT) WHERE n = {n}",
    "lost": "UPDATE jobs SET call = NULL WHERE n = {n}",
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
    assert [count(store, table) for table in ("jobs", "gates", "calls_apart", "removed")] == [0, 0, 0, 0]


async def test_what_a_process_left_behind_another_one_deletes(store: Store) -> None:
    await store.submit(gate("g"))
    await answer(store, "g")
    with closing(connect(store)) as connection:
        connection.execute("INSERT INTO removed SELECT n FROM jobs")
        connection.execute("DELETE FROM jobs")
    assert await store.backend.prune(0) == 0
    assert [count(store, table) for table in ("gates", "results_apart", "events")] == [0, 0, 0]
