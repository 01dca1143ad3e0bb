"""Answers and rejections: checked, in whichever process they are given, before anything is changed."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import AsyncExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from subprocess import run
from typing import Any

import anyio
import pytest

from asyncjobs import (
    BackendConnectionError,
    ConfigurationError,
    JobNotFoundError,
    JobProcessor,
    JobStateError,
    MissingExtraError,
    NotSerializableError,
    RejectedError,
    SQLiteConfig,
    SyncJobs,
    current_job,
)
from asyncjobs.processor import get_engine
from asyncjobs.testing import FaultyBackend, ManualClock
from tests.runtime.asking_bodies import Review
from tests.runtime.support import COMPLETED, FAILED, PENDING, Stores, add, nothing, types, within

pytestmark = pytest.mark.anyio


async def forget(jp: JobProcessor, job_id: str) -> None:
    """Have this process answer as one that did not ask: by the stored schema."""
    get_engine(jp).functions.answers.forget([job_id])


# -- in a process that did not ask


@pytest.mark.parametrize(
    ("asked", "value", "read"),
    [
        (int, 3, 3),
        (float, 3, 3),
        (int | None, None, None),
        (list[int], (1, 2), [1, 2]),
        (dict[str, int], {"a": 1}, {"a": 1}),
        (Review, {"stars": 3}, {"stars": 3}),
        (list[Review], [{"stars": 3, "words": "x"}], [{"stars": 3, "words": "x"}]),
    ],
)
async def test_the_stored_schema_decides(jp: JobProcessor, asked: Any, value: Any, read: Any) -> None:
    gate = await jp.submit_gate("?", answer_type=asked, job_id="g")
    await forget(jp, "g")
    assert await jp.answer_job("g", value) is COMPLETED
    assert await jp.get_result("g") == read
    assert await gate is not None or read is None  # the handle of the process that asked knows the type


@pytest.mark.parametrize(
    ("asked", "value", "field"),
    [
        (int, "3", "value"),
        (int, True, "value"),
        (int, 1.0, "value"),
        (list[int], [1, "x"], "value[1]"),
        (Review, {"words": "x"}, "value"),
        (Review, {"stars": "x"}, "value.stars"),
        (dict[str, list[int]], {"a": [1, None]}, "value.a[1]"),
    ],
)
async def test_what_does_not_fit_it_is_refused_with_the_path(
    jp: JobProcessor, asked: Any, value: Any, field: str
) -> None:
    await jp.submit_gate("?", answer_type=asked, job_id="g")
    await forget(jp, "g")
    before = await jp.get_job("g")
    with pytest.raises(ConfigurationError) as caught:
        await jp.answer_job("g", value)
    assert caught.value.field == field
    assert await jp.get_job("g") == before


@pytest.mark.parametrize("value", [datetime.now(UTC), b"x", {1: "x"}, {"a": float("nan")}, {1, 2}, Review(1), object()])
async def test_what_json_lacks_is_refused(jp: JobProcessor, value: Any) -> None:
    await jp.submit_gate("?", answer_type=dict, job_id="g")
    await forget(jp, "g")
    with pytest.raises(NotSerializableError) as caught:
        await jp.answer_job("g", value)
    assert caught.value.where.startswith("$.value")
    assert "answer_type=" in str(caught.value.hint)
    assert await jp.get_status("g") is PENDING


async def test_the_type_may_be_passed_instead(jp: JobProcessor) -> None:
    await jp.submit_gate("?", answer_type=Review, job_id="g")
    await forget(jp, "g")
    with pytest.raises(ConfigurationError, match=r"value\.stars is not a valid answer"):
        await jp.answer_job("g", {"stars": "x"}, answer_type=Review)
    with pytest.raises(ConfigurationError, match="answer_type cannot be"):
        await jp.answer_job("g", {"stars": 1}, answer_type=datetime)
    assert await jp.answer_job("g", Review(1), answer_type=Review) is COMPLETED
    assert await jp.get_result("g") == {"stars": 1, "words": ""}


async def test_a_type_that_is_known_of_another_gate_with_the_same_id_does_not_count(jp: JobProcessor) -> None:
    known = get_engine(jp).functions.answers
    await jp.submit_gate("?", answer_type=int, job_id="g")
    known.note("g", known.describe(str))
    assert await jp.answer_job("g", 3) is COMPLETED


async def test_removed_gates_are_forgotten(jp: JobProcessor) -> None:
    gate = await jp.submit_gate("?", answer_type=int, job_id="g")
    await gate.answer(1)
    await jp.remove_jobs("g")
    await jp.submit_gate("?", choices=["a", "b"], job_id="g")
    await jp.answer_job("g", "a")
    assert await jp.get_result("g") == "a"


async def test_without_the_library_nothing_is_changed_and_the_error_names_the_extra(
    jp: JobProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    await jp.submit_gate("?", answer_type=int, job_id="g")
    await jp.submit_gate("?", choices=["a", "b"], job_id="choice")
    await forget(jp, "g")
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    with pytest.raises(MissingExtraError, match="stored schema") as caught:
        await jp.answer_job("g", 3)
    assert caught.value.extra == "client"
    assert await types(jp, "g") == ["submitted", "asked"]
    # What needs no schema works: a choice, a rejection, a type that is passed.
    assert await jp.answer_job("choice", "a") is COMPLETED
    assert await jp.answer_job("g", 3, answer_type=int) is COMPLETED


def test_the_library_is_imported_by_the_first_answer_that_needs_it() -> None:
    program = "import sys, asyncjobs, asyncjobs.sync; sys.exit('jsonschema' in sys.modules)"
    assert run([sys.executable, "-c", program], check=False).returncode == 0


# -- sizes


@pytest.mark.persistent
async def test_an_answer_that_is_too_large_is_refused(stores: Stores) -> None:
    async with JobProcessor(SQLiteConfig(db_path=stores.path, max_value_size=1024)) as jp:
        gate = await jp.submit_gate("?", answer_type=str)
        with pytest.raises(NotSerializableError, match=r"^\$\.value is"):
            await gate.answer("x" * 2000)
        assert await gate.status() is PENDING
        with pytest.raises(NotSerializableError, match=r"^\$\.default is"):
            await jp.submit_gate("?", answer_type=str, default="x" * 2000, timeout=60)
        assert await gate.answer("x" * 1000) is COMPLETED


# -- the store is away


@pytest.mark.parametrize("when", ["before", "after"])
async def test_an_answer_is_sent_again_while_the_store_is_away(stores: Stores, when: Any) -> None:
    store = FaultyBackend(stores.backend())
    async with stores.processor(backend=store) as jp:
        gate = await jp.submit_gate("?")
        store.fail("get_jobs")
        store.fail("answer_gate", when=when)
        assert await within(10, gate.answer(by="ada")) is COMPLETED
        other = await jp.submit_gate("?")
        store.fail("answer_gate", when=when)
        assert await within(10, other.reject("no", by="ada")) is FAILED
        assert await types(jp, gate) == ["submitted", "asked", "completed"]


async def test_a_store_that_stays_away_is_reported_and_answering_again_is_safe(stores: Stores) -> None:
    clock = ManualClock()
    store = FaultyBackend(stores.backend(clock))
    async with stores.processor(backend=store, clock=clock) as jp:
        gate = await jp.submit_gate("?")
        for n in range(1, 20):
            store.fail("answer_gate", n, when="after" if n == 1 else "before")
        async with anyio.create_task_group() as tasks:
            caught: list[BackendConnectionError] = []

            async def answer() -> None:
                try:
                    await gate.answer(by="ada")
                except BackendConnectionError as error:
                    caught.append(error)
                tasks.cancel_scope.cancel()

            tasks.start_soon(answer)
            while True:
                await anyio.sleep(0.001)
                clock.advance(5)
        assert caught[0].tries > 1
        store._faults.clear()
        assert await gate.answer(by="ada") is COMPLETED


@pytest.mark.persistent
async def test_a_question_that_cannot_be_read_takes_no_answer_and_can_be_rejected(stores: Stores) -> None:
    """Without its question it looks like an approval."""
    async with stores.processor(enable_daemon=False) as jp:
        await jp.submit_gate("Which?", choices=["a", "b"], job_id="g")
        with closing(sqlite3.connect(stores.path, isolation_level=None)) as connection:
            connection.execute("UPDATE jobs SET call = x'00'")
        with pytest.raises(JobStateError, match="answers to it cannot be checked: unreadable: question"):
            await jp.answer_job("g")
        assert await jp.reject_job("g", "damaged") is FAILED


async def test_a_type_that_is_passed_and_is_not_that_of_the_question_must_fit_both(jp: JobProcessor) -> None:
    await jp.submit_gate("?", answer_type=int, job_id="g")
    with pytest.raises(ConfigurationError, match="is not of type 'integer'"):
        await jp.answer_job("g", "five", answer_type=str)
    assert await jp.answer_job("g", 5, answer_type=int | None) is COMPLETED


async def test_an_unknown_gate_is_answered_with_the_nearest_id(jp: JobProcessor) -> None:
    await jp.submit_gate("?", job_id="approve-page")
    for call in (lambda: jp.answer_job("approve-pag"), lambda: jp.reject_job("approve-pag", "no")):
        with pytest.raises(JobNotFoundError) as caught:
            await call()
        assert caught.value.near == "approve-page"


# -- from other places


def test_plain_programs_ask_and_answer(tmp_path: Path) -> None:
    with SyncJobs(tmp_path / "jobs.db") as jobs:
        gate = jobs.submit_gate("how many?", answer_type=int)
        after = jobs.submit_job(add, gate, 1)
        assert gate.answer(2, "ada") is COMPLETED
        assert (gate.result(timeout=5), after.result(timeout=5), jobs.get_result(gate)) == (2, 3, 2)
        other = jobs.submit_gate("ok?", job_id="g")
        assert jobs.reject_job(other, "no", by="ada") is FAILED
        with pytest.raises(RejectedError) as caught:
            other.result()
        assert str(caught.value.hint).startswith("handle.retry()")
        other.retry()
        assert jobs.answer_job("g") is COMPLETED
        third = jobs.submit_gate("?")
        assert third.reject("no") is FAILED


async def submits_and_answers() -> list[Any]:
    """In a process of its own."""
    job = current_job()
    gate = await job.submit_gate("stars?", key="q", answer_type=Review)
    other = await job.submit_gate("ok?", key="r")
    with pytest.raises(ConfigurationError, match="value.stars"):
        await gate.answer({"stars": "x"})
    statuses = [await gate.answer(Review(3), "ada"), await other.reject("no", "ada")]
    return [*map(str, statuses), type(await gate).__name__, (await gate).stars]


def submits_in_plain_code() -> str:
    """In a process of its own, too."""
    return current_job().submit_gate_sync("?", key="q", choices=["a", "b"], timeout=60).id


@pytest.mark.slow
async def test_bodies_in_processes_of_their_own_submit_and_answer(jp: JobProcessor) -> None:
    job = await jp.submit_job(submits_and_answers, isolation="process", job_id="a", max_retries=0)
    assert await within(20, job.result()) == ["completed", "failed", "Review", 3]
    assert (await jp.get_job("a/q")).gate.answered_by == "ada"
    plain = await jp.submit_job(submits_in_plain_code, isolation="process", job_id="b", max_retries=0)
    assert await within(20, plain.result()) == "b/q"
    found = (await jp.get_job("b/q")).gate
    assert found is not None
    assert (found.choices, found.asked_by, found.deadline is None) == (("a", "b"), None, False)


@pytest.mark.persistent
async def test_of_a_hundred_answers_of_four_processors_one_wins(stores: Stores) -> None:
    won: list[str] = []
    lost: list[str | None] = []

    async def answer(jp: JobProcessor, i: int) -> None:
        try:
            await jp.answer_job("g", i, f"giver {i}", answer_type=int)
            won.append(f"giver {i}")
        except JobStateError as error:
            lost.append(error.answered_by)

    async with AsyncExitStack() as stack:
        processors = [await stack.enter_async_context(stores.processor(enable_daemon=False)) for _ in range(4)]
        await processors[0].submit_gate("?", job_id="g", answer_type=int)
        async with anyio.create_task_group() as tasks:
            for i in range(100):
                tasks.start_soon(answer, processors[i % 4], i)
        assert lost == won * 99
        assert f"giver {await processors[3].get_result('g')}" == won[0]
        assert await types(processors[1], "g") == ["submitted", "asked", "completed"]


@pytest.mark.persistent
async def test_an_answer_of_another_process_wakes_who_waits_here(stores: Stores) -> None:
    async with stores.processor() as jp, stores.processor(enable_daemon=False) as other:
        gate = await jp.submit_gate("?")
        after = await jp.submit_job(nothing, depends_on=gate)
        assert await other.answer_job(gate, by="bob") is COMPLETED
        assert await within(5, gate.result()) is True
        await within(5, after.result())
