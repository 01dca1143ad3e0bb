"""Processes that ask a store of SQS, whose indexes lag behind."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from asyncjobs.backends.sqs import provisioning
from asyncjobs.backends.sqs.clients import Clients
from asyncjobs.backends.sqs.finding import Finding
from asyncjobs.backends.sqs.numbers import numbers_of
from asyncjobs.backends.sqs.queries import Queries
from asyncjobs.backends.sqs.ready_index import ReadyIndex
from asyncjobs.backends.sqs.server_clock import StoreClock
from asyncjobs.backends.sqs.submitting import Submitting
from asyncjobs.core import commands
from asyncjobs.core.plan import Plan
from asyncjobs.models import JobPage
from asyncjobs.requests import JobQuery
from asyncjobs.testing import ManualClock
from tests import sqs_server
from tests.unit.sqs_lag import LaggingClient
from tests.unit.sqs_support import Process


class Asker(Process):
    """A process with all that answers questions."""

    def __init__(self, clients: Clients, table: str, clock: StoreClock, shards: int) -> None:
        self.lagging = LaggingClient(clients.dynamodb, table)
        super().__init__(self.lagging, table, clock, shards)
        self.index = ReadyIndex(self.transitions, self.known)
        self.queries = Queries(self.transitions)
        self.finding = Finding(self.transitions, self.known, self.queries, self.index)
        self.submitting = Submitting(self.transitions, numbers_of(table), self.index.announced)

    async def found(self, **query: object) -> list[str]:
        return [job.id for job in await self.page(**query)]

    async def page(self, **query: object) -> JobPage:
        return await self.finding.find(JobQuery(**query))

    async def promote(self, job_id: str) -> None:
        def promote(plan: Plan) -> None:
            commands.promote(plan, list(plan.numbers([job_id]).values()))

        await self.transitions.commit(promote)


class Asked:
    """A store, and the clock of its processes."""

    def __init__(self, clients: Clients, table: str, shards: int) -> None:
        self.clients = clients
        self.clock = ManualClock()
        self._table = table
        self._shards = shards

    def process(self) -> Asker:
        clock = StoreClock(self.clock, self.clients.server_time)
        return Asker(self.clients, self._table, clock, self._shards)


@asynccontextmanager
async def asked() -> AsyncGenerator[Asked]:
    config = sqs_server.config()
    clients = await Clients.open(config)
    try:
        checked = await provisioning.prepare(config, clients)
        yield Asked(clients, config.table, checked.shards)
    finally:
        await clients.close()
