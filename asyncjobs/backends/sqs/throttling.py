"""Count the calls that AWS refused for the moment because there were too many."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from asyncjobs.backends.sqs.server_clock import ServerTime

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


class Throttling:
    """How many calls of this process were throttled, and when the last one was: µs by the clock of AWS.

    Each try of a call counts, also one after which the next succeeded.
    """

    def __init__(self, time: ServerTime) -> None:
        self._time = time
        self._lock = threading.Lock()
        self.count = 0
        self.last = 0

    def attach(self, client: Any) -> None:
        """Look at the answers to a client of botocore."""
        client.meta.events.register("response-received", self._on_answer)

    def _on_answer(self, parsed_response: Mapping[str, Any] | None, **_: object) -> None:
        if parsed_response is not None and parsed_response.get("Error", {}).get("Code") in _CODES:
            self.note()

    def note(self) -> None:
        """Count a call of which a part was throttled."""
        with self._lock:
            self.count += 1
            self.last = self._time.now()
