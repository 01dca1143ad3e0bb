"""Hold the messages that were received: until a claim looks at them, then until their jobs have ended."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from asyncjobs.backends.base import ClaimRequest
from asyncjobs.backends.sqs import hints
from asyncjobs.backends.sqs.claims import Looked
from asyncjobs.backends.sqs.errors import translated
from asyncjobs.backends.sqs.hints import Kind, Received
from asyncjobs.backends.sqs.outbox import Outbox
from asyncjobs.backends.sqs.poller import Poller
from asyncjobs.backends.sqs.room import Room
from asyncjobs.config import SQSConfig
from asyncjobs.daemon_threads import in_thread
from asyncjobs.exceptions import BackendError
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs.sqs")

_AT_ONCE = 10
_UNTAKEN = 2.0
"""Seconds after which a message goes back that no claim has taken: perhaps all slots are full."""
_HIDDEN_AT_MOST = 11 * 3600
"""Seconds after which a message is let go, of the 12 hours that it can be hidden; the lease carries on."""


class Arrived(Struct, frozen=True):
    """A message that no claim has used yet. ``declined`` are the workers whose claims have looked at it."""

    message: Received
    at: float
    declined: set[str]


class Messages:
    """The messages of this process.

    :param urls: the address of the queue for each queue of ours that has one of its own; ``""`` for all others.
    :param server_time: returns the time of AWS.
    :param call_soon: calls a function in the event loop, from any thread.
    :param arrived: called in the event loop when messages have arrived.
    """

    def __init__(
        self,
        client: Any,
        connect: Callable[[], Any],
        config: SQSConfig,
        urls: Mapping[str, str],
        table_id: str,
        outbox: Outbox,
        server_time: Callable[[], int],
        call_soon: Callable[..., object],
        arrived: Callable[[], object],
    ) -> None:
        self._client = client
        self._urls = urls
        self._visibility = config.visibility_timeout
        self._wait_time = config.wait_time
        self._outbox = outbox
        self._arrived = arrived
        self._room = Room()
        self._received: dict[str, Arrived] = {}
        self._kept: dict[str, tuple[Received, float]] = {}

        def brought(found: Sequence[Received]) -> None:
            call_soon(self._take_in, found)

        self.pollers = {
            url: Poller(
                connect,
                url,
                table_id,
                brought,
                server_time,
                wait_time=config.wait_time,
                visibility=config.visibility_timeout,
            )
            for url in dict.fromkeys(urls.values())
        }

    def counts(self) -> dict[str, int]:
        """Return how many messages were received that are no hints for this table, and how many could not be sent."""
        strange: Counter[Kind] = Counter()
        for poller in self.pollers.values():
            strange.update(poller.strange)
        found = {kind.name.lower(): count for kind, count in strange.items()} | {"unsent": self._outbox.unsent}
        return {name: count for name, count in found.items() if count}

    @property
    def polls_fail(self) -> bool:
        """Whether a queue could not be polled the last time."""
        return any(poller.fails for poller in self.pollers.values())

    # -- polling

    def _take_in(self, found: Sequence[Received]) -> None:
        now = time.monotonic()
        for message in found:
            self._received[message.job] = Arrived(message, now, set())
        self._arrived()

    def _serves(self, queues: Collection[str] | None, url: str) -> bool:
        return queues is None or any(self._urls.get(queue, self._urls[""]) == url for queue in queues)

    def _poll(self) -> None:
        """Poll each queue for as many messages as the workers that serve it have room for, beside those that wait."""
        room = list(self._room)
        held = Counter(each.message.queue for each in self._received.values())
        for url, poller in self.pollers.items():
            free = sum(free for _, free, queues in room if self._serves(queues, url))
            poller.want(max(0, free - held[url]))

    def forget(self, worker: str) -> None:
        """Poll no more for a worker that is gone."""
        self._room.forget(worker)
        self._poll()

    # -- claims

    def take(self, claim: ClaimRequest) -> dict[str, Arrived]:
        """Return what has arrived, for a claim to look at; those that ran out of time are left to others.

        Until it is settled, there is no poll for the slots that it may fill.
        """
        self._room.begin(claim.worker, claim.limit, claim.queues)
        self._poll()
        if not claim.limit:
            return {}
        now = time.monotonic()
        received = {job_id: each for job_id, each in self._received.items() if each.message.until > now}
        taken = {job_id: each for job_id, each in received.items() if claim.worker not in each.declined}
        self._received = {job_id: each for job_id, each in received.items() if job_id not in taken}
        return taken

    def put_back(self, claim: ClaimRequest, taken: Mapping[str, Arrived]) -> None:
        """Leave messages to the next claim, or to ``extend``: this one failed."""
        self._room.end(claim.worker, claim.limit)
        self._received = {**taken, **self._received}
        self._poll()

    async def settle(
        self, claim: ClaimRequest, taken: Mapping[str, Arrived], looked: Looked, claimed: Collection[str]
    ) -> None:
        """Keep the messages of claimed jobs, pass on those of others that are ready, and delete the rest.

        They are passed on to the other workers of this process that have room, or else given back.
        """
        self._room.end(claim.worker, claim.limit - len(claimed))
        filled = len(claimed) >= claim.limit
        now = time.monotonic()
        useless: list[Received] = []
        given_back: dict[Received, int] = {}
        for job_id, each in taken.items():
            message = each.message
            if job_id in claimed:
                self._kept[job_id] = (message, now)
            elif job_id not in looked.ready:
                useless.append(message)
            elif self._offered(claim.worker, job_id, each):
                pass
            elif filled and job_id in looked.runnable:
                given_back[message] = 0
            elif message.received <= hints.GIVEN_BACK_UP_TO:
                given_back[message] = hints.hidden_for(message.received)
            else:
                useless.append(message)
        self._poll()
        await self._delete(useless)
        await self._hide(given_back)

    def _offered(self, by: str, job_id: str, each: Arrived) -> bool:
        """Offer a message that a worker did not use to those of this process that have room; return if there are any.

        They may have looked for messages while the other one had them.
        """
        each.declined.add(by)
        offered = any(
            worker not in each.declined and self._serves(queues, each.message.queue) for worker, _, queues in self._room
        )
        if offered:
            self._received.setdefault(job_id, each)
            self._arrived()
        return offered

    async def ended(self, ids: Iterable[str]) -> None:
        """Delete the messages of jobs that ended, or went back."""
        kept = [self._kept.pop(job_id) for job_id in ids if job_id in self._kept]
        await self._delete([message for message, _ in kept])

    async def send(self) -> None:
        """Send what is to be sent, and give back what no claim takes."""
        await self._outbox.send()
        if self._received:
            await self._give_back_untaken()

    async def _give_back_untaken(self) -> None:
        since = time.monotonic() - _UNTAKEN
        untaken = [job_id for job_id, each in self._received.items() if each.at < since]
        await self._hide({self._received.pop(job_id).message: 0 for job_id in untaken})

    async def extend(self) -> None:
        """Hide the messages of running jobs for longer, and give back what no claim takes: with each heartbeat."""
        await self._give_back_untaken()
        now = time.monotonic()
        old = [job_id for job_id, (_, since) in self._kept.items() if now - since > _HIDDEN_AT_MOST]
        await self._delete([self._kept.pop(job_id)[0] for job_id in old])
        await self._hide({message: self._visibility for message, _ in self._kept.values()})

    async def _hide(self, messages: Mapping[Received, int]) -> None:
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
        await self._outbox.send()
        for url, poller in self.pollers.items():
            if poller.stop() and self._wait_time:
                await self._outbox.end_poll(url)
        for poller in self.pollers.values():
            await in_thread(poller.join)
        left = [*(each.message for each in self._received.values()), *(message for message, _ in self._kept.values())]
        self._received, self._kept = {}, {}
        await self._hide(dict.fromkeys(left, 0))
