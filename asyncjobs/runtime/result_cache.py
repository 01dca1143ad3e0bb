"""Keep results that this process has just stored, so that waiting for them does not read them back.

Only of completed jobs: a completed job never changes again. But it may be removed, by any process, and its id used
again. So an entry is given to those who waited for the job already when it ended, and to others only while no job was
removed from the store since it is here. Bounded; what was let go is read from the store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

_ENTRIES = 50_000
_BYTES = 16 << 20
_LARGEST = 64 << 10


class ResultCache:
    """Encoded results by job id, the oldest let go first.

    :param removals: ``JobBackend.removals`` of the store.
    """

    def __init__(self, removals: Callable[[], int | None]) -> None:
        self._removals = removals
        self._as_of = removals()
        self._values: dict[str, tuple[int, bytes]] = {}
        self._bytes = 0
        self.puts = 0
        """How many results were put. Who begins to wait notes it: what is put then, is put while they wait."""

    def put(self, job_id: str, value: bytes) -> None:
        """Keep a result, unless it is large."""
        before = self._values.pop(job_id, None)  # of a job that was removed, and had the same id
        if before is not None:
            self._bytes -= len(before[1])
        if len(value) > _LARGEST:
            return
        self.puts += 1
        self._values[job_id] = (self.puts, value)
        self._bytes += len(value)
        while self._bytes > _BYTES or len(self._values) > _ENTRIES:
            oldest = next(iter(self._values))
            self._bytes -= len(self._values.pop(oldest)[1])

    def get(self, job_id: str) -> bytes | None:
        """Return the result if it is here and certain to be what is stored now."""
        if job_id not in self._values or not self._holds():
            return None
        return self._values[job_id][1]

    def known(self, job_ids: Iterable[str], since: int) -> dict[str, bytes]:
        """Return those results that are here and were put after ``since``, or are certain to be what is stored now."""
        found: dict[str, bytes] = {}
        holds: bool | None = None  # asked once, however many there are
        for job_id in job_ids:
            entry = self._values.get(job_id)
            if entry is None:
                continue
            number, value = entry
            if number <= since:
                if holds is None:
                    holds = self._holds()
                if not holds:
                    continue
            found[job_id] = value
        return found

    def _holds(self) -> bool:
        """Whether no job was removed since the entries are here; if one was, let go of all of them."""
        removals = self._removals()
        if removals is None:
            return False
        if removals == self._as_of:
            return True
        self._as_of = removals
        self._values.clear()
        self._bytes = 0
        return False
