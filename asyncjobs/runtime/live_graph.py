"""Keep the unfinished jobs with edges that this process submitted: a cache, never the truth."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from asyncjobs.backends.base import JobBackend, NewJob
from asyncjobs.backends.committed_events import CommittedEvents
from asyncjobs.clock import Clock
from asyncjobs.core.dag import JobDAG, find_cycle
from asyncjobs.daemon_threads import in_thread
from asyncjobs.exceptions import CyclicDependencyError
from asyncjobs.runtime.loops import look_forever
from asyncjobs.runtime.outages import Outage
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs")

_LOOK_EVERY = 30.0
"""Seconds between checks for jobs that other processes ended or removed."""
_PAGE = 500


class LiveGraph:
    """Checks a submission's edges, and forgets jobs as they end. Independent jobs are not in it.

    Jobs that other processes ended are forgotten at the next check. Until then, the graph may contain removed jobs
    whose ids are used again; so a submission is judged by its own edges alone.
    """

    def __init__(self) -> None:
        self._dag: JobDAG | None = None
        self._looked_at = 0
        self._missing: set[str] = set()

    @property
    def dag(self) -> JobDAG:
        """The present graph."""
        if self._dag is None:
            self._dag = JobDAG()
        return self._dag

    async def add(self, jobs: Sequence[NewJob]) -> list[str]:
        """Add the members that have edges; return their ids, to be passed to ``drop`` if the store refuses them.

        A batch that would wait for itself is left out: the store refuses it, or has one of its ids already.
        """
        batch = {job.id: [d.parent_id for d in job.dependencies] for job in jobs if job.dependencies}
        if not batch:
            return []
        if self._dag is None:
            await in_thread(import_module, "networkx")  # the loop must not wait for an import
        again = [job_id for job_id in batch if job_id in self.dag]
        if again and find_cycle(batch) is not None:
            return []
        for job_id in again:
            if set(self.dag.get_dependencies(job_id)) == set(batch[job_id]):
                del batch[job_id]  # submitted again, and there already
            else:
                self.dag.discard(job_id)
        return self._add(batch)

    def _add(self, batch: dict[str, list[str]]) -> list[str]:
        while batch:
            try:
                self.dag.add_jobs(batch)
                break
            except CyclicDependencyError as error:
                if find_cycle(batch) is not None:
                    return []
                for job_id in set(error.path) - set(batch):  # through jobs that no longer exist
                    self.dag.discard(job_id)
        return list(batch)

    def drop(self, job_ids: Sequence[str]) -> None:
        """Remove jobs that were not stored."""
        for job_id in job_ids:
            self.dag.discard(job_id)

    def remove_terminal(self, events: CommittedEvents) -> None:
        """Remove jobs that became terminal."""
        if self._dag is None or not self._dag.graph:
            return
        for job_id, _ in events.ended:
            self._dag.discard(job_id)

    def remove(self, job_ids: Sequence[str]) -> None:
        """Forget jobs that were removed."""
        if self._dag is not None:
            self.drop(job_ids)

    async def run(self, backend: JobBackend, clock: Clock) -> None:
        """Check regularly for jobs that other processes ended, some at a time."""

        async def look() -> None:
            await clock.sleep(_LOOK_EVERY)
            await self._look(backend)

        await look_forever(look, None, Outage(logger, "the live graph could not be updated"), clock)

    async def _look(self, backend: JobBackend) -> None:
        if self._dag is None:
            return
        jobs = [job_id for job_id in self._dag.graph if job_id in self._dag]
        start = self._looked_at if self._looked_at < len(jobs) else 0
        page = jobs[start : start + _PAGE]
        if not page:
            return
        found = {job.id: job.status for job in await backend.get_jobs(page)}
        missing = {job_id for job_id in page if job_id not in found}  # one that is just being submitted is, too, once
        gone = [job_id for job_id, status in found.items() if status.terminal] + sorted(missing & self._missing)
        self.drop(gone)
        self._missing = missing
        self._looked_at = start + len(page) - len(gone)
