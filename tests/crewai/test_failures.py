"""What is known of a run that has failed, or was ended."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import anyio
import httpx
import pytest

from asyncjobs import JobExecutionError, JobProcessor, SQLiteConfig
from tests.crewai import crews, hiding
from tests.crewai.looking import data_of, events_of, first_piece, shown

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


async def test_a_failure_keeps_the_last_steps_and_the_conversation_of_each_agent(jp: JobProcessor) -> None:
    job = await jp.submit_crew_run(crews.two, {"topic": "noir", "second": "[[status 400]]"}, max_retries=0)
    whole, *agents = data_of(await events_of(jp, job), "agent_state")
    assert whole["kind"] == "run"
    assert [done["role"] for done in whole["finished"]] == ["First"]
    assert "scripted error 400" in shown(whole["steps"][-1])
    assert [(agent["kind"], agent["role"]) for agent in agents] == [("agent", "First"), ("agent", "Second")]
    assert "Begin with noir" in shown(agents[0]["messages"])
    assert "Go on [[status 400]]" in shown(agents[1]["messages"])
    with pytest.raises(JobExecutionError) as raised:
        await job
    assert "scripted error 400" in raised.value.message
    assert "Traceback" in raised.value.traceback_text


async def test_a_failure_of_a_flow_keeps_its_state(jp: JobProcessor) -> None:
    job = await jp.submit_flow_run(crews.FailingLater, {"topic": "noir"}, max_retries=0)
    (whole,) = data_of(await events_of(jp, job), "agent_state")
    assert whole["flow"]["flow"] == "FailingLater"
    assert (whole["flow"]["state"]["topic"], whole["flow"]["state"]["written"]) == ("noir", 1)


async def test_so_do_a_cancellation_and_a_timeout(jp: JobProcessor) -> None:
    topic = {"topic": "noir [[words 400]] [[every 0.05]]"}
    cancelled = await jp.submit_crew_run(crews.one, topic)
    late = await jp.submit_crew_run(crews.one, topic, timeout=1.5, max_retries=0)
    await first_piece(jp, cancelled)
    await cancelled.cancel()
    for job in (cancelled, late):
        states = data_of(await events_of(jp, job), "agent_state")
        assert [state["kind"] for state in states] == ["run", "agent"]
        assert "Write about noir" in shown(states[1]["messages"])


async def test_of_a_killed_child_is_stored_what_it_said(jp: JobProcessor) -> None:
    job = await jp.submit_crew_run(
        crews.one, {"topic": "noir [[words 400]] [[every 0.05]]"}, isolation="process", kwargs={"stubborn": True}
    )
    await first_piece(jp, job)
    await job.cancel()
    events = await events_of(jp, job)
    assert events[-1].type == "cancelled"
    assert data_of(events, "agent_output", "chunk")


async def test_a_long_conversation_is_cut_and_says_so(jp: JobProcessor) -> None:
    """10 MB, with NUL, and a secret, which is only shown through ``redact``."""
    job = await jp.submit_crew_run(crews.long, {"secret": "hunter2\0"}, max_retries=0)
    states = data_of(await events_of(jp, job), "agent_state")
    (message,) = [one for one in states[-1]["messages"] if "hunter2" in shown(one)]
    assert len(message["content"]) == 4_000
    assert message["content_length"] > 10_000_000
    assert all(len(json.dumps(state)) < 64 * 1024 for state in states)


async def test_what_is_stored_of_a_failure_is_shown_redacted(jp: JobProcessor, config: SQLiteConfig) -> None:
    job = await jp.submit_crew_run(crews.one, {"topic": "hunter2 [[status 400]]"}, max_retries=0)
    await events_of(jp, job)
    environment = {"ASYNCJOBS_REDACT": "tests.crewai.hiding:redact"}
    for arguments in (["--json", "jobs", "show", job.id], ["jobs", "show", job.id]):
        command = [sys.executable, "-m", "asyncjobs", "--db", str(config.db_path), *arguments]
        ended = await anyio.run_process(command, env={**os.environ, **environment}, check=False)
        assert ended.returncode == 0, ended.stderr
        printed = ended.stdout.decode()
        assert "Writer" in printed  # the conversation
        state = printed.partition('"run"' if arguments[0] == "--json" else "calls")[2]
        assert "***" in state
        assert "hunter2" not in state


async def test_http_shows_it_redacted_too(jp: JobProcessor) -> None:
    job = await jp.submit_crew_run(crews.one, {"topic": "hunter2 [[status 400]]"}, max_retries=0)
    await events_of(jp, job)
    app = jp.asgi_app(redact=hiding.redact)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
        for query in ("?once=1&limit=1000", ""):  # a page, and the stream
            told = (await client.get(f"/v1/jobs/{job.id}/events{query}")).text
            assert "agent_state" in told
            assert "***" in told
            assert "hunter2" not in told


async def test_an_error_that_cannot_be_told_is_told(jp: JobProcessor) -> None:
    """The error of a tool, whose text cannot be had."""
    job: Any = await jp.submit_flow_run(crews.FailingStrangely, max_retries=0)
    with pytest.raises(JobExecutionError, match="cannot be printed"):
        await job
    assert data_of(await events_of(jp, job), "agent_state")
