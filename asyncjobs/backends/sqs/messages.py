"""Send a message for each job that became ready, and hold those that were received until their jobs have ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import islice
from typing import Any

from asyncjobs.backends.sqs import hints, keys
from asyncjobs.backends.sqs.errors import translated
from asyncjobs.backends.sqs.hints import Poller, Received
from asyncjobs.backends.sqs.known import Known
from asyncjobs.backends.sqs.rows import Row
from asyncjobs.config import SQSConfig
from asyncjobs.daemon_threads import in_thread
from asyncjobs.exceptions import BackendError
from asyncjobs.models import JobStatus, WaitsFor
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs.sqs")

_AT_ONCE = 10
_MOST_WAITING = 10_000
"""Jobs whose message was not sent yet: what is more is found by the index of ready jobs."""
_UNTAKEN = 2.0
"""Seconds after which a message goes back that no claim has taken: perhaps all slots are full."""
_HIDDEN_AT_MOST = 11 * 3600
"""Seconds after which a message is let go, of the 12 hours that it can be hidden; the lease carries on."""


class Messages:
    """The messages of this process: those to be sent, and those that were received.

    :param urls: the address of the queue for each queue of ours that has one of its own; ``""`` for all others.
    :param call_soon: calls a function in the event loop, from any thread.
    :param arrived: called in the event loop when messages have arrived.
    """

    def __init__(
        self,
        client: Any,
        connect: Callable[[], Any],
        config: SQSConfig,
        urls: dict[str, str],
        table_id: str,
        known: Known,
        call_soon: Callable[..., object],
        arrived: Callable[[], object],
    ) -> None:
        self._client = client
        self._urls = urls
        self._table_id = table_id
        self._known = known
        self._visibility = config.visibility_timeout
        self._wait_time = config.wait_time
        self._arrived = arrived
        self._outbox: dict[str, str] = {}  # the lane of each job that became ready, by id
        self._received: dict[str, Received] = {}
        self._arrived_at = 0.0
        self._kept: dict[str, tuple[Received, float]] = {}
        self.unsent = 0
        """Messages that could not be sent."""

        def brought(found: Sequence[Received]) -> None:
            call_soon(self._take_in, found)

        self._pollers = {
            url: Poller(
                connect, url, table_id, brought, wait_time=config.wait_time, visibility=config.visibility_timeout
            )
            for url in dict.fromkeys(urls.values())
        }

    # -- sending

    def notice(self, row: Row) -> None:
        """Remember to send a message for a job that is ready; forget it for one that is not any more."""
        state = row.state
        if state.status is JobStatus.PENDING and state.waits_for is WaitsFor.WORKER and row.fixed.owner is None:
            if len(self._outbox) < _MOST_WAITING:
                self._outbox[row.id] = keys.lane(row.fixed.lane)
        else:
            self._outbox.pop(row.id, None)

    async def send(self) -> None:
        """Send what is still ready and was not claimed by this process meanwhile. A failure is only counted."""
        while self._outbox:
            batch = dict(islice(self._outbox.items(), _AT_ONCE))
            for job_id in batch:
                del self._outbox[job_id]
            by_url: dict[str, dict[str, str]] = {}
            for job_id, lane in batch.items():
                by_url.setdefault(self._url_for(job_id), {})[job_id] = lane
            for url, jobs in by_url.items():
                await self._send(url, jobs)

    def _url_for(self, job_id: str) -> str:
        row = self._known.row(job_id)
        queue = "" if row is None else row.fixed.queue
        return self._urls.get(queue, self._urls[""])

    async def _send(self, url: str, jobs: dict[str, str]) -> None:
        entries = [
            {"Id": str(place), "MessageBody": hints.encode(self._table_id, job_id, lane)}
            for place, (job_id, lane) in enumerate(jobs.items())
        ]
        try:
            with translated(f"SQS SendMessageBatch to {url}"):
                answer = await self._client.send_message_batch(QueueUrl=url, Entries=entries)
        except BackendError as error:
            self._count_unsent(len(entries), error)
            return
        if failed := answer.get("Failed", ()):
            self._count_unsent(len(failed), failed[0].get("Message"))

    def _count_unsent(self, count: int, why: object) -> None:
        if not self.unsent:
            logger.warning("messages cannot be sent, so work spreads at the pace of the sweep: %s", why)
        self.unsent += count

    # -- receiving

    def want(self, count: int, queues: Collection[str] | None) -> None:
        """Poll for as many messages as a worker has free slots; 0 stops it."""
        for url, poller in self._pollers.items():
            serves = queues is None or any(self._urls.get(queue, self._urls[""]) == url for queue in queues)
            poller.want(count if serves else 0)

    def _take_in(self, found: Sequence[Received]) -> None:
        self._arrived_at = time.monotonic()
        for message in found:
            self._received[message.job] = message
        self._arrived()

    def take(self) -> dict[str, Received]:
        """Return what has arrived, for a claim to look at; those that ran out of time are left to others."""
        now = time.monotonic()
        taken, self._received = self._received, {}
        return {job_id: message for job_id, message in taken.items() if message.until > now}

    async def settle(self, taken: dict[str, Received], claimed: Collection[str], ready: Collection[str]) -> None:
        """Keep the messages of jobs that were claimed, give back those of others that are ready, delete the rest."""
        now = time.monotonic()
        useless: list[Received] = []
        given_back: list[Received] = []
        for job_id, message in taken.items():
            if job_id in claimed:
                self._kept[job_id] = (message, now)
            elif job_id in ready and message.received <= hints.GIVEN_BACK_UP_TO:
                given_back.append(message)
            else:
                useless.append(message)
        await self._delete(useless)
        await self._hide({message: hints.hidden_for(message.received) for message in given_back})

    async def ended(self, ids: Iterable[str]) -> None:
        """Delete the messages of jobs that ended, or went back."""
        kept = [self._kept.pop(job_id) for job_id in ids if job_id in self._kept]
        await self._delete([message for message, _ in kept])

    async def extend(self) -> None:
        """Hide the messages of running jobs for longer, and give back what no claim takes: with each heartbeat."""
        now = time.monotonic()
        if now - self._arrived_at > _UNTAKEN:
            await self._hide(dict.fromkeys(self.take().values(), 0))
        old = [job_id for job_id, (_, since) in self._kept.items() if now - since > _HIDDEN_AT_MOST]
        await self._delete([self._kept.pop(job_id)[0] for job_id in old])
        await self._hide({message: self._visibility for message, _ in self._kept.values()})

    async def _hide(self, messages: dict[Received, int]) -> None:
        await self._batches(
            "change_message_visibility_batch",
            [(m.queue, {"ReceiptHandle": m.handle, "VisibilityTimeout": seconds}) for m, seconds in messages.items()],
        )

    async def _delete(self, messages: Iterable[Received]) -> None:
        await self._batches(
            "delete_message_batch", [(message.queue, {"ReceiptHandle": message.handle}) for message in messages]
        )

    async def _batches(self, operation: str, entries: Sequence[tuple[str, dict[str, Any]]]) -> None:
        by_url: dict[str, list[dict[str, Any]]] = {}
        for url, entry in entries:
            by_url.setdefault(url, []).append(entry)
        for url, found in by_url.items():
            for start in range(0, len(found), _AT_ONCE):
                batch = [{"Id": str(place), **entry} for place, entry in enumerate(found[start : start + _AT_ONCE])]
                try:
                    with translated(f"SQS {operation} on {url}"):
                        await getattr(self._client, operation)(QueueUrl=url, Entries=batch)
                except BackendError as error:  # a message that stays is received again, and found useless then
                    logger.debug("%s on %s failed: %s", operation, url, error)

    async def close(self) -> None:
        """Send what is left to be sent, stop polling, and give back what nobody looked at.

        A poll that is under way is not cut short, since it could take a message along: a message of our own ends it,
        if it is not another process that gets it.
        """
        await self.send()
        for url, poller in self._pollers.items():
            if poller.stop() and self._wait_time:
                await self._send(url, {hints.NO_JOB: ""})
        for poller in self._pollers.values():
            await in_thread(poller.join)
        left = [*self._received.values(), *(message for message, _ in self._kept.values())]
        self._received, self._kept = {}, {}
        await self._hide(dict.fromkeys(left, 0))
