"""Results that this process has just stored, so that waiting for them does not read them back.

Only of completed jobs: a completed job never changes again, so an entry cannot become wrong. Bounded; what was let go
is read from the store.
"""

from __future__ import annotations

_ENTRIES = 50_000
_BYTES = 16 << 20
_LARGEST = 64 << 10


class ResultCache:
    """Encoded results by job id, the oldest let go first."""

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}
        self._bytes = 0

    def put(self, job_id: str, value: bytes) -> None:
        """Keep a result, unless it is large."""
        if len(value) > _LARGEST or job_id in self._values:
            return
        self._values[job_id] = value
        self._bytes += len(value)
        while self._bytes > _BYTES or len(self._values) > _ENTRIES:
            oldest = next(iter(self._values))
            self._bytes -= len(self._values.pop(oldest))

    def get(self, job_id: str) -> bytes | None:
        """The result, if it is here."""
        return self._values.get(job_id)
