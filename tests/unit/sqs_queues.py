"""A queue of SQS, and pollers that poll when a test says so."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from asyncjobs.backends.sqs import hints
from asyncjobs.backends.sqs.backend import SQSBackend
from asyncjobs.backends.sqs.clients import Clients
from asyncjobs.backends.sqs.hints import Received
from asyncjobs.backends.sqs.poller import Poller
from tests import sqs_server

TABLE = "0123456789abcdef"


class Queue:
    """A queue of its own. ``call`` makes a call about it."""

    def __init__(self, clients: Clients, url: str) -> None:
        self.clients, self.url = clients, url

    async def call(self, operation: str, **request: Any) -> Any:
        return await getattr(self.clients.sqs, operation)(QueueUrl=self.url, **request)

    async def send(self, *bodies: str) -> None:
        for body in bodies:
            await self.call("send_message", MessageBody=body)

    async def hint(self, *jobs: str, table: str = TABLE) -> None:
        await self.send(*(hints.encode(table, job, "lane") for job in jobs))

    async def counts(self) -> tuple[int, int]:
        """Return how many messages can be received, and how many are hidden."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = (await self.call("get_queue_attributes", AttributeNames=names))["Attributes"]
        return int(found[names[0]]), int(found[names[1]])

    def poller(self, visibility: int = 60) -> tuple[Poller, list[Sequence[Received]]]:
        """Return a poller without a thread, and the list into which it puts what it brings."""
        brought: list[Sequence[Received]] = []
        poller = Poller(
            lambda: self.clients.connect("sqs"),
            self.url,
            TABLE,
            brought.append,
            self.clients.server_time.now,
            wait_time=0,
            visibility=visibility,
        )
        return poller, brought


@asynccontextmanager
async def queues() -> AsyncGenerator[Clients]:
    clients = await Clients.open(sqs_server.config())
    try:
        yield clients
    finally:
        await clients.close()


async def make(clients: Clients, **attributes: str) -> Queue:
    name = sqs_server.config().queue_url
    return Queue(clients, (await clients.sqs.create_queue(QueueName=name, Attributes=attributes))["QueueUrl"])


def without_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have pollers poll only when a test says so."""
    monkeypatch.setattr(Poller, "_run", lambda poller: None)


async def poll(backend: SQSBackend) -> int:
    """Poll once for as many messages as there is room for, and take them in; return how many hints came."""
    messages = backend._parts.messages
    brought = 0
    for poller in messages.pollers.values():
        if count := wanted(poller):
            brought += await anyio.to_thread.run_sync(poller.poll, min(10, count))
    await anyio.lowlevel.checkpoint()  # after which ``call_soon`` has been
    await anyio.lowlevel.checkpoint()
    return brought


def wanted(poller: Poller) -> int:
    return poller._wanted


def queue_of(backend: SQSBackend, name: str = "") -> Queue:
    """Return the queue of a store for the jobs of one of its queues."""
    parts = backend._parts
    return Queue(parts.clients, parts.messages._urls[name])


def table_id(backend: SQSBackend) -> str:
    return backend._parts.outbox._table_id
