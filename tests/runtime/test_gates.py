"""Gates: a program asks, people and programs answer, and the graph goes on."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import anyio
import pytest

from asyncjobs import (
    AnswerTimeoutError,
    ConfigurationError,
    GateRequest,
    JobConflictError,
    JobExecutionError,
    JobProcessor,
    JobQuery,
    JobRequest,
    JobSkippedError,
    JobStateError,
    RejectedError,
    SubmissionError,
    as_completed,
    current_job,
    gather,
)
from asyncjobs.processor import get_engine
from tests.runtime.support import (
    CANCELLED,
    COMPLETED,
    FAILED,
    PENDING,
    SKIPPED,
    Stores,
    add,
    nothing,
    types,
    until,
    within,
)

pytestmark = pytest.mark.anyio


@dataclass
class Verdict:
    ok: bool
    why: str = ""


def same(value: Any = None) -> Any:
    return value


def why_of(verdict: Verdict) -> str:
    return f"{type(verdict).__name__}: {verdict.why}"


# -- submitting


async def test_a_gate_is_asked_at_once_and_its_answer_is_what_it_is_awaited_for(jp: JobProcessor) -> None:
    gate = await jp.submit_gate("print?", job_id="g", group="comic", metadata={"page": 1})
    found = await jp.get_job("g")
    assert (found.func, found.status, found.group, found.metadata) == ("gate", PENDING, "comic", {"page": 1})
    assert found.gate is not None
    assert (found.gate.question, found.gate.choices, found.gate.schema) == ("print?", None, None)
    assert await gate.answer(by="ada") is COMPLETED
    assert await within(5, gate.result()) is True
    assert await jp.get_result("g") is True
    assert await types(jp, "g") == ["submitted", "asked", "completed"]


async def test_its_dependents_wait_for_the_answer_and_are_given_it(jp: JobProcessor) -> None:
    page = await jp.submit_job(same, "a page")
    gate = await jp.submit_gate("how many?", answer_type=int, depends_on=page)
    after = await jp.submit_job(nothing, depends_on=[gate])
    summed = await jp.submit_job(add, gate, 1)
    await until(jp, gate, "asked")
    assert await after.status() is PENDING
    await gate.answer(2)
    assert await within(5, gather(after, summed)) == [None, 3]


@pytest.mark.parametrize(
    "option",
    [
        "queue",
        "priority",
        "limit",
        "retry",
        "max_retries",
        "max_interruptions",
        "delay",
        "run_at",
        "isolation",
        "local",
    ],
)
async def test_the_options_of_jobs_that_run_are_refused_by_name(jp: JobProcessor, option: str) -> None:
    options: dict[str, Any] = {option: 1}
    with pytest.raises(ConfigurationError, match=f"^a gate has no {option}:") as caught:
        await jp.submit_gate("?", **options)
    assert caught.value.field == option
    assert "options of a gate" in str(caught.value.hint)
    assert list(await jp.find_jobs()) == []


async def test_an_option_that_is_misspelled_is_refused_with_the_one_that_is_meant(jp: JobProcessor) -> None:
    options: dict[str, Any] = {"timeot": 1}
    with pytest.raises(ConfigurationError, match="timeot is not an option of a gate") as caught:
        await jp.submit_gate("?", **options)
    assert caught.value.hint == "did you mean 'timeout'?"


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"question": ""}, "question"),
        ({"question": 5}, "question"),
        ({"question": "x" * 17_000}, "question"),
        ({"choices": "yes"}, "choices"),
        ({"choices": []}, "choices"),
        ({"choices": ["a", "a"]}, "choices"),
        ({"choices": ["x" * 201]}, "choices[0]"),
        ({"choices": [str(i) for i in range(51)]}, "choices"),
        ({"choices": ["a", "b"], "answer_type": str}, "choices"),
        ({"choices": ["a", "b"], "reject_on": ["c"]}, "reject_on"),
        ({"choices": ["a", "b"], "reject_on": ["a", "b"]}, "reject_on"),
        ({"reject_on": ["no"]}, "reject_on"),
        ({"answer_type": complex}, "answer_type"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": "soon"}, "timeout"),
        ({"default": True}, "default"),
        ({"default": False, "timeout": 1}, "default"),
        ({"default": None, "timeout": 1}, "default"),
        ({"default": "c", "timeout": 1, "choices": ["a", "b"]}, "default"),
        ({"default": "b", "timeout": 1, "choices": ["a", "b"], "reject_on": ["b"]}, "default"),
        ({"default": "x", "timeout": 1, "answer_type": int}, "default"),
        ({"job_id": ""}, "job_id"),
        ({"group": ""}, "group"),
        ({"metadata": 5}, "metadata"),
        ({"depends_on": 5}, "depends_on"),
        ({"require": 1}, "require"),
        ({"if_exists": "maybe"}, "if_exists"),
    ],
)
async def test_what_cannot_be_asked_is_refused_and_nothing_is_stored(
    jp: JobProcessor, options: dict[str, Any], field: str
) -> None:
    asked = {"question": "?", **options}
    for request in (lambda: jp.submit_gate(**asked), lambda: jp.submit_jobs([GateRequest(**asked)])):
        with pytest.raises(ConfigurationError) as caught:
            await request()
        assert caught.value.field == field
    assert list(await jp.find_jobs()) == []


async def test_none_is_a_default_where_it_is_an_answer(jp: JobProcessor) -> None:
    await jp.submit_gate("who?", job_id="g", answer_type=str | None, default=None, timeout=3600)
    assert await jp.answer_job("g", None) is COMPLETED
    assert await jp.get_result("g") is None


async def test_jobs_and_gates_of_one_batch_refer_to_each_other_both_ways(jp: JobProcessor) -> None:
    handles = await jp.submit_jobs(
        [
            JobRequest(func=add, args=(jp.handle("g"), 1), job_id="after"),
            GateRequest(question="how many?", answer_type=int, job_id="g", depends_on=["before"]),
            JobRequest(func=nothing, job_id="before"),
        ]
    )
    await until(jp, "g", "asked")
    await handles[1].answer(4)
    assert await within(5, handles[0].result()) == 5
    assert await handles[1] == 4


async def test_a_batch_takes_gates_and_all_or_nothing_of_it_is_stored(jp: JobProcessor) -> None:
    async with jp.batch() as batch:
        gate = batch.submit_gate("ok?", choices=["a", "b"])
        after = batch.submit_job(same, gate)
    await gate.answer("a")
    assert await within(5, after.result()) == "a"
    with pytest.raises(SubmissionError):
        batch.submit_gate("too late?")
    with pytest.raises(ZeroDivisionError):
        async with jp.batch() as batch:
            batch.submit_gate("never?", job_id="never")
            raise ZeroDivisionError
    assert not await jp.find_jobs(JobQuery(ids=["never"]))


async def test_an_error_of_a_batch_names_the_gate(jp: JobProcessor) -> None:
    requests = [GateRequest(question="?"), GateRequest(question="?", job_id="g", timeout=-1)]
    with pytest.raises(ConfigurationError, match=r"^requests\[1\] \(gate, job_id 'g'\): timeout"):
        await jp.submit_jobs(requests)


async def test_it_is_submitted_again_under_its_id(jp: JobProcessor) -> None:
    first = await jp.submit_gate("ok?", job_id="g", timeout=60)
    assert await jp.submit_gate("ok?", job_id="g", timeout=60, if_exists="return") == first
    with pytest.raises(JobConflictError):
        await jp.submit_gate("not ok?", job_id="g", timeout=60, if_exists="return")


async def test_a_body_submits_gates_that_outlive_it(jp: JobProcessor) -> None:
    async def body() -> str:
        return (await current_job().submit_gate("ok?", key="q", answer_type=Verdict)).id

    def plain() -> str:
        return current_job().submit_gate_sync("ok?", key="q").id

    asked = await jp.submit_job(body, job_id="a", group="comic", local=True)
    assert await within(5, asked.result()) == "a/q"
    found = await jp.get_job("a/q")
    assert (found.parent_id, found.group, found.status) == ("a", "comic", PENDING)
    assert found.gate is not None
    assert found.gate.asked_by is None, "nobody waits for it in the body"
    await jp.answer_job("a/q", {"ok": True})
    assert await jp.get_result("a/q") == Verdict(ok=True)
    assert await within(5, (await jp.submit_job(plain, job_id="b", local=True)).result()) == "b/q"
    assert await jp.handle("b/q").answer() is COMPLETED


async def test_a_body_gives_its_gate_no_id(jp: JobProcessor) -> None:
    async def body() -> None:
        await current_job().submit_gate("ok?", job_id="g")

    with pytest.raises(JobExecutionError, match="a child's id comes from its parent's"):
        await within(5, (await jp.submit_job(body, local=True, max_retries=0)).result())


# -- answering


@pytest.mark.parametrize(
    ("options", "value", "read"),
    [
        ({}, True, True),
        ({"choices": ["a", "b"]}, "b", "b"),
        ({"answer_type": int}, 3, 3),
        ({"answer_type": float}, 3, 3.0),
        ({"answer_type": bool}, False, False),
        ({"answer_type": list[int]}, [1, 2], [1, 2]),
        ({"answer_type": dict[str, int]}, {"a": 1}, {"a": 1}),
        ({"answer_type": Verdict}, {"ok": True, "why": "good"}, Verdict(True, "good")),
        ({"answer_type": Verdict}, Verdict(False), Verdict(False)),
        ({"answer_type": list[Verdict]}, [{"ok": True}], [Verdict(True)]),
    ],
)
async def test_the_answer_comes_back_as_what_was_asked_for(
    jp: JobProcessor, options: dict[str, Any], value: Any, read: Any
) -> None:
    gate = await jp.submit_gate("?", **options)
    await gate.answer(value)
    for found in (await gate, await jp.get_result(gate), await jp.handle(gate), (await gather(gate))[0]):
        assert (type(found), found) == (type(read), read)
    assert (await jp.poll_status(gate)).result == read
    assert [await handle async for handle in as_completed([gate])] == [read]


@pytest.mark.parametrize(
    ("options", "value", "field"),
    [
        ({}, False, "value"),
        ({}, 1, "value"),
        ({}, "yes", "value"),
        ({}, None, "value"),
        ({"choices": ["a", "b"]}, "c", "value"),
        ({"choices": ["a", "b"]}, True, "value"),
        ({"answer_type": int}, True, "value"),
        ({"answer_type": int}, "3", "value"),
        ({"answer_type": Verdict}, {"why": "?"}, "value"),
        ({"answer_type": Verdict}, {"ok": 1}, "value.ok"),
        ({"answer_type": list[int]}, [1, "x"], "value[1]"),
    ],
)
async def test_what_is_no_answer_is_refused_and_changes_nothing(
    jp: JobProcessor, options: dict[str, Any], value: Any, field: str
) -> None:
    gate = await jp.submit_gate("?", job_id="g", **options)
    before = await jp.get_job("g")
    for answer in (lambda: gate.answer(value), lambda: jp.answer_job("g", value)):
        with pytest.raises(ConfigurationError) as caught:
            await answer()
        assert caught.value.field == field
    assert await jp.get_job("g") == before


async def test_an_approval_is_answered_by_nothing_but_true_whatever_type_the_caller_names(jp: JobProcessor) -> None:
    await jp.submit_gate("open the door?", job_id="g")
    with pytest.raises(ConfigurationError, match="this gate is an approval"):
        await jp.answer_job("g", False, answer_type=bool)
    assert await jp.get_status("g") is PENDING


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"by": ""}, "by"),
        ({"by": "x" * 201}, "by"),
        ({"by": 5}, "by"),
        ({"by": "\ud83d"}, "by"),
        ({"reason": ""}, "reason"),
        ({"reason": "x" * 2001}, "reason"),
        ({"reason": None}, "reason"),
    ],
)
async def test_reasons_and_names_are_texts_of_bounded_length(
    jp: JobProcessor, arguments: dict[str, Any], field: str
) -> None:
    await jp.submit_gate("?", job_id="g")
    with pytest.raises(ConfigurationError) as caught:
        await jp.reject_job("g", **{"reason": "no", **arguments})
    assert caught.value.field == field
    assert await jp.get_status("g") is PENDING


async def test_the_first_answer_wins_and_the_later_one_learns_who_was_first_and_when(jp: JobProcessor) -> None:
    gate = await jp.submit_gate("?", choices=["a", "b"])
    await gate.answer("a", "ada")
    with pytest.raises(JobStateError, match="it was answered by 'ada' at ") as caught:
        await gate.answer("b", "bob")
    assert caught.value.answered_by == "ada"
    assert caught.value.answered_at == (await jp.get_job(gate)).finished_at
    with pytest.raises(JobStateError, match="it was answered by 'ada'"):
        await gate.reject("no", "ada")
    assert await gate == "a"


async def test_the_same_answer_by_the_same_giver_is_success_again(jp: JobProcessor) -> None:
    gate = await jp.submit_gate("?", answer_type=Verdict)
    assert [await gate.answer(Verdict(True), "ada") for _ in range(3)] == [COMPLETED] * 3
    with pytest.raises(JobStateError):
        await gate.answer(Verdict(True), "bob")
    other = await jp.submit_gate("?")
    assert [await other.reject("no", "ada") for _ in range(2)] == [FAILED] * 2
    assert await types(jp, other) == ["submitted", "asked", "failed"]


async def test_of_a_hundred_answers_at_once_one_wins(jp: JobProcessor) -> None:
    gate = await jp.submit_gate("?", answer_type=int)
    won: list[int] = []
    lost: list[str | None] = []

    async def answer(i: int) -> None:
        try:
            await gate.answer(i, f"giver {i}")
            won.append(i)
        except JobStateError as error:
            lost.append(error.answered_by)

    async with anyio.create_task_group() as tasks:
        for i in range(100):
            tasks.start_soon(answer, i)
    assert len(won) == 1
    assert lost == [f"giver {won[0]}"] * 99
    assert await gate == won[0]
    assert (await types(jp, gate)).count("completed") == 1


async def test_a_gate_that_is_not_open_takes_no_answer(jp: JobProcessor) -> None:
    before = await jp.submit_gate("before?", job_id="before")
    gate = await jp.submit_gate("?", job_id="g", depends_on=before)
    for call in (gate.answer, lambda: gate.reject("no")):
        with pytest.raises(JobStateError, match="it is not open yet"):
            await call()
    await gate.cancel()
    with pytest.raises(JobStateError, match="job 'g' is cancelled"):
        await gate.answer()


async def test_a_job_that_is_no_gate_takes_no_answer(jp: JobProcessor) -> None:
    job = await jp.submit_job(same, 1)
    for call in (job.answer, lambda: job.reject("no")):
        with pytest.raises(JobStateError, match="it is not a gate") as caught:
            await call()
        assert "submit_gate" in str(caught.value.hint)
    assert await job == 1


# -- rejections


async def test_a_rejected_gate_raises_with_reason_and_giver_and_its_dependents_are_skipped(jp: JobProcessor) -> None:
    gate = await jp.submit_gate("print?", job_id="g")
    after = await jp.submit_job(nothing, depends_on=gate)
    assert await gate.reject("too dark", by="ada") is FAILED
    for wait in (gate.result, lambda: jp.get_result("g"), lambda: gather(gate)):
        with pytest.raises(RejectedError, match="gate 'g' was rejected by 'ada': too dark") as caught:
            await within(5, wait())
        assert (caught.value.by, caught.value.reason, caught.value.job_id) == ("ada", "too dark", "g")
    with pytest.raises(JobSkippedError) as skipped:
        await within(5, after.result())
    assert skipped.value.because == "g"


async def test_a_choice_that_rejects_is_a_rejection(jp: JobProcessor) -> None:
    gate = await jp.submit_gate("print?", choices=["yes", "no"], reject_on=("no",))
    assert await gate.answer("no", by="ada") is FAILED
    with pytest.raises(RejectedError) as caught:
        await gate
    assert (caught.value.reason, caught.value.by) == ("no", "ada")


async def test_an_error_of_a_body_that_has_the_name_of_a_rejection_is_none(jp: JobProcessor) -> None:
    async def body() -> None:
        raise RejectedError("other", reason="no", by="ada")

    async def late() -> None:
        raise AnswerTimeoutError("other", message="nobody")

    for function in (body, late):
        job = await jp.submit_job(function, local=True, max_retries=0)
        with pytest.raises(JobExecutionError) as caught:
            await within(5, job.result())
        assert type(caught.value) is JobExecutionError
        assert caught.value.job_id == job


@pytest.mark.parametrize("end", ["reject", "cancel"])
async def test_retry_opens_a_gate_again(jp: JobProcessor, end: str) -> None:
    gate = await jp.submit_gate("print?", answer_type=int)
    after = await jp.submit_job(add, gate, 1)
    await (gate.reject("no") if end == "reject" else gate.cancel())
    assert await after.status() is SKIPPED
    await gate.retry()
    assert (await jp.get_job(gate)).gate.answered_at is None
    await gate.answer(2)
    assert await within(5, after.result()) == 3


async def test_cancelling_a_gate_ends_it_as_any_job(jp: JobProcessor) -> None:
    gate = await jp.submit_gate("print?")
    assert await jp.cancel_jobs(JobQuery(waits_for="answer")) == {gate: CANCELLED}


# -- in the graph


async def test_a_gate_that_may_be_rejected_gives_none(jp: JobProcessor) -> None:
    gate = await jp.submit_gate("comment?", answer_type=str)
    after = await jp.submit_job(same, jp.optional(gate))
    await gate.reject("nothing to say")
    assert await within(5, after.result()) is None


async def test_two_of_three_approvals_are_enough(jp: JobProcessor) -> None:
    gates = [await jp.submit_gate(f"{name}?") for name in ("ada", "bob", "cem")]
    after = await jp.submit_job(same, "done", depends_on=gates, require=2)
    await gates[0].answer()
    await gates[1].reject("no")
    assert await after.status() is PENDING
    await gates[2].answer()
    assert await within(5, after.result()) == "done"


async def test_records_are_given_to_dependents_by_their_annotation(jp: JobProcessor) -> None:
    gate = await jp.submit_gate("?", answer_type=Verdict)
    annotated, plain = await jp.submit_job(why_of, gate), await jp.submit_job(same, gate)
    await gate.answer({"ok": True, "why": "good"})
    assert await within(5, annotated.result()) == "Verdict: good"
    assert await within(5, plain.result()) == {"ok": True, "why": "good"}


# -- what has no attempts


async def test_an_answered_gate_has_no_attempt_and_no_duration(jp: JobProcessor) -> None:
    gate = await jp.submit_gate("?")
    await gate.answer()
    found = await jp.get_job(gate)
    assert (found.attempt, found.started_at, found.elapsed) == (0, None, None)
    assert await jp.get_attempts(gate) == []
    report = await jp.poll_status(gate)
    assert (report.percent, report.elapsed, report.remaining, report.attempt) == (100.0, None, None, 0)
    assert await get_engine(jp).backend.get_durations("gate") == []
    arguments = await jp.get_arguments(gate)
    assert (arguments.args, arguments.kwargs) == ((), {})


@pytest.mark.parametrize("end", ["reject", "cancel", "time"])
async def test_nor_has_one_that_ended_otherwise(jp: JobProcessor, end: str) -> None:
    gate = await jp.submit_gate("?", timeout=0.001 if end == "time" else None)
    if end != "time":
        await (gate.reject("no") if end == "reject" else gate.cancel())
    found = await jp.wait_for_job(gate, timeout=10)
    assert (found.attempt, found.failures, found.max_retries, found.started_at, found.elapsed) == (0, 0, 0, None, None)
    assert await jp.get_attempts(gate) == []
    assert all(event.attempt == 0 for event in await until(jp, gate, str(found.status)))
    assert await get_engine(jp).backend.get_durations("gate") == []
    if end == "reject":
        with pytest.raises(RejectedError) as caught:
            await gate
        assert "attempt" not in str(caught.value)


async def test_an_answer_is_a_line_of_the_log_without_its_value(
    jp: JobProcessor, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "asyncjobs.jobs")
    await jp.submit_gate("?", job_id="g", choices=["secret", "b"], group="film")
    await jp.answer_job("g", "secret", by="ada")
    await jp.submit_gate("?", job_id="h", group="film")
    await jp.reject_job("h", "secret")
    assert {getattr(record, "group", None) for record in caplog.records} == {"film"}
    lines = [(record.message, getattr(record, "job_id", None)) for record in caplog.records]
    assert lines == [
        ("job 'g' submitted: gate", "g"),
        ("gate 'g' was answered by 'ada'", "g"),
        ("job 'h' submitted: gate", "h"),
        ("gate 'h' was rejected", "h"),
    ]


async def test_the_answer_is_read_from_the_store_while_outcomes_are_written(stores: Stores) -> None:
    """A commit of answers and outcomes has 'completed' events of both, and only those of attempts have a result."""
    async with stores.processor() as jp:
        gates = [await jp.submit_gate("?", answer_type=int) for _ in range(20)]
        jobs = [await jp.submit_job(same, i) for i in range(20)]
        async with anyio.create_task_group() as tasks:
            for i, gate in enumerate(gates):
                tasks.start_soon(gate.answer, i)
        assert await within(5, gather(*gates, *jobs)) == [*range(20), *range(20)]
