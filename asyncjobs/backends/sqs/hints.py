"""Spread ready jobs over the daemons by messages: each is a hint that only one daemon gets.

A lost hint costs time, a late or doubled one nothing: the table says whether its job is ready.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from msgspec import DecodeError, Struct, ValidationError, json

from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs.sqs")

_AT_ONCE = 10
"""Messages of one call."""
_LONGEST_DELAY = 900
"""Seconds that a message can be delayed."""
GIVEN_BACK_UP_TO = 5
"""Receptions after which a message that this daemon cannot use is deleted: the index of ready jobs has its job."""
_LONGEST_HIDDEN = 60
_FIRST_WAIT = 1
_PAUSE = 1.0
"""Seconds between two polls that do not wait."""
NO_JOB = ""
"""The job of a message that only ends a poll, whichever process gets it."""


class Hint(Struct, frozen=True, rename={"version": "v", "table": "t", "job": "j", "lane": "l"}):
    """The body of a message. ``table`` is the random id of the table that it is for."""

    version: int
    table: str
    job: str
    lane: str


class Received(Struct, frozen=True):
    """A hint as it was received."""

    queue: str
    handle: str
    job: str
    received: int
    until: float
    """``time.monotonic()`` when it becomes visible again."""


_decoder = json.Decoder(Hint)


def encode(table: str, job: str, lane: str) -> str:
    """Return the body of a message."""
    return json.encode(Hint(1, table, job, lane)).decode()


class Poller:
    """A thread with a long poll on a queue, for as long as a worker of this process has free slots.

    It is a thread, so that no cancellation cuts a poll short, which could take a message that then nobody has.

    :param connect: makes the thread's own client, of botocore.
    :param brought: called in the thread with what a poll brought.
    """

    def __init__(
        self,
        connect: Callable[[], Any],
        queue_url: str,
        table_id: str,
        brought: Callable[[Sequence[Received]], None],
        *,
        wait_time: int,
        visibility: int,
    ) -> None:
        self._connect = connect
        self._queue = queue_url
        self._table_id = table_id
        self._brought = brought
        self._wait_time = wait_time
        self._visibility = visibility
        self._changed = threading.Condition()
        self._wanted = 0
        self._closed = False
        self._thread: threading.Thread | None = None
        self._client: Any = None
        self._failures = 0
        self._wait = min(_FIRST_WAIT, wait_time)
        self.foreign = 0
        """Messages that were received and are not of this table."""

    def want(self, count: int) -> None:
        """Poll for up to this many messages; 0 ends polling after the poll that is under way."""
        with self._changed:
            self._wanted = count
            if count and self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="asyncjobs-sqs-poll", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def stop(self) -> bool:
        """Begin no more polls; return whether one is under way."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            return self._thread is not None and self._thread.is_alive()

    def join(self) -> None:
        """Block until the poll that is under way is over; what it brings is given back."""
        if self._thread is not None:
            self._thread.join(self._wait_time + 10)

    # -- in the thread

    def _run(self) -> None:
        try:
            while (count := self._next()) is not None:
                self._poll(count)
        finally:
            if self._client is not None:
                self._client.close()

    def _next(self) -> int | None:
        with self._changed:
            while not self._closed:
                if self._failures:
                    self._changed.wait_for(lambda: self._closed, min(30.0, 0.2 * 2.0**self._failures))
                    if self._wanted and not self._closed:
                        return min(_AT_ONCE, self._wanted)
                elif self._wanted:
                    return min(_AT_ONCE, self._wanted)
                else:
                    self._changed.wait()
            return None

    def _poll(self, count: int) -> None:
        try:
            if self._client is None:
                self._client = self._connect()
            began = time.monotonic()
            answer = self._client.receive_message(
                QueueUrl=self._queue,
                MaxNumberOfMessages=count,
                WaitTimeSeconds=self._wait,
                VisibilityTimeout=self._visibility,
                AttributeNames=["ApproximateReceiveCount"],
            )
            found = self._read(answer.get("Messages", ()), began)
            self._failures = 0
            # A short wait while there is work, so that leaving does not take long; the full one when idle.
            self._wait = min(self._wait_time, _FIRST_WAIT if found else 2 * max(1, self._wait))
            with self._changed:
                if not found and not self._wait_time:
                    self._changed.wait_for(lambda: self._closed, _PAUSE)
                closed = self._closed
                self._wanted = max(0, self._wanted - len(found))
            if closed:
                self.give_back(found, 0)
            elif found:
                self._brought(found)
        except Exception as error:  # border: without messages, work goes on at the pace of the sweep
            if not self._failures:
                logger.warning("the queue %s cannot be polled: %s", self._queue, error)
            self._failures = min(self._failures + 1, 8)

    def _read(self, messages: Iterable[Any], began: float) -> list[Received]:
        found: list[Received] = []
        for message in messages:
            received = int(message.get("Attributes", {}).get("ApproximateReceiveCount", 1))
            try:
                hint = _decoder.decode(message["Body"])
            except (DecodeError, ValidationError, UnicodeError):
                self._strange(message, received)
                continue
            if hint.table != self._table_id:
                self._strange(message, received)
                continue
            if hint.job == NO_JOB:
                self._client.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
                continue
            until = began + self._visibility
            found.append(Received(self._queue, message["ReceiptHandle"], hint.job, received, until))
        return found

    def _strange(self, message: Any, received: int) -> None:
        """Give back what is not ours: it may be another program's, or another table's."""
        if not self.foreign:
            logger.warning("the queue %s has messages that are not of this store; they are given back", self._queue)
        self.foreign += 1
        self._hide(message["ReceiptHandle"], hidden_for(received))

    def give_back(self, messages: Iterable[Received], hidden: int | None = None) -> None:
        """Make messages visible for others, at once or after a while that grows with how often they were received."""
        for message in messages:
            self._hide(message.handle, hidden_for(message.received) if hidden is None else hidden)

    def _hide(self, handle: str, seconds: int) -> None:
        self._client.change_message_visibility(QueueUrl=self._queue, ReceiptHandle=handle, VisibilityTimeout=seconds)


def hidden_for(received: int) -> int:
    """Return for how many seconds a message is hidden that was received so often and could not be used."""
    return min(_LONGEST_HIDDEN, 2 ** min(10, max(0, received - 1)))
