"""What is stored and cannot be read is a mark over HTTP, in streams and in the client, and ends no answer of others."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from asyncjobs import SQLiteBackend, SQLiteConfig
from asyncjobs.client import JobsClient
from tests.web.bodies import add
from tests.web.sites import Site, site
from tests.web.support import PATIENCE

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def damaged(path: Path, *statements: str, **settings: Any) -> AsyncIterator[Site]:
    """A site with the jobs ``bad`` and ``good``, of which ``bad`` was damaged."""
    async with site(add, backend=SQLiteBackend(SQLiteConfig(db_path=path)), **settings) as here:
        for job_id in ("bad", "good"):
            await here.jp.submit_job(add, 1, 2, job_id=job_id, group="g", metadata={"who": job_id})
            await here.jp.wait_for_job(job_id, PATIENCE)
        connection = sqlite3.connect(path, isolation_level=None)
        for statement in statements:
            connection.execute(statement)
        connection.close()
        yield here


BAD = "(SELECT n FROM jobs WHERE id = 'bad')"
ROWS = {
    "metadata": f"UPDATE jobs SET metadata = '{{' WHERE n = {BAD}",
    "retry policy": "UPDATE jobs SET retry = x'93' WHERE id = 'bad'",
    "created_at": "UPDATE jobs SET created_at = 'once' WHERE id = 'bad'",
}


@pytest.mark.parametrize("what", ROWS)
async def test_a_job_that_cannot_be_read_is_marked_and_listed(tmp_path: Path, what: str) -> None:
    async with damaged(tmp_path / "jobs.db", ROWS[what]) as here:
        one = (await here.get("/v1/jobs/bad")).json()
        assert one["unreadable"].startswith(f"unreadable: {what}")
        page = (await here.get("/v1/jobs")).json()
        assert {job["id"]: job["unreadable"] for job in page["items"]} == {"bad": one["unreadable"], "good": None}
        for part in ("result", "arguments", "attempts", "graph", "why", "logs"):
            answer = await here.get(f"/v1/jobs/bad/{part}")
            assert answer.status_code == 200, (part, answer.text)
        async with JobsClient(here.url) as client:
            assert (await client.get_job("bad")).unreadable == one["unreadable"]


async def test_arguments_that_cannot_be_read_are_marked(tmp_path: Path) -> None:
    async with damaged(tmp_path / "jobs.db", f"UPDATE jobs SET call = x'c1' WHERE n = {BAD}") as here:
        answer = await here.get("/v1/jobs/bad/arguments")
        assert answer.status_code == 200
        assert answer.json()["unreadable"].startswith("unreadable: call")
        assert (await here.get("/v1/jobs/good/arguments")).json()["args"] == [1, 2]


@pytest.mark.parametrize("path", ["/v1/jobs/bad/events", "/v1/groups/g/events", "/v1/events"])
async def test_an_event_that_cannot_be_read_is_marked_in_every_stream(tmp_path: Path, path: str) -> None:
    statement = f"UPDATE events SET data = x'c1' WHERE job = {BAD} AND type = 'started'"
    async with damaged(tmp_path / "jobs.db", statement) as here:
        seen: list[Any] = []
        async with here.http.stream("GET", path, params={"after": "0"}) as stream:
            async for line in stream.aiter_lines():
                if line.startswith("data: "):
                    seen.append(json.loads(line.removeprefix("data: ")))
                if sum(event.get("type") == "completed" for event in seen) == (1 if "bad" in path else 2):
                    break
        [started] = [event for event in seen if event.get("type") == "started" and event["job_id"] == "bad"]
        assert started["data"]["unreadable"].startswith("unreadable: event data")
