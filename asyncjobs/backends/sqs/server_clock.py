"""Keep the time of the store: that of AWS, whatever the clock of this host says."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import anyio

from asyncjobs.clock import Clock
from asyncjobs.core.state import SECOND

_DRIFT = 5000
"""One of so many µs by which a monotonic clock may be wrong: 200 in a million."""
_SLACK = SECOND // 20
"""µs by which two servers of AWS may differ."""
_SENT = "asyncjobs.sent"


class ServerTime:
    """The time that the answers of AWS carry, in whole seconds, and between them that of the monotonic clock.

    An answer says between which two moments the server's clock was, when it came: it is at least what the answer says,
    and less than a second more than that when the request was sent. What all answers agree on is soon narrower than
    any of them. It never goes back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lowest = self._highest = 0  # of the difference to the monotonic clock, when that was ``_learned``
        self._learned: int | None = None
        self._last = 0

    def learn(self, date: str, sent: int, received: int) -> None:
        """Take the ``Date`` of an answer, with the moments of the monotonic clock around it."""
        try:
            moment = round(parsedate_to_datetime(date).timestamp() * SECOND)
        except ValueError:
            return
        lowest, highest = moment - received - _SLACK, moment + SECOND - sent + _SLACK
        with self._lock:
            if self._learned is not None:
                aged = max(0, received - self._learned) // _DRIFT
                low, high = max(lowest, self._lowest - aged), min(highest, self._highest + aged)
                if low <= high:  # else one of the clocks was set, and what was known before is not true any more
                    lowest, highest = low, high
            self._lowest, self._highest, self._learned = lowest, highest, received

    def attach(self, client: Any) -> None:
        """Learn from the answers to a client of botocore."""
        client.meta.events.register("before-call", self._on_call)
        client.meta.events.register("after-call", self._on_answer)

    def _on_call(self, context: dict[str, Any], **_: object) -> None:
        context[_SENT] = _monotonic()

    def _on_answer(self, parsed: Mapping[str, Any], context: Mapping[str, Any], **_: object) -> None:
        date = parsed.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
        if date and _SENT in context:
            self.learn(date, context[_SENT], _monotonic())

    def now(self) -> int:
        """Return µs since the epoch; by the clock of this host until the first answer came."""
        with self._lock:
            if self._learned is None:
                return time.time_ns() // 1000
            self._last = max(self._last, _monotonic() + (self._lowest + self._highest) // 2)
            return self._last


def _monotonic() -> int:
    return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)) // 1000


class StoreClock:
    """The clock of the store: the time of AWS, or the clock that a test has given."""

    def __init__(self, given: Clock | None, server: ServerTime) -> None:
        self._given = given
        self._server = server
        self.tolerance = 0 if given is not None else 2 * SECOND
        """µs by which two processes may differ."""

    def now(self) -> int:
        """Return the moment that is stored and shown: µs since the epoch."""
        return self._server.now() if self._given is None else self._given.now()

    def on_host(self, moment: int) -> int:
        """Return when it is this moment by the wall clock of this host, which may be wrong by hours."""
        return moment if self._given is not None else moment - self._server.now() + time.time_ns() // 1000

    def of_host(self, moment: int) -> int:
        """Return this moment of the wall clock of this host by the time of the store."""
        return moment if self._given is not None else moment - time.time_ns() // 1000 + self._server.now()

    def steady(self) -> int:
        """Return the µs by which durations are measured: setting a wall clock does not move them."""
        return self._server.now() if self._given is None else self._given.since_boot()

    def lease_time(self) -> int:
        """Return the µs by which leases are measured."""
        return self._server.now() if self._given is None else self._given.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait, by the clock that a test has given."""
        await (anyio.sleep(seconds) if self._given is None else self._given.sleep(seconds))

    async def pause(self, seconds: float) -> None:
        """Wait really: for other processes, whose clock no test moves."""
        await anyio.sleep(seconds)
