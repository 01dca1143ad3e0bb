"""What a run returns, in the process of its worker, in others, without CrewAI, and over HTTP."""

from __future__ import annotations

import json
import sys
from typing import Any

import anyio
import httpx
import pytest
import uvicorn
from crewai.crews.crew_output import CrewOutput
from pydantic import BaseModel

from asyncjobs import JobProcessor, SQLiteConfig
from tests.crewai import crews
from tests.crewai.conftest import Model
from tests.crewai.looking import data_of, events_of, wait_for

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


async def test_the_result_of_a_crew_is_its_output(jp: JobProcessor) -> None:
    output = await (await jp.submit_crew_run(crews.three, {"topic": "noir"}))
    assert isinstance(output, CrewOutput)
    assert output.raw == output.tasks_output[2].raw
    assert [task.agent for task in output.tasks_output] == ["Researcher", "Writer", "Editor"]
    assert output.token_usage.total_tokens > 0


async def test_a_process_that_knows_only_the_id_gets_the_same(jp: JobProcessor, config: SQLiteConfig) -> None:
    job = await jp.submit_crew_run(crews.modelled, {"topic": "noir"})
    ours = await job
    async with JobProcessor(config, enable_daemon=False) as other:
        theirs = await other.handle(job.id)
        assert isinstance(theirs, CrewOutput)
        assert theirs == ours
        assert theirs.pydantic == crews.Clue(name="text", weight=7)


async def test_a_model_whose_class_is_gone_comes_as_its_fields(jp: JobProcessor) -> None:
    output = await (await jp.submit_crew_run(crews.modelled, {"topic": "noir"}, args=("moved",)))
    assert output.pydantic is None
    assert output.json_dict == {"name": "text"}
    assert output.tasks_output[0].json_dict == {"name": "text"}


async def test_a_model_whose_class_has_other_fields_now_comes_as_its_fields(
    jp: JobProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = await (await jp.submit_crew_run(crews.modelled, {"topic": "noir"}, job_id="changed"))
    assert output.pydantic == crews.Clue(name="text", weight=7)
    monkeypatch.setattr(crews, "Clue", Changed)
    again = await jp.get_result("changed")
    assert again.pydantic is None
    assert again.json_dict == {"name": "text", "weight": 7}


async def test_nothing_is_cut_of_what_a_flow_returns(jp: JobProcessor) -> None:
    value = await (await jp.submit_flow_run(crews.Whole))
    assert value["clues"] == [{"name": "long" * 10_000, "weight": 1}]
    assert value["tags"] == [f"{place:03d}" for place in range(500)]


class Changed(BaseModel):
    """What ``crews.Clue`` has become."""

    title: str


ELSEWHERE = """
import sys, json, anyio, crewai
from asyncjobs import JobProcessor, SQLiteConfig

async def main():
    async with JobProcessor(SQLiteConfig(db_path=sys.argv[1]), enable_daemon=False) as jp:
        output = await jp.handle(sys.argv[2])
    imported = [name for name in sys.modules if name.startswith("tests")]
    print(json.dumps([type(output).__name__, output.pydantic, output.json_dict, imported]))

anyio.run(main)
"""


async def test_reading_a_result_imports_nothing(jp: JobProcessor, config: SQLiteConfig) -> None:
    crew = await jp.submit_crew_run(crews.modelled, {"topic": "noir"})
    await crew
    command = [sys.executable, "-W", "ignore", "-c", ELSEWHERE, str(config.db_path), crew.id]
    found = json.loads((await anyio.run_process(command)).stdout)
    assert found == ["CrewOutput", None, {"name": "text", "weight": 7}, []]


WITHOUT = """
import sys, json, anyio
sys.modules["crewai"] = None  # as where it is not installed
from asyncjobs import JobProcessor, SQLiteConfig

async def main():
    async with JobProcessor(SQLiteConfig(db_path=sys.argv[1]), enable_daemon=False) as jp:
        print(json.dumps([await jp.handle(job) for job in sys.argv[2:]]))

anyio.run(main)
"""


async def test_without_crewai_it_is_a_dict_with_the_same_keys(jp: JobProcessor, config: SQLiteConfig) -> None:
    crew = await jp.submit_crew_run(crews.modelled, {"topic": "noir"})
    flow = await jp.submit_flow_run(crews.WithCrew)
    output, of_flow = await crew, await flow
    command = [sys.executable, "-c", WITHOUT, str(config.db_path), crew.id, flow.id]
    found = json.loads((await anyio.run_process(command)).stdout)
    assert found[0].keys() == found[1].keys() == output.model_dump().keys()
    assert (found[0]["raw"], found[1]["raw"]) == (output.raw, of_flow.raw)
    assert found[0]["pydantic"] == {"name": "text", "weight": 7}


async def test_over_http_it_is_json(jp: JobProcessor, config: SQLiteConfig) -> None:
    job = await jp.submit_crew_run(crews.one, {"topic": "noir"})
    output = await job
    server = uvicorn.Server(uvicorn.Config(jp.asgi_app(), port=0, log_level="critical"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve)
        await wait_for(lambda: server.started)
        host, port = server.servers[0].sockets[0].getsockname()[:2]
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"http://{host}:{port}/v1/jobs/{job.id}/result")
        server.should_exit = True
    assert answer.status_code == 200, answer.text
    result = answer.json()["result"]
    assert result["raw"] == output.raw
    assert result["token_usage"]["total_tokens"] == output.token_usage.total_tokens


async def test_the_result_of_a_flow_is_what_its_last_method_returned(jp: JobProcessor) -> None:
    with_crew = await jp.submit_flow_run(crews.WithCrew)
    with_model = await jp.submit_flow_run(crews.WithModel)
    with_object = await jp.submit_flow_run(crews.WithObject)
    assert isinstance(await with_crew, CrewOutput)
    assert await with_model == crews.Clue(name="a knife", weight=3)
    result = await with_object
    assert result["numbers"] == [1, 2]
    assert result["thing"].startswith("<object object")


async def test_a_crew_that_streams_is_read_to_its_end(jp: JobProcessor) -> None:
    output = await (await jp.submit_crew_run(crews.streaming, {"topic": "noir"}))
    assert isinstance(output, CrewOutput)
    assert output.raw


async def test_results_of_others_are_put_in_place(jp: JobProcessor, model: Model) -> None:
    first = await jp.submit_crew_run(crews.one, {"topic": "noir"})
    topic = await jp.submit_job(raw, first)
    second = await jp.submit_crew_run(crews.one, {"topic": topic}, args=("On {topic}",))
    assert (await second).tasks_output[0].description == f"On {(await first).raw}"


def raw(output: CrewOutput) -> str:
    return output.raw


async def test_a_child_process_does_as_a_thread_does(jp: JobProcessor, tmp_path: Any) -> None:
    log = tmp_path / "tools"
    job = await jp.submit_crew_run(crews.three, {"topic": "noir"}, kwargs={"log": str(log)}, isolation="process")
    flow = await jp.submit_flow_run(crews.Verdict, isolation="process")
    async for event in jp.stream_job(flow):
        if event.type == "asked":
            await jp.answer_job(event.data["gate"], "yes" if event.data["choices"] else "Moriarty")
    assert await flow == "closed: It was Moriarty."
    assert isinstance(await job, CrewOutput)
    events = await events_of(jp, job)
    assert data_of(events, "agent_output", "chunk")
    assert data_of(events, "usage")[-1]["paid"]["requests"] == 4
    assert log.read_text() == "Holmes\n"
    keys = [step.key for step in (await jp.backend.read_steps(job.id, limit=100, values=False)).steps]
    assert len(keys) == 5


async def test_a_result_that_is_too_large_fails_and_says_so(model: Model, tmp_path: Any) -> None:
    small = SQLiteConfig(db_path=tmp_path / "small.db", max_value_size=20_000)
    async with JobProcessor(small) as jp:
        job = await jp.submit_flow_run(crews.Large)
        ended = await jp.wait_for_job(job.id)
    assert ended.error is not None
    assert "20,000" in ended.error.message
    assert ended.failures == 1
