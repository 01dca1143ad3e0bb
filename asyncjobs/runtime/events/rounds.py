"""Hand events to subscribers in rounds, so that many readers do not take the time of the jobs.

Waking a reader costs some 35 µs and each event some 0.5 µs, most of it in the reader's own task. After a round of
wake-ups comes a pause of three times what the round has cost, 50 ms at most; events that are published meanwhile are
gathered, and are the next round. So readers have a quarter of the time of a busy loop, however many they are. The first
event after a quiet time goes at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import anyio

from asyncjobs.models import JobEvent
from asyncjobs.runtime.wakeups import Wakeup

_WAKE_UP = 35e-6
"""Seconds that waking a reader costs …"""
_EVENT = 0.5e-6
"""… and each event that it is given then."""
_TIMES = 3
_LONGEST = 0.05
"""Seconds of a pause. An event is late by this and the time of a round."""


class Rounds:
    """Delivers events, and paces that.

    :param deliver: hands events over, and returns how many readers it has woken.
    """

    def __init__(self, deliver: Callable[[Sequence[JobEvent]], int]) -> None:
        self._deliver = deliver
        self._gathered: list[JobEvent] = []
        self._until = 0.0  # by time.monotonic(): commits come in callbacks of the loop, where anyio finds no loop
        self._held = Wakeup()

    def publish(self, events: Sequence[JobEvent]) -> None:
        """Deliver these now, or in the next round. Never blocks."""
        if self._gathered:
            self._gathered.extend(events)
        elif time.monotonic() < self._until:
            self._gathered.extend(events)
            self._held.notify()
        else:
            self._round(events)

    def flush(self) -> None:
        """Deliver what was gathered, without waiting for the end of the pause."""
        if self._gathered:
            events, self._gathered = self._gathered, []
            self._round(events)

    def drop(self) -> None:
        """Forget what was gathered: whoever was to get it reads the log."""
        self._gathered = []

    async def run(self) -> None:
        """End the pauses, forever."""
        while True:
            await self._held.wait()
            await anyio.sleep(max(0.0, self._until - time.monotonic()))
            self.flush()

    def _round(self, events: Sequence[JobEvent]) -> None:
        woken = self._deliver(events)
        self._until = time.monotonic() + min(_LONGEST, _TIMES * woken * (_WAKE_UP + _EVENT * len(events)))
