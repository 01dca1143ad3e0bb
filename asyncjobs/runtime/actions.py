"""Carry out what callers decide about stored jobs: cancel, retry, remove."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec.structs import replace

from asyncjobs.backends.base import JobBackend
from asyncjobs.checks import name_text
from asyncjobs.exceptions import BackendError, ConfigurationError, JobNotFoundError
from asyncjobs.models import TERMINAL, JobStatus
from asyncjobs.paging import iter_pages
from asyncjobs.requests import JobQuery
from asyncjobs.runtime.argument_checks import checked_id, checked_query
from asyncjobs.runtime.functions import Functions
from asyncjobs.runtime.live_graph import LiveGraph
from asyncjobs.runtime.submission import checked_name
from asyncjobs.runtime.suggestions import not_found
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs")

_PAGE = 500


class Actions:
    """Decisions about jobs.

    :param nudge: called when a decision may have made jobs ready.
    """

    def __init__(
        self, backend: JobBackend, functions: Functions, graph: LiveGraph, *, nudge: Callable[[], None]
    ) -> None:
        self._backend = backend
        self._functions = functions
        self._graph = graph
        self._nudge = nudge

    async def cancel_job(self, job_id: str, *, descendants: bool) -> JobStatus:
        """Cancel a job; return its stored status."""
        job_id = checked_id(job_id)
        statuses = await self._cancel([job_id], descendants=descendants)
        self._nudge()
        if job_id not in statuses:
            raise await not_found(self._backend, job_id)
        return statuses[job_id]

    async def cancel_jobs(self, query: JobQuery | None, group: str | None) -> dict[str, JobStatus]:
        """Cancel every unfinished job of a query or a group."""
        if (query is None) == (group is None):
            raise ConfigurationError("cancel_jobs", None, problem="give cancel_jobs a query or a group, and not both")
        wanted = JobQuery(group=checked_name("group", group)) if query is None else checked_query(query)
        if wanted.status is None:
            wanted = replace(wanted, status=[JobStatus.PENDING, JobStatus.IN_PROGRESS])
        statuses: dict[str, JobStatus] = {}
        async for page in iter_pages(self._backend.find_jobs, _from_the_oldest(wanted)):
            if page:
                statuses.update(await self._cancel([job.id for job in page]))
            self._nudge()
        return statuses

    async def _cancel(self, job_ids: Sequence[str], *, descendants: bool = False) -> Mapping[str, JobStatus]:
        statuses = dict(await self._backend.cancel_jobs(job_ids, descendants=descendants))
        asked = [job_id for job_id, status in statuses.items() if status is JobStatus.IN_PROGRESS]
        if asked:
            try:
                statuses |= await self._reap_cancelled(asked)
            except BackendError as error:  # the requests are stored: a caller must not take them for refused
                logger.warning("whether the workers of cancelled jobs are alive is unknown: %s", error)
        return statuses

    async def _reap_cancelled(self, asked: Sequence[str]) -> Mapping[str, JobStatus]:
        # Once the request is stored, reaping a dead attempt cancels the job. There may be no other process to reap it.
        if not await self._backend.reap(expired=False):
            return {}
        return {job.id: job.status for job in await self._backend.get_jobs(asked)}

    async def retry_job(self, job_id: str, *, fresh: bool = False) -> JobStatus:
        """Run a failed or cancelled job again, with the steps that it kept or, if ``fresh``, without."""
        if not isinstance(fresh, bool):
            raise ConfigurationError("fresh", fresh, allowed="True or False")
        try:
            status = await self._backend.retry_job(checked_id(job_id), fresh=fresh)
        except JobNotFoundError:
            raise await not_found(self._backend, checked_id(job_id)) from None
        self._nudge()
        return status

    async def remove_jobs(self, jobs: JobQuery | str | Iterable[str], *, components: bool) -> list[str]:
        """Remove finished jobs for good."""
        if isinstance(jobs, JobQuery):
            query = jobs if jobs.status is not None else replace(jobs, status=sorted(TERMINAL))
            ids = await self._found(query)
        else:
            ids = [jobs] if isinstance(jobs, str) else list(jobs)
        removed = list(await self._backend.remove_jobs([name_text(job_id) for job_id in ids], components=components))
        self._functions.local.seen(removed, {})
        self._functions.answers.forget(removed)
        self._graph.remove(removed)
        return removed

    async def _found(self, query: JobQuery) -> list[str]:
        pages = iter_pages(self._backend.find_jobs, _from_the_oldest(query))
        return [job.id async for page in pages for job in page]


def _from_the_oldest(query: JobQuery) -> JobQuery:
    return replace(query, limit=_PAGE, cursor=None, order="oldest")
