"""Find the jobs that a command is for, and parse its durations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

from msgspec.structs import replace

from asyncjobs.cli.failures import USAGE, Failure
from asyncjobs.exceptions import ConfigurationError
from asyncjobs.metadata_filters import MetadataFilter, checked_filter, parse_texts
from asyncjobs.models import Job, JobPage
from asyncjobs.paging import take_jobs
from asyncjobs.processor import JobProcessor
from asyncjobs.requests import JobQuery
from asyncjobs.settings import duration

_PAGE = 500


async def find_page(jp: JobProcessor, query: JobQuery, limit: int) -> JobPage:
    """Return up to ``limit`` jobs of a query as one page, with the cursor of what follows them."""
    jobs: list[Job] = []
    cursor = query.cursor
    while len(jobs) < limit:
        page = await jp.find_jobs(replace(query, limit=min(_PAGE, limit - len(jobs)), cursor=cursor))
        jobs += page
        cursor = page.next
        if cursor is None:
            break
    return JobPage(jobs, cursor)


async def find(jp: JobProcessor, query: JobQuery, limit: int) -> list[Job]:
    """Return up to ``limit`` jobs of a query, read page by page."""
    return (await take_jobs(jp.find_jobs, replace(query, limit=min(_PAGE, limit)), limit))[0]


def parse_metadata(options: Sequence[str]) -> MetadataFilter | None:
    """Parse options of the form ``KEY=VALUE`` as a filter; None without any.

    :raises ConfigurationError: one has another form, or they cannot be compared.
    """
    fields: list[tuple[str, str]] = []
    for option in options:
        key, sign, value = option.partition("=")
        if not sign:
            raise ConfigurationError(
                "--metadata", option, allowed="KEY=VALUE", hint=f"--metadata {key or 'kind'}=VALUE"
            )
        fields.append((key, value))
    return checked_filter("--metadata", parse_texts(fields, "--metadata {}")) if fields else None


@overload
def parse_seconds(text: str) -> float: ...
@overload
def parse_seconds(text: str | None) -> float | None: ...
def parse_seconds(text: str | None) -> float | None:
    """Return the seconds of a duration on the command line; None where the option was not given.

    :raises Failure: the text is not a duration.
    """
    if text is None:
        return None
    try:
        return duration(text)
    except ValueError as error:
        raise Failure(str(error), exit_code=USAGE) from None
