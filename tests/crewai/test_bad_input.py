"""Models and tools that do not do as they should."""

from __future__ import annotations

import anyio
import pytest

from asyncjobs import JobExecutionError, JobProcessor
from tests.crewai import crews
from tests.crewai.conftest import Model
from tests.crewai.looking import data_of, events_of, wait_for

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


@pytest.mark.parametrize(
    ("script", "says", "stream"),
    [
        *(("[[status 401]]", "401", stream) for stream in (True, False)),
        *(("[[status 429]]", "429", stream) for stream in (True, False)),
        *(("[[status 500]]", "500", stream) for stream in (True, False)),
        *(("[[garbage]]", "", stream) for stream in (True, False)),
        *(("[[nothing]]", "", stream) for stream in (True, False)),
        ("[[words 50]] [[broken 10]]", "", True),
    ],
)
async def test_a_model_that_does_not_answer_fails_the_job_and_what_is_known_is_stored(
    jp: JobProcessor, script: str, says: str, stream: bool
) -> None:
    job = await jp.submit_crew_run(crews.one, {"topic": script}, kwargs={"stream": stream}, max_retries=0)
    with pytest.raises(JobExecutionError) as raised:
        await job
    assert says in raised.value.message
    states = data_of(await events_of(jp, job), "agent_state")
    assert [state["kind"] for state in states] == ["run", "agent"]


async def test_a_model_that_is_late_is_waited_for_no_longer_than_the_timeout(jp: JobProcessor, model: Model) -> None:
    """In a process that has run a crew before, so that the time is that of the call."""
    short, process = {"stream": False}, "process"
    assert (await (await jp.submit_crew_run(crews.one, {"topic": "noir"}, kwargs=short, isolation=process))).raw
    model.forget()
    job = await jp.submit_crew_run(
        crews.one, {"topic": "[[slow 60]]"}, timeout=3, max_retries=0, isolation=process, kwargs=short
    )
    with pytest.raises(JobExecutionError, match="timeout of 3 s"):
        await job
    await wait_for(lambda: [call["what"] for call in model.calls()] == ["begun", "left"])


# -- tools


async def test_the_error_of_a_tool_is_seen_and_the_run_goes_on(jp: JobProcessor) -> None:
    job = await jp.submit_crew_run(crews.tooled, {"topic": "noir"}, args=("raising",))
    assert (await job).raw
    errors = data_of(await events_of(jp, job), "agent_output", "tool_error")
    assert "the tool is broken: x" in errors[0]["error"]
    keys = [step.key for step in (await jp.backend.read_steps(job.id, limit=100, values=False)).steps]
    assert [key for key in keys if key.startswith("crewai/tool/")] == []


async def test_a_tool_that_hangs_ends_with_its_process(jp: JobProcessor) -> None:
    job = await jp.submit_crew_run(crews.tooled, {"topic": "noir"}, args=("endless",), isolation="process")
    async for event in jp.stream_job(job):
        if event.data.get("kind") == "tool_call":
            break
    with anyio.fail_after(7.5):
        await job.cancel()
        assert (await jp.wait_for_job(job.id)).status == "cancelled"


async def test_what_a_thread_of_a_tool_does_is_not_heard_and_harms_nobody(jp: JobProcessor) -> None:
    job = await jp.submit_crew_run(crews.tooled, {"topic": "noir"}, args=("starting",))
    assert (await job).raw
    assert data_of(await events_of(jp, job), "agent_output", "task_error") == []


async def test_a_large_result_of_a_tool_is_cut_in_events_and_kept_whole(jp: JobProcessor) -> None:
    job = await jp.submit_crew_run(crews.tooled, {"topic": "noir"}, args=("huge",))
    assert (await job).raw
    (shown,) = data_of(await events_of(jp, job), "agent_output", "tool")
    assert (len(shown["text"]), shown["text_length"]) == (16_000, 5_000_000)
    steps = (await jp.backend.read_steps(job.id, limit=100)).steps
    assert max(step.size for step in steps) > 5_000_000


async def test_a_result_of_a_tool_that_no_model_can_be_sent_fails_the_run_and_says_so(jp: JobProcessor) -> None:
    job = await jp.submit_crew_run(crews.tooled, {"topic": "noir"}, args=("odd",), max_retries=0)
    with pytest.raises(JobExecutionError, match="surrogates not allowed"):
        await job
    events = await events_of(jp, job)
    (shown,) = data_of(events, "agent_output", "tool")
    assert shown["text"].startswith("a NUL")
    assert [state["kind"] for state in data_of(events, "agent_state")] == ["run", "agent"]


async def test_two_async_tasks_on_one_agent_fail_as_crewai_has_it(jp: JobProcessor) -> None:
    job = await jp.submit_crew_run(crews.on_one_agent, {"topic": "noir [[slow 0.2]]"}, max_retries=0)
    ended = await jp.wait_for_job(job.id)
    assert ended.status in ("failed", "completed")
    assert ended.error is None or "Executor is already running" in ended.error.message


async def test_handlers_of_the_program_that_are_slow_or_raise_change_nothing(jp: JobProcessor) -> None:
    from crewai.events.event_bus import crewai_event_bus

    with crewai_event_bus.scoped_handlers():
        job = await jp.submit_crew_run(crews.listened, {"topic": "noir [[words 20]]"})
        assert len((await job).raw.split()) == 20
    assert data_of(await events_of(jp, job), "agent_output", "chunk")
