"""The same app, wherever it is mounted: paths, links, lifespan, and a host that compresses."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import anyio
import httpx
import hypercorn.asyncio
import hypercorn.config
import pytest
from fastapi import FastAPI
from litestar import Litestar, asgi
from litestar.types import Receive, Scope, Send
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Mount

from asyncjobs import BackendClosedError, JobProcessor, MemoryBackend
from tests.web.bodies import add, named
from tests.web.sites import PARSERS, exchange, problem, request
from tests.web.support import ACT, PATIENCE, serving, streaming, until

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:The `root_path` parameter is deprecated"),  # FastAPI's newest say; it works
]

ODD_IDS = ["a/b", "a b", "%2F", "日本/é", "v1", "jobs", "jobs/v1/jobs"]


class Host(NamedTuple):
    """Where the app is: ``asked`` under which path the server sees it, ``seen`` under which path browsers do."""

    make: Callable[[Any], Any]
    asked: str
    seen: str
    options: dict[str, Any] = {}


def in_fastapi(root_path: str) -> Callable[[Any], Any]:
    def make(app: Any) -> Any:
        host = FastAPI(root_path=root_path)
        host.mount("/jobs", app)
        return host

    return make


def in_litestar(app: Any) -> Any:
    @asgi("/jobs", is_mount=True, copy_scope=True)
    async def jobs(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, send)

    # By default it sets up the log of the whole process, at INFO.
    return Litestar([jobs], openapi_config=None, logging_config=None)


def stripped(app: Any) -> Any:
    """As servers do that leave ``root_path`` out of ``path``."""

    async def host(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "root_path": "/api"}, receive, send)

    return host


def without_raw_path(app: Any) -> Any:
    """As servers that do not give what they got."""

    async def host(scope: Any, receive: Any, send: Any) -> None:
        await app({name: value for name, value in scope.items() if name != "raw_path"}, receive, send)

    return host


def dispatched(app: Any) -> Any:
    """As hosts do that leave everything under a path to it, with the path or without its slash."""

    async def host(scope: Any, receive: Any, send: Any) -> None:
        outer = scope.get("root_path", "")
        assert scope["path"].startswith(f"{outer}/jobs")
        await app({**scope, "root_path": f"{outer}/jobs"}, receive, send)

    return host


HOSTS = {
    "alone": Host(lambda app: app, "", ""),
    "alone, behind a proxy that strips": Host(lambda app: app, "", "/api", {"root_path": "/api"}),
    "alone, root_path not in path": Host(stripped, "", "/api"),
    "starlette": Host(lambda app: Starlette(routes=[Mount("/jobs", app)]), "/jobs", "/jobs"),
    "starlette, behind a proxy that strips": Host(
        lambda app: Starlette(routes=[Mount("/jobs", app)]), "/jobs", "/api/jobs", {"root_path": "/api"}
    ),
    "starlette, nested": Host(
        lambda app: Starlette(routes=[Mount("/a", Starlette(routes=[Mount("/b c/jobs", app)]))]),
        "/a/b%20c/jobs",
        "/a/b%20c/jobs",
    ),
    "starlette, by a parameter": Host(
        lambda app: Starlette(routes=[Mount("/of/{tenant}/jobs", app)]), "/of/noir%207/jobs", "/of/noir%207/jobs"
    ),
    "fastapi": Host(in_fastapi(""), "/jobs", "/jobs"),
    "fastapi, behind a proxy that strips": Host(in_fastapi("/api"), "/jobs", "/api/jobs"),
    "fastapi, behind a proxy that does not": Host(in_fastapi("/api"), "/api/jobs", "/api/jobs"),
    "dispatched by hand": Host(dispatched, "/jobs", "/jobs"),
    "dispatched by hand, behind a proxy that strips": Host(dispatched, "/jobs", "/api/jobs", {"root_path": "/api"}),
    "litestar": Host(in_litestar, "/jobs", "/jobs"),
}


@pytest.fixture(params=HOSTS.values(), ids=HOSTS.keys())
def host(request: pytest.FixtureRequest) -> Host:
    return request.param


class Mounted(NamedTuple):
    jp: JobProcessor
    http: httpx.AsyncClient
    host: Host

    def here(self, link: str) -> str:
        """A link as a browser has it, as the server is asked for it."""
        assert link.startswith(f"{self.host.seen}/v1/"), link
        return self.host.asked + link.removeprefix(self.host.seen)

    async def get(self, path: str, **options: Any) -> httpx.Response:
        return await self.http.get(self.host.asked + path, **options)


@asynccontextmanager
async def mounted(host: Host, *, http: str = "h11", **settings: Any) -> AsyncIterator[Mounted]:
    async with JobProcessor(MemoryBackend(), functions=[add]) as jp:
        app = host.make(jp.asgi_app(submit=True, **settings))
        async with serving(app, http=http, **host.options) as url:
            async with httpx.AsyncClient(base_url=url, timeout=PATIENCE) as client:
                yield Mounted(jp, client, host)


# -- paths and links


@pytest.mark.parametrize("http", PARSERS)
async def test_links_lead_where_they_say_under_any_host(host: Host, http: str) -> None:
    async with mounted(host, http=http) as here:
        for path in ("/", "/v1", "/v1/"):
            entry = (await here.get(path)).json()
            assert {link.rpartition("/v1/")[0] for link in entry["links"].values()} == {host.seen}
        for name, link in entry["links"].items():
            if name != "events":
                assert (await here.http.get(here.here(link))).status_code == 200, name
        document = (await here.get("/v1/openapi.json")).json()
        assert document["servers"] == [{"url": host.seen or "/"}]
        assert problem(await here.get("/v1/none"), 404, "not-found")["instance"] == f"{host.seen}/v1/none"


async def test_every_id_is_found_under_any_host(host: Host) -> None:
    async with mounted(host) as here:
        for job_id in ODD_IDS:
            asked = {"function": named(add), "args": [1], "id": job_id, "group": job_id}
            answer = await here.http.post(f"{host.asked}/v1/jobs", json=asked, headers=ACT)
            assert answer.status_code == 202, answer.text
            await here.jp.wait_for_job(job_id, PATIENCE)
            target = here.here(answer.headers["location"])
            for path in ("", "/result", "/logs", "/graph"):
                found = await exchange(str(here.http.base_url), request("GET", target + path))
                assert found.status_code == 200, (job_id, path, found.text)
            assert json.loads(found.content)["nodes"][0]["id"] == job_id
            links = answer.json()["links"]
            assert links["self"] == answer.headers["location"]
            async with streaming(here.http, here.here(links["events"])) as blocks:
                assert (await until(blocks, "end"))[0].json()["job_id"] == job_id
        groups = (await here.get("/v1/groups")).json()["items"]
        assert {group["group"] for group in groups} == set(ODD_IDS)
        for group in groups:
            found = await exchange(str(here.http.base_url), request("GET", here.here(group["links"]["self"])))
            assert json.loads(found.content)["group"] == group["group"]


async def test_the_next_page_is_relative(host: Host) -> None:
    async with mounted(host) as here:
        await here.jp.map_jobs(add, range(3))
        first = await here.get("/v1/jobs?limit=2")
        link = first.headers["link"]
        second = await here.http.get(httpx.URL(str(first.url)).join(link[1 : link.index(">")]))
        assert len(second.json()["items"]) == 1


@pytest.mark.parametrize("name", ["dispatched by hand", "dispatched by hand, behind a proxy that strips", "litestar"])
async def test_without_the_slash_it_redirects_relatively(name: str) -> None:
    """Relative, so that no proxy's prefix is lost; with the query. (Starlette and FastAPI redirect by themselves.)"""
    async with mounted(HOSTS[name]) as here:
        answer = await here.get("", params={"a": "1&2"}, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (307, "jobs/?a=1%262")
        assert (await here.get("", follow_redirects=True)).json()["name"] == "asyncjobs"
        problem(await here.http.post("/jobs", headers=ACT), 405, "method-not-allowed")


async def test_a_server_that_gives_no_raw_path_serves_all_but_slashes_in_ids() -> None:
    async with mounted(Host(without_raw_path, "", "")) as here:
        for job_id in ("a b", "日本", "a%b"):
            await here.jp.submit_job(add, 1, job_id=job_id)
            target = (await here.get("/v1/jobs?limit=1")).json()["items"][0]["links"]["self"]
            assert (await here.get(target)).json()["id"] == job_id


# -- who runs the processor


@pytest.mark.parametrize("http", PARSERS)
async def test_alone_the_app_runs_the_processor(http: str) -> None:
    jp = JobProcessor(MemoryBackend(), functions=[add])
    async with (
        serving(jp.asgi_app(submit=True), lifespan="on", http=http) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        answer = await client.post("/v1/jobs", json={"function": named(add), "args": [1]}, headers=ACT)
        async with streaming(client, answer.json()["links"]["events"]) as blocks:
            assert (await until(blocks, "end"))[-2].event == "completed"
    with pytest.raises(BackendClosedError):
        await jp.get_job("it")


async def test_alone_but_running_already_it_is_left_as_it_is() -> None:
    async with JobProcessor(MemoryBackend()) as jp:
        async with serving(jp.asgi_app(), lifespan="on") as url, httpx.AsyncClient(base_url=url) as client:
            assert (await client.get("/readyz")).status_code == 200
        await jp.submit_job(add, 1)  # the server's end is not its end


async def test_mounted_the_host_runs_it() -> None:
    jp = JobProcessor(MemoryBackend())
    host = FastAPI(lifespan=jp.lifespan)
    host.mount("/jobs", jp.asgi_app())
    async with serving(host, lifespan="on") as url, httpx.AsyncClient(base_url=url) as client:
        assert (await client.get("/jobs/readyz")).status_code == 200
        assert (await client.get("/jobs/v1/jobs")).json() == {"items": [], "next": None}


async def test_mounted_and_run_by_nobody_it_says_so() -> None:
    jp = JobProcessor(MemoryBackend())
    host = FastAPI()
    host.mount("/jobs", jp.asgi_app())
    async with serving(host, lifespan="on") as url, httpx.AsyncClient(base_url=url) as client:
        body = problem(await client.get("/jobs/v1/jobs"), 503, "closed")
        assert "FastAPI(lifespan=jp.lifespan)" in body["hint"]
        assert (await client.get("/jobs/readyz")).status_code == 503


async def test_a_processor_that_cannot_be_started_is_the_end_of_the_server() -> None:
    told = await lifespan_of(JobProcessor(Broken("open")))
    assert [message["type"] for message in told] == ["lifespan.startup.failed"]
    assert "the disk is away" in told[0]["message"]


async def test_a_processor_that_cannot_be_stopped_is_told_as_that() -> None:
    told = await lifespan_of(JobProcessor(Broken("close")))
    assert [message["type"] for message in told] == ["lifespan.startup.complete", "lifespan.shutdown.failed"]


class Broken(MemoryBackend):
    def __init__(self, method: str) -> None:
        super().__init__()
        self._method = method

    async def open(self) -> None:
        if self._method == "open":
            raise OSError("the disk is away")
        await super().open()

    async def close(self) -> None:
        await super().close()
        if self._method == "close":
            raise OSError("the disk is away")


async def lifespan_of(jp: JobProcessor) -> list[dict[str, Any]]:
    """What a server is told while it starts the app and stops it."""
    asked = iter(["lifespan.startup", "lifespan.shutdown"])
    told: list[Any] = []

    async def receive() -> Any:
        return {"type": next(asked)}

    async def send(message: Any) -> None:
        told.append(message)

    await jp.asgi_app()({"type": "lifespan", "asgi": {"version": "3.0"}}, receive, send)
    return told


# -- other hosts and servers


async def test_under_a_host_that_compresses_and_wraps_a_stream_still_streams() -> None:
    async def wrap(request: Any, call_next: Any) -> Any:
        answer = await call_next(request)
        answer.headers["x-wrapped"] = "1"
        return answer

    middleware = [Middleware(GZipMiddleware, minimum_size=1), Middleware(BaseHTTPMiddleware, dispatch=wrap)]
    async with JobProcessor(MemoryBackend()) as jp:
        host = Starlette(routes=[Mount("/jobs", jp.asgi_app())], middleware=middleware)
        async with serving(host) as url, httpx.AsyncClient(base_url=url) as client:
            plain = await client.get("/jobs/v1/jobs")
            assert (plain.headers["content-encoding"], plain.headers["x-wrapped"]) == ("gzip", "1")
            async with streaming(client, "/jobs/v1/events") as blocks:
                for i in range(3):  # each arrives before the next one is there
                    await jp.submit_job(add, i, delay=1000)
                    assert (await until(blocks, "submitted"))[-1].json()["type"] == "submitted"


async def test_there_are_no_websockets() -> None:
    told: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        told.append(message)

    await JobProcessor(MemoryBackend()).asgi_app()({"type": "websocket", "path": "/v1/events"}, receive, send)
    assert [message["type"] for message in told] == ["websocket.close"]


async def test_hypercorn_serves_requests_and_streams(unused_port: int) -> None:
    config = hypercorn.config.Config()
    config.bind = [f"127.0.0.1:{unused_port}"]
    config.errorlog = None
    jp = JobProcessor(MemoryBackend(), functions=[add])
    stop = anyio.Event()
    async with anyio.create_task_group() as tasks:

        async def serve() -> None:
            await hypercorn.asyncio.serve(jp.asgi_app(submit=True), config, shutdown_trigger=stop.wait)

        tasks.start_soon(serve)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{unused_port}", timeout=PATIENCE) as client:
            with anyio.fail_after(PATIENCE):
                while True:
                    try:
                        assert (await client.get("/readyz")).status_code == 200
                        break
                    except httpx.ConnectError:
                        await anyio.sleep(0.01)
            answer = await client.post("/v1/jobs", json={"function": named(add), "args": [1], "id": "a/b"}, headers=ACT)
            assert answer.status_code == 202
            async with streaming(client, "/v1/jobs/a%2Fb/events") as blocks:
                seen = await until(blocks, "end")
            assert [frame.event for frame in seen] == ["submitted", "started", "completed", "end"]
            assert (await client.get("/v1/jobs/a%2Fb/result")).json()["result"] == 1
            head = await client.head("/v1/jobs/a%2Fb")
            assert (head.status_code, head.content) == (200, b"")
            problem(await client.get("/v1/jobs/none"), 404, "job-not-found")
        stop.set()


@pytest.fixture
def unused_port() -> int:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]
