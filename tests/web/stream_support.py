"""Servers and clients for the tests of event streams: uvicorn, hypercorn, and clients that misbehave."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import httpx
import uvicorn
from hypercorn.asyncio import serve as hypercorn
from hypercorn.config import Config as HypercornConfig

from asyncjobs import JobProcessor, current_job
from asyncjobs.backends.base import JobBackend
from asyncjobs.web.app import WebApp
from tests.measuring import first_measured
from tests.web.support import PATIENCE, Frame, Server, frames

UVICORN = first_measured(["h11", "httptools"])
SERVERS = first_measured(["h11", "httptools", "hypercorn"])


async def nothing() -> None:
    pass


async def say(lines: int, size: int = 10) -> None:
    """Emit so many outputs of this size."""
    for n in range(lines):
        current_job().emit("output", {"n": n, "text": "x" * size})
        await anyio.sleep(0)


async def log_text(text: str) -> None:
    current_job().log(text)
    current_job().emit("output", {text[:40]: [text]})


class Site:
    """A processor whose app is served, and a client of it."""

    def __init__(self, jp: JobProcessor, app: WebApp, client: httpx.AsyncClient, server: Server | None) -> None:
        self.jp = jp
        self.app = app
        self.client = client
        self.server = server

    @property
    def port(self) -> int:
        port = self.client.base_url.port
        assert port is not None
        return port

    @asynccontextmanager
    async def stream(self, url: str = "/v1/events", **headers: str) -> AsyncIterator[AsyncIterator[Frame]]:
        """Open a stream that must be one, and give its frames."""
        async with self.client.stream("GET", url, headers={k.replace("_", "-"): v for k, v in headers.items()}) as it:
            assert it.status_code == 200, (await it.aread()).decode()
            blocks = frames(it)
            try:
                yield blocks
            finally:
                await blocks.aclose()

    async def whole(self, url: str, **headers: str) -> list[Frame]:
        """All frames of a stream that ends."""
        with anyio.fail_after(PATIENCE):
            async with self.stream(url, **headers) as blocks:
                return [frame async for frame in blocks]

    async def last_cursor(self) -> str:
        return await self.jp.backend.last_cursor()


@asynccontextmanager
async def site(backend: JobBackend | Any, http: str = "h11", **settings: Any) -> AsyncIterator[Site]:
    """A site on this store; ``http``: one of ``SERVERS``."""
    async with AsyncExitStack() as stack:
        jp = await stack.enter_async_context(JobProcessor(backend, functions=[nothing]))
        app = jp.asgi_app(**settings)
        server: Server | None = None
        if http == "hypercorn":
            url = await stack.enter_async_context(_hypercorn(app))
        else:
            server = Server(uvicorn.Config(app, port=0, http=http, lifespan="off", log_level="critical", backlog=1024))
            url = await stack.enter_async_context(_uvicorn(server))
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=PATIENCE))
        yield Site(jp, app, client, server)
        jp.close_streams()


@asynccontextmanager
async def _uvicorn(server: Server) -> AsyncIterator[str]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve)
        await eventually(lambda: server.started)
        try:
            yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        finally:
            server.should_exit = True


@asynccontextmanager
async def _hypercorn(app: Any) -> AsyncIterator[str]:
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(128)
    port = listening.getsockname()[1]
    config = HypercornConfig()
    config.bind = [f"fd://{listening.detach()}"]  # it is the server's from now on
    config.graceful_timeout = 1.0
    config.errorlog = None
    stop = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: hypercorn(app, config, shutdown_trigger=stop.wait))
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            stop.set()


async def eventually(true: Callable[[], Any], patience: float = PATIENCE) -> None:
    """Wait for something that nobody tells us of."""
    with anyio.fail_after(patience):
        while not true():
            await anyio.sleep(0.005)


async def take(blocks: AsyncIterator[Frame], count: int) -> list[Frame]:
    """The next so many frames."""
    with anyio.fail_after(PATIENCE):
        return [await anext(blocks) for _ in range(count)]


async def take_events(blocks: AsyncIterator[Frame], count: int) -> list[Frame]:
    """The next so many frames with data."""
    found: list[Frame] = []
    with anyio.fail_after(PATIENCE):
        while len(found) < count:
            frame = await anext(blocks)
            if frame.data:
                found.append(frame)
    return found


def deaf(port: int, path: str = "/v1/events") -> socket.socket:
    """A client that asks for a stream and never reads it; with a small window, so that it shows soon."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", port))
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    return client
