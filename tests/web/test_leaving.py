"""While a processor is left: its app answers as one that will be back, and an event stream is never a 503."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from asyncjobs import JobProcessor, MemoryBackend
from asyncjobs.web.app import WebApp
from tests.web.sites import being_left, problem
from tests.web.support import PATIENCE, parse, serving, streaming, until

pytestmark = pytest.mark.anyio

STREAMS = ["/v1/events", "/v1/jobs/it/events", "/v1/groups/g/events"]


def mounted(jp: JobProcessor) -> Any:
    return jp.asgi_app()


@pytest.mark.parametrize("path", STREAMS)
async def test_a_new_stream_says_when_to_come_back(path: str) -> None:
    async with being_left(mounted) as (_, client), streaming(client, path, headers={"Last-Event-ID": "1"}) as blocks:
        [bye] = [frame async for frame in blocks]
    assert (bye.event, bye.json()["reason"]) == ("bye", "shutdown")
    assert bye.retry is not None
    assert bye.retry >= 1000


async def test_a_new_stream_of_lines_does_so_too() -> None:
    async with being_left(mounted) as (_, client):
        answer = await client.get("/v1/events", headers={"Accept": "application/x-ndjson"})
    assert (answer.status_code, answer.json()["type"]) == (200, "bye")


async def test_anything_else_is_refused_with_what_is_the_matter() -> None:
    async with being_left(mounted) as (_, client):
        for path in ("/v1/jobs", "/v1/jobs/it", "/v1/events?once=1"):
            answer = await client.get(path)
            told = problem(answer, 503, "closed")
            assert "shutting down" in told["detail"]
            assert "restarted" in told["hint"]  # and not how an app is mounted
            assert answer.headers["retry-after"] == "1"


async def test_streams_that_are_opened_once_the_server_stops_end_at_once() -> None:
    """Between the end of the open streams and that of the listening socket there is a moment."""
    async with JobProcessor(MemoryBackend()) as jp:
        app: WebApp = jp.asgi_app()
        async with serving(app) as url, httpx.AsyncClient(base_url=url, timeout=PATIENCE) as client:
            async with streaming(client, "/v1/events?after=0") as blocks:
                app.streams.close_for_good()
                assert (await until(blocks, "bye"))[-1].json()["reason"] == "shutdown"
            for _ in range(2):
                answer = await client.get("/v1/events?after=0")
                said = [parse(block) for block in answer.text.split("\n\n")]
                assert (answer.status_code, [frame.event for frame in said if frame.data][-1]) == (200, "bye")
