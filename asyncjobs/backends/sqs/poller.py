"""Poll a queue in a thread, for as long as a worker of this process has free slots."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from asyncjobs.backends.sqs import hints
from asyncjobs.backends.sqs.errors import translated
from asyncjobs.backends.sqs.hints import Kind, Received
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs.sqs")

_AT_ONCE = 10
"""Messages of one call."""
_FIRST_WAIT = 1
_PAUSE = 1.0
"""Seconds between two polls that do not wait."""
_DROPPED = (Kind.MALFORMED, Kind.END_OF_POLL)


class Poller:
    """A thread with a long poll on a queue.

    It is a thread, so that no cancellation cuts a poll short, which could take a message that then nobody has.

    :param connect: makes the thread's own client, of botocore.
    :param brought: called in the thread with what a poll brought.
    :param server_time: returns the time of AWS, µs since the epoch.
    """

    def __init__(
        self,
        connect: Callable[[], Any],
        queue_url: str,
        table_id: str,
        brought: Callable[[Sequence[Received]], None],
        server_time: Callable[[], int],
        *,
        wait_time: int,
        visibility: int,
    ) -> None:
        self._connect = connect
        self._queue = queue_url
        self._table_id = table_id
        self._brought = brought
        self._server_time = server_time
        self._wait_time = wait_time
        self._visibility = visibility
        self._changed = threading.Condition()
        self._wanted = 0
        self._closed = False
        self._polling = False
        self._thread: threading.Thread | None = None
        self._client: Any = None
        self._failures = 0
        self._reported = False
        self._wait = min(_FIRST_WAIT, wait_time)
        self.strange: Counter[Kind] = Counter()
        """Messages that were received and are no hints for this table, by what they are."""

    @property
    def fails(self) -> bool:
        """Whether the last poll failed: no message comes for the moment."""
        return self._failures > 0

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
            return self._polling

    def join(self) -> None:
        """Block until the poll that is under way is over; what it brings is given back."""
        if self._thread is not None:
            self._thread.join(self._wait_time + 10)

    # -- in the thread

    def _run(self) -> None:
        try:
            while (count := self._next()) is not None:
                if not self.poll(count) and not self._wait_time:
                    with self._changed:
                        self._changed.wait_for(lambda: self._closed, _PAUSE)
        finally:
            if self._client is not None:
                self._client.close()

    def _next(self) -> int | None:
        with self._changed:
            self._polling = False
            if self._failures:
                self._changed.wait_for(lambda: self._closed, min(30.0, 0.2 * 2.0**self._failures))
            self._changed.wait_for(lambda: self._closed or self._wanted)
            self._polling = not self._closed
            return min(_AT_ONCE, self._wanted) if self._polling else None

    def poll(self, count: int) -> int:
        """Ask once for up to this many messages, and hand on what comes; return how many hints that were."""
        try:
            began = time.monotonic()
            found = self._sort(self._receive(count), began + self._visibility)
            self._works()
            # A short wait while there is work, so that leaving does not take long; the full one when idle.
            self._wait = min(self._wait_time, _FIRST_WAIT if found else 2 * max(1, self._wait))
            self._hand_on(found)
            return len(found)
        except Exception as error:  # border: without messages, work goes on at the pace of the sweep
            if not self._failures and not getattr(error, "logged", False):
                logger.warning("messages cannot be received, retrying: %s", error)
                self._reported = True
            self._failures = min(self._failures + 1, 8)
            return 0

    def _receive(self, count: int) -> Sequence[Any]:
        with translated(f"SQS ReceiveMessage on {self._queue}"):
            if self._client is None:
                self._client = self._connect()
            answer = self._client.receive_message(
                QueueUrl=self._queue,
                MaxNumberOfMessages=count,
                WaitTimeSeconds=self._wait,
                VisibilityTimeout=self._visibility,
                AttributeNames=["ApproximateReceiveCount", "SentTimestamp"],
            )
        return answer.get("Messages", ())

    def _works(self) -> None:
        if self._reported:
            logger.warning("messages are received again from %s", self._queue)
        self._failures, self._reported = 0, False

    def _hand_on(self, found: Sequence[Received]) -> None:
        with self._changed:
            closed = self._closed
            self._wanted = max(0, self._wanted - len(found))
        if closed:
            self._hide([(message.handle, 0) for message in found])
        elif found:
            self._brought(found)

    def _sort(self, messages: Iterable[Mapping[str, Any]], until: float) -> list[Received]:
        """Return the hints among these messages; drop what is of no use to any process, give back the rest."""
        found: list[Received] = []
        dropped: list[str] = []
        given_back: list[tuple[str, int]] = []
        for message in messages:
            kind, hint = hints.read(message.get("Body"), self._table_id)
            handle, received = message["ReceiptHandle"], hints.receptions(message)
            if hint is not None:
                took = hints.delay(message, self._server_time())
                found.append(Received(self._queue, handle, hint.job, received, until, took))
            elif kind in _DROPPED:
                dropped.append(handle)
            else:
                given_back.append((handle, hints.hidden_for(received)))
            if kind not in (Kind.JOB, Kind.END_OF_POLL):
                self._count(kind, message)
        self._delete(dropped)
        self._hide(given_back)
        return found

    def _count(self, kind: Kind, message: Mapping[str, Any]) -> None:
        """Count what is no hint for this table; name the first one of each kind in the log."""
        if not self.strange[kind]:
            done = "dropped" if kind in _DROPPED else "given back"
            such_as = message.get("MessageId", "?")
            about = (self._queue, kind.value, such_as, done)
            logger.warning("the queue %s has messages %s, such as %s; they are %s", *about)
        self.strange[kind] += 1

    def _hide(self, handles: Sequence[tuple[str, int]]) -> None:
        entries = [{"ReceiptHandle": handle, "VisibilityTimeout": seconds} for handle, seconds in handles]
        self._all("change_message_visibility_batch", entries)

    def _delete(self, handles: Sequence[str]) -> None:
        self._all("delete_message_batch", [{"ReceiptHandle": handle} for handle in handles])

    def _all(self, operation: str, entries: Sequence[Mapping[str, Any]]) -> None:
        """Make a call for messages of one poll. What fails of it leaves them hidden for a while, and nothing more."""
        if not entries:
            return
        batch = [{"Id": str(place), **entry} for place, entry in enumerate(entries)]
        try:
            getattr(self._client, operation)(QueueUrl=self._queue, Entries=batch)
        except Exception as error:  # border: the hints of the same poll are good all the same
            logger.debug("%s on %s failed: %s", operation, self._queue, error)
