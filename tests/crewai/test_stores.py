"""Runs on the other stores; SQLite has all the rest."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import anyio
import pytest
from crewai.crews.crew_output import CrewOutput

from asyncjobs import BackendType, DaemonConfig, JobProcessor, RetryPolicy, SQSConfig
from tests import aws_emulators, sqs_server
from tests.crewai import crews
from tests.crewai.conftest import Model
from tests.crewai.looking import data_of, events_of

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]


async def test_in_memory(model: Model) -> None:
    async with JobProcessor(BackendType.MEMORY) as jp:
        crew = await jp.submit_crew_run(crews.three, {"topic": "noir"})
        flow = await jp.submit_flow_run(crews.WithCrew, depends_on=[crew])
        assert isinstance(await crew, CrewOutput)
        assert isinstance(await flow, CrewOutput)
        assert data_of(await events_of(jp, crew), "agent_output", "chunk")


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> SQSConfig:
    if aws_emulators.ministack() is None:
        if os.environ.get("ASYNCJOBS_REQUIRE_AWS") == "1":
            pytest.fail("make .venv-aws/stamp installs the emulator")
        pytest.skip("make .venv-aws/stamp installs the emulator")
    for name, value in sqs_server.CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    return sqs_server.config()


async def test_in_sqs_a_run_is_killed_and_taken_up_again(store: SQSConfig, model: Model, tmp_path: Path) -> None:
    async with JobProcessor(store, enable_daemon=False) as jp:
        retry = RetryPolicy(max_retries=3, base=0.1)
        job = await jp.submit_crew_run(crews.two, {"topic": "noir [[slow 0.5]]", "second": "[[slow 3]]"}, retry=retry)
        fields = {name: getattr(store, name) for name in ("table", "queue_url", "endpoint_url", "region", "wait_time")}
        command = [sys.executable, "-W", "ignore", "-m", "tests.crewai.dying_worker", json.dumps(fields), "1"]
        ended = await anyio.run_process(command, env={**os.environ}, check=False)
        assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    async with JobProcessor(store, daemon=DaemonConfig(allowed_modules=["tests.crewai"])) as jp:
        assert (await jp.handle(job.id).result(timeout=120)).raw
        events = await events_of(jp, job.id)
    finished = model.finished()
    assert len(finished) == len(set(finished)) == 2
    assert data_of(events, "usage")[-1]["replayed"]["requests"] == 1
