"""Real servers on free ports, and readers of what they send."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx
import uvicorn

PATIENCE = 20.0
"""Seconds after which a test gives up on what should happen at once."""
TOKEN = "a-token-of-the-tests-0123456789"
ACT = {"X-Asyncjobs": "1"}
"""The header of a request that changes something."""


class Server(uvicorn.Server):
    """uvicorn in the test's own loop. Signals are the test runner's."""

    @contextmanager
    def capture_signals(self):
        yield


@asynccontextmanager
async def serving(app: Any, *, http: str = "h11", lifespan: str = "off", **options: Any) -> AsyncIterator[str]:
    """Serve an ASGI app; yields its base URL, such as ``http://127.0.0.1:40123``."""
    config = uvicorn.Config(
        app, port=0, http=http, lifespan=lifespan, log_level="warning", timeout_graceful_shutdown=2, **options
    )
    server = Server(config)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve)
        with anyio.fail_after(PATIENCE):
            while not server.started:
                await anyio.sleep(0.005)  # uvicorn has no event for it
        try:
            yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        except BaseException:
            for listener in server.servers:
                listener.close()  # a failing test cancels the server, which then does not
            raise
        finally:
            server.should_exit = True


@dataclass
class Frame:
    """One block of an event stream."""

    id: str | None = None
    event: str = "message"
    data: str = ""
    retry: int | None = None
    comments: list[str] = field(default_factory=list)

    def json(self) -> Any:
        return json.loads(self.data)


def parse(block: str) -> Frame:
    """A block, by the rules of the HTML standard: only \\r\\n, \\n and \\r end a line."""
    frame = Frame()
    data: list[str] = []
    for line in block.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            continue
        if not name:
            frame.comments.append(value)
        elif name == "data":
            data.append(value)
        elif name == "id":
            frame.id = value
        elif name == "event":
            frame.event = value
        elif name == "retry":
            frame.retry = int(value)
    frame.data = "\n".join(data)
    return frame


async def frames(response: httpx.Response) -> AsyncGenerator[Frame]:
    """The blocks of an event stream as they come."""
    rest = ""
    async for text in response.aiter_text():
        rest += text
        while "\n\n" in rest:
            block, _, rest = rest.partition("\n\n")
            yield parse(block)


@asynccontextmanager
async def streaming(client: httpx.AsyncClient, url: str, **options: Any) -> AsyncIterator[AsyncGenerator[Frame]]:
    """Open a stream that must be one, and give its frames."""
    async with client.stream("GET", url, timeout=httpx.Timeout(PATIENCE), **options) as response:
        assert response.status_code == 200, (await response.aread()).decode()
        assert response.headers["content-type"].startswith("text/event-stream")
        blocks = frames(response)
        try:
            yield blocks
        finally:
            await blocks.aclose()


def names(frames: Iterable[Frame]) -> list[str]:
    """The types of these frames, but for those that only keep the connection open."""
    return [frame.event for frame in frames if frame.data]


async def until(blocks: AsyncIterator[Frame], event: str) -> list[Frame]:
    """Frames up to and with the first of this name; those without data are left out."""
    seen: list[Frame] = []
    with anyio.fail_after(PATIENCE):
        async for frame in blocks:
            if frame.data:
                seen.append(frame)
            if frame.event == event and frame.data:
                return seen
    raise AssertionError(f"the stream ended without {event!r}: {[frame.event for frame in seen]}")
