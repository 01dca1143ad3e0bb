"""Queries are read page by page, to their end or to a number of jobs."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest
from msgspec.structs import replace

from asyncjobs.backends.memory.backend import MemoryBackend
from asyncjobs.models import Job, JobPage
from asyncjobs.paging import iter_pages, take_jobs
from asyncjobs.requests import JobQuery
from tests.faults.stores import new_job

pytestmark = pytest.mark.anyio


@pytest.fixture
async def backend() -> AsyncGenerator[MemoryBackend, None]:
    async with MemoryBackend() as backend:
        await backend.enqueue_jobs([new_job(f"j{i}") for i in range(5)])
        yield backend


def ids(jobs: list[Job]) -> list[str]:
    return [job.id for job in jobs]


async def test_pages_are_read_from_the_cursor_of_the_query_to_the_last_one(backend: MemoryBackend) -> None:
    query = JobQuery(limit=2, order="oldest")
    pages = [ids(page) async for page in iter_pages(backend.find_jobs, query)]
    assert pages == [["j0", "j1"], ["j2", "j3"], ["j4"]]
    first = await backend.find_jobs(query)
    rest = [ids(page) async for page in iter_pages(backend.find_jobs, replace(query, cursor=first.next))]
    assert rest == pages[1:]


async def test_no_page_is_read_that_is_not_asked_for(backend: MemoryBackend) -> None:
    read = 0

    async def find(query: JobQuery) -> JobPage:
        nonlocal read
        read += 1
        return await backend.find_jobs(query)

    async with aclosing(iter_pages(find, JobQuery(limit=2))) as pages:
        await anext(pages)
    assert read == 1


@pytest.mark.parametrize(
    ("most", "found", "more"), [(0, 0, True), (1, 1, True), (2, 2, True), (4, 4, True), (5, 5, False), (9, 5, False)]
)
async def test_so_many_jobs_are_taken_and_whether_there_are_more_is_known(
    backend: MemoryBackend, most: int, found: int, more: bool
) -> None:
    jobs, cut = await take_jobs(backend.find_jobs, JobQuery(limit=2, order="oldest"), most)
    assert (ids(jobs), cut) == ([f"j{i}" for i in range(found)], more)
