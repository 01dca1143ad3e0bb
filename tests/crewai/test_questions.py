"""People are asked through gates, and nothing reads standard input."""

from __future__ import annotations

import builtins
from typing import Any

import pytest

from asyncjobs import DaemonConfig, JobExecutionError, JobProcessor, JobStatus, RetryPolicy, SQLiteConfig
from tests.crewai import crews
from tests.crewai.conftest import Model
from tests.crewai.looking import data_of, events_of, questions
from tests.crewai.workers import TAKING_UP, worker

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


@pytest.fixture(autouse=True)
def _no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_: Any) -> str:
        raise AssertionError("standard input was read")

    monkeypatch.setattr(builtins, "input", read)


async def answer(jp: JobProcessor, job: Any, *answers: str) -> list[dict[str, Any]]:
    """Answer what a job asks, and return its questions."""
    asked: list[dict[str, Any]] = []
    async for question in questions(jp, job):
        asked.append(question)
        await jp.answer_job(question["gate"], answers[len(asked) - 1], by="ana")
    return asked


async def test_a_flow_asks_for_input_and_for_feedback(jp: JobProcessor) -> None:
    job = await jp.submit_flow_run(crews.Verdict)
    asked = await answer(jp, job, "Moriarty", "yes")
    assert [question["question"] for question in asked] == ["Who?", "Is this the murderer?\n\nIt was Moriarty."]
    assert asked[1]["choices"] == ["yes", "no"]
    assert await job == "closed: It was Moriarty."


async def test_the_other_answer_takes_the_other_way(jp: JobProcessor) -> None:
    job = await jp.submit_flow_run(crews.Verdict)
    await answer(jp, job, "Watson", "no")
    assert await job == "again"


async def test_a_task_asks_until_its_answer_is_accepted(jp: JobProcessor, model: Model) -> None:
    job = await jp.submit_crew_run(crews.human, {"topic": "noir"})
    asked = await answer(jp, job, "shorter [[words 3]]", "")
    assert len(asked) == 2
    assert len((await job).raw.split()) == 3
    assert len(model.finished()) == 2


async def test_a_rejection_fails_the_job_once_and_a_retry_asks_again(jp: JobProcessor, model: Model) -> None:
    job = await jp.submit_crew_run(crews.human, {"topic": "noir"})
    async for question in questions(jp, job):
        await jp.reject_job(question["gate"], "no", by="ana")
    with pytest.raises(JobExecutionError) as raised:
        await job
    assert raised.value.error_type.endswith("RejectedError")
    assert (await jp.get_job(job.id)).failures == 1
    await jp.retry_job(job.id)
    async for event in jp.stream_job(job):
        if event.type == "asked" and event.attempt == 2:
            await jp.answer_job(event.data["gate"], "", by="ana")
    assert (await job).raw
    assert len(model.finished()) == 1  # the answer is kept


async def test_answers_are_found_again_by_the_next_attempt(config: SQLiteConfig, model: Model) -> None:
    async with JobProcessor(config, daemon=DaemonConfig(shutdown_timeout=0.1)) as jp:
        job = await jp.submit_flow_run(crews.Verdict)
        async for question in questions(jp, job):
            if question["question"] != "Who?":
                break
            await jp.answer_job(question["gate"], "Moriarty", by="ana")
    async with JobProcessor(config, daemon=DaemonConfig(allowed_modules=["tests.crewai"])) as jp:
        async for event in jp.stream_job(job.id):
            if event.type == "asked" and event.attempt == 2:
                assert "murderer" in event.data["question"]
                await jp.answer_job(event.data["gate"], "yes", by="ana")
        assert await jp.handle(job.id) == "closed: It was Moriarty."


async def test_answers_are_found_again_after_a_kill_during_the_next_question(
    config: SQLiteConfig, model: Model
) -> None:
    async with JobProcessor(config, enable_daemon=False) as jp:
        retry = RetryPolicy(max_retries=3, base=0.1)
        job = await jp.submit_flow_run(crews.Verdict, retry=retry)
        async with worker(config):
            async for question in questions(jp, job):
                if question["question"] != "Who?":
                    break
                await jp.answer_job(question["gate"], "Moriarty", by="ana")
    async with JobProcessor(config, daemon=TAKING_UP) as jp:
        async for event in jp.stream_job(job.id):
            if event.type == "asked" and event.attempt == 2:
                await jp.answer_job(event.data["gate"], "yes", by="ana")
        assert await jp.handle(job.id) == "closed: It was Moriarty."
        asked = [
            (event.attempt, event.data["question"]) for event in await events_of(jp, job.id) if event.type == "asked"
        ]
        assert [attempt.outcome for attempt in await jp.get_attempts(job.id)] == ["interrupted", "succeeded"]
    murderer = "Is this the murderer?\n\nIt was Moriarty."
    assert asked == [(1, "Who?"), (1, murderer), (2, murderer)]


async def test_a_cancelled_run_does_not_wait_for_an_answer(jp: JobProcessor) -> None:
    job = await jp.submit_flow_run(crews.Verdict)
    async for _ in questions(jp, job):
        await job.cancel()
    assert (await jp.get_job(job.id)).status is JobStatus.CANCELLED


async def test_a_deadline_gives_the_default_outcome(jp: JobProcessor) -> None:
    job = await jp.submit_flow_run(crews.Patient)
    assert await job == "closed"


async def test_a_provider_of_the_program_that_does_not_wait_ends_the_job_and_says_how_to_go_on(
    jp: JobProcessor,
) -> None:
    job = await jp.submit_flow_run(crews.Elsewhere)
    with pytest.raises(JobExecutionError) as raised:
        await job
    assert raised.value.error_type.endswith("HumanFeedbackPending")
    assert (await jp.get_job(job.id)).failures == 1
    (paused,) = data_of(await events_of(jp, job), "flow_state", "flow_paused")
    flow_id = paused["state"]["id"]
    assert f"Elsewhere.from_pending('{flow_id}').resume(feedback)" in raised.value.message
    assert "'Good?'" in raised.value.message


async def test_a_provider_of_the_program_that_waits_is_asked(jp: JobProcessor) -> None:
    assert await (await jp.submit_flow_run(crews.Own)) == "fine"


async def test_a_flow_that_names_the_terminal_is_refused_before_its_kickoff(jp: JobProcessor) -> None:
    job = await jp.submit_flow_run(crews.OnTerminal)
    with pytest.raises(JobExecutionError, match="ConsoleProvider reads standard input"):
        await job
    assert data_of(await events_of(jp, job), "flow_state") == []
    assert (await jp.get_job(job.id)).failures == 1
