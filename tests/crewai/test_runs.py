"""A crew or a flow as a job: what is seen of it, and what it returns."""

from __future__ import annotations

import json
from typing import Any

import pytest
from crewai.crews.crew_output import CrewOutput

from asyncjobs import JobExecutionError, JobProcessor, JobStatus
from tests.crewai import crews
from tests.crewai.conftest import Model

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


async def events(jp: JobProcessor, job_id: str) -> list[Any]:
    return [event async for event in jp.stream_job(job_id)]


def outputs(found: list[Any], kind: str) -> list[dict[str, Any]]:
    return [event.data for event in found if event.type == "agent_output" and event.data["kind"] == kind]


async def test_the_result_is_the_output_of_the_crew(jp: JobProcessor) -> None:
    output = await (await jp.submit_crew_run(crews.one, {"topic": "noir"}))
    assert isinstance(output, CrewOutput)
    assert output.raw
    assert [task.agent for task in output.tasks_output] == ["Writer"]


async def test_the_text_of_an_agent_comes_as_it_is_streamed(jp: JobProcessor) -> None:
    job = await jp.submit_crew_run(crews.one, {"topic": "noir [[words 40]] [[every 0.02]]"})
    found = await events(jp, job)
    pieces = outputs(found, "chunk")
    assert len(pieces) > 3
    assert {(piece["role"], piece["call"]) for piece in pieces} == {("Writer", pieces[0]["call"])}
    assert "".join(piece["text"] for piece in pieces).strip().endswith((await job).raw.strip())


async def test_roles_and_tasks_stand_with_what_they_did(jp: JobProcessor, tmp_path: Any) -> None:
    log = tmp_path / "calls"
    job = await jp.submit_crew_run(crews.three, {"topic": "noir"}, kwargs={"log": str(log)})
    found = await events(jp, job)
    assert [(data["role"], data["tool"], data["text"]) for data in outputs(found, "tool")] == [
        ("Researcher", "lookup", "the address of Holmes")
    ]
    assert [data["role"] for data in outputs(found, "task")] == ["Researcher", "Writer", "Editor"]
    assert [
        event.type for event in found if event.type == "flow_state"
    ] == []  # an executor is a flow, and no flow of ours


async def test_usage_counts_each_call_once_although_agents_share_nothing(jp: JobProcessor, model: Model) -> None:
    job = await jp.submit_crew_run(crews.three, {"topic": "noir"})
    last = [event.data for event in await events(jp, job) if event.type == "usage"][-1]
    assert last["final"] is True
    assert last["paid"]["requests"] == len(model.finished()) == 3
    assert [by["role"] for by in last["by"]] == ["Researcher", "Writer", "Editor"]
    assert (await job).token_usage.successful_requests == 3
    assert (await job).token_usage.total_tokens == last["paid"]["total_tokens"]


async def test_a_flow_shows_its_methods_and_its_state(jp: JobProcessor) -> None:
    job = await jp.submit_flow_run(crews.Story, {"topic": "noir"})
    found = [event.data for event in await events(jp, job) if event.type == "flow_state"]
    assert [(data["kind"], data.get("method")) for data in found] == [
        ("flow_started", None),
        ("method_started", "begin"),
        ("method_finished", "begin"),
        ("method_started", "end"),
        ("method_finished", "end"),
        ("flow_finished", None),
    ]
    assert found[2]["state"]["begun"] is True
    assert isinstance(await job, str)


async def test_a_crew_base_class_is_a_factory(jp: JobProcessor) -> None:
    job = await jp.submit_crew_run(crews.Mystery, {"topic": "noir"})
    assert (await job).raw
    assert (await jp.get_job(job)).metadata == {"kind": "crew", "name": "Mystery"}


async def test_a_crew_object_runs_here(jp: JobProcessor) -> None:
    crew = crews.one()
    jobs = [await jp.submit_crew_run(crew, {"topic": topic}, local=True) for topic in ("noir", "gothic")]
    assert [(await job).tasks_output[0].description for job in jobs] == ["Write about noir.", "Write about gothic."]


async def test_results_of_others_are_put_in_place(jp: JobProcessor) -> None:
    first = await jp.submit_crew_run(crews.one, {"topic": "noir"})
    topic = await jp.submit_job(raw, first)
    second = await jp.submit_crew_run(crews.one, {"topic": topic})
    assert (await second).tasks_output[0].description == f"Write about {(await first).raw}."


def raw(output: CrewOutput) -> str:
    return output.raw


@pytest.mark.parametrize(
    ("factory", "problem"),
    [
        (crews.nothing, "returned None"),
        (crews.a_class, "returned the class Crew"),
        (crews.Story, "submit it with submit_flow_run()"),
        (crews.broken, "no model today"),
    ],
)
async def test_what_is_no_crew_fails_and_says_so(jp: JobProcessor, factory: Any, problem: str) -> None:
    job = await jp.submit_crew_run(factory, max_retries=0)
    with pytest.raises(JobExecutionError, match=problem.replace("(", r"\(").replace(")", r"\)")):
        await job


async def test_a_failure_keeps_the_conversation_of_each_agent(jp: JobProcessor) -> None:
    job = await jp.submit_crew_run(crews.one, {"topic": "noir [[status 500]]"}, max_retries=0)
    found = await events(jp, job)
    states = [event.data for event in found if event.type == "agent_state"]
    assert [(state["kind"], state.get("role")) for state in states] == [("run", None), ("agent", "Writer")]
    assert "Write about noir" in json.dumps(states[1]["messages"])
    assert any("scripted error 500" in json.dumps(step) for step in states[0]["steps"])
    assert await jp.get_status(job) is JobStatus.FAILED
