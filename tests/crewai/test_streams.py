"""What a page sees of a run: server-sent events of a real server, over connections that are cut."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx
import pytest
import uvicorn

from asyncjobs import JobProcessor
from tests.crewai import crews
from tests.crewai.looking import wait_for

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


@pytest.fixture
async def url(jp: JobProcessor) -> AsyncIterator[str]:
    server = uvicorn.Server(uvicorn.Config(jp.asgi_app(), port=0, log_level="critical"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve)
        await wait_for(lambda: server.started)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        server.should_exit = True


async def read(url: str, after: str | None, most: int) -> tuple[list[dict[str, Any]], str | None, bool]:
    """Read so many events, then cut the connection. The cursor of the last, and whether the stream has ended."""
    headers = {} if after is None else {"Last-Event-ID": after}
    found: list[dict[str, Any]] = []
    name = ""
    async with httpx.AsyncClient(timeout=30) as client, client.stream("GET", url, headers=headers) as answer:
        if answer.status_code == 204:  # the last event was heard already: a browser is told not to connect again
            return found, after, True
        assert answer.status_code == 200
        async for line in answer.aiter_lines():
            field, _, value = line.partition(": ")
            if field == "event":
                name = value
            elif field == "id":
                after = value
            elif field == "data":
                if name == "end":
                    return found, after, True
                found.append(json.loads(value))
            if len(found) >= most:
                return found, after, False
    return found, after, False


async def test_a_stream_that_is_cut_in_an_answer_and_resumed_loses_and_repeats_nothing(
    jp: JobProcessor, url: str
) -> None:
    job = await jp.submit_crew_run(crews.two, {"topic": "noir [[words 60]] [[every 0.03]]", "second": "[[words 60]]"})
    found: list[dict[str, Any]] = []
    after: str | None = None
    ended = False
    connections = 0
    while not ended:
        more, after, ended = await read(f"{url}/v1/jobs/{job.id}/events", after, 7)
        found += more
        connections += 1
    assert connections > 3
    stored = [event async for event in jp.stream_job(job)]
    assert [event["seq"] for event in found] == [event.seq for event in stored]
    texts: dict[str, str] = {}
    for event in found:
        data = event["data"]
        if data.get("kind") == "chunk":
            texts[data["call"]] = texts.get(data["call"], "") + data["text"]
    answers = [event["data"]["text"] for event in found if event["data"].get("kind") == "answer"]
    assert [text.removeprefix("Final Answer: ").strip() for text in texts.values()] == answers
    assert all(len(answer.split()) == 60 for answer in answers)
    paid = [event["data"]["paid"] for event in found if event["type"] == "usage"]
    assert paid[-1]["requests"] == 2
    assert paid[-1]["total_tokens"] > 0
