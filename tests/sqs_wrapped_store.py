"""A store of SQS whose clients a test changes: it has them fail, or looks at their calls."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from copy import copy
from typing import Any

from asyncjobs.backends.sqs import provisioning
from asyncjobs.backends.sqs.backend import SQSBackend
from asyncjobs.backends.sqs.clients import Clients
from asyncjobs.backends.sqs.parts import Parts
from asyncjobs.backends.sqs.server_clock import StoreClock
from asyncjobs.clock import Clock
from asyncjobs.config import SQSConfig
from tests import sqs_server
from tests.sqs_faults import FaultyPolls, FaultyQueue, MessageFaults


class WrappedSQSBackend(SQSBackend):
    """A store whose clients are changed once it is open.

    :param wrap: changes them.
    :param shared: clients that are open, and whose connections it uses: see ``shared_clients``.
    """

    def __init__(
        self,
        config: SQSConfig,
        *,
        clock: Clock | None = None,
        wrap: Callable[[Clients], None],
        shared: Clients | None = None,
    ) -> None:
        super().__init__(config, clock=clock)
        self._wrap = wrap
        self._shared = shared

    async def _connect(self) -> Parts:
        clients = await Clients.open(self.config) if self._shared is None else _at_same_connections(self._shared)
        checked = await provisioning.prepare(self.config, clients)
        self._wrap(clients)
        return Parts(self.config, clients, StoreClock(self._given_clock, clients.server_time), self._listeners, checked)


@asynccontextmanager
async def shared_clients() -> AsyncGenerator[Clients]:
    """Open clients for several stores: to make them takes as long as sixty calls."""
    clients = await Clients.open(sqs_server.config())
    try:
        yield clients
    finally:
        await clients.close()


def _at_same_connections(clients: Clients) -> Clients:
    """Return clients of which each can be changed, and that leave the connections open when they are closed."""

    async def close() -> None:
        pass

    same: Any = copy(clients)
    same.close = close
    return same


def break_messages(clients: Clients, faults: MessageFaults, seed: int) -> None:
    """Let messages fail, whichever client they come through."""
    connect = clients.connect
    clients.sqs = FaultyQueue(clients.sqs, faults, seed)

    def polls(service: str, *how: Any) -> Any:
        client = connect(service, *how)
        return FaultyPolls(client, faults, seed) if service == "sqs" else client

    clients.connect = polls
