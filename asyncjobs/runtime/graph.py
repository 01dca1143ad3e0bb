"""The live graph: the unfinished jobs with edges that this process submitted. A cache, never the truth."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

import anyio.to_thread

from asyncjobs.backends.base import NewJob
from asyncjobs.core.dag import JobDAG
from asyncjobs.models import JobEvent


class LiveGraph:
    """Checks a submission's edges, and forgets jobs as they end. Independent jobs are not in it."""

    def __init__(self) -> None:
        self._dag: JobDAG | None = None

    @property
    def dag(self) -> JobDAG:
        """The graph as it is now."""
        if self._dag is None:
            self._dag = JobDAG()
        return self._dag

    async def add(self, jobs: Sequence[NewJob]) -> list[str]:
        """Add the members that have edges; returns their ids, to be given to ``drop`` if the store refuses them.

        :raises CyclicDependencyError: the batch would wait for itself.
        """
        batch = {job.id: [d.parent_id for d in job.dependencies] for job in jobs if job.dependencies}
        if not batch:
            return []
        if self._dag is None:
            await anyio.to_thread.run_sync(import_module, "networkx")  # the loop must not wait for an import
        known = self.dag
        batch = {job_id: parents for job_id, parents in batch.items() if job_id not in known}
        known.add_jobs(batch)
        return list(batch)

    def drop(self, job_ids: Sequence[str]) -> None:
        """They were not stored."""
        for job_id in job_ids:
            self.dag.discard(job_id)

    def ended(self, events: Sequence[JobEvent]) -> None:
        """Jobs that became terminal leave the graph."""
        if self._dag is None or not self._dag.graph:
            return
        for event in events:
            if event.status is not None and event.status.terminal:
                self._dag.discard(event.job_id)
