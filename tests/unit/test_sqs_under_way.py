"""A store that is closed while calls are under way: each ends at once, however much of its answer has arrived."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import anyio
import pytest

from asyncjobs.backends.sqs.clients import Clients
from asyncjobs.backends.sqs.table import Table
from asyncjobs.config import SQSConfig
from asyncjobs.exceptions import BackendClosedError

pytestmark = pytest.mark.anyio
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: 1000\r\n"


CONFIG = SQSConfig(region="eu-west-1", bucket="values")


def table_of(clients: Clients) -> Table:
    return Table(clients.dynamodb, "jobs", clients.bucket(CONFIG))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class StalledServer:
    """Answers each request with the same bytes, and then no more."""

    def __init__(self) -> None:
        self.says = b""
        self.has_said = anyio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(self.says)
            await writer.drain()
            self.has_said.set()
            await reader.read()
        finally:
            writer.close()


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[StalledServer]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    stalled = StalledServer()
    listening = await asyncio.start_server(stalled.serve, "127.0.0.1", 0)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}")
    async with listening:
        yield stalled


@pytest.fixture
async def clients(server: StalledServer) -> AsyncIterator[Clients]:
    opened = await Clients.open(CONFIG)
    yield opened
    await opened.close()


ANSWERS = {
    "nothing": b"",
    "half of the head": HEAD,
    "the head": HEAD + b"\r\n",
    "half of all": HEAD + b'\r\n{"Item": {',
}


@pytest.mark.parametrize("service", ["DynamoDB", "S3"])
@pytest.mark.parametrize("says", ANSWERS)
async def test_a_call_that_waits_for_the_rest_of_its_answer_is_cut_off(
    server: StalledServer, clients: Clients, service: str, says: str
) -> None:
    server.says = ANSWERS[says]
    table = table_of(clients)
    refused: list[BackendClosedError] = []

    async def ask() -> None:
        with pytest.raises(BackendClosedError) as error:
            await (table.get([("a", "b")]) if service == "DynamoDB" else table.bucket.get("values/key"))
        refused.append(error.value)

    with anyio.fail_after(8):  # less than a call waits for its answer
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await server.has_said.wait()
            for _ in range(20):  # what has been said is read, in a turn or two
                await anyio.lowlevel.checkpoint()
            await clients.close()
    assert len(refused) == 1


async def test_a_call_after_the_closing_is_refused_and_opens_no_connection(
    server: StalledServer, clients: Clients
) -> None:
    await clients.close()
    with pytest.raises(BackendClosedError):
        await table_of(clients).get([("a", "b")])
    assert not server.has_said.is_set()


async def test_a_caller_that_is_cancelled_is_not_told_that_the_store_is_closed(
    server: StalledServer, clients: Clients
) -> None:
    with anyio.move_on_after(0.2) as scope:
        await table_of(clients).get([("a", "b")])
    assert scope.cancelled_caught
