"""Keep results that this process has just stored, so that waiting for them does not read them back.

Only for completed jobs: a completed job never changes again. But any process may remove it, and its id may be used
again. So an entry is returned to callers that already waited for the job when it ended, and to others only if no job
was removed from the store since the entry was made. The cache is bounded; dropped results are read from the store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from msgspec import Struct

from asyncjobs.models import JobResult, JobStatus

_ENTRIES = 50_000
_BYTES = 16 << 20
_LARGEST = 64 << 10


class Completed(NamedTuple):
    """What a function of this stored name returned, encoded."""

    function: str
    value: bytes


class _Entry(Struct, frozen=True, gc=False):
    """A result, and the number of the put that brought it; half the size of a tuple of them."""

    put: int
    function: str
    value: bytes

    def result(self, job_id: str) -> JobResult:
        return JobResult(job_id, JobStatus.COMPLETED, self.function, self.value)


class ResultCache:
    """Encoded results by job id; the oldest are dropped first.

    :param removals: ``JobBackend.removals`` of the store.
    """

    def __init__(self, removals: Callable[[], int | None]) -> None:
        self._removals = removals
        self._as_of = removals()
        self._values: dict[str, _Entry] = {}
        self._bytes = 0
        self.puts: int = 0
        """How often results were put. A waiting caller compares it to find results put since its wait began."""

    def put(self, job_id: str, completed: Completed) -> None:
        """Keep a result, unless it is large."""
        self.put_all({job_id: completed})

    def put_all(self, results: Mapping[str, Completed]) -> None:
        """Keep the results of one commit, except large ones."""
        self.puts += 1
        for job_id, (function, value) in results.items():
            before = self._values.pop(job_id, None)  # of a removed job with the same id
            if before is not None:
                self._bytes -= len(before.value)
            if len(value) > _LARGEST:
                continue
            self._values[job_id] = _Entry(self.puts, function, value)
            self._bytes += len(value)
            while self._bytes > _BYTES or len(self._values) > _ENTRIES:
                oldest = next(iter(self._values))
                self._bytes -= len(self._values.pop(oldest).value)

    def get(self, job_id: str) -> JobResult | None:
        """Return the result if it is cached and certain to equal the stored one."""
        if job_id not in self._values or not self._holds():
            return None
        return self._values[job_id].result(job_id)

    def known(self, job_ids: Iterable[str], since: int) -> dict[str, JobResult]:
        """Return cached results that were put after ``since``, or are certain to equal the stored ones."""
        found: dict[str, JobResult] = {}
        holds: bool | None = None  # asked once, however many there are
        for job_id in job_ids:
            entry = self._values.get(job_id)
            if entry is None:
                continue
            if entry.put <= since:
                if holds is None:
                    holds = self._holds()
                if not holds:
                    continue
            found[job_id] = entry.result(job_id)
        return found

    def _holds(self) -> bool:
        """Return whether no job was removed since the entries were made; if one was, drop all of them."""
        removals = self._removals()
        if removals is None:
            return False
        if removals == self._as_of:
            return True
        self._as_of = removals
        self._values.clear()
        self._bytes = 0
        return False
