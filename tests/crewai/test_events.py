"""What is seen of a run while it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from crewai.events.types import flow_events

from asyncjobs import DaemonConfig, JobExecutionError, JobProcessor, SQLiteConfig
from tests.crewai import crews
from tests.crewai.conftest import Model
from tests.crewai.looking import data_of, events_of, first_piece

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


async def test_the_text_of_an_agent_comes_as_it_is_streamed(jp: JobProcessor) -> None:
    job = await jp.submit_crew_run(crews.one, {"topic": "noir [[words 40]] [[every 0.02]]"})
    pieces = data_of(await events_of(jp, job), "agent_output", "chunk")
    assert len(pieces) > 3
    assert {(piece["role"], piece["task"], piece["call"]) for piece in pieces} == {
        ("Writer", "Write about noir [[words 40]] [[every 0.02]].", pieces[0]["call"])
    }
    assert "".join(piece["text"] for piece in pieces).strip().endswith((await job).raw.strip())


async def test_what_an_llm_does_not_stream_comes_as_a_whole(jp: JobProcessor) -> None:
    job = await jp.submit_crew_run(crews.one, {"topic": "noir"}, kwargs={"stream": False})
    events = await events_of(jp, job)
    assert data_of(events, "agent_output", "chunk") == []
    assert [data["text"] for data in data_of(events, "agent_output", "answer")] == [(await job).raw]


async def test_roles_and_tasks_stand_with_calls_and_results_of_tools(jp: JobProcessor, tmp_path: Path) -> None:
    log = tmp_path / "calls"
    job = await jp.submit_crew_run(crews.three, {"topic": "noir"}, kwargs={"log": str(log)})
    events = await events_of(jp, job)
    args = {"name": "Holmes", "log": str(log)}
    assert [(data["role"], data["tool"], data["args"]) for data in data_of(events, "agent_output", "tool_call")] == [
        ("Researcher", "lookup", args)
    ]
    assert [(data["tool"], data["text"]) for data in data_of(events, "agent_output", "tool")] == [
        ("lookup", "the address of Holmes")
    ]
    assert [data["role"] for data in data_of(events, "agent_output", "task")] == ["Researcher", "Writer", "Editor"]


async def test_the_executor_of_an_agent_which_is_a_flow_never_shows(jp: JobProcessor) -> None:
    job = await jp.submit_crew_run(crews.three, {"topic": "noir"})
    assert data_of(await events_of(jp, job), "flow_state") == []


async def test_a_flow_shows_its_methods_and_its_state(jp: JobProcessor) -> None:
    job = await jp.submit_flow_run(crews.Story, {"topic": "noir"})
    states = data_of(await events_of(jp, job), "flow_state")
    assert [(data["kind"], data.get("method")) for data in states] == [
        ("flow_started", None),
        ("method_started", "begin"),
        ("method_finished", "begin"),
        ("method_started", "end"),
        ("method_finished", "end"),
        ("flow_finished", None),
    ]
    assert states[2]["state"]["begun"] is True
    assert {data["flow"] for data in states} == {"Story"}


async def test_an_error_of_a_flow_stands_with_its_method(jp: JobProcessor) -> None:
    job = await jp.submit_flow_run(crews.Failing, max_retries=0)
    states = data_of(await events_of(jp, job), "flow_state")
    assert [(data["method"], data["error"]) for data in states if data["kind"] == "method_failed"] == [
        ("begin", "RuntimeError: no more ink")
    ]
    failed = [data["error"] for data in states if data["kind"] == "flow_failed"]
    assert failed == (["RuntimeError: no more ink"] if hasattr(flow_events, "FlowFailedEvent") else [])  # not in 1.15.3


# -- usage


async def test_usage_comes_after_each_task_and_at_the_end_and_counts_each_call_once(
    jp: JobProcessor, model: Model
) -> None:
    """Also where agents share an LLM: CrewAI's own sum has each call once for each of them."""
    job = await jp.submit_crew_run(crews.sharing, {"topic": "noir"})
    usage = data_of(await events_of(jp, job), "usage")
    assert [(data["final"], data["paid"]["requests"]) for data in usage] == [(False, 1), (False, 2), (True, 2)]
    assert len(model.finished()) == 2
    assert [(by["role"], by["requests"]) for by in usage[-1]["by"]] == [("First", 1), ("Second", 1)]
    assert usage[-1]["replayed"] == {}
    tokens = (await job).token_usage
    assert (tokens.successful_requests, tokens.total_tokens) == (2, usage[-1]["paid"]["total_tokens"])


async def test_usage_comes_from_a_run_that_fails(jp: JobProcessor) -> None:
    job = await jp.submit_crew_run(crews.two, {"topic": "noir", "second": "[[status 400]]"}, max_retries=0)
    assert data_of(await events_of(jp, job), "usage")[-1]["paid"]["requests"] == 1
    with pytest.raises(JobExecutionError, match="scripted error 400"):
        await job


async def test_usage_comes_from_a_run_that_is_cancelled(jp: JobProcessor) -> None:
    job = await jp.submit_crew_run(crews.two, {"topic": "noir", "second": "[[words 400]] [[every 0.05]]"})
    async for event in jp.stream_job(job):
        if event.type == "usage":
            break
    await job.cancel()
    assert [data["final"] for data in data_of(await events_of(jp, job), "usage")] == [False, True]


async def test_usage_comes_from_a_run_that_is_released(config: SQLiteConfig, model: Model) -> None:
    async with JobProcessor(config, daemon=DaemonConfig(shutdown_timeout=0.1)) as jp:
        job = await jp.submit_crew_run(crews.one, {"topic": "noir [[words 400]] [[every 0.05]]"})
        await first_piece(jp, job)
    async with JobProcessor(config, enable_daemon=False) as jp:
        types: list[str] = []
        async for event in jp.stream_job(str(job)):
            types.append(event.type)
            if event.type == "released":
                break
    others = [type for type in types if type not in ("agent_output", "log")]
    assert others == ["submitted", "started", "agent_state", "agent_state", "usage", "released"]


async def test_what_an_event_cannot_say_fails_nobody(jp: JobProcessor, model: Model) -> None:
    """NUL, lone surrogates, and objects whose text cannot be had, in what flows and agents hold."""
    job = await jp.submit_flow_run(crews.Strange)
    states: list[dict[str, Any]] = data_of(await events_of(jp, job), "flow_state")
    assert await job == "done"
    assert "cannot be printed" in states[-1]["state"]["thing"]
