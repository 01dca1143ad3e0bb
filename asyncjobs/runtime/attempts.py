"""Keep the attempts that run in a worker, by job."""

from __future__ import annotations

from asyncjobs.runtime.attempt import RunningAttempt
from asyncjobs.runtime.context import JobContext


class Attempts:
    """The attempts whose bodies run here: the worker's own, and those that were its own until its lease expired."""

    def __init__(self) -> None:
        self.running: dict[str, RunningAttempt] = {}
        """The worker's own, by job id."""
        self._lost: set[RunningAttempt] = set()

    def __bool__(self) -> bool:
        return bool(self.running or self._lost)

    def list_all(self) -> list[RunningAttempt]:
        """Return all attempts whose bodies run, also of jobs that other workers have taken over."""
        return [*self.running.values(), *self._lost]

    def add(self, running: RunningAttempt) -> None:
        """Add an attempt that begins."""
        self.running[running.job.attempt.job_id] = running

    def remove(self, running: RunningAttempt) -> None:
        """Remove an attempt whose body has ended or was left behind."""
        job_id = running.job.attempt.job_id
        if self.running.get(job_id) is running:
            del self.running[job_id]
        else:
            self._lost.discard(running)

    def lose_all(self) -> list[RunningAttempt]:
        """Mark all attempts as reassigned, and return them; this worker may get a new attempt of the same job."""
        lost = list(self.running.values())
        self.running.clear()
        self._lost.update(lost)
        return lost

    def find(self, context: JobContext) -> RunningAttempt | None:
        """Return the attempt of the worker's own that has this context, None if its body runs elsewhere."""
        running = self.running.get(context.id)
        return running if running is not None and running.context is context else None
