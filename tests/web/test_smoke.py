"""The whole way once: submit, watch, read."""

from __future__ import annotations

import httpx
import pytest

from asyncjobs import JobProcessor, SQLiteConfig
from tests.web.support import ACT, serving, streaming, until

pytestmark = pytest.mark.anyio


async def add(a: int, b: int) -> int:
    return a + b


@pytest.mark.parametrize("http", ["h11", "httptools"])
async def test_a_job_from_its_submission_to_its_result(tmp_path, http) -> None:
    async with JobProcessor(SQLiteConfig(db_path=tmp_path / "jobs.db"), functions=[add]) as jp:
        async with serving(jp.asgi_app(submit=True), http=http) as url, httpx.AsyncClient(base_url=url) as client:
            answer = await client.post(
                "/v1/jobs", json={"function": f"{__name__}:add", "args": [1, 2], "id": "a/b"}, headers=ACT
            )
            assert answer.status_code == 202, answer.text
            location = answer.headers["location"]
            assert location == "/v1/jobs/a%2Fb"
            async with streaming(client, f"{location}/events") as blocks:
                seen = await until(blocks, "end")
            assert [frame.event for frame in seen] == ["submitted", "started", "completed", "end"]
            result = await client.get(f"{location}/result")
            assert result.json() == {"id": "a/b", "status": "completed", "result": 3}
