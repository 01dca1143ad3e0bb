"""What a crew has written is handed on to a flow, also by a process that has never run that crew."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from asyncjobs import JobProcessor, SQLiteConfig
from tests.crewai.conftest import Model

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


@asynccontextmanager
async def worker(config: SQLiteConfig) -> AsyncIterator[None]:
    command = [sys.executable, "-W", "ignore", "-m", "tests.crewai.plain_worker", str(config.db_path)]
    async with await anyio.open_process(command, env={**os.environ}) as process:
        try:
            yield
        finally:
            process.kill()


@pytest.mark.parametrize("isolation", ["thread", "process"])
async def test_a_flow_gets_the_text_of_a_crew_that_another_process_has_run(
    config: SQLiteConfig, model: Model, isolation: Any
) -> None:
    async with JobProcessor(config, enable_daemon=False) as jp:
        crew = await jp.submit_crew_run("tests.crewai.crews:one", {"topic": "noir"})
        async with worker(config):
            written = (await jp.wait_for_job(crew.id, timeout=60)).status
        assert written == "completed"
        given = {"given": crew}
        flow = await jp.submit_flow_run("tests.crewai.handing:Shown", given, isolation=isolation, max_retries=0)
        async with worker(config):
            kind, text = await flow.result(timeout=60)
        assert kind == "str"
        assert text.startswith("Final Answer: ") or len(text.split()) == 5
