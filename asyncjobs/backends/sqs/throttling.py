"""Count the calls that AWS refused for the moment because there were too many."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

LATELY = 600.0
"""Seconds for which a refusal counts."""
_MOST = 10_000
_CODES = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
    }
)
_UNDONE = ("UnprocessedItems", "UnprocessedKeys")


class Throttling:
    """The calls of this process that were throttled lately. Each try counts, also one before a success."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._moments = deque[float](maxlen=_MOST)
        self._any = False

    def attach(self, client: Any) -> None:
        """Look at the answers to a client of botocore."""
        client.meta.events.register("response-received", self._on_answer)

    def _on_answer(self, parsed_response: Mapping[str, Any] | None, **_: object) -> None:
        answer = parsed_response or {}
        if answer.get("Error", {}).get("Code") in _CODES or any(answer.get(name) for name in _UNDONE):
            with self._lock:
                self._any = True
                self._moments.append(time.monotonic())

    def counts(self) -> dict[str, int]:
        """Return how many there were lately; nothing if there never was one."""
        with self._lock:
            while self._moments and time.monotonic() - self._moments[0] > LATELY:
                self._moments.popleft()
            return {"throttled": len(self._moments)} if self._any else {}
