"""Renew the leases of this process's workers, in a thread with a connection of its own.

It does not need the event loop, so a busy loop or a long job loses no lease.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from asyncjobs.backends.sqs import keys
from asyncjobs.backends.sqs.errors import code_of
from asyncjobs.backends.sqs.server_clock import StoreClock

_FIRST_RETRY = 0.2
_CLOSING = 5.0
"""Seconds that ``close`` waits for a call that has begun."""


class _Beat(Struct):
    """The heartbeat of a worker. ``every`` is seconds; ``due`` and ``written`` are ``time.monotonic()``."""

    every: float
    due: float
    written: float
    failures: int = 0
    lost: bool = False


class Heartbeat:
    """A thread that renews the items of workers until they are removed.

    :param connect: makes the thread's own client, of botocore.
    """

    def __init__(self, connect: Callable[[], Any], table: str, clock: StoreClock) -> None:
        self._connect = connect
        self._table = table
        self._clock = clock
        self._changed = threading.Condition()
        self._beats: dict[str, _Beat] = {}
        self._closed = False
        self._thread: threading.Thread | None = None
        self._client: Any = None

    def add(self, worker: str, every: float) -> None:
        """Renew this worker, whose item was just written, every so many seconds."""
        now = time.monotonic()
        with self._changed:
            if self._closed:
                return
            self._beats[worker] = _Beat(every, now + every, now)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="asyncjobs-sqs-heartbeat", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def remove(self, worker: str) -> None:
        """Stop renewing this worker."""
        with self._changed:
            self._beats.pop(worker, None)
            self._changed.notify_all()

    def written(self, worker: str) -> None:
        """Note that the lease was just renewed by a call of the loop."""
        with self._changed:
            beat = self._beats.get(worker)
            if beat is not None:
                beat.written = time.monotonic()
                beat.due = beat.written + beat.every

    def close(self) -> None:
        """Stop. Blocks until a call that has begun is over, but not for long."""
        with self._changed:
            self._closed = True
            self._beats.clear()
            self._changed.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(_CLOSING)

    # -- in the thread

    def _run(self) -> None:
        try:
            while (due := self._next_due()) is not None:
                for worker, beat in due:
                    self._renew(worker, beat)
        finally:
            self._drop_client()

    def _next_due(self) -> list[tuple[str, _Beat]] | None:
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                waiting = [(worker, beat) for worker, beat in self._beats.items() if not beat.lost]
                due = [(worker, beat) for worker, beat in waiting if beat.due <= now]
                if due:
                    return due
                self._changed.wait(min((beat.due - now for _, beat in waiting), default=None))
            return None

    def _renew(self, worker: str, beat: _Beat) -> None:
        failed = alive = True
        try:
            alive = self._write(worker)
            failed = False
        except Exception:  # border: without this thread, every lease of the process would run out
            self._drop_client()  # the next try begins with a new one
        with self._changed:
            now = time.monotonic()
            if failed:
                beat.failures += 1
                delay = min(beat.every, _FIRST_RETRY * 2 ** min(beat.failures, 8))
                beat.due = now + delay * random.uniform(0.5, 1.0)
            else:
                beat.failures, beat.lost, beat.written, beat.due = 0, not alive, now, now + beat.every

    def _write(self, worker: str) -> bool:
        """Write a beat, and return whether the worker was there to be renewed."""
        if self._client is None:
            self._client = self._connect()
        try:
            self._client.update_item(
                TableName=self._table,
                Key={"pk": {"S": keys.WORKERS}, "sk": {"S": worker}},
                UpdateExpression="SET #at = :now ADD #beat :one",
                ConditionExpression="attribute_exists(pk) AND attribute_not_exists(gone)",
                ExpressionAttributeNames={"#at": "at", "#beat": "beat"},
                ExpressionAttributeValues={":now": {"N": str(self._clock.lease_time())}, ":one": {"N": "1"}},
            )
        except Exception as error:
            if code_of(error) == "ConditionalCheckFailedException":
                return False
            raise
        return True

    def _drop_client(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()
