"""Put the parts of an open store together, in one place."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import structs

from asyncjobs.backends.base import ClaimRequest, ClaimResult, Finding
from asyncjobs.backends.listeners import Listeners
from asyncjobs.backends.sqs import finding, schema
from asyncjobs.backends.sqs.checkup import Checkup
from asyncjobs.backends.sqs.claims import Claims
from asyncjobs.backends.sqs.clients import Clients
from asyncjobs.backends.sqs.deciding import Deciding
from asyncjobs.backends.sqs.dependents import Dependents
from asyncjobs.backends.sqs.gates import Gates
from asyncjobs.backends.sqs.heartbeat import Heartbeat
from asyncjobs.backends.sqs.known import Known
from asyncjobs.backends.sqs.limits import Limits
from asyncjobs.backends.sqs.log import Log
from asyncjobs.backends.sqs.messages import Messages
from asyncjobs.backends.sqs.numbers import numbers_of
from asyncjobs.backends.sqs.outbox import Outbox
from asyncjobs.backends.sqs.provisioning import prepare
from asyncjobs.backends.sqs.queries import Queries
from asyncjobs.backends.sqs.ready_index import ReadyIndex
from asyncjobs.backends.sqs.removal import Removal
from asyncjobs.backends.sqs.rows import Row
from asyncjobs.backends.sqs.running import Running
from asyncjobs.backends.sqs.server_clock import StoreClock
from asyncjobs.backends.sqs.sharing import Sharing
from asyncjobs.backends.sqs.steps import Steps
from asyncjobs.backends.sqs.submitting import Submitting
from asyncjobs.backends.sqs.sweep import Sweep
from asyncjobs.backends.sqs.table import Table
from asyncjobs.backends.sqs.transitions import Transitions
from asyncjobs.backends.sqs.waiting import Waiting
from asyncjobs.backends.sqs.workers import Workers, number_of
from asyncjobs.clock import Clock
from asyncjobs.config import SQSConfig
from asyncjobs.core.state import NewEvent
from asyncjobs.daemon_threads import in_thread
from asyncjobs.exceptions import BackendError
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs.sqs")


class Parts:
    """The parts of a store that is open."""

    def __init__(
        self,
        config: SQSConfig,
        clients: Clients,
        clock: StoreClock,
        listeners: Listeners,
        checked: schema.Checked,
    ) -> None:
        table = Table(clients.dynamodb, config.table, clients.bucket(config))
        self._config = config
        self._checked = checked
        self.clients = clients
        self.clock = clock
        self.known = Known()
        names: dict[int, tuple[str, str]] = {}
        numbers = numbers_of(config.table)
        self.transitions = Transitions(
            table,
            clock,
            names,
            listeners,
            self._noticed,
            self._stored,
            shards=checked.shards,
            denials=clients.denials,
            doubted=self.known.forget,
        )
        self.dependents = Dependents(self.transitions)
        self.heartbeat = Heartbeat(lambda: clients.connect("dynamodb"), config.table, clock)
        self.workers = Workers(self.transitions, self.dependents, numbers, names, self.heartbeat, self._counts)
        self.index = ReadyIndex(self.transitions, self.known, self._sharing_looks)
        self.outbox = Outbox(clients.sqs, checked.urls, checked.table_id, self.known)
        self.messages = Messages(
            clients.sqs,
            lambda: clients.connect("sqs", config.wait_time + 10),
            config,
            checked.urls,
            checked.table_id,
            self.outbox,
            clients.server_time.now,
            asyncio.get_running_loop().call_soon_threadsafe,
            lambda: self.waiting.wake(),
        )
        self.sharing = Sharing(
            clock,
            checked.shards,
            self.known,
            self.index,
            self.outbox,
            lambda: self.workers.others,
            lambda: self.messages.polls_fail,
        )
        self.claims = Claims(
            self.transitions, self.known, self.index, self.sharing, self.workers.hand, self.workers.met_another
        )
        self.running = Running(self.transitions, self.known, self.workers.hand, number_of)
        self.submitting = Submitting(self.transitions, numbers, self.index.announced)
        self.deciding = Deciding(self.transitions)
        self.gates = Gates(self.transitions, self.submitting, numbers)
        self.limits = Limits(self.transitions, self.known)
        self.steps = Steps(self.transitions, self.known, number_of)
        self.queries = Queries(self.transitions)
        self.finding = finding.Finding(self.transitions, self.known, self.queries, self.index)
        self.log = Log(self.transitions)
        self.removal = Removal(self.transitions, self.known, self.log.highest)
        self.sweep = Sweep(
            self.transitions, self.dependents, self.index, self.log, schema.Identity(table, checked.table_id)
        )
        self.waiting = Waiting(clock, self.log, self.messages)
        self._settling: set[str] = set()

    def _sharing_looks(self) -> int:
        """Return how many others look for what this process has to know, and send messages for it."""
        return 0 if self.messages.polls_fail else self.workers.others

    def _noticed(self, row: Row) -> None:
        self.known.notice(row)
        self.outbox.notice(row)

    def _stored(self, events: Sequence[tuple[Row, NewEvent]]) -> None:
        self.log.stored(events)

    async def claim(self, claim: ClaimRequest) -> ClaimResult:
        """Promote what came due, admit it where there are limits, and claim; poll for messages if slots stay free."""
        await self.sweep.promote()
        await self.follow([])
        await self.workers.look_for_others()
        received = self.messages.take(claim)
        try:
            claims, looked = await self.claims.claim(
                claim, {job_id: each.message.delay for job_id, each in received.items()}
            )
        except BaseException:
            self.messages.put_back(claim, received)
            raise
        if claims.lost:
            self.messages.put_back(claim, received)
            self.messages.forget(claim.worker)
            return claims
        await self.messages.settle(claim, received, looked, {job.attempt.job_id for job in claims.jobs})
        await self.follow([])
        moments = [moment for moment in (claims.next_due, await self.index.next_due()) if moment is not None]
        return structs.replace(claims, next_due=self.clock.on_host(min(moments)) if moments else None)

    async def reap(self) -> list[str]:
        """Take back what workers held whose leases have run out, and look for what was left undone."""
        return await self.transitions.upkeep.do(self._reap, [])

    async def _reap(self) -> list[str]:
        taken = await self.workers.reap()
        await self._sweep()
        await self.follow([])
        return taken

    async def _sweep(self) -> None:
        if await self.sweep.step():
            self.waiting.wake()  # to claim by the index: a message may be lost, and the index was old when it was read

    async def end_due_gates(self) -> list[str]:
        """End the gates whose deadline has come, and now and then look for what else is due or was left undone.

        Every process that has the store open calls it all the time, also one without a worker.
        """
        return await self.transitions.upkeep.do(self._end_due_gates, [])

    async def _end_due_gates(self) -> list[str]:
        await self._sweep()
        ended, owed = await self.gates.end_due()
        await self.follow(owed)
        return ended

    async def follow(self, owed: Sequence[Row]) -> None:
        """See to what follows from writes: settle the dependents of these rows, and admit to limited keys."""
        ids = {row.id for row in owed}
        self._settling |= ids
        try:
            await self.dependents.settle(owed, self.workers.settled)
        finally:
            self._settling -= ids
        limits = self.transitions.limits
        while limits:
            key, capacity = limits.popitem()
            try:
                await self.limits.admit(key, capacity)
            except BaseException:  # whoever follows next does it
                self.transitions.limited([key], {} if capacity is None or limits.get(key) else {key: capacity})
                raise

    async def settle_left(self) -> None:
        """Settle the jobs that workers of this process have ended, where that has failed; no sweep knows of them."""
        for row in self.workers.owing():
            if row.id in self._settling:
                continue
            try:
                await self.follow([row])
            except BackendError as error:
                logger.debug("the dependents of %s are not settled yet: %s", row.id, error)

    def _counts(self) -> Mapping[str, int]:
        return {**self.messages.counts(), **self.clients.throttling.counts()}

    async def checkup(self) -> list[Finding]:
        """Look at what an operator should know."""
        urls = self._checked.urls.values()
        return await Checkup(self.transitions, self.index, self.workers, self.clients, urls).findings()

    async def health(self) -> Mapping[str, Any]:
        """Describe the store for an operator."""
        about = await schema.describe(self._config, self.clients)
        return {**about, "messages": await self.workers.message_counts()}

    async def close(self) -> None:
        """End what runs beside the calls, and close the connections."""
        self.waiting.close()
        await in_thread(self.heartbeat.close)
        await self.messages.close()
        await self.clients.close()


async def connect(config: SQSConfig, clock: Clock | None, listeners: Listeners) -> Parts:
    """Open the connections, and check the table, the queues and the bucket."""
    clients = await Clients.open(config)
    try:
        checked = await prepare(config, clients)
        parts = Parts(config, clients, StoreClock(clock, clients.server_time), listeners, checked)
        clients.denials.begin(lambda: parts.workers.any_here)
        clients.outages.begin()
        return parts
    except BaseException:
        await clients.close()
        raise
