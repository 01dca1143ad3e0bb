"""Plain jobs run crews and flows in their bodies, with all that is seen of runs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import pytest
from crewai.crews.crew_output import CrewOutput

from asyncjobs import JobExecutionError, JobProcessor, JobStateError
from asyncjobs.integrations.crewai import CrewJobWrapper, FlowJobWrapper, capturing
from tests.crewai import crews
from tests.crewai.conftest import Model
from tests.crewai.looking import data_of, events_of, first_piece

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


def with_crew(topic: str) -> str:
    output = CrewJobWrapper.wrap_crew_run(crews.one(), {"topic": topic})
    assert isinstance(output, CrewOutput)
    return output.raw


def with_flow(topic: str) -> str:
    return str(FlowJobWrapper.wrap_flow_run(crews.Story(), {"topic": topic}))


def by_hand(topic: str) -> list[str]:
    with capturing():
        return [str(crews.one().kickoff(inputs={"topic": f"{topic} {n}"}).raw) for n in range(2)]


async def test_a_body_gets_the_output_itself_and_its_events_are_those_of_a_run(jp: JobProcessor) -> None:
    job = await jp.submit_job(with_crew, "noir")
    events = await events_of(jp, job)
    assert [data["text"] for data in data_of(events, "agent_output", "answer")] == [await job]
    assert data_of(events, "agent_output", "chunk")
    assert data_of(events, "usage")[-1]["final"] is True


async def test_the_usage_of_an_output_counts_each_call_once(jp: JobProcessor) -> None:
    assert await (await jp.submit_job(sharing)) == [2, 2]


def sharing() -> list[int]:
    with capturing():
        outputs = [CrewJobWrapper.wrap_crew_run(crews.sharing(), {"topic": str(n)}) for n in range(2)]
    return [output.token_usage.successful_requests for output in outputs]


async def test_runs_beside_each_other_have_a_count_of_their_own_and_one_of_the_attempt(jp: JobProcessor) -> None:
    job = await jp.submit_job(beside)
    assert await job == [1, 1]
    assert data_of(await events_of(jp, job), "usage")[-1]["paid"]["requests"] == 2


def beside() -> list[int]:
    with ThreadPoolExecutor(2) as pool:
        runs = [
            pool.submit(copy_context().run, CrewJobWrapper.wrap_crew_run, crews.one(), {"topic": f"{n} [[slow 0.5]]"})
            for n in range(2)
        ]
        return [run.result().token_usage.successful_requests for run in runs]


async def test_so_does_a_body_with_a_flow(jp: JobProcessor) -> None:
    job = await jp.submit_job(with_flow, "noir")
    events = await events_of(jp, job)
    assert [data["kind"] for data in data_of(events, "flow_state")][-1] == "flow_finished"
    assert await job


async def test_what_a_body_starts_itself_is_captured_as_one_run(jp: JobProcessor) -> None:
    job = await jp.submit_job(by_hand, "noir")
    events = await events_of(jp, job)
    assert [data["text"] for data in data_of(events, "agent_output", "answer")] == await job
    assert [data["paid"]["requests"] for data in data_of(events, "usage")] == [1, 2, 2]


def variants(way: str) -> list[str]:
    """The same run three times: to choose among what the model writes."""
    texts: list[str] = []
    for _ in range(3):
        if way == "wrapped":
            texts.append(CrewJobWrapper.wrap_crew_run(crews.one(), {"topic": "noir"}).raw)
        else:
            with capturing():
                texts.append(crews.one().kickoff(inputs={"topic": "noir"}).raw)
    return texts


@pytest.mark.parametrize("way", ["wrapped", "captured"])
async def test_equal_runs_of_a_body_ask_the_model_again_and_count_together(
    jp: JobProcessor, model: Model, way: str
) -> None:
    model.forget()
    job = await jp.submit_job(variants, way)
    events = await events_of(jp, job)
    assert len(await job) == len(model.finished()) == 3
    paid = [data["paid"]["requests"] for data in data_of(events, "usage") if data["final"]]
    assert paid == [1, 2, 3]


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("factory", r"function is not a crew that was made.*wrap_crew_run\(make_crew\(\), …\)"),
        ("flow", "Story is not a crew that was made"),
        ("class", r"the class Story is not a flow that was made.*wrap_flow_run\(MyFlow\(\), …\)"),
    ],
)
async def test_what_is_no_crew_or_flow_is_refused_at_once(jp: JobProcessor, body: str, problem: str) -> None:
    job = await jp.submit_job(wrong, body)
    with pytest.raises(JobExecutionError, match=rf"(?s)failed after 1 attempt.*{problem}"):
        await job


def wrong(body: str) -> Any:
    if body == "factory":
        return CrewJobWrapper.wrap_crew_run(crews.one)
    if body == "flow":
        return CrewJobWrapper.wrap_crew_run(crews.Story())
    return FlowJobWrapper.wrap_flow_run(crews.Story)


async def test_a_body_on_the_loop_is_told_to_be_a_plain_function(jp: JobProcessor) -> None:
    job = await jp.submit_job(on_the_loop)
    with pytest.raises(JobExecutionError, match=r"(?s)failed after 1 attempt.*write the body as a plain 'def'"):
        await job


async def on_the_loop() -> Any:
    return CrewJobWrapper.wrap_crew_run(crews.one(), {"topic": "noir"})


async def test_an_input_that_is_missing_beside_others_fails_at_once_and_is_named(jp: JobProcessor) -> None:
    job = await jp.submit_crew_run(crews.one, {"topik": "noir"})
    named = r"(?s)failed after 1 attempt.*placeholder \{topic\}.*did you mean 'topik'"
    with pytest.raises(JobExecutionError, match=named):
        await job


async def test_runs_inside_of_runs_are_the_outer_one(jp: JobProcessor) -> None:
    job = await jp.submit_job(nested)
    usage = data_of(await events_of(jp, job), "usage")
    assert [data["final"] for data in usage] == [False, False, True]


def nested() -> str:
    with capturing():
        return with_crew("noir") + with_crew("gothic")


async def test_a_wrapped_run_is_stopped_with_its_job(jp: JobProcessor) -> None:
    job = await jp.submit_job(with_crew, "noir [[words 400]] [[every 0.05]]")
    await first_piece(jp, job)
    await job.cancel()
    assert (await events_of(jp, job))[-1].type == "cancelled"


@pytest.mark.parametrize("call", [with_crew, with_flow, by_hand])
def test_outside_of_a_job_it_is_refused(call: Any) -> None:
    with pytest.raises(JobStateError, match="works only inside a job's body"):
        call("noir")
