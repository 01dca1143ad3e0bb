"""Models, tools and surroundings that do not do as they should."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncjobs import DaemonConfig, JobExecutionError, JobProcessor, SQLiteConfig
from tests.crewai import crews
from tests.crewai.conftest import Model
from tests.crewai.looking import data_of, events_of, first_piece

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


async def test_a_model_that_is_late_is_waited_for_no_longer_than_the_timeout(jp: JobProcessor) -> None:
    job = await jp.submit_crew_run(
        crews.one, {"topic": "[[slow 60]]"}, timeout=3, max_retries=0, isolation="process", kwargs={"stream": False}
    )
    with pytest.raises(JobExecutionError, match="timeout of 3 s"):
        await job


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


# -- surroundings


async def run_daemon(config: SQLiteConfig, *, script: str = "tests.crewai.plain_worker", **variables: str) -> Any:
    import sys

    command = [sys.executable, "-W", "ignore", "-m", script, str(config.db_path)]
    return await anyio.open_process(command, env={**os.environ, **variables})


async def submitted(config: SQLiteConfig, count: int = 1) -> list[str]:
    async with JobProcessor(config, enable_daemon=False) as jp:
        return [str(await jp.submit_crew_run(crews.one, {"topic": str(n)}, max_retries=0)) for n in range(count)]


async def ended(config: SQLiteConfig, jobs: list[str]) -> list[str]:
    async with JobProcessor(config, enable_daemon=False) as jp:
        return [(await jp.wait_for_job(job, timeout=60)).status.value for job in jobs]


async def test_a_home_that_is_read_only(config: SQLiteConfig, model: Model, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o500)
    jobs = await submitted(config)
    async with await run_daemon(config, HOME=str(home)) as worker:
        assert await ended(config, jobs) == ["completed"]
        worker.kill()


async def test_two_daemons_with_one_storage_folder(config: SQLiteConfig, model: Model) -> None:
    jobs = await submitted(config, 8)
    async with await run_daemon(config) as first, await run_daemon(config) as second:
        assert await ended(config, jobs) == ["completed"] * 8
        first.kill()
        second.kill()


async def test_a_store_that_is_away_in_the_middle_of_a_run(config: SQLiteConfig, model: Model) -> None:
    """A lock that another holds for longer than the store is waited for by one try."""
    import sqlite3

    async with JobProcessor(config, daemon=DaemonConfig()) as jp:
        job = await jp.submit_crew_run(crews.two, {"topic": "noir [[words 20]] [[every 0.1]]", "second": ""})
        await first_piece(jp, job)
        locker = sqlite3.connect(config.db_path, isolation_level=None)
        locker.execute("BEGIN IMMEDIATE")
        await anyio.sleep(8)  # slowness is what it is about
        locker.execute("ROLLBACK")
        locker.close()
        assert (await job).raw
    finished = model.finished()
    assert sorted(set(finished)) == sorted(finished)
