"""Wall time and processor time since a moment."""

from __future__ import annotations

import time


class Stopwatch:
    """Runs from its making."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._used = time.process_time()

    def seconds(self) -> float:
        """Seconds that have gone by."""
        return time.perf_counter() - self._began

    def processor(self) -> float:
        """Seconds of processor time of this process, all threads: what other programs take is not in it."""
        return time.process_time() - self._used
