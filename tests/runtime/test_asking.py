"""Bodies that ask: they wait, or are parked, and go on with the answer."""

from __future__ import annotations

import threading
from typing import Any

import anyio
import pytest

from asyncjobs import (
    AnswerTimeoutError,
    ConfigurationError,
    JobCancelledError,
    JobConflictError,
    JobExecutionError,
    JobProcessor,
    RejectedError,
    RetryPolicy,
    current_job,
)
from tests.runtime.asking_bodies import (
    KINDS,
    Kind,
    Review,
    answer,
    ask_and_give_up,
    everything,
    open_gates,
    opened,
    parked,
    reject,
    submit,
)
from tests.runtime.support import (
    CANCELLED,
    COMPLETED,
    FAILED,
    IN_PROGRESS,
    PENDING,
    Stores,
    echo,
    types,
    until,
    within,
)

pytestmark = pytest.mark.anyio

AGAIN = RetryPolicy(max_retries=3, base=0.001, jitter=0)


@pytest.mark.parametrize("where", KINDS)
@pytest.mark.parametrize("park", [False, True], ids=["waiting", "parked"])
async def test_the_answer_is_what_ask_returns(jp: JobProcessor, where: Kind, park: bool) -> None:
    handle = await submit(jp, where, park=park)
    gate = await opened(jp)
    if park:
        await parked(jp)
    assert gate.gate is not None
    assert (gate.gate.question, gate.gate.asked_by, gate.parent_id) == ("go on?", "a", "a")
    await answer(jp, by="ana")
    assert await within(10, handle) is True
    assert (await jp.get_job("a")).attempt == (2 if park else 1)
    assert (await jp.get_job("a/q")).status is COMPLETED


@pytest.mark.parametrize("where", KINDS)
@pytest.mark.parametrize(
    ("options", "given", "got"),
    [
        ({"choices": ["red", "blue"]}, "blue", "blue"),
        ({"type": "int"}, 7, 7),
        ({"type": "review"}, {"stars": 4}, repr(Review(4))),
    ],
    ids=["choices", "int", "record"],
)
async def test_it_comes_back_as_it_was_asked_for(
    jp: JobProcessor, where: Kind, options: dict[str, Any], given: Any, got: Any
) -> None:
    handle = await submit(jp, where, **options)
    await opened(jp)
    await answer(jp, given)
    assert await within(10, handle) == got


@pytest.mark.parametrize("where", KINDS)
@pytest.mark.parametrize("how", ["rejected", "expired", "cancelled"])
async def test_a_question_without_an_answer_raises_and_is_not_tried_again(
    jp: JobProcessor, where: Kind, how: str
) -> None:
    handle = await submit(jp, where, job={"retry": AGAIN}, timeout=0.05 if how == "expired" else None)
    await opened(jp)
    if how == "rejected":
        await reject(jp, "too dark", by="bo")
    elif how == "cancelled":
        await jp.cancel_job("a/q")
    else:
        await end_due(jp)
    with pytest.raises(JobExecutionError) as error:
        await within(10, handle)
    names = {"rejected": "RejectedError", "expired": "AnswerTimeoutError", "cancelled": "JobCancelledError"}
    assert error.value.error_type == f"asyncjobs.exceptions.{names[how]}"
    assert error.value.attempt == 1
    assert "it asks again" in error.value.message


async def end_due(jp: JobProcessor) -> None:
    from asyncjobs.processor import get_engine

    backend = get_engine(jp).backend
    with anyio.fail_after(10):
        while not (await jp.get_job("a/q")).status.terminal:
            await backend.end_due_gates()
            await anyio.sleep(0.01)


async def test_a_body_may_catch_it(jp: JobProcessor) -> None:
    caught: list[Exception] = []

    async def body() -> str:
        try:
            await current_job().ask("go on?", key="q")
        except RejectedError as error:
            caught.append(error)
        return "stopped early"

    handle = await jp.submit_job(body, job_id="a", local=True)
    await opened(jp)
    await reject(jp, "not now", by="bo")
    assert await within(10, handle) == "stopped early"
    (error,) = caught
    assert isinstance(error, RejectedError)
    assert (error.reason, error.by, error.job_id) == ("not now", "bo", "a/q")


async def test_the_stream_of_the_asking_job_shows_it(jp: JobProcessor) -> None:
    handle = await submit(jp, "async", "Which?", choices=["a", "b"], reject_on=["b"])
    events = await until(jp, "a", "asked")
    asked = events[-1]
    assert asked.data == {"gate": "a/q", "question": "Which?", "choices": ["a", "b"], "schema": None, "deadline": None}
    await answer(jp, "a", by="ana")
    await within(10, handle)
    (answered,) = [event for event in await everything(jp) if event.type == "answered"]
    assert answered.data == {"gate": "a/q", "status": "completed", "by": "ana"}
    assert (await types(jp, "a"))[-3:] == ["asked", "answered", "completed"]


@pytest.mark.parametrize("park", [False, True], ids=["waiting", "parked"])
async def test_an_answer_that_comes_at_once_is_in_its_log_behind_the_question(jp: JobProcessor, park: bool) -> None:
    """What a body reports is stored a moment later: a page would show a question for ever that has its answer."""
    for _ in range(20):
        handle = await submit(jp, "async", park=park)
        await opened(jp)
        await jp.answer_job("a/q")
        await within(10, handle)
        told = [event for event in await types(jp, "a") if event in ("asked", "answered")]
        assert told == ["asked", "answered"]
        await jp.remove_jobs(["a"], components=True)


async def test_it_tells_the_deadline(jp: JobProcessor) -> None:
    await submit(jp, "async", timeout=3600)
    asked = (await until(jp, "a", "asked"))[-1]
    gate = (await jp.get_job("a/q")).gate
    assert gate is not None
    assert gate.deadline is not None
    assert asked.data["deadline"] == gate.deadline.isoformat().replace("+00:00", "Z")
    await jp.cancel_job("a")


@pytest.mark.parametrize("where", KINDS)
async def test_a_body_that_waits_lends_its_slot(stores: Stores, where: Kind) -> None:
    async with stores.processor(num_workers=1) as jp:
        handle = await submit(jp, where)
        await opened(jp)
        assert await within(10, await jp.submit_job(echo, "meanwhile")) == "meanwhile"
        await answer(jp)
        assert await within(10, handle) is True


@pytest.mark.filterwarnings("ignore:timeout= cannot stop the plain function")
@pytest.mark.parametrize("where", KINDS)
async def test_waiting_does_not_count_against_the_timeout(jp: JobProcessor, where: Kind) -> None:
    handle = await submit(jp, where, job={"timeout": 0.5, "max_retries": 0})
    await opened(jp)
    await anyio.sleep(0.8)  # longer than the timeout
    assert (await jp.get_job("a")).status is IN_PROGRESS
    await answer(jp)
    assert await within(10, handle) is True


async def test_but_the_time_before_and_after_does(jp: JobProcessor) -> None:
    async def body() -> None:
        await current_job().ask("go on?", key="q")
        await anyio.sleep(30)

    handle = await jp.submit_job(body, job_id="a", local=True, timeout=0.3, max_retries=0)
    await opened(jp)
    await answer(jp)
    with pytest.raises(JobExecutionError, match="timeout"):
        await within(10, handle)


@pytest.mark.filterwarnings("ignore:timeout= cannot stop the plain function")
async def test_so_it_does_for_threads(jp: JobProcessor) -> None:
    def body() -> None:
        current_job().ask_sync("go on?", key="q")
        while not current_job().cancelled:
            pass

    handle = await jp.submit_job(body, job_id="a", local=True, timeout=0.3, max_retries=0)
    await opened(jp)
    await answer(jp)
    with pytest.raises(JobExecutionError, match="timeout"):
        await within(10, handle)


async def test_several_questions_at_once(jp: JobProcessor) -> None:
    got: dict[str, Any] = {}

    async def one(key: str) -> None:
        got[key] = await current_job().ask(f"{key}?", key=key, choices=["yes", "no"])

    async def body() -> None:
        async with anyio.create_task_group() as tasks:
            for key in ("x", "y", "z"):
                tasks.start_soon(one, key)

    handle = await jp.submit_job(body, job_id="a", local=True)
    for key in ("x", "y", "z"):
        await opened(jp, f"a/{key}")
    for key in ("z", "x", "y"):
        await answer(jp, "yes", gate_id=f"a/{key}")
    await within(10, handle)
    assert got == {"x": "yes", "y": "yes", "z": "yes"}


async def test_a_key_names_one_question_of_an_attempt(jp: JobProcessor) -> None:
    """One yes is not used twice: neither in a loop without an index, nor by two tasks."""
    refused: list[ConfigurationError] = []

    async def second() -> None:
        try:
            await current_job().ask("delete b?", key="q")
        except ConfigurationError as error:
            refused.append(error)

    async def body() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(current_job_asks)
            await asked.wait()
            await second()
        await second()

    async def current_job_asks() -> None:
        asked.set()
        assert await current_job().ask("delete a?", key="q")

    asked = anyio.Event()
    handle = await jp.submit_job(body, job_id="a", local=True)
    await opened(jp)
    await jp.answer_job("a/q")
    await within(10, handle)
    assert [error.field for error in refused] == ["key", "key"]
    assert "in a loop, the index" in str(refused[0])


async def test_a_wait_that_was_cut_short_may_begin_again(jp: JobProcessor) -> None:
    async def body() -> Any:
        await ask_and_give_up(jp)
        return await current_job().ask("go on?", key="q")  # after a reminder, for example

    handle = await jp.submit_job(body, job_id="a", local=True)
    await until(jp, "a", "asked", "asked")
    await jp.answer_job("a/q")
    assert await within(10, handle) is True
    assert await types(jp, "a/q") == ["submitted", "asked", "completed"]


async def test_an_answer_that_does_not_fit_a_type_that_was_changed_names_the_key(jp: JobProcessor) -> None:
    async def body() -> Any:
        if current_job().attempt == 1:
            await current_job().ask("how many?", key="q", answer_type=int)
            raise RuntimeError
        return await current_job().ask("how many?", key="q", answer_type=Review)

    handle = await jp.submit_job(body, job_id="a", local=True, retry=RetryPolicy(max_retries=1, base=0.001))
    await opened(jp)
    await jp.answer_job("a/q", 3)
    with pytest.raises(JobExecutionError, match="the answer to the question 'q'") as error:
        await within(10, handle)
    assert "another key" in error.value.message


# -- later attempts


async def test_a_later_attempt_finds_the_answer(jp: JobProcessor) -> None:
    asked: list[Any] = []

    async def body() -> Any:
        asked.append(await current_job().ask("go on?", key="q"))
        if current_job().attempt == 1:
            raise RuntimeError("after the answer")
        return asked

    handle = await jp.submit_job(body, job_id="a", local=True, retry=AGAIN)
    await opened(jp)
    await answer(jp)
    assert await within(10, handle) == [True, True]
    assert await types(jp, "a/q") == ["submitted", "asked", "completed"]


async def test_other_words_are_ignored_and_logged(jp: JobProcessor) -> None:
    async def body() -> Any:
        if current_job().attempt == 1:
            await ask_and_give_up(jp)
            raise RuntimeError
        return await current_job().ask("quite other words?", key="q", choices=["a"])

    handle = await jp.submit_job(body, job_id="a", local=True, retry=AGAIN)
    await until(jp, "a", "retrying", "asked")
    await answer(jp)
    assert await within(10, handle) is True
    logged = [event.data["message"] for event in await everything(jp) if event.type == "log"]
    assert len([message for message in logged if "'q'" in message]) == 1
    gate = (await jp.get_job("a/q")).gate
    assert gate is not None
    assert gate.question == "go on?"


async def test_a_retry_by_hand_asks_again_what_was_not_answered(jp: JobProcessor) -> None:
    handle = await submit(jp, "async")
    await opened(jp)
    await reject(jp)
    with pytest.raises(JobExecutionError):
        await within(10, handle)
    await handle.retry()
    await opened(jp)
    await answer(jp)
    assert await within(10, handle) is True


async def test_with_fresh_it_asks_all_again(jp: JobProcessor) -> None:
    async def body() -> Any:
        got = await current_job().ask("go on?", key="q")
        if fails:
            raise RuntimeError
        return got

    fails = [True]
    handle = await jp.submit_job(body, job_id="a", local=True, max_retries=0)
    await opened(jp)
    await answer(jp)
    with pytest.raises(JobExecutionError):
        await within(10, handle)
    fails.clear()
    await handle.retry(fresh=True)
    await opened(jp)
    await answer(jp)
    assert await within(10, handle) is True


# -- the end of the job that asks


@pytest.mark.parametrize("where", KINDS)
@pytest.mark.parametrize("park", [False, True], ids=["waiting", "parked"])
async def test_cancelling_the_job_closes_its_question(jp: JobProcessor, where: Kind, park: bool) -> None:
    handle = await submit(jp, where, park=park)
    await opened(jp)
    if park:
        await parked(jp)
    await handle.cancel()
    with pytest.raises(JobCancelledError):
        await within(10, handle)
    assert (await jp.get_job("a/q")).status is CANCELLED
    await handle.retry()
    await opened(jp)
    await answer(jp)
    assert await within(10, handle) is True


async def test_a_job_that_ends_without_waiting_for_it_closes_it(jp: JobProcessor) -> None:
    async def body() -> str:
        await ask_and_give_up(jp)
        return "without you"

    handle = await jp.submit_job(body, job_id="a", local=True)
    assert await within(10, handle) == "without you"
    assert (await jp.get_job("a/q")).status is CANCELLED
    assert await open_gates(jp) == []


@pytest.mark.parametrize("where", KINDS)
async def test_a_drain_gives_back_a_body_that_waits(stores: Stores, where: Kind) -> None:
    async with stores.processor() as jp:
        await submit(jp, where)
        await opened(jp)
    async with stores.processor(enable_daemon=False) as jp:
        job = await jp.get_job("a")
        assert (job.status, job.interruptions, job.failures) == (PENDING, 0, 0)
        assert await open_gates(jp) == ["a/q"]


# -- what cannot be asked


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"key": ""}, "key"),
        ({"key": None}, "key"),
        ({"key": 3}, "key"),
        ({"choices": []}, "choices"),
        ({"choices": ["a"], "answer_type": int}, "choices"),
        ({"answer_type": threading.Lock}, "answer_type"),
        ({"reject_on": ["no"]}, "reject_on"),
        ({"choices": ["a", "b"], "reject_on": ["a", "b"]}, "reject_on"),
        ({"default": False}, "default"),
        ({"choices": ["a"], "default": "b"}, "default"),
        ({"timeout": 0}, "timeout"),
        ({"park": 1}, "park"),
        ({"priority": 1}, "ask.priority"),
        ({"depends_on": ["x"]}, "ask.depends_on"),
    ],
)
async def test_a_question_that_cannot_work_is_refused(jp: JobProcessor, options: dict[str, Any], field: str) -> None:
    refused: list[ConfigurationError] = []

    async def body() -> None:
        try:
            given: dict[str, Any] = {"key": "q", **options}
            await current_job().ask("go on?", **given)
        except ConfigurationError as error:
            refused.append(error)

    await within(10, await jp.submit_job(body, local=True))
    assert [error.field for error in refused] == [field]
    assert await open_gates(jp) == []


async def test_the_key_of_a_child_is_refused(jp: JobProcessor) -> None:
    async def body() -> str:
        await current_job().submit_job(echo, 1, key="q")
        try:
            await current_job().ask("go on?", key="q")
        except JobConflictError as error:
            return str(error)
        return "not refused"

    assert "another key" in await within(10, await jp.submit_job(body, local=True))


async def test_ask_sync_on_the_loop_is_refused(jp: JobProcessor) -> None:
    async def body() -> str:
        try:
            current_job().ask_sync("go on?", key="q")
        except Exception as error:
            return str(error)
        return "not refused"

    assert "await current_job().ask(" in await within(10, await jp.submit_job(body, local=True))


async def test_nobody_answers_is_an_error_of_its_own(jp: JobProcessor) -> None:
    caught: list[Exception] = []

    async def body() -> None:
        try:
            await current_job().ask("go on?", key="q", timeout=0.05)
        except AnswerTimeoutError as error:
            caught.append(error)

    handle = await jp.submit_job(body, job_id="a", local=True)
    await opened(jp)
    await end_due(jp)
    await within(10, handle)
    assert "nobody answered" in str(caught[0])
    assert (await jp.get_job("a/q")).status is FAILED
