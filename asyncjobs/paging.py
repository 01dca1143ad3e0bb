"""Read what a query finds page by page."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TypeAlias

from msgspec.structs import replace

from asyncjobs.models import Job, JobPage
from asyncjobs.requests import JobQuery

FindJobs: TypeAlias = Callable[[JobQuery], Awaitable[JobPage]]
"""Reads one page of a query: ``find_jobs`` of a backend, a processor or a client."""


async def iter_pages(find_jobs: FindJobs, query: JobQuery) -> AsyncGenerator[JobPage, None]:
    """Iterate over the pages of a query, of ``query.limit`` jobs each, from its cursor on."""
    while True:
        page = await find_jobs(query)
        yield page
        if page.next is None:
            return
        query = replace(query, cursor=page.next)


async def take_jobs(find_jobs: FindJobs, query: JobQuery, most: int) -> tuple[list[Job], bool]:
    """Return the first jobs of a query, at most so many, and whether there are more."""
    jobs: list[Job] = []
    async with aclosing(iter_pages(find_jobs, query)) as pages:
        async for page in pages:
            jobs += page
            if len(jobs) > most or (len(jobs) == most and page.next is not None):
                return jobs[:most], True
    return jobs, False
