"""What the tests of the client share: a client of a served processor, and servers that do as they are told."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx

from asyncjobs.client import JobsClient
from tests.web.sites import Site, site
from tests.web.support import PATIENCE, serving


@asynccontextmanager
async def remote(*functions: Callable[..., Any], **settings: Any) -> AsyncIterator[tuple[Site, JobsClient]]:
    """A served processor, and a client of it that may do everything."""
    async with site(*functions, **({"submit": True} | settings)) as here:
        async with JobsClient(here.url) as client:
            yield here, client


async def streams_closed(client: JobsClient) -> None:
    """Wait until the server has no open stream."""
    with anyio.fail_after(PATIENCE):
        while (await client.stats()).streams:
            pass


class Counting(httpx.AsyncHTTPTransport):
    """Counts requests by what their path ends with."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: Counter[str] = Counter()
        self._more = anyio.Event()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.sent[request.url.path.rpartition("/")[2]] += 1
        self._more.set()
        self._more = anyio.Event()
        return await super().handle_async_request(request)

    async def until(self, name: str, count: int) -> None:
        with anyio.fail_after(PATIENCE):
            while self.sent[name] < count:
                await self._more.wait()


class Losing(httpx.AsyncBaseTransport):
    """Requests arrive; of the first ``lost`` that this is for, the answer does not."""

    def __init__(self, lost: int, method: str = "POST") -> None:
        self.lost = lost
        self.method = method
        self.sent = 0
        self._inner = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._inner.handle_async_request(request)
        if request.method == self.method:
            self.sent += 1
            if self.sent <= self.lost:
                await response.aread()
                raise httpx.ReadError("", request=request)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


@dataclass
class Said:
    """What a scripted server answers: a status, headers, chunks; with ``hangs`` it then says nothing more."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "text/event-stream"})
    chunks: tuple[bytes, ...] = ()
    hangs: bool = False


class Scripted:
    """An ASGI app that answers one request after the other, the last answer again and again."""

    def __init__(self, *said: Said) -> None:
        self.said = list(said)
        self.requests: list[httpx.Request] = []
        self.gone = anyio.Event()
        """A client closed a connection that hung."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        url = f"http://server{scope['path']}?{scope['query_string'].decode()}"
        said = self.said[min(len(self.requests), len(self.said) - 1)]
        self.requests.append(httpx.Request(scope["method"], url, headers=scope["headers"]))
        headers = [(name.encode(), value.encode()) for name, value in said.headers.items()]
        await send({"type": "http.response.start", "status": said.status, "headers": headers})
        for chunk in said.chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        while said.hangs:
            if (await receive())["type"] == "http.disconnect":
                self.gone.set()
                return
        await send({"type": "http.response.body", "body": b""})

    def headers(self, name: str) -> list[str | None]:
        """What the requests had there."""
        return [request.headers.get(name) for request in self.requests]


@asynccontextmanager
async def scripted(*said: Said, **options: Any) -> AsyncIterator[tuple[Scripted, JobsClient]]:
    """A scripted server and a client of it."""
    app = Scripted(*said)
    async with serving(app) as url, JobsClient(url, **options) as client:
        yield app, client


def event(cursor: int, type: str = "output", seq: int = 1) -> bytes:
    """A plain frame."""
    data = (
        f'{{"cursor":"{cursor}","job_id":"a","seq":{seq},"type":"{type}",'
        f'"at":"2026-01-01T00:00:00Z","attempt":1,"status":null,"group":null,"data":{{}}}}'
    )
    return f"id: {cursor}\ndata: {data}\n\n".encode()


def says(type: str, at: int | None = None, /, **data: str) -> bytes:
    """A frame of the stream itself."""
    fields = ",".join(f'"{name}":"{value}"' for name, value in data.items())
    head = "" if at is None else f"id: {at}\n"
    return f'{head}data: {{"type":"{type}","data":{{{fields}}}}}\n\n'.encode()


SOON = b"retry: 0\n\n"
"""Come back as soon as you may."""
