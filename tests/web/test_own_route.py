"""Streams in routes of a program's own: ``jp.sse_response`` is a whole response, ``jp.subscribe_sse`` its frames."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.responses import StreamingResponse
from starlette.routing import Route

from asyncjobs import BackendClosedError, ConfigurationError, JobProcessor, MemoryBackend
from asyncjobs.testing import FaultyBackend
from tests.web.bodies import add, talk
from tests.web.sites import being_left, problem
from tests.web.support import PATIENCE, Frame, names, parse, serving, streaming, until

pytestmark = pytest.mark.anyio

JOB = "/jobs/{job_id:path}"


def fastapi(jp: JobProcessor) -> FastAPI:
    app = FastAPI()

    @app.get("/jobs/{job_id:path}")
    async def of_job(job_id: str, request: Request, after: str | None = None) -> Any:
        return jp.sse_response(request, job_id=job_id, after=after)

    @app.get("/groups/{group}")
    async def of_group(group: str, request: Request, types: str | None = None) -> Any:
        return jp.sse_response(request, group=group, types=types)

    @app.get("/all")
    async def of_all(request: Request) -> Any:
        return jp.sse_response(request, plain=True)

    return app


def starlette(jp: JobProcessor) -> Starlette:
    async def of_job(request: Any) -> Any:
        return jp.sse_response(request, job_id=request.path_params["job_id"], after=request.query_params.get("after"))

    async def of_group(request: Any) -> Any:
        types = request.query_params.get("types")
        return jp.sse_response(request, group=request.path_params["group"], types=types)

    async def of_all(request: Any) -> Any:
        return jp.sse_response(request, plain=True)

    return Starlette(routes=[Route(JOB, of_job), Route("/groups/{group}", of_group), Route("/all", of_all)])


class Here:
    def __init__(self, jp: JobProcessor, client: httpx.AsyncClient) -> None:
        self.jp = jp
        self.client = client

    async def whole(self, url: str, **headers: str) -> list[Frame]:
        """All frames of a stream that ends."""
        with anyio.fail_after(PATIENCE):
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            async with streaming(self.client, url, headers=names) as blocks:
                return [frame async for frame in blocks if frame.data]


@asynccontextmanager
async def site(make: Any, backend: Any = None, **options: Any) -> AsyncIterator[Here]:
    jp = JobProcessor(backend or MemoryBackend(), functions=[add, talk])
    async with jp, serving(make(jp), **options) as url, httpx.AsyncClient(base_url=url, timeout=PATIENCE) as client:
        yield Here(jp, client)
        jp.close_streams()


@pytest.fixture(params=[fastapi, starlette])
async def here(request: pytest.FixtureRequest) -> AsyncIterator[Here]:
    async with site(request.param) as made:
        yield made


# -- sse_response


async def test_it_is_what_the_mounted_app_answers(here: Here) -> None:
    job = await here.jp.submit_job(add, 1, job_id="a/b")
    await job
    mounted = here.jp.asgi_app()
    async with serving(mounted) as url, httpx.AsyncClient() as client:
        theirs = await client.get(f"{url}/v1/jobs/a%2Fb/events")
        own = await here.client.get("/jobs/a/b")
        assert own.status_code == theirs.status_code == 200
        for name in ("content-type", "cache-control", "x-accel-buffering", "x-content-type-options"):
            assert own.headers[name] == theirs.headers[name]
        assert own.text.partition("\n\n")[2] == theirs.text.partition("\n\n")[2]  # but for the first retry:


async def test_it_follows_and_ends_with_the_job(here: Here) -> None:
    job = await here.jp.submit_job(add, 1, delay=0.2)
    frames = await here.whole(f"/jobs/{job}")
    assert names(frames) == ["submitted", "started", "completed", "end"]


async def test_it_goes_on_after_the_last_event_id_and_after_what_the_page_knows(here: Here) -> None:
    job = await here.jp.submit_job(add, 1)
    await job
    whole = await here.whole(f"/jobs/{job}")
    assert names(await here.whole(f"/jobs/{job}", Last_Event_ID=whole[0].id or "")) == ["started", "completed", "end"]
    assert names(await here.whole(f"/jobs/{job}?after={whole[1].id}")) == ["completed", "end"]
    assert names(await here.whole(f"/jobs/{job}", Last_Event_ID="")) == names(whole)
    answer = await here.client.get(f"/jobs/{job}", headers={"Last-Event-ID": whole[-1].id or ""})
    assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.parametrize("cursor", ["abc", "-1", "1.5", "9" * 30, "None"])
async def test_a_last_event_id_that_is_none_is_reset(here: Here, cursor: str) -> None:
    """A browser repeats what it got from whoever served this path before, and an error would end it for good."""
    job = await here.jp.submit_job(add, 1)
    await job
    frames = await here.whole(f"/jobs/{job}", Last_Event_ID=cursor)
    assert names(frames) == ["reset", "end"]
    assert frames[0].json()["reason"] == "cursor"


@pytest.mark.parametrize("path", ["/jobs/nobody", "/groups/nobody", "/jobs/" + "x" * 600, "/jobs/%0A"])
async def test_what_is_not_there_is_404(here: Here, path: str) -> None:
    answer = await here.client.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


async def test_of_a_group_and_of_all(here: Here) -> None:
    await here.jp.submit_job(add, 1, group="g")
    await (await here.jp.submit_job(add, 1))
    await here.jp.drain()
    assert names(await here.whole("/groups/g?types=completed")) == ["completed", "end"]
    async with streaming(here.client, "/all") as blocks:
        seen = [frame async for frame in _first(blocks, 7)]
    assert {frame.event for frame in seen} == {"message"}
    assert [frame.json()["type"] for frame in seen if frame.data].count("completed") == 2


async def _first(blocks: AsyncIterator[Frame], count: int) -> AsyncIterator[Frame]:
    with anyio.fail_after(PATIENCE):
        for _ in range(count):
            yield await anext(blocks)


async def test_secrets_are_hidden_as_in_the_mounted_app(here: Here) -> None:
    job = await here.jp.submit_job(talk, "hi")
    await job
    assert "hunter2" not in "".join(frame.data for frame in await here.whole(f"/jobs/{job}"))


async def test_both_a_job_and_a_group_is_a_mistake_of_the_program(here: Here) -> None:
    request = Request({"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""})
    with pytest.raises(ConfigurationError, match="not both"):
        here.jp.sse_response(request, job_id="a", group="b")


async def test_headers_that_the_route_sets_are_sent_as_well() -> None:
    def make(jp: JobProcessor) -> Starlette:
        async def route(request: Any) -> Any:
            response = jp.sse_response(request, job_id="job")
            response.set_cookie("seen", "yes")
            response.headers["x-mine"] = "1"
            return response

        return Starlette(routes=[Route("/", route)])

    async with site(make) as here:
        await (await here.jp.submit_job(add, 1, job_id="job"))
        answer = await here.client.get("/")
        assert (answer.headers["set-cookie"][:8], answer.headers["x-mine"]) == ("seen=yes", "1")
        assert answer.headers.get_list("content-type") == ["text/event-stream; charset=utf-8"]


async def test_background_tasks_of_the_route_run_when_it_has_ended() -> None:
    done = anyio.Event()

    def make(jp: JobProcessor) -> Starlette:
        async def route(request: Any) -> Any:
            response = jp.sse_response(request, job_id="job")
            response.background = BackgroundTask(done.set)
            return response

        return Starlette(routes=[Route("/", route)])

    async with site(make) as here:
        await (await here.jp.submit_job(add, 1, job_id="job"))
        await here.whole("/")
        with anyio.fail_after(PATIENCE):
            await done.wait()


async def test_when_the_processor_is_left_streams_say_bye(here: Here) -> None:
    job = await here.jp.submit_job(add, 1, delay=3600)
    async with streaming(here.client, f"/jobs/{job}") as blocks:
        await until(blocks, "submitted")
        here.jp.close_streams()
        assert names(await until(blocks, "bye")) == ["bye"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_when_the_server_stops_streams_end_before_it_waits_for_them(here: Here) -> None:
    class Stopping:
        should_exit = False

        def handle_exit(self, *_: object) -> None: ...

    server = Stopping()
    before = signal.signal(signal.SIGTERM, server.handle_exit)
    try:
        job = await here.jp.submit_job(add, 1, delay=3600)
        async with streaming(here.client, f"/jobs/{job}") as blocks:
            await until(blocks, "submitted")
            server.should_exit = True
            assert names(await until(blocks, "bye")) == ["bye"]
    finally:
        signal.signal(signal.SIGTERM, before)


async def test_a_store_that_is_away_is_a_stream_that_comes_back() -> None:
    store = FaultyBackend(MemoryBackend())
    async with site(fastapi, store) as here:
        job = await here.jp.submit_job(add, 1, delay=3600)
        store.fail("read_events")
        [reset] = await here.whole(f"/jobs/{job}")
        assert (reset.event, reset.json()["reason"]) == ("reset", "store")


async def test_outside_of_the_processor_it_is_503() -> None:
    jp = JobProcessor(MemoryBackend())
    async with serving(fastapi(jp)) as url, httpx.AsyncClient() as client:
        problem(await client.get(f"{url}/jobs/x"), 503, BackendClosedError.code)


async def test_while_the_processor_is_left_new_streams_say_when_to_come_back() -> None:
    async with being_left(fastapi) as (jp, client):
        for path in ("/jobs/it", "/groups/g", "/jobs/nobody"):
            answer = await client.get(path)
            assert (answer.status_code, parse(answer.text).event) == (200, "bye")
        assert names(await chunks(jp, job_id="it")) == ["bye"]


# -- subscribe_sse


async def chunks(jp: JobProcessor, **options: Any) -> list[Frame]:
    with anyio.fail_after(PATIENCE):
        text = b"".join([chunk async for chunk in jp.subscribe_sse(**options)]).decode()
    return [frame for frame in map(parse, text.split("\n\n")) if frame.data]


async def test_frames_of_an_unknown_job_are_one_end() -> None:
    async with JobProcessor(MemoryBackend()) as jp:
        for options in ({}, {"after": "5"}, {"after": "abc"}, {"types": "completed"}):
            raw = [chunk async for chunk in jp.subscribe_sse(job_id="nobody", **options)]
            assert len(raw) == 1
            assert (parse(raw[0].decode()).event, parse(raw[0].decode()).retry) == ("end", None)
        assert names(await chunks(jp, group="nobody")) == ["end"]


async def test_an_empty_cursor_is_none_and_what_is_no_cursor_is_reset() -> None:
    async with JobProcessor(MemoryBackend()) as jp:
        job = await jp.submit_job(add, 1, group="g")
        await job
        for wanted in ({"job_id": job}, {"group": "g"}):
            assert names(await chunks(jp, **wanted, after="")) == ["submitted", "started", "completed", "end"]
            for cursor in ("abc", "é", "-5", "9" * 40):
                assert names(await chunks(jp, **wanted, after=cursor)) == ["reset", "end"]


async def test_a_job_that_is_removed_while_it_is_streamed_ends() -> None:
    async with JobProcessor(MemoryBackend(), enable_daemon=False) as jp:
        job = await jp.submit_job(add, 1)
        frames = jp.subscribe_sse(job_id=job)
        assert b"event: submitted" in await anext(frames)
        await jp.cancel_job(job)
        await jp.remove_jobs([job])
        with anyio.fail_after(PATIENCE):
            rest = b"".join([chunk async for chunk in frames])
        assert b"event: end" in rest


async def test_a_store_that_goes_away_says_when_to_come_back() -> None:
    store = FaultyBackend(MemoryBackend())
    async with JobProcessor(store, enable_daemon=False) as jp:
        await jp.submit_job(add, 1)
        store.fail("read_events")
        [reset] = await chunks(jp)
        assert (reset.event, reset.json()["reason"]) == ("reset", "store")
        assert 5000 <= (reset.retry or 0) <= 7500


async def test_outside_of_the_processor_nothing_has_begun() -> None:
    with pytest.raises(BackendClosedError):
        await chunks(JobProcessor(MemoryBackend()))


async def test_as_the_body_of_a_streaming_response() -> None:
    async with JobProcessor(MemoryBackend()) as jp:
        job = await jp.submit_job(add, 1)
        await job

        async def route(request: Any) -> Any:
            return StreamingResponse(jp.subscribe_sse(job_id=job), media_type="text/event-stream")

        async with serving(Starlette(routes=[Route("/", route)])) as url, httpx.AsyncClient() as client:
            assert (await client.get(url)).text.count("event: ") == 4
