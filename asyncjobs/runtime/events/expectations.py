"""Let callers wait for jobs to become terminal, which is all that most of them need to know of the log."""

from __future__ import annotations

from collections.abc import Sequence

from asyncjobs.exceptions import BackendClosedError
from asyncjobs.runtime.wakeups import Wakeup


class Expectation:
    """Jobs that a caller waits for, and those of them that have become terminal since.

    :param beside: a wakeup of the same event loop.
    :param closed: whether the log is no longer followed.
    """

    def __init__(self, job_ids: Sequence[str], beside: Wakeup, *, closed: bool = False) -> None:
        self.job_ids = job_ids
        self._closed = closed
        self._ended: list[str] = []
        self._signal = Wakeup(beside)

    def notify(self, job_id: str) -> None:
        """Note that a job has become terminal, or must be looked up in the store."""
        self._ended.append(job_id)
        self._signal.notify()

    def close(self) -> None:
        """End every wait, because the log is no longer followed."""
        self._closed = True
        self._signal.notify()

    async def wait(self) -> None:
        """Wait until ``take`` has ids.

        :raises BackendClosedError: the log is no longer followed.
        """
        while not self._ended:
            if self._closed:
                raise BackendClosedError
            await self._signal.wait()

    def take(self) -> list[str]:
        """Take the ids that ended since the last call; perhaps early, perhaps twice: look at the store."""
        ended, self._ended = self._ended, []
        return ended

    async def next(self) -> list[str]:
        """Wait for ids that ended since the last call, and take them."""
        await self.wait()
        return self.take()


ANY_JOB = ""
"""The id by which an ``Expectation`` waits for every job that ends."""
