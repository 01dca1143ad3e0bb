"""Answer questions about stored jobs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Any

from msgspec.structs import replace

from asyncjobs.backends.base import JobBackend
from asyncjobs.checks import name_text
from asyncjobs.clock import Clock
from asyncjobs.exceptions import JobNotFoundError, JobStateError
from asyncjobs.models import (
    Attempt,
    Edge,
    GroupProgress,
    Handle,
    Job,
    JobPage,
    JobResult,
    JobStatus,
    Reason,
    WorkerInfo,
)
from asyncjobs.paging import iter_pages
from asyncjobs.requests import JobQuery
from asyncjobs.runtime.answer_types import ReadBy
from asyncjobs.runtime.argument_checks import checked_id, checked_ids, checked_query
from asyncjobs.runtime.functions import Functions
from asyncjobs.runtime.job_results import decode_value, not_completed
from asyncjobs.runtime.large_values import decode_beside_loop
from asyncjobs.runtime.reasons import why
from asyncjobs.runtime.stored_calls import JobArguments, decode_stored_call
from asyncjobs.runtime.submission import checked_name, duration
from asyncjobs.runtime.suggestions import not_found
from asyncjobs.runtime.waiting import Waiting, Watch


class Queries:
    """Reads of stored jobs, in the form that callers see."""

    def __init__(self, backend: JobBackend, functions: Functions, waiting: Waiting, clock: Clock) -> None:
        self._backend = backend
        self._functions = functions
        self._waiting = waiting
        self._clock = clock

    async def get_job(self, job_id: str) -> Job:
        """Return a snapshot of a job."""
        job_id = checked_id(job_id)  # a handle is one, too
        job = await self._backend.get_job(job_id)
        if job is None:
            raise await not_found(self._backend, job_id)
        return job

    async def get_status(self, job_id: str) -> JobStatus:
        """Return the stored status of a job."""
        return (await self.get_job(job_id)).status

    async def get_attempts(self, job_id: str) -> Sequence[Attempt]:
        """Return every attempt of a job, the first one first."""
        await self.get_job(job_id)
        return await self._backend.get_attempts(checked_id(job_id))

    async def get_dependencies(self, job_id: str) -> list[Edge]:
        """Return the dependencies of a job, with the state of each."""
        await self.get_job(job_id)
        return list(await self._backend.get_dependencies([checked_id(job_id)]))

    async def get_arguments(self, job_id: str, make_handle: Callable[[str], Handle]) -> JobArguments:
        """Return the arguments of a job; ``make_handle`` makes the handles that replace results of other jobs."""
        job_id = checked_id(job_id)
        call = await self._backend.get_call(job_id)
        if call is None:
            raise await not_found(self._backend, job_id)
        return await decode_beside_loop(call.call, decode_stored_call, call, job_id, self._functions, make_handle)

    async def find_jobs(self, query: JobQuery | None) -> JobPage:
        """Return a page of jobs."""
        query = checked_query(query)
        if query.ids is not None:
            query = replace(query, ids=[name_text(job_id) for job_id in query.ids])
        return await self._backend.find_jobs(query)

    async def iter_jobs(self, query: JobQuery | None) -> AsyncGenerator[Job, None]:
        """Iterate over all jobs that match, page by page."""
        async with aclosing(iter_pages(self.find_jobs, checked_query(query))) as pages:
            async for page in pages:
                for job in page:
                    yield job

    async def get_progress(self, group: str) -> GroupProgress:
        """Count the jobs of a group by status."""
        counts = await self._backend.count_jobs(checked_name("group", group))
        return GroupProgress(group, sum(counts.values()), dict(counts))

    async def why(self, job_id: str) -> Reason:
        """Return why a job is not running."""
        return await why(self._backend, self._clock, await self.get_job(job_id))

    async def workers(self) -> Sequence[WorkerInfo]:
        """Return the workers that the store knows, of all processes."""
        return await self._backend.workers()

    # -- results

    async def get_result(self, job_id: str) -> Any:
        """Return the result of a job that has completed; do not wait."""
        result = await self.get_stored_result(job_id)
        return await decode_beside_loop(result.value, self.value_of, result, None)

    async def get_stored_result(self, job_id: str) -> JobResult:
        """Return the result of a job that has completed, still encoded; do not wait."""
        job_id = checked_id(job_id)
        result = (await self._backend.get_results([job_id])).get(job_id)
        if result is None:
            raise await not_found(self._backend, job_id)
        if not result.status.terminal:
            raise JobStateError(job_id, result.status, "it has no result yet", hint="await handle waits for it")
        if result.status is not JobStatus.COMPLETED:
            raise not_completed(result)
        return result

    def value_of(self, result: JobResult, func: ReadBy | None) -> Any:
        """Return the value of a job's result, or raise its error."""
        return decode_value(result, func, self._functions)

    async def wait_until_ended(self, job_id: str, timeout: float | None) -> JobResult:
        """Wait for the end of a job, however it ends."""
        if timeout is not None:
            timeout = duration("timeout", timeout)
        try:
            return await self._waiting.result(checked_id(job_id), timeout)
        except JobNotFoundError:
            raise await not_found(self._backend, checked_id(job_id)) from None

    async def wait_for_job(self, job_id: str, timeout: float | None) -> Job:
        """Wait until a job has ended, in any way, and return its final snapshot."""
        await self.wait_until_ended(job_id, timeout)
        return await self.get_job(job_id)

    async def wait_for_results(self, job_ids: Iterable[str], timeout: float | None) -> list[JobResult]:
        """Wait until all of these jobs have ended, and return their results in the same order."""
        ids = checked_ids(job_ids)
        ended: dict[str, JobResult] = {}
        watch = self.watch(ids, timeout)
        try:
            while found := await watch.next():
                ended.update((result.job_id, result) for result in found)
        except JobNotFoundError as error:
            raise await not_found(self._backend, error.job_id) from None
        finally:
            watch.close()
        # Of a job that has just completed here, this process has only the value and the function.
        values = [job_id for job_id, result in ended.items() if result.attempt == 0]
        stored = await self._backend.get_results(values)
        # Removed meanwhile, or its id is used again: its result is known all the same.
        ended |= {job_id: result for job_id, result in stored.items() if result.status is JobStatus.COMPLETED}
        return [ended[job_id] for job_id in ids]

    def watch(self, job_ids: Sequence[str], timeout: float | None) -> Watch:
        """Begin to wait for several jobs, in the order in which they end."""
        return self._waiting.watch(job_ids, None if timeout is None else duration("timeout", timeout))

    async def drain(self, group: str | None, timeout: float | None) -> None:
        """Wait until no job (of the group) is pending or in progress."""
        group = None if group is None else checked_name("group", group)
        await self._waiting.drain(group, None if timeout is None else duration("timeout", timeout))
