"""What the tests of the HTTP interface share: a served processor, requests byte for byte, problems."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import httpx
import msgspec

from asyncjobs import BackendClosedError, JobProcessor, MemoryBackend
from asyncjobs.backends.base import JobBackend
from tests.measuring import first_measured
from tests.runtime.support import Held
from tests.web.support import PATIENCE, serving

PARSERS = first_measured(["h11", "httptools"])
"""The HTTP parsers of uvicorn, for tests in which parsing matters."""


@dataclass
class Site:
    """A processor and a client of the app that serves it."""

    jp: JobProcessor
    http: httpx.AsyncClient

    @property
    def url(self) -> str:
        return str(self.http.base_url).rstrip("/")

    async def get(self, path: str, **options: Any) -> httpx.Response:
        return await self.http.get(path, **options)

    async def post(self, path: str, json: Any = None, **options: Any) -> httpx.Response:
        """With the header of a request that changes something."""
        headers = {"X-Asyncjobs": "1"} | options.pop("headers", {})
        if json is not None:
            options["json"] = json
        return await self.http.post(path, headers=headers, **options)


@asynccontextmanager
async def site(
    *functions: Callable[..., Any],
    http: str = "h11",
    works: bool = True,
    backend: JobBackend | None = None,
    **settings: Any,
) -> AsyncIterator[Site]:
    """Serve a processor of these functions under ``asgi_app(**settings)``. ``works``: it runs jobs."""
    async with JobProcessor(backend or MemoryBackend(), enable_daemon=works, functions=functions) as jp:
        async with serving(jp.asgi_app(**settings), http=http) as url:
            async with httpx.AsyncClient(base_url=url, timeout=PATIENCE) as client:
                yield Site(jp, client)


@asynccontextmanager
async def being_left(make: Callable[[JobProcessor], Any]) -> AsyncIterator[tuple[JobProcessor, httpx.AsyncClient]]:
    """A processor that is being left while a job runs, and a client of the app that ``make`` made of it."""
    held, leave = Held(), anyio.Event()
    jp = JobProcessor(MemoryBackend())

    async def run() -> None:
        async with jp:
            await jp.submit_job(held.body, job_id="it", group="g", local=True)
            await leave.wait()

    async with serving(make(jp)) as url, httpx.AsyncClient(base_url=url, timeout=PATIENCE) as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            await held.started.wait()
            leave.set()
            with anyio.fail_after(PATIENCE):
                while is_open(jp):
                    await anyio.sleep(0.001)  # threads need the interpreter, too
            yield jp, client
            held.go.open()


def is_open(jp: JobProcessor) -> bool:
    try:
        return bool(jp.backend)
    except BackendClosedError:
        return False


def problem(answer: httpx.Response | Answer, status: int, code: str) -> dict[str, Any]:
    """The body of an answer that must be this problem."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = msgspec.json.decode(answer.content)
    assert (body["status"], body["code"], body["type"]) == (status, code, f"urn:asyncjobs:problem:{code}")
    assert body["title"]
    assert body["detail"]
    assert code == "job-failed" or "Traceback" not in answer.text
    return body


@dataclass
class Answer:
    """What came back for bytes that no client library would send."""

    status_code: int
    headers: httpx.Headers
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode(errors="replace")

    @property
    def is_ours(self) -> bool:
        """The server did not answer it by itself."""
        return "x-request-id" in self.headers


async def exchange(url: str, *parts: bytes) -> Answer:
    """Send these bytes, read until the server closes. Have it close: ``Connection: close``."""
    address = httpx.URL(url)
    received = bytearray()
    with anyio.fail_after(PATIENCE):
        async with await anyio.connect_tcp(address.host, address.port or 80) as stream:
            try:
                for part in parts:
                    await stream.send(part)
            except anyio.BrokenResourceError:
                pass  # it answered before it had read everything
            try:
                while True:
                    received += await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                pass
    head, _, content = bytes(received).partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    return Answer(int(first.split()[1]), httpx.Headers(pairs), content)


def request(
    method: str, target: str | bytes, *headers: str, host: str | None = "localhost", body: bytes = b""
) -> bytes:
    """The bytes of a request, as they are given; ``host`` None: without that header."""
    target = target.encode() if isinstance(target, str) else target
    lines = [f"Host: {host}"] if host is not None else []
    lines += [*headers, "Connection: close"]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return (
        method.encode() + b" " + target + b" HTTP/1.1\r\n" + "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
    )


@contextmanager
def case(*what: object) -> Iterator[None]:
    """One of several that share a server: a failure names it."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"in the case {what!r}")
        raise
