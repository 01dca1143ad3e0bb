"""Let callers wait for jobs to become terminal, which is all that most of them need to know of the log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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


class Expectations:
    """Expectations by the jobs that they are about.

    Most jobs have at most one: those of a caller that waits for very many jobs share one tuple, which the garbage
    collector need not look at for each of them.
    """

    def __init__(self) -> None:
        self._of_job: dict[str, tuple[Expectation] | list[Expectation]] = {}

    def __len__(self) -> int:
        """Return the number of jobs."""
        return len(self._of_job)

    def __iter__(self) -> Iterator[str]:
        return iter(self._of_job)

    def of(self, job_id: str) -> Sequence[Expectation]:
        """Return those of a job."""
        return self._of_job.get(job_id, ())

    def add(self, expectation: Expectation) -> None:
        """Add an expectation."""
        alone = (expectation,)
        for job_id in expectation.job_ids:
            present = self._of_job.setdefault(job_id, alone)
            if present is alone:
                continue
            if isinstance(present, tuple):
                self._of_job[job_id] = [*present, expectation]
            else:
                present.append(expectation)

    def remove(self, expectation: Expectation) -> None:
        """Remove an expectation."""
        for job_id in expectation.job_ids:
            present = self._of_job.get(job_id)
            if isinstance(present, list):
                present.remove(expectation)
            if not present or present == (expectation,):
                self._of_job.pop(job_id, None)


ANY_JOB = ""
"""The id by which an ``Expectation`` waits for every job that ends."""
