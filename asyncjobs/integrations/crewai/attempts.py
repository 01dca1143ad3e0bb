"""Keep what the runs of one attempt have in common: a body may run several crews and flows, one after the other."""

from __future__ import annotations

import threading
from weakref import WeakKeyDictionary

from asyncjobs.integrations.crewai.usage import Usage
from asyncjobs.runtime.context import JobContext


class Occurrences:
    """Numbers what happens several times with equal content, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}

    def count(self, digest: str) -> int:
        """Return how many times there has been this content, with this time."""
        with self._lock:
            number = self._counts[digest] = self._counts.get(digest, 0) + 1
        return number


class Attempt:
    """What counts from the beginning of an attempt to its end: costs, equal calls, and equal questions."""

    def __init__(self) -> None:
        self.usage = Usage()
        self.calls = Occurrences()
        self.questions = Occurrences()


_lock = threading.Lock()
_attempts: WeakKeyDictionary[JobContext, Attempt] = WeakKeyDictionary()


def attempt_of(job: JobContext) -> Attempt:
    """Return what the runs of this attempt have in common."""
    with _lock:
        return _attempts.setdefault(job, Attempt())
