"""Answer the reading half of the contract: each method is the query of the same name, through the pool of readers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence

from asyncjobs.backends.base import JobBackend, LimitInfo, StoredCall
from asyncjobs.backends.sqlite.queries import Queries
from asyncjobs.backends.values import StepPage
from asyncjobs.core.lanes import Lane
from asyncjobs.models import (
    Attempt,
    Edge,
    EventPage,
    GroupProgress,
    Job,
    JobPage,
    JobResult,
    JobStatus,
)
from asyncjobs.requests import JobQuery


class ReadingBackend(JobBackend):
    """The methods that read, each a bounded page of committed rows."""

    @abstractmethod
    def _reading(self) -> Queries:
        """Return the queries of the open store.

        :raises BackendClosedError: it is not open.
        """

    async def get_jobs(self, ids: Sequence[str]) -> Sequence[Job]:
        """Read the jobs through a reader."""
        return await self._reading().get_jobs(ids)

    async def get_results(self, ids: Sequence[str]) -> Mapping[str, JobResult]:
        """Read the results through a reader, large values one by one."""
        return await self._reading().get_results(ids)

    async def get_attempts(self, job_id: str) -> Sequence[Attempt]:
        """Read the attempts through a reader."""
        return await self._reading().get_attempts(job_id)

    async def find_jobs(self, query: JobQuery) -> JobPage:
        """Read a page by the index of the leading field."""
        return await self._reading().find_jobs(query)

    async def find_ids(self, prefix: str, limit: int = 20) -> Sequence[str]:
        """Read a range of the index of ids."""
        return await self._reading().find_ids(prefix, limit)

    async def get_call(self, job_id: str) -> StoredCall | None:
        """Read the call through a reader."""
        return await self._reading().get_call(job_id)

    async def read_steps(
        self, job_id: str, after: str | None = None, limit: int = 500, *, values: bool = True
    ) -> StepPage:
        """Read a page of steps through a reader, with one statement."""
        return await self._reading().steps.page(job_id, after, limit, values)

    async def read_step(self, job_id: str, key: str) -> bytes | None:
        """Read the value through a reader."""
        return await self._reading().steps.one(job_id, key)

    async def count_steps(self, job_id: str) -> int:
        """Count by the index of keys."""
        return await self._reading().steps.count(job_id)

    async def count_jobs(self, group: str | None = None) -> Mapping[JobStatus, int]:
        """Count by an index."""
        return await self._reading().count_jobs(group)

    async def list_groups(self, after: str | None = None, limit: int = 100) -> Sequence[GroupProgress]:
        """Read groups by a skip scan of their index."""
        return await self._reading().list_groups(after, limit)

    async def get_durations(self, function: str, limit: int = 20) -> Sequence[float]:
        """Read durations by a bounded walk in the index of completed jobs."""
        return await self._reading().get_durations(function, limit)

    async def has_unfinished(self, group: str | None = None) -> bool:
        """Look for one entry in the index of statuses."""
        return await self._reading().has_unfinished(group)

    async def get_dependencies(self, ids: Iterable[str]) -> Sequence[Edge]:
        """Read edges by their child."""
        return await self._reading().get_dependencies(ids)

    async def get_dependent_jobs(self, ids: Iterable[str]) -> Sequence[Edge]:
        """Read edges by their parent."""
        return await self._reading().get_dependent_jobs(ids)

    async def get_ready_jobs(self, limit: int = 100) -> Sequence[Job]:
        """Read the first jobs of each lane; at most 1,000."""
        return await self._reading().get_ready_jobs(limit)

    async def get_limit(self, key: str) -> LimitInfo | None:
        """Read the row of the limited key."""
        return await self._reading().get_limit(key)

    async def get_lanes(self) -> Sequence[Lane]:
        """Read all lanes, in the order of their first jobs."""
        return await self._reading().get_lanes()

    async def read_events(
        self, after: str | None = None, *, limit: int = 500, job_id: str | None = None, group: str | None = None
    ) -> EventPage:
        """Read a page of the log; a row that cannot be read is marked in it."""
        return await self._reading().read_events(after, limit=limit, job_id=job_id, group=group)

    async def last_cursor(self) -> str:
        """Read the counter of events."""
        return await self._reading().last_cursor()
