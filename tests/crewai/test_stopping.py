"""A run ends soon after its job is to stop, and no other run is touched."""

from __future__ import annotations

import time
from typing import Any

import anyio
import pytest

from asyncjobs import DaemonConfig, JobCancelledError, JobExecutionError, JobProcessor, SQLiteConfig
from tests.crewai import crews
from tests.crewai.conftest import Model
from tests.crewai.looking import data_of, events_of, first_piece, wait_for

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
AT_ONCE, SOON = 2.5, 5.0
"""Seconds: five times what is promised of a stream, and of a child process, on a machine that does other things too."""


def whats(model: Model) -> list[str]:
    return [call["what"] for call in model.calls()]


async def ends(job: Any, within: float) -> None:
    began = time.monotonic()
    await job.cancel()
    with pytest.raises(JobCancelledError):
        await job
    assert time.monotonic() - began < within


async def test_a_stream_ends_at_its_next_token_and_the_server_sees_it(jp: JobProcessor, model: Model) -> None:
    job = await jp.submit_crew_run(crews.one, {"topic": "noir [[words 400]] [[every 0.05]]"})
    await first_piece(jp, job)
    await ends(job, AT_ONCE)
    await wait_for(lambda: whats(model) == ["begun", "left"], AT_ONCE)


async def test_what_does_not_stream_ends_before_its_next_call(jp: JobProcessor, model: Model) -> None:
    job = await jp.submit_crew_run(crews.three, {"topic": "noir [[slow 1]]"}, kwargs={"stream": False})
    await wait_for(model.calls)
    await job.cancel()
    with pytest.raises(JobCancelledError):
        await job
    assert whats(model) == ["begun", "finished"]


async def test_a_run_that_is_stopped_in_its_last_call_stores_its_state_too(jp: JobProcessor, model: Model) -> None:
    job = await jp.submit_crew_run(crews.one, {"topic": "noir [[slow 1]]"}, kwargs={"stream": False})
    await wait_for(model.calls)
    await job.cancel()
    with pytest.raises(JobCancelledError):
        await job
    assert [data["kind"] for data in data_of(await events_of(jp, job), "agent_state")][:1] == ["run"]


async def test_a_flow_ends_before_its_next_method(jp: JobProcessor) -> None:
    job = await jp.submit_flow_run(crews.Counting)
    while not (await jp.get_job(job.id)).progress:
        await anyio.sleep(0.02)
    await job.cancel()
    with pytest.raises(JobCancelledError):
        await job
    last = (await jp.get_job(job.id)).progress
    assert last is not None
    assert last.done < 200


async def test_a_child_process_ends_whatever_it_does(jp: JobProcessor, model: Model) -> None:
    job = await jp.submit_crew_run(
        crews.one, {"topic": "noir [[slow 60]]"}, kwargs={"stream": False, "stubborn": True}, isolation="process"
    )
    await wait_for(model.calls)
    await ends(job, SOON)
    await wait_for(lambda: whats(model) == ["begun", "left"], SOON)


@pytest.mark.parametrize("isolation", ["thread", "process"])
async def test_a_timeout_ends_a_run_without_a_warning(
    jp: JobProcessor, caplog: pytest.LogCaptureFixture, isolation: Any, model: Model
) -> None:
    """In a process that has run a crew before, so that the time is that of the call."""
    assert (await (await jp.submit_crew_run(crews.one, {"topic": "gothic"}, isolation=isolation))).raw
    model.forget()
    job = await jp.submit_crew_run(
        crews.one, {"topic": "noir [[words 4000]] [[every 0.05]]"}, timeout=4, max_retries=0, isolation=isolation
    )
    with pytest.raises(JobExecutionError, match="took longer than its timeout of 4 s"):
        await job
    await wait_for(lambda: whats(model) == ["begun", "left"], SOON)
    assert data_of(await events_of(jp, job), "agent_output", "chunk")
    assert "cannot stop" not in caplog.text


async def test_siblings_are_not_touched(jp: JobProcessor) -> None:
    jobs = [await jp.submit_crew_run(crews.one, {"topic": f"{n} [[words 60]] [[every 0.02]]"}) for n in range(20)]
    await first_piece(jp, jobs[2])
    await ends(jobs[2], AT_ONCE)
    for number, job in enumerate(jobs):
        if number != 2:
            assert len((await job).raw.split()) == 60


async def test_a_drain_stops_a_run_and_it_is_taken_up_again(config: SQLiteConfig, model: Model) -> None:
    async with JobProcessor(config, daemon=DaemonConfig(shutdown_timeout=0.1)) as jp:
        job = await jp.submit_crew_run(crews.three, {"topic": "noir [[every 0.2]]"})
        async for event in jp.stream_job(job):
            if event.data.get("kind") == "task":
                break
        began = time.monotonic()
    assert time.monotonic() - began < SOON
    async with JobProcessor(config, daemon=DaemonConfig(allowed_modules=["tests.crewai"])) as jp:
        assert (await jp.handle(job.id)).raw
        assert (await jp.get_job(job.id)).failures == 0
    finished = model.finished()
    assert sorted(set(finished)) == sorted(finished)


async def test_hooks_that_a_program_clears_are_not_those_that_stop(jp: JobProcessor) -> None:
    job = await jp.submit_crew_run(crews.clearing, {"topic": "noir [[words 400]] [[every 0.05]]"})
    await first_piece(jp, job)
    await ends(job, AT_ONCE)


async def test_hooks_of_the_program_are_called_besides(jp: JobProcessor) -> None:
    crews.hooked.clear()
    assert (await (await jp.submit_crew_run(crews.with_hooks, {"topic": "noir"}))).raw
    assert crews.hooked == ["before", "after"]
